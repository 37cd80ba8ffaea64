//! Memory that two processes share.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::peer::{Peer, sign};
#[cfg(target_os = "linux")]
use super::segment::require_file_size;

/// A multiple of every usual page size. What is never touched takes no memory.
const SIZE: usize = 64 << 10;
const WORDS: usize = SIZE / size_of::<AtomicU64>();

/// Atomic words, zero at first, that live as long as one of their two sides.
#[derive(Debug)]
pub(crate) struct SharedPage {
    words: NonNull<[AtomicU64; WORDS]>,
}

/// Names a shared page to a child on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedPageRef {
    pid: u32,
    fd: i32,
}

impl SharedPageRef {
    pub(crate) fn new(fd: &OwnedFd) -> Self {
        Self { pid: std::process::id(), fd: fd.as_raw_fd() }
    }

    /// Lets the parent see which process has opened its page. To be called when it will not be
    /// opened any more.
    pub(crate) fn sign(self) -> io::Result<()> {
        sign(self.open()?)
    }

    #[cfg(target_os = "linux")]
    fn open(self) -> io::Result<OwnedFd> {
        use rustix::fs::{Mode, OFlags, fstat, open};

        let path = format!("/proc/{}/fd/{}", self.pid, self.fd);
        let fd = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        if u64::try_from(fstat(&fd)?.st_size) != Ok(SIZE as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(fd)
    }

    #[cfg(not(target_os = "linux"))]
    fn open(self) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl SharedPage {
    /// Makes a page that nobody can shrink, so that no access ever faults. The descriptor can be
    /// closed as soon as the other side has opened it.
    #[cfg(target_os = "linux")]
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

        require_file_size(SIZE as u64)?;
        let fd = memfd_create("procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, SIZE as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Self::map(&fd)?, fd))
    }

    /// Opens the page that the parent made. This goes through `/proc`, because a descriptor that
    /// is inherited would be inherited by every process that is started at that moment.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(page: SharedPageRef) -> io::Result<Self> {
        Self::map(&page.open()?)
    }

    /// Who has opened the page of a child and [signed](SharedPageRef::sign) it; or that child.
    pub(crate) fn opener(page: &OwnedFd, child: u32) -> Peer {
        Peer::signer_or_child(page, child)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(_: SharedPageRef) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "maps memory")]
    fn map(fd: &OwnedFd) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};

        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is left to the kernel, so no existing mapping is touched.
        let address =
            unsafe { mmap(std::ptr::null_mut(), SIZE, protection, MapFlags::SHARED, fd, 0)? };
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { words })
    }

    /// How many there are.
    pub(crate) const WORDS: usize = WORDS;

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: the mapping is as long as the array, aligned to a page, readable and writable
        // until `self` is dropped, and sealed against shrinking. Every bit pattern is a valid
        // `AtomicU64`, and neither process reaches the words other than through atomics.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            self.words.as_ref()
        }
    }
}

impl Drop for SharedPage {
    #[expect(unsafe_code, reason = "unmaps memory")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and borrows of the words cannot
        // outlive `self`. Failure would leave the mapping in place, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.words.as_ptr().cast(), SIZE) };
    }
}

// SAFETY: the page is reached only through shared references to atomics, and the mapping belongs
// to the process, not to a thread.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Send for SharedPage {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Sync for SharedPage {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn both_sides_see_the_same_words() {
        let (page, fd) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&fd)).unwrap();
        page.words()[7].store(42, Ordering::Release);
        assert_eq!(other.words()[7].load(Ordering::Acquire), 42);
    }

    #[test]
    fn a_side_outlives_the_other_and_the_descriptor() {
        let (page, fd) = SharedPage::create().unwrap();
        let other = SharedPage::open(SharedPageRef::new(&fd)).unwrap();
        drop((page, fd));
        other.words()[0].store(1, Ordering::Release);
    }

    #[test]
    fn nobody_can_shrink_the_page_under_the_other_side() {
        let (_page, fd) = SharedPage::create().unwrap();
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
    }

    #[test]
    fn a_descriptor_that_is_no_page_is_refused() {
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(SharedPage::open(SharedPageRef::new(&file)).is_err());
    }
}
