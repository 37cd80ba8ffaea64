//! Why a worker did not become ready, and how that, or a death, breaks a pool.

use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::host::HostLoss;
use super::kind::BrokenKind;
use super::refusal::Refusal;
use super::text::{OneLine, debug_as_text, one_line};
use super::worker::{PoolProcess, WorkerDeath};
use crate::sys::resources::is_shortage;
use crate::wire::hello::{FarFailure, FarFailureClass};
use crate::wire::message::{HookFailure, HookStage, InitFailure};
use crate::wire::role::TRY_AGAIN;

/// The pool cannot go on. Its workers cannot be started or initialized, one died or was lost under
/// [`OnWorkerDeath::Break`](crate::OnWorkerDeath::Break), or it was
/// [aborted](crate::ProcessPoolExecutor::abort). It is the counterpart of Python's exception of the
/// same name.
#[derive(Clone)]
pub struct BrokenProcessPool(pub(crate) BrokenCause);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum BrokenCause {
    #[error(transparent)]
    WorkerDied(WorkerDeath),
    #[error(transparent)]
    HostLost(HostLoss),
    #[error(transparent)]
    Start(StartError),
    #[error(transparent)]
    Aborted(AbortReason),
}

/// What the user says, in place of which it stands in an error.
#[derive(Clone, Debug)]
pub(crate) struct AbortReason(Arc<dyn Error + Send + Sync>);

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for AbortReason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl BrokenCause {
    pub(crate) fn aborted(reason: Box<dyn Error + Send + Sync>) -> Self {
        Self::Aborted(AbortReason(reason.into()))
    }
}

debug_as_text! { BrokenProcessPool }

impl fmt::Display for BrokenProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "the process pool is broken: {}", self.0)
    }
}

impl Error for BrokenProcessPool {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl BrokenProcessPool {
    /// What broke it, as an enum to match on, to count or to send.
    pub fn kind(&self) -> BrokenKind {
        match &self.0 {
            BrokenCause::WorkerDied(_) => BrokenKind::WorkerDeath,
            BrokenCause::HostLost(_) => BrokenKind::Unreachable,
            BrokenCause::Start(error) => error.kind(),
            BrokenCause::Aborted(_) => BrokenKind::Aborted,
        }
    }

    /// The death that broke the pool, if it was one.
    pub fn worker_death(&self) -> Option<&WorkerDeath> {
        match &self.0 {
            BrokenCause::WorkerDied(death)
            | BrokenCause::Start(StartError::Died { death, .. } | StartError::ServerLost(death)) => {
                Some(death)
            }
            BrokenCause::HostLost(_) | BrokenCause::Start(_) | BrokenCause::Aborted(_) => None,
        }
    }

    /// The loss of a host that broke the pool, if it was one.
    pub fn host_loss(&self) -> Option<&HostLoss> {
        match &self.0 {
            BrokenCause::HostLost(loss) | BrokenCause::Start(StartError::HostLost(loss)) => {
                Some(loss)
            }
            _ => None,
        }
    }

    /// The reason that [`abort`](crate::ProcessPoolExecutor::abort) was given, if that broke the
    /// pool. `downcast_ref` makes it an error of yours again.
    pub fn abort_reason(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.0 {
            BrokenCause::Aborted(AbortReason(reason)) => Some(&**reason),
            BrokenCause::WorkerDied(_) | BrokenCause::HostLost(_) | BrokenCause::Start(_) => None,
        }
    }

    /// The process id of the worker that died, or did not become ready. `None` if there was no
    /// process, or if it was the wrong program.
    pub fn pid(&self) -> Option<u32> {
        match &self.0 {
            BrokenCause::WorkerDied(death) => Some(death.pid()),
            BrokenCause::HostLost(loss) => Some(loss.pid()),
            BrokenCause::Start(error) => error.pid(),
            BrokenCause::Aborted(_) => None,
        }
    }

    /// The initializer failed: it panicked, returned an error, or took too long.
    pub fn is_initializer_failure(&self) -> bool {
        self.kind() == BrokenKind::Initializer
    }

    /// The [preload](crate::Builder::preload) failed: it panicked, returned an error, took too
    /// long, or has left threads behind, so that no workers can be forked.
    pub fn is_preload_failure(&self) -> bool {
        self.kind() == BrokenKind::Preload
    }

    /// A hook around a fork failed, such as one of [`Builder::after_fork`]: it panicked, returned
    /// an error, or has left threads behind in the fork server.
    ///
    /// [`Builder::after_fork`]: crate::Builder::after_fork
    pub fn is_fork_hook_failure(&self) -> bool {
        self.kind() == BrokenKind::ForkHook
    }
}

/// Why a worker did not become ready.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to start the worker program `{}`: {error}{hint}", one_line(.program))]
    Spawn { program: String, error: Arc<io::Error>, hint: String },
    /// What it has printed comes last, so that nobody takes our advice for a part of that. It is
    /// told, as no task has run there.
    #[error("{death}{hint}{}", .death.last_words())]
    Died { death: WorkerDeath, hint: String },
    #[error("{0}")]
    Refused(Refusal),
    #[error("the initializer `{function}` {failure}")]
    Initializer { function: &'static str, failure: InitializerFailure },
    /// The fork server was up, and has not forked the worker. Another one will be started.
    #[error("{0}")]
    ServerLost(WorkerDeath),
    #[error("the preload `{function}` {failure}")]
    Preload { function: &'static str, failure: InitializerFailure },
    #[error("the `{stage}` hook `{function}` {failure}")]
    Hook { stage: HookStage, function: &'static str, failure: InitializerFailure },
    #[error("{place} cannot fork workers: {}", one_line(.reason))]
    CannotFork { place: PoolProcess, reason: String, after_hooks: bool },
    #[error("{place} cannot enter its sandbox: {}", one_line(.reason))]
    NoSandbox { place: PoolProcess, reason: String },
    #[error("{place} was not ready within {limit:?}{hint}")]
    Timeout { place: PoolProcess, limit: Duration, hint: String },
    /// What has happened, on a host of several.
    #[error("on host {host:?}: {error}")]
    Elsewhere { host: Arc<str>, error: Box<Self> },
    /// No process could be started there.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("the host {host:?} cannot be reached: {}", one_line(.reason))]
    Unreachable { host: Arc<str>, reason: Arc<str> },
    /// Its process was there.
    #[error(transparent)]
    HostLost(#[from] HostLoss),
    /// The agent of its host could not start it.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    #[error("{}", one_line(&.0.text))]
    AsAgentSays(FarFailure),
}

/// How an initializer or a preload has failed.
#[derive(Clone, Debug)]
pub(crate) enum InitializerFailure {
    Failed { place: PoolProcess, failure: InitFailure },
    Timeout { place: PoolProcess, limit: Duration },
}

impl fmt::Display for InitializerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { place, failure: InitFailure::Panicked(report) } => {
                write!(OneLine(f), "{report}, in {place}")
            }
            Self::Failed {
                place,
                failure:
                    InitFailure::Failed(message)
                    | InitFailure::CannotFork(message)
                    | InitFailure::NoSandbox(message),
            } => write!(OneLine(f), "failed in {place}: {message}"),
            Self::Timeout { place, limit } => {
                write!(f, "did not end within {limit:?} in {place}")
            }
        }
    }
}

impl StartError {
    /// Of a process that cannot serve, with the name of what has failed before it could, if that
    /// was a function.
    pub(crate) fn refused(place: PoolProcess, function: &'static str, refusal: Refusal) -> Self {
        let failed = |failure| InitializerFailure::Failed { place, failure };
        match refusal {
            Refusal::Preload(InitFailure::CannotFork(reason)) => {
                Self::CannotFork { place, reason, after_hooks: false }
            }
            Refusal::Preload(failure) => Self::Preload { function, failure: failed(failure) },
            Refusal::Initializer(InitFailure::NoSandbox(reason)) => {
                Self::NoSandbox { place, reason }
            }
            Refusal::Initializer(failure) => {
                Self::Initializer { function, failure: failed(failure) }
            }
            Refusal::Hook(HookFailure { failure: InitFailure::CannotFork(reason), .. }) => {
                Self::CannotFork { place, reason, after_hooks: true }
            }
            Refusal::Hook(HookFailure { stage, failure, .. }) => {
                Self::Hook { stage, function, failure: failed(failure) }
            }
            refusal => Self::Refused(refusal),
        }
    }

    /// Of a process whose initializer takes too long.
    pub(crate) fn initializer_timed_out(
        function: &'static str,
        place: PoolProcess,
        limit: Duration,
    ) -> Self {
        Self::Initializer { function, failure: InitializerFailure::Timeout { place, limit } }
    }

    /// Of a process whose preload takes too long.
    pub(crate) fn preload_timed_out(
        function: &'static str,
        place: PoolProcess,
        limit: Duration,
    ) -> Self {
        Self::Preload { function, failure: InitializerFailure::Timeout { place, limit } }
    }

    /// It has happened on that host, unless it says so itself.
    pub(crate) fn on_host(mut self, host: &Arc<str>) -> Self {
        if let Self::Died { death, .. } | Self::ServerLost(death) = &mut self {
            death.on_host(host);
            return self;
        }
        if self.is_of_host() {
            return self;
        }
        Self::Elsewhere { host: Arc::clone(host), error: Box::new(self) }
    }

    pub(crate) fn kind(&self) -> BrokenKind {
        match self {
            Self::Elsewhere { error, .. } => error.kind(),
            Self::Initializer { .. } => BrokenKind::Initializer,
            Self::Preload { .. } | Self::CannotFork { after_hooks: false, .. } => {
                BrokenKind::Preload
            }
            Self::Hook { .. } | Self::CannotFork { after_hooks: true, .. } => BrokenKind::ForkHook,
            Self::NoSandbox { .. } => BrokenKind::Sandbox,
            Self::Timeout { .. } => BrokenKind::StartTimeout,
            Self::Spawn { .. } | Self::Died { .. } | Self::Refused(_) | Self::ServerLost(_) => {
                BrokenKind::Start
            }
            Self::AsAgentSays(failure) => failure.kind.parse().unwrap_or(BrokenKind::Start),
            Self::Unreachable { .. } | Self::HostLost(_) => BrokenKind::Unreachable,
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Died { death, .. } | Self::ServerLost(death) => Some(death.pid()),
            Self::Timeout { place, .. }
            | Self::CannotFork { place, .. }
            | Self::NoSandbox { place, .. } => Some(place.pid()),
            Self::Initializer { failure, .. }
            | Self::Preload { failure, .. }
            | Self::Hook { failure, .. } => match failure {
                InitializerFailure::Failed { place, .. }
                | InitializerFailure::Timeout { place, .. } => Some(place.pid()),
            },
            Self::HostLost(loss) => Some(loss.pid()),
            Self::Elsewhere { error, .. } => error.pid(),
            Self::Spawn { .. }
            | Self::Refused(_)
            | Self::Unreachable { .. }
            | Self::AsAgentSays(_) => None,
        }
    }

    /// Whether every other worker would meet the same.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::Spawn { error, .. } => matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
            ),
            Self::Refused(_) | Self::CannotFork { .. } | Self::NoSandbox { .. } => true,
            Self::Elsewhere { error, .. } => error.is_fatal(),
            Self::AsAgentSays(failure) => failure.class == FarFailureClass::Fatal,
            _ => false,
        }
    }

    /// Whether what runs before the first task is to blame, which may need something that is not
    /// there at the moment.
    pub(crate) fn is_initialization(&self) -> bool {
        match self {
            Self::Initializer { .. }
            | Self::Preload { .. }
            | Self::Hook { .. }
            | Self::Timeout { .. } => true,
            Self::Elsewhere { error, .. } => error.is_initialization(),
            Self::AsAgentSays(failure) => failure.class == FarFailureClass::Initialization,
            _ => false,
        }
    }

    /// Whether its host is to blame, which says nothing of other hosts.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::HostLost(_))
    }

    /// Whether somebody has sent it SIGKILL or SIGTERM. That says little about the next start.
    pub(crate) fn is_killing(&self) -> bool {
        matches!(self, Self::Died { death, .. }
            if death.was_killed_from_outside() || death.was_asked_to_end())
    }

    /// Whether it says nothing about the next start: what was to start it has died, and many
    /// workers at once may have met that; or the machine was short of something, which may be there
    /// again in a moment.
    pub(crate) fn is_accident(&self) -> bool {
        match self {
            Self::Spawn { error, .. } => is_shortage(error),
            Self::Died { death, .. } => death.exit_code() == Some(TRY_AGAIN),
            Self::ServerLost(_) => true,
            Self::Elsewhere { error, .. } => error.is_accident(),
            Self::AsAgentSays(failure) => failure.class == FarFailureClass::Accident,
            _ => false,
        }
    }
}
