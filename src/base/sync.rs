//! A lock that is entered even if somebody has panicked while he held it.
//!
//! A poisoned lock is entered on purpose. What is done under locks here are a few lines that change
//! words of our own: nobody else's code runs, and no waker is woken, so that nothing is known to
//! panic. If it happens in spite of that, those lines have a mistake, and whoever comes next is
//! better off with what they left: refusing would let his task hang, or panic a second time, in a
//! `Drop` perhaps, which aborts the process. Where others' code does run under a lock, as at the
//! helm, std's is used, and what the poison means is decided there.

use std::sync::{Condvar, Mutex as StdMutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use crate::sys::thread::start_thread;

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(StdMutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(StdMutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if somebody is in, be it this thread.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of the lock until there is news, or this time is over if there is one, or for nothing.
pub(crate) fn wait<'a, T>(
    news: &Condvar,
    guard: MutexGuard<'a, T>,
    limit: Option<Duration>,
) -> MutexGuard<'a, T> {
    let waited = news.wait_timeout(guard, limit.unwrap_or(Duration::MAX));
    waited.unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_entered_after_a_panic_too() {
        let mut mutex = Mutex::new(1);
        let poison = |mutex: &Mutex<i32>| {
            std::thread::scope(|scope| {
                let panicking = scope.spawn(|| {
                    let mut value = mutex.lock();
                    *value += 1;
                    panic!("under the lock");
                });
                panicking.join().unwrap_err();
            });
        };
        poison(&mutex);
        assert_eq!(*mutex.lock(), 2);
        assert_eq!(*wait(&Condvar::new(), mutex.lock(), Some(Duration::ZERO)), 2);
        assert_eq!(*mutex.get_mut(), 2);
        assert_eq!(mutex.into_inner(), 2);
    }
}
