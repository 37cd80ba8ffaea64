//! Memory of any size that processes share, and that one of them names to another.

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What stands before the bytes, which are therefore aligned to so many.
const HEADER: usize = 4096;
/// How many words of the header are used.
pub(crate) const WORDS: usize = 8;

/// A few atomic words, and bytes behind them; all are zero at first. It is a file without a name,
/// which is gone with the last process that has it open.
///
/// Nobody can change its size, and all of its memory is taken when it is made. So no access fails
/// later.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The whole file: the header and the bytes.
    mapping: NonNull<u8>,
    /// Of the bytes.
    len: usize,
    /// How many of the bytes this process has written, and how many of those are in its tables of
    /// pages.
    written: usize,
    mapped: usize,
    inode: u64,
    fd: OwnedFd,
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
    fd: i32,
    len: u64,
    /// The descriptor may have been closed, and its number be that of another segment.
    inode: u64,
}

impl SegmentRef {
    /// How many bytes the segment is said to have.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The process that is said to have it open.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }
}

/// After a task has closed the standard streams the next descriptors have their numbers, and
/// whatever is printed goes there.
#[cfg(target_os = "linux")]
fn off_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    const FIRST: i32 = 3;
    if fd.as_raw_fd() >= FIRST {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, FIRST)?)
}

impl Segment {
    /// Makes one. Memory that is fresh costs as much as two copies of the bytes, so it is worth to
    /// use a segment again.
    ///
    /// Huge pages, for which one has to ask, were measured to save nothing: clearing is what takes
    /// the time.
    #[cfg(target_os = "linux")]
    pub(crate) fn create(len: usize) -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};

        let size = file_size(len)?;
        require_file_size(size)?;
        require_memory(HEADER + len)?;
        let fd = memfd_create("procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let fd = off_standard_streams(fd)?;
        ftruncate(&fd, size)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        take_memory(&fd, size)?;
        let inode = fstat(&fd)?.st_ino;
        Self::map(fd, len, inode)
    }

    /// Opens one that a process has named, which may be anybody: what is no segment of that size is
    /// refused, and nothing happens to it. This goes through `/proc`, because descriptors can be
    /// sent only through sockets.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(name: SegmentRef) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags, SealFlags, fcntl_get_seals, open};

        let refused = || io::Error::from(io::ErrorKind::InvalidData);
        let len = usize::try_from(name.len).map_err(|_| refused())?;
        let size = file_size(len)?;
        let path = format!("/proc/{}/fd/{}", name.pid, name.fd);
        // To open a pipe, a terminal or a device for reading and writing may do something to it.
        let place = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        require_memory_file(&place, size, name.inode)?;
        let path = format!("/proc/self/fd/{}", place.as_raw_fd());
        let fd = off_standard_streams(open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)?;
        if !fcntl_get_seals(&fd)?.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(refused());
        }
        Self::map(fd, len, name.inode)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn create(_: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(_: SegmentRef) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "maps memory")]
    fn map(fd: OwnedFd, len: usize, inode: u64) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};

        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the address is left to the kernel, so no existing mapping is touched.
        let address = unsafe {
            mmap(std::ptr::null_mut(), HEADER + len, protection, MapFlags::SHARED, &fd, 0)?
        };
        let mapping = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { mapping, len, written: 0, mapped: 0, inode, fd })
    }

    /// What another process opens it by, as long as this is there.
    pub(crate) fn name(&self) -> SegmentRef {
        let (pid, fd) = (std::process::id(), self.fd.as_raw_fd());
        SegmentRef { pid, fd, len: self.len as u64, inode: self.inode }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Words for whatever the processes have to tell each other. What they mean is up to those who
    /// use the segment.
    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: the mapping begins with a header that has room for them, is aligned to a page,
        // readable and writable until `self` is dropped, and sealed against shrinking. Every bit
        // pattern is a valid `AtomicU64`, and no process reaches the header other than through
        // atomics.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            self.mapping.cast().as_ref()
        }
    }

    /// A number that processes count up, and can wait for. It is zero at first.
    fn counter(&self) -> &AtomicU32 {
        const PLACE: usize = WORDS * size_of::<AtomicU64>();
        // SAFETY: as for the words, behind which it stands.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            self.mapping.add(PLACE).cast().as_ref()
        }
    }

    pub(crate) fn count(&self) -> u32 {
        self.counter().load(Ordering::Acquire)
    }

    /// Adds one and wakes those who wait for that.
    #[cfg(target_os = "linux")]
    pub(crate) fn count_up(&self) {
        use rustix::thread::futex::{Flags, wake};

        self.counter().fetch_add(1, Ordering::Release);
        let _ = wake(self.counter(), Flags::empty(), i32::MAX.cast_unsigned()); // cannot fail
    }

    /// Waits until the number is another than `seen`, or until the time is up; or for no reason.
    #[cfg(target_os = "linux")]
    pub(crate) fn wait_for_count(&self, seen: u32, limit: Option<Duration>) {
        use rustix::thread::futex::{Flags, wait};

        let limit = limit.and_then(|limit| limit.try_into().ok());
        // The caller looks again.
        let _ = wait(self.counter(), Flags::empty(), seen, limit.as_ref());
    }

    /// Changes the lock that this opening of the segment has, at once or not at all; false if
    /// another opening has one that is in the way.
    #[cfg(target_os = "linux")]
    pub(crate) fn lock(&self, lock: Lock) -> io::Result<bool> {
        #[expect(clippy::cast_possible_truncation, reason = "the constants are small")]
        let kind = match lock {
            Lock::None => libc::F_UNLCK as libc::c_short,
            Lock::Shared => libc::F_RDLCK as libc::c_short,
            Lock::Exclusive => libc::F_WRLCK as libc::c_short,
        };
        let whole_file = libc::flock {
            l_type: kind,
            l_whence: 0, // from the beginning
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        // SAFETY: the descriptor is open, and the call reads a structure that is there.
        #[expect(unsafe_code, reason = "calls the system")]
        let done = unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_OFD_SETLK, &whole_file) };
        match done {
            0 => Ok(true),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                error => Err(error),
            },
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn count_up(&self) {
        self.counter().fetch_add(1, Ordering::Release); // not reached: there are no segments
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn wait_for_count(&self, _: u32, limit: Option<Duration>) {
        std::thread::sleep(limit.unwrap_or(Duration::MAX)); // not reached: there are no segments
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn lock(&self, _: Lock) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
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
            self.write_to_file(end, bytes)?;
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
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len());
        }
        Ok(())
    }

    /// Frees the memory of the bytes, in all processes that have them mapped. For those who see to
    /// it that nobody uses them any more, as to take memory again may fail. If this fails it is
    /// freed with the last mapping.
    #[cfg(target_os = "linux")]
    pub(crate) fn give_memory_back(&self) {
        use rustix::fs::{FallocateFlags, fallocate};

        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(&self.fd, flags, HEADER as u64, self.len as u64);
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn give_memory_back(&self) {} // not reached: there are no segments

    /// How much memory it takes at this moment.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn memory(&self) -> u64 {
        u64::try_from(rustix::fs::fstat(&self.fd).unwrap().st_blocks).unwrap() * 512
    }

    /// Has the pages up to there mapped at once. If that is not possible they will be one by one.
    #[cfg(target_os = "linux")]
    fn map_pages(&mut self, end: usize) {
        use rustix::mm::{Advice, madvise};

        let start = (HEADER + self.mapped) / HEADER * HEADER;
        // SAFETY: the pages are inside of the mapping; where they are larger than the header this
        // is refused. Nothing of what is in the memory changes.
        #[expect(unsafe_code, reason = "gives advice about memory")]
        let _ = unsafe {
            let address = self.mapping.add(start).as_ptr();
            madvise(address.cast(), HEADER + end - start, Advice::LinuxPopulateWrite)
        };
        self.mapped = end;
    }

    #[cfg(not(target_os = "linux"))]
    fn map_pages(&mut self, end: usize) {
        self.mapped = end;
    }

    /// So that they end at `end`.
    fn write_to_file(&self, end: usize, bytes: &[u8]) -> io::Result<()> {
        require_file_size(file_size(end)?)?; // it may be less than it was
        let mut rest = bytes;
        while !rest.is_empty() {
            let done = (end - rest.len() + HEADER) as u64;
            match rustix::io::pwrite(&self.fd, rest, done) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
        // there at some moment. After that so many bytes of the buffer's capacity are initialised.
        #[expect(unsafe_code, reason = "copies from mapped memory")]
        unsafe {
            let source = self.bytes().add(range.start);
            std::ptr::copy_nonoverlapping(source.as_ptr(), room.as_mut_ptr().cast(), count);
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
            std::slice::from_raw_parts(self.bytes().as_ptr(), self.len)
        }
    }

    /// As [`Self::as_slice`], for those who see to it that nobody else reads it, either.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; they are writable, too, and nobody has another reference to
        // them.
        #[expect(unsafe_code, reason = "refers to mapped memory")]
        unsafe {
            std::slice::from_raw_parts_mut(self.bytes().as_ptr(), self.len)
        }
    }

    fn bytes(&self) -> NonNull<u8> {
        // SAFETY: the mapping is longer than the header.
        #[expect(unsafe_code, reason = "points into mapped memory")]
        unsafe {
            self.mapping.add(HEADER)
        }
    }
}

impl Drop for Segment {
    #[expect(unsafe_code, reason = "unmaps memory")]
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and borrows of it cannot outlive
        // `self`. Failure would leave the mapping in place, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.mapping.as_ptr().cast(), HEADER + self.len) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread. What is written to it other than
// through atomics is written by those who have borrowed the segment mutably.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Send for Segment {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "holds a pointer to shared memory")]
unsafe impl Sync for Segment {}

/// Of a segment with so many bytes, if there can be one.
fn file_size(len: usize) -> io::Result<u64> {
    let size = len.checked_add(HEADER).and_then(|size| i64::try_from(size).ok());
    let size = size.filter(|size| isize::try_from(*size).is_ok());
    size.map(i64::cast_unsigned).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// What is written beyond the limit of the sizes of files would end this process by a signal.
pub(super) fn require_file_size(size: u64) -> io::Result<()> {
    use rustix::process::{Resource, getrlimit};

    let most = getrlimit(Resource::Fsize).current;
    if most.is_some_and(|most| size > most) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}

/// Asks whether the system would promise so much memory. It would provide a file with as much as
/// there is before it says that there is no more, and end processes meanwhile.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "maps memory for a moment")]
fn require_memory(size: usize) -> io::Result<()> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the address is left to the kernel, and what it maps is not touched before it is
    // unmapped.
    unsafe {
        let address = mmap_anonymous(std::ptr::null_mut(), size, protection, MapFlags::PRIVATE)?;
        Ok(munmap(address, size)?)
    }
}

/// Has the system provide all of the memory, or say that it cannot; or it would end whoever touches
/// what it has promised and does not have.
#[cfg(target_os = "linux")]
fn take_memory(fd: &OwnedFd, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};

    /// A signal undoes what one call has done so far, and signals may come often.
    const STEP: u64 = 1 << 20;
    let mut done = 0;
    while done < size {
        let step = STEP.min(size - done);
        match fallocate(fd, FallocateFlags::empty(), done, step) {
            Ok(()) => done += step,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes sure that it is a file in memory, of that size and that number. Others have a file system
/// that may fail, or run out of huge pages.
#[cfg(target_os = "linux")]
fn require_memory_file(place: &OwnedFd, size: u64, inode: u64) -> io::Result<()> {
    use rustix::fs::{FileType, fstat, fstatfs};

    /// Of tmpfs, in which memfds are.
    const TMPFS: u64 = 0x0102_1994;
    let found = fstat(place)?;
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && u64::try_from(found.st_size) == Ok(size)
        && found.st_ino == inode;
    let is_memory = || fstatfs(place).is_ok_and(|system| u64::try_from(system.f_type) == Ok(TMPFS));
    if is_file && is_memory() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
