//! Why a process could not be started, or has no result.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Exceeded;
use crate::error::kind::ProcessErrorKind;
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
    NotInitialized,
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

impl StartFailure {
    fn kind(&self) -> ProcessErrorKind {
        match self {
            Self::Unregistered(_) => ProcessErrorKind::Unregistered,
            Self::AmbiguousFunction(_) => ProcessErrorKind::AmbiguousFunction,
            Self::NoRuntime => ProcessErrorKind::NoRuntime,
            Self::DaemonChild(_) => ProcessErrorKind::DaemonChild,
            Self::NotInitialized | Self::Refused(Refusal::NotInitialized) => {
                ProcessErrorKind::NotInitialized
            }
            Self::Timeout { .. } => ProcessErrorKind::StartTimeout,
            Self::Spawn { .. } | Self::Refused(_) | Self::Died { .. } | Self::Protocol(_) => {
                ProcessErrorKind::Start
            }
        }
    }
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

    /// What is wrong, as an enum to match on, to count or to send. Nearly each kind also has a
    /// predicate, such as [`is_panic`](Self::is_panic).
    ///
    /// ```
    /// use procpool::{ProcessError, ProcessErrorKind};
    ///
    /// fn exit_code(error: &ProcessError) -> u8 {
    ///     match error.kind() {
    ///         ProcessErrorKind::Panic => 101,
    ///         ProcessErrorKind::Death => 70,
    ///         _ => 1,
    ///     }
    /// }
    /// ```
    pub fn kind(&self) -> ProcessErrorKind {
        match &self.0.cause {
            ProcessFailure::Start(failure) => failure.kind(),
            ProcessFailure::RuntimeEnded => ProcessErrorKind::RuntimeGone,
            ProcessFailure::NotStarted => ProcessErrorKind::NotStarted,
            ProcessFailure::AlreadyStarted => ProcessErrorKind::AlreadyStarted,
            ProcessFailure::Running => ProcessErrorKind::Running,
            ProcessFailure::Closed => ProcessErrorKind::Closed,
            ProcessFailure::Call(CallFailure::Panicked(_)) => ProcessErrorKind::Panic,
            ProcessFailure::Call(CallFailure::Codec { .. }) => ProcessErrorKind::Codec,
            ProcessFailure::Call(CallFailure::TooLarge { .. }) => ProcessErrorKind::TooLarge,
            ProcessFailure::Ended { .. } => ProcessErrorKind::Death,
            // Only tasks of pools say the first.
            ProcessFailure::Call(CallFailure::UnsupportedLimit(_))
            | ProcessFailure::Protocol(_) => ProcessErrorKind::Protocol,
            ProcessFailure::Descriptor(_) => ProcessErrorKind::Unobservable,
        }
    }

    fn start_failure(&self) -> Option<&StartFailure> {
        match &self.0.cause {
            ProcessFailure::Start(failure) => Some(failure),
            _ => None,
        }
    }

    /// The process does not run its function, for a reason that [`start`](crate::Process::start)
    /// returns: a program that cannot be run, a forgotten [`init`](crate::init), or no runtime. A
    /// runtime that ends meanwhile is [`is_runtime_gone`](Self::is_runtime_gone).
    pub fn is_start_failure(&self) -> bool {
        self.start_failure().is_some()
    }

    /// The function is not registered; the message says which line to add.
    pub fn is_unregistered(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::Unregistered(_)))
    }

    /// There was no tokio runtime to start it on.
    pub fn is_no_runtime(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::NoRuntime))
    }

    /// The runtime that it was started on has ended before the process had started, or had a
    /// result.
    pub fn is_runtime_gone(&self) -> bool {
        matches!(self.0.cause, ProcessFailure::RuntimeEnded)
    }

    /// A [daemon](crate::ProcessBuilder::daemon) has tried to start a process.
    pub fn is_daemon_child(&self) -> bool {
        matches!(self.start_failure(), Some(StartFailure::DaemonChild(_)))
    }

    /// This process, or the one that was started, has not called [`init`](crate::init).
    pub fn is_not_initialized(&self) -> bool {
        matches!(
            self.start_failure(),
            Some(StartFailure::NotInitialized | StartFailure::Refused(Refusal::NotInitialized))
        )
    }

    /// The process was not ready within its
    /// [start timeout](crate::ProcessBuilder::start_timeout).
    pub fn is_start_timeout(&self) -> bool {
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

    /// The process has ended without a result because its own [control
    /// group](crate::ProcessBuilder::cgroup) had no more memory, and the kernel killed it.
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
    use std::collections::HashSet;

    use super::*;
    use crate::error::text::assert_told_once;
    use crate::wire::message::Outcome;

    fn starts() -> Vec<StartFailure> {
        let (limit, hint) = (Duration::from_secs(1), || "; do this".to_owned());
        let error = Arc::new(io::Error::from_raw_os_error(2));
        vec![
            StartFailure::Unregistered("a::f"),
            StartFailure::AmbiguousFunction("a::f".to_owned()),
            StartFailure::NoRuntime,
            StartFailure::DaemonChild("parser"),
            StartFailure::NotInitialized,
            StartFailure::Spawn { program: "a\nb".to_owned(), error, hint: hint() },
            StartFailure::Refused(Refusal::NotInitialized),
            StartFailure::Refused(Refusal::Functions(vec!["a".to_owned(), "b".to_owned()])),
            StartFailure::Died { pid: 7, code: 1, hint: hint() },
            StartFailure::Timeout { pid: 7, limit, hint: hint() },
            StartFailure::Protocol("two\nlines".to_owned()),
        ]
    }

    fn errors() -> Vec<ProcessError> {
        let told = [Outcome::Panicked, Outcome::UnencodableResult, Outcome::ResultTooLarge]
            .map(|outcome| CallFailure::told(CallFailure::PROCESS, outcome, b"a\nb", 9).unwrap());
        let others = [
            ProcessFailure::RuntimeEnded,
            ProcessFailure::NotStarted,
            ProcessFailure::AlreadyStarted,
            ProcessFailure::Running,
            ProcessFailure::Closed,
            ProcessFailure::Ended { code: -9, limit: None },
            ProcessFailure::Protocol("two\nlines".to_owned()),
            ProcessFailure::Descriptor(Arc::new(io::Error::other("two\nlines"))),
        ];
        let starts = starts().into_iter().map(ProcessFailure::Start);
        let calls = told.into_iter().map(ProcessFailure::Call);
        let failures = starts.chain(calls).chain(others);
        failures.map(|failure| ProcessError::new("a\nname", "a::f", failure)).collect()
    }

    #[test]
    fn every_text_is_one_line_and_repeated_by_no_source() {
        for error in errors() {
            assert_told_once(&error);
        }
    }

    #[test]
    fn kinds_are_what_predicates_say() {
        let mut seen = HashSet::new();
        for error in errors() {
            let said = [
                (error.is_panic(), ProcessErrorKind::Panic),
                (error.is_death(), ProcessErrorKind::Death),
                (error.is_codec(), ProcessErrorKind::Codec),
                (error.is_too_large(), ProcessErrorKind::TooLarge),
                (error.is_unregistered(), ProcessErrorKind::Unregistered),
                (error.is_no_runtime(), ProcessErrorKind::NoRuntime),
                (error.is_runtime_gone(), ProcessErrorKind::RuntimeGone),
                (error.is_daemon_child(), ProcessErrorKind::DaemonChild),
                (error.is_not_initialized(), ProcessErrorKind::NotInitialized),
                (error.is_start_timeout(), ProcessErrorKind::StartTimeout),
                (error.is_not_started(), ProcessErrorKind::NotStarted),
                (error.is_already_started(), ProcessErrorKind::AlreadyStarted),
                (error.is_running(), ProcessErrorKind::Running),
                (error.is_closed(), ProcessErrorKind::Closed),
            ];
            for (said, kind) in said {
                assert_eq!(said, error.kind() == kind, "{error}");
            }
            seen.insert(error.kind());
        }
        assert_eq!(seen.len(), ProcessErrorKind::ALL.len());
    }

    #[test]
    fn endings_are_told_in_words() {
        assert_eq!(ending(8), "exited with code 8");
        assert_eq!(ending(-9), "was killed by signal 9 (SIGKILL)");
        assert!(ending(-31).contains("signal 31 (SIGSYS); a seccomp filter"), "{}", ending(-31));
        assert_eq!(ending(-40), "was killed by signal 40 (SIGRTMIN+6)");
    }
}
