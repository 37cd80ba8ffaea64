//! How workers that are to be replaced find successors, so that nobody waits for a start.
//!
//! A worker that is *due* (it has run nearly as many tasks as it may, is old, or is to be recycled)
//! goes on with tasks while its successor starts. That one does not count as one of the
//! [`max_workers`](super::Config::max_workers) yet, and gets no task, but takes the place of the
//! first one that leaves:
//!
//! ```text
//!          is due                     a successor is ready             has no task left
//! Stays ───────────▶ Due (is sent tasks) ───────────────▶ Going (no more tasks) ─────────▶ Stopping
//!
//!                   is ready                    somebody leaves
//! StartingSuccessor ─────────▶ ReadySuccessor ─────────────────▶ Stays
//! ```
//!
//! So there are never more workers with tasks than there may be, and never more processes than
//! [`surge`](super::Config::surge) above that. Of several hosts each has successors of its own.

use std::time::Duration;

use super::action::{LeaveReason, Time};
use super::tenure::{Departure, LeaveBy, Seat, Tenure, Tenures};
use super::worker::{Sentence, Worker, WorkerStage};
use super::{Phase, Scheduler};
use crate::base::{HostId, WorkerId};

impl Scheduler {
    /// A worker is to be replaced: once a successor is ready, if there may be one.
    pub(super) fn retire(&mut self, now: Time, id: WorkerId, reason: LeaveReason) {
        let is_up = |worker: &Worker| worker.is_ready() && worker.serves();
        if !self.has_successors() || !self.workers.get(id).is_some_and(is_up) {
            return self.dismiss(now, id, reason);
        }
        self.update(id, |worker| worker.departure = Some(Departure::Due(reason)));
    }

    /// Every worker of now is to be replaced, within such a time if there is one.
    pub(super) fn retire_all(&mut self, now: Time, limit: Option<Duration>) {
        let leave_by = limit.map(|limit| LeaveBy {
            last_task: now.saturating_add(limit / 2),
            end: now.saturating_add(limit),
        });
        let successors: Vec<_> = self.workers.successors().collect();
        for id in successors {
            self.stop(now, id, LeaveReason::Recycled);
        }
        for id in self.worker_ids(Worker::is_ready) {
            self.update(id, |worker| {
                let both = [worker.leave_by, leave_by].into_iter().flatten();
                worker.leave_by = both.min_by_key(|leave_by| leave_by.end);
            });
        }
        for id in self.worker_ids(Worker::serves) {
            self.retire(now, id, LeaveReason::Recycled);
        }
    }

    /// A worker may be too old, or the time that it has to leave half or wholly over.
    pub(super) fn look_at_term(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.is_ready()) else { return };
        if let Some(leave_by) = worker.leave_by.filter(|leave_by| leave_by.next() <= now) {
            self.hurry(now, id, leave_by);
        } else if worker.aged_at().is_some_and(|at| at <= now) {
            self.retire(now, id, LeaveReason::Age);
        }
    }

    fn hurry(&mut self, now: Time, id: WorkerId, leave_by: LeaveBy) {
        self.dismiss(now, id, LeaveReason::Recycled);
        let rest = LeaveBy { last_task: Time::MAX, ..leave_by };
        let is_over = leave_by.end <= now;
        self.update(id, |worker| worker.leave_by = Some(rest).filter(|_| !is_over));
        if !is_over {
            return;
        }
        let tasks = self.workers.get(id).map_or(0, |worker| worker.pipeline.len());
        for position in 0..tasks {
            self.sentence(now, id, position, Sentence::Replaced);
        }
    }

    /// A worker that has run nearly as many tasks as it may is due: at its last task, or when it
    /// will be used up in less time than its successor needs to start. The more are due the longer
    /// that takes.
    pub(super) fn retire_if_nearly_used_up(&mut self, now: Time, id: WorkerId) {
        let Some(most) = self.config.max_tasks.filter(|_| self.has_successors()) else { return };
        let Some(worker) = self.workers.get(id).filter(|worker| worker.tenure() == Tenure::Stays)
        else {
            return;
        };
        let left = most.saturating_sub(worker.tasks_completed);
        let up_for = now.saturating_sub(worker.up_since);
        let starts = 2 * (1 + self.workers.tenures().outgoing() as u64);
        let lead = self.start_took.as_nanos().saturating_mul(u128::from(starts));
        let per_task = up_for.as_nanos() / u128::from(worker.tasks_completed.max(1));
        // A few tasks say little of the others.
        let is_known = worker.tasks_completed.saturating_mul(4) >= most;
        let is_last = worker.tasks_completed > 0 && left <= 1;
        let is_soon = is_last || (is_known && per_task.saturating_mul(u128::from(left)) <= lead);
        if is_soon || worker.is_used_up(worker.pipeline.len(), &self.config) {
            self.retire(now, id, LeaveReason::UsedUp);
        }
    }

    /// Workers in the places that there are; successors without one do not count.
    fn occupied(&self) -> usize {
        let tenures = self.workers.tenures();
        self.counted_workers() - tenures.successors() - tenures.count(Tenure::Stopping)
    }

    /// All workers, but those that do nothing any more; of those no more are left out than there
    /// may be.
    fn counted_workers(&self) -> usize {
        let stuck = self.workers.tally().stuck as usize;
        self.workers.len() - stuck.min(self.config.max_workers)
    }

    fn has_free_place(&self) -> bool {
        self.occupied() < self.config.max_workers
    }

    /// Whether one more worker may have tasks, and its process exist.
    pub(super) fn has_place(&self) -> bool {
        self.has_place_beside(0)
    }

    /// The same, if there were so many more.
    pub(super) fn has_place_beside(&self, promised: usize) -> bool {
        self.occupied() + promised < self.config.max_workers && self.may_exist()
    }

    fn may_exist(&self) -> bool {
        self.counted_workers() < self.config.max_workers + self.config.surge
    }

    /// Whether workers wait for their successors before they go.
    fn has_successors(&self) -> bool {
        self.config.surge > 0 && self.phase == Phase::Open
    }

    /// Whether a worker that is to be replaced has no successor on its way, and may have one.
    pub(super) fn wants_successor(&self) -> bool {
        let lack = self.workers.hosts().lack_successors();
        lack && self.has_successors() && !self.surplus && self.may_exist()
    }

    pub(super) fn host_of(&self, id: WorkerId) -> Option<HostId> {
        self.workers.get(id).map(|worker| worker.host)
    }

    /// Gives successors their places, and lets those go whose successors are ready.
    pub(super) fn relieve(&mut self, now: Time) {
        if self.workers.tenures().successors() == 0 && !self.workers.hosts().is_any_seated() {
            return;
        }
        self.dismiss_extra_successors(now);
        self.seat_ready_successors();
        while let Some(id) = self.idle_outgoing() {
            self.dismiss_due(now, id);
            self.seat_ready_successors();
        }
        self.workers.hosts_mut().forget_seated();
    }

    fn seat_ready_successors(&mut self) {
        let is_any_ready = |tenures: &Tenures| tenures.count(Tenure::ReadySuccessor) > 0;
        while is_any_ready(self.workers.tenures())
            && self.has_free_place()
            && let Some(host) = self.seat_successor(|_| true)
        {
            self.workers.hosts_mut().seat(host);
        }
    }

    /// There may be fewer places now than when they were started.
    fn dismiss_extra_successors(&mut self, now: Time) {
        while self.workers.hosts().have_extra_successors()
            && !self.has_free_place()
            && let Some(id) = self.extra_successor()
        {
            self.stop(now, id, LeaveReason::Surplus);
        }
    }

    fn extra_successor(&self) -> Option<WorkerId> {
        let hosts = self.workers.hosts();
        let is_extra = |id: &WorkerId| {
            let host = self.host_of(*id);
            host.is_some_and(|host| hosts.has_extra_successor(host))
        };
        self.workers.successors().filter(is_extra).last()
    }

    /// At the end of a task a worker need not wait until it is idle.
    pub(super) fn relieve_between_tasks(&mut self, now: Time, id: WorkerId) {
        if self.workers.tenures().count(Tenure::Due) > 0 && self.may_relieve(id) {
            self.dismiss_due(now, id);
        }
    }

    fn dismiss_due(&mut self, now: Time, id: WorkerId) {
        let reason = self.workers.get(id).and_then(Worker::due);
        self.dismiss(now, id, reason.unwrap_or(LeaveReason::Recycled));
    }

    fn idle_outgoing(&self) -> Option<WorkerId> {
        if !self.workers.hosts().have_relief() {
            return None;
        }
        self.workers.idle_outgoing().find(|id| self.may_relieve(*id))
    }

    /// Whether a worker may go before it must, as there is a successor for it. One that is not used
    /// up stays until it is, unless others wait for successors.
    fn may_relieve(&self, id: WorkerId) -> bool {
        let due = self.workers.get(id).filter(|worker| worker.tenure() == Tenure::Due);
        due.is_some_and(|worker| {
            let hosts = self.workers.hosts();
            // Also elsewhere, as all hosts together have no more than the surge.
            let may_be_early = || worker.tasks_completed > 0 && hosts.lack_successors();
            let may_go = worker.due() != Some(LeaveReason::UsedUp) || may_be_early();
            may_go && hosts.has_relief(worker.host)
        })
    }

    /// A worker that was to be replaced has given up its place there.
    pub(super) fn succeed(&mut self, host: HostId) -> bool {
        self.workers.hosts_mut().unseat(host)
            || (self.has_free_place()
                && self.seat_successor(|worker| worker.host == host).is_some())
    }

    /// The first of those successors, if there is one, becomes a worker like others; says where.
    fn seat_successor(&mut self, may: impl Fn(&Worker) -> bool) -> Option<HostId> {
        let of = |id: &WorkerId| self.workers.get(*id);
        let ids = || self.workers.successors().filter(|id| of(id).is_some_and(&may));
        let id = ids().find(|id| of(id).is_some_and(Worker::is_ready)).or_else(|| ids().next())?;
        self.update(id, |worker| worker.seat = Seat::Own);
        if self.warm_up {
            self.tell_if_warm();
        }
        self.host_of(id)
    }
}

impl Worker {
    /// Why it takes no more tasks.
    pub(super) fn leaving(&self) -> Option<LeaveReason> {
        match self.departure {
            Some(Departure::Leaving(reason)) => Some(reason),
            Some(Departure::Due(_)) | None => None,
        }
    }

    /// Why it is to be replaced, if it goes on until then.
    pub(super) fn due(&self) -> Option<LeaveReason> {
        match self.departure {
            Some(Departure::Due(reason)) => Some(reason),
            Some(Departure::Leaving(_)) | None => None,
        }
    }

    /// A successor has its place.
    pub(super) fn give_place(&mut self) {
        self.seat = Seat::Given;
    }

    pub(super) fn is_successor(&self) -> bool {
        self.seat == Seat::Awaited
    }

    pub(super) fn is_succeeded(&self) -> bool {
        self.seat == Seat::Given
    }

    pub(super) fn tenure(&self) -> Tenure {
        if self.is_stuck() {
            return Tenure::Stays;
        }
        match self.stage {
            WorkerStage::Starting { .. } if self.is_successor() => Tenure::StartingSuccessor,
            WorkerStage::Ready if self.is_successor() => Tenure::ReadySuccessor,
            WorkerStage::Ready if self.leaving().is_some() => Tenure::Going,
            WorkerStage::Ready if self.due().is_some() => Tenure::Due,
            WorkerStage::Ending { .. } | WorkerStage::Stopping { .. } if self.head().is_none() => {
                Tenure::Stopping
            }
            WorkerStage::Ending { .. } if self.departure.is_some() => Tenure::Going,
            WorkerStage::Starting { .. }
            | WorkerStage::Ready
            | WorkerStage::Ending { .. }
            | WorkerStage::Stopping { .. } => Tenure::Stays,
        }
    }
}
