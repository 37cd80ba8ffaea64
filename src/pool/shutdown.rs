//! How a pool ends, and what became of its tasks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::BrokenProcessPool;
use crate::pool::exits::{ExitResult, ExitTypeError, Exits};
use crate::pool::watch::metrics::TaskOutcomes;

/// Why a pool is over, or accepts no more tasks; what
/// [`closed`](crate::ProcessPoolExecutor::closed) returns.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was shut down, by a call, or because its last handle was dropped.
    ShutDown,
    /// The runtime that it was built on has ended.
    RuntimeGone,
    /// It is broken, or was [aborted](crate::ProcessPoolExecutor::abort).
    Broken(BrokenProcessPool),
}

/// One line, as the texts of errors are.
impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown => f.write_str("the pool has been shut down"),
            Self::RuntimeGone => f.write_str("the runtime that the pool was built on has ended"),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

/// How a pool is shut down: Python's two flags, and a limit.
///
/// ```
/// use std::time::Duration;
/// use procpool::Shutdown;
///
/// // What runs may finish within 10 seconds, what waits is cancelled.
/// let how = Shutdown::new().cancel_futures(true).within(Duration::from_secs(10));
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "hand it to `ProcessPoolExecutor::shutdown_with`"]
pub struct Shutdown {
    pub(crate) wait: bool,
    pub(crate) cancel_futures: bool,
    pub(crate) limit: Option<Duration>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { wait: true, cancel_futures: false, limit: None }
    }
}

impl Shutdown {
    /// Waits, cancels nothing, and has no limit, as Python's `shutdown()`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to wait until every task is over and every worker has left. Default: true. Without
    /// waiting, queued tasks still run while the runtime lives.
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Whether to cancel tasks that have not begun. Default: false.
    pub fn cancel_futures(mut self, cancel: bool) -> Self {
        self.cancel_futures = cancel;
        self
    }

    /// After this time, waiting tasks are cancelled and running ones are aborted. Default: no
    /// limit.
    pub fn within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }
}

/// What became of a pool's tasks over its whole life; all zero for a pool that is not closed yet.
/// Each input of a [`map`](crate::ProcessPoolExecutor::map) counts as a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that ended with a result, or with an error of their own.
    pub finished: u64,
    /// Tasks that were cancelled or aborted.
    pub cancelled: u64,
    /// How many of the `cancelled` tasks were running when the time limit of a shutdown was over,
    /// or when [all workers were ended](crate::ProcessPoolExecutor::terminate_workers).
    pub killed: u64,
    /// How they ended: `finished` and `cancelled` in detail; see
    /// [`PoolStats::items`](crate::PoolStats::items).
    pub items: TaskOutcomes,
    pub(crate) exits: Arc<Exits>,
}

impl ShutdownReport {
    /// What the [exit hook](crate::Builder::exit_hook) returned in each worker that left because
    /// the pool asked it to, in the order in which they left. `R` is the type that the hook
    /// returns.
    ///
    /// If a hook panicked, or its result could not be encoded, an `Err` is in its place. Workers
    /// that died or were killed have no result. The latest 10,000 results are kept, or fewer if
    /// they take more than 64 MiB together. There are none without a hook, and none for a pool that
    /// is not closed yet.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// fn open() -> Cell<u64> {
    ///     Cell::new(0)
    /// }
    ///
    /// fn work(amount: u64) {
    ///     let done: &Cell<u64> = procpool::state().expect("the pool has an initializer");
    ///     done.set(done.get() + amount);
    /// }
    ///
    /// fn total() -> u64 {
    ///     procpool::state().map_or(0, Cell::get)
    /// }
    ///
    /// procpool::register!(open, work, total);
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #     procpool::init();
    /// #     tokio::runtime::Runtime::new()?.block_on(run())
    /// # }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = procpool::ProcessPoolExecutor::builder();
    /// let pool = builder.initializer(open, ()).exit_hook(total, ()).build()?;
    /// for amount in [1, 2, 3] {
    ///     pool.run(work, amount).await?;
    /// }
    /// let report = pool.shutdown().await;
    /// let mut sum = 0;
    /// for exit in report.exit_results::<u64>()? {
    ///     sum += exit.result?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the hook returns another type.
    pub fn exit_results<R>(&self) -> Result<Vec<ExitResult<R>>, ExitTypeError>
    where
        R: DeserializeOwned + 'static,
    {
        self.exits.decode()
    }
}
