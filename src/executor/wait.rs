//! Waiting until enough of many tasks are over.

use std::future::poll_fn;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::executor::handle::TaskHandle;

/// What [`wait`] waits for; Python's `return_when`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReturnWhen {
    /// One task is over, however it ended.
    FirstCompleted,
    /// One task has failed, or all are over. A task that was cancelled has not failed. Neither has
    /// one that returned an `Err` of its own: that is its result.
    FirstException,
    /// All tasks are over.
    #[default]
    AllCompleted,
}

/// Waits until enough of the tasks are over, or the time is up. It returns the handles as `(done,
/// not_done)`, both in the order in which they were given. It is Python's function of the same
/// name.
///
/// It returns at once if enough are over already. `done` has all tasks that are over at that
/// moment, even if there are more than were waited for. When the time is up nothing fails: tasks go
/// on, and their handles are in `not_done`. The time is measured on the runtime's clock.
///
/// No result is decoded before its handle is awaited. So a result that cannot be decoded does not
/// count as a failure here. To look at results one by one as they come,
/// [`as_completed`](crate::as_completed) is cheaper than a loop around this.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use procpool::ReturnWhen;
///
/// let mut handles = Vec::new();
/// for n in 0..10 {
///     handles.push(pool.submit(square, n).await?);
/// }
/// let limit = Duration::from_secs(5); // or `None`
/// let (done, late) = procpool::wait(handles, ReturnWhen::AllCompleted, limit).await;
/// for handle in late {
///     handle.abort();
/// }
/// for handle in done {
///     println!("{}: {:?}", handle.id(), handle.await?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// It owns the handles. If the future is dropped, they are dropped with it, which detaches their
/// tasks and loses their results. So give it a limit rather than put it into a `select!`, or use a
/// [`TaskSet`](crate::TaskSet), which keeps its tasks.
///
/// # Panics
///
/// If there is a limit, outside of a tokio runtime with a timer.
pub async fn wait<R>(
    handles: impl IntoIterator<Item = TaskHandle<R>>,
    return_when: ReturnWhen,
    within: impl Into<Option<Duration>>,
) -> (Vec<TaskHandle<R>>, Vec<TaskHandle<R>>) {
    let handles: Vec<_> = handles.into_iter().collect();
    let enough = enough(&handles, return_when);
    match within.into() {
        // Whether the time was up shows in what is done.
        Some(limit) => drop(tokio::time::timeout(limit, enough).await),
        None => enough.await,
    }
    handles.into_iter().partition(TaskHandle::is_finished)
}

async fn enough<R>(handles: &[TaskHandle<R>], return_when: ReturnWhen) {
    let ends = handles.iter().map(|handle| poll_fn(|cx| handle.poll_end(cx)));
    let mut ends: FuturesUnordered<_> = ends.collect();
    while let Some(end) = ends.next().await {
        let is_enough = match return_when {
            ReturnWhen::FirstCompleted => true,
            ReturnWhen::FirstException => end.is_err_and(|error| !error.is_cancelled()),
            ReturnWhen::AllCompleted => false,
        };
        if is_enough {
            break;
        }
    }
}
