//! What is known of hosts, and what becomes of workers that end there.

use super::starts::Starts;
use super::{Desk, Model, Stage, index};
use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::hosts::rest_time;
use crate::scheduler::{End, HostConfig, OnWorkerDeath, StartFailureKind, Time};

/// Whether workers can be started on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scheduler::tests) enum Presence {
    There,
    Away,
    Requested,
}

#[derive(Clone, Debug)]
pub(super) struct HostModel {
    presence: Presence,
    pub(super) starts: Starts,
    /// How often it was tried in vain since it rests; not at all if it does not.
    tries: u32,
    rests_until: Time,
    is_hopeless: bool,
}

impl HostModel {
    pub(super) fn new(config: HostConfig) -> Self {
        Self {
            presence: if config.is_away { Presence::Away } else { Presence::There },
            starts: Starts::default(),
            tries: 0,
            rests_until: Time::ZERO,
            is_hopeless: false,
        }
    }

    pub(super) fn worker_ready(&mut self) {
        self.starts.worker_ready();
        (self.tries, self.rests_until, self.is_hopeless) = (0, Time::ZERO, false);
    }

    fn rest(&mut self, now: Time) {
        self.tries += 1;
        self.rests_until = now + rest_time(self.tries);
    }
}

impl Model {
    pub(in crate::scheduler::tests) fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..u32::try_from(self.hosts.len()).unwrap()).map(HostId)
    }

    pub(in crate::scheduler::tests) fn rests(&self, host: HostId) -> bool {
        self.hosts[host.position()].tries > 0
    }

    pub(in crate::scheduler::tests) fn presence(&self, host: HostId) -> Presence {
        self.hosts[host.position()].presence
    }

    /// It comes, goes, or is requested.
    pub(in crate::scheduler::tests) fn moves(&mut self, host: HostId, presence: Presence) {
        self.hosts[host.position()].presence = presence;
    }

    /// It does not come.
    pub(in crate::scheduler::tests) fn host_refused(&mut self, now: Time, host: HostId) {
        self.moves(host, Presence::Away);
        let is_up = self.on(host).any(|desk| desk.stage == Stage::Ready);
        let is_any_hopeful = self.is_any_other_hopeful(host);
        let record = &mut self.hosts[host.position()];
        let fails = record.starts.failed(now, StartFailureKind::Unreachable, Time::ZERO, 0);
        record.is_hopeless |= fails && !is_up;
        record.rest(now);
        self.must_break |= record.is_hopeless && !is_any_hopeful;
    }

    fn is_any_other_hopeful(&self, host: HostId) -> bool {
        let is_up = |host| self.on(host).any(|desk| desk.stage == Stage::Ready);
        let mut others = self.hosts().filter(|other| *other != host);
        others.any(|other| !self.hosts[other.position()].is_hopeless || is_up(other))
    }

    /// Until then no worker is started there.
    pub(in crate::scheduler::tests) fn not_before(&self, host: HostId) -> Time {
        let host = &self.hosts[host.position()];
        host.starts.not_before().max(host.rests_until)
    }

    fn on(&self, host: HostId) -> impl Iterator<Item = &Desk> {
        self.live().filter(move |desk| desk.host == host)
    }

    pub(super) fn limit(&self, host: HostId) -> Option<usize> {
        self.config.hosts[host.position()].workers
    }

    /// All processes there but those that are stuck, as in the pool as a whole.
    fn counted_on(&self, host: HostId, limit: usize) -> usize {
        let stuck = self.on(host).filter(|desk| desk.stuck).count();
        self.on(host).count() - stuck.min(limit)
    }

    fn occupied_on(&self, host: HostId, limit: usize) -> usize {
        let waits_for_place = |desk: &&Desk| desk.is_successor() || desk.is_stopping();
        self.counted_on(host, limit) - self.on(host).filter(waits_for_place).count()
    }

    /// Whether one more process may be there.
    pub(in crate::scheduler::tests) fn may_exist_on(&self, host: HostId) -> bool {
        let most = |limit| limit + self.config.surge;
        self.limit(host).is_none_or(|limit| self.counted_on(host, limit) < most(limit))
    }

    /// Whether a start there has to end before there is another one.
    pub(in crate::scheduler::tests) fn waits_for_one(&self, host: HostId) -> bool {
        let is_starting = |desk: &Desk| matches!(desk.stage, Stage::Starting { .. });
        let one_by_one = self.rests(host) || self.hosts[host.position()].starts.is_short();
        one_by_one && self.on(host).any(is_starting)
    }

    /// Whether one more worker with a place of its own may be there, if it is time for that.
    pub(in crate::scheduler::tests) fn may_have_one(&self, host: HostId) -> bool {
        self.presence(host) == Presence::There && self.has_room(host)
    }

    /// The same, if it were there.
    pub(in crate::scheduler::tests) fn has_room(&self, host: HostId) -> bool {
        let is_free = |limit| self.occupied_on(host, limit) < limit;
        let has_place = self.limit(host).is_none_or(is_free) && self.may_exist_on(host);
        has_place && !self.waits_for_one(host)
    }

    /// How little a host is wanted for one more worker.
    pub(in crate::scheduler::tests) fn reluctance(&self, host: HostId) -> (bool, u64) {
        let limit = self.limit(host).unwrap_or(self.config.max_workers);
        let share = ((self.occupied_on(host, limit) as u64) << 32) / limit.max(1) as u64;
        (self.rests(host), share)
    }

    /// It has been reached, and may have so many workers.
    pub(in crate::scheduler::tests) fn host_has(&mut self, host: HostId, workers: usize) {
        let limit = &mut self.config.hosts[host.position()].workers;
        *limit = limit.map(|limit| limit.max(workers));
        let limits = self.config.hosts.iter().map(|host| host.workers.unwrap_or(usize::MAX));
        let capacity = limits.fold(0, usize::saturating_add);
        self.config.cpus = self.config.cpus.max(capacity);
        if self.config.follows_hosts {
            let limits = self.config.hosts.iter().map(|host| host.workers.unwrap());
            self.config.max_workers = limits.sum();
            self.was_resized = true;
        }
    }

    /// Everything there is lost, and has ended at `safe_at`.
    pub(in crate::scheduler::tests) fn host_lost(
        &mut self,
        now: Time,
        host: HostId,
        safe_at: Time,
    ) {
        let record = &mut self.hosts[host.position()];
        let (kind, quick) = (StartFailureKind::Unreachable, Time::ZERO);
        record.starts.failed(now, kind, quick, self.config.initializer_retries);
        record.rest(now);
        for n in self.live.clone() {
            let desk = &mut self.desks[n];
            if desk.host != host {
                continue;
            }
            desk.lost = desk.lost.max(Some(safe_at));
            desk.is_lost |= matches!(desk.stage, Stage::Starting { .. } | Stage::Ready);
            if desk.stage == Stage::Ready {
                desk.stage = Stage::Killed { fault: false };
            }
        }
    }

    /// It is gone with its host, and these of its tasks may still run there.
    pub(in crate::scheduler::tests) fn vanished(&mut self, id: WorkerId, begun: &[TaskId]) {
        self.desk_mut(id).has_vanished = true;
        let Some(safe_at) = self.desk_mut(id).lost else { return };
        for task in begun {
            self.task_mut(*task).runs_until = safe_at;
        }
        let keys = begun.iter().filter_map(|task| self.key(*task));
        self.desk_mut(id).kept_keys = keys.collect();
    }

    pub(in crate::scheduler::tests) fn ended(&mut self, now: Time, id: WorkerId, end: End) {
        let stage = std::mem::replace(&mut self.desk_mut(id).stage, Stage::Gone);
        let is_missed = !matches!(stage, Stage::Ending { wanted: false, .. });
        let is_vacant = is_missed && !self.desk_mut(id).stuck && !self.desk_mut(id).is_successor();
        self.vacancies += u64::from(is_vacant);
        self.live.retain(|n| *n != index(id.0));
        let (host, is_lost) = (self.desk_mut(id).host, self.desk_mut(id).is_lost);
        self.hosts[host.position()].starts.worker_ended();
        let breaks = self.config.on_worker_death == OnWorkerDeath::Break;
        let was_told = matches!(stage, Stage::Ending { .. } | Stage::Killed { fault: false });
        match end {
            End::HostLost { .. } => {
                self.counts.workers_lost += 1;
                self.must_break |= is_lost && breaks;
            }
            End::StartFailed(_) if is_lost => self.counts.start_failures += 1,
            _ if was_told && !is_lost => {}
            End::StartFailed(failure) => {
                let own = matches!(stage, Stage::Starting { .. });
                let own = own
                    || matches!(failure, StartFailureKind::Fatal | StartFailureKind::Unreachable);
                let failure = if own { failure } else { StartFailureKind::Initializer };
                self.start_failed(now, id, failure);
            }
            End::Died { .. } | End::Left => {
                let unbegun = if let End::Died { taken } = end { taken } else { 0 };
                if self.desk_mut(id).pipeline.len() <= unbegun {
                    self.hosts[host.position()].starts.died_idle(now);
                }
                self.counts.worker_deaths += 1;
                self.must_break |= breaks;
            }
        }
    }

    fn start_failed(&mut self, now: Time, id: WorkerId, failure: StartFailureKind) {
        use StartFailureKind::{Accident, Fatal, Unreachable};

        self.counts.start_failures += 1;
        let host = self.desk_mut(id).host;
        let breaks = self.config.on_worker_death == OnWorkerDeath::Break;
        let breaks = breaks && !matches!(failure, Accident | Fatal | Unreachable);
        let is_up = |host| self.on(host).any(|desk| desk.stage == Stage::Ready);
        let alone = !is_up(host);
        let is_hopeful = self.is_any_other_hopeful(host);
        let took = now.saturating_sub(self.desk_mut(id).started);
        let record = &mut self.hosts[host.position()];
        let is_news = !record.starts.is_known(now, failure, took);
        let fails = record.starts.failed(now, failure, took, self.config.initializer_retries);
        record.is_hopeless |= failure == Fatal || (alone && fails);
        if is_news && (record.is_hopeless || record.tries > 0) {
            record.rest(now);
        }
        self.must_break |= breaks || (record.is_hopeless && !is_hopeful);
    }
}
