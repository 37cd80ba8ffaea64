//! What can go wrong with a task, and under which circumstances.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::call::CallFailure;
use super::host::HostLoss;
use super::kind::{SubmitErrorKind, TaskErrorKind, TaskOutcome};
use super::start::BrokenProcessPool;
use super::text::{no_room, unregistered};
use super::worker::WorkerDeath;
use crate::base::{TaskId, WorkerId};
use crate::codec::CodecError;
use crate::wire::message::Outcome;

/// What went wrong with a task.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{}", unregistered(.0))]
    Unregistered(&'static str),
    #[error("{}", no_room(*capacity))]
    QueueFull { capacity: usize },
    #[error("the pool's queue is full (arguments that wait may take {limit} bytes)")]
    QueueFullOfBytes { limit: usize },
    #[error("the pool has been shut down")]
    ShutDown,
    #[error(
        "the runtime that the pool was built on has ended: build it on one that lives as long as the \
         pool is used (each `#[tokio::test]` has one of its own)"
    )]
    RuntimeGone,
    #[error(transparent)]
    Broken(BrokenProcessPool),
    #[error(transparent)]
    Call(#[from] CallFailure),
    #[error(transparent)]
    WorkerDied(WorkerDeath),
    #[error(transparent)]
    HostLost(HostLoss),
    #[error("it was cancelled")]
    Cancelled,
    #[error("its worker was to be replaced, and it still ran when the time for that was over")]
    Replaced,
    #[error("it ran longer than {0:?}")]
    TimedOut(Duration),
    #[error("its deadline has passed")]
    Expired,
    #[error("it did not begin within {0:?}")]
    NotBegun(Duration),
    #[error("the map was not done within {0:?}")]
    MapExpired(Duration),
}

impl Cause {
    pub(crate) fn encoding(function: &'static str, error: CodecError) -> Self {
        CallFailure::encoding(CallFailure::WORKER, function, error).into()
    }

    /// Of the context that goes with a task.
    pub(crate) fn encoding_context(error: &CodecError) -> Self {
        CallFailure::encoding_context(error).into()
    }

    /// Of a task that has a limit which there is not for tasks.
    pub(crate) fn unsupported_limit(reason: String) -> Self {
        CallFailure::UnsupportedLimit(reason).into()
    }

    pub(crate) fn decoding(function: &'static str, error: CodecError) -> Self {
        CallFailure::decoding(function, error).into()
    }

    pub(super) fn kind(&self) -> TaskErrorKind {
        match self {
            Self::Call(CallFailure::Panicked(_)) => TaskErrorKind::Panic,
            Self::Call(CallFailure::Codec { .. }) => TaskErrorKind::Codec,
            Self::Call(CallFailure::TooLarge { .. }) => TaskErrorKind::TooLarge,
            Self::Call(CallFailure::UnsupportedLimit(_)) => TaskErrorKind::UnsupportedLimit,
            Self::WorkerDied(_) => TaskErrorKind::WorkerDeath,
            Self::HostLost(_) => TaskErrorKind::HostLost,
            Self::TimedOut(_) => TaskErrorKind::Timeout,
            Self::Expired | Self::MapExpired(_) => TaskErrorKind::Deadline,
            Self::NotBegun(_) => TaskErrorKind::NotBegun,
            Self::Cancelled | Self::Replaced => TaskErrorKind::Cancelled,
            Self::Broken(_) => TaskErrorKind::Broken,
            Self::QueueFull { .. } | Self::QueueFullOfBytes { .. } => TaskErrorKind::QueueFull,
            Self::ShutDown => TaskErrorKind::ShutDown,
            Self::RuntimeGone => TaskErrorKind::RuntimeGone,
            Self::Unregistered(_) => TaskErrorKind::Unregistered,
        }
    }

    /// Of a task that was not accepted.
    pub(super) fn submission_kind(&self) -> SubmitErrorKind {
        match self.kind() {
            TaskErrorKind::QueueFull => SubmitErrorKind::QueueFull,
            TaskErrorKind::Deadline => SubmitErrorKind::Deadline,
            TaskErrorKind::NotBegun => SubmitErrorKind::NotBegun,
            TaskErrorKind::Codec => SubmitErrorKind::Codec,
            TaskErrorKind::TooLarge => SubmitErrorKind::TooLarge,
            TaskErrorKind::UnsupportedLimit => SubmitErrorKind::UnsupportedLimit,
            TaskErrorKind::RuntimeGone => SubmitErrorKind::RuntimeGone,
            TaskErrorKind::Broken => SubmitErrorKind::Broken,
            TaskErrorKind::Unregistered => SubmitErrorKind::Unregistered,
            TaskErrorKind::ShutDown
            // Not reached: what follows happens to accepted tasks only.
            | TaskErrorKind::Panic
            | TaskErrorKind::WorkerDeath
            | TaskErrorKind::HostLost
            | TaskErrorKind::Timeout
            | TaskErrorKind::Cancelled => SubmitErrorKind::ShutDown,
        }
    }

    pub(super) fn outcome(&self) -> TaskOutcome {
        match self.kind() {
            TaskErrorKind::Panic => TaskOutcome::Panicked,
            TaskErrorKind::Codec => TaskOutcome::Codec,
            TaskErrorKind::TooLarge => TaskOutcome::TooLarge,
            TaskErrorKind::UnsupportedLimit => TaskOutcome::UnsupportedLimit,
            TaskErrorKind::WorkerDeath => TaskOutcome::WorkerDied,
            TaskErrorKind::HostLost => TaskOutcome::HostLost,
            TaskErrorKind::Timeout => TaskOutcome::TimedOut,
            TaskErrorKind::Deadline => TaskOutcome::Expired,
            TaskErrorKind::NotBegun => TaskOutcome::NotBegun,
            TaskErrorKind::Cancelled => TaskOutcome::Cancelled,
            TaskErrorKind::Broken => TaskOutcome::Broken,
            TaskErrorKind::ShutDown | TaskErrorKind::RuntimeGone => TaskOutcome::ShutDown,
            TaskErrorKind::QueueFull | TaskErrorKind::Unregistered => TaskOutcome::NotAccepted,
        }
    }

    /// What a worker says of a call; `None` if the payload is its result.
    pub(crate) fn told(outcome: Outcome, payload: &[u8], max_payload: usize) -> Option<Self> {
        CallFailure::told(CallFailure::WORKER, outcome, payload, max_payload).map(Self::Call)
    }
}

/// What an [`ErrorReport`] is about.
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
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Submission(function) | Self::Task(_, function) | Self::ExitHook(function) => {
                function
            }
            Self::Readiness => "procpool::ProcessPoolExecutor::ready",
        }
    }

    pub(super) fn task(self) -> Option<TaskId> {
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
pub(crate) struct ErrorReport {
    pub(crate) subject: Subject,
    /// What the user calls it.
    pub(crate) label: Option<Arc<str>>,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) attempt: u32,
    pub(crate) cause: Cause,
}

impl ErrorReport {
    /// What the task has printed whose worker has died.
    pub(super) fn output(&self) -> Option<&str> {
        let (Cause::WorkerDied(death), Subject::Task(task, _)) = (&self.cause, self.subject) else {
            return None;
        };
        death.output_of(task)
    }

    /// The same of a task that has this label.
    pub(super) fn labelled(self: Arc<Self>, label: Option<&Arc<str>>) -> Arc<Self> {
        let Some(label) = label else { return self };
        let label = Some(Arc::clone(label));
        Arc::new(Self { label, ..Self::clone(&self) })
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, self.subject) {
            (Some(label), Subject::Submission(function)) => {
                write!(f, "failed to submit {label:?} (`{function}`)")?;
            }
            (Some(label), Subject::Task(task, function)) => {
                write!(f, "{task} {label:?} (`{function}`) failed")?;
            }
            (_, subject) => write!(f, "{subject}")?,
        }
        // A death or a loss names the worker itself.
        let is_named = matches!(self.cause, Cause::WorkerDied(_) | Cause::HostLost(_));
        if let (Some(worker), false) = (self.worker, is_named) {
            write!(f, " in {worker}")?;
        }
        if self.attempt > 1 {
            write!(f, " at attempt {}", self.attempt)?;
        }
        write!(f, ": {}", self.cause)?;
        match (&self.cause, self.subject) {
            (Cause::WorkerDied(death), Subject::Task(task, _)) => {
                f.write_str(&death.last_words_of(task))
            }
            _ => Ok(()),
        }
    }
}
