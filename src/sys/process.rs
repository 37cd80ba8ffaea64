//! Processes: their start, what is sent to them, their end.

pub(crate) use super::carrier::Carrier;
pub(crate) use super::system::child::{ChildProcess, Exit};
pub(crate) use super::system::ending::kill_own_group;
pub(crate) use super::system::exit_watch::{ExitWatch, Reaper};
pub(crate) use super::system::process::{new_group, open_parent, parent_id, require_io_driver};
pub use super::system::sentinel::Sentinel;
pub(crate) use super::system::{carrier, name_own_process, open_process, own_command};
