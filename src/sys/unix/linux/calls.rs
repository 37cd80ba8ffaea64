//! Calls of the system that stand for themselves.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, ReadWriteFlags, preadv2};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::child_subreaper;
use rustix::rand::{GetRandomFlags, getrandom};

/// Who writes to a socket whose other end is closed gets an error, and no signal.
pub(crate) const SEND: i32 = libc::MSG_NOSIGNAL;
/// The signals that not all systems have.
pub(crate) const OWN_SIGNALS: &[(i32, &str)] =
    &[(libc::SIGSTKFLT, "SIGSTKFLT"), (libc::SIGPWR, "SIGPWR")];
/// Descriptors that are received are not inherited.
pub(crate) const RECEIVE: i32 = libc::MSG_CMSG_CLOEXEC;

/// Those that mean what a program likes; the C library has the first of them for itself.
pub(crate) fn real_time_signals() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// As far as there is more to be had.
pub(crate) fn set_pipe_size(fd: impl AsFd, size: usize) {
    let _ = fcntl_setpipe_size(fd, size);
}

/// Reads what is in a pipe at this moment, be it blocking or not. `None` if there is nothing.
pub(crate) fn read_now(fd: impl AsFd, buffer: &mut [u8]) -> Option<usize> {
    const NO_OFFSET: u64 = u64::MAX;
    let mut buffers = [IoSliceMut::new(buffer)];
    preadv2(fd, &mut buffers, NO_OFFSET, ReadWriteFlags::NOWAIT).ok()
}

/// With bytes that nobody can guess.
pub(crate) fn fill_randomly(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(count) => bytes = &mut bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How large pages of memory are. The C library knows that from the start of the program; to ask
/// later takes system calls, which a filter may refuse, and valgrind does not know.
pub(super) fn page_size() -> usize {
    const USUAL: usize = 4096;
    // SAFETY: it takes a number, and touches no memory.
    #[expect(unsafe_code, reason = "calls C")]
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(USUAL)
}

/// Whether this process has asked to have those of its descendants whose parents die.
pub(crate) fn is_subreaper() -> bool {
    child_subreaper().is_ok_and(|answer| answer.is_some())
}

/// Has this process, and what it will start, have no terminal of its session, if it has one.
pub(crate) fn give_up_terminal() {
    let Ok(terminal) = File::open("/dev/tty") else { return };
    // SAFETY: the descriptor is open, and this command takes no argument and touches no memory.
    #[expect(unsafe_code, reason = "rustix does not have it")]
    let _ = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
}

/// Where the stack of this thread begins, and where it ends.
pub(crate) fn own_stack() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::uninit();
    let (mut low, mut size) = (null_mut(), 0);
    // SAFETY: the first call sets the attributes or says that it has not. They are read and
    // destroyed once, and only if they were set; the other places are our own.
    #[expect(unsafe_code, reason = "no safe function tells where a stack ends")]
    let is_known = unsafe {
        let thread = libc::pthread_self();
        libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) == 0 && {
            let failed =
                libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            failed == 0
        }
    };
    let low = low.addr();
    is_known.then_some((low, low.checked_add(size)?))
}

// ----- barriers -----

/// From `linux/membarrier.h`.
const GLOBAL_EXPEDITED: i32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;

static TAKES_PART: AtomicBool = AtomicBool::new(false);

/// Whether [`take_part_in_barriers`] was called in this process, or the one that it was forked
/// from, and works here.
pub(crate) fn takes_part_in_barriers() -> bool {
    TAKES_PART.load(Ordering::Relaxed)
}

/// From now on this process takes part in the [`barrier`]s of others, if there are any here. It is
/// quick only while there is one thread.
pub(crate) fn take_part_in_barriers() {
    TAKES_PART.store(membarrier(REGISTER_GLOBAL_EXPEDITED), Ordering::Relaxed);
}

/// Each running thread of the processes that take part goes through a full memory barrier. False if
/// that cannot be had.
pub(crate) fn barrier() -> bool {
    membarrier(GLOBAL_EXPEDITED)
}

#[expect(unsafe_code, reason = "rustix does not have it")]
fn membarrier(command: i32) -> bool {
    let (flags, cpu) = (0_u32, 0_i32);
    // SAFETY: it takes three numbers, and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_membarrier, command, flags, cpu) == 0 }
}
/// What a handler of a signal interrupts may be about to look at its last error.
pub(crate) fn keeping_error(run: impl FnOnce()) {
    // SAFETY: it is where this thread's last error is kept, for as long as there is the thread.
    #[expect(unsafe_code, reason = "nobody else sets the last error")]
    unsafe {
        let place = libc::__errno_location();
        let error = *place;
        run();
        *place = error;
    }
}
