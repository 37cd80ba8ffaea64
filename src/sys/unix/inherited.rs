//! What a process has from the one that has started it, and is not to have: signals that are
//! blocked or ignored, and a terminal in whose background it is.

use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

use libc::{SIG_DFL, SIG_IGN, SIGHUP, SIGPIPE, SIGQUIT};
/// Those that somebody above asks about.
pub(crate) use libc::{SIGCHLD, SIGINT, SIGTERM};

use super::group::{group_of, own_pid, own_session};
use super::kernel::give_up_terminal;

/// There are no others anywhere.
const ALL: std::ops::RangeInclusive<i32> = 1..=64;

/// Lets signals through to this process as if nobody had blocked or ignored them.
///
/// It leaves SIGPIPE, which Rust's runtime ignores; SIGHUP, which `nohup` has ignored for
/// everything that its program starts; and what Ctrl-C sends, which a shell has ignored for what
/// runs in the background of a terminal. The last is for [`leave_terminal`] to do.
pub(crate) fn let_signals_through() {
    const LEFT: [i32; 4] = [SIGPIPE, SIGHUP, SIGINT, SIGQUIT];
    ALL.filter(|signal| !LEFT.contains(signal)).for_each(ignore_no_longer);
    // Only now, as some may have come already, and are to do what they do by default.
    unblock_all();
}

/// Lets go of the terminal that this process has from its parent. It is in the background of it for
/// as long as it lives, where a read would stop it for ever; without one it fails.
pub(crate) fn leave_terminal() {
    [SIGINT, SIGQUIT].into_iter().for_each(ignore_no_longer);
    // The leader of a session would take the terminal away from all of it.
    if own_session() != Some(own_pid()) {
        give_up_terminal();
    }
}

/// Whether what a terminal sends to a process gets here, too.
pub(crate) fn shares_group_with(pid: u32) -> bool {
    let group = group_of(pid);
    group.is_some() && group == group_of(own_pid())
}

/// Whether this process ignores a signal; what it starts does so, too, until it says otherwise.
pub(crate) fn is_ignored(signal: i32) -> bool {
    action_on(signal) == SIG_IGN
}

/// The default if there is no such signal.
pub(super) fn action_on(signal: i32) -> libc::sighandler_t {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action this only fills in the present one, into a place of our own. It
    // is numbers and pointers only, for all of which zero is a value, should the call fail.
    #[expect(unsafe_code, reason = "rustix has nothing for handlers of signals")]
    let action = unsafe {
        libc::sigaction(signal, null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction
}

fn ignore_no_longer(signal: i32) {
    if is_ignored(signal) {
        set_default(signal);
    }
}

pub(super) fn set_default(signal: i32) {
    // SAFETY: this sets the default, so no code of this process is called on the signal.
    #[expect(unsafe_code, reason = "rustix has nothing for handlers of signals")]
    let _ = unsafe { libc::signal(signal, SIG_DFL) };
}

/// In this thread, and those that it will start.
fn unblock_all() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call makes a set of what is a place of our own, the second only reads it.
    #[expect(unsafe_code, reason = "rustix has nothing for masks of signals")]
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_ignores_one_signal_and_no_other() {
        assert!(is_ignored(SIGPIPE));
        assert!(!is_ignored(SIGTERM) && !is_ignored(0) && !is_ignored(1000));
    }

    #[test]
    fn a_group_is_shared_by_who_is_in_it() {
        assert!(shares_group_with(std::process::id()));
        assert!(!shares_group_with(0) && !shares_group_with(u32::MAX));
    }
}
