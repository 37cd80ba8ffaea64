//! What Unix gives: files for all such systems, a folder with what only Linux has, and a file that
//! stands in its place elsewhere. The first take from `kernel` what differs.

mod adopted;
mod ancillary;
pub(super) mod arrivals;
pub(super) mod child;
pub(super) mod descriptor;
pub(super) mod ending;
pub(super) mod exit_watch;
pub(super) mod fork;
pub(super) mod group;
pub(super) mod inherited;
pub(super) mod pipe;
pub(super) mod process;
pub(super) mod resources;
pub(super) mod room;
pub(super) mod sandbox;
pub(super) mod sentinel;
pub(super) mod signal;
pub(super) mod socket;
pub(super) mod stranger;
pub(super) mod survey;

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

pub(crate) use self::kernel::{
    CpuTimer, Lifeline, MEASURES_ITSELF, Mapping, MemoryCgroup, MemoryFile, MemoryGauge, OwnCgroup,
    barrier, carrier, count_threads, fill_randomly, give_up_segments, has_loaded, held,
    inherited_thread_name, is_memory, name_own_process, open_process, own_command, own_stack,
    prefer_huge_pages, raise_oom_score, read_now, resident_memory, take_part_in_barriers,
    takes_part_in_barriers, use_huge_pages, wait_for_change, wake_all,
};
#[cfg(feature = "sandbox")]
pub(crate) use self::kernel::{enter_sandbox, only_watch};
