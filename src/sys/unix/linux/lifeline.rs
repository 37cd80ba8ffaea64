//! Ending together with another process, without a thread that watches it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use super::super::descriptor::has_hung_up;
use super::super::ending::kill_own_group;

/// Which signal `O_ASYNC` sends.
const F_SETSIG: i32 = 10;

/// Has the system send this process a signal when the other end of the lifeline is closed, as long
/// as this lives.
#[derive(Debug)]
pub(crate) struct Lifeline {
    process: File,
    group: File,
}

impl Lifeline {
    /// SIGKILL, to this process and to the group that it leads.
    pub(crate) fn hold(reader: impl AsFd) -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_pid();
        // The process may leave its group, so it is to get the signal by itself, too.
        let (process, group) = (owned_by(&reader, pid)?, owned_by(&reader, -pid)?);
        let line = Self { process, group };
        if has_hung_up(reader) {
            kill_own_group(); // before there was anybody to signal
        }
        Ok(line)
    }

    /// From now on it is SIGCONT, for a process that sees the end by itself unless it is stopped.
    pub(crate) fn only_wake(&self) -> io::Result<()> {
        self.set_signal(libc::SIGCONT)
    }

    fn set_signal(&self, signal: i32) -> io::Result<()> {
        control(&self.process, F_SETSIG, signal)?;
        control(&self.group, F_SETSIG, signal)
    }
}

/// `owner` is as for `F_SETOWN`: a process, or, negative, a group.
fn owned_by(reader: impl AsFd, owner: i32) -> io::Result<File> {
    // The owner and the signal belong to an open file, which processes that were forked share; so
    // this one opens its own. The pipe is that of who has made it, so this fails after a change of
    // user.
    let path = format!("/proc/self/fd/{}", reader.as_fd().as_raw_fd());
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    control(&file, libc::F_SETOWN, owner)?;
    control(&file, F_SETSIG, libc::SIGKILL)?; // before it can be sent any other
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

#[cfg(test)]
mod tests {
    use super::super::super::fork::lifeline;
    use super::*;

    #[test]
    fn an_end_is_seen_and_life_is_not() {
        let (writer, reader) = lifeline().unwrap();
        assert!(!has_hung_up(&reader));
        drop(writer);
        assert!(has_hung_up(&reader));
    }

    #[test]
    fn nothing_happens_while_the_other_end_is_open() {
        let (_writer, reader) = lifeline().unwrap();
        let line = Lifeline::hold(&reader).unwrap();
        drop((line, reader));
    }
}
