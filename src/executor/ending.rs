//! Waiting for what has begun already.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

/// Waits for the end of a pool ([`shutdown`](crate::ProcessPoolExecutor::shutdown),
/// [`closed`](crate::ProcessPoolExecutor::closed)), of the tasks of a set
/// ([`shutdown`](crate::TaskSet::shutdown)), or of workers that are replaced
/// ([`recycle`](crate::ProcessPoolExecutor::recycle)). What ends them begins when the method is
/// called, not when this is polled.
///
/// Await it to wait for the end, or drop it. Methods that only ask for an end, such as
/// [`abort`](crate::TaskHandle::abort) of a task, return no `Ending`. Methods that start work
/// (`submit`, `run`, [`start`](crate::Process::start)) are ordinary async functions, which do
/// nothing until they are polled.
///
/// ```
/// # fn example(pool: procpool::ProcessPoolExecutor) {
/// drop(pool.recycle()); // begins, and nobody waits
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping it only ends the wait.
pub struct Ending<T>(BoxFuture<'static, T>);

impl<T> Ending<T> {
    pub(crate) fn new(end: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(end))
    }
}

impl<T> Future for Ending<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Ending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").finish_non_exhaustive()
    }
}
