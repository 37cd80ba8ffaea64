//! Every error a user can meet.
//!
//! Errors answer questions (`is_panic`, `is_worker_death`, …) rather than force matches. All of
//! them are `Clone + Send + Sync + 'static`.
//!
//! A text says all, in one line: it contains that of its cause, so `source()` does not return the
//! cause but what stands behind it, if anything does. So `{}` tells everything, and whoever prints
//! the whole chain prints nothing twice. Causes are had by accessors (`panic()`,
//! `worker_death()`). What is foreign in a text, as the message of a panic, has its line breaks
//! escaped (`OneLine`). Of what was printed a text quotes only what its own task has printed, or a
//! process that could not start and has run none: the rest may be another client's.

pub(crate) mod build;
mod call;
mod cause;
#[cfg(test)]
mod fuzz;
mod host;
pub(crate) mod kind;
mod panic;
mod refusal;
mod start;
mod task;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod worker;

pub(crate) use self::call::CallFailure;
pub(crate) use self::cause::{Cause, ErrorReport, Subject};
pub use self::host::HostLoss;
pub use self::panic::TaskPanic;
pub(crate) use self::refusal::Refusal;
pub use self::start::BrokenProcessPool;
pub(crate) use self::start::{BrokenCause, StartError};
pub use self::task::{RunError, SubmitError, TaskError};
pub use self::worker::WorkerDeath;
pub(crate) use self::worker::{DeathReport, PoolProcess};
