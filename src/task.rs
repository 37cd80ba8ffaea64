//! A task with settings of its own.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use crate::blocking::block_on;
use crate::callable::TaskFn;
use crate::error::{RunError, SubmitError};
use crate::executor::ProcessPoolExecutor;
use crate::handle::TaskHandle;

/// What a task may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

/// Configures one task; see [`ProcessPoolExecutor::task`].
///
/// ```
/// # fn convert(file: String) -> usize { file.len() }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// use std::time::Duration;
///
/// let size = pool
///     .task(convert, "film.mkv".to_owned())
///     .timeout(Duration::from_secs(60))
///     .retries(2)
///     .run()
///     .await?;
/// # let _: usize = size;
/// # Ok(())
/// # }
/// ```
#[must_use = "a task is submitted by `submit`, `try_submit` or `run`"]
pub struct TaskBuilder<'a, F, A, M> {
    pool: &'a ProcessPoolExecutor,
    function: PhantomData<fn(F)>,
    args: A,
    options: Options,
    marker: PhantomData<fn(M)>,
}

impl<'a, F, A, M> TaskBuilder<'a, F, A, M>
where
    F: TaskFn<A, M>,
    A: Serialize,
{
    pub(crate) fn new(pool: &'a ProcessPoolExecutor, _: F, args: A) -> Self {
        let options = pool.default_options();
        Self { pool, function: PhantomData, args, options, marker: PhantomData }
    }

    /// Ends the task, and its worker, when it has run so long. Time in the queue does not count.
    /// The task fails with [`is_timeout`](crate::TaskError::is_timeout).
    ///
    /// Default: the pool's [`default_timeout`](crate::Builder::default_timeout), which `None` lifts for
    /// this task.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.options.timeout = limit.into();
        self
    }

    /// How often the task may be begun again after its worker died under it or it timed out. After
    /// the last attempt its error is that of the last one. Default: 0, a task is begun at most once,
    /// as only you know whether it may be begun twice. The first retries come at once, later ones
    /// after a back-off of up to half a second.
    ///
    /// A task sees by [`attempt`](crate::Current::attempt) which one it is.
    pub fn retries(mut self, count: u32) -> Self {
        self.options.retries = count;
        self
    }

    /// Queues the task; see [`ProcessPoolExecutor::submit`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::submit`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for room, nothing has been submitted.
    pub async fn submit(self) -> Result<TaskHandle<F::Output>, SubmitError> {
        let prepared = self.pool.prepare::<F>(&self.args)?;
        drop(self.args); // they need not live while the task waits for room
        let room = self.pool.room(prepared.name).await?;
        self.pool.enqueue(prepared, room, self.options)
    }

    /// Queues the task without waiting; see [`ProcessPoolExecutor::try_submit`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::try_submit`].
    pub fn try_submit(self) -> Result<TaskHandle<F::Output>, SubmitError> {
        let prepared = self.pool.prepare::<F>(&self.args)?;
        let room = self.pool.try_room(prepared.name)?;
        self.pool.enqueue(prepared, room, self.options)
    }

    /// Queues the task and awaits its result; see [`ProcessPoolExecutor::run`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::run`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the task, and ends it if it runs.
    pub async fn run(self) -> Result<F::Output, RunError> {
        let handle = self.submit().await?;
        Ok(handle.abort_on_drop().await?)
    }

    /// As [`submit`](Self::submit), for threads outside of the runtime; see
    /// [`ProcessPoolExecutor::blocking_submit`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::submit`].
    ///
    /// # Panics
    ///
    /// As [`ProcessPoolExecutor::blocking_submit`].
    #[track_caller]
    pub fn blocking_submit(self) -> Result<TaskHandle<F::Output>, SubmitError> {
        block_on(self.submit())
    }

    /// As [`run`](Self::run), for threads outside of the runtime; see
    /// [`ProcessPoolExecutor::blocking_run`].
    ///
    /// # Errors
    ///
    /// As [`ProcessPoolExecutor::run`].
    ///
    /// # Panics
    ///
    /// As [`ProcessPoolExecutor::blocking_submit`].
    #[track_caller]
    pub fn blocking_run(self) -> Result<F::Output, RunError> {
        block_on(self.run())
    }
}

impl<F, A: fmt::Debug, M> fmt::Debug for TaskBuilder<'_, F, A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("function", &std::any::type_name::<F>())
            .field("args", &self.args)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
