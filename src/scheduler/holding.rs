//! Tasks that are held back: those of a map whose results nobody takes.

use super::action::Time;
use super::task::Task;
use super::{Phase, Scheduler};
use crate::base::TaskId;

impl Scheduler {
    /// Whether anything can be held back: a pool that ends runs what it has, or cancels it.
    pub(crate) fn may_hold(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether anything is held back.
    #[cfg(test)]
    pub(crate) fn holds_some(&self) -> bool {
        self.queue.holds_some()
    }

    /// As [`submit`](Self::submit), for a task that is [held back](Self::hold) at once.
    pub(crate) fn submit_held(&mut self, now: Time, task: Task) {
        let id = task.id;
        if !self.may_hold() {
            return self.submit(now, task);
        }
        self.accept(&task);
        self.queue.push(task);
        self.queue.hold(id);
        self.advance(now);
    }

    /// These tasks have not begun, and no worker will begin them: they wait until they are
    /// [released](Self::release), or the pool ends.
    pub(crate) fn hold(&mut self, now: Time, tasks: &[TaskId]) {
        for task in tasks {
            if let Some((id, position)) = self.find_sent(*task) {
                let sent = self.workers.get(id).and_then(|worker| worker.pipeline.get(position));
                let sent = sent.cloned();
                self.take_sent(now, id, position);
                if let Some(sent) = sent {
                    self.requeue(now, sent);
                }
            }
            self.hold_queued(*task);
        }
        self.advance(now);
    }

    /// As [`hold`](Self::hold), for one that was sent to no worker.
    pub(crate) fn hold_queued(&mut self, task: TaskId) {
        if self.may_hold() {
            self.queue.hold(task);
        }
    }

    /// Those of these tasks that are held back may be sent again.
    pub(crate) fn release(&mut self, now: Time, tasks: &[TaskId]) {
        for task in tasks {
            self.queue.release(*task);
        }
        self.advance(now);
    }
}
