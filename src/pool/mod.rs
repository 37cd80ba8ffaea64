//! The engine of one pool.

pub(crate) mod watch;

pub(crate) mod task;

mod admission;
mod commons;
mod engine;
mod exits;
mod helm;
mod open;
mod shutdown;
mod size;
mod supervisor;

pub(crate) use self::size::allowed_workers;
pub(crate) use crate::scheduler::{Force, OnWorkerDeath};

pub(crate) use self::admission::{Options, Pool, registered, submit_error};
pub(crate) use self::commons::{Command, Commons, Refused};
pub(crate) use self::engine::Engine;
pub(crate) use self::exits::ExitHook;
pub use self::exits::{ExitResult, ExitTypeError};
pub(crate) use self::open::{Settings, prepare};
pub use self::shutdown::{Shutdown, ShutdownReport};
