//! Memory that processes share, of whichever kind the system gives.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;

use super::super::arrivals::Arrivals;
use super::mapping::Mapping;
use super::sealed_file::SealedFile;
use super::system_v::SystemV;

/// Memory of a fixed size, which is gone with the last process that has it: so no access to what is
/// mapped of it fails.
#[derive(Debug)]
pub(crate) struct MemoryFile(MemoryKind);

#[derive(Debug)]
enum MemoryKind {
    File(SealedFile),
    /// Where files are refused, as by a seccomp filter. It has no locks.
    Segment(SystemV),
}

/// Whether memory may be a segment. A worker that has refused calls to itself may end by the try.
static SEGMENTS: AtomicU8 = AtomicU8::new(UNUSED);
const UNUSED: u8 = 0;
/// A page is one, so others may be.
const USED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// From now on this process makes and opens no segments: a sandbox is about to refuse the calls.
pub(crate) fn give_up_segments() {
    SEGMENTS.store(GIVEN_UP, Ordering::Relaxed);
}

/// Whether no such file can be made, however much memory there is.
fn is_refused(error: &io::Error) -> bool {
    const REFUSALS: [Errno; 3] = [Errno::ACCESS, Errno::NOSYS, Errno::PERM];
    Errno::from_io_error(error).is_some_and(|errno| REFUSALS.contains(&errno))
}

/// In place of a descriptor's number.
const SEGMENT: RawFd = -1;

impl MemoryFile {
    /// Makes some of which only what is touched takes memory.
    pub(crate) fn sparse(size: usize) -> io::Result<Self> {
        let made = Self::make(SealedFile::sparse(size), || SystemV::sparse(size))?;
        made.note_kind();
        Ok(made)
    }

    /// Makes some that is there as a whole from the beginning.
    pub(crate) fn filled(size: usize) -> io::Result<Self> {
        let file = SealedFile::filled(size);
        if SEGMENTS.load(Ordering::Relaxed) != USED {
            return Ok(Self(MemoryKind::File(file?)));
        }
        Self::make(file, || SystemV::filled(size))
    }

    fn make(
        file: io::Result<SealedFile>,
        segment: impl FnOnce() -> io::Result<SystemV>,
    ) -> io::Result<Self> {
        match file {
            Ok(file) => Ok(Self(MemoryKind::File(file))),
            Err(error) if is_refused(&error) => match segment() {
                Ok(segment) => Ok(Self(MemoryKind::Segment(segment))),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens what a process has under this number, which may be anybody: what is no such memory of
    /// that size and inode is refused, and nothing happens to it. It may have arrived.
    pub(crate) fn open(
        pid: u32,
        number: RawFd,
        (size, inode): (usize, u64),
        arrivals: &Arrivals,
    ) -> io::Result<Self> {
        let kind = if number == SEGMENT {
            if SEGMENTS.load(Ordering::Relaxed) == GIVEN_UP {
                return Err(Errno::ACCESS.into());
            }
            MemoryKind::Segment(SystemV::open(pid, inode, size)?)
        } else {
            MemoryKind::File(SealedFile::open(pid, number, (size, inode), arrivals)?)
        };
        let opened = Self(kind);
        opened.note_kind();
        Ok(opened)
    }

    fn note_kind(&self) {
        if matches!(self.0, MemoryKind::Segment(_)) {
            let relaxed = Ordering::Relaxed;
            let _ = SEGMENTS.compare_exchange(UNUSED, USED, relaxed, relaxed);
        }
    }

    /// To be sent to another process, if it would have to be.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.0 {
            MemoryKind::File(file) => file.descriptor(),
            MemoryKind::Segment(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Under which this process has it open.
    pub(crate) fn number(&self) -> RawFd {
        match &self.0 {
            MemoryKind::File(file) => file.number(),
            MemoryKind::Segment(_) => SEGMENT,
        }
    }

    /// Tells it from all others of its kind.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        match &self.0 {
            MemoryKind::File(file) => file.inode(),
            MemoryKind::Segment(segment) => Ok(segment.id()),
        }
    }

    /// Copies bytes into it, which nobody looks at meanwhile.
    pub(crate) fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            MemoryKind::File(file) => file.write_at(offset, bytes),
            MemoryKind::Segment(segment) => segment.write_at(offset, bytes),
        }
    }

    /// Frees the memory from there on, in all processes that have it mapped. If that fails it is
    /// freed with the last of them.
    pub(crate) fn give_memory_back(&self, offset: usize) {
        match &self.0 {
            MemoryKind::File(file) => file.give_memory_back(offset),
            MemoryKind::Segment(segment) => segment.give_memory_back(offset),
        }
    }

    /// Maps all of it, if it has room for so many words.
    pub(crate) fn map<const WORDS: usize>(&self) -> io::Result<Mapping<WORDS>> {
        match &self.0 {
            MemoryKind::File(file) => file.map(),
            MemoryKind::Segment(segment) => segment.map(),
        }
    }

    /// Takes a lock for this opening of the file, in place of one that it has, unless another
    /// opening has one. The system releases it with the last copy of this opening, however that
    /// ends.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        self.lockable()?.try_lock()
    }

    /// As [`Self::try_lock`], for a lock that others may have, too.
    pub(crate) fn try_lock_shared(&self) -> io::Result<bool> {
        self.lockable()?.try_lock_shared()
    }

    pub(crate) fn unlock(&self) -> io::Result<bool> {
        self.lockable()?.unlock()
    }

    /// Lets those who have the file open see that it is this process. It is so until this process
    /// ends, or closes a descriptor of that file.
    pub(crate) fn sign(self) -> io::Result<()> {
        match self.0 {
            MemoryKind::File(file) => file.sign(),
            MemoryKind::Segment(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Who has signed, if that is a process that has a number here.
    pub(crate) fn signer(&self) -> Option<u32> {
        self.lockable().ok()?.signer()
    }

    fn lockable(&self) -> io::Result<&SealedFile> {
        match &self.0 {
            MemoryKind::File(file) => Ok(file),
            MemoryKind::Segment(_) => {
                let text = "without `memfd_create`, which is refused, memory has no locks";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(MemoryKind::File(self.lockable()?.try_clone()?)))
    }

    /// How much memory it takes at this moment.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> u64 {
        self.lockable().unwrap().memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is about to refuse the calls to itself has no segments any more, which it
    /// would be ended for. There is one such state in a process, so this is one test.
    #[test]
    fn segments_are_used_where_a_page_is_one_until_they_are_given_up() {
        const SIZE: usize = 4096;
        let refused = || Err(io::Error::from(Errno::PERM));
        let made = MemoryFile::make(refused(), || SystemV::sparse(SIZE)).unwrap();
        let (own, which) = (std::process::id(), (SIZE, made.inode().unwrap()));
        let open = || MemoryFile::open(own, made.number(), which, &Arrivals::new());
        assert_eq!(made.number(), SEGMENT);
        assert!(open().is_ok() && SEGMENTS.load(Ordering::Relaxed) == USED);
        give_up_segments();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        made.note_kind();
        assert_eq!(SEGMENTS.load(Ordering::Relaxed), GIVEN_UP);
        let short = || Err(io::Error::from(Errno::NOMEM));
        assert!(MemoryFile::make(short(), || SystemV::sparse(SIZE)).is_err(), "it is no refusal");
    }
}
