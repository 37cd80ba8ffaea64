//! Whether a task is begun again after an attempt, and when.
//!
//! ```text
//!                  with a condition             no, or not any more
//! an attempt ends ──────────────────▶ undecided ───────────────────▶ (delivered)
//!        │                                │ yes
//!        │ without one, if it has failed  ▼                time
//!        └─────────────────────────────▶ delayed ────────────────▶ queued
//! ```
//!
//! The condition is code of the user's, so its answer may come at any later event.

use std::time::Duration;

use super::Scheduler;
use super::action::{Action, Failure, Time};
use super::restarts::delay;
use super::task::{Task, Undecided, Wishes};
use super::worker::{Sent, Sentence};
use crate::base::TaskId;

impl Wishes {
    /// How long it waits before its attempt, which is not the first one. `seed` tells pools apart,
    /// so that what fails in several at the same time is not tried again at the same time.
    pub(super) fn delay(&self, task: TaskId, seed: u64) -> Duration {
        let attempts = self.attempt.saturating_sub(1);
        let Some(delays) = self.delays else { return delay(attempts) };
        delays.after(attempts, mixed(seed ^ mixed(task.0) ^ u64::from(attempts)))
    }
}

/// All bits of it depend on all bits of the number: the last step of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl Scheduler {
    /// Whether it depends on its condition if a task that a worker has is begun again.
    pub(super) fn is_conditional(&self, now: Time, sent: &Sent) -> bool {
        let unwanted = matches!(sent.sentence, Some(Sentence::Abort | Sentence::Deadline));
        sent.task.wishes().conditional && !unwanted && self.may_retry(now, &sent.task)
    }

    fn may_retry(&self, now: Time, task: &Task) -> bool {
        let Wishes { retries, deadline, .. } = *task.wishes();
        self.runs_waiting() && retries > 0 && deadline.is_none_or(|at| at > now)
    }

    /// Keeps a task until it is [decided](Self::decided) about. It may run on until `not_before`.
    pub(super) fn leave_undecided(
        &mut self,
        task: Task,
        failure: Option<Failure>,
        not_before: Time,
    ) {
        if let Some(failure) = failure {
            self.actions.push_back(Action::Consult(task.id, failure));
        }
        let undecided = Undecided { task, failure, not_before, is_aborted: false };
        self.undecided.insert(undecided.task.id, undecided);
    }

    /// A task is not to be begun again, if it is undecided.
    pub(super) fn abort_undecided(&mut self, task: TaskId) {
        if let Some(undecided) = self.undecided.get_mut(task) {
            undecided.is_aborted = true;
        }
    }

    /// Answers [`Action::Consult`], or [`Verdict::Undecided`](super::Verdict::Undecided), at once
    /// or later: whether the condition of a task wants a further attempt.
    pub(crate) fn decided(&mut self, now: Time, task: TaskId, wants_retry: bool) {
        let Some(undecided) = self.undecided.remove(task) else { return };
        let Undecided { task, failure, not_before, is_aborted } = undecided;
        if wants_retry && !is_aborted && self.may_retry(now, &task) {
            self.retry(now, task, not_before);
        } else {
            self.count_end(&task, failure);
            self.actions.push_back(Action::Deliver(task.id));
        }
        self.advance(now);
    }

    /// Begins a task again, when it has waited, and not before the last attempt is over for sure.
    pub(super) fn retry(&mut self, now: Time, mut task: Task, not_before: Time) {
        let [deadline, begin] = task.deadlines();
        self.forget_deadlines(task.id, [None, begin.filter(|_| begin != deadline)]);
        task.retry();
        self.actions.push_back(Action::Withdraw(task.id));
        self.postpone(now, task, not_before);
    }

    /// Whether a task that is submitted is the further attempt of an item that was accepted, so
    /// that a pool that runs what it has runs it, too.
    pub(super) fn repeats(&self, task: &Task) -> bool {
        self.runs_waiting() && task.wishes().attempt > 1
    }

    /// Has a task wait before its next attempt.
    pub(super) fn postpone(&mut self, now: Time, task: Task, not_before: Time) {
        let delay = task.wishes().delay(task.id, self.config.seed);
        self.queue.push_delayed(now.saturating_add(delay).max(not_before), task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Delays;

    #[test]
    fn jitter_tells_pools_tasks_and_attempts_apart() {
        let second = Duration::from_secs(1);
        let delays = Delays { first: second, doubles: false, longest: second, jitter: true };
        let wishes = Wishes { delays: Some(delays), ..Wishes::default() };
        let delay = |task, seed, attempt| Wishes { attempt, ..wishes }.delay(TaskId(task), seed);
        assert_ne!(delay(1, 7, 2), delay(1, 8, 2));
        assert_ne!(delay(1, 7, 2), delay(1, 7, 3));
        let mut delays: Vec<_> = (0..1_000).map(|task| delay(task, 7, 2)).collect();
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 900, "{}", delays.len());
        assert!(delays[0] < second * 51 / 100 && delays[delays.len() - 1] > second * 99 / 100);
    }
}
