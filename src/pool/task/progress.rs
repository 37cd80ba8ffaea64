//! What a running task has reported of itself, and who waits for more.

use std::task::Waker;

use serde::Serialize;

use crate::base::maps::SortedMap;
use crate::pool::task::waiters::Waiters;

/// How far a task has come, as it [reported](crate::Current::progress) itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The streams that wait.
    pub(crate) readers: Waiters,
}

impl Reports {
    /// Keeps a report; returns whom to wake.
    pub(crate) fn put(&mut self, progress: Progress) -> SortedMap<u64, Waker> {
        self.latest = Some(progress);
        self.number += 1;
        self.readers.take()
    }

    /// The latest report and its number, if it was not seen yet.
    pub(crate) fn unseen(&self, seen: u64) -> Option<(u64, Progress)> {
        (self.number != seen).then(|| self.latest.clone().map(|latest| (self.number, latest)))?
    }
}
