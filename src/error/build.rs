//! Why a pool could not be built, or not be resized.

use std::fmt::{self, Write};

use super::text::{OneLine, debug_as_text, unregistered};
use crate::codec::CodecError;

/// Why a pool could not be built.
#[derive(Clone)]
pub struct BuildError(BuildErrorKind);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum BuildErrorKind {
    #[error(
        "there is no tokio runtime here; build the pool inside one, e.g. in an async fn under \
         `#[tokio::main]`"
    )]
    NoRuntime,
    #[error("max_workers must be at least 1")]
    NoWorkers,
    #[error("max_workers must be at most {most} on this platform")]
    TooManyWorkers { most: usize },
    #[error("min_workers ({min}) must not be more than max_workers ({max})")]
    MinOverMax { min: usize, max: usize },
    #[error("max_tasks_per_child must be at least 1")]
    NoTasks,
    #[error("max_age must be more than zero")]
    NoAge,
    #[error("queue_capacity must be at least 1")]
    NoQueue,
    #[error(
        "this process was started as a worker, but `procpool::init()` was not called: make it the \
         first statement of `main`; a program of `worker_command` calls `procpool::worker_main()`"
    )]
    NotInitialised,
    #[error(
        "`{0}` is up to the fork server that the pool shares, and cannot be chosen for the pool; what \
         can be chosen for the server is set by `ForkServer::builder()`"
    )]
    OfForkServer(&'static str),
    #[error("two functions have the same name and cannot be told apart: {0}")]
    AmbiguousFunction(String),
    #[error("{}", unregistered(.0))]
    Unregistered(&'static str),
    #[error("the arguments of `{function}` cannot be encoded: {error}")]
    Arguments { function: &'static str, error: CodecError },
}

debug_as_text! { BuildError ResizeError }

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "failed to build the process pool: {}", self.0)
    }
}

impl std::error::Error for BuildError {}

impl From<BuildErrorKind> for BuildError {
    fn from(kind: BuildErrorKind) -> Self {
        Self(kind)
    }
}

impl BuildError {
    /// There is no tokio runtime to run the pool on.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.0, BuildErrorKind::NoRuntime)
    }

    /// The initializer or the exit hook is not a registered function.
    pub fn is_unregistered(&self) -> bool {
        matches!(self.0, BuildErrorKind::Unregistered(_))
    }

    /// Something was set that is up to the [`ForkServer`](crate::ForkServer) that the pool shares.
    pub fn is_of_fork_server(&self) -> bool {
        matches!(self.0, BuildErrorKind::OfForkServer(_))
    }

    /// This process is a worker that has not called [`init`](crate::init).
    pub fn is_not_initialised(&self) -> bool {
        matches!(self.0, BuildErrorKind::NotInitialised)
    }
}

/// Why a pool could not be resized.
#[derive(Clone)]
pub struct ResizeError(pub(crate) BuildErrorKind);

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "failed to resize the process pool: {}", self.0)
    }
}

impl std::error::Error for ResizeError {}
