//! The ways to hand a task to a pool.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{RunError, SubmitError};
use crate::executor::handle::TaskHandle;
use crate::executor::pool::ProcessPoolExecutor;
use crate::executor::task::TaskBuilder;
use crate::function::TaskFn;

impl ProcessPoolExecutor {
    /// Queues a task: `f` called with `args` in a worker. Waits while the queue is full, first
    /// come, first served.
    ///
    /// One parameter is passed bare, several as a tuple, none as `()`.
    ///
    /// # Errors
    ///
    /// If `f` is not registered, if the arguments cannot be encoded or are too large, or if the
    /// pool is shut down or broken. These come at once. Also if the pool is shut down or breaks
    /// while this waits for room.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, nothing has been submitted.
    pub async fn submit<F, A, M>(&self, f: F, args: A) -> Result<TaskHandle<F::Output>, SubmitError>
    where
        F: TaskFn<A, M>,
        A: Serialize,
    {
        self.task(f, args).submit().await
    }

    /// As [`submit`](Self::submit), but never waits.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), and [`is_queue_full`](SubmitError::is_queue_full); then nothing
    /// has been handed to the pool.
    pub fn try_submit<F, A, M, R>(&self, f: F, args: A) -> Result<TaskHandle<R>, SubmitError>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        self.task(f, args).try_submit()
    }

    /// Submits a task and awaits its result. The counterpart of Python's
    /// `loop.run_in_executor(pool, f, *args)`.
    ///
    /// # Errors
    ///
    /// Everything that [`submit`](Self::submit) returns, and everything that a task can meet.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task. If the task runs, its worker is ended and replaced, as
    /// by [`TaskHandle::abort`]. So `tokio::time::timeout` around it bounds the work, not only the
    /// wait.
    pub async fn run<F, A, M>(&self, f: F, args: A) -> Result<F::Output, RunError>
    where
        F: TaskFn<A, M>,
        A: Serialize,
    {
        self.task(f, args).run().await
    }

    /// As [`run`](Self::run), but never waits for room in the queue. A service uses it to say at
    /// once that it has too much to do.
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> (u16, String) {
    /// match pool.try_run(square, 12).await {
    ///     Ok(result) => (200, result.to_string()),
    ///     Err(error) if error.is_queue_full() => (429, "try again later".to_owned()),
    ///     Err(error) => (500, error.to_string()),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), and [`is_queue_full`](RunError::is_queue_full).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn try_run<F, A, M>(&self, f: F, args: A) -> Result<F::Output, RunError>
    where
        F: TaskFn<A, M>,
        A: Serialize,
    {
        self.task(f, args).try_run().await
    }

    /// As [`submit`](Self::submit), for threads outside of the runtime: blocks this thread while
    /// the queue is full. Another thread must drive the runtime of the pool meanwhile. Methods
    /// without a blocking form, such as `shutdown`, are awaited on such a thread by
    /// [`Handle::block_on`](tokio::runtime::Handle::block_on).
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// let thread = std::thread::spawn(move || {
    ///     let handle = pool.blocking_submit(square, 12)?;
    ///     println!("{} is on its way", handle.id());
    ///     Ok::<u64, procpool::RunError>(handle.blocking_wait()?)
    /// });
    /// # drop(thread);
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Panics
    ///
    /// Within an asynchronous execution context, as
    /// [`blocking_recv`](tokio::sync::oneshot::Receiver::blocking_recv) of tokio's channels.
    /// Threads of [`spawn_blocking`](tokio::task::spawn_blocking) may call it.
    #[track_caller]
    pub fn blocking_submit<F, A, M, R>(&self, f: F, args: A) -> Result<TaskHandle<R>, SubmitError>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        self.task(f, args).blocking_submit()
    }

    /// As [`run`](Self::run), for threads outside of the runtime: blocks this thread until the task
    /// is over.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`blocking_submit`](Self::blocking_submit).
    #[track_caller]
    pub fn blocking_run<F, A, M, R>(&self, f: F, args: A) -> Result<R, RunError>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
        R: DeserializeOwned,
    {
        self.task(f, args).blocking_run()
    }

    /// A task with settings of its own; see [`TaskBuilder`].
    pub fn task<F, A, M>(&self, f: F, args: A) -> TaskBuilder<'_, A, F::Output>
    where
        F: TaskFn<A, M>,
        A: Serialize,
    {
        TaskBuilder::new(self.pool(), f, args)
    }
}
