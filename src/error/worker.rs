//! How a worker process, or a fork server, ended when it should not have.

use std::fmt;
use std::sync::Arc;

use crate::base::{Exceeded, ResourceLimits, WorkerId};
use crate::sys::process::{Exit, signal_name};

/// How a worker process ended when it should not have.
#[derive(Clone, Debug)]
pub struct WorkerDeath(Arc<DeathReport>);

#[derive(Clone, Debug)]
pub(crate) struct DeathReport {
    pub(crate) process: PoolProcess,
    /// That which has died, or for which the fork server was started.
    pub(crate) worker: WorkerId,
    pub(crate) exit: Exit,
    pub(crate) stderr_tail: String,
    /// Under which it ran.
    pub(crate) limits: ResourceLimits,
    /// What the supervisor did to it, or what it did wrong.
    pub(crate) remark: Option<String>,
}

/// A process of a pool, by its process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolProcess {
    Worker(u32),
    ForkServer(u32),
}

impl PoolProcess {
    pub(super) fn pid(self) -> u32 {
        let (Self::Worker(pid) | Self::ForkServer(pid)) = self;
        pid
    }
}

impl fmt::Display for PoolProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(pid) => write!(f, "a worker (pid {pid})"),
            Self::ForkServer(pid) => write!(f, "the fork server (pid {pid})"),
        }
    }
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
        self.0.process.pid()
    }

    /// Its exit code, unless a signal ended it. An exit with code 0 is a death, too, if the pool
    /// had not asked for it.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit.code
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.0.exit.signal
    }

    /// The last lines of its standard error and standard output, at most 16 KiB. The error's own
    /// text has fewer of them, and no backtraces.
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

    /// It was ended because it wrote more to a file than [it
    /// may](crate::ResourceLimits::file_size).
    pub fn is_file_size_limit(&self) -> bool {
        matches!(self.exceeded(), Some(Exceeded::FileSize { .. }))
    }

    /// It has aborted because it got no more memory, and that under a
    /// [limit](crate::ResourceLimits::memory): so that was the reason most likely. The system says
    /// only that it has aborted; the rest is what Rust prints then. Of a worker that other code has
    /// ended for want of memory this is false.
    pub fn is_memory_limit(&self) -> bool {
        matches!(self.exceeded(), Some(Exceeded::Memory { .. }))
    }

    fn exceeded(&self) -> Option<Exceeded> {
        self.0.limits.exceeded(self.0.exit.signal, &self.0.stderr_tail)
    }

    /// SIGKILL from nowhere is how Linux ends a process that takes too much memory.
    pub(crate) fn was_killed_from_outside(&self) -> bool {
        self.0.exit.signal == Some(9) && self.0.remark.is_none()
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.0;
        match report.process {
            PoolProcess::Worker(pid) => write!(f, "{} (pid {pid}) ", report.worker)?,
            server @ PoolProcess::ForkServer(_) => write!(f, "{server} ")?,
        }
        match (report.exit.signal, report.exit.code) {
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

/// As much of a worker's output as is put into a message. Without backtraces: their frames would
/// push out the message that they belong to.
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
