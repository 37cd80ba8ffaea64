//! The end of this process, by itself.

use rustix::process::{Pid, Signal, kill_current_process_group, kill_process};

use super::group::{group_of, own_pid};

/// What a process ends with that may not send itself a signal.
const REFUSED: i32 = 1;

/// Ends this process at once, and all of its group if that is its own.
pub(crate) fn kill_own_group() -> ! {
    let own = own_pid();
    let _ = if group_of(own) == Some(own) {
        kill_current_process_group(Signal::KILL)
    } else {
        // Where a filter refuses to tell it, this is no number of a process.
        let own = i32::try_from(own).ok().and_then(Pid::from_raw);
        own.map_or(Ok(()), |own| kill_process(own, Signal::KILL))
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
