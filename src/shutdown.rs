//! How a pool ends, and what became of its tasks.

use std::time::Duration;

/// How a pool is shut down: Python's two flags, and a limit.
///
/// ```
/// use std::time::Duration;
/// use procpool::Shutdown;
///
/// // What runs may finish within 10 seconds, what waits is cancelled.
/// let how = Shutdown::new().cancel_futures(true).time_limit(Duration::from_secs(10));
/// # let _ = how;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "hand it to `ProcessPoolExecutor::shutdown_with`"]
pub struct Shutdown {
    pub(crate) wait: bool,
    pub(crate) cancel_futures: bool,
    pub(crate) time_limit: Option<Duration>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { wait: true, cancel_futures: false, time_limit: None }
    }
}

impl Shutdown {
    /// Waits, cancels nothing, and has no limit, as Python's `shutdown()`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to wait until every task is over and every worker has left. Without waiting, queued
    /// tasks still run while the runtime lives.
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = wait;
        self
    }

    /// Whether to cancel tasks that have not begun.
    pub fn cancel_futures(mut self, cancel: bool) -> Self {
        self.cancel_futures = cancel;
        self
    }

    /// After this time waiting tasks are cancelled and running ones are aborted.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }
}

/// What became of a pool's tasks over its whole life; all zero for a pool that is not closed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that ended with a result or an error.
    pub finished: u64,
    /// Tasks that were cancelled or aborted.
    pub cancelled: u64,
    /// Of the cancelled ones, those that ran when the time limit of a shutdown was over.
    pub killed: u64,
}
