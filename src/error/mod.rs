//! Every error a user can meet.
//!
//! Errors answer questions (`is_panic`, `is_worker_death`, …) rather than force matches. All of
//! them are `Clone + Send + Sync + 'static`.

mod build;
mod call;
mod cause;
#[cfg(test)]
mod fuzz;
mod panic;
mod refusal;
mod start;
mod task;
mod text;
mod worker;

pub(crate) use self::build::BuildErrorKind;
pub use self::build::{BuildError, ResizeError};
pub(crate) use self::call::CallFailure;
pub(crate) use self::cause::{Cause, ErrorReport, Subject};
pub use self::panic::TaskPanic;
pub(crate) use self::refusal::Refusal;
pub use self::start::BrokenProcessPool;
pub(crate) use self::start::{BrokenCause, StartError};
pub use self::task::{RunError, SubmitError, TaskError};
pub(crate) use self::text::{debug_as_text, unregistered};
pub use self::worker::WorkerDeath;
pub(crate) use self::worker::{DeathReport, PoolProcess};
