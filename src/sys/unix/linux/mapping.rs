//! Memory that processes share: files without names, which are gone with the last process that has
//! them open, their locks, and what is mapped of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use rustix::fs::{
    FallocateFlags, FileType, FlockOperation, MemfdFlags, Mode, OFlags, SealFlags, fallocate,
    fcntl_add_seals, fcntl_get_seals, fcntl_lock, fstat, fstatfs, ftruncate, memfd_create, open,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::thread::futex;

use super::super::resources::{Resource, soft_limit};

/// A file in memory. Nobody can make it smaller, so that no access to what is mapped of it fails.
#[derive(Debug)]
pub(crate) struct MemoryFile {
    file: File,
    size: usize,
}

impl MemoryFile {
    /// Makes one of which only what is touched takes memory.
    pub(crate) fn sparse(size: usize) -> io::Result<Self> {
        require_file_size(size)?;
        Self::sealed(size)
    }

    /// Makes one that has all of its memory from the beginning.
    pub(crate) fn filled(size: usize) -> io::Result<Self> {
        require_file_size(size)?;
        require_memory(size)?;
        let file = off_standard_streams(Self::sealed(size)?.file)?;
        let file = Self { file, size };
        file.take_memory()?;
        Ok(file)
    }

    fn sealed(size: usize) -> io::Result<Self> {
        let fd = memfd_create("procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, size as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { file: fd.into(), size })
    }

    /// Opens one that a process has made by [`Self::sparse`] and has open under this number. This
    /// goes through `/proc`, because a descriptor that is inherited would be inherited by every
    /// process that is started at that moment.
    pub(crate) fn open(pid: u32, number: RawFd, size: usize) -> io::Result<Self> {
        let file = File::from(open_again(&path(pid, number))?);
        if usize::try_from(fstat(&file)?.st_size) != Ok(size) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, size })
    }

    /// As [`Self::open`], of a process that may be anybody: what is no such file of that size and
    /// inode is refused, and nothing happens to it.
    pub(crate) fn open_named(pid: u32, number: RawFd, size: usize, inode: u64) -> io::Result<Self> {
        // To open a pipe, a terminal or a device for reading and writing may do something to it.
        let place = open(path(pid, number), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        require_memory_file(&place, size, inode)?;
        let own = format!("/proc/self/fd/{}", place.as_raw_fd());
        let file = off_standard_streams(open_again(&own)?.into())?;
        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, size })
    }

    /// Under which this process has it open.
    pub(crate) fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(fstat(&self.file)?.st_ino)
    }

    /// Copies bytes into it.
    pub(crate) fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        require_file_size(offset.saturating_add(bytes.len()))?; // the limit may have become less
        self.file.write_all_at(bytes, offset as u64)
    }

    /// Frees the memory from there on, in all processes that have it mapped. If that fails it is
    /// freed with the last of them.
    pub(crate) fn give_memory_back(&self, offset: usize) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = self.size.saturating_sub(offset);
        let _ = fallocate(&self.file, flags, offset as u64, length as u64);
    }

    #[cfg(test)]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, size: self.size })
    }

    /// How much memory it takes at this moment.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> u64 {
        u64::try_from(fstat(&self.file).unwrap().st_blocks).unwrap() * 512
    }

    /// Has the system provide all of the memory, or say that it cannot; or it would end whoever
    /// touches what it has promised and does not have.
    fn take_memory(&self) -> io::Result<()> {
        /// A signal undoes what one call has done so far, and signals may come often.
        const STEP: usize = 1 << 20;
        let mut done = 0;
        while done < self.size {
            let step = STEP.min(self.size - done);
            match fallocate(&self.file, FallocateFlags::empty(), done as u64, step as u64) {
                Ok(()) => done += step,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    // ----- locks -----

    /// Takes a lock for this opening of the file, in place of one that it has, unless another
    /// opening has one. The system releases it with the last copy of this opening, however that
    /// ends.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        self.set_lock(libc::F_WRLCK)
    }

    /// As [`Self::try_lock`], for a lock that others may have, too.
    pub(crate) fn try_lock_shared(&self) -> io::Result<bool> {
        self.set_lock(libc::F_RDLCK)
    }

    pub(crate) fn unlock(&self) -> io::Result<bool> {
        self.set_lock(libc::F_UNLCK)
    }

    fn set_lock(&self, kind: libc::c_int) -> io::Result<bool> {
        match self.call_for(libc::F_OFD_SETLK, kind) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets those who have the file open see that it is this process. It is so until this process
    /// ends, or closes a descriptor of that file.
    pub(crate) fn sign(self) -> io::Result<()> {
        fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive)?;
        let _ = self.file.into_raw_fd(); // never closed, as the lock would go
        Ok(())
    }

    /// Who has signed, if that is a process that has a number here.
    pub(crate) fn signer(&self) -> Option<u32> {
        let found = self.call_for(libc::F_GETLK, libc::F_WRLCK).ok()?;
        let is_locked = i32::from(found.l_type) != libc::F_UNLCK;
        // A lock of another kind has no process, and is said to be that of -1.
        is_locked.then(|| u32::try_from(found.l_pid).ok()).flatten().filter(|pid| *pid > 0)
    }

    /// Calls the system for a lock on the whole file.
    fn call_for(&self, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::flock> {
        #[expect(clippy::cast_possible_truncation, reason = "the constants are small")]
        let kind = kind as libc::c_short;
        let mut lock = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        // SAFETY: the descriptor is open, and these commands read and write a structure that is
        // there.
        #[expect(unsafe_code, reason = "rustix does not have it")]
        match unsafe { libc::fcntl(self.number(), command, &raw mut lock) } {
            0 => Ok(lock),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Maps all of it, if it has room for so many words.
    pub(crate) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        if self.size < size_of::<[AtomicU64; WORDS]>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the address is left to the kernel, so no existing mapping is touched.
        #[expect(unsafe_code, reason = "maps memory")]
        let address = unsafe { mmap(null_mut(), self.size, protection, flags, &self.file, 0)? };
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { words, size: self.size })
    }
}

/// A [`MemoryFile`] as memory of this process: some words, which no process reaches other than
/// through atomics, and bytes behind them.
#[derive(Debug)]
pub(crate) struct Mapping<const WORDS: usize> {
    words: NonNull<[AtomicU64; WORDS]>,
    /// Of all that is mapped.
    size: usize,
}

impl<const WORDS: usize> Mapping<WORDS> {
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
    let all = i32::MAX.cast_unsigned();
    let _ = futex::wake(number, futex::Flags::empty(), all); // cannot fail
}

/// Waits until somebody is woken who waits for this number, if it is still the one that was seen,
/// or until the time is up; or for no reason.
pub(crate) fn wait_for_change(number: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let limit = limit.and_then(|limit| limit.try_into().ok());
    let _ = futex::wait(number, futex::Flags::empty(), seen, limit.as_ref()); // the caller looks
}

fn path(pid: u32, number: RawFd) -> String {
    format!("/proc/{pid}/fd/{number}")
}

fn open_again(path: &str) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// After a task has closed the standard streams the next descriptors have their numbers, and
/// whatever is printed goes there.
fn off_standard_streams(file: File) -> io::Result<File> {
    const FIRST: RawFd = 3;
    if file.as_raw_fd() >= FIRST {
        return Ok(file);
    }
    Ok(fcntl_dupfd_cloexec(&file, FIRST)?.into())
}

/// What is written beyond the limit of the sizes of files would end this process by a signal.
fn require_file_size(size: usize) -> io::Result<()> {
    let most = soft_limit(Resource::Fsize);
    if most.is_some_and(|most| size as u64 > most) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Asks whether the system would promise so much memory. It would provide a file with as much as
/// there is before it says that there is no more, and end processes meanwhile.
#[expect(unsafe_code, reason = "maps memory for a moment")]
fn require_memory(size: usize) -> io::Result<()> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the address is left to the kernel, and what it maps is not touched before it is
    // unmapped.
    unsafe {
        let address = mmap_anonymous(null_mut(), size, protection, MapFlags::PRIVATE)?;
        Ok(munmap(address, size)?)
    }
}

/// Makes sure that it is a file in memory, of that size and that number. Others have a file system
/// that may fail, or run out of huge pages.
fn require_memory_file(place: &OwnedFd, size: usize, inode: u64) -> io::Result<()> {
    /// Of tmpfs, in which memfds are.
    const TMPFS: u64 = 0x0102_1994;
    let found = fstat(place)?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && usize::try_from(found.st_size) == Ok(size)
        && found.st_ino == inode;
    let is_memory = || fstatfs(place).is_ok_and(|system| u64::try_from(system.f_type) == Ok(TMPFS));
    if is_file && is_memory() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_change_its_size() {
        const SIZE: usize = 64 << 10;
        for file in [MemoryFile::sparse(SIZE).unwrap(), MemoryFile::filled(SIZE).unwrap()] {
            for size in [0, 1 << 20] {
                assert!(ftruncate(&file.file, size).is_err(), "{size}");
            }
        }
    }

    #[test]
    fn what_has_no_room_for_words_is_not_mapped() {
        let file = MemoryFile::sparse(4096).unwrap();
        assert!(file.map::<512>().is_ok() && file.map::<513>().is_err());
    }
}
