//! A task that is not polled for a while, as on a busy runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::base::sync::Mutex;

/// Open at first.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_closed: bool,
    waiting: Option<Waker>,
}

impl Gate {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.lock())
    }

    pub(super) fn close(&self) {
        self.with(|state| state.is_closed = true);
    }

    pub(super) fn open(&self) {
        let waiting = self.with(|state| {
            state.is_closed = false;
            state.waiting.take()
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The task, which is polled only while the gate is open.
    pub(super) async fn guard(self, task: impl Future<Output = ()>) {
        let mut task = pin!(task);
        std::future::poll_fn(|cx| {
            let is_closed = self.with(|state| {
                state.waiting = state.is_closed.then(|| cx.waker().clone());
                state.is_closed
            });
            if is_closed { Poll::Pending } else { task.as_mut().poll(cx) }
        })
        .await;
    }
}
