//! What a task has of the queue: its place, and the bytes of its arguments.

use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::{BEGUN, TaskCell};

impl TaskCell {
    /// Whether it begins for the first time.
    pub(crate) fn begin_once(&self) -> bool {
        let has_place = self.has_place.load(Ordering::Relaxed); // which parts of others have not
        has_place && self.traits.fetch_or(BEGUN, Ordering::Relaxed) & BEGUN == 0
    }

    /// Whether it had a place in the queue, which it gives up.
    pub(crate) fn give_up_place(&self) -> bool {
        let had_one = self.has_place.load(Ordering::Relaxed);
        if had_one {
            self.has_place.store(false, Ordering::Relaxed);
        }
        had_one
    }

    /// Keeps what its arguments take of the bytes that may wait.
    pub(crate) fn keep_bytes(&self, bytes: OwnedSemaphorePermit) {
        self.state.lock().watchers().bytes = Some(bytes);
    }

    /// It waits no more.
    pub(crate) fn take_bytes(&self) -> Option<OwnedSemaphorePermit> {
        self.state.lock().watchers.as_mut()?.bytes.take()
    }
}
