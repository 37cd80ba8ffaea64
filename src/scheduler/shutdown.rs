//! The end of the pool: shut down, cut short, or broken.

use super::action::{Action, Failure, Force, KillReason, LeaveReason, RefuseReason, Time};
use super::worker::{Sentence, Worker, WorkerStage};
use super::{Crew, Phase, Queue, Scheduler};

impl Scheduler {
    /// Nobody acts for it any more, so nothing runs or waits, and so many tasks have failed.
    pub(crate) fn abandon(&mut self, failed: u64) {
        self.counts.failed += failed;
        self.queue = Queue::default();
        self.undecided.clear();
        self.sent.clear();
        self.lost_homes.clear();
        self.workers = Crew::new(&self.config);
        self.phase = Phase::Closed;
    }

    /// Accepts no more tasks, and cancels those that wait or not.
    pub(super) fn begin_shutdown(&mut self, cancel_futures: bool) {
        self.phase = match self.phase {
            Phase::Open => {
                self.actions.push_back(Action::Refuse(RefuseReason::ShutDown));
                Phase::Draining { cancel: cancel_futures }
            }
            Phase::Draining { cancel } => Phase::Draining { cancel: cancel || cancel_futures },
            Phase::Broken { .. } => Phase::Broken { shut_down: true },
            Phase::Closed => Phase::Closed,
        };
        self.warm_up = false;
        self.queue.release_all();
        if self.cancels_waiting() {
            self.cancel_waiting();
        }
    }

    /// Every task fails and every worker goes.
    pub(super) fn break_down(&mut self) {
        let shut_down = match self.phase {
            Phase::Open => false,
            Phase::Draining { .. } => true,
            Phase::Broken { .. } | Phase::Closed => return,
        };
        self.phase = Phase::Broken { shut_down };
        self.actions.push_back(Action::Refuse(RefuseReason::Broken));
        for task in self.queue.drain() {
            self.fail(&task, Failure::Broken);
        }
        for id in self.worker_ids(|_| true) {
            self.end_now(id, KillReason::Broken);
        }
    }

    pub(super) fn cancels_waiting(&self) -> bool {
        self.phase == Phase::Draining { cancel: true }
    }

    /// Cancels what has not begun, and recalls what was sent ahead so that it is cancelled too.
    fn cancel_waiting(&mut self) {
        for task in self.queue.drain() {
            self.fail(&task, Failure::Cancelled);
        }
        for id in self.worker_ids(|worker| worker.is_ready() && worker.can_recall()) {
            self.recall(id);
        }
    }

    /// A shutdown's time is up: what waits is cancelled, what runs is ended.
    pub(super) fn cut_short(&mut self, now: Time) {
        if let Phase::Draining { cancel } = &mut self.phase {
            *cancel = true;
        }
        self.cancel_waiting();
        for id in self.worker_ids(|_| true) {
            let Some(worker) = self.workers.get(id) else { continue };
            let tasks = worker.pipeline.len();
            if tasks == 0 {
                self.end_now(id, KillReason::GraceOver);
            }
            // The front one may have finished already, so those behind it may run.
            for position in 0..tasks {
                self.sentence(now, id, position, Sentence::CutShort);
            }
        }
    }

    /// Ends every worker without asking its task first.
    pub(super) fn force_out(&mut self, now: Time, force: Force) {
        for id in self.worker_ids(|_| true) {
            self.update(id, |worker| {
                for sent in &mut worker.pipeline {
                    sent.sentence = sent.sentence.max(Some(Sentence::CutShort));
                }
            });
            let stays = self.workers.get(id).is_some_and(|worker| {
                matches!(worker.stage, WorkerStage::Starting { .. } | WorkerStage::Ready)
            });
            match force {
                Force::Terminate if stays => self.terminate(now, id),
                Force::Terminate => {}
                Force::Kill => self.end_now(id, KillReason::Wanted),
            }
        }
    }

    /// Sends workers home once a shut down pool has run dry, and closes after the last.
    pub(super) fn finish_shutdown(&mut self, now: Time) {
        match self.phase {
            Phase::Draining { .. } => {
                let dry = self.queue.len() == 0 && self.running() == 0;
                if dry {
                    self.stop_workers(now);
                }
                if dry && self.workers.is_empty() {
                    self.close();
                }
            }
            Phase::Broken { shut_down: true }
                if self.workers.is_empty() && self.undecided.is_empty() =>
            {
                self.close();
            }
            _ => {}
        }
    }

    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.reminder = None;
        self.actions.push_back(Action::Close);
    }

    fn stop_workers(&mut self, now: Time) {
        let tally = self.workers.tally();
        if tally.ready + tally.starting == 0 {
            return;
        }
        let stays = |worker: &Worker| {
            matches!(worker.stage, WorkerStage::Ready | WorkerStage::Starting { .. })
        };
        for id in self.worker_ids(stays) {
            self.stop(now, id, LeaveReason::ShutDown);
        }
    }
}
