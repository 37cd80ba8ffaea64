//! Forking a process that has one thread.

use std::io::{self, Write};
use std::sync::atomic::AtomicU8;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, setpgid, waitpid,
};

use super::descriptor::Descriptor;
use super::ending::end_copy;
use super::inherited::{SIGCHLD, set_default};
use super::kernel::{WipedPage, other_threads};
use super::pipe::pipe;
use super::survey::OtherThread;

/// A process that was forked, as seen from the two sides.
#[derive(Debug)]
pub(crate) enum Fork {
    /// With the child's pid.
    Parent {
        child: u32,
    },
    Child,
}

/// Proof that no other thread of this process is in the middle of anything: a fork copies only the
/// thread that calls it, and a lock that another one holds would stay locked in the copy for ever.
#[derive(Debug)]
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Waits until there are no more than `most` threads, all of which are asleep but for this one.
    /// Threads that have been joined may still be seen for a moment. Returns the others if that
    /// does not happen.
    pub(crate) fn prove(most: usize) -> io::Result<Result<Self, Vec<OtherThread>>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let began = Instant::now();
        loop {
            let others = other_threads()?;
            let quiet = others.iter().all(|thread| thread.is_asleep);
            match others.len() + 1 {
                count if count <= most && quiet => return Ok(Ok(Self(()))),
                _ if began.elapsed() > PATIENCE => return Ok(Err(others)),
                _ => thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// Forks this process. The child leads a process group of its own.
    #[expect(clippy::unused_self, reason = "a proof is what it asks for")]
    pub(crate) fn fork(&self) -> io::Result<Fork> {
        // SAFETY: a copy of a process with one thread may do whatever the original may. Other
        // threads there are only those that `prove` was told of, which are asleep outside of any
        // lock.
        #[expect(unsafe_code, reason = "forks")]
        let pid = unsafe { libc::fork() };
        match pid {
            0 => {
                let _ = setpgid(None, None); // the parent sees to it as well
                Ok(Fork::Child)
            }
            ..0 => Err(io::Error::last_os_error()),
            pid => {
                let child = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?; // never 0 here
                // In both, as nobody knows which of the two runs first.
                let _ = setpgid(Some(child), Some(child));
                Ok(Fork::Parent { child: child.as_raw_pid().unsigned_abs() })
            }
        }
    }
}

/// Has children of this process wait to be reaped, also if who has started it does not care for its
/// own.
pub(crate) fn keep_exits() {
    set_default(SIGCHLD);
}

/// Writes what was printed and waits in buffers, so that no copy of this process writes it again.
pub(crate) fn flush_output() {
    let _ = io::stdout().flush();
    // SAFETY: without an argument it flushes all open streams, under their own locks.
    #[expect(unsafe_code, reason = "calls C")]
    let _ = unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Tells a process from those that are forked from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    /// Without it each look is a system call.
    page: Option<WipedPage>,
    pid: Pid,
}

impl Original {
    /// This process.
    pub(crate) fn new() -> Self {
        Self { page: WipedPage::create().ok(), pid: getpid() }
    }

    /// What is zero in a copy, and not here, if the system can do that.
    pub(crate) fn mark(&self) -> Option<&'static AtomicU8> {
        self.page.map(WipedPage::mark)
    }

    /// Whether this process is that, and no copy of it.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.page.map_or_else(|| getpid() == self.pid, |page| !page.is_wiped())
    }
}

/// Ends this process, which was forked, without what the one that has forked it has registered to
/// be done at its exit.
pub(crate) fn exit_forked() -> ! {
    flush_output();
    end_copy(0)
}

/// Ends a child that was forked and not reaped, and its group, even if the two have parted.
pub(crate) fn kill_group(child: u32) {
    if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = kill_process(pid, Signal::KILL);
    }
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

/// A pipe into which nothing is ever written. All copies of its writing end are closed when the
/// process that holds them ends, however it does.
pub(crate) fn lifeline() -> io::Result<(Descriptor, Descriptor)> {
    let (reader, writer) = pipe()?;
    Ok((writer, reader))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_knows_that_it_is_none_with_and_without_a_page() {
        let original = Original::new();
        assert!(original.page.is_some() && original.is_here());
        let by_pid = Original { page: None, ..original };
        assert!(by_pid.is_here());
        // SAFETY: the copy only looks at memory of its own, and ends.
        #[expect(unsafe_code, reason = "forks")]
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            end_copy(i32::from(original.is_here()) + 2 * i32::from(by_pid.is_here()));
        }
        let status = reap_child(u32::try_from(copy).unwrap()).unwrap();
        assert_eq!(status, 0);
        assert!(original.is_here() && by_pid.is_here());
    }

    #[test]
    fn threads_are_seen() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || receiver.recv());
        assert!(SingleThreaded::prove(1).unwrap().is_err());
        drop(sender);
        let _ = thread.join();
    }
}
