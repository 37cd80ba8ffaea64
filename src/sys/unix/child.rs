//! Child processes: signals to their groups, their exits, and reaping.

use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};

use super::descriptor::{Descriptor, is_readable, watch_readable};
use super::group::group_of;
use super::kernel::{open_child, open_process, signal_process};

/// How a process has ended; neither, if that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Exit {
    /// In the form of `wait`.
    pub(crate) fn from_wait(status: i32) -> Self {
        ExitStatus::from_raw(status).into()
    }

    fn python_code(self) -> i32 {
        const UNKNOWN: i32 = 255;
        self.signal.map_or_else(|| self.code.unwrap_or(UNKNOWN), |signal| -signal)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

/// A process that this one has started, from its start until it is reaped. Until then its pid,
/// which may also be the id of its process group, cannot be given to anybody else, so it is safe to
/// signal.
///
/// Nobody of a group that it leads outlives it: when it is reaped the rest is killed.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: Pid,
    /// Readable once it has exited. Not on every system.
    pidfd: Option<Arc<Descriptor>>,
    leads_group: bool,
    state: Mutex<ChildState>,
}

#[derive(Debug)]
enum ChildState {
    /// Not reaped. `None` if that is for somebody else to do: the process that has forked it.
    Running(Option<Child>),
    Reaped(Exit),
}

impl ChildProcess {
    /// Takes over a child that nobody has waited for. If that fails the child is ended.
    pub(crate) fn new(child: Child, leads_group: bool) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        let pidfd = open_process(child.id()).ok().map(Arc::new);
        Ok(Self { pid, pidfd, leads_group, state: Mutex::new(ChildState::Running(Some(child))) })
    }

    /// A process that another one, which was not reaped yet, has forked for this one and will not
    /// reap before it is asked to. It leads its process group.
    pub(crate) fn forked(pid: u32, parent: u32) -> io::Result<Self> {
        let pidfd = Some(Arc::new(open_child(pid, parent)?));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { pid, pidfd, leads_group: true, state: Mutex::new(ChildState::Running(None)) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Readable once the process has exited; `None` where the system has no such thing.
    pub(crate) fn end(&self) -> Option<&Arc<Descriptor>> {
        self.pidfd.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, ChildState> {
        // Nothing can panic while it is held, so it is never really poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the process, with its group, to end.
    pub(crate) fn terminate(&self) {
        self.ask(Signal::TERM);
    }

    /// What Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.ask(Signal::INT);
    }

    /// Who is stopped would hear of it only once it goes on.
    fn ask(&self, signal: Signal) {
        self.signal(signal);
        self.signal(Signal::CONT);
    }

    /// Ends the process, with its group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Does nothing once it is reaped, be it by somebody else who waits for any child of this
    /// process.
    fn signal(&self, signal: Signal) {
        match &*self.lock() {
            ChildState::Running(Some(_)) if was_stolen(self.pid) => {}
            ChildState::Running(Some(_)) => self.signal_own(signal),
            ChildState::Running(None) => self.signal_forked(signal),
            ChildState::Reaped(_) => {}
        }
    }

    fn signal_own(&self, signal: Signal) {
        if self.leads_group {
            let _ = kill_process_group(self.pid, signal);
        }
        // It may have changed its group, and must not get the signal twice.
        if !self.leads_group || group_of(self.pid()) != Some(self.pid()) {
            let _ = match &self.pidfd {
                Some(pidfd) => signal_process(pidfd, signal).is_ok(),
                None => kill_process(self.pid, signal).is_ok(),
            };
        }
    }

    /// If the one who has forked it has died it may have been reaped by now, and its pid be that of
    /// another process. The pidfd tells.
    fn signal_forked(&self, signal: Signal) {
        let Some(pidfd) = &self.pidfd else { return };
        if !is_readable(pidfd) {
            self.signal_own(signal);
        } else if signal_process(pidfd, signal).is_ok() {
            let _ = kill_process_group(self.pid, signal); // it is a zombie, but its group may live
        }
    }

    /// How the process ended, if it has; it is not reaped by that.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match &*self.lock() {
            ChildState::Running(Some(_)) => exit_of(self.pid).ok().flatten(),
            ChildState::Running(None) => None,
            ChildState::Reaped(exit) => Some(*exit),
        }
    }

    /// How the process ended, if it has, as Python's `exitcode` tells it: `-N` for signal N, and
    /// 255 if somebody else has reaped it.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match &*self.lock() {
            ChildState::Running(Some(_)) => {
                let exit = exit_of(self.pid).unwrap_or(Some(Exit::default()));
                exit.map(Exit::python_code)
            }
            ChildState::Running(None) => None,
            ChildState::Reaped(exit) => Some(exit.python_code()),
        }
    }

    /// Kills what is left of the group and reaps the process, which must have exited.
    pub(crate) fn reap(&self) -> io::Result<Exit> {
        let mut state = self.lock();
        match &mut *state {
            ChildState::Running(Some(child)) => {
                if was_stolen(self.pid) {
                    *state = ChildState::Reaped(Exit::default());
                    return Err(rustix::io::Errno::CHILD.into());
                }
                if !has_exited(self.pid) {
                    // A watch has ended with its runtime.
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.signal_own(Signal::KILL);
                let exit = Exit::from(child.wait()?);
                *state = ChildState::Reaped(exit);
                Ok(exit)
            }
            ChildState::Running(None) => Err(io::ErrorKind::Unsupported.into()),
            ChildState::Reaped(exit) => Ok(*exit),
        }
    }

    /// Somebody else has reaped it.
    pub(crate) fn was_reaped(&self, exit: Exit) {
        *self.lock() = ChildState::Reaped(exit);
    }

    /// Waits for the end in a thread of its own, and reaps; for when there is no runtime to wait
    /// on.
    pub(crate) fn reap_in_background(self: Arc<Self>, reaped: impl FnOnce() + Send + 'static) {
        let end = EndOfChild { child: self, reaped: Some(reaped) };
        let thread = std::thread::Builder::new().name("procpool-reaper".to_owned());
        let _ = thread.spawn(move || {
            wait_for_exit(end.child.pid);
            drop(end);
        });
    }
}

/// Reaps a child when it is dropped, and then says so. It is killed before that if it lives: then
/// there is no thread left in which it could be waited for any longer, and who waits must not do so
/// for ever.
struct EndOfChild<F: FnOnce()> {
    child: Arc<ChildProcess>,
    reaped: Option<F>,
}

impl<F: FnOnce()> Drop for EndOfChild<F> {
    fn drop(&mut self) {
        self.child.kill();
        wait_for_exit(self.child.pid);
        let _ = self.child.reap(); // or somebody else has
        if let Some(reaped) = self.reaped.take() {
            reaped();
        }
    }
}

/// Blocks until a child has exited; leaves it to be reaped.
fn wait_for_exit(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
}

/// How a child ended, if it has; leaves it to be reaped. An error says that it is no child any
/// more.
fn exit_of(pid: Pid) -> rustix::io::Result<Option<Exit>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::Pid(pid), options)?;
    Ok(status
        .map(|status| Exit { code: status.exit_status(), signal: status.terminating_signal() }))
}

/// Whether a child that was not reaped here is none any more.
fn was_stolen(pid: Pid) -> bool {
    matches!(exit_of(pid), Err(rustix::io::Errno::CHILD))
}

/// Whether a child has exited; leaves it to be reaped.
fn has_exited(pid: Pid) -> bool {
    !matches!(exit_of(pid), Ok(None) | Err(rustix::io::Errno::INTR))
}

/// Sees a process exit without reaping it.
#[derive(Debug)]
pub(crate) enum ExitWatch {
    /// Readable once the process has exited.
    Pidfd(AsyncFd<Arc<Descriptor>>),
    /// Where there is no pidfd: looks again at each SIGCHLD.
    Signal(Pid, tokio::signal::unix::Signal),
}

impl ExitWatch {
    pub(crate) fn new(child: &ChildProcess) -> io::Result<Self> {
        let Some(pidfd) = child.end() else {
            return Ok(Self::Signal(child.pid, signal(SignalKind::child())?));
        };
        Ok(Self::Pidfd(watch_readable(Arc::clone(pidfd))?))
    }

    /// Waits until the process has exited; it is not reaped yet.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn exited(&mut self) {
        poll_fn(|cx| self.poll_exited(cx)).await;
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // An error says that the runtime has gone, and nobody can watch any more.
            Self::Pidfd(fd) => fd.poll_read_ready(cx).map(drop),
            Self::Signal(pid, child_signals) => {
                while !has_exited(*pid) {
                    ready!(child_signals.poll_recv(cx));
                }
                Poll::Ready(())
            }
        }
    }
}

/// Owns a child that leads its own process group. Nobody of the group outlives it: when the child
/// has exited, or when the `Reaper` is dropped, the rest is killed and the child is reaped.
#[derive(Debug)]
pub(crate) struct Reaper {
    watch: ExitWatch,
    child: KilledOnDrop,
}

/// What a [`Reaper`] owns even if there is no runtime to watch the child with.
#[derive(Debug)]
struct KilledOnDrop(Arc<ChildProcess>);

impl Reaper {
    /// If that fails the child is ended.
    pub(crate) fn new(child: ChildProcess) -> io::Result<Self> {
        let child = KilledOnDrop(Arc::new(child));
        Ok(Self { watch: ExitWatch::new(&child.0)?, child })
    }

    pub(crate) fn child(&self) -> &ChildProcess {
        &self.child.0
    }

    /// Waits until the child has exited; it is not reaped yet.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn exited(&mut self) {
        self.watch.exited().await;
    }

    pub(crate) fn poll_exited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_exited(cx)
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let state = self.0.lock();
        let is_own = matches!(*state, ChildState::Running(Some(_)));
        drop(state);
        self.0.kill();
        if is_own {
            // The runtime may be gone, so a short-lived thread waits for the killed child.
            Arc::clone(&self.0).reap_in_background(|| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::new_group;
    use super::*;

    fn sleeper() -> ChildProcess {
        let mut command = std::process::Command::new("sleep");
        new_group(command.arg("1000"));
        ChildProcess::new(command.spawn().unwrap(), true).unwrap()
    }

    #[tokio::test]
    async fn an_exit_is_seen_before_the_child_is_reaped() {
        let mut reaper = Reaper::new(sleeper()).unwrap();
        assert_eq!(reaper.child().exit(), None);
        reaper.child().kill();
        reaper.exited().await;
        assert!(has_exited(reaper.child().pid));
        assert_eq!(reaper.child().exit().unwrap().signal, Some(9));
        assert_eq!(reaper.child().reap().unwrap().signal, Some(9));
        assert_eq!(reaper.child().exit().unwrap().signal, Some(9));
    }

    #[tokio::test]
    async fn an_exit_is_seen_without_a_pidfd() {
        let child = sleeper();
        let mut watch = ExitWatch::Signal(child.pid, signal(SignalKind::child()).unwrap());
        child.terminate();
        watch.exited().await;
        child.reap().unwrap();
    }

    #[test]
    fn a_code_is_told_from_a_signal_before_the_child_is_reaped() {
        for (script, code, signal) in [("exit 8", Some(8), None), ("kill -TERM $$", None, Some(15))]
        {
            let shell = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let child = ChildProcess::new(shell, false).unwrap();
            while child.exit().is_none() {
                std::thread::yield_now();
            }
            let seen = child.exit().unwrap();
            assert_eq!((seen.code, seen.signal), (code, signal));
            assert_eq!(child.reap().unwrap(), seen);
        }
    }

    #[test]
    fn what_is_reaped_is_not_signalled() {
        let child = sleeper();
        child.was_reaped(Exit::from_wait(0));
        child.kill();
        *child.lock() = ChildState::Running(None); // but it can be asked by its pidfd
        child.terminate();
        let status = waitid(WaitId::Pid(child.pid), WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(15), "the first signal was not sent");
        child.kill(); // reaches nobody
    }

    #[test]
    fn what_somebody_else_has_reaped_is_not_signalled() {
        let child = sleeper();
        child.kill();
        waitid(WaitId::Pid(child.pid), WaitIdOptions::EXITED).unwrap();
        assert!(was_stolen(child.pid));
        assert_eq!((child.exit(), child.exit_code()), (None, Some(255)));
        child.kill(); // reaches nobody
        assert_eq!(child.reap().unwrap_err().raw_os_error(), Some(10)); // ECHILD
        assert_eq!(child.exit_code(), Some(255));
    }

    #[test]
    fn what_has_not_exited_is_neither_reaped_nor_killed() {
        let child = sleeper();
        assert_eq!(child.reap().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!((child.exit(), child.exit_code()), (None, None));
        child.terminate();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(child.pid), options).unwrap();
        assert_eq!(child.exit_code(), Some(-15));
        child.reap().unwrap();
    }

    #[test]
    fn a_dropped_child_is_killed_and_reaped_even_after_its_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reaper = runtime.block_on(async { Reaper::new(sleeper()).unwrap() });
        let pid = reaper.child().pid;
        drop(runtime);
        drop(reaper);
        // An error says that there is no such child any more.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_ok() {
            std::thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_but_a_child_of_the_one_that_forks_is_taken_over() {
        let (child, this) = (sleeper(), std::process::id());
        assert!(ChildProcess::forked(child.pid(), this).is_ok());
        assert!(ChildProcess::forked(child.pid(), child.pid()).is_err());
        assert!(ChildProcess::forked(this, this).is_err());
        child.kill();
        Arc::new(child).reap_in_background(|| {});
    }
}
