//! The end of the pool: shut down, cut short, or broken.

use super::worker::{Sentence, Stage, Worker};
use super::{Action, Failure, KillReason, Phase, Refusal, Scheduler, Time};
use crate::id::WorkerId;

impl Scheduler {
    /// Every task fails and every worker goes.
    pub(super) fn break_down(&mut self) {
        let shut_down = match self.phase {
            Phase::Open => false,
            Phase::Draining { .. } => true,
            Phase::Broken { .. } | Phase::Closed => return,
        };
        self.phase = Phase::Broken { shut_down };
        self.actions.push_back(Action::Refuse(Refusal::Broken));
        for task in self.queue.drain() {
            self.fail(task, Failure::Broken);
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.end_now(id, KillReason::Broken);
        }
    }

    pub(super) fn cancels_waiting(&self) -> bool {
        self.phase == Phase::Draining { cancel: true }
    }

    /// Cancels what has not begun, and recalls what was sent ahead so that it is cancelled too.
    pub(super) fn cancel_waiting(&mut self) {
        for task in self.queue.drain() {
            self.fail(task, Failure::Cancelled);
        }
        let ahead =
            self.workers.iter().filter(|(_, worker)| worker.is_ready() && worker.can_recall());
        let ids: Vec<WorkerId> = ahead.map(|(id, _)| *id).collect();
        for id in ids {
            self.recall(id);
        }
    }

    /// A shutdown's time is up: what waits is cancelled, what runs is ended.
    pub(super) fn cut_short(&mut self, now: Time) {
        if let Phase::Draining { cancel } = &mut self.phase {
            *cancel = true;
        }
        self.cancel_waiting();
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(worker) = self.workers.get(&id) else { continue };
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

    /// Sends workers home once a shut down pool has run dry, and closes after the last.
    pub(super) fn finish_shutdown(&mut self, now: Time) {
        match self.phase {
            Phase::Draining { .. } => {
                let dry =
                    self.queue.len() == 0 && self.workers.values().all(|w| w.head().is_none());
                if dry {
                    self.stop_workers(now);
                }
                if dry && self.workers.is_empty() {
                    self.close();
                }
            }
            Phase::Broken { shut_down: true } if self.workers.is_empty() => self.close(),
            _ => {}
        }
    }

    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.actions.push_back(Action::Close);
    }

    pub(super) fn stop_workers(&mut self, now: Time) {
        let deadline = now.saturating_add(self.config.grace_period);
        let stays = |worker: &Worker| matches!(worker.stage, Stage::Ready | Stage::Starting { .. });
        let staying = self.workers.iter().filter(|(_, worker)| stays(worker));
        let ids: Vec<WorkerId> = staying.map(|(id, _)| *id).collect();
        for id in ids {
            self.update(id, |worker| worker.stage = Stage::Stopping { deadline });
            self.actions.push_back(Action::Stop(id));
        }
    }
}
