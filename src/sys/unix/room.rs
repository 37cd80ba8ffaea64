//! Descriptors for the start of a child, and for the rest of the program meanwhile.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::descriptor::{RawDescriptor, is_open};
use super::resources::{Resource, soft_limit};

/// The most that the start of one child takes while it lasts.
const FOR_A_START: usize = 12;
/// So many are left. What else the program does is not to fail because no child can be started.
const FOR_THE_REST: usize = 8;

/// How many starts are under way.
static STARTS: Mutex<usize> = Mutex::new(0);
static FEWER: Condvar = Condvar::new();

/// As long as this lives a child may be started, and takes no descriptor that is needed elsewhere.
#[derive(Debug)]
pub(crate) struct RoomToStart(());

impl RoomToStart {
    /// Blocks while others are about to start something and there is too little for all.
    ///
    /// # Errors
    ///
    /// If there is too little for this one alone. Nothing was taken in order to see that.
    pub(crate) fn take() -> io::Result<Self> {
        let mut starts = lock();
        while let Err(error) = room_for(*starts + 1) {
            if *starts == 0 {
                return Err(error);
            }
            starts = FEWER.wait(starts).unwrap_or_else(PoisonError::into_inner);
        }
        *starts += 1;
        Ok(Self(()))
    }
}

impl Drop for RoomToStart {
    fn drop(&mut self) {
        *lock() -= 1;
        FEWER.notify_all();
    }
}

fn lock() -> MutexGuard<'static, usize> {
    // Nothing can panic while it is held, so it is never really poisoned.
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails unless so many children can be started at the same time, and something is left.
pub(crate) fn room_for(starts: usize) -> io::Result<()> {
    let wanted = starts.saturating_mul(FOR_A_START).saturating_add(FOR_THE_REST);
    if has_free(wanted) { Ok(()) } else { Err(Errno::MFILE.into()) }
}

/// Looked for where they most likely are, so that it takes little more calls than it looks for.
fn has_free(wanted: usize) -> bool {
    let Some(limit) = soft_limit(Resource::Nofile) else { return true };
    let limit = RawDescriptor::try_from(limit).unwrap_or(RawDescriptor::MAX);
    (0..limit).rev().filter(|fd| !is_open(*fd)).take(wanted).count() == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_the_limit() {
        assert!(has_free(0) && has_free(1) && room_for(1).is_ok());
        let limit = soft_limit(Resource::Nofile).unwrap_or(u64::MAX);
        // To look at more than these would take too long.
        assert!(limit > 1 << 20 || !has_free(1 << 20) && room_for(1 << 20).is_err());
    }

    #[test]
    fn starts_are_counted_while_they_last() {
        let (first, second) = (RoomToStart::take().unwrap(), RoomToStart::take().unwrap());
        assert!(*lock() >= 2);
        drop((first, second));
    }
}
