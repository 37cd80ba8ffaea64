//! Whether a pool serves, in one word, and why not.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::error::BrokenProcessPool;
use crate::error::text::OneLine;
use crate::pool::shutdown::CloseReason;

/// Whether a pool serves tasks at this moment; what
/// [`ProcessPoolExecutor::health`](crate::ProcessPoolExecutor::health) returns. Its `Display` is
/// one line, with the reason.
///
/// | state | [`is_alive`](Self::is_alive) | [`is_ready`](Self::is_ready) |
/// |---|---|---|
/// | `Starting` | yes | no |
/// | `Ready` | yes | yes |
/// | `Degraded` | yes | if a worker is ready |
/// | `ShuttingDown` | yes | no |
/// | `ShutDown`, `RuntimeGone`, `Broken` | no | no |
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// The first of the [`min_workers`](crate::Builder::min_workers) are starting, and none has
    /// been ready yet. Tasks are accepted, and wait.
    #[default]
    Starting,
    /// Tasks run, or a worker starts for them as soon as there are any. A pool without
    /// [`min_workers`](crate::Builder::min_workers) is ready before it has a worker.
    Ready,
    /// Tasks are accepted, but the pool has fewer workers than it wants, and cannot start more at
    /// this moment. It goes on trying. If no worker is ready, tasks wait. If all tries fail, the
    /// pool is broken.
    #[non_exhaustive]
    Degraded {
        /// The workers that are ready.
        workers_ready: usize,
        /// Why the last worker did not start, what a host waits for, or that a worker is
        /// [stuck](crate::WorkerState::Stuck), for people to read.
        reason: String,
    },
    /// No more tasks are accepted. Those that were accepted are not over yet.
    ShuttingDown,
    /// The pool was shut down, and all of its tasks are over.
    ShutDown,
    /// The runtime on which the pool was built has ended, and the pool with it.
    RuntimeGone,
    /// All tasks fail, and this does not change. Only another pool helps.
    #[non_exhaustive]
    Broken {
        /// Why, for people to read. [`closed`](crate::ProcessPoolExecutor::closed) has it as an
        /// error.
        reason: String,
    },
}

impl Health {
    /// For a liveness probe. It is false if only another pool, or another process, helps. It is
    /// true during a shutdown, so that nobody ends the process while tasks are still running.
    pub fn is_alive(&self) -> bool {
        !matches!(self, Self::ShutDown | Self::RuntimeGone | Self::Broken { .. })
    }

    /// For a readiness probe. It is true if a task that is submitted now is accepted, and finds a
    /// worker or gets one as soon as it has started. It says nothing about how many tasks
    /// [wait](crate::PoolStats::waiting).
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Ready => true,
            Self::Degraded { workers_ready, .. } => *workers_ready > 0,
            _ => false,
        }
    }

    /// The state in lower case, without a reason: `starting`, `ready`, `degraded`,
    /// `shutting_down`, `shut_down`, `runtime_gone` or `broken`; for example for a label of a
    /// metric.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded { .. } => "degraded",
            Self::ShuttingDown => "shutting_down",
            Self::ShutDown => "shut_down",
            Self::RuntimeGone => "runtime_gone",
            Self::Broken { .. } => "broken",
        }
    }

    /// Of a pool that accepts no more.
    pub(crate) fn of_closed(reason: &CloseReason, is_over: bool) -> Self {
        match reason {
            CloseReason::Broken(BrokenProcessPool(cause)) => {
                Self::Broken { reason: cause.to_string() }
            }
            CloseReason::RuntimeGone => Self::RuntimeGone,
            CloseReason::ShutDown if is_over => Self::ShutDown,
            CloseReason::ShutDown => Self::ShuttingDown,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Degraded { reason, .. } => write!(OneLine(f), "degraded: {reason}"),
            Self::ShuttingDown => f.write_str("shutting down"),
            Self::ShutDown => f.write_str("shut down"),
            Self::RuntimeGone => f.write_str("the pool's runtime has ended"),
            Self::Broken { reason } => write!(OneLine(f), "broken: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_lines_is_shown_in_one() {
        let reason = "killed; one\ntwo".to_owned();
        let shown = Health::Broken { reason }.to_string();
        assert_eq!(shown, "broken: killed; one\\ntwo");
    }

    #[test]
    fn what_is_ready_is_alive() {
        let reason = String::new;
        let degraded = |workers_ready| Health::Degraded { workers_ready, reason: reason() };
        for (health, is_alive, is_ready) in [
            (Health::Starting, true, false),
            (Health::Ready, true, true),
            (degraded(0), true, false),
            (degraded(1), true, true),
            (Health::ShuttingDown, true, false),
            (Health::ShutDown, false, false),
            (Health::RuntimeGone, false, false),
            (Health::Broken { reason: reason() }, false, false),
        ] {
            assert_eq!((health.is_alive(), health.is_ready()), (is_alive, is_ready), "{health:?}");
        }
    }
}
