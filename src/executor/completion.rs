//! Many tasks, in the order in which they end.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, Stream};
use serde::de::DeserializeOwned;

use crate::base::TaskId;
use crate::error::TaskError;
use crate::executor::handle::TaskHandle;

/// A task that is over.
#[derive(Debug)]
pub struct Completed<R> {
    /// Which one.
    pub id: TaskId,
    /// What became of it.
    pub result: Result<R, TaskError>,
}

/// Yields tasks in the order in which they end. Tasks that have ended already come first. It is
/// Python's function of the same name.
///
/// The stream owns the handles, so no task can be in it twice. [Dropping the
/// stream](crate::guide::conventions#what-a-drop-does) drops the handles that are left, which
/// detaches their tasks. [`abort_on_drop`](AsCompleted::abort_on_drop) aborts them instead.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::StreamExt;
///
/// let mut handles = Vec::new();
/// for n in 0..10 {
///     handles.push(pool.submit(square, n).await?);
/// }
/// let mut done = procpool::as_completed(handles);
/// while let Some(finished) = done.next().await {
///     println!("{}: {:?}", finished.id, finished.result?);
/// }
/// # Ok(())
/// # }
/// ```
pub fn as_completed<R>(handles: impl IntoIterator<Item = TaskHandle<R>>) -> AsCompleted<R> {
    let pending: FuturesUnordered<_> = handles.into_iter().map(Identified).collect();
    AsCompleted { total: pending.len(), pending }
}

/// The stream that [`as_completed`] returns.
///
/// # Cancel safety
///
/// `next` is cancel safe: a task is yielded once, and never lost.
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<R> {
    pending: FuturesUnordered<Identified<R>>,
    total: usize,
}

impl<R> AsCompleted<R> {
    /// Whether the tasks that have not been yielded are [aborted](TaskHandle::abort) when the
    /// stream is dropped. Default: as their [handles](TaskHandle::abort_on_drop) say, so no.
    ///
    /// ```
    /// # async fn example(handles: Vec<procpool::TaskHandle<u64>>) {
    /// use futures::StreamExt;
    ///
    /// let fastest = procpool::as_completed(handles).abort_on_drop(true).next().await;
    /// # drop(fastest);
    /// # }
    /// ```
    pub fn abort_on_drop(self, abort: bool) -> Self {
        for task in &self.pending {
            task.0.set_abort_on_drop(abort);
        }
        self
    }

    /// Ends the stream with an error when the time is up, as Python's `timeout` does.
    ///
    /// The time counts from now, on the clock of the runtime. [`Unfinished`] says how many tasks
    /// are left. These go on, and [`AsCompletedWithin::into_unfinished`] gives their handles back.
    ///
    /// ```
    /// # async fn example(handles: Vec<procpool::TaskHandle<u64>>) {
    /// use futures::StreamExt;
    /// use std::time::Duration;
    ///
    /// let mut done = procpool::as_completed(handles).within(Duration::from_secs(5));
    /// while let Some(next) = done.next().await {
    ///     match next {
    ///         Ok(finished) => println!("{}: {:?}", finished.id, finished.result),
    ///         Err(unfinished) => println!("{unfinished}"), // it is the last item
    ///     }
    /// }
    /// for handle in done.into_unfinished() {
    ///     handle.abort();
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    #[track_caller]
    pub fn within(self, limit: Duration) -> AsCompletedWithin<R> {
        AsCompletedWithin { done: self, limit: Some(Box::pin(tokio::time::sleep(limit))) }
    }

    /// The handles of the tasks that have not been yielded, in order of submission. A setting by
    /// [`abort_on_drop`](AsCompleted::abort_on_drop) of the stream still holds for them.
    pub fn into_unfinished(self) -> Vec<TaskHandle<R>> {
        let mut left: Vec<_> = self.pending.into_iter().map(|identified| identified.0).collect();
        left.sort_by_key(TaskHandle::id);
        left
    }
}

impl<R: DeserializeOwned> Stream for AsCompleted<R> {
    type Item = Completed<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.pending).poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.pending.len(), Some(self.pending.len()))
    }
}

/// The stream that [`AsCompleted::within`] returns. It ends after its first error.
///
/// # Cancel safety
///
/// As [`AsCompleted`]: a task is yielded once, and never lost.
#[must_use = "streams do nothing unless polled"]
pub struct AsCompletedWithin<R> {
    done: AsCompleted<R>,
    /// `None` once it is over.
    limit: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<R> AsCompletedWithin<R> {
    /// The handles of the tasks that have not been yielded, in order of submission. A setting by
    /// [`abort_on_drop`](AsCompleted::abort_on_drop) of the stream still holds for them.
    pub fn into_unfinished(self) -> Vec<TaskHandle<R>> {
        self.done.into_unfinished()
    }
}

impl<R: DeserializeOwned> Stream for AsCompletedWithin<R> {
    type Item = Result<Completed<R>, Unfinished>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(limit) = &mut this.limit else { return Poll::Ready(None) };
        // What has ended comes before the error, even if the time is up.
        if let Poll::Ready(next) = Pin::new(&mut this.done).poll_next(cx) {
            return Poll::Ready(next.map(Ok));
        }
        if limit.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.limit = None;
        let unfinished = this.done.pending.len();
        Poll::Ready(Some(Err(Unfinished { unfinished, total: this.done.total })))
    }
}

/// The time was up before all tasks had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{unfinished} of {total} tasks are unfinished")]
#[non_exhaustive]
pub struct Unfinished {
    /// How many have not ended.
    pub unfinished: usize,
    /// How many there were.
    pub total: usize,
}

/// A handle as a future that says whose result it is.
pub(crate) struct Identified<R>(pub(crate) TaskHandle<R>);

impl<R: DeserializeOwned> Future for Identified<R> {
    type Output = Completed<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.0.id();
        Pin::new(&mut self.0).poll(cx).map(|result| Completed { id, result })
    }
}

pub(crate) fn ids<R>(tasks: &FuturesUnordered<Identified<R>>) -> BTreeSet<TaskId> {
    tasks.iter().map(|identified| identified.0.id()).collect()
}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("AsCompleted");
        text.field("unfinished", &ids(&self.pending)).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for AsCompletedWithin<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompletedWithin").field("done", &self.done).finish_non_exhaustive()
    }
}
