//! Why a process could not be started, or has no result.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Exceeded;
use crate::error::text::{OneLine, debug_as_text, unregistered};
use crate::error::{CallFailure, Refusal, TaskPanic};
use crate::sys::signal::{signal_hint, signal_name};

/// Why something that was asked of a [`Process`](crate::Process) could not be done, or why a
/// [`ProcessHandle`](crate::ProcessHandle) has no result.
///
/// ```
/// fn explain(error: &procpool::ProcessError) -> String {
///     if let Some(panic) = error.panic() {
///         format!("{} at {:?}", panic.message(), panic.location())
///     } else if let Some(code) = error.exitcode() {
///         format!("it ended with {code} and no result")
///     } else {
///         error.to_string()
///     }
/// }
/// ```
#[derive(Clone)]
pub struct ProcessError(Arc<ProcessReport>);

#[derive(Debug)]
struct ProcessReport {
    name: String,
    /// Empty if it is not known.
    function: &'static str,
    cause: ProcessFailure,
}

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ProcessFailure {
    #[error("failed to start: {0}")]
    Start(StartFailure),
    #[error("was ended, as the tokio runtime that saw to it has ended")]
    RuntimeEnded,
    #[error("has not been started")]
    NotStarted,
    #[error("was started before, and a process can be started only once")]
    AlreadyStarted,
    #[error("cannot be closed while it is running; join it first")]
    Running,
    #[error("is closed")]
    Closed,
    #[error("failed: {0}")]
    Call(CallFailure),
    #[error("ended without a result: {}{}", ending(*.code), reason(.limit.as_ref()))]
    Ended { code: i32, limit: Option<Exceeded> },
    #[error("failed: {0}")]
    Protocol(String),
    #[error("cannot be waited for: {0}")]
    Descriptor(Arc<io::Error>),
}

impl From<StartFailure> for ProcessFailure {
    fn from(failure: StartFailure) -> Self {
        Self::Start(failure)
    }
}

impl From<CallFailure> for ProcessFailure {
    fn from(failure: CallFailure) -> Self {
        Self::Call(failure)
    }
}

/// Why a process does not run its function.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum StartFailure {
    #[error("{}", unregistered(.0))]
    Unregistered(&'static str),
    #[error("two functions have the same name and cannot be told apart: {0}")]
    AmbiguousFunction(String),
    #[error(
        "there is no tokio runtime here; start it inside one, e.g. in an async fn under \
         `#[tokio::main]`"
    )]
    NoRuntime,
    #[error(
        "daemons may have no children, and `{0}` is one; make it with \
         `ProcessBuilder::daemon(false)`"
    )]
    DaemonChild(&'static str),
    #[error(
        "this process was started by procpool itself, but `procpool::init()` was not called: make it \
         the first statement of `main`; a program of `worker_command` calls `procpool::worker_main()`"
    )]
    NotInitialised,
    #[error("the program `{program}` cannot be run: {error}{hint}")]
    Spawn { program: String, error: Arc<io::Error>, hint: String },
    #[error("{0}")]
    Refused(Refusal),
    #[error("it (pid {pid}) {}{hint}", ending(*.code))]
    Died { pid: u32, code: i32, hint: String },
    #[error("it (pid {pid}) was not ready within {limit:?}{hint}")]
    Timeout { pid: u32, limit: Duration, hint: String },
    #[error("{0}")]
    Protocol(String),
}

/// What an exit code says.
fn ending(code: i32) -> String {
    match (code, signal_name(-code)) {
        (0.., _) => format!("exited with code {code}"),
        (_, Some(name)) => {
            format!("was killed by signal {} ({name}){}", -code, signal_hint(-code))
        }
        (_, None) => format!("was killed by signal {}", -code),
    }
}

/// Which limit it has met, if it has.
fn reason(limit: Option<&Exceeded>) -> String {
    limit.map(|limit| format!(": {limit}")).unwrap_or_default()
}

impl ProcessError {
    pub(super) fn new(
        name: &str,
        function: &'static str,
        cause: impl Into<ProcessFailure>,
    ) -> Self {
        Self(Arc::new(ProcessReport { name: name.to_owned(), function, cause: cause.into() }))
    }

    fn start_failure(&self) -> Option<&StartFailure> {
        match &self.0.cause {
            ProcessFailure::Start(failure) => Some(failure),
            _ => None,
        }
    }

    /// The process does not run its function: a reason that [`start`](crate::Process::start)
    /// returns, such as a program that cannot be run, a forgotten [`init`](crate::init), or no
    /// runtime.
    pub fn is_start_failure(&self) -> bool {
        self.start_failure().is_some()
    }

    /// The function is not registered; the message says which line to add.
    pub fn is_unregistered(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::Unregistered(_)))
    }

    /// There was no tokio runtime to start it on, or that has ended before the process had started,
    /// or had a result.
    pub fn is_no_runtime(&self) -> bool {
        matches!(
            self.0.cause,
            ProcessFailure::Start(StartFailure::NoRuntime) | ProcessFailure::RuntimeEnded
        )
    }

    /// A [daemon](crate::ProcessBuilder::daemon) has tried to start a process.
    pub fn is_daemon_child(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::DaemonChild(_)))
    }

    /// This process, or the one that was started, has not called [`init`](crate::init).
    pub fn is_not_initialised(&self) -> bool {
        matches!(
            self.start_failure(),
            Some(StartFailure::NotInitialised | StartFailure::Refused(Refusal::NotInitialised))
        )
    }

    /// The process was not ready within its
    /// [start timeout](crate::ProcessBuilder::start_timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::Timeout { .. }))
    }

    /// The process has not been started.
    pub fn is_not_started(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::NotStarted)
    }

    /// The process was started before.
    pub fn is_already_started(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::AlreadyStarted)
    }

    /// The process was to be closed, and is still running.
    pub fn is_running(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Running)
    }

    /// The process is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Closed)
    }

    /// The function panicked; see [`panic`](Self::panic).
    pub fn is_panic(&self) -> bool {
        self.panic().is_some()
    }

    /// The process has ended without a result; see [`exitcode`](Self::exitcode).
    pub fn is_death(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Ended { .. })
    }

    /// The process has ended without a result because it took more CPU time than
    /// [it may](crate::ResourceLimits::cpu_time).
    pub fn is_cpu_time_limit(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Ended { limit: Some(Exceeded::CpuTime(_)), .. })
    }

    /// The process has ended without a result because it wrote more to a file than
    /// [it may](crate::ResourceLimits::file_size).
    pub fn is_file_size_limit(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Ended { limit: Some(Exceeded::FileSize { .. }), .. })
    }

    /// The process has ended without a result because the kernel has killed somebody in the
    /// [control group](crate::ProcessBuilder::cgroup) that it had for itself, for want of memory.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Ended { limit: Some(Exceeded::Cgroup), .. })
    }

    /// The arguments or the result could not be encoded or decoded. The message says why, and where
    /// in the value; see [values](crate::guide::values).
    pub fn is_codec(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Call(CallFailure::Codec { .. }))
    }

    /// The arguments or the result are larger than
    /// [`max_payload`](crate::ProcessBuilder::max_payload).
    pub fn is_too_large(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::Call(CallFailure::TooLarge { .. }))
    }

    /// The panic, if the function panicked.
    pub fn panic(&self) -> Option<&TaskPanic> {
        match &self.0.cause {
            ProcessFailure::Call(CallFailure::Panicked(panic)) => Some(panic),
            _ => None,
        }
    }

    /// The [exit code](crate::Process::exitcode), if the process has ended without a result, or
    /// before it was ready.
    pub fn exitcode(&self) -> Option<i32> {
        match &self.0.cause {
            ProcessFailure::Ended { code, .. }
            | ProcessFailure::Start(StartFailure::Died { code, .. }) => Some(*code),
            _ => None,
        }
    }

    /// The [name](crate::Process::name) of the process.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name of its function. Empty if it is not known, as that of a
    /// [parent process](crate::parent_process).
    pub fn function(&self) -> &'static str {
        self.0.function
    }
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessReport { name, function, cause } = &*self.0;
        match *function {
            "" => write!(OneLine(f), "process `{name}` {cause}"),
            function => write!(OneLine(f), "process `{name}` (`{function}`) {cause}"),
        }
    }
}

debug_as_text! { ProcessError }

impl std::error::Error for ProcessError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(ending(8), "exited with code 8");
        assert_eq!(ending(-9), "was killed by signal 9 (SIGKILL)");
        assert!(ending(-31).contains("signal 31 (SIGSYS); a seccomp filter"), "{}", ending(-31));
        assert_eq!(ending(-40), "was killed by signal 40 (SIGRTMIN+6)");
    }
}
