//! One function over many inputs.

use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::PollSemaphore;

use crate::callable::TaskFn;
use crate::error::{SubmitError, TaskError};
use crate::executor::{Prepared, ProcessPoolExecutor};
use crate::handle::TaskHandle;
use crate::task::Options;

/// So many inputs are taken before the first result is: enough to keep quick tasks flowing.
const LOOK_AHEAD: usize = 256;

/// The stream that [`ProcessPoolExecutor::map`] returns.
///
/// # Cancel safety
///
/// `next` is cancel safe: no result is lost, and none comes twice.
#[must_use = "streams do nothing unless polled"]
pub struct Map<F, M, R, I> {
    pool: ProcessPoolExecutor,
    inputs: Fuse<I>,
    /// The next task, which waits for room in the queue.
    next: Option<Prepared>,
    room: PollSemaphore,
    pending: VecDeque<Pending<R>>,
    function: PhantomData<fn(F, M)>,
}

/// An input that was taken.
enum Pending<R> {
    Submitted(TaskHandle<R>),
    Refused(TaskError),
}

impl<F, M, R, I: Iterator> Map<F, M, R, I> {
    pub(crate) fn new(pool: ProcessPoolExecutor, inputs: I) -> Self {
        let room = PollSemaphore::new(pool.queue());
        let (inputs, pending) = (inputs.fuse(), VecDeque::new());
        Self { pool, inputs, next: None, room, pending, function: PhantomData }
    }

    /// Submits inputs until enough are under way; false if there are no more.
    fn fill<A>(&mut self, cx: &mut Context<'_>) -> bool
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
        I: Iterator<Item = A>,
    {
        while self.pending.len() < LOOK_AHEAD {
            if self.next.is_none() {
                let Some(args) = self.inputs.next() else { return false };
                match self.pool.prepare::<F>(&args) {
                    Ok(prepared) => self.next = Some(prepared),
                    Err(error) => {
                        self.refused(error);
                        continue;
                    }
                }
            }
            let Poll::Ready(room) = self.room.poll_acquire(cx) else { return true };
            let Some(task) = self.next.take() else { continue };
            let submitted = match room {
                Some(room) => self.pool.enqueue(task, room, Options::default()),
                None => Err(self.pool.refusal(task.name)),
            };
            match submitted {
                Ok(handle) => self.pending.push_back(Pending::Submitted(handle)),
                Err(error) => self.refused(error),
            }
        }
        true
    }

    fn refused(&mut self, error: SubmitError) {
        self.pending.push_back(Pending::Refused(error.into()));
    }
}

// Nothing in it is pinned.
impl<F, M, R, I> Unpin for Map<F, M, R, I> {}

impl<F, A, M, I> Stream for Map<F, M, F::Output, I>
where
    F: TaskFn<A, M>,
    A: Serialize,
    I: Iterator<Item = A>,
    F::Output: DeserializeOwned,
{
    type Item = Result<F::Output, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let more = self.fill(cx);
        let result = match self.pending.front_mut() {
            Some(Pending::Submitted(handle)) => ready!(Pin::new(handle).poll(cx)),
            Some(Pending::Refused(error)) => Err(error.clone()),
            None if more => return Poll::Pending,
            None => return Poll::Ready(None),
        };
        self.pending.pop_front();
        if self.next.is_some() {
            // Nobody polls the stream while the result is looked at; a place that it was given
            // meanwhile would be missing to others.
            self.room = PollSemaphore::new(self.pool.queue());
        }
        Poll::Ready(Some(result))
    }
}

impl<F, M, R, I> Drop for Map<F, M, R, I> {
    fn drop(&mut self) {
        for pending in &self.pending {
            if let Pending::Submitted(handle) = pending {
                handle.cancel();
            }
        }
    }
}

impl<F, M, R, I> fmt::Debug for Map<F, M, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
