//! Why a task was not accepted, or has no result.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::call::CallFailure;
use super::cause::{Cause, ErrorReport, Subject};
use super::host::HostLoss;
use super::kind::{SubmitErrorKind, TaskErrorKind, TaskOutcome};
use super::panic::TaskPanic;
use super::start::BrokenProcessPool;
use super::text::{OneLine, debug_as_text};
use super::worker::WorkerDeath;
use crate::base::{TaskId, WorkerId};

/// Declares public error types around an [`ErrorReport`], with what all of them can be asked.
macro_rules! task_errors {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Arc<ErrorReport>);

        impl $name {
            /// The [deadline](crate::TaskBuilder::deadline) of the task has passed, while it waited
            /// or ran. For an item of a [`map`](crate::ProcessPoolExecutor::map) that is the limit
            /// of the [whole map](crate::Map::within).
            pub fn is_deadline(&self) -> bool {
                matches!(self.0.cause, Cause::Expired | Cause::MapExpired(_))
            }

            /// The task did not begin [in time](crate::TaskBuilder::begin_within): it waited too
            /// long for room in the queue, or in the queue.
            pub fn is_not_begun(&self) -> bool {
                matches!(self.0.cause, Cause::NotBegun(_))
            }

            /// The pool is broken; see [`broken`](Self::broken).
            pub fn is_broken(&self) -> bool {
                matches!(self.0.cause, Cause::Broken(_))
            }

            /// The pool was shut down before it accepted the task.
            pub fn is_shut_down(&self) -> bool {
                matches!(self.0.cause, Cause::ShutDown)
            }

            /// The runtime that the pool was built on has ended, and the pool with it. If several
            /// `#[tokio::test]`s share a pool, build it on [a runtime that outlives
            /// them](crate::guide::testing#one-pool-for-several-tests).
            pub fn is_runtime_gone(&self) -> bool {
                matches!(self.0.cause, Cause::RuntimeGone)
            }

            /// The function is not registered; the message says which line to add.
            pub fn is_unregistered(&self) -> bool {
                matches!(self.0.cause, Cause::Unregistered(_))
            }

            /// The arguments or the result could not be encoded or decoded. The message says why,
            /// and where in the value. It also says which line to write, if the value needs names
            /// and its function is registered `=> compact`. A value that is nested too deeply is
            /// such an error, too. If the function has returned an error that cannot be encoded,
            /// the message has the `Debug` text of that error. See [values](crate::guide::values).
            pub fn is_codec(&self) -> bool {
                matches!(self.0.cause, Cause::Call(CallFailure::Codec { .. }))
            }

            /// The arguments or the result are larger than
            /// [`Builder::max_payload`](crate::Builder::max_payload).
            pub fn is_too_large(&self) -> bool {
                matches!(self.0.cause, Cause::Call(CallFailure::TooLarge { .. }))
            }

            /// A [limit of the task](crate::TaskBuilder::limits) cannot be set, so it was not run:
            /// there is none of its kind for tasks, or the system does not let the worker set it.
            /// The message says which, and why.
            pub fn is_unsupported_limit(&self) -> bool {
                matches!(self.0.cause, Cause::Call(CallFailure::UnsupportedLimit(_)))
            }

            /// How the worker died, if this task's worker did, or if the death of a worker broke
            /// the pool.
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

            /// The name of the function of the task.
            pub fn function(&self) -> &'static str {
                self.0.subject.function()
            }

            /// The label of the task, if [`TaskBuilder::label`](crate::TaskBuilder::label) or
            /// [`Map::label`](crate::Map::label) has set one.
            pub fn label(&self) -> Option<&str> {
                self.0.label.as_deref()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(OneLine(f), "{}", self.0)
            }
        }

        impl std::error::Error for $name {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                std::error::Error::source(&self.0.cause)
            }
        }
    )*};
}

/// What can be asked of errors of tasks that were accepted, or may have been.
macro_rules! of_accepted_tasks {
    ($($name:ident)*) => {$(
        impl $name {
            /// How the task ended, in the words of [events](crate::PoolEvent::TaskFinished) and
            /// [counts](crate::TaskOutcomes). There are two exceptions. If a result could not be
            /// decoded here, the error is `Codec`, while events and counts say `Returned`. An item
            /// of a map has its own outcome, while events and counts have that of its chunk, which
            /// is `Returned` even if items panicked.
            pub fn outcome(&self) -> TaskOutcome {
                match self.0.subject {
                    Subject::Submission(_) => TaskOutcome::NotAccepted,
                    _ => self.0.cause.outcome(),
                }
            }

            /// What has happened, as an enum to match on, to count or to send. Each kind also has a
            /// predicate, such as [`is_panic`](Self::is_panic).
            pub fn kind(&self) -> TaskErrorKind {
                self.0.cause.kind()
            }

            /// The task panicked; see [`panic`](Self::panic).
            pub fn is_panic(&self) -> bool {
                matches!(self.0.cause, Cause::Call(CallFailure::Panicked(_)))
            }

            /// The worker died while the task ran; see [`worker_death`](Self::worker_death).
            pub fn is_worker_death(&self) -> bool {
                matches!(self.0.cause, Cause::WorkerDied(_))
            }

            /// The host of the worker was lost while the task ran; see
            /// [`host_loss`](Self::host_loss). Nobody knows how far the task has come. If it has
            /// [retries](crate::TaskBuilder::retries), it is begun again once it is sure that it
            /// does not run there any more.
            pub fn is_host_lost(&self) -> bool {
                matches!(self.0.cause, Cause::HostLost(_))
            }

            /// Which host was lost, and why it is taken for lost, if the task has failed by that,
            /// or if the loss of a host broke the pool.
            pub fn host_loss(&self) -> Option<&HostLoss> {
                match &self.0.cause {
                    Cause::HostLost(loss) => Some(loss),
                    Cause::Broken(broken) => broken.host_loss(),
                    _ => None,
                }
            }

            /// The task was cancelled or aborted, or ended by
            /// [`recycle_within`](crate::ProcessPoolExecutor::recycle_within).
            pub fn is_cancelled(&self) -> bool {
                matches!(self.0.cause, Cause::Cancelled | Cause::Replaced)
            }

            /// The task ran longer than its [timeout](crate::TaskBuilder::timeout) and was ended. A
            /// deadline that has passed is [`is_deadline`](Self::is_deadline).
            pub fn is_timeout(&self) -> bool {
                matches!(self.0.cause, Cause::TimedOut(_))
            }

            /// The panic, if the task panicked.
            pub fn panic(&self) -> Option<&TaskPanic> {
                match &self.0.cause {
                    Cause::Call(CallFailure::Panicked(panic)) => Some(panic),
                    _ => None,
                }
            }

            /// What this task had printed when its worker died, at most its last 16 KiB. The last
            /// lines of it are in the text of the error. It has nothing that other tasks printed.
            /// (A thread or a process that an earlier task has left behind is an exception.)
            ///
            /// `None` if its worker has not died, or if it is not known whose output it was; see
            /// [`OutputLine::task`](crate::OutputLine::task).
            pub fn output(&self) -> Option<&str> {
                self.0.output()
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
    )*};
}

/// What can be asked of errors of tasks that may not have been accepted.
macro_rules! of_submissions {
    ($($name:ident)*) => {$(
        impl $name {
            /// The queue was full, and nothing was handed to the pool.
            pub fn is_queue_full(&self) -> bool {
                matches!(self.0.cause, Cause::QueueFull { .. } | Cause::QueueFullOfBytes { .. })
            }
        }
    )*};
}

task_errors! {
    /// Why a task was not accepted.
    ///
    /// ```
    /// use procpool::{SubmitError, SubmitErrorKind};
    ///
    /// fn status(error: &SubmitError) -> u16 {
    ///     match error.kind() {
    ///         SubmitErrorKind::QueueFull => 429,
    ///         SubmitErrorKind::TooLarge => 413,
    ///         SubmitErrorKind::Deadline => 504,
    ///         SubmitErrorKind::ShutDown | SubmitErrorKind::Broken => 503,
    ///         _ => 500,
    ///     }
    /// }
    /// ```
    SubmitError
    /// Why a task has no result.
    ///
    /// A service answers by the [kind](Self::kind), and logs the text, which is one line:
    ///
    /// ```
    /// use procpool::{TaskError, TaskErrorKind};
    ///
    /// fn status(error: &TaskError) -> u16 {
    ///     match error.kind() {
    ///         TaskErrorKind::Panic | TaskErrorKind::Codec => 422, // this input is to blame
    ///         TaskErrorKind::WorkerDeath if is_memory(error) => 413,
    ///         TaskErrorKind::WorkerDeath => 502,
    ///         TaskErrorKind::Timeout | TaskErrorKind::Deadline => 504,
    ///         TaskErrorKind::TooLarge => 413,
    ///         TaskErrorKind::ShutDown | TaskErrorKind::Broken => 503,
    ///         _ => 500, // kinds may be added
    ///     }
    /// }
    ///
    /// fn is_memory(error: &TaskError) -> bool {
    ///     error.worker_death().is_some_and(|death| death.is_memory_limit())
    /// }
    /// ```
    ///
    /// Other methods return the details:
    ///
    /// ```
    /// fn explain(error: &procpool::TaskError) -> String {
    ///     if let Some(death) = error.worker_death() {
    ///         format!("pid {} died: {:?}", death.pid(), death.signal())
    ///     } else if let Some(panic) = error.panic() {
    ///         format!("{} at {:?}", panic.message(), panic.location())
    ///     } else {
    ///         error.to_string()
    ///     }
    /// }
    /// ```
    TaskError
    /// A [`SubmitError`] or a [`TaskError`]: what [`run`](crate::ProcessPoolExecutor::run) can
    /// meet.
    RunError
}

of_accepted_tasks! { TaskError RunError }
of_submissions! { SubmitError RunError }

debug_as_text! { SubmitError TaskError RunError }

impl SubmitError {
    /// Why it was not accepted, as an enum to match on, to count or to send. Each kind also has a
    /// predicate, such as [`is_queue_full`](Self::is_queue_full).
    pub fn kind(&self) -> SubmitErrorKind {
        self.0.cause.submission_kind()
    }

    pub(crate) fn new(report: ErrorReport) -> Self {
        Self(Arc::new(report))
    }

    /// The same error of a task that has this label.
    pub(crate) fn labelled(self, label: Option<&Arc<str>>) -> Self {
        Self(self.0.labelled(label))
    }
}

impl TaskError {
    pub(crate) fn new(report: ErrorReport) -> Self {
        Self(Arc::new(report))
    }

    /// The same error of a task that has this label.
    pub(crate) fn labelled(self, label: Option<&Arc<str>>) -> Self {
        Self(self.0.labelled(label))
    }

    /// Whether its user may have the task begun again. A replaced worker is no wish of the user's.
    pub(crate) fn may_be_retried(&self) -> bool {
        self.is_panic()
            || self.is_worker_death()
            || self.is_host_lost()
            || self.is_timeout()
            || matches!(self.0.cause, Cause::Replaced)
    }

    /// The same error of another task, which was together with this one.
    pub(crate) fn of(&self, task: TaskId) -> Self {
        let subject = Subject::Task(task, self.0.subject.function());
        Self::new(ErrorReport { subject, ..ErrorReport::clone(&self.0) })
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
