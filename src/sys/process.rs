//! Processes: their start, their signals, their end.

pub(crate) use super::system::child::{ChildProcess, Exit, ExitWatch, Reaper, open_process};
pub(crate) use super::system::process::{
    kill_own_group, new_group, open_parent, own_command, parent_id, require_io_driver, signal,
    signal_name,
};
pub use super::system::sentinel::Sentinel;
