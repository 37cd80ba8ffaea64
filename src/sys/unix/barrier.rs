//! Memory barriers in other processes: they cost who asks for one some microseconds, and the others
//! nothing.

use std::sync::atomic::{AtomicBool, Ordering};

/// From `linux/membarrier.h`.
#[cfg(target_os = "linux")]
const GLOBAL_EXPEDITED: i32 = 1 << 1;
#[cfg(target_os = "linux")]
const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;

static TAKES_PART: AtomicBool = AtomicBool::new(false);

/// Whether [`take_part_in_barriers`] was called in this process, or the one that it was forked
/// from, and works here.
pub(crate) fn takes_part_in_barriers() -> bool {
    TAKES_PART.load(Ordering::Relaxed)
}

/// From now on this process takes part in the [`barrier`]s of others, if there are any here. It is
/// quick only while there is one thread.
#[cfg(target_os = "linux")]
pub(crate) fn take_part_in_barriers() {
    TAKES_PART.store(membarrier(REGISTER_GLOBAL_EXPEDITED), Ordering::Relaxed);
}

/// Each running thread of the processes that take part goes through a full memory barrier. False if
/// that cannot be had.
#[cfg(target_os = "linux")]
pub(crate) fn barrier() -> bool {
    membarrier(GLOBAL_EXPEDITED)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix does not have it")]
fn membarrier(command: i32) -> bool {
    let (flags, cpu) = (0_u32, 0_i32);
    // SAFETY: it takes three numbers, and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_membarrier, command, flags, cpu) == 0 }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn take_part_in_barriers() {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn barrier() -> bool {
    false
}
