//! How often a task is begun, after what, and when.

use serde::de::DeserializeOwned;

use super::TaskBuilder;
use crate::error::TaskError;
use crate::executor::backoff::Backoff;
use crate::pool::task::{Condition, TaskCell};

/// # Further attempts
impl<A, R> TaskBuilder<'_, A, R> {
    /// How often the task may be begun again after its worker died, its host was lost, or its time
    /// was up. Default: 0, as only you know whether a task may be begun twice. If all attempts
    /// fail, the error is that of the last one.
    ///
    /// [`retry_if`](Self::retry_if) chooses after what it is begun again, and
    /// [`backoff`](Self::backoff) how long it waits before that. A task sees by
    /// [`attempt`](crate::Current::attempt) which attempt it is.
    pub fn retries(mut self, count: u32) -> Self {
        self.wishes.retries = count;
        self
    }

    /// After which outcomes of an attempt the task is begun again, as long as
    /// [`retries`](Self::retries) are left. `predicate` sees the outcome as you would have seen it,
    /// and alone decides. Default: after the death of the worker, the loss of its host, or when the
    /// [time](Self::timeout) was up.
    ///
    /// It is asked after a result, which may be an `Err` of yours, after a panic, the death of the
    /// worker, the loss of its host, and a timeout. It is also asked if the attempt was ended
    /// because its worker [was to be
    /// replaced](crate::ProcessPoolExecutor::recycle_within); that is the only error with
    /// [`is_cancelled`](TaskError::is_cancelled) that it sees.
    ///
    /// ```
    /// use procpool::{Backoff, ProcessPoolExecutor, RunError};
    /// use serde::{Deserialize, Serialize};
    /// use std::time::Duration;
    ///
    /// #[derive(Debug, Serialize, Deserialize)]
    /// enum FetchError {
    ///     Busy,
    ///     NotFound,
    /// }
    ///
    /// fn fetch(page: u32) -> Result<String, FetchError> {
    ///     if page == 0 { Err(FetchError::NotFound) } else { Ok(format!("page {page}")) }
    /// }
    ///
    /// procpool::register!(fetch);
    ///
    /// # async fn example(pool: ProcessPoolExecutor) -> Result<(), RunError> {
    /// let page: Result<String, FetchError> = pool
    ///     .task(fetch, 7)
    ///     .retries(5)
    ///     .retry_if(|outcome| match outcome {
    ///         Ok(result) => matches!(result, Err(FetchError::Busy)),
    ///         Err(error) => error.is_worker_death(),
    ///     })
    ///     .backoff(Backoff::exponential(Duration::from_millis(100)))
    ///     .run()
    ///     .await?;
    /// # drop(page);
    /// # Ok(())
    /// # }
    /// # fn main() {}
    /// ```
    ///
    /// ```
    /// # fn parse(page: String) -> usize { page.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
    /// // Whatever goes wrong.
    /// let size = pool.task(parse, "a page".to_owned()).retries(2).retry_if(|r| r.is_err()).run();
    /// # let _: usize = size.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Nobody is asked, and there is no further attempt, once the task was aborted, its
    /// [deadline](Self::deadline) has passed, or the pool is broken, or cancels what waits. The
    /// same holds if arguments or result could not be encoded or decoded, or were too large. The
    /// outcome is delivered then. Until it is decided the task counts as
    /// [running](crate::TaskStatus::Running). If the handle was dropped, the task is begun again
    /// all the same.
    ///
    /// The predicate must be quick and must not block, as a [done
    /// callback](crate::TaskHandle::add_done_callback): a task of the pool's calls it, or a thread
    /// that has just called [`run`](crate::ProcessPoolExecutor::run). A result of more than 64 KiB
    /// is decoded on a thread of its own, outside of the runtime, and the predicate is called
    /// there. [`run`](Self::run) does not decode the result a second time; a handle does, each time
    /// that it is awaited. If the predicate panics, or there is no thread for it, that is logged,
    /// and the outcome is delivered.
    pub fn retry_if<P>(mut self, predicate: P) -> Self
    where
        P: Fn(Result<&R, &TaskError>) -> bool + Send + Sync + 'static,
        R: DeserializeOwned + Send + 'static,
    {
        self.wishes.conditional = true;
        self.extras.condition = Some(Condition::new(predicate));
        self.take_decoded = Some(TaskCell::take_decoded);
        self
    }

    /// How long the task waits before it is begun again, if it has [`retries`](Self::retries).
    /// Default: as [`Backoff::default`]. `None` is the default.
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.wishes.delays = backoff.into().and_then(Backoff::delays);
        self
    }
}
