//! Forking a process that has one thread.

use std::fs;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, setpgid, waitpid};

/// A process that was forked, as seen from the two sides.
#[derive(Debug)]
pub(crate) enum Fork {
    Parent { child: Pid },
    Child,
}

/// Proof that no other thread of this process is in the middle of anything: a fork copies only the
/// thread that calls it, and a lock that another one holds would stay locked in the copy for ever.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Waits until there are no more than `most` threads, all of which are asleep but for this one.
    /// Threads that have been joined may still be seen for a moment. Returns their number if that
    /// does not happen.
    pub(crate) fn prove(most: usize) -> io::Result<Result<Self, usize>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let began = Instant::now();
        loop {
            let others = other_threads()?;
            let quiet = others.iter().all(|state| *state == 'S');
            match others.len() + 1 {
                count if count <= most && quiet => return Ok(Ok(Self(()))),
                count if began.elapsed() > PATIENCE => return Ok(Err(count)),
                _ => thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// Forks this process. The child leads a process group of its own.
    #[expect(clippy::unused_self, reason = "a proof is what it asks for")]
    pub(crate) fn fork(&self) -> io::Result<Fork> {
        // SAFETY: a copy of a process with one thread may do whatever the original may. Other threads
        // there are only those that `prove` was told of, which are asleep outside of any lock.
        #[expect(unsafe_code, reason = "forks")]
        let pid = unsafe { libc::fork() };
        match pid {
            0 => {
                let _ = setpgid(None, None); // the parent sees to it as well
                Ok(Fork::Child)
            }
            pid => {
                let child = Pid::from_raw(pid).filter(|_| pid > 0);
                let child = child.ok_or_else(io::Error::last_os_error)?;
                // In both, as nobody knows which of the two runs first.
                let _ = setpgid(Some(child), Some(child));
                Ok(Fork::Parent { child })
            }
        }
    }
}

/// The states of the other threads of this process.
fn other_threads() -> io::Result<Vec<char>> {
    let this = rustix::thread::gettid();
    let mut states = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_str() == Some(&this.to_string()) {
            continue;
        }
        // One that has just ended counts as well: it is looked at again.
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        states.push(state.unwrap_or('X'));
    }
    Ok(states)
}

/// Whether this process has an epoll descriptor, by which a runtime waits for its events. Copies of
/// it in other processes would be one and the same.
pub(crate) fn has_event_poll() -> io::Result<bool> {
    for fd in fs::read_dir("/proc/self/fd")? {
        let target = fs::read_link(fd?.path()).unwrap_or_default();
        if target.to_string_lossy() == "anon_inode:[eventpoll]" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes what was printed and waits in buffers, so that no copy of this process writes it again.
pub(crate) fn flush_output() {
    let _ = io::stdout().flush();
    // SAFETY: without an argument it flushes all open streams, under their own locks.
    #[expect(unsafe_code, reason = "calls C")]
    let _ = unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Reaps a child that has exited, and returns how, in the form of `wait`.
pub(crate) fn reap_child(pid: u32) -> io::Result<i32> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|pid| *pid != getpid());
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.as_raw()),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_are_seen() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || receiver.recv());
        assert!(SingleThreaded::prove(1).unwrap().is_err());
        drop(sender);
        let _ = thread.join();
    }

    #[test]
    fn a_poll_descriptor_is_seen() {
        let poll =
            rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        assert!(has_event_poll().unwrap());
        drop(poll);
    }
}
