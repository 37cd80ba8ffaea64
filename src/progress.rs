//! What a running task reports of itself, as a stream.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::stream::Stream;

use crate::cell::TaskCell;

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
    /// The attempt that reported it, counted from one. A [retry](crate::TaskBuilder::retries) starts
    /// from scratch, so `done` may be less than before.
    pub attempt: u32,
}

/// The stream of what one task reports; what
/// [`TaskHandle::progress`](crate::TaskHandle::progress) returns.
///
/// A reader sees the latest report, and not those that it was too slow for: only one is kept for each
/// task. The stream begins with the report that is the latest when it is first polled, even if the
/// task is over by then, and ends after the last one once the task is over, however it ended. If a
/// task is retried, the reports of its attempts follow one another in the same stream.
///
/// It does not borrow the handle, and neither keeps the task alive nor holds it up: it can be moved to a
/// task of its own, read as slowly as you like, and dropped at any time.
///
/// # Cancel safety
///
/// `next` is cancel safe: if it is dropped, the next call yields the report that it would have yielded
/// or a later one.
#[must_use = "streams do nothing unless polled"]
pub struct ProgressStream {
    cell: Arc<TaskCell>,
    /// Its place among those that wait.
    reader: u64,
    /// The number of the report that was yielded last.
    seen: u64,
}

impl ProgressStream {
    pub(crate) fn new(cell: Arc<TaskCell>) -> Self {
        let reader = cell.add_reader();
        Self { cell, reader, seen: 0 }
    }
}

impl Stream for ProgressStream {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Progress>> {
        let next = self.cell.poll_progress(self.reader, self.seen, cx.waker());
        next.map(|news| {
            let (number, progress) = news?;
            self.seen = number;
            Some(progress)
        })
    }
}

impl Drop for ProgressStream {
    fn drop(&mut self) {
        self.cell.remove_reader(self.reader);
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressStream").field("task", &self.cell.id()).finish_non_exhaustive()
    }
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
