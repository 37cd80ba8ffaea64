//! What waits: tasks in order of submission, and retries that sit out their back-off.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Time;
use crate::id::TaskId;

/// A task as far as policy is concerned. It moves whole between queue and pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// Counts from one; a task that had not begun when its worker died keeps its number.
    pub(crate) attempt: u32,
    /// How often it may still be begun again after a death or a timeout.
    pub(crate) retries: u32,
    /// Running time that it may take.
    pub(crate) timeout: Option<Duration>,
}

/// The waiting tasks. Ids grow with submission, so the order of ids is first in, first out, and a
/// task that comes back takes its old place.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    ready: BTreeMap<TaskId, Task>,
    delayed: BTreeMap<(Time, TaskId), Task>,
}

impl Queue {
    pub(super) fn push(&mut self, task: Task) {
        self.ready.insert(task.id, task);
    }

    /// Holds a task back until `due`.
    pub(super) fn push_delayed(&mut self, due: Time, task: Task) {
        self.delayed.insert((due, task.id), task);
    }

    pub(super) fn pop(&mut self) -> Option<Task> {
        self.ready.pop_first().map(|(_, task)| task)
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.ready.remove(&id).or_else(|| {
            let key = *self.delayed.keys().find(|(_, delayed)| *delayed == id)?;
            self.delayed.remove(&key)
        })
    }

    /// Empties the queue, delayed tasks included, in order of submission.
    pub(super) fn drain(&mut self) -> Vec<TaskId> {
        let delayed = std::mem::take(&mut self.delayed);
        self.ready.extend(delayed.into_values().map(|task| (task.id, task)));
        std::mem::take(&mut self.ready).into_keys().collect()
    }

    /// Moves every delayed task whose time has come among the ready ones.
    pub(super) fn release_due(&mut self, now: Time) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let task = entry.remove();
            self.ready.insert(task.id, task);
        }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Tasks that could be sent now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// All that waits, delayed retries included.
    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }
}
