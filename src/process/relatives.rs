//! The parent of this process, as tasks and processes see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ProcessError, ProcessFailure};
use crate::base::timer::within;
use crate::base::{Parent, current_process};
use crate::sys::process::Sentinel;

/// The process that has started this one; `None` in a process that the user has started. Python's
/// function of the same name.
///
/// It works in a [`Process`](crate::Process) and in the workers of a pool.
pub fn parent_process() -> Option<ParentProcess> {
    current_process().parent().map(ParentProcess)
}

/// What [`parent_process`] returns.
///
/// ```
/// /// Works until there is nobody left to work for.
/// fn serve() {
///     let parent = procpool::parent_process().expect("it is called in a child process");
///     while parent.is_alive() {
///         // …
///     }
/// }
///
/// procpool::register!(serve);
/// # fn main() {}
/// ```
#[derive(Clone, Copy)]
pub struct ParentProcess(Parent);

impl ParentProcess {
    /// Its [name](crate::CurrentProcess::name).
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Its process id. Once it is not alive any more this may be that of another process.
    pub fn pid(self) -> u32 {
        self.0.pid
    }

    /// Whether it has not ended yet.
    pub fn is_alive(self) -> bool {
        self.0.is_alive()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// As [`sentinel`](Self::sentinel).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with an IO driver.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn join(self) -> Result<(), ProcessError> {
        self.sentinel()?.await;
        Ok(())
    }

    /// As [`join`](Self::join), but waits no longer than this; says whether the parent has ended.
    /// The time is real time, also on a runtime whose clock is paused.
    ///
    /// # Errors
    ///
    /// As [`sentinel`](Self::sentinel).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with an IO driver.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn join_within(self, limit: Duration) -> Result<bool, ProcessError> {
        Ok(within(limit, self.sentinel()?).await.is_some())
    }

    /// A descriptor that is ready once it has ended, and can be awaited.
    ///
    /// # Errors
    ///
    /// If there are too many open descriptors; and in the worker of a pool on systems without
    /// `pidfd`.
    pub fn sentinel(self) -> Result<Sentinel, ProcessError> {
        let end = self.0.end.ok_or_else(|| std::io::ErrorKind::Unsupported.into());
        let sentinel = end.and_then(Sentinel::of);
        sentinel.map_err(|source| self.error(ProcessFailure::Descriptor(Arc::new(source))))
    }

    fn error(self, cause: ProcessFailure) -> ProcessError {
        ProcessError::new(self.name(), "", cause)
    }
}

impl fmt::Debug for ParentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentProcess")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}
