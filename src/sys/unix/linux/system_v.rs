//! Memory that processes share where the system refuses to make files without names: segments of
//! System V.
//!
//! Nobody can change their size either. A process attaches one by its number, if it is the same
//! user's. It is marked for removal as soon as it is there, and so goes with the last process that
//! has it attached.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use rustix::mm::{Advice, madvise, munmap};

use super::mapping::Mapping;

/// A segment that is attached here.
#[derive(Debug)]
pub(super) struct SystemV {
    id: i32,
    attached: Attached,
}

/// Where a segment is in the memory of this process.
#[derive(Debug)]
struct Attached {
    address: NonNull<u8>,
    size: usize,
}

impl SystemV {
    /// Makes one of which only what is touched takes memory.
    pub(super) fn sparse(size: usize) -> io::Result<Self> {
        const MODE: libc::c_int = 0o600;
        let flags = libc::IPC_CREAT | libc::SHM_NORESERVE | MODE;
        // SAFETY: it touches no memory.
        #[expect(unsafe_code, reason = "rustix does not have it")]
        let id = check(unsafe { libc::shmget(libc::IPC_PRIVATE, size, flags) })?;
        let attached = Attached::new(id, size);
        // SAFETY: without a structure to fill it touches no memory.
        #[expect(unsafe_code, reason = "rustix does not have it")]
        check(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })?;
        Ok(Self { id, attached: attached? })
    }

    /// Makes one that has all of its memory from the beginning.
    pub(super) fn filled(size: usize) -> io::Result<Self> {
        let made = Self::sparse(size)?;
        match made.attached.advise(0..size, Advice::LinuxPopulateWrite) {
            // Not known before Linux 5.14: then memory is had, or not, when it is touched.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(made),
        }
    }

    /// Opens one that was made by that process, and has that size.
    pub(super) fn open(pid: u32, id: u64, size: usize) -> io::Result<Self> {
        let id = i32::try_from(id).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: it is a structure of numbers, all of which may be zero.
        #[expect(unsafe_code, reason = "makes what the system fills")]
        let mut found: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: it fills the structure, which is there until it returns.
        #[expect(unsafe_code, reason = "rustix does not have it")]
        check(unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut found) })?;
        if found.shm_segsz != size || u32::try_from(found.shm_cpid) != Ok(pid) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { id, attached: Attached::new(id, size)? })
    }

    /// By which it is attached elsewhere.
    pub(super) fn id(&self) -> u64 {
        u64::from(self.id.unsigned_abs()) // never negative
    }

    pub(super) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        let size = self.attached.size;
        if size < size_of::<[AtomicU64; WORDS]>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Mapping::of_attached(attach(self.id)?, size))
    }

    /// Copies bytes into it, which nobody looks at meanwhile.
    pub(super) fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= self.attached.size);
        end.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: that they are inside was looked at; it is attached, and writable, as long as
        // `self` is there, and cannot become smaller. The source is memory of this process's own,
        // or of this segment where the two do not overlap, as nobody has a reference to the target.
        #[expect(unsafe_code, reason = "copies into shared memory")]
        unsafe {
            let target = self.attached.address.as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }

    pub(super) fn give_memory_back(&self, offset: usize) {
        let _ = self.attached.advise(offset..self.attached.size, Advice::LinuxRemove);
    }
}

impl Attached {
    fn new(id: i32, size: usize) -> io::Result<Self> {
        Ok(Self { address: attach(id)?, size })
    }

    fn advise(&self, range: Range<usize>, advice: Advice) -> io::Result<()> {
        let address = self.address.as_ptr().wrapping_add(range.start);
        // SAFETY: the range is inside of what is attached. The bytes in it are shared, so whoever
        // has memory given back sees to it that nobody uses them.
        #[expect(unsafe_code, reason = "gives advice about memory")]
        Ok(unsafe { madvise(address.cast(), range.len(), advice) }?)
    }
}

impl Drop for Attached {
    #[expect(unsafe_code, reason = "detaches memory")]
    fn drop(&mut self) {
        // SAFETY: it was attached there with this size, and nobody has a reference to it that
        // outlives `self`. To unmap all of it is to detach it.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.size) };
    }
}

// SAFETY: it belongs to the process, not to a thread, and is written to only by who has said why
// nobody else looks.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Send for Attached {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Sync for Attached {}

fn attach(id: i32) -> io::Result<NonNull<u8>> {
    // SAFETY: the address is left to the kernel, so no existing mapping is touched.
    #[expect(unsafe_code, reason = "attaches memory")]
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if address.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    const SIZE: usize = 64 << 10;

    #[test]
    fn both_sides_see_the_same_and_it_is_gone_with_the_last() {
        let made = SystemV::filled(SIZE).unwrap();
        let (pid, id) = (std::process::id(), made.id());
        assert!(SystemV::open(pid + 1, id, SIZE).is_err() && SystemV::open(pid, id, 1).is_err());
        let ours = made.map::<512>().unwrap();
        let theirs = SystemV::open(pid, id, SIZE).unwrap().map::<512>().unwrap();
        ours.words()[7].store(42, Ordering::Release);
        assert_eq!(theirs.words()[7].load(Ordering::Acquire), 42);
        made.write_at(SIZE - 3, b"end").unwrap();
        assert!(made.write_at(SIZE - 2, b"end").is_err());
        made.give_memory_back(0);
        assert_eq!(theirs.words()[7].load(Ordering::Acquire), 0);
        drop((made, ours));
        assert!(SystemV::open(pid, id, SIZE).is_ok());
        drop(theirs);
        assert!(SystemV::open(pid, id, SIZE).is_err());
    }

    #[test]
    fn what_has_no_room_for_words_is_not_mapped() {
        assert!(SystemV::sparse(4096).unwrap().map::<513>().is_err());
    }
}
