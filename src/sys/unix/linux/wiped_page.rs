//! Memory that a copy of this process finds empty.

use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// A page of this process's that is empty in each process that is forked from it. It is never
/// unmapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WipedPage(&'static AtomicU8);

impl WipedPage {
    /// Needs Linux 4.14.
    pub(crate) fn create() -> io::Result<Self> {
        const LENGTH: usize = 1; // the system gives whole pages
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: this makes a mapping of its own, where none is. The advice is about that alone.
        #[expect(unsafe_code, reason = "maps memory")]
        let page = unsafe {
            let page = mmap_anonymous(null_mut(), LENGTH, access, MapFlags::PRIVATE)?;
            madvise(page, LENGTH, Advice::LinuxWipeOnFork)?;
            page
        };
        let page = NonNull::new(page.cast::<AtomicU8>()).ok_or(Errno::FAULT)?;
        // SAFETY: the mapping is not empty, as any address is aligned for a byte, it begins as
        // zero, and stays for as long as this process lives. Nobody else knows of it.
        #[expect(unsafe_code, reason = "refers to memory that was mapped")]
        let page = unsafe { page.as_ref() };
        page.store(1, Ordering::Relaxed);
        Ok(Self(page))
    }

    pub(crate) fn mark(self) -> &'static AtomicU8 {
        self.0
    }

    #[inline]
    pub(crate) fn is_wiped(self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
