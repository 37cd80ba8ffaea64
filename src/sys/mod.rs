//! The operating system: the one place that knows platforms, and the only one with `unsafe`.
//!
//! Everything above sees the same names whatever is below.

mod child;
mod limits;
mod memory;
mod pipe;

pub(crate) use self::child::{
    Reaper, kill_own_group, own_executable, require_io_driver, resident_memory, signal_name,
};
pub(crate) use self::limits::{MemoryGauge, limit_memory};
pub(crate) use self::memory::{SharedPage, SharedPageRef};
pub(crate) use self::pipe::{FramePipes, read_available, take_frame_pipes, wait_for_hangup};
