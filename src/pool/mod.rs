//! The engine of one pool.

mod admission;
mod commons;
mod engine;
mod exits;
mod helm;
mod open;
mod places;
mod sharing;
mod shutdown;
mod sites;
mod size;
mod supervisor;
pub(crate) mod task;
pub(crate) mod watch;

pub(crate) use self::admission::{Pool, submit_error};
pub(crate) use self::commons::{Command, Commons};
#[cfg(test)]
pub(crate) use self::engine::Engine;
pub(crate) use self::exits::ExitHook;
pub use self::exits::{ExitResult, ExitTypeError};
pub(crate) use self::open::{Configuration, prepare, ready_to_build};
pub use self::shutdown::{CloseReason, Shutdown, ShutdownReport};
pub(crate) use self::size::allowed_workers;
/// Who holds a pool says these words, and knows no scheduler.
pub(crate) use crate::scheduler::{Force, OnWorkerDeath, Wishes};
pub(crate) use crate::wire::message::HookStage;
