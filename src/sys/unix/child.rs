//! Child processes: signals to their groups, how they have ended, and reaping.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};

use super::adopted::reap_group;
use super::descriptor::{Descriptor, wait_for_hangup};
use super::group::group_of;
use super::kernel::{
    OwnCgroup, is_unreaped, open_child, open_process, signal_group, signal_process,
    status_after_reaping,
};
use crate::sys::thread::start_thread;

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

impl From<WaitIdStatus> for Exit {
    fn from(status: WaitIdStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

/// A process that this one has started, from its start until it is reaped. Until then its pid,
/// which may also be the id of its process group, cannot be given to anybody else, so it is safe to
/// signal. Other code of this process may wait for any child and so reap this one, or the system
/// does, if SIGCHLD is ignored; what is said and sent then is by the pidfd.
///
/// Nobody of a group that it leads outlives it: when it is reaped the rest is killed.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: Pid,
    /// Readable once it has exited. Not on every system.
    pidfd: Option<Arc<Descriptor>>,
    leads_group: bool,
    /// How it has ended, once that was seen: it may be reaped by others a moment later.
    seen: OnceLock<Exit>,
    state: Mutex<ChildState>,
    /// What is left in it goes when this is reaped.
    cgroup: Mutex<Option<OwnCgroup>>,
    /// What that said of memory.
    was_oom: OnceLock<bool>,
}

#[derive(Clone, Copy, Debug)]
enum ChildState {
    /// A child of this process that was not reaped here.
    Own,
    /// To be reaped by somebody else: the process that has forked it.
    Forked,
    /// That one has died before. Its new parent reaps it, which may be this process.
    Orphaned,
    Reaped(Exit),
}

impl ChildProcess {
    /// Takes over a child that nobody has waited for. If that fails the child is ended.
    #[expect(clippy::needless_pass_by_value, reason = "nobody else is to wait for it")]
    pub(crate) fn new(child: Child, leads_group: bool) -> io::Result<Self> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        let pidfd = open_process(child.id()).ok().map(Arc::new);
        Ok(Self::in_state(ChildState::Own, pid, pidfd, leads_group))
    }

    /// A process that another one, which was not reaped yet, has forked for this one and will not
    /// reap before it is asked to. It leads its process group.
    pub(crate) fn forked(pid: u32, parent: u32) -> io::Result<Self> {
        let pidfd = Some(Arc::new(open_child(pid, parent)?));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self::in_state(ChildState::Forked, pid, pidfd, true))
    }

    fn in_state(
        state: ChildState,
        pid: Pid,
        pidfd: Option<Arc<Descriptor>>,
        leads_group: bool,
    ) -> Self {
        Self {
            pid,
            pidfd,
            leads_group,
            seen: OnceLock::new(),
            state: Mutex::new(state),
            cgroup: Mutex::new(None),
            was_oom: OnceLock::new(),
        }
    }

    /// It gets a control group of its own, which it [joins](Self::join_cgroup).
    pub(crate) fn within(self, cgroup: Option<OwnCgroup>) -> Self {
        Self { cgroup: Mutex::new(cgroup), ..self }
    }

    pub(crate) fn has_cgroup(&self) -> bool {
        self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Puts it there, as long as it lives; what it starts from now on is there, too. May block for
    /// some milliseconds.
    pub(crate) fn join_cgroup(&self) -> io::Result<()> {
        let state = *self.lock();
        match &*self.cgroup.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(cgroup) if self.has_its_pid(state) => cgroup.add(self.pid()),
            _ => Ok(()),
        }
    }

    /// Of one that is reaped: whether the kernel has killed somebody in its own control group for
    /// want of memory. `None` if it had none, or that does not tell.
    pub(crate) fn was_oom(&self) -> Option<bool> {
        self.was_oom.get().copied()
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

    /// Does nothing once it is reaped here. If somebody else has done so it reaches the rest of the
    /// group, where the system can tell that from a later one with the same number.
    fn signal(&self, signal: Signal) {
        let state = self.lock();
        if !matches!(*state, ChildState::Reaped(_)) {
            self.signal_unreaped(*state, signal);
        }
    }

    fn signal_unreaped(&self, state: ChildState, signal: Signal) {
        if self.leads_group {
            let sent = self.pidfd.as_ref().map(|leader| signal_group(leader, signal));
            if !matches!(sent, Some(Ok(()))) && self.has_its_pid(state) {
                let _ = kill_process_group(self.pid, signal);
            }
        }
        // It may have changed its group, and must not get the signal twice.
        if !self.leads_group || group_of(self.pid()) != Some(self.pid()) {
            let sent = self.pidfd.as_ref().map(|process| signal_process(process, signal));
            if !matches!(sent, Some(Ok(()))) && self.has_its_pid(state) {
                let _ = kill_process(self.pid, signal);
            }
        }
    }

    /// Whether its pid is still its own, be it as a zombie.
    fn has_its_pid(&self, state: ChildState) -> bool {
        match state {
            ChildState::Own => !matches!(self.look(), Err(Errno::CHILD)),
            // The one who has forked it may have died, and another one have reaped it.
            ChildState::Forked | ChildState::Orphaned => {
                self.pidfd.as_ref().is_some_and(|process| is_unreaped(process))
            }
            ChildState::Reaped(_) => false,
        }
    }

    /// Whether a child has exited, and how; leaves it to be reaped. An error says that it is no
    /// child any more.
    fn look(&self) -> rustix::io::Result<Option<WaitIdStatus>> {
        self.wait(WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG)
    }

    fn wait(&self, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
        let id = self.pidfd.as_ref().map_or(WaitId::Pid(self.pid), |fd| WaitId::PidFd(fd.as_fd()));
        waitid(id, WaitIdOptions::EXITED | options)
    }

    /// How a child has ended, if it has; [`Exit::default`] if nobody will ever know.
    fn own_exit(&self) -> Option<Exit> {
        if let Some(exit) = self.seen.get() {
            return Some(*exit);
        }
        let exit = match self.look() {
            Ok(status) => status.map(Exit::from),
            Err(Errno::INTR) => None,
            Err(_) => self.exit_after_reaping(),
        }?;
        Some(*self.seen.get_or_init(|| exit))
    }

    fn exit_after_reaping(&self) -> Option<Exit> {
        match self.pidfd.as_ref().map(|pidfd| status_after_reaping(pidfd)) {
            Some(Ok(status)) => status.map(Exit::from_wait),
            Some(Err(_)) | None => Some(Exit::default()),
        }
    }

    /// Whether it is this process that reaps it.
    pub(super) fn is_own(&self) -> bool {
        matches!(*self.lock(), ChildState::Own)
    }

    /// Whether a process whose pidfd is readable has ended for all who look at it here.
    pub(super) fn is_over(&self) -> bool {
        match *self.lock() {
            ChildState::Own | ChildState::Orphaned => self.own_exit().is_some(),
            ChildState::Forked | ChildState::Reaped(_) => true,
        }
    }

    /// How the process ended, if it has; it is not reaped by that.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match *self.lock() {
            ChildState::Own | ChildState::Orphaned => self.own_exit(),
            ChildState::Forked => None,
            ChildState::Reaped(exit) => Some(exit),
        }
    }

    /// How the process ended, if it has, as Python's `exitcode` tells it: `-N` for signal N, and
    /// 255 if that is not known.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.exit().map(Exit::python_code)
    }

    /// Kills what is left of the group and reaps the process, which must have exited. An error of
    /// another kind than `WouldBlock` says that nobody knows how.
    pub(crate) fn reap(&self) -> io::Result<Exit> {
        let exit = self.reap_leader()?;
        if exit == Exit::default() { Err(Errno::CHILD.into()) } else { Ok(exit) }
    }

    fn reap_leader(&self) -> io::Result<Exit> {
        let mut state = self.lock();
        let exit = match *state {
            // Without an exit a watch has ended with its runtime.
            ChildState::Own | ChildState::Orphaned => {
                self.own_exit().ok_or(io::ErrorKind::WouldBlock)?
            }
            ChildState::Forked => return Err(io::ErrorKind::Unsupported.into()),
            ChildState::Reaped(exit) => return Ok(exit),
        };
        self.signal_unreaped(*state, Signal::KILL);
        let _ = self.wait(WaitIdOptions::NOHANG); // or somebody else has done so
        *state = ChildState::Reaped(exit);
        drop(state);
        self.reap_rest();
        Ok(exit)
    }

    fn reap_rest(&self) {
        let cgroup = self.cgroup.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(was_oom) = cgroup.and_then(|cgroup| cgroup.was_oom()) {
            let _ = self.was_oom.set(was_oom);
        }
        if self.leads_group {
            reap_group(self.pid, self.pidfd.as_ref());
        }
    }

    /// The one who has forked it has reaped it.
    pub(crate) fn was_reaped(&self, exit: Exit) {
        *self.lock() = ChildState::Reaped(exit);
        self.reap_rest();
    }

    /// The one who has forked it is gone, and will not reap it any more. It has exited, or was
    /// killed.
    pub(crate) fn was_orphaned(&self) {
        let mut state = self.lock();
        if matches!(*state, ChildState::Forked) {
            *state = ChildState::Orphaned;
        }
        drop(state);
        if self.reap_leader().is_err() {
            self.reap_rest(); // it goes with its group, once it comes to this process
        }
    }

    /// Waits for the end in a thread of its own, and reaps; for when there is no runtime to wait
    /// on.
    pub(crate) fn reap_in_background(self: Arc<Self>, reaped: impl FnOnce() + Send + 'static) {
        let end = EndOfChild { child: self, reaped: Some(reaped) };
        let _ = start_thread("procpool-reaper", None, move || {
            end.child.wait_for_exit();
            drop(end);
        });
    }

    /// Blocks until a child has exited, and it is known how; leaves it to be reaped.
    pub(super) fn wait_for_exit(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        // By its pid, as by a pidfd that is not to block this would not, either.
        while let Err(Errno::INTR) = waitid(WaitId::Pid(self.pid), options) {}
        while let (None, Some(pidfd)) = (self.own_exit(), &self.pidfd) {
            wait_for_hangup(pidfd, None); // somebody else is reaping it
        }
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
        self.child.wait_for_exit();
        let _ = self.child.reap(); // or somebody else has
        if let Some(reaped) = self.reaped.take() {
            reaped();
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::super::kernel::is_group_left;
    #[cfg(target_os = "linux")]
    use super::super::kernel::pidfd::{is_linux_since, refusal};
    use super::super::process::new_group;
    use super::*;

    fn sleeper() -> ChildProcess {
        let mut command = std::process::Command::new("sleep");
        new_group(command.arg("1000"));
        ChildProcess::new(command.spawn().unwrap(), true).unwrap()
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
        *child.lock() = ChildState::Forked; // but it can be asked by its pidfd
        child.terminate();
        let status = waitid(WaitId::Pid(child.pid), WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(15), "the first signal was not sent");
        child.kill(); // reaches nobody
    }

    /// As a loop over `waitpid(-1)` does it.
    fn steal(child: &ChildProcess) {
        waitid(WaitId::Pid(child.pid), WaitIdOptions::EXITED).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_somebody_else_has_reaped_says_how_it_ended_and_the_rest_of_its_group_goes() {
        if !is_linux_since(6, 15) {
            return;
        }
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 1000 >&- & read line; exit 8"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        new_group(&mut command);
        let mut shell = command.spawn().unwrap();
        let stdin = shell.stdin.take();
        let child = ChildProcess::new(shell, true).unwrap();
        let leader = Arc::clone(child.end().unwrap());
        drop(stdin);
        steal(&child);
        assert_eq!((child.exit().unwrap().code, child.exit_code()), (Some(8), Some(8)));
        assert!(is_group_left(&leader).unwrap());
        assert_eq!(child.reap().unwrap().code, Some(8));
        while is_group_left(&leader).unwrap() {
            std::thread::yield_now();
        }
        child.kill(); // reaches nobody
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_somebody_else_has_reaped_is_not_signalled_where_the_system_cannot_tell_it() {
        refusal::during(|| {
            let child = sleeper();
            child.kill();
            steal(&child);
            assert!(!child.has_its_pid(ChildState::Own));
            assert_eq!((child.exit(), child.exit_code()), (Some(Exit::default()), Some(255)));
            child.kill(); // reaches nobody
            assert_eq!(child.reap().unwrap_err().raw_os_error(), Some(10)); // ECHILD
            assert_eq!(child.exit_code(), Some(255));
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_group_is_signalled_where_the_system_knows_it_only_by_its_id() {
        refusal::during(|| {
            let child = sleeper();
            child.terminate();
            child.wait_for_exit();
            assert_eq!(child.reap().unwrap().signal, Some(15));
        });
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
