//! Why a pool could not be built, or not be resized.

use std::fmt::{self, Write};

use super::kind::BuildErrorKind;
use super::text::{OneLine, debug_as_text, unregistered};
use crate::codec::CodecError;

/// Why a pool could not be built.
#[derive(Clone)]
pub struct BuildError(BuildFailure);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum BuildFailure {
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
    #[error("queue_bytes must be more than zero; for a pool without a queue: `queue_capacity(0)`")]
    NoQueueBytes,
    #[error(
        "this process was started as a worker, but `procpool::init()` was not called: make it the \
         first statement of `main`; a program of `worker_command` calls `procpool::worker_main()`"
    )]
    NotInitialized,
    #[error(
        "`{0}` is up to the fork server that the pool shares, and cannot be chosen for the pool; what \
         can be chosen for the server is set by `ForkServer::builder()`"
    )]
    OfForkServer(&'static str),
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("the host {0:?} must have at least 1 worker")]
    NoWorkersOnHost(std::sync::Arc<str>),
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("`Host::slurm` must have at least 1 node")]
    NoNodes,
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("`Host::slurm` wants {wanted} nodes, and this allocation has {most}")]
    TooFewNodes { wanted: usize, most: usize },
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("`{0}` is of this machine, and cannot be had by workers on other hosts")]
    NotOnHosts(&'static str),
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

impl From<BuildFailure> for BuildError {
    fn from(failure: BuildFailure) -> Self {
        Self(failure)
    }
}

impl BuildError {
    /// Why it was not built, as an enum to match on, to count or to send.
    ///
    /// ```
    /// use procpool::{BuildErrorKind, ProcessPoolExecutor};
    ///
    /// # #[tokio::main] async fn main() {
    /// let error = ProcessPoolExecutor::builder().max_workers(0).build().unwrap_err();
    /// assert_eq!(error.kind(), BuildErrorKind::InvalidSetting);
    /// assert_eq!(error.setting(), Some("max_workers"));
    /// # }
    /// ```
    pub fn kind(&self) -> BuildErrorKind {
        match self.0 {
            BuildFailure::NoRuntime => BuildErrorKind::NoRuntime,
            BuildFailure::NoWorkers
            | BuildFailure::TooManyWorkers { .. }
            | BuildFailure::MinOverMax { .. }
            | BuildFailure::NoTasks
            | BuildFailure::NoAge
            | BuildFailure::NoQueueBytes
            | BuildFailure::NoWorkersOnHost(_)
            | BuildFailure::NoNodes
            | BuildFailure::TooFewNodes { .. }
            | BuildFailure::NotOnHosts(_) => BuildErrorKind::InvalidSetting,
            BuildFailure::OfForkServer(_) => BuildErrorKind::OfForkServer,
            BuildFailure::NotInitialized => BuildErrorKind::NotInitialized,
            BuildFailure::Unregistered(_) => BuildErrorKind::Unregistered,
            BuildFailure::AmbiguousFunction(_) => BuildErrorKind::AmbiguousFunction,
            BuildFailure::Arguments { .. } => BuildErrorKind::Codec,
        }
    }

    /// The method of [`Builder`](crate::Builder) whose setting is refused, if it was one setting.
    /// It is there for the kinds [`InvalidSetting`](BuildErrorKind::InvalidSetting) and
    /// [`OfForkServer`](BuildErrorKind::OfForkServer).
    pub fn setting(&self) -> Option<&'static str> {
        match self.0 {
            BuildFailure::NoWorkers | BuildFailure::TooManyWorkers { .. } => Some("max_workers"),
            BuildFailure::MinOverMax { .. } => Some("min_workers"),
            BuildFailure::NoTasks => Some("max_tasks_per_child"),
            BuildFailure::NoAge => Some("max_age"),
            BuildFailure::NoQueueBytes => Some("queue_bytes"),
            BuildFailure::OfForkServer(setting) | BuildFailure::NotOnHosts(setting) => {
                Some(setting)
            }
            BuildFailure::NoWorkersOnHost(_)
            | BuildFailure::NoNodes
            | BuildFailure::TooFewNodes { .. } => Some("hosts"),
            _ => None,
        }
    }

    /// A setting is out of its range, or does not fit another one; see
    /// [`setting`](Self::setting).
    pub fn is_invalid_setting(&self) -> bool {
        self.kind() == BuildErrorKind::InvalidSetting
    }

    /// Two registered functions have the same name, so workers could not tell them apart.
    pub fn is_ambiguous_function(&self) -> bool {
        matches!(self.0, BuildFailure::AmbiguousFunction(_))
    }

    /// The arguments of a function that workers call by themselves, such as the initializer, cannot
    /// be encoded, or are too large.
    pub fn is_codec(&self) -> bool {
        matches!(self.0, BuildFailure::Arguments { .. })
    }

    /// There is no tokio runtime to run the pool on.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.0, BuildFailure::NoRuntime)
    }

    /// A function that workers call by themselves, such as the initializer, is not registered.
    pub fn is_unregistered(&self) -> bool {
        matches!(self.0, BuildFailure::Unregistered(_))
    }

    /// Something was set that belongs to the shared [`ForkServer`](crate::ForkServer).
    pub fn is_of_fork_server(&self) -> bool {
        matches!(self.0, BuildFailure::OfForkServer(_))
    }

    /// This process is a worker that has not called [`init`](crate::init).
    pub fn is_not_initialized(&self) -> bool {
        matches!(self.0, BuildFailure::NotInitialized)
    }
}

/// Why a pool could not be resized.
#[derive(Clone)]
pub struct ResizeError(pub(crate) BuildFailure);

impl fmt::Display for ResizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "failed to resize the process pool: {}", self.0)
    }
}

impl std::error::Error for ResizeError {}
