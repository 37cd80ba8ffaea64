//! Who waits for one thing.

use std::task::Waker;

use crate::base::maps::SortedMap;

/// One place for each who waits, so it grows no larger than their number.
///
/// Wakers that are not needed any more are returned, because dropping one is foreign code, which
/// must not meet a lock.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: SortedMap<u64, Waker>,
    /// How many there were.
    number: u64,
}

impl Waiters {
    /// A place for one more.
    pub(crate) fn add(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub(crate) fn remove(&mut self, waiter: u64) -> Option<Waker> {
        self.waiting.remove(&waiter)
    }

    /// Returns the waker that is replaced.
    pub(crate) fn wait(&mut self, waiter: u64, waker: &Waker) -> Option<Waker> {
        self.waiting.insert(waiter, waker.clone())
    }

    /// Whom to wake.
    pub(crate) fn take(&mut self) -> SortedMap<u64, Waker> {
        std::mem::take(&mut self.waiting)
    }
}
