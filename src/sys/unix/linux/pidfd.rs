//! What Linux tells of a process by its pidfd, and does to its group, also once it is reaped.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::process::Signal;

use super::super::descriptor::Descriptor;

/// From `linux/pidfd.h`, as are the next ones.
const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;
const INFO_EXIT: u64 = 1 << 3;
const GET_INFO: Opcode = opcode::read_write::<Info>(0xFF, 11);

/// The first version of `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    /// What is asked for, and then what is told.
    mask: u64,
    _cgroup: u64,
    _pid: u32,
    _thread_group: u32,
    parent: u32,
    _users: [u32; 8],
    exit_code: i32,
}

/// A call that not every system knows, which is found out by the first try.
struct Novelty {
    is_missing: AtomicBool,
}

impl Novelty {
    const fn new() -> Self {
        Self { is_missing: AtomicBool::new(false) }
    }

    fn attempt<T>(&self, call: impl FnOnce() -> rustix::io::Result<T>) -> io::Result<T> {
        if self.is_missing.load(Ordering::Relaxed) || refusal::is_on() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        match call() {
            Err(Errno::NOSYS | Errno::NOTTY | Errno::INVAL) => {
                self.is_missing.store(true, Ordering::Relaxed);
                Err(io::ErrorKind::Unsupported.into())
            }
            result => Ok(result?),
        }
    }
}

/// To the group of which that process is, or was, the leader: nobody else can be meant, as the
/// pidfd tells its pid from a later one of the same number. Since Linux 6.9.
pub(crate) fn signal_group(leader: &Descriptor, signal: Signal) -> io::Result<()> {
    send_to_group(leader, signal.as_raw())
}

/// Whether there is anybody in the group of which that process is, or was, the leader; zombies
/// count. Since Linux 6.9.
pub(crate) fn is_group_left(leader: &Descriptor) -> io::Result<bool> {
    const NONE: i32 = 0;
    match send_to_group(leader, NONE) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(true),
        result => result.map(|()| true),
    }
}

fn send_to_group(leader: &Descriptor, signal: i32) -> io::Result<()> {
    static SENDING: Novelty = Novelty::new();
    SENDING.attempt(|| {
        let (fd, no_details) = (leader.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open, and without details the call touches no memory.
        #[expect(unsafe_code, reason = "rustix has it without flags")]
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_details, SIGNAL_PROCESS_GROUP)
        };
        if result < 0 { Err(last_error()) } else { Ok(()) }
    })
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// How a process has ended that somebody has reaped, in the form of `wait`. `None` if it was not
/// reaped yet: then a hangup of the pidfd will tell that it was. An error says that nobody will
/// know. Since Linux 6.15.
pub(crate) fn status_after_reaping(process: &Descriptor) -> io::Result<Option<i32>> {
    let info = get_info(process, INFO_EXIT)?;
    Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code))
}

/// The parent of a process that was not reaped, by the pid that it has here. Since Linux 6.13.
pub(super) fn parent_of_open(process: &Descriptor) -> io::Result<Option<u32>> {
    const INFO_PID: u64 = 1;
    let info = get_info(process, INFO_PID)?;
    Ok((info.mask & INFO_PID != 0).then_some(info.parent))
}

fn get_info(process: &Descriptor, mask: u64) -> io::Result<Info> {
    static ASKING: Novelty = Novelty::new();
    let ask = || {
        let mut info = Info { mask, ..Info::default() };
        // SAFETY: the number names this call, and has in it how long what it takes and fills is:
        // an `Info`, which is ours until it returns, and in which all bits are numbers.
        #[expect(unsafe_code, reason = "rustix does not have it")]
        unsafe { ioctl(process.as_fd(), Updater::<GET_INFO, Info>::new(&mut info)) }?;
        Ok(info)
    };
    ASKING.attempt(ask)
}

/// Whether this is Linux of that version at least; what is not, tests of something new pass over.
#[cfg(test)]
pub(crate) fn is_linux_since(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    let is_new = (numbers.next(), numbers.next()) >= (Some(major), Some(minor));
    if !is_new {
        eprintln!("skipped: Linux {release} does not have it, {major}.{minor} has");
    }
    is_new
}

/// Tests refuse these calls to a thread.
#[cfg(test)]
pub(crate) mod refusal {
    use std::cell::Cell;

    thread_local! {
        static IS_ON: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_on() -> bool {
        IS_ON.get()
    }

    pub(crate) fn during<T>(test: impl FnOnce() -> T) -> T {
        IS_ON.set(true);
        let result = test();
        IS_ON.set(false);
        result
    }
}

#[cfg(not(test))]
mod refusal {
    pub(super) fn is_on() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_once() {
        let (call, mut count) = (Novelty::new(), 0);
        for _ in 0..3 {
            let mut refuse = || {
                count += 1;
                Err::<(), _>(Errno::NOTTY)
            };
            let error = call.attempt(&mut refuse).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn what_fails_for_once_is_asked_for_again() {
        let call = Novelty::new();
        let gone = call.attempt(|| Err::<(), _>(Errno::SRCH)).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
        assert_eq!(call.attempt(|| Ok(7)).unwrap(), 7);
    }
}
