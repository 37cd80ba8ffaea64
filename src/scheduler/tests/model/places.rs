//! How many workers there are, and may be.

use std::collections::BTreeSet;

use super::{Desk, Entry, Model, Presence, Stage};
use crate::base::HostId;
use crate::scheduler::Time;

impl Model {
    /// How many more workers than there are could take a task.
    fn wanted(&self, now: Time) -> usize {
        let homeless = || self.ready_tasks(now).filter(|task| self.home(task).is_none());
        let keys: BTreeSet<u64> = homeless().filter_map(|task| task.wishes.key).collect();
        let plain = |task: &&Entry| task.wishes.key.is_none() && !task.is_suspect();
        homeless().filter(plain).count() + keys.len()
    }

    /// Whether one more worker would have something to do and may exist.
    pub(in crate::scheduler::tests) fn lacks_workers(&self, now: Time) -> bool {
        self.wants_worker(now) && self.hosts().any(|host| self.may_have_one(host))
    }

    fn wants_worker(&self, now: Time) -> bool {
        self.wants_worker_beside(0, now)
    }

    /// The same, if there were so many more that start.
    fn wants_worker_beside(&self, promised: usize, now: Time) -> bool {
        let is_any_idle = self.live().any(Desk::is_idle);
        let wanted = if is_any_idle { 0 } else { self.wanted(now) };
        let suspects = self.ready_tasks(now).filter(|task| task.is_suspect()).count();
        let wanted = wanted + if self.idle() > 1 { 0 } else { suspects };
        let wanted = wanted.max(usize::from(self.wants_warmth));
        let open = !self.broken && self.has_place_beside(promised);
        let is_short = self.coming().count() + promised < wanted;
        open && (is_short || self.lacks_reserve_beside(promised))
    }

    /// Whether a host is wanted beside those that were requested.
    pub(in crate::scheduler::tests) fn wants_host(&self, now: Time) -> bool {
        let requested = self.hosts().filter(|host| self.presence(*host) == Presence::Requested);
        let promised = requested.map(|host| self.limit(host).unwrap_or(1_000)).sum();
        self.wants_worker_beside(promised, now)
    }

    /// When one could be requested that is wanted.
    pub(in crate::scheduler::tests) fn request_at(&self, now: Time) -> Option<Time> {
        let is_away = |host: &HostId| self.presence(*host) == Presence::Away;
        let may_come = |host: &HostId| is_away(host) && self.has_room(*host);
        let times = self.hosts().filter(may_come).map(|host| self.not_before(host));
        times.min().filter(|_| self.wants_host(now))
    }

    /// When one could be started that is missing.
    pub(in crate::scheduler::tests) fn start_at(&self, now: Time) -> Option<Time> {
        if !self.wants_worker(now) {
            return None;
        }
        let hosts = self.hosts().filter(|host| self.may_have_one(*host));
        hosts.map(|host| self.not_before(host)).min()
    }

    /// Workers that start, but for those on hosts that rest.
    fn coming(&self) -> impl Iterator<Item = &Desk> {
        let is_starting = |desk: &&Desk| matches!(desk.stage, Stage::Starting { .. });
        self.live().filter(is_starting).filter(|desk| !self.rests(desk.host))
    }

    fn has_place(&self) -> bool {
        self.has_place_beside(0)
    }

    fn has_place_beside(&self, promised: usize) -> bool {
        let waits_for_place = |desk: &&Desk| desk.is_successor() || desk.is_stopping();
        let placeless = self.live().filter(waits_for_place).count();
        let occupied = self.counted_workers() - placeless;
        occupied + promised < self.config.max_workers && self.may_exist()
    }

    pub(in crate::scheduler::tests) fn idle(&self) -> usize {
        self.live().filter(|desk| desk.is_idle() && !desk.is_used_up(0, &self.config)).count()
    }

    /// Whether an idle worker may be lost to a suspect: not the last one while another comes up.
    pub(in crate::scheduler::tests) fn may_risk_one(&self, now: Time) -> bool {
        let may_start_on = |host| self.may_have_one(host) && self.not_before(host) <= now;
        let may_start = self.has_place() && self.hosts().any(may_start_on);
        let front = |desk: &Desk| self.task(*desk.pipeline.front()?);
        let risky = self.live().filter_map(front).filter(|task| task.wishes.suspect).count();
        let is_last = self.config.max_workers > 1 && risky + 1 >= self.config.max_workers;
        self.idle() > 1 || (self.coming().count() == 0 && !may_start && !is_last)
    }

    /// All but those that are stuck.
    fn counted_workers(&self) -> usize {
        let stuck = self.live().filter(|desk| desk.stuck).count();
        self.live.len() - stuck.min(self.config.max_workers)
    }

    /// Whether the process of one more worker may exist.
    pub(in crate::scheduler::tests) fn may_exist(&self) -> bool {
        self.counted_workers() < self.config.max_workers + self.config.surge
    }

    /// Whether one that is to be replaced may need a successor.
    pub(in crate::scheduler::tests) fn may_need_successor(&self, now: Time) -> bool {
        !self.broken && self.live().any(|desk| desk.may_be_outgoing(now, &self.config))
    }

    /// Workers that have tasks, or may be sent some.
    pub(in crate::scheduler::tests) fn in_places(&self) -> usize {
        let has_place = |desk: &&Desk| !desk.stuck && (desk.serves() || !desk.pipeline.is_empty());
        self.live().filter(has_place).count()
    }

    /// Whether there are fewer workers than there should be even without a task.
    pub(in crate::scheduler::tests) fn lacks_reserve(&self) -> bool {
        self.lacks_reserve_beside(0)
    }

    fn lacks_reserve_beside(&self, promised: usize) -> bool {
        let is_tried = |desk: &&Desk| {
            let starts = matches!(desk.stage, Stage::Starting { .. });
            starts && desk.serves() && self.rests(desk.host)
        };
        let serving = self.serving() - self.live().filter(is_tried).count();
        !self.shut_down && !self.broken && serving + promised < self.least_workers()
    }

    pub(in crate::scheduler::tests) fn is_warm(&self) -> bool {
        let up = self.live().filter(|desk| desk.stage == Stage::Ready && desk.serves()).count();
        up >= self.least_workers().max(1)
    }
}
