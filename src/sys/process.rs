//! Processes: their start, their signals, their end.

pub(crate) use super::system::child::{
    ChildProcess, ExitWatch, Reaper, kill_own_group, open_parent, open_process, own_executable,
    require_io_driver, signal, signal_name, watch_readable,
};
