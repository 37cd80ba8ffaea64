//! Which tasks may be begun again.

use super::{Entry, Model, Place};
use crate::base::{TaskId, WorkerId};
use crate::scheduler::{Failure, Time};

/// A task whose attempt is over.
#[derive(Clone, Copy, Debug)]
pub(in crate::scheduler::tests) struct Undecided {
    /// `None` if it has a result.
    failure: Option<Failure>,
    /// Whether another attempt is wanted, once that is known.
    pub(in crate::scheduler::tests) wants_retry: Option<bool>,
}

impl Model {
    /// Whether a task may be begun again, as far as the pool is concerned.
    fn tries_again(&self, now: Time, entry: &Entry) -> bool {
        let is_late = entry.expired || entry.wishes.deadline.is_some_and(|at| at <= now);
        let serves = !self.broken && !self.cancels && !self.closed;
        serves && entry.wishes.retries > 0 && !entry.aborted && !is_late
    }

    /// Whether it depends on what is decided.
    pub(in crate::scheduler::tests) fn consults(&self, now: Time, entry: &Entry) -> bool {
        entry.wishes.conditional && self.tries_again(now, entry)
    }

    /// Whether a failure is the last one that nobody is consulted about.
    pub(in crate::scheduler::tests) fn gives_up(&self, now: Time, entry: &Entry) -> bool {
        let fails = entry.wishes.conditional && !self.consults(now, entry);
        entry.wishes.retries == 0 || self.cancels || fails
    }

    /// Whether an undecided task, about which it was decided, is begun again.
    pub(in crate::scheduler::tests) fn goes_on(&self, now: Time, task: TaskId) -> bool {
        let wants_retry = self.undecided.get(&task).and_then(|undecided| undecided.wants_retry);
        let entry = self.task(task);
        wants_retry == Some(true) && entry.is_some_and(|entry| self.tries_again(now, entry))
    }

    /// The `n`-th that is undecided, or one after it.
    pub(in crate::scheduler::tests) fn choose_undecided(&self, n: usize) -> Option<TaskId> {
        let count = self.undecided.len();
        (count > 0).then(|| self.undecided.keys().nth(n % count).copied())?
    }

    /// The result has been taken, and is to be told.
    pub(in crate::scheduler::tests) fn returned(&mut self, task: TaskId) {
        self.task_mut(task).place = Place::Resolved;
        self.counts.completed += 1;
    }

    /// It has failed, perhaps before it began, and it is asked whether it is begun again.
    pub(in crate::scheduler::tests) fn consult(
        &mut self,
        now: Time,
        task: TaskId,
        failure: Failure,
        is_unbegun: bool,
    ) {
        if let Place::Sent(worker) = self.task_mut(task).place {
            self.settle(task, self.cost(now, task, is_unbegun));
            self.take_out(now, worker, task);
        }
        self.ask_about(task, Some(failure));
    }

    /// It is asked whether it is begun again.
    pub(in crate::scheduler::tests) fn ask_about(
        &mut self,
        task: TaskId,
        failure: Option<Failure>,
    ) {
        self.task_mut(task).place = Place::Undecided;
        self.undecided.insert(task, Undecided { failure, wants_retry: None });
    }

    pub(in crate::scheduler::tests) fn decided(&mut self, task: TaskId, wants_retry: bool) {
        if let Some(undecided) = self.undecided.get_mut(&task) {
            undecided.wants_retry = Some(wants_retry);
        }
    }

    pub(in crate::scheduler::tests) fn delivered(&mut self, task: TaskId) {
        self.task_mut(task).place = Place::Resolved;
        match self.undecided.remove(&task).and_then(|undecided| undecided.failure) {
            Some(failure) => self.count_failure(failure),
            None => self.counts.completed += 1,
        }
    }

    pub(super) fn count_failure(&mut self, failure: Failure) {
        match failure {
            Failure::Cancelled | Failure::Replaced => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
    }

    /// `sent` is who has it, and whether it has not begun, unless it was undecided.
    pub(in crate::scheduler::tests) fn retry(
        &mut self,
        now: Time,
        sent: Option<(WorkerId, bool)>,
        task: TaskId,
    ) {
        self.undecided.remove(&task);
        if let Some((worker, is_unbegun)) = sent {
            self.settle(task, self.cost(now, task, is_unbegun));
            self.take_out(now, worker, task);
        }
        let seed = self.config.seed;
        let entry = self.task_mut(task);
        entry.wishes.attempt += 1;
        entry.wishes.retries -= 1;
        let due = now + entry.wishes.delay(task, seed);
        entry.place = Place::Delayed(due.max(entry.runs_until));
        entry.wishes.begin = None;
        (entry.timed_out, entry.replaced) = (false, false);
    }
}
