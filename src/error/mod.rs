//! Every error a user can meet.
//!
//! Errors answer questions (`is_panic`, `is_worker_death`, …) rather than force matches. All of
//! them are `Clone + Send + Sync + 'static`.

mod refusal;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::refusal::Refusal;
use crate::base::id::{TaskId, WorkerId};
use crate::base::limits::{Exceeded, ResourceLimits};
use crate::codec::{CodecError, Fault};
use crate::sys::{is_shortage, signal_name};
use crate::wire::frame::{InitFailure, Outcome, PanicReport, split_header};
use crate::wire::role::TRY_AGAIN;

/// Why a pool could not be built.
#[derive(Clone, thiserror::Error)]
#[error("failed to build the process pool: {0}")]
pub struct BuildError(#[source] BuildErrorKind);

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
    #[error("queue_capacity must be at least 1")]
    NoQueue,
    #[error(
        "this process was started as a worker, but `procpool::init()` was not called: make it the \
         first statement of `main`"
    )]
    NotInitialised,
    #[error("two functions have the same name and cannot be told apart: {0}")]
    AmbiguousFunction(String),
    #[error("{}", unregistered(.0))]
    Unregistered(&'static str),
    #[error("the arguments of `{function}` cannot be encoded: {source}")]
    Arguments { function: &'static str, source: CodecError },
}

pub(crate) fn unregistered(function: &str) -> String {
    if function.ends_with("{{closure}}") {
        let example = "procpool::task!(|x: u64| -> u64 { x + 1 })";
        return format!("the closure `{function}` is not registered; write it as in `{example}`");
    }
    format!("the function `{function}` is not registered; add `procpool::register!({function});`")
}

// A `main` that returns an error, and `unwrap`, print its `Debug`: so that has to say what to do.
macro_rules! debug_as_text {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.to_string())
            }
        }
    )*};
}

debug_as_text! { BuildError ResizeError SubmitError TaskError RunError BrokenProcessPool }

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

    /// This process is a worker that has not called [`init`](crate::init).
    pub fn is_not_initialised(&self) -> bool {
        matches!(self.0, BuildErrorKind::NotInitialised)
    }
}

/// Why a pool could not be resized.
#[derive(Clone, thiserror::Error)]
#[error("failed to resize the process pool: {0}")]
pub struct ResizeError(#[source] pub(crate) BuildErrorKind);

/// What went wrong with a task.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{}", unregistered(.0))]
    Unregistered(&'static str),
    #[error("the pool's queue is full (its capacity is {capacity})")]
    QueueFull { capacity: usize },
    #[error("the pool has been shut down")]
    ShutDown,
    #[error("{0}")]
    Broken(#[source] BrokenProcessPool),
    #[error("{what} cannot be {action}: {source}")]
    Codec { what: Value, action: &'static str, source: Arc<dyn std::error::Error + Send + Sync> },
    #[error("{} more than {limit} bytes; the limit is `Builder::max_payload`", .what.takes())]
    TooLarge { what: Value, limit: usize },
    #[error("{0}")]
    Panicked(#[source] TaskPanic),
    #[error("{0}")]
    WorkerDied(#[source] WorkerDeath),
    #[error("it was cancelled")]
    Cancelled,
    #[error("it ran longer than {0:?}")]
    TimedOut(Duration),
    #[error("its deadline has passed")]
    Expired,
    #[error("the map was not done within {0:?}")]
    MapTimedOut(Duration),
}

impl Cause {
    pub(crate) fn codec(what: Value, action: &'static str, error: CodecError) -> Self {
        match *error.fault() {
            Fault::TooLarge { limit } => Self::TooLarge { what, limit },
            _ => Self::Codec { what, action, source: Arc::new(error) },
        }
    }

    /// What a worker says of a call; `None` if the payload is its result.
    pub(crate) fn told(outcome: Outcome, payload: &[u8], max_payload: usize) -> Option<Self> {
        let codec = |what, action| {
            let source = Arc::new(Remote(String::from_utf8_lossy(payload).into_owned()));
            Self::Codec { what, action, source }
        };
        Some(match outcome {
            Outcome::Returned => return None,
            Outcome::Panicked => Self::Panicked(TaskPanic::new(panic_report(payload))),
            Outcome::UndecodableArguments => codec(Value::Arguments, "decoded in the worker"),
            Outcome::UnencodableResult => codec(Value::Result, "encoded in the worker"),
            Outcome::ResultTooLarge => Self::TooLarge { what: Value::Result, limit: max_payload },
        })
    }
}

pub(crate) fn panic_report(payload: &[u8]) -> PanicReport {
    split_header(payload).map_or_else(unreadable, |(report, _)| report)
}

fn unreadable(_: io::Error) -> PanicReport {
    PanicReport {
        message: "its report could not be read".to_owned(),
        location: None,
        backtrace: String::new(),
    }
}

/// What of a task is encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Arguments,
    Result,
}

impl Value {
    pub(crate) fn takes(self) -> &'static str {
        match self {
            Self::Arguments => "the arguments take",
            Self::Result => "the result takes",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arguments => "the arguments",
            Self::Result => "the result",
        })
    }
}

/// A text from the other process, as an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Remote(String);

/// What a [`Report`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A call of this function that was never accepted.
    Submission(&'static str),
    /// An accepted call of this function.
    Task(TaskId, &'static str),
    /// [`ready`](crate::ProcessPoolExecutor::ready).
    Readiness,
    /// The call of this function by a worker that left.
    ExitHook(&'static str),
}

impl Subject {
    fn function(self) -> &'static str {
        match self {
            Self::Submission(function) | Self::Task(_, function) | Self::ExitHook(function) => {
                function
            }
            Self::Readiness => "procpool::ProcessPoolExecutor::ready",
        }
    }

    fn task(self) -> Option<TaskId> {
        match self {
            Self::Task(task, _) => Some(task),
            Self::Submission(_) | Self::Readiness | Self::ExitHook(_) => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submission(function) => write!(f, "failed to submit `{function}`"),
            Self::Task(task, function) => write!(f, "{task} (`{function}`) failed"),
            Self::Readiness => f.write_str("no worker can become ready"),
            Self::ExitHook(function) => write!(f, "the exit hook `{function}` failed"),
        }
    }
}

/// A cause with its circumstances; the inside of the public error types.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) subject: Subject,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) attempt: u32,
    pub(crate) cause: Cause,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        // A death names the worker itself.
        if let (Some(worker), false) = (self.worker, matches!(self.cause, Cause::WorkerDied(_))) {
            write!(f, " in {worker}")?;
        }
        if self.attempt > 1 {
            write!(f, " at attempt {}", self.attempt)?;
        }
        write!(f, ": {}", self.cause)?;
        match &self.cause {
            Cause::Codec { source, .. } => {
                let error = source.downcast_ref::<CodecError>();
                let cure = error.and_then(|error| error.cure(self.subject.function()));
                f.write_str(&cure.unwrap_or_default())
            }
            _ => Ok(()),
        }
    }
}

/// Declares a public error type around a [`Report`], with the predicates.
macro_rules! task_errors {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<Report>);

        impl $name {
            /// The task panicked; see [`panic`](Self::panic).
            pub fn is_panic(&self) -> bool {
                matches!(self.0.cause, Cause::Panicked(_))
            }

            /// The worker died while the task ran; see [`worker_death`](Self::worker_death).
            pub fn is_worker_death(&self) -> bool {
                matches!(self.0.cause, Cause::WorkerDied(_))
            }

            /// The task was cancelled or aborted.
            pub fn is_cancelled(&self) -> bool {
                matches!(self.0.cause, Cause::Cancelled)
            }

            /// The task ran longer than its timeout and was ended, or its deadline has passed; or all of
            /// a [`map`](crate::ProcessPoolExecutor::map) took longer than
            /// [its limit](crate::Map::timeout).
            pub fn is_timeout(&self) -> bool {
                matches!(
                    self.0.cause,
                    Cause::TimedOut(_) | Cause::Expired | Cause::MapTimedOut(_)
                )
            }

            /// The pool is broken; see [`broken`](Self::broken).
            pub fn is_broken(&self) -> bool {
                matches!(self.0.cause, Cause::Broken(_))
            }

            /// The queue was full, and nothing was handed to the pool.
            pub fn is_queue_full(&self) -> bool {
                matches!(self.0.cause, Cause::QueueFull { .. })
            }

            /// The pool was shut down before it accepted the task, or its runtime has gone.
            pub fn is_shut_down(&self) -> bool {
                matches!(self.0.cause, Cause::ShutDown)
            }

            /// The function is not registered; the message says which line to add.
            pub fn is_unregistered(&self) -> bool {
                matches!(self.0.cause, Cause::Unregistered(_))
            }

            /// The arguments or the result could not be encoded or decoded. The message says why,
            /// in the words of their `Serialize` or `Deserialize` if it was these that refused, and
            /// where in the value; and which line to write, if the value needs names and its function is
            /// registered `=> compact`. A value that is nested too deeply is such an error, too. If
            /// the function has returned an error that cannot be encoded, the message has its
            /// `Debug` text. See [values](crate::guide::values).
            pub fn is_codec(&self) -> bool {
                matches!(self.0.cause, Cause::Codec { .. })
            }

            /// The arguments or the result are larger than
            /// [`Builder::max_payload`](crate::Builder::max_payload).
            pub fn is_too_large(&self) -> bool {
                matches!(self.0.cause, Cause::TooLarge { .. })
            }

            /// The panic, if the task panicked.
            pub fn panic(&self) -> Option<&TaskPanic> {
                match &self.0.cause {
                    Cause::Panicked(panic) => Some(panic),
                    _ => None,
                }
            }

            /// How the worker died, if it did, or if its death broke the pool.
            pub fn worker_death(&self) -> Option<&WorkerDeath> {
                match &self.0.cause {
                    Cause::WorkerDied(death) => Some(death),
                    Cause::Broken(broken) => broken.worker_death(),
                    _ => None,
                }
            }

            /// Why the pool is broken, if it is.
            pub fn broken(&self) -> Option<&BrokenProcessPool> {
                match &self.0.cause {
                    Cause::Broken(broken) => Some(broken),
                    _ => None,
                }
            }

            /// The name of the function that was called or was to be called.
            pub fn function(&self) -> &'static str {
                self.0.subject.function()
            }

            /// The task, if this is about one that was accepted.
            pub fn task_id(&self) -> Option<TaskId> {
                self.0.subject.task()
            }

            /// The worker that the task was sent to last, if it was sent to one.
            pub fn worker_id(&self) -> Option<WorkerId> {
                self.0.worker
            }

            /// How often the task was begun, or one if it never was.
            pub fn attempts(&self) -> u32 {
                self.0.attempt
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::error::Error for $name {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                std::error::Error::source(&self.0.cause)
            }
        }
    )*};
}

task_errors! {
    /// Why a task was not accepted.
    ///
    /// ```
    /// fn overloaded(error: &procpool::SubmitError) -> bool {
    ///     error.is_queue_full() // answer 503, try again later
    /// }
    /// ```
    SubmitError
    /// Why a task has no result.
    ///
    /// ```
    /// fn explain(error: &procpool::TaskError) -> String {
    ///     if let Some(death) = error.worker_death() {
    ///         format!("pid {} died: {:?}\n{}", death.pid(), death.signal(), death.stderr_tail())
    ///     } else if let Some(panic) = error.panic() {
    ///         format!("{} at {:?}", panic.message(), panic.location())
    ///     } else {
    ///         error.to_string()
    ///     }
    /// }
    /// ```
    TaskError
    /// A [`SubmitError`] or a [`TaskError`]: what [`run`](crate::ProcessPoolExecutor::run) can meet.
    RunError
}

impl SubmitError {
    pub(crate) fn new(report: Report) -> Self {
        Self(Arc::new(report))
    }
}

impl TaskError {
    pub(crate) fn new(report: Report) -> Self {
        Self(Arc::new(report))
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// The same error of another task, which was together with this one.
    pub(crate) fn of(&self, task: TaskId) -> Self {
        let subject = Subject::Task(task, self.0.subject.function());
        Self::new(Report { subject, ..Report::clone(&self.0) })
    }
}

/// For tasks that are submitted on the user's behalf, by [`map`](crate::ProcessPoolExecutor::map).
impl From<SubmitError> for TaskError {
    fn from(error: SubmitError) -> Self {
        Self(error.0)
    }
}

impl From<SubmitError> for RunError {
    fn from(error: SubmitError) -> Self {
        Self(error.0)
    }
}

impl From<TaskError> for RunError {
    fn from(error: TaskError) -> Self {
        Self(error.0)
    }
}

/// A panic in a task.
#[derive(Clone, Debug)]
pub struct TaskPanic(Arc<PanicReport>);

impl TaskPanic {
    pub(crate) fn new(report: PanicReport) -> Self {
        Self(Arc::new(report))
    }

    /// What `panic!` was given. For a payload that is not text it is a phrase that says so. It is cut
    /// at the end if it would not fit into [`Builder::max_payload`](crate::Builder::max_payload).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, as `file:line:column`. `None` if it did not meet the panic hook: it was
    /// resumed from elsewhere, or the task has replaced the hook.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack in the worker, as text. Empty where [`location`](Self::location) is `None`; cut as
    /// [`message`](Self::message) is, and after it.
    pub fn backtrace(&self) -> &str {
        &self.0.backtrace
    }
}

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for TaskPanic {}

/// How a worker process ended when it should not have.
#[derive(Clone, Debug)]
pub struct WorkerDeath(Arc<DeathReport>);

#[derive(Clone, Debug)]
pub(crate) struct DeathReport {
    pub(crate) deceased: Deceased,
    /// That which has died, or for which the fork server was started.
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stderr_tail: String,
    /// Under which it ran.
    pub(crate) limits: ResourceLimits,
    /// What the supervisor did to it, or what it did wrong.
    pub(crate) remark: Option<String>,
}

/// Who has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deceased {
    Worker,
    ForkServer,
}

impl WorkerDeath {
    pub(crate) fn new(report: DeathReport) -> Self {
        Self(Arc::new(report))
    }

    /// The worker's id in the pool.
    pub fn worker_id(&self) -> WorkerId {
        self.0.worker
    }

    /// The process id it had.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Its exit code, unless a signal ended it. An exit with code 0 is a death, too, if the pool
    /// had not asked for it.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.0.signal
    }

    /// The last lines of its standard error and standard output, at most 16 KiB. The error's own text
    /// has fewer of them, and no backtraces.
    pub fn stderr_tail(&self) -> &str {
        &self.0.stderr_tail
    }

    /// It was ended because a task took more CPU time than
    /// [it may](crate::ResourceLimits::cpu_time).
    ///
    /// ```
    /// fn is_too_expensive(error: &procpool::TaskError) -> bool {
    ///     error.worker_death().is_some_and(|death| death.is_cpu_time_limit())
    /// }
    /// ```
    pub fn is_cpu_time_limit(&self) -> bool {
        matches!(self.exceeded(), Some(Exceeded::CpuTime(_)))
    }

    /// It was ended because it wrote more to a file than [it may](crate::ResourceLimits::file_size).
    pub fn is_file_size_limit(&self) -> bool {
        matches!(self.exceeded(), Some(Exceeded::FileSize { .. }))
    }

    /// It has aborted because it got no more memory, and that under a
    /// [limit](crate::ResourceLimits::memory): so that was the reason most likely. The system says only that
    /// it has aborted; the rest is what Rust prints then. Of a worker that other code has ended for want of
    /// memory this is false.
    pub fn is_memory_limit(&self) -> bool {
        matches!(self.exceeded(), Some(Exceeded::Memory { .. }))
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.0.limits.exceeded(self.0.signal, &self.0.stderr_tail)
    }

    /// SIGKILL from nowhere is how Linux ends a process that takes too much memory.
    pub(crate) fn was_killed_from_outside(&self) -> bool {
        self.0.signal == Some(9) && self.0.remark.is_none()
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.0;
        match report.deceased {
            Deceased::Worker => write!(f, "{}", report.worker)?,
            Deceased::ForkServer => f.write_str("the fork server")?,
        }
        write!(f, " (pid {}) ", report.pid)?;
        match (report.signal, report.exit_code) {
            (Some(signal), _) => {
                write!(f, "was killed by signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " ({name})")?;
                }
            }
            (None, Some(code)) => write!(f, "exited unexpectedly with code {code}")?,
            (None, None) => f.write_str("died")?,
        }
        if let Some(limit) = self.exceeded() {
            write!(f, ": {limit}")?;
        }
        if self.was_killed_from_outside() {
            f.write_str("; was the machine out of memory?")?;
        }
        if let Some(remark) = &report.remark {
            write!(f, "; {remark}")?;
        }
        match report.stderr_tail.trim_end() {
            "" => Ok(()),
            tail => write!(f, "; its last output was:\n{}", last_lines(tail)),
        }
    }
}

impl std::error::Error for WorkerDeath {}

/// As much of a worker's output as is put into a message. Without backtraces: their frames would push
/// out the message that they belong to.
fn last_lines(text: &str) -> String {
    const LINES: usize = 20;
    let mut in_backtrace = false;
    let lines = text.lines().filter(|line| {
        in_backtrace = *line == "stack backtrace:" || in_backtrace && line.starts_with(' ');
        !in_backtrace
    });
    let lines: Vec<_> = lines.collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The pool cannot go on: its workers cannot be started or initialised, or one died under
/// [`OnWorkerDeath::Break`](crate::OnWorkerDeath::Break). The counterpart of Python's exception of
/// the same name.
#[derive(Clone, thiserror::Error)]
#[error("the process pool is broken: {0}")]
pub struct BrokenProcessPool(#[source] pub(crate) BrokenCause);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum BrokenCause {
    #[error("{0}")]
    WorkerDied(#[source] WorkerDeath),
    #[error("{0}")]
    Start(#[source] StartError),
}

impl BrokenProcessPool {
    /// The death that broke the pool, if it was one.
    pub fn worker_death(&self) -> Option<&WorkerDeath> {
        match &self.0 {
            BrokenCause::WorkerDied(death)
            | BrokenCause::Start(StartError::Died { death, .. } | StartError::ServerLost(death)) => {
                Some(death)
            }
            BrokenCause::Start(_) => None,
        }
    }

    /// The process id of the worker that died, or did not become ready. `None` if there was no
    /// process, or if any would have been the wrong one, as the program is.
    pub fn pid(&self) -> Option<u32> {
        match &self.0 {
            BrokenCause::WorkerDied(death) => Some(death.pid()),
            BrokenCause::Start(error) => error.pid(),
        }
    }

    /// The initializer failed: it panicked, returned an error, or took too long.
    pub fn is_initializer_failure(&self) -> bool {
        matches!(&self.0, BrokenCause::Start(StartError::Initializer { .. }))
    }

    /// The [preload](crate::Builder::preload) failed: it panicked, returned an error, took too long, or
    /// has left threads behind, so that no workers can be forked.
    pub fn is_preload_failure(&self) -> bool {
        matches!(
            &self.0,
            BrokenCause::Start(StartError::Preload { .. } | StartError::CannotFork { .. })
        )
    }
}

/// Why a worker did not become ready.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to start the worker program `{program}`: {source}")]
    Spawn { program: String, source: Arc<io::Error> },
    #[error("{death}{hint}")]
    Died {
        #[source]
        death: WorkerDeath,
        hint: &'static str,
    },
    #[error("{0}")]
    Refused(#[source] Refusal),
    #[error("the initializer `{function}` {failure}")]
    Initializer { function: &'static str, failure: InitializerFailure },
    /// The fork server was up, and has not forked the worker. Another one will be started.
    #[error("{0}")]
    ServerLost(#[source] WorkerDeath),
    #[error("the preload `{function}` {failure}")]
    Preload { function: &'static str, failure: InitializerFailure },
    #[error("{place} cannot fork workers: {reason}")]
    CannotFork { place: Place, reason: String },
    #[error("{place} was not ready within {limit:?}{hint}")]
    Timeout { place: Place, limit: Duration, hint: &'static str },
}

#[derive(Clone, Debug)]
pub(crate) enum InitializerFailure {
    Failed { place: Place, failure: InitFailure },
    Timeout { place: Place, limit: Duration },
}

/// The process where something has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    deceased: Deceased,
    pid: u32,
}

impl Place {
    pub(crate) fn worker(pid: u32) -> Self {
        Self { deceased: Deceased::Worker, pid }
    }

    pub(crate) fn fork_server(pid: u32) -> Self {
        Self { deceased: Deceased::ForkServer, pid }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deceased {
            Deceased::Worker => write!(f, "a worker (pid {})", self.pid),
            Deceased::ForkServer => write!(f, "the fork server (pid {})", self.pid),
        }
    }
}

impl fmt::Display for InitializerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { place, failure: InitFailure::Panicked(report) } => {
                write!(f, "{report}, in {place}")
            }
            Self::Failed {
                place,
                failure: InitFailure::Failed(message) | InitFailure::CannotFork(message),
            } => write!(f, "failed in {place}: {message}"),
            Self::Timeout { place, limit } => {
                write!(f, "did not end within {limit:?} in {place}")
            }
        }
    }
}

impl StartError {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Died { death, .. } | Self::ServerLost(death) => Some(death.pid()),
            Self::Timeout { place, .. } | Self::CannotFork { place, .. } => Some(place.pid),
            Self::Initializer { failure, .. } | Self::Preload { failure, .. } => match failure {
                InitializerFailure::Failed { place, .. }
                | InitializerFailure::Timeout { place, .. } => Some(place.pid),
            },
            Self::Spawn { .. } | Self::Refused(_) => None,
        }
    }

    /// Whether every other worker would meet the same.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::Spawn { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
            ),
            Self::Died { .. } | Self::ServerLost(_) => false,
            Self::Refused(_)
            | Self::Initializer { .. }
            | Self::Preload { .. }
            | Self::CannotFork { .. }
            | Self::Timeout { .. } => true,
        }
    }

    /// Whether it says little about the next start: somebody has sent it SIGKILL, or what was to start
    /// it has died, and many workers at once may have met that; or the machine was short of something, which
    /// may be there again in a moment.
    pub(crate) fn is_accident(&self) -> bool {
        match self {
            Self::Spawn { source, .. } => is_shortage(source),
            Self::Died { death, .. } => {
                death.was_killed_from_outside() || death.exit_code() == Some(TRY_AGAIN)
            }
            Self::ServerLost(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_worker_are_quoted() {
        let lines: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert_eq!(last_lines(&lines.join("\n")), lines[10..].join("\n"));
        assert_eq!(last_lines("one"), "one");
    }

    #[test]
    fn a_backtrace_does_not_push_out_what_it_belongs_to() {
        let frames = "  7: function\n             at ./src/main.rs:1:2\n".repeat(30);
        let text = format!("allocation failed\nstack backtrace:\n{frames}note: that is all\n  end");
        assert_eq!(last_lines(&text), "allocation failed\nnote: that is all\n  end");
    }
}
