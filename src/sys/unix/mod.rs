//! What Unix gives. What only Linux has is in a folder, and what others do without it in a file;
//! all else here is for both, and takes from `kernel` what differs.

pub(super) mod barrier;
pub(super) mod child;
pub(super) mod cpu_timer;
pub(super) mod descriptor;
pub(super) mod fork;
pub(super) mod lifeline;
pub(super) mod pipe;
pub(super) mod process;
pub(super) mod resources;
pub(super) mod sentinel;
pub(super) mod socket;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use self::linux as kernel;

// With the tests of Linux, too, so that somebody compiles it.
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", expect(dead_code, reason = "it is for others"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
use self::elsewhere as kernel;

pub(crate) use self::kernel::{Mapping, MemoryFile, wait_for_change, wake_all};
