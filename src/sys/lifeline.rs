//! Ending together with another process, without a thread that watches it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::child::kill_own_group;

/// Which signal `O_ASYNC` sends; Linux only.
const F_SETSIG: i32 = 10;

/// A pipe into which nothing is ever written. All copies of its writing end are closed when the process
/// that holds them ends, however it does.
pub(crate) fn lifeline() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((writer, reader))
}

/// Has the system send a signal when the other end of the lifeline is closed, as long as this lives.
#[derive(Debug)]
pub(crate) struct Lifeline {
    _process: File,
    _group: File,
}

impl Lifeline {
    /// SIGKILL, to this process and to the group that it leads.
    pub(crate) fn hold(reader: &OwnedFd) -> io::Result<Self> {
        Self::signal(reader, libc::SIGKILL)
    }

    /// SIGCONT, for a process that sees the end by itself unless it is stopped.
    pub(crate) fn wake(reader: &OwnedFd) -> io::Result<Self> {
        Self::signal(reader, libc::SIGCONT)
    }

    fn signal(reader: &OwnedFd, signal: i32) -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_pid();
        // The process may leave its group, so it is to get the signal by itself, too.
        let line = Self {
            _process: signal_on_hangup(reader, pid, signal)?,
            _group: signal_on_hangup(reader, -pid, signal)?,
        };
        if has_hung_up(reader)? {
            kill_own_group(); // before there was anybody to signal
        }
        Ok(line)
    }
}

/// `receiver` is as for `F_SETOWN`: a process, or, negative, a group.
fn signal_on_hangup(reader: &OwnedFd, receiver: i32, signal: i32) -> io::Result<File> {
    // The owner and the signal belong to an open file, which processes that were forked share; so this
    // one opens its own.
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    control(&file, libc::F_SETOWN, receiver)?;
    control(&file, F_SETSIG, signal)?;
    control(&file, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
    Ok(file)
}

fn control(file: &File, command: i32, argument: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open, and these commands take an integer and touch no memory.
    #[expect(unsafe_code, reason = "sets flags that rustix does not know")]
    match unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn has_hung_up(reader: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default()))?;
    Ok(!fds[0].revents().is_empty())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_seen_and_life_is_not() {
        let (writer, reader) = lifeline().unwrap();
        assert!(!has_hung_up(&reader).unwrap());
        drop(writer);
        assert!(has_hung_up(&reader).unwrap());
    }

    #[test]
    fn nothing_happens_while_the_other_end_is_open() {
        let (_writer, reader) = lifeline().unwrap();
        let line = Lifeline::hold(&reader).unwrap();
        drop((line, reader));
    }
}
