//! Waiting until a task runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::timer::Delay;
use crate::pool::Commons;
use crate::pool::task::{TaskCell, TaskStatus};

/// A worker begins what it has been sent within some microseconds. It tells nobody, so that a
/// pool's tasks need not pay for it; who waits looks again and again, for as long as it is next.
const FIRST_LOOK: Duration = Duration::from_micros(50);
/// A worker that is starved or stuck is looked at no more often than that.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The begin of a task; what [`TaskHandle::started`](crate::TaskHandle::started) returns.
///
/// It does not borrow the handle, keep the task alive, or hold it up.
///
/// # Cancel safety
///
/// Dropping it changes nothing; another one can be asked for at any time.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Started {
    cell: Arc<TaskCell>,
    pool: Arc<Commons>,
    /// Its place among those that wait, once it has.
    place: Option<u64>,
    /// When to look again, and how long after that.
    look: Option<Delay>,
    pause: Duration,
}

impl Started {
    pub(crate) fn new(cell: Arc<TaskCell>, pool: Arc<Commons>) -> Self {
        Self { cell, pool, place: None, look: None, pause: FIRST_LOOK }
    }
}

impl Future for Started {
    type Output = TaskStatus;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskStatus> {
        let this = self.get_mut();
        loop {
            let (cell, place) = (&this.cell, &mut this.place);
            let (started, is_next) = this.pool.poll_started(cell, place, cx.waker());
            if started.is_ready() || !is_next {
                (this.look, this.pause) = (None, FIRST_LOOK);
                return started;
            }
            let look = this.look.get_or_insert_with(|| Delay::new(this.pause));
            if Pin::new(look).poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.pause = LOOK_AGAIN.min(this.pause * 2);
            this.look = None;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.cell.remove_starter(place);
        }
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("task", &self.cell.id()).finish_non_exhaustive()
    }
}
