//! How tasks are ended while they run, and what follows from the end of a worker.

use std::time::Duration;

use super::action::{
    Action, End, Failure, KillReason, LeaveReason, OnWorkerDeath, Prospect, StartFailureKind, Time,
};
use super::task::{Task, Wishes};
use super::tenure::Departure;
use super::worker::{Mercy, Recall, Sent, Sentence, Worker, WorkerStage};
use super::{Phase, Scheduler};
use crate::base::{HostId, TaskId, WorkerId};

/// So long the running item of a chunk may take that is to be ended. Waiting for it is cheaper than
/// another worker.
pub(super) const MOMENT: Duration = Duration::from_millis(20);
/// Who looks at the clock so late has not run in the meantime.
pub(super) const STANDSTILL: Duration = Duration::from_millis(500);

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
        } else if sentence == Sentence::Deadline
            && self.workers.get(id).is_some_and(Worker::can_recall)
        {
            self.recall(id);
        }
    }

    /// Ends the worker of a sentenced running task, but only once nobody else can be hurt: what
    /// was sent ahead is recalled first, and if a part of it has begun, then the sentenced task
    /// has ended by itself and its result is on the way. Then the task is asked to end by itself,
    /// which spares the worker if it does.
    pub(super) fn execute_sentence(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(id).filter(|w| w.is_ready() && w.is_sentenced()) else {
            return;
        };
        if worker.recall == Recall::Asked {
            return; // the answer leads here again
        }
        let recalls = worker.gives_all_back() || worker.can_recall();
        match worker.mercy {
            _ if !worker.is_recallable() => self.terminate(now, id),
            Mercy::Unheard if recalls => {
                self.update(id, |worker| worker.mercy = Mercy::NotAsked);
                self.recall(id);
            }
            // What is behind it has begun, so it has ended by itself.
            Mercy::Unheard | Mercy::NotAsked if worker.ahead() > 0 => {}
            Mercy::Unheard | Mercy::NotAsked => {
                self.update(id, |worker| worker.mercy = Mercy::Asked);
                self.actions.push_back(Action::Ask(id));
            }
            Mercy::Asked | Mercy::Granted { .. } => {}
        }
    }

    /// Answers [`Action::Ask`]: why it is worth while to wait for the running task to end by
    /// itself, if it is.
    pub(crate) fn asked(&mut self, now: Time, id: WorkerId, prospect: Option<Prospect>) {
        let waits = |worker: &Worker| {
            worker.is_ready() && worker.is_sentenced() && worker.mercy == Mercy::Asked
        };
        if !self.workers.get(id).is_some_and(waits) {
            return;
        }
        if let Some(prospect) = prospect {
            let grace = self.config.grace_period;
            let patience = match prospect {
                Prospect::Looks => grace / 2,
                Prospect::Quick => MOMENT.min(grace / 2),
            };
            let ends = now.saturating_add(patience);
            let kill_at = now.saturating_add(grace);
            self.update(id, |worker| worker.mercy = Mercy::Granted { ends, kill_at });
        } else {
            self.terminate(now, id);
            self.advance(now);
        }
    }

    /// Sends a worker SIGTERM, and later SIGKILL.
    pub(super) fn terminate(&mut self, now: Time, id: WorkerId) {
        let grace_over = now.saturating_add(self.config.grace_period);
        self.update(id, |worker| {
            let kill_at = match worker.mercy {
                Mercy::Granted { kill_at, .. } => kill_at,
                Mercy::Unheard | Mercy::NotAsked | Mercy::Asked => grace_over,
            };
            worker.mercy = Mercy::Unheard;
            worker.stage = WorkerStage::Ending { kill_at: Some(kill_at), fault: false };
        });
        self.release_keys(id);
        self.actions.push_back(Action::Terminate(id));
    }

    /// Ends all tasks whose deadline has passed, and those that should have begun by now.
    pub(super) fn expire(&mut self, now: Time) {
        let mut sent = Vec::new(); // they come last, as what is recalled waits again
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(task) = self.queue.remove(id) {
                self.fail(&task, task.lateness(now).unwrap_or(Failure::Expired));
            } else {
                sent.push(id);
            }
        }
        for id in sent {
            if let Some((worker, position)) = self.find_sent(id) {
                self.expire_sent(now, worker, position);
            }
        }
    }

    /// A task that is too late is with a worker. If it should only have begun, and was sent ahead,
    /// it is asked back.
    fn expire_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        let Some(worker) = self.workers.get(id) else { return };
        let sent = worker.pipeline.get(position);
        match sent.and_then(|sent| sent.task.lateness(now)) {
            Some(Failure::Expired) => self.sentence(now, id, position, Sentence::Deadline),
            Some(_) if position > 0 && worker.can_recall() => self.recall(id),
            _ => {}
        }
    }

    pub(super) fn worker_timeout(&mut self, now: Time, id: WorkerId) {
        let worker = self.workers.get(id);
        let was_ready = worker.is_some_and(Worker::is_ready);
        // Also if it is found to leave now.
        let looks = worker.is_some_and(|worker| worker.is_to_be_looked_at(now));
        self.look_at_term(now, id);
        let Some(worker) = self.workers.get(id).filter(|worker| worker.is_ready() == was_ready)
        else {
            return;
        };
        match worker.stage {
            // The pool itself has stood still (stopped, or with its machine), and perhaps the
            // worker with it.
            WorkerStage::Starting { deadline } if now.saturating_sub(deadline) >= STANDSTILL => {
                let deadline = now.saturating_add(self.config.start_timeout);
                self.update(id, |worker| worker.stage = WorkerStage::Starting { deadline });
            }
            WorkerStage::Starting { .. } => self.end_now(id, KillReason::StartTimeout),
            WorkerStage::Stopping { .. } | WorkerStage::Ending { .. } => {
                self.end_now(id, KillReason::GraceOver);
            }
            WorkerStage::Ready if looks => {
                self.update(id, |worker| worker.front.ask());
                self.actions.push_back(Action::Look(id));
            }
            WorkerStage::Ready if worker.timeout_at().is_some_and(|at| at <= now) => {
                self.sentence(now, id, 0, Sentence::Timeout);
            }
            WorkerStage::Ready if worker.mercy_ends_at().is_some_and(|at| at <= now) => {
                self.terminate(now, id);
            }
            WorkerStage::Ready if worker.patience_ends_at().is_some_and(|at| at <= now) => {
                self.tempo.doubt();
                self.update(id, |worker| worker.lose_patience(now));
                self.recall(id);
            }
            WorkerStage::Ready => {}
        }
    }

    /// Draws the conclusions of a look at the front task of a worker.
    pub(super) fn conclude(&mut self, now: Time, id: WorkerId, has_begun: bool) {
        // Meanwhile it may have been sent another one, or the same once more.
        let asked = self.workers.get(id).filter(|worker| worker.front.is_asked_about());
        let Some(worker) = asked else { return };
        let must_begin = worker.must_begin_at().filter(|at| *at <= now);
        self.update(id, |worker| worker.front.looked(now, has_begun));
        match must_begin {
            _ if has_begun => {} // if its time is up that is the next thing to happen
            // The pool itself has stood still, and perhaps the worker with it.
            Some(at) if now.saturating_sub(at) >= STANDSTILL => {
                self.update(id, |worker| worker.front.bear_with(now));
            }
            Some(_) => self.give_up(id),
            None => {}
        }
    }

    /// A worker does nothing any more: what it was sent goes to others, and another one may take
    /// its place at once, whenever it ends.
    fn give_up(&mut self, id: WorkerId) {
        self.update(id, |worker| worker.departure = Some(Departure::Leaving(LeaveReason::Stuck)));
        let is_succeeded = self.workers.get(id).is_some_and(Worker::is_succeeded);
        self.vacancies += u64::from(!is_succeeded);
        self.release_keys(id);
        self.recall(id);
    }

    /// A worker that was told to end because of its task, and has finished it after all, needs no
    /// more of its grace period; it would only be in the way of its replacement.
    pub(super) fn end_if_spent(&mut self, id: WorkerId) {
        let spent = |worker: &Worker| {
            matches!(worker.stage, WorkerStage::Ending { .. }) && worker.head().is_none()
        };
        if self.workers.get(id).is_some_and(spent) {
            self.end_now(id, KillReason::GraceOver);
        }
    }

    pub(super) fn end_now(&mut self, id: WorkerId, reason: KillReason) {
        let killed =
            |worker: &Worker| matches!(worker.stage, WorkerStage::Ending { kill_at: None, .. });
        if self.workers.get(id).is_none_or(killed) {
            return;
        }
        let fault = matches!(reason, KillReason::Misbehaved | KillReason::StartTimeout);
        self.update(id, |worker| worker.stage = WorkerStage::Ending { kill_at: None, fault });
        self.release_keys(id);
        self.actions.push_back(Action::Kill(id, reason));
    }

    /// Draws the conclusions from the end of a worker, other than for its tasks. Those that had
    /// begun are in its hands yet.
    pub(super) fn mourn(&mut self, now: Time, worker: &Worker, end: End) {
        use StartFailureKind::{Fatal, Unreachable};

        match (worker.stage, end) {
            (_, End::HostLost { .. }) => {
                self.counts.workers_lost += 1;
                if worker.is_lost() && self.config.on_worker_death == OnWorkerDeath::Break {
                    self.break_down();
                }
            }
            // The back-off of its host has counted the loss already.
            (_, End::StartFailed(_)) if worker.is_lost() => self.counts.start_failures += 1,
            // It was told to.
            (WorkerStage::Stopping { .. } | WorkerStage::Ending { fault: false, .. }, _)
                if !worker.is_lost() => {}
            (stage, End::StartFailed(failure)) => {
                // One that was not ready in time is killed, which is not how it failed.
                let own = matches!(stage, WorkerStage::Starting { .. });
                let own = own || matches!(failure, Fatal | Unreachable);
                let failure = if own { failure } else { StartFailureKind::Initializer };
                let took = now.saturating_sub(worker.since);
                self.start_failed(now, worker.host, failure, took);
            }
            (_, End::Died { .. } | End::Left) => {
                self.counts.worker_deaths += 1;
                if worker.head().is_none() {
                    self.workers.hosts_mut().died_idle(now, worker.host);
                }
                if self.config.on_worker_death == OnWorkerDeath::Break {
                    self.break_down();
                }
            }
        }
    }

    /// A start has failed after so long. The pool breaks if no host is left where another one could
    /// succeed.
    fn start_failed(&mut self, now: Time, host: HostId, failure: StartFailureKind, took: Duration) {
        use StartFailureKind::{Crashed, Initializer, Killed};

        self.counts.start_failures += 1;
        let (hosts, retries) = (self.workers.hosts_mut(), self.config.initializer_retries);
        let is_hopeless = hosts.start_failed(now, host, (failure, took), retries);
        let is_death = matches!(failure, Crashed | Killed | Initializer);
        let breaks = is_death && self.config.on_worker_death == OnWorkerDeath::Break;
        if breaks || (is_hopeless && !self.workers.hosts().is_any_other_hopeful(host)) {
            self.break_down();
        }
    }

    /// Decides about a task that came back from a worker, and that may have begun or was to be
    /// ended. If its host is `lost` it may run on until then.
    pub(super) fn end_sent(&mut self, now: Time, sent: Sent, lost: Option<Time>) {
        let is_conditional = self.is_conditional(now, &sent);
        let Sent { task, sentence } = sent;
        let failure = match sentence {
            _ if matches!(self.phase, Phase::Broken { .. }) => Failure::Broken,
            Some(sentence) => {
                self.counts.killed += u64::from(sentence == Sentence::CutShort);
                sentence.failure(task.wishes().timeout)
            }
            None if lost.is_some() => Failure::HostLost,
            None => Failure::Died,
        };
        let may_be_retried = matches!(
            failure,
            Failure::Died | Failure::HostLost | Failure::TimedOut(_) | Failure::Replaced
        );
        let not_before = lost.unwrap_or(now);
        let Wishes { retries, conditional, .. } = *task.wishes();
        let repeats = !conditional && retries > 0 && !self.cancels_waiting();
        if may_be_retried && is_conditional {
            self.leave_undecided(task, Some(failure), not_before);
        } else if may_be_retried && repeats {
            self.retry(now, task, not_before);
        } else {
            self.fail(&task, failure);
        }
    }

    /// Puts a task that has not begun back in its place, unless it is to be ended or nothing may
    /// begin any more.
    pub(super) fn requeue(&mut self, now: Time, sent: Sent) {
        use Sentence::{Abort, Deadline, Timeout};

        if matches!(sent.sentence, Some(Timeout | Deadline | Abort)) {
            return self.end_sent(now, sent, None);
        }
        if self.runs_waiting() {
            if let Some(failure) = sent.task.lateness(now) {
                return self.fail(&sent.task, failure);
            }
            self.actions.push_back(Action::Withdraw(sent.task.id));
        }
        self.put_back(sent.task);
    }

    pub(super) fn put_back(&mut self, task: Task) {
        match self.phase {
            _ if self.runs_waiting() => self.queue.push(task),
            Phase::Broken { .. } => self.fail(&task, Failure::Broken),
            _ => self.fail(&task, Failure::Cancelled),
        }
    }

    /// Whether what waits will be run.
    pub(super) fn runs_waiting(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining { cancel: false })
    }

    /// None of these moments is waited for any more.
    pub(super) fn forget_deadlines(&mut self, task: TaskId, deadlines: [Option<Time>; 2]) {
        for deadline in deadlines.into_iter().flatten() {
            self.deadlines.remove(&(deadline, task));
        }
    }

    pub(super) fn fail(&mut self, task: &Task, failure: Failure) {
        self.count_end(task, Some(failure));
        self.actions.push_back(Action::Fail(task.id, failure));
    }

    /// A task is over, with a result if there is no failure.
    pub(super) fn count_end(&mut self, task: &Task, failure: Option<Failure>) {
        self.forget_deadlines(task.id, task.deadlines());
        match failure {
            None => self.counts.completed += 1,
            Some(Failure::Cancelled | Failure::Replaced) => self.counts.cancelled += 1,
            Some(_) => self.counts.failed += 1,
        }
    }
}
