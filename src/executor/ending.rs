//! Waiting for what has begun already.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

/// The end of something that begins when its method is called, not when this is polled: of a pool,
/// which was [shut down](crate::ProcessPoolExecutor::shutdown) or [may
/// be](crate::ProcessPoolExecutor::closed), of the workers that are to be
/// [replaced](crate::ProcessPoolExecutor::recycle), or of the tasks of a
/// [set](crate::TaskSet::shutdown).
///
/// Await it to wait for the end, or drop it. Methods that only ask for an end, such as
/// [`abort`](crate::TaskHandle::abort) of a task, return none.
/// Methods that give something to do (`submit`, `run`, [`start`](crate::Process::start)) are
/// ordinary async functions, which do nothing until they are polled.
///
/// ```
/// # fn example(pool: procpool::ProcessPoolExecutor) {
/// drop(pool.recycle()); // begins, and nobody waits
/// # }
/// ```
///
/// # Cancel safety
///
/// Dropping it changes nothing but that nobody waits.
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
