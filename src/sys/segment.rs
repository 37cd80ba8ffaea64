//! Memory of any size that processes share, and that one of them names to another.

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::system::arrivals::Arrivals;
use super::system::descriptor::{Descriptor, RawDescriptor};
use super::system::{Mapping, MemoryFile, wait_for_change, wake_all};

/// What stands before the bytes, which are therefore aligned to so many.
const HEADER: usize = 4096;
/// How many words of the header are used.
pub(crate) const WORDS: usize = 8;
/// With one for a number that can be waited for.
const ALL_WORDS: usize = WORDS + 1;

/// A few atomic words, and bytes behind them; all are zero at first. It is a file without a name,
/// which is gone with the last process that has it open.
///
/// Nobody can change its size, and all of its memory is taken when it is made. So no access fails
/// later.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The whole file: the header and the bytes.
    mapping: Mapping<ALL_WORDS>,
    /// Of the bytes.
    len: usize,
    /// How many of the bytes this process has written, and how many of those are in its tables of
    /// pages.
    written: usize,
    mapped: usize,
    inode: u64,
    file: MemoryFile,
}

/// Who may use the bytes of a segment, as far as those who ask for locks are concerned. A lock
/// belongs to one opening of the segment, and to its copies in processes that are forked. The
/// system releases it with the last of these, however that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    None,
    /// Several may have it at the same time.
    Shared,
    /// While somebody has it nobody else has one.
    Exclusive,
}

/// Names a segment to a process on the same machine. It means something as long as that segment is
/// open in the process that has made the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRef {
    pid: u32,
    fd: RawDescriptor,
    len: u64,
    /// The descriptor may have been closed, and its number be that of another segment.
    inode: u64,
}

impl SegmentRef {
    /// How many bytes the segment is said to have.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Tells it from others of that process.
    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// The process that is said to have it open.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

impl Segment {
    /// Makes one. Memory that is fresh costs as much as two copies of the bytes, so it is worth to
    /// use a segment again.
    ///
    /// Huge pages, for which one has to ask, were measured to save nothing: clearing is what takes
    /// the time.
    pub(crate) fn create(len: usize) -> io::Result<Self> {
        let file = MemoryFile::filled(file_size(len)?)?;
        let inode = file.inode()?;
        Self::of(file, len, inode)
    }

    /// Opens one that a process has named, which may be anybody: what is no segment of that size is
    /// refused, and nothing happens to it.
    pub(crate) fn open(name: SegmentRef, arrivals: &Arrivals) -> io::Result<Self> {
        let len = usize::try_from(name.len).map_err(|_| io::ErrorKind::InvalidData)?;
        let which = (file_size(len)?, name.inode);
        let file = MemoryFile::open(name.pid, name.fd, which, arrivals)?;
        Self::of(file, len, name.inode)
    }

    fn of(file: MemoryFile, len: usize, inode: u64) -> io::Result<Self> {
        Ok(Self { mapping: file.map()?, len, written: 0, mapped: 0, inode, file })
    }

    /// What another process opens it by, as long as this is there.
    pub(crate) fn name(&self) -> SegmentRef {
        let (pid, fd) = (std::process::id(), self.file.number());
        SegmentRef { pid, fd, len: self.len as u64, inode: self.inode }
    }

    /// To be sent to another process.
    pub(crate) fn descriptor(&self) -> io::Result<Descriptor> {
        self.file.descriptor()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Words for whatever the processes have to tell each other. What they mean is up to those who
    /// use the segment.
    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        let [words @ .., _] = self.mapping.words();
        words
    }

    /// A number that processes count up, and can wait for. It is zero at first.
    fn counter(&self) -> &AtomicU32 {
        let [.., last] = self.mapping.words();
        // SAFETY: it is half of a word, which is there as long as `self` is borrowed, and which no
        // process reaches other than so.
        #[expect(unsafe_code, reason = "refers to half of a word")]
        unsafe {
            AtomicU32::from_ptr(last.as_ptr().cast())
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.counter().load(Ordering::Acquire)
    }

    /// Adds one and wakes those who wait for that.
    pub(crate) fn count_up(&self) {
        self.counter().fetch_add(1, Ordering::Release);
        wake_all(self.counter());
    }

    /// Waits until the number is another than `seen`, or until the time is up; or for no reason.
    pub(crate) fn wait_for_count(&self, seen: u32, limit: Option<Duration>) {
        wait_for_change(self.counter(), seen, limit);
    }

    /// Changes the lock that this opening of the segment has, at once or not at all; false if
    /// another opening has one that is in the way.
    pub(crate) fn lock(&self, lock: Lock) -> io::Result<bool> {
        match lock {
            Lock::None => self.file.unlock(),
            Lock::Shared => self.file.try_lock_shared(),
            Lock::Exclusive => self.file.try_lock(),
        }
    }

    /// Copies bytes into the segment. On memory that was not touched yet the system does it, as
    /// into a file: there that is quicker. Where bytes are written again it pays to have the pages
    /// mapped.
    ///
    /// # Errors
    ///
    /// If they are not inside.
    pub(crate) fn write_at(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len()).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        if end > self.written {
            self.file.write_at(HEADER + offset, bytes)?;
            self.written = end;
            return Ok(());
        }
        if end > self.mapped {
            self.map_pages(end);
        }
        // SAFETY: the bytes from `offset` to `end` are inside of the mapping, which is writable as
        // long as `self` is there; their memory was taken, so nothing fails. The source is memory
        // that others have no mutable reference to: if it is this segment's own, then `self` is
        // borrowed by it already.
        #[expect(unsafe_code, reason = "copies into mapped memory")]
        unsafe {
            let target = self.bytes().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        Ok(())
    }

    /// Frees the memory of the bytes, in all processes that have them mapped. For those who see to
    /// it that nobody uses them any more, as to take memory again may fail. If this fails it is
    /// freed with the last mapping.
    pub(crate) fn give_memory_back(&self) {
        self.file.give_memory_back(HEADER);
    }

    /// How much memory it takes at this moment.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn memory(&self) -> u64 {
        self.file.memory()
    }

    /// Has the pages up to there mapped at once.
    fn map_pages(&mut self, end: usize) {
        let start = (HEADER + self.mapped) / HEADER * HEADER;
        self.mapping.populate(start..HEADER + end);
        self.mapped = end;
    }

    /// Copies a part out, behind what `buffer` has: bytes that another process may change at any
    /// time must not be looked at where they are.
    ///
    /// # Errors
    ///
    /// If it is not inside, or there is no memory for the copy.
    pub(crate) fn copy_to(&self, range: Range<usize>, buffer: &mut Vec<u8>) -> io::Result<()> {
        if range.start > range.end || range.end > self.len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let count = range.len();
        buffer.try_reserve(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let room = &mut buffer.spare_capacity_mut()[..count];
        // SAFETY: the range was found to be inside of the mapping, which is readable as long as
        // `self` is there, and `room` has as many bytes of memory of this process's own. No
        // reference to the source is made, so it may change meanwhile: every byte is one that was
        // there at some moment. After that so many bytes of the buffer's capacity are initialized.
        #[expect(unsafe_code, reason = "copies from mapped memory")]
        unsafe {
            let source = self.bytes().add(range.start);
            std::ptr::copy_nonoverlapping(source, room.as_mut_ptr().cast(), count);
            buffer.set_len(buffer.len() + count);
        }
        Ok(())
    }

    /// The bytes where they are. For those who see to it that nobody writes to the segment, by
    /// whatever handle and in whatever process, as long as the slice is there.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped and readable until `self` is dropped, and sealed against
        // shrinking. Nobody of this program writes to them meanwhile: not by this handle, which is
        // borrowed, and not by another, as the caller sees to. A process that does so nevertheless
        // changes the value of some bytes, which are valid whatever they are.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            std::slice::from_raw_parts(self.bytes(), self.len)
        }
    }

    /// As [`Self::as_slice`], for those who see to it that nobody else reads it, either.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; they are writable, too, and nobody has another reference to
        // them.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            std::slice::from_raw_parts_mut(self.bytes(), self.len)
        }
    }

    /// Where they begin. The mapping is longer than the header.
    fn bytes(&self) -> *mut u8 {
        self.mapping.start().wrapping_add(HEADER)
    }
}

/// Of a segment with so many bytes, if there can be one.
fn file_size(len: usize) -> io::Result<usize> {
    let size = len.checked_add(HEADER).filter(|size| isize::try_from(*size).is_ok());
    size.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
