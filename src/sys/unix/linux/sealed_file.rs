//! Files without names in memory, which are gone with the last process that has them open, and
//! their locks.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use rustix::fs::{
    FallocateFlags, FileType, FlockOperation, MemfdFlags, Mode, OFlags, SealFlags, fallocate,
    fcntl_add_seals, fcntl_get_seals, fcntl_lock, fstat, fstatfs, ftruncate, memfd_create, open,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::super::arrivals::Arrivals;
use super::super::resources::{Resource, soft_limit};
use super::mapping::Mapping;
use super::process::names_own_processes;

/// A file in memory. Nobody can make it smaller, so that no access to what is mapped of it fails.
#[derive(Debug)]
pub(super) struct SealedFile {
    file: File,
    size: usize,
    /// It has locks of its own.
    is_own_opening: bool,
}

impl SealedFile {
    /// Makes one of which only what is touched takes memory.
    pub(super) fn sparse(size: usize) -> io::Result<Self> {
        require_file_size(size)?;
        Self::sealed(size)
    }

    /// Makes one that has all of its memory from the beginning.
    pub(super) fn filled(size: usize) -> io::Result<Self> {
        require_file_size(size)?;
        require_memory(size)?;
        let file = off_standard_streams(Self::sealed(size)?.file)?;
        let file = Self { file, size, is_own_opening: true };
        file.take_memory()?;
        Ok(file)
    }

    fn sealed(size: usize) -> io::Result<Self> {
        let fd = memfd_create("procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, size as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self { file: fd.into(), size, is_own_opening: true })
    }

    /// Opens one that a process has open under this number, which may be anybody: what is no such
    /// file of that size and inode is refused, and nothing happens to it.
    ///
    /// If it has not arrived, this goes through `/proc`: a descriptor that is inherited would be
    /// inherited by every process that is started at that moment.
    pub(super) fn open(
        pid: u32,
        number: RawFd,
        (size, inode): (usize, u64),
        arrivals: &Arrivals,
    ) -> io::Result<Self> {
        let (place, has_arrived) = match arrivals.find(inode) {
            Some(place) => (place, true),
            None => (find_by_name(pid, number)?, false),
        };
        require_memory_file(&place, size, inode)?;
        let own = format!("/proc/self/fd/{}", place.as_raw_fd());
        let (file, is_own_opening) = match open_again(&own) {
            Ok(file) => (file, true),
            // It may be used, only not locked, which would be a lock of who has sent it, too.
            Err(_) if has_arrived => (place, false),
            Err(error) => return Err(error.into()),
        };
        let file = off_standard_streams(file.into())?;
        if !fcntl_get_seals(&file)?.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, size, is_own_opening })
    }

    /// To be sent to another process.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(fcntl_dupfd_cloexec(&self.file, 3)?)
    }

    /// Under which this process has it open.
    pub(super) fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub(super) fn inode(&self) -> io::Result<u64> {
        Ok(fstat(&self.file)?.st_ino)
    }

    /// Copies bytes into it.
    pub(super) fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        require_file_size(offset.saturating_add(bytes.len()))?; // the limit may have become less
        self.file.write_all_at(bytes, offset as u64)
    }

    /// Frees the memory from there on, in all processes that have it mapped. If that fails it is
    /// freed with the last of them.
    pub(super) fn give_memory_back(&self, offset: usize) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = self.size.saturating_sub(offset);
        let _ = fallocate(&self.file, flags, offset as u64, length as u64);
    }

    #[cfg(test)]
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, size: self.size, is_own_opening: false })
    }

    /// How much memory it takes at this moment.
    #[cfg(test)]
    pub(super) fn memory(&self) -> u64 {
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
    pub(super) fn try_lock(&self) -> io::Result<bool> {
        self.set_lock(libc::F_WRLCK)
    }

    /// As [`Self::try_lock`], for a lock that others may have, too.
    pub(super) fn try_lock_shared(&self) -> io::Result<bool> {
        self.set_lock(libc::F_RDLCK)
    }

    pub(super) fn unlock(&self) -> io::Result<bool> {
        self.set_lock(libc::F_UNLCK)
    }

    fn set_lock(&self, kind: libc::c_int) -> io::Result<bool> {
        if !self.is_own_opening {
            return Err(io::ErrorKind::Unsupported.into());
        }
        match self.call_for(libc::F_OFD_SETLK, kind) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets those who have the file open see that it is this process. It is so until this process
    /// ends, or closes a descriptor of that file.
    pub(super) fn sign(self) -> io::Result<()> {
        fcntl_lock(&self.file, FlockOperation::NonBlockingLockExclusive)?;
        let _ = self.file.into_raw_fd(); // never closed, as the lock would go
        Ok(())
    }

    /// Who has signed, if that is a process that has a number here.
    pub(super) fn signer(&self) -> Option<u32> {
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
    pub(super) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        if self.size < size_of::<[AtomicU64; WORDS]>() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the address is left to the kernel, so no existing mapping is touched.
        #[expect(unsafe_code, reason = "maps memory")]
        let address = unsafe { mmap(null_mut(), self.size, protection, flags, &self.file, 0)? };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping::of_attached(address, self.size))
    }
}

/// Whether it is memory of whatever kind. Of a file of somebody else's nothing is asked that its
/// file system would answer.
pub(crate) fn is_memory(descriptor: &OwnedFd) -> bool {
    fcntl_get_seals(descriptor).is_ok()
}

/// To open a pipe, a terminal or a device for reading and writing may do something to it.
fn find_by_name(pid: u32, number: RawFd) -> io::Result<OwnedFd> {
    let process = match pid {
        own if own == std::process::id() => "self".to_owned(),
        other if names_own_processes() => other.to_string(),
        _ => {
            let text = "the `/proc` that is mounted is that of another PID namespace";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    };
    let path = format!("/proc/{process}/fd/{number}");
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
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
        for file in [SealedFile::sparse(SIZE).unwrap(), SealedFile::filled(SIZE).unwrap()] {
            for size in [0, 1 << 20] {
                assert!(ftruncate(&file.file, size).is_err(), "{size}");
            }
        }
    }

    #[test]
    fn what_has_no_room_for_words_is_not_mapped() {
        let file = SealedFile::sparse(4096).unwrap();
        assert!(file.map::<512>().is_ok() && file.map::<513>().is_err());
    }
}
