//! What a running task reports of itself, as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::Stream;

use crate::pool::task::{Progress, TaskCell};

/// The stream of what one task reports; what
/// [`TaskHandle::progress`](crate::TaskHandle::progress) returns.
///
/// Only the latest report of a task is kept, so a slow reader misses some. The stream begins with
/// the report that is the latest at its first poll, even if the task is over by then. It ends after
/// the last report, once the task is over, however it ended. If a task is retried, the reports of
/// its attempts follow one another in the same stream.
///
/// It does not borrow the handle, keep the task alive, or hold it up. You can move it to a tokio
/// task of its own, read it as slowly as you like, and drop it at any time.
///
/// # Cancel safety
///
/// `next` is cancel safe: if it is dropped, the next call yields the report that it would have
/// yielded or a later one.
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
