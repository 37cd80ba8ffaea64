//! Awaiting, asking and cancelling one task.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::base::TaskId;
use crate::error::TaskError;
use crate::executor::blocking::block_on;
use crate::executor::emitted::EmittedStream;
use crate::executor::progress::ProgressStream;
use crate::executor::started::Started;
use crate::pool::task::{Cancellation, Resolution, TaskCell, TaskStatus};
use crate::pool::{Command, Commons};

/// Awaits, observes and cancels one task; what [`submit`](crate::ProcessPoolExecutor::submit)
/// returns.
///
/// It is a future of the task's result. [Dropping it](crate::guide::conventions#what-a-drop-does)
/// detaches the task, which goes on, as with a [`tokio::task::JoinHandle`].
/// [`abort_on_drop`](Self::abort_on_drop) is the opposite.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = pool.submit(square, 12).await?;
/// println!("{} is {:?}", handle.id(), handle.status());
/// assert_eq!(handle.await?, 144);
/// # Ok(())
/// # }
/// ```
///
/// Several parties can await one result by `shared` of the `futures` crate, if the result is
/// `Clone`. All errors are `Clone`.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::FutureExt;
///
/// let result = pool.submit(square, 12).await?.shared();
/// let other = tokio::spawn(result.clone());
/// assert_eq!(result.await?, 144);
/// assert_eq!(other.await??, 144);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut handle` is cancel safe: if another branch of a `select!` is faster, the result is
/// still there for the next await. A handle may be awaited again even after it was ready. Each time
/// the result is decoded anew.
#[must_use = "dropping the handle detaches the task; its result is lost"]
pub struct TaskHandle<R> {
    cell: Arc<TaskCell>,
    pool: Arc<Commons>,
    result: PhantomData<fn() -> R>,
}

impl<R> TaskHandle<R> {
    pub(crate) fn new(cell: Arc<TaskCell>, pool: Arc<Commons>) -> Self {
        Self { cell, pool, result: PhantomData }
    }

    /// The task's id, unique in its pool.
    pub fn id(&self) -> TaskId {
        self.cell.id()
    }

    /// Where the task stands at this moment.
    pub fn status(&self) -> TaskStatus {
        self.cell.status()
    }

    /// Whether the task is over: finished or cancelled.
    pub fn is_finished(&self) -> bool {
        matches!(self.status(), TaskStatus::Finished | TaskStatus::Cancelled)
    }

    /// Waits until the task runs in a worker, and returns [`Running`](TaskStatus::Running). If the
    /// task was over before anybody looked, it returns [`Finished`](TaskStatus::Finished) or
    /// [`Cancelled`](TaskStatus::Cancelled). It never returns [`Pending`](TaskStatus::Pending).
    ///
    /// A task that is [tried again](crate::TaskBuilder::retries) waits in between, and this waits
    /// for its next attempt. If nobody calls this for a task, it costs nothing.
    ///
    /// ```
    /// # fn convert(file: String) -> usize { file.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// use procpool::TaskStatus;
    ///
    /// let handle = pool.submit(convert, "film.mkv".to_owned()).await?;
    /// if handle.started().await == TaskStatus::Running {
    ///     println!("{} has left the queue", handle.id());
    /// }
    /// let size = handle.await?;
    /// # let _: usize = size;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing; call it again to wait again.
    pub fn started(&self) -> Started {
        Started::new(Arc::clone(&self.cell), Arc::clone(&self.pool))
    }

    /// What the task [reports](crate::Current::progress) of itself, as a stream that ends when the
    /// task is over. There may be several streams; each sees the latest report.
    ///
    /// ```
    /// # fn convert(file: String) -> usize { file.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    ///
    /// let handle = pool.submit(convert, "film.mkv".to_owned()).await?;
    /// let mut progress = handle.progress();
    /// while let Some(report) = progress.next().await {
    ///     println!("{} of {}: {}", report.done, report.total, report.message);
    /// }
    /// let size = handle.await?;
    /// # let _: usize = size;
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(Arc::clone(&self.cell))
    }

    /// What the task [emits](crate::Current::emit) while it runs, as a stream of values that ends
    /// when the task is over: its partial results, or messages.
    ///
    /// A task waits while 16 of its values, or a megabyte of them, wait for the reader; see
    /// [`emit_capacity`](crate::TaskBuilder::emit_capacity). So read the stream to its end before
    /// you await the handle, or do both at once. If you await the handle, and keep the stream
    /// without reading it, you and the task wait for each other.
    ///
    /// Ask for the stream before you await the handle. If you await or drop the handle without a
    /// stream, the values are discarded, and the task never waits. Before that, they are kept for
    /// you as long as there is room. Then the task waits, and keeps its worker.
    /// `drop(handle.emitted::<()>())` says at once that you do not want them.
    ///
    /// ```
    /// # fn primes(limit: u64) -> u64 { limit }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    ///
    /// let handle = pool.submit(primes, 100_000).await?;
    /// let mut primes = handle.emitted::<u64>();
    /// while let Some(prime) = primes.next().await {
    ///     println!("{}", prime?);
    /// }
    /// println!("{} primes", handle.await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Both at once, where the result should not wait for a slow reader:
    ///
    /// ```
    /// # fn primes(limit: u64) -> u64 { limit }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    ///
    /// let handle = pool.submit(primes, 100_000).await?;
    /// let primes = handle.emitted::<u64>();
    /// let (count, shown) = tokio::join!(handle, primes.take(10).collect::<Vec<_>>());
    /// println!("the first {} of {}", shown.len(), count?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emitted<T: DeserializeOwned>(&self) -> EmittedStream<T> {
        EmittedStream::new(Arc::clone(&self.cell), Arc::clone(&self.pool))
    }

    /// Cancels the task if it has not begun; then it never begins. Returns true if it is cancelled,
    /// now or before, and false if it runs or has finished. It works on a task that was sent ahead
    /// to a busy worker, too. This is the `cancel` of Python's futures.
    pub fn cancel(&self) -> bool {
        match self.cell.cancel() {
            Cancellation::Now => {
                self.pool.send(Command::Cancel(self.cell.id())); // or the pool is gone
                true
            }
            Cancellation::Already => true,
            Cancellation::TooLate => false,
        }
    }

    /// Ends the task even if it runs, which Python's pools cannot. Its worker, and what the task
    /// has started, get SIGTERM, and SIGKILL after the [grace
    /// period](crate::Builder::grace_period). The worker is replaced, and nobody else's task is
    /// touched. The handle resolves as cancelled once the worker is gone, or with the result if
    /// that was faster.
    ///
    /// A task that looks whether it [is cancelled](crate::Current::is_cancelled) is asked first. If
    /// it returns, the handle resolves with its result, and its worker lives on.
    pub fn abort(&self) {
        if !self.cancel() && self.cell.abort() {
            self.pool.send(Command::Abort(self.cell.id())); // or the pool is gone
        }
    }

    /// Whether the task is [aborted](Self::abort) when the handle is dropped. Default: no, it is
    /// detached and goes on.
    ///
    /// ```
    /// # fn search(text: String) -> usize { text.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// let task = pool.submit(search, "needle".to_owned()).await?.abort_on_drop(true);
    /// println!("{} is {:?}", task.id(), task.status());
    /// let found = task.await?; // if this future is dropped here, the search ends
    /// # let _: usize = found;
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort_on_drop(self, abort: bool) -> Self {
        self.set_abort_on_drop(abort);
        self
    }

    pub(crate) fn set_abort_on_drop(&self, abort: bool) {
        self.cell.set_aborted_on_drop(abort);
    }

    /// A handle by which no result is decoded.
    pub(crate) fn untyped(&self) -> TaskHandle<()> {
        TaskHandle::new(Arc::clone(&self.cell), Arc::clone(&self.pool))
    }

    fn poll_cell(&self, cx: &Context<'_>) -> Poll<Resolution> {
        let (end, asks) = self.cell.poll(cx.waker());
        if asks {
            self.pool.send(Command::Credit(self.cell.id())); // or the pool is gone
        }
        end
    }

    /// Ready once the task is over. Its result is not decoded.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<Result<(), TaskError>> {
        self.poll_cell(cx).map(|resolution| resolution.map(drop))
    }
}

impl<R: DeserializeOwned> TaskHandle<R> {
    /// As awaiting it, but `take`, if it is given, takes a result that has been decoded before.
    pub(crate) async fn result(
        self,
        take: Option<fn(&TaskCell) -> Option<R>>,
    ) -> Result<R, TaskError> {
        if let Some(take) = take {
            poll_fn(|cx| self.poll_end(cx)).await?;
            if let Some(result) = take(&self.cell) {
                return Ok(result);
            }
        }
        self.await
    }

    /// Blocks this thread until the task is over. It is for threads outside of the runtime, which
    /// cannot await the handle. Another thread must drive the runtime of the pool meanwhile.
    ///
    /// # Errors
    ///
    /// As awaiting the handle.
    ///
    /// # Panics
    ///
    /// Within an asynchronous execution context, as
    /// [`blocking_recv`](tokio::sync::oneshot::Receiver::blocking_recv) of tokio's channels.
    /// Threads of [`spawn_blocking`](tokio::task::spawn_blocking) may call it.
    #[track_caller]
    pub fn blocking_wait(self) -> Result<R, TaskError> {
        block_on(self)
    }

    /// Calls `callback` with the result once the task is over, at once if it is already.
    ///
    /// Callbacks are called one after the other, in the order in which they were added. They must
    /// be quick and must not block, because a task of the pool's calls them, or the thread that
    /// cancels, or one that has just called [`run`](crate::ProcessPoolExecutor::run). They may
    /// submit, cancel and add further callbacks. If one panics, that is logged, and the next is
    /// called, as in Python. The result is decoded for each callback.
    pub fn add_done_callback<F>(&self, callback: F)
    where
        F: FnOnce(Result<R, TaskError>) + Send + 'static,
    {
        // The cell holds itself, but only until the task is over, and every task ends.
        let cell = Arc::clone(&self.cell);
        self.cell.add_callback(Box::new(move |resolution| callback(cell.decode(resolution))));
    }
}

impl<R: DeserializeOwned> Future for TaskHandle<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_cell(cx).map(|resolution| self.cell.decode(&resolution))
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.cell.id())
            .field("function", &self.cell.name())
            .field("label", &self.cell.label())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if self.cell.is_aborted_on_drop() {
            self.abort();
        }
        // Nobody asks any more for what it emits.
        if self.cell.let_go() {
            self.pool.send(Command::Credit(self.cell.id())); // or the pool is gone
        }
    }
}
