//! The hosts on which workers are started: how many each has and may have, and when one more may be
//! started there.
//!
//! Some are away, and come when they are requested, which may take any time. Before that no worker
//! is started there:
//!
//! ```text
//!      a worker is wanted               host_came          host_gone
//! Away ──────────────────▶ Requested ─────────────▶ There ───────────▶ Away
//!                              └── host_refused: it rests ─▶ Away
//! ```
//!
//! Where workers cannot be started is seen by trying:
//!
//! ```text
//!            its starts are hopeless, or it is lost           a worker is ready there
//! in service ─────────────────────────────────────▶ resting ───────────────────────▶ in service
//!                                                    │   ▲
//!                                                    └───┘ a worker is tried, and fails
//! ```
//!
//! A host that rests is tried by one worker at a time, and less and less often. Nothing counts on
//! such a worker, so others are started elsewhere, too, if the pool has places besides its own.

use std::time::Duration;

use super::action::{Config, HostConfig, StartFailureKind, Time};
use super::numbers::NumberSet;
use super::openings::{Openings, Reluctance};
use super::restarts::Restarts;
use super::standing::Standing;
use super::sums::{Sums, Trials};
use super::tenure::{Seat, Tenure, Tenures};
use super::view::HostView;
use crate::base::{HostId, WorkerId};

/// After so long a host that rests is tried for the first time, and after that twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_mins(1);
/// More than any pool has, and still no sum of these overflows.
const MANY: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct HostTable {
    records: Vec<HostRecord>,
    /// So many workers they may have together.
    capacity: usize,
    /// So many workers the pool may have.
    max_workers: usize,
    surge: usize,
    /// For workers with places of their own.
    own: Openings,
    /// For those that are to replace others there.
    successors: Openings,
    /// For requests of those that are away.
    requests: Openings,
    sums: Sums,
}

#[derive(Clone, Debug)]
struct HostRecord {
    presence: Presence,
    /// So many workers it may have, besides those that replace others.
    limit: Option<usize>,
    workers: NumberSet,
    tally: HostTally,
    restarts: Restarts,
    /// Successors that have places, while those that they replace are not gone.
    seated: usize,
    /// Set while it rests.
    rest: Option<Rest>,
    /// Its starts have failed so often, or in such a way, that more of them are pointless.
    is_hopeless: bool,
}

/// Whether workers can be started on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    Away,
    /// It is on its way, perhaps.
    Requested,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// How often it was tried, and failed.
    tries: u32,
    until: Time,
}

/// The workers of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HostTally {
    tenures: Tenures,
    starting: usize,
    ready: usize,
    stuck: usize,
}

impl HostTally {
    fn add(&mut self, standing: &Standing) {
        self.tenures.add(standing.tenure);
        self.starting += standing.tally.starting as usize;
        self.ready += standing.tally.ready as usize;
        self.stuck += standing.tally.stuck as usize;
    }

    fn remove(&mut self, standing: &Standing) {
        self.tenures.remove(standing.tenure);
        self.starting -= standing.tally.starting as usize;
        self.ready -= standing.tally.ready as usize;
        self.stuck -= standing.tally.stuck as usize;
    }

    /// All but those that do nothing any more, as the pool counts them, too.
    fn counted(&self, limit: usize) -> usize {
        self.tenures.all() - self.stuck.min(limit)
    }

    /// Those that have places.
    fn occupied(&self, limit: usize) -> usize {
        self.counted(limit) - self.tenures.successors() - self.tenures.count(Tenure::Stopping)
    }
}

impl HostRecord {
    fn new(config: &HostConfig) -> Self {
        Self {
            presence: if config.is_away { Presence::Away } else { Presence::There },
            limit: config.workers,
            workers: NumberSet::default(),
            tally: HostTally::default(),
            restarts: Restarts::default(),
            seated: 0,
            rest: None,
            is_hopeless: false,
        }
    }

    /// It rests for longer than the last time.
    fn rest(&mut self, now: Time) {
        let tries = self.rest.map_or(0, |rest| rest.tries).saturating_add(1);
        self.rest = Some(Rest { tries, until: now.saturating_add(rest_time(tries)) });
    }

    fn trials(&self) -> Trials {
        if self.rest.is_none() {
            return Trials::default();
        }
        let all = self.tally.starting;
        Trials { all, serving: all - self.tally.tenures.count(Tenure::StartingSuccessor) }
    }

    /// When one more worker may be started, if there is room for it.
    fn not_before(&self) -> Time {
        let waits_for_one = match self.rest {
            Some(_) => self.tally.starting > 0,
            None => self.restarts.waits_for_one(self.tally.starting),
        };
        if waits_for_one {
            return Time::MAX;
        }
        let rested = self.rest.map_or(Time::ZERO, |rest| rest.until);
        self.restarts.not_before().max(rested)
    }

    /// Whether a worker that is to be replaced has no successor there, not even on its way.
    fn lacks_successor(&self) -> bool {
        self.tally.tenures.outgoing() > self.tally.tenures.successors() + self.seated
    }

    /// Whether there are more successors than workers that they could replace.
    fn has_extra_successor(&self) -> bool {
        self.tally.tenures.successors() + self.seated > self.tally.tenures.outgoing()
    }

    /// Whether more successors are ready than there are workers about to leave.
    fn has_relief(&self) -> bool {
        let tenures = &self.tally.tenures;
        tenures.count(Tenure::ReadySuccessor) + self.seated > tenures.count(Tenure::Going)
    }

    /// Whether workers that were to be replaced have gone in another way than by that.
    fn has_forlorn_seats(&self) -> bool {
        self.seated > self.tally.tenures.outgoing()
    }

    /// Whether there is a ready worker, or there may be one.
    fn is_hopeful(&self) -> bool {
        !self.is_hopeless || self.tally.ready > 0
    }

    fn sums(&self) -> Sums {
        Sums {
            trials: self.trials(),
            lacking: usize::from(self.lacks_successor()),
            extra: usize::from(self.has_extra_successor()),
            relieved: usize::from(self.has_relief()),
            seated: self.seated,
            forlorn: usize::from(self.has_forlorn_seats()),
            hopeful: usize::from(self.is_hopeful()),
            promised: self.promised(),
        }
    }

    /// So many workers it will have if it comes.
    fn promised(&self) -> usize {
        match self.presence {
            Presence::Requested => self.limit.unwrap_or(MANY),
            Presence::There | Presence::Away => 0,
        }
    }

    /// When a worker with a place of its own may be started there, and a successor; and when it may
    /// be requested.
    fn times(&self, surge: usize) -> [Time; 3] {
        let is_there = self.presence == Presence::There;
        let (has_place, at) = (self.has_place(surge), self.not_before());
        let succeeds = self.lacks_successor() && self.may_exist(surge);
        let is_requestable = self.presence == Presence::Away && has_place;
        let may = [is_there && has_place, is_there && succeeds, is_requestable];
        may.map(|may| if may { at } else { Time::MAX })
    }

    fn may_exist(&self, surge: usize) -> bool {
        self.limit.is_none_or(|limit| self.tally.counted(limit) < limit.saturating_add(surge))
    }

    fn has_place(&self, surge: usize) -> bool {
        let has_free = self.limit.is_none_or(|limit| self.tally.occupied(limit) < limit);
        has_free && self.may_exist(surge)
    }

    /// One that rests is wanted less than any other, and then one that has more of what it may.
    fn reluctance(&self, max_workers: usize) -> Reluctance {
        let limit = self.limit.unwrap_or(max_workers);
        let share = ((self.tally.occupied(limit) as u64) << 32) / (limit.max(1) as u64);
        (self.rest.is_some(), share)
    }
}

fn sum(records: &[HostRecord]) -> Sums {
    let mut sums = Sums::default();
    for record in records {
        sums += record.sums();
    }
    sums
}

/// How long a host rests that was tried so often.
pub(super) fn rest_time(tries: u32) -> Duration {
    (FIRST_REST * 2_u32.pow(tries.saturating_sub(1).min(10))).min(LONGEST_REST)
}

fn capacity_of(records: &[HostRecord]) -> usize {
    let limits = records.iter().map(|record| record.limit.unwrap_or(usize::MAX));
    limits.fold(0, usize::saturating_add)
}

impl HostTable {
    pub(super) fn new(config: &Config) -> Self {
        let records: Vec<_> = config.hosts.iter().map(HostRecord::new).collect();
        let mut table = Self {
            capacity: capacity_of(&records),
            max_workers: config.max_workers,
            surge: config.surge,
            own: Openings::of(records.len()),
            successors: Openings::of(records.len()),
            requests: Openings::of(records.len()),
            sums: sum(&records),
            records,
        };
        table.review_all();
        table
    }

    /// How many workers all of them may have together.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn view(&self, host: HostId) -> Option<HostView> {
        let record = self.get(host)?;
        Some(HostView {
            max_workers: record.limit.unwrap_or(self.max_workers),
            workers: record.tally.tenures.all(),
            workers_ready: record.tally.ready,
            rests: record.rest.is_some(),
            is_away: record.presence != Presence::There,
        })
    }

    /// So many workers may be there at least. Says how many all of them may have together now.
    pub(super) fn raise_limit(&mut self, host: HostId, workers: usize) -> usize {
        self.change(host, |record| record.limit = record.limit.map(|limit| limit.max(workers)));
        self.capacity = capacity_of(&self.records);
        self.capacity
    }

    /// The pool may have another number of workers.
    pub(super) fn resize(&mut self, max_workers: usize) {
        self.max_workers = max_workers;
        self.review_all();
    }

    fn review_all(&mut self) {
        for position in 0..self.records.len() {
            self.change_record(position, |_| ());
        }
    }

    /// The one way to change what is known of a host.
    fn change<R: Default>(&mut self, host: HostId, change: impl FnOnce(&mut HostRecord) -> R) -> R {
        self.change_record(host.position(), change)
    }

    fn change_record<R: Default>(
        &mut self,
        position: usize,
        change: impl FnOnce(&mut HostRecord) -> R,
    ) -> R {
        let Some(record) = self.records.get_mut(position) else { return R::default() };
        let before = record.sums();
        let result = change(record);
        self.sums += record.sums();
        self.sums -= before;
        let reluctance = record.reluctance(self.max_workers);
        let [own, successor, request] = record.times(self.surge);
        self.own.set(position, own, reluctance);
        self.successors.set(position, successor, reluctance);
        self.requests.set(position, request, reluctance);
        result
    }

    // ----- its workers -----

    pub(super) fn add(&mut self, host: HostId, id: WorkerId, standing: &Standing) {
        self.change(host, |record| {
            record.workers.insert(id.0);
            record.tally.add(standing);
        });
    }

    pub(super) fn remove(&mut self, host: HostId, id: WorkerId, standing: &Standing) {
        self.change(host, |record| {
            record.workers.remove(id.0);
            record.tally.remove(standing);
        });
    }

    /// Those that are there, in the order of their ids.
    pub(super) fn workers(&self, host: HostId) -> Vec<WorkerId> {
        let workers = self.get(host).into_iter().flat_map(|record| record.workers.iter());
        workers.map(WorkerId).collect()
    }

    /// A worker has another standing than before.
    pub(super) fn update(&mut self, host: HostId, before: &Standing, after: &Standing) {
        self.change(host, |record| {
            record.tally.add(after);
            record.tally.remove(before);
        });
    }

    // ----- what happens -----

    /// A task of a worker has ended there.
    pub(super) fn task_finished(&mut self, host: HostId) {
        if self.get(host).is_some_and(|record| record.restarts.has_died()) {
            self.change(host, |record| record.restarts.task_finished());
        }
    }

    pub(super) fn worker_ready(&mut self, host: HostId) {
        self.change(host, |record| {
            record.restarts.worker_ready();
            (record.rest, record.is_hopeless) = (None, false);
        });
    }

    /// A worker is gone, whatever the reason.
    pub(super) fn worker_ended(&mut self, host: HostId) {
        self.change(host, |record| record.restarts.worker_ended());
    }

    /// A worker has died, or was asked to end, and no task of its had to do with it.
    pub(super) fn died_idle(&mut self, now: Time, host: HostId) {
        self.change(host, |record| record.restarts.died_idle(now));
    }

    /// A start that began `took` ago has failed. Says whether it is pointless to go on there.
    pub(super) fn start_failed(
        &mut self,
        now: Time,
        host: HostId,
        (failure, took): (StartFailureKind, Duration),
        initializer_retries: u32,
    ) -> bool {
        self.change(host, |record| {
            let is_news = record.restarts.start_failed(now, failure, took);
            let gives_up = failure == StartFailureKind::Fatal
                || (record.tally.ready == 0
                    && record.restarts.is_hopeless(failure, initializer_retries));
            record.is_hopeless |= gives_up;
            if is_news && (record.is_hopeless || record.rest.is_some()) {
                record.rest(now);
            }
            record.is_hopeless
        })
    }

    /// The host is lost, as if a start had failed there; it is tried by one worker at a time.
    pub(super) fn lost(&mut self, now: Time, host: HostId) {
        self.change(host, |record| {
            record.restarts.start_failed(now, StartFailureKind::Unreachable, Duration::ZERO);
            record.rest(now);
        });
    }

    // ----- those that are away -----

    pub(super) fn request(&mut self, host: HostId) {
        self.change(host, |record| record.presence = Presence::Requested);
    }

    /// Workers can be started there, though nothing says yet that they will come up.
    pub(super) fn came(&mut self, host: HostId) {
        self.change(host, |record| record.presence = Presence::There);
    }

    /// It has to be requested again. Its workers, if it has some, end as those of a lost host.
    pub(super) fn gone(&mut self, host: HostId) {
        self.change(host, |record| record.presence = Presence::Away);
    }

    /// It does not come, so it is requested again less and less often. Says whether it is pointless
    /// to go on.
    pub(super) fn refused(&mut self, now: Time, host: HostId) -> bool {
        const REFUSAL: StartFailureKind = StartFailureKind::Unreachable;

        self.change(host, |record| {
            record.presence = Presence::Away;
            record.restarts.start_failed(now, REFUSAL, Duration::ZERO);
            let gives_up = record.tally.ready == 0 && record.restarts.is_hopeless(REFUSAL, 0);
            record.is_hopeless |= gives_up;
            record.rest(now);
            record.is_hopeless
        })
    }

    /// So many workers may be started when all come that were requested.
    pub(super) fn promised(&self) -> usize {
        self.sums.promised
    }

    /// Of those that are away, where one may be requested.
    pub(super) fn requests(&self) -> &Openings {
        &self.requests
    }

    /// Whether there is another host that has a ready worker, or may have one.
    pub(super) fn is_any_other_hopeful(&self, host: HostId) -> bool {
        let own = self.get(host).is_some_and(HostRecord::is_hopeful);
        self.sums.hopeful > usize::from(own)
    }

    // ----- succession -----

    fn get(&self, host: HostId) -> Option<&HostRecord> {
        self.records.get(host.position())
    }

    /// Whether a worker anywhere that is to be replaced has no successor on its way.
    pub(super) fn lack_successors(&self) -> bool {
        self.sums.lacking > 0
    }

    /// Whether more successors are ready there than there are workers about to leave.
    pub(super) fn has_relief(&self, host: HostId) -> bool {
        self.get(host).is_some_and(HostRecord::has_relief)
    }

    /// The same of any host.
    pub(super) fn have_relief(&self) -> bool {
        self.sums.relieved > 0
    }

    /// Whether there are more successors there than workers that they could replace.
    pub(super) fn has_extra_successor(&self, host: HostId) -> bool {
        self.get(host).is_some_and(HostRecord::has_extra_successor)
    }

    /// The same of any host.
    pub(super) fn have_extra_successors(&self) -> bool {
        self.sums.extra > 0
    }

    /// A successor has got a place before that of whom it replaces.
    pub(super) fn seat(&mut self, host: HostId) {
        self.change(host, |record| record.seated += 1);
    }

    /// A worker that was to be replaced has given up its place; whether its successor has one.
    pub(super) fn unseat(&mut self, host: HostId) -> bool {
        self.change(host, |record| {
            let left = record.seated.checked_sub(1);
            record.seated = left.unwrap_or(0);
            left.is_some()
        })
    }

    pub(super) fn is_any_seated(&self) -> bool {
        self.sums.seated > 0
    }

    /// Those that were to be replaced may have died.
    pub(super) fn forget_seated(&mut self) {
        if self.sums.forlorn == 0 {
            return;
        }
        for position in 0..self.records.len() {
            self.change_record(position, |record| {
                record.seated = record.seated.min(record.tally.tenures.outgoing());
            });
        }
    }

    // ----- starts -----

    pub(super) fn trials(&self) -> Trials {
        self.sums.trials
    }

    /// When a worker may next be started for that.
    pub(super) fn not_before(&self, seat: Seat) -> Option<Time> {
        self.openings(seat).first()
    }

    pub(super) fn may_start(&self, now: Time, seat: Seat) -> bool {
        self.not_before(seat).is_some_and(|at| at <= now)
    }

    /// Where a worker is to be started now, if anywhere: not on a host that rests if there is
    /// another one, and where the smallest share of what there may be is taken.
    pub(super) fn choose(&self, now: Time, seat: Seat) -> Option<HostId> {
        self.openings(seat).best(now)
    }

    fn openings(&self, seat: Seat) -> &Openings {
        match seat {
            Seat::Own | Seat::Given => &self.own,
            Seat::Awaited => &self.successors,
        }
    }

    /// Whether all that is kept is what a count of these gives.
    #[cfg(test)]
    pub(super) fn is_true<'a>(
        &self,
        workers: impl Iterator<Item = (HostId, WorkerId, &'a Standing)>,
    ) -> bool {
        let fresh = |_: &_| HostRecord::new(&HostConfig::default());
        let mut counted: Vec<_> = self.records.iter().map(fresh).collect();
        for (host, id, standing) in workers {
            counted[host.position()].workers.insert(id.0);
            counted[host.position()].tally.add(standing);
        }
        let is_counted = |(record, counted): (&HostRecord, HostRecord)| {
            record.tally == counted.tally && record.workers == counted.workers
        };
        let mut openings = [(); 3].map(|()| Openings::of(self.records.len()));
        for (position, record) in self.records.iter().enumerate() {
            let reluctance = record.reluctance(self.max_workers);
            for (openings, at) in openings.iter_mut().zip(record.times(self.surge)) {
                openings.set(position, at, reluctance);
            }
        }
        self.capacity == capacity_of(&self.records)
            && self.sums == sum(&self.records)
            && [&self.own, &self.successors, &self.requests] == openings.each_ref()
            && self.records.iter().zip(counted).all(is_counted)
    }
}
