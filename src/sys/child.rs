//! Child processes: signals to their groups, their exits, and reaping.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_current_process_group, kill_process,
    kill_process_group, pidfd_open, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

/// The running executable. On Linux it is named in a way that still finds the same build after the
/// file has been replaced or deleted.
pub(crate) fn own_executable() -> io::Result<PathBuf> {
    const OWN: &str = "/proc/self/exe";
    if cfg!(target_os = "linux") && std::fs::metadata(OWN).is_ok() {
        return Ok(OWN.into());
    }
    std::env::current_exe()
}

/// Without its IO driver tokio would panic only after the child was spawned.
///
/// # Panics
///
/// In a runtime without an IO driver; tokio has no other way to tell.
pub(crate) fn require_io_driver() -> io::Result<()> {
    tokio::net::unix::pipe::pipe().map(drop)
}

/// Ends this process and all of its group, at once.
pub(crate) fn kill_own_group() -> ! {
    let _ = kill_current_process_group(Signal::KILL);
    std::process::abort() // not reached: SIGKILL cannot be refused
}

/// What `kill -l` calls a signal.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [(Signal, &str); 14] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

/// Sees a child exit without reaping it. Until it is reaped its pid, which is also the id of its
/// process group, cannot be given to anybody else, so it is safe to signal.
#[derive(Debug)]
enum ExitWatch {
    /// Readable once the process has exited.
    Pidfd(AsyncFd<OwnedFd>),
    /// Where there is no pidfd: looks again at each SIGCHLD.
    Signal(tokio::signal::unix::Signal),
}

impl ExitWatch {
    fn new(pid: Pid) -> io::Result<Self> {
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::NONBLOCK) else {
            return Ok(Self::Signal(signal(SignalKind::child())?));
        };
        // SAFETY: the `AsyncFd` owns the descriptor; nobody else closes or replaces it, and an
        // `OwnedFd` is always the same one.
        #[expect(unsafe_code, reason = "registers a descriptor with the reactor")]
        let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Self::Pidfd(watched?))
    }

    async fn exited(&mut self, pid: Pid) {
        match self {
            Self::Pidfd(fd) => {
                let _ = fd.readable().await;
            }
            Self::Signal(child_signals) => {
                while !has_exited(pid, WaitIdOptions::NOHANG) {
                    child_signals.recv().await;
                }
            }
        }
    }
}

/// Whether a child has exited; leaves it to be reaped.
fn has_exited(pid: Pid, options: WaitIdOptions) -> bool {
    let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None) | Err(rustix::io::Errno::INTR))
}

/// Owns a child that leads its own process group. Nobody of the group outlives it: when the child
/// has exited, or when the `Reaper` is dropped, the rest is killed and the child is reaped.
#[derive(Debug)]
pub(crate) struct Reaper {
    watch: ExitWatch,
    group: Group,
}

/// What a [`Reaper`] owns even if there is no runtime to watch the child with.
#[derive(Debug)]
struct Group {
    pid: Pid,
    /// `None` once it is reaped.
    child: Option<Child>,
}

impl Reaper {
    /// Takes over a child that was spawned with `process_group(0)` and that nobody has waited for.
    /// If that fails the child is ended.
    pub(crate) fn new(child: Child) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        let group = Group { pid, child: Some(child) };
        Ok(Self { watch: ExitWatch::new(pid)?, group })
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&self) {
        self.group.signal(Signal::TERM);
    }

    /// Ends the whole group.
    pub(crate) fn kill(&self) {
        self.group.signal(Signal::KILL);
    }

    /// Waits until the child has exited; it is not reaped yet.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn exited(&mut self) {
        self.watch.exited(self.group.pid).await;
    }

    /// Kills what is left of the group and reaps the child, which must have exited.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        self.kill();
        if !has_exited(self.group.pid, WaitIdOptions::NOHANG) {
            return Err(io::ErrorKind::WouldBlock.into()); // the watch has ended with its runtime
        }
        self.group.child.take().ok_or(io::ErrorKind::NotFound)?.wait()
    }
}

impl Group {
    fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            let _ = kill_process_group(self.pid, signal);
            let _ = kill_process(self.pid, signal); // in case it has changed its group
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let Some(mut child) = self.child.take() else { return };
        // The runtime may be gone, so a short-lived thread waits for the killed child.
        let _ = std::thread::Builder::new()
            .name("procpool-reaper".to_owned())
            .spawn(move || child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Reaper {
        use std::os::unix::process::CommandExt;

        let mut command = std::process::Command::new("sleep");
        Reaper::new(command.arg("1000").process_group(0).spawn().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_exit_is_seen_before_the_child_is_reaped() {
        use std::os::unix::process::ExitStatusExt;

        let mut reaper = sleeper();
        reaper.kill();
        reaper.exited().await;
        assert!(has_exited(reaper.group.pid, WaitIdOptions::NOHANG));
        assert_eq!(reaper.reap().unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn an_exit_is_seen_without_a_pidfd() {
        let mut reaper = sleeper();
        reaper.watch = ExitWatch::Signal(signal(SignalKind::child()).unwrap());
        reaper.terminate();
        reaper.exited().await;
        reaper.reap().unwrap();
    }

    #[test]
    fn a_dropped_child_is_killed_and_reaped_even_after_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reaper = runtime.block_on(async { sleeper() });
        let pid = reaper.group.pid;
        drop(runtime);
        drop(reaper);
        // An error says that there is no such child any more.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_ok() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9), Some("SIGKILL"));
        assert_eq!(signal_name(0), None);
    }
}
