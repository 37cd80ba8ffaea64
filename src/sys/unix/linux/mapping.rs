//! Memory that processes share, as this one has it, and changes of it that can be waited for.

use std::ops::Range;
use std::ptr::{NonNull, from_ref, null};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use rustix::mm::{Advice, madvise, munmap};

/// A [`MemoryFile`](super::MemoryFile) as memory of this process: some words, which no process
/// reaches other than through atomics, and bytes behind them.
#[derive(Debug)]
pub(crate) struct Mapping<const WORDS: usize> {
    words: NonNull<[AtomicU64; WORDS]>,
    /// Of all that is mapped.
    size: usize,
}

impl<const WORDS: usize> Mapping<WORDS> {
    /// Of memory that has room for the words, was mapped there with that size, readable and
    /// writable, and cannot become smaller. It is unmapped with this.
    pub(super) fn of_attached(address: NonNull<u8>, size: usize) -> Self {
        Self { words: address.cast(), size }
    }

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: there is room for them, as was looked at. The mapping is aligned to a page,
        // readable and writable until `self` is dropped, and the file cannot be made smaller. Every
        // bit pattern is a valid `AtomicU64`, and no process reaches them other than through
        // atomics.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            self.words.as_ref()
        }
    }

    /// Where it begins, readable and writable until this is dropped.
    pub(crate) fn start(&self) -> *mut u8 {
        self.words.as_ptr().cast()
    }

    /// Has these pages mapped at once. If that is not possible they will be one by one.
    pub(crate) fn populate(&self, pages: Range<usize>) {
        if pages.end > self.size {
            return;
        }
        let address = self.start().wrapping_add(pages.start);
        // SAFETY: the pages are inside of the mapping; where they do not begin as the system's do
        // this is refused. Nothing of what is in the memory changes.
        #[expect(unsafe_code, reason = "gives advice about memory")]
        let _ = unsafe { madvise(address.cast(), pages.len(), Advice::LinuxPopulateWrite) };
    }
}

impl<const WORDS: usize> Drop for Mapping<WORDS> {
    #[expect(unsafe_code, reason = "unmaps memory")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and borrows of it cannot outlive
        // `self`. Failure would leave the mapping in place, which harms nobody.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.size) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread. What is reached through a shared
// reference is atomic; whoever writes to the bytes behind says why nobody else reads them.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl<const WORDS: usize> Send for Mapping<WORDS> {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl<const WORDS: usize> Sync for Mapping<WORDS> {}

/// Wakes those who wait for a change of this number, in all processes.
pub(crate) fn wake_all(number: &AtomicU32) {
    let all = i32::MAX;
    // SAFETY: it takes the address of a number, which it does not look at, and two numbers.
    #[expect(unsafe_code, reason = "std has none between processes")]
    let _ = unsafe { libc::syscall(libc::SYS_futex, number.as_ptr(), libc::FUTEX_WAKE, all) };
}

/// Waits until somebody is woken who waits for this number, if it is still the one that was seen,
/// or until the time is up; or for no reason.
pub(crate) fn wait_for_change(number: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let limit = limit.and_then(time);
    let limit = limit.as_ref().map_or(null(), from_ref);
    let wait = libc::FUTEX_WAIT;
    // SAFETY: it reads the number as an atomic, and a time, or none. Both are there until it
    // returns, and nothing is written.
    #[expect(unsafe_code, reason = "std has none between processes")]
    let _ = unsafe { libc::syscall(libc::SYS_futex, number.as_ptr(), wait, seen, limit) };
    // Whatever it says, the caller looks.
}

/// Seconds and nanoseconds, as this call has them, whatever the C library's `timespec` is. `None`
/// if that is longer than the system can count.
fn time(limit: Duration) -> Option<[libc::c_long; 2]> {
    let seconds = limit.as_secs().try_into().ok()?;
    Some([seconds, limit.subsec_nanos().cast_signed().into()])
}
