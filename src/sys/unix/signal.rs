//! Signals: their names, and the last one to this process and its group.

/// The signals by which the system ends a process at a limit, and one by which that ends itself.
pub(crate) use libc::{SIGABRT, SIGXCPU, SIGXFSZ};
use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::group::{group_of, own_pid};

/// Ends this process at once, and all of its group if that is its own.
pub(crate) fn kill_own_group() -> ! {
    let _ = if group_of(own_pid()) == Some(own_pid()) {
        kill_current_process_group(Signal::KILL)
    } else {
        kill_process(getpid(), Signal::KILL)
    };
    std::process::abort() // not reached: SIGKILL cannot be refused
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9), Some("SIGKILL"));
        assert_eq!(signal_name(0), None);
    }
}
