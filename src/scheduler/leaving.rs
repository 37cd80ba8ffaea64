//! Which workers leave on purpose while the pool goes on: those that are idle, too many, used up,
//! too large, to be replaced, or asked to end by somebody else. None leaves before its running task
//! is over.

use super::Scheduler;
use super::action::{Action, LeaveReason, Time};
use super::tenure::Departure;
use super::worker::{Worker, WorkerStage};
use crate::base::WorkerId;

impl Scheduler {
    /// Workers that are up, or come up, and stay.
    pub(super) fn serving(&self) -> usize {
        self.workers.tally().serving as usize
    }

    /// So many workers are kept, even without tasks.
    pub(super) fn least_workers(&self) -> usize {
        let most = self.config.max_workers.min(self.workers.hosts().capacity());
        self.config.min_workers.min(most)
    }

    /// Tells a worker without tasks to leave.
    pub(super) fn stop(&mut self, now: Time, id: WorkerId, reason: LeaveReason) {
        let deadline = now.saturating_add(self.config.grace_period);
        self.update(id, |worker| worker.stage = WorkerStage::Stopping { deadline, reason });
        self.release_keys(id);
        self.actions.push_back(Action::Stop(id, reason));
    }

    /// A worker that takes no more tasks is no home any more, but for the keys of those that it
    /// still has: two tasks of one key never run at the same time.
    pub(super) fn release_keys(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(id).filter(|worker| !worker.serves()) {
            self.queue.forget(id, &worker.keys());
        }
    }

    /// A worker gets no more tasks, and leaves when it has none left.
    pub(super) fn dismiss(&mut self, now: Time, id: WorkerId, reason: LeaveReason) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.serves()) else { return };
        let (runs, recallable) = (worker.head().is_some(), worker.is_recallable());
        if !runs {
            return self.stop(now, id, reason);
        }
        self.update(id, |worker| worker.departure = Some(Departure::Leaving(reason)));
        self.release_keys(id);
        if recallable {
            self.recall(id);
        }
    }

    /// Somebody else has asked a worker to end. It has time for its running task.
    pub(crate) fn worker_asked_to_end(&mut self, now: Time, id: WorkerId) {
        let stays = |worker: &Worker| worker.is_ready() && worker.leaving().is_none();
        if self.workers.get(id).is_some_and(stays) {
            self.dismiss_asked(now, id);
        }
        self.advance(now);
    }

    fn dismiss_asked(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id) else { return };
        let (host, is_successor) = (worker.host, worker.is_successor());
        let was_used = worker.tasks_completed > 0 || worker.head().is_some();
        if !was_used {
            self.workers.hosts_mut().died_idle(now, host); // if all that come are, it is no hurry
        }
        if is_successor {
            self.stop(now, id, LeaveReason::Terminated);
        } else {
            self.dismiss(now, id, LeaveReason::Terminated);
        }
    }

    /// A worker whose last task is over leaves if there is a reason.
    pub(super) fn leave_if_due(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.is_idle()) else { return };
        let used_up = worker.is_used_up(0, &self.config).then_some(LeaveReason::UsedUp);
        let surplus = || self.is_surplus().then_some(LeaveReason::Surplus);
        if let Some(reason) = worker.leaving().or(used_up).or_else(surplus) {
            self.stop(now, id, reason);
        }
    }

    // ----- too many -----

    fn is_surplus(&self) -> bool {
        self.serving() > self.config.max_workers
    }

    /// There may be fewer workers now. Those that have nothing to do leave at once, first those
    /// that are not even up, and the youngest first. What the others were sent ahead is taken back,
    /// so that they can leave as soon as possible.
    pub(super) fn dismiss_surplus(&mut self, now: Time) {
        let successors: Vec<_> = self.workers.successors().collect();
        let idle = self.worker_ids(|worker| worker.serves() && worker.is_idle());
        let starting = self.worker_ids(|worker| worker.serves() && !worker.is_ready());
        let idle = idle.into_iter().rev();
        for id in successors.into_iter().chain(starting.into_iter().rev()).chain(idle) {
            if self.is_surplus() {
                self.stop(now, id, LeaveReason::Surplus);
            }
        }
        self.set_surplus(self.is_surplus());
        if self.surplus {
            for id in self.worker_ids(|worker| worker.is_ready() && worker.ahead() > 0) {
                if self.workers.get(id).is_some_and(Worker::can_recall) {
                    self.recall(id);
                }
            }
        }
    }

    /// Whether there are still too many.
    pub(super) fn review_surplus(&mut self) {
        if self.surplus && !self.is_surplus() {
            self.set_surplus(false);
        }
    }

    fn set_surplus(&mut self, surplus: bool) {
        self.surplus = surplus;
        for id in self.worker_ids(|_| true) {
            self.update(id, |_| ()); // it may have room now, or none
        }
    }

    // ----- nothing to do -----

    /// When the next worker has been idle for too long.
    pub(super) fn idle_until(&self) -> Option<Time> {
        self.workers.idle_until().filter(|_| self.may_idle_ones_leave())
    }

    /// Suspects wait for more than one idle worker.
    fn may_idle_ones_leave(&self) -> bool {
        self.serving() > self.least_workers() && self.queue.suspects() == 0
    }

    /// Workers that have been idle for too long leave, the youngest first, but not all.
    pub(super) fn dismiss_idle(&mut self, now: Time) {
        if !self.may_idle_ones_leave() {
            return;
        }
        for id in self.workers.idle_too_long(now).into_iter().rev() {
            if self.may_idle_ones_leave() {
                self.stop(now, id, LeaveReason::Idle);
            }
        }
    }
}
