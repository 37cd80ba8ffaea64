//! What a process is to its system: its program, its parent, its group, and signals.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
pub(crate) use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group, kill_process};

use super::child::open_process;
use super::descriptor::{Descriptor, move_out_of_the_way};

/// This process's own program, as a child that has the same name.
pub(crate) fn own_command() -> io::Result<Command> {
    let mut command = Command::new(own_executable()?);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    Ok(command)
}

/// The child is to lead a group of its own, so that it does not get what a terminal sends to this
/// one: Ctrl-C belongs to the parent.
pub(crate) fn new_group(command: &mut Command) {
    command.process_group(0);
}

/// The running executable. On Linux it is named in a way that still finds the same build after the
/// file has been replaced or deleted.
fn own_executable() -> io::Result<PathBuf> {
    const OWN: &str = "/proc/self/exe";
    if !cfg!(target_os = "linux") {
        return std::env::current_exe();
    }
    if let Err(error) = std::fs::symlink_metadata(OWN) {
        let text = format!(
            "`{OWN}`, by which this program would be started again, is not there: {error}; mount \
             `/proc`, or name the program by `Builder::worker_command`"
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(OWN.into())
}

/// Without its IO driver tokio would panic only after the child was spawned.
///
/// # Panics
///
/// In a runtime without an IO driver; tokio has no other way to tell.
pub(crate) fn require_io_driver() -> io::Result<()> {
    tokio::net::unix::pipe::pipe().map(drop)
}

/// Ends this process at once, and all of its group if that is its own.
pub(crate) fn kill_own_group() -> ! {
    let _ = if getpgrp() == getpid() {
        kill_current_process_group(Signal::KILL)
    } else {
        kill_process(getpid(), Signal::KILL)
    };
    std::process::abort() // not reached: SIGKILL cannot be refused
}

/// The signals by which the system ends a process at a limit, and one by which that ends itself.
pub(crate) mod signal {
    pub(crate) const ABORT: i32 = libc::SIGABRT;
    pub(crate) const XCPU: i32 = libc::SIGXCPU;
    pub(crate) const XFSZ: i32 = libc::SIGXFSZ;
}

/// What `kill -l` calls a signal.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [(Signal, &str); 15] = [
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
        (Signal::XFSZ, "SIGXFSZ"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

/// As [`open_process`], of the process with that pid if it is the parent of this one: then that pid
/// cannot have become another's meanwhile.
pub(crate) fn open_parent(pid: u32) -> Option<Descriptor> {
    let process = open_process(pid)?;
    let process = move_out_of_the_way(process.as_fd()).ok()?;
    (parent_id() == pid).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9), Some("SIGKILL"));
        assert_eq!(signal_name(0), None);
    }
}
