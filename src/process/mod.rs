//! One function in one process: the counterpart of Python's `multiprocessing.Process`.

mod builder;
mod control;
mod error;
mod handle;
mod monitor;
mod plan;
mod relatives;
mod shared;
mod stdio;

pub use self::builder::ProcessBuilder;
pub use self::control::{Process, active_children};
pub use self::error::ProcessError;
pub use self::handle::ProcessHandle;
pub use self::relatives::{ParentProcess, parent_process};
pub use self::stdio::ProcessStdio;
pub use crate::sys::process::Sentinel;
