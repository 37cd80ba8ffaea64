//! What a running task has reported of itself, and who waits for more.

use std::collections::BTreeMap;
use std::task::Waker;

/// How far a task has come, as it [reported](crate::Current::progress) itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// How much is done, in units of the task's own.
    pub done: u64,
    /// How much there is to do.
    pub total: u64,
    /// A text to show; cut after 4 KiB.
    pub message: String,
    /// The attempt that reported it, counted from one. A [retry](crate::TaskBuilder::retries)
    /// starts from scratch, so `done` may be less than before.
    pub attempt: u32,
}

/// What a task has reported, and who waits for more. A task has it only if it reports or somebody
/// wants to know.
#[derive(Default)]
pub(crate) struct Reports {
    latest: Option<Progress>,
    /// How many there were.
    number: u64,
    /// One place for each stream that waits, so it grows no larger than their number.
    waiting: BTreeMap<u64, Waker>,
    /// How many streams there were.
    readers: u64,
}

impl Reports {
    pub(crate) fn add_reader(&mut self) -> u64 {
        self.readers += 1;
        self.readers
    }

    /// The waker is returned because dropping it is foreign code, which must not meet a lock.
    pub(crate) fn remove_reader(&mut self, reader: u64) -> Option<Waker> {
        self.waiting.remove(&reader)
    }

    /// Keeps a report; returns whom to wake.
    pub(crate) fn put(&mut self, progress: Progress) -> BTreeMap<u64, Waker> {
        self.latest = Some(progress);
        self.number += 1;
        self.take_waiting()
    }

    pub(crate) fn take_waiting(&mut self) -> BTreeMap<u64, Waker> {
        std::mem::take(&mut self.waiting)
    }

    /// The latest report and its number, if it was not seen yet.
    pub(crate) fn unseen(&self, seen: u64) -> Option<(u64, Progress)> {
        (self.number != seen).then(|| self.latest.clone().map(|latest| (self.number, latest)))?
    }

    /// Returns the waker that is replaced, as `remove_reader` does.
    pub(crate) fn wait(&mut self, reader: u64, waker: &Waker) -> Option<Waker> {
        self.waiting.insert(reader, waker.clone())
    }
}
