//! The end of this process, by itself.

use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};

use super::group::{group_of, own_pid};

/// What a process ends with that may not send itself a signal.
const REFUSED: i32 = 1;

/// Ends this process at once, and all of its group if that is its own.
pub(crate) fn kill_own_group() -> ! {
    let _ = if group_of(own_pid()) == Some(own_pid()) {
        kill_current_process_group(Signal::KILL)
    } else {
        kill_process(getpid(), Signal::KILL)
    };
    // Reached if a filter of system calls refuses the signal. Not `abort`: that sends one, too, and
    // where it may not, nor change what a signal does, it is in the handler of SIGSEGV for ever.
    end_copy(REFUSED)
}

/// Ends this process, which was forked, at once: nothing is dropped or written any more, which is
/// for the one that has forked it to do.
pub(crate) fn end_copy(code: i32) -> ! {
    // SAFETY: it does not return, and runs nothing of this process's.
    #[expect(unsafe_code, reason = "calls C")]
    unsafe {
        libc::_exit(code)
    }
}
