//! How tasks are ended while they run, and what follows from the end of a worker.

use super::restarts::delay;
use super::worker::{Sent, Sentence, Stage, Worker};
use super::{Action, End, Failure, KillReason, Phase, Scheduler, StartFailure, Time};
use crate::builder::OnWorkerDeath;
use crate::id::{TaskId, WorkerId};

impl Scheduler {
    /// Marks a sent task as one to be ended; that happens as soon as it is the running one.
    pub(super) fn sentence(
        &mut self,
        now: Time,
        id: WorkerId,
        position: usize,
        sentence: Sentence,
    ) {
        self.update(id, |worker| {
            if let Some(sent) = worker.pipeline.get_mut(position) {
                sent.sentence = sent.sentence.max(Some(sentence));
            }
        });
        if position == 0 {
            self.execute_sentence(now, id);
        }
    }

    /// Ends the worker of a sentenced running task, but only once nobody else can be hurt: what
    /// was sent ahead is recalled first, and if a part of it has begun, then the sentenced task
    /// has ended by itself and its result is on the way.
    pub(super) fn execute_sentence(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|w| w.is_ready() && w.is_sentenced())
        else {
            return;
        };
        if worker.ahead() == 0 {
            let kill_at = Some(now.saturating_add(self.config.grace_period));
            self.update(id, |worker| worker.stage = Stage::Ending { kill_at, fault: false });
            self.actions.push_back(Action::Terminate(id));
        } else if worker.can_recall() {
            self.recall(id);
        }
    }

    pub(super) fn worker_timeout(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        match worker.stage {
            Stage::Starting { .. } => self.end_now(id, KillReason::StartTimeout),
            Stage::Stopping { .. } | Stage::Ending { .. } => {
                self.end_now(id, KillReason::GraceOver);
            }
            Stage::Ready if worker.timeout_at().is_some_and(|at| at <= now) => {
                self.sentence(now, id, 0, Sentence::Timeout);
            }
            Stage::Ready => {
                self.update(id, |worker| worker.lose_patience(now));
                self.recall(id);
            }
        }
    }

    /// A worker that was told to end because of its task, and has finished it after all, needs no
    /// more of its grace period; it would only be in the way of its replacement.
    pub(super) fn end_if_spent(&mut self, id: WorkerId) {
        let spent = |worker: &Worker| {
            matches!(worker.stage, Stage::Ending { .. }) && worker.head().is_none()
        };
        if self.workers.get(&id).is_some_and(spent) {
            self.end_now(id, KillReason::GraceOver);
        }
    }

    pub(super) fn end_now(&mut self, id: WorkerId, reason: KillReason) {
        let killed = |worker: &Worker| matches!(worker.stage, Stage::Ending { kill_at: None, .. });
        if self.workers.get(&id).is_none_or(killed) {
            return;
        }
        let fault = matches!(reason, KillReason::Misbehaved | KillReason::StartTimeout);
        self.update(id, |worker| worker.stage = Stage::Ending { kill_at: None, fault });
        self.actions.push_back(Action::Kill(id, reason));
    }

    /// Draws the conclusions from the end of a worker, other than for its tasks.
    pub(super) fn mourn(&mut self, now: Time, worker: &Worker, end: End) {
        match (worker.stage, end) {
            // It was told to.
            (Stage::Stopping { .. } | Stage::Ending { fault: false, .. }, _) => {}
            (stage, End::StartFailed(failure)) => {
                self.restarts.start_failed(now, failure);
                let in_time = matches!(stage, Stage::Starting { .. });
                let alone = !self.workers.values().any(Worker::is_ready);
                if failure == StartFailure::Fatal
                    || !in_time
                    || (alone && self.restarts.is_hopeless())
                {
                    self.break_down();
                }
            }
            (_, End::Died { .. } | End::Left) => {
                self.counts.worker_deaths += 1;
                self.restarts.worker_died(now);
                if self.config.on_worker_death == OnWorkerDeath::Break {
                    self.break_down();
                }
            }
        }
    }

    /// Decides about a task that came back from a worker, and that may have begun or was to be
    /// ended.
    pub(super) fn end_sent(&mut self, now: Time, sent: Sent) {
        let Sent { mut task, sentence } = sent;
        let failure = match sentence {
            _ if matches!(self.phase, Phase::Broken { .. }) => Failure::Broken,
            Some(Sentence::CutShort) => {
                self.counts.killed += 1;
                return self.fail(task.id, Failure::Cancelled);
            }
            Some(Sentence::Abort) => return self.fail(task.id, Failure::Cancelled),
            Some(Sentence::Timeout) => Failure::TimedOut,
            None => Failure::Died,
        };
        if task.retries == 0 || failure == Failure::Broken || self.cancels_waiting() {
            return self.fail(task.id, failure);
        }
        task.retries -= 1;
        self.actions.push_back(Action::Withdraw(task.id));
        let due = now + delay(task.attempt);
        task.attempt += 1;
        self.queue.push_delayed(due, task);
    }

    /// Puts a task that has not begun back in its place, unless it is to be ended or nothing may
    /// begin any more.
    pub(super) fn requeue(&mut self, now: Time, sent: Sent) {
        if matches!(sent.sentence, Some(Sentence::Timeout | Sentence::Abort)) {
            return self.end_sent(now, sent);
        }
        let task = sent.task;
        match self.phase {
            Phase::Open | Phase::Draining { cancel: false } => {
                self.actions.push_back(Action::Withdraw(task.id));
                self.queue.push(task);
            }
            Phase::Draining { cancel: true } | Phase::Closed => {
                self.fail(task.id, Failure::Cancelled);
            }
            Phase::Broken { .. } => self.fail(task.id, Failure::Broken),
        }
    }

    pub(super) fn fail(&mut self, task: TaskId, failure: Failure) {
        match failure {
            Failure::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
        self.actions.push_back(Action::Fail(task, failure));
    }
}
