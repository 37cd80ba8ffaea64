//! How a worker process, or a fork server, ended when it should not have.

use std::fmt::{self, Write};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::text::{OneLine, one_line};
use crate::base::log::PREFIX;
use crate::base::{Exceeded, ResourceLimits, TaskId, WorkerId};
use crate::sys::process::Exit;
use crate::sys::signal::{signal_hint, signal_name};
use crate::wire::role::LOST_PARENT;

/// How a worker process ended when it should not have.
#[derive(Clone, Debug)]
pub struct WorkerDeath(Arc<DeathReport>, OomKill);

#[derive(Clone, Debug)]
pub(crate) struct DeathReport {
    pub(crate) process: PoolProcess,
    /// That which has died, or for which the fork server was started.
    pub(crate) worker: WorkerId,
    /// Where it was; `None` for this one, of a pool that knows no other.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) exit: Exit,
    pub(crate) stderr_tail: String,
    /// What the task has printed that ran when it died; or which it was, as far as is known.
    pub(crate) task_output: Option<(RangeInclusive<TaskId>, String)>,
    /// Under which it ran.
    pub(crate) limits: ResourceLimits,
    /// Those that the task had for itself which ran when it died.
    pub(crate) task_limits: Option<Arc<ResourceLimits>>,
    /// What the supervisor did to it, or what it did wrong.
    pub(crate) remark: Option<String>,
}

/// Whether the kernel has killed it for want of memory, by its own count of such kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OomKill {
    Unknown,
    No,
    /// It has killed somebody of this process's control group.
    Likely,
    /// It has killed somebody of the control group that the worker had for itself.
    InOwnGroup,
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
        Self(Arc::new(report), OomKill::Unknown)
    }

    /// A task ran there that had these limits for itself.
    pub(crate) fn in_task(&mut self, limits: Arc<ResourceLimits>) {
        Arc::make_mut(&mut self.0).task_limits = Some(limits);
    }

    /// It was on that host.
    pub(crate) fn on_host(&mut self, host: &Arc<str>) {
        Arc::make_mut(&mut self.0).host = Some(Arc::clone(host));
    }

    /// The worker's id in the pool.
    pub fn worker_id(&self) -> WorkerId {
        self.0.worker
    }

    /// The process id it had.
    pub fn pid(&self) -> u32 {
        self.0.process.pid()
    }

    /// The name of the host that it was on, if its pool has several.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// Its exit code. `None` if a signal ended it. An exit with code 0 is a death, too, if the pool
    /// had not asked for it.
    pub fn exit_code(&self) -> Option<i32> {
        self.0.exit.code
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.0.exit.signal
    }

    /// The last lines of its standard error and standard output, at most 16 KiB. They are the
    /// *worker's*: other tasks may have printed them, for other clients. So log them, and show them
    /// to no client. What the task itself has printed is
    /// [`TaskError::output`](crate::TaskError::output).
    pub fn stderr_tail(&self) -> &str {
        &self.0.stderr_tail
    }

    /// It was ended because a task took more CPU time than
    /// [it may](crate::ResourceLimits::cpu_time), by the limits of its pool or by [its
    /// own](crate::TaskBuilder::limits); the error's text says which.
    ///
    /// ```
    /// fn is_too_expensive(error: &procpool::TaskError) -> bool {
    ///     error.worker_death().is_some_and(|death| death.is_cpu_time_limit())
    /// }
    /// ```
    pub fn is_cpu_time_limit(&self) -> bool {
        matches!(self.exceeded(), Some((Exceeded::CpuTime(_), _)))
    }

    /// It was ended because it wrote more to a file than
    /// [it may](crate::ResourceLimits::file_size), by the limits of its pool or by those of its
    /// task.
    pub fn is_file_size_limit(&self) -> bool {
        matches!(self.exceeded(), Some((Exceeded::FileSize { .. }, _)))
    }

    /// The worker aborted on a failed allocation while a [memory
    /// limit](crate::ResourceLimits::memory) was set, for the pool or for the task. If there were
    /// both, the error's text names the task's. It is detected from the message that Rust prints,
    /// so crashes of other allocators are missed. If it is not known [which task printed
    /// that](crate::OutputLine::task), an earlier task may have printed the message.
    pub fn is_memory_limit(&self) -> bool {
        matches!(self.exceeded(), Some((Exceeded::Memory { .. }, _)))
    }

    /// Linux most likely killed the worker because memory was used up. Two things are known. The
    /// worker got SIGKILL, and not from its pool. And since its start Linux has counted an
    /// out-of-memory kill in this process's control group, which explains no other worker's death.
    /// (Linux counts such kills, and does not say which processes it killed.)
    ///
    /// If the worker has a [control group of its own](crate::Builder::cgroup) with a
    /// [limit](crate::Cgroup::memory_max), this is certain, because all of that group ends at once.
    /// It is false if Linux counts no kill. It is also false if the count cannot be read, and then
    /// the error's text says so.
    ///
    /// The limit was most likely that of the container or the systemd unit.
    /// [`oom_score_adj`](crate::Builder::oom_score_adj) decides which of its processes Linux kills.
    ///
    /// ```
    /// fn may_be_tried_again(error: &procpool::TaskError) -> bool {
    ///     error.worker_death().is_some_and(|death| !death.is_out_of_memory())
    /// }
    /// ```
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.1, OomKill::Likely | OomKill::InOwnGroup)
    }

    /// By the count of a control group that was its own, if there was one.
    pub(crate) fn in_own_cgroup(self, was_oom: impl FnOnce() -> Option<bool>) -> Self {
        let was_oom = if self.was_killed_from_outside() { was_oom() } else { None };
        let kill = |was| if was { OomKill::InOwnGroup } else { OomKill::No };
        let kill = was_oom.map_or(self.1, kill);
        Self(self.0, kill)
    }

    /// By what has happened in this process's control group, if there is no better witness.
    pub(crate) fn explain(&mut self, was_oom: bool) {
        if self.1 == OomKill::Unknown {
            self.1 = if was_oom { OomKill::Likely } else { OomKill::No };
        }
    }

    /// What a task that ran there has printed, as far as it is known to be that one's.
    pub(super) fn output_of(&self, task: TaskId) -> Option<&str> {
        let (tasks, output) = self.0.task_output.as_ref()?;
        (*tasks == (task..=task)).then_some(output)
    }

    /// What that task has printed last, or one of the items before it in its chunk, behind words
    /// that lead there; nothing if that is not known.
    pub(super) fn last_words_of(&self, task: TaskId) -> String {
        let output = self.0.task_output.as_ref();
        let Some((tasks, output)) = output.filter(|(tasks, _)| tasks.contains(&task)) else {
            return String::new();
        };
        let is_sure = tasks.start() == tasks.end();
        match last_lines(output.trim_end()) {
            lines if lines.is_empty() => lines,
            lines if is_sure => format!("; its last output was: {lines}"),
            lines => format!("; it, or an item just before it, has printed last: {lines}"),
        }
    }

    /// Which limit has ended it, and whether that was the task's own.
    fn exceeded(&self) -> Option<(Exceeded, bool)> {
        // Another task may have printed what Rust prints when memory is short.
        let own = self.0.task_output.as_ref().map(|(_, output)| output);
        let words = own.unwrap_or(&self.0.stderr_tail);
        let exceeded = |limits: &ResourceLimits| limits.exceeded(self.0.exit.signal, words);
        let of_pool = exceeded(&self.0.limits);
        let of_task = self.0.task_limits.as_deref().and_then(exceeded);
        let of_task =
            of_task.filter(|own| !of_pool.is_some_and(|of_pool| of_pool.is_stricter_than(*own)));
        of_task.map(|limit| (limit, true)).or(of_pool.map(|limit| (limit, false)))
    }

    /// SIGKILL from nowhere is how Linux ends a process that takes too much memory.
    pub(crate) fn was_killed_from_outside(&self) -> bool {
        self.was_killed() && self.0.remark.is_none() && self.loss().is_none()
    }

    /// Why it could not talk to its parent any more, if it has ended itself for that: then its last
    /// line says so. Only the number in it is taken, as a task may have printed the line.
    fn loss(&self) -> Option<String> {
        let last = self.0.stderr_tail.trim_end().lines().next_back()?;
        let reason = last.strip_prefix(PREFIX)?.strip_prefix(LOST_PARENT)?.strip_prefix(": ")?;
        if self.0.exit.code == Some(0) || self.0.remark.is_some() {
            return None;
        }
        let number = reason.strip_suffix(')').and_then(|text| text.rsplit_once("(os error "));
        let error = number.and_then(|(_, number)| number.parse().ok());
        Some(error.map_or_else(String::new, |number| {
            format!(" ({})", io::Error::from_raw_os_error(number))
        }))
    }

    fn write_ending(&self, text: &mut impl Write) -> fmt::Result {
        let report = &*self.0;
        match report.process {
            PoolProcess::Worker(pid) => write!(text, "{} (pid {pid}) ", report.worker)?,
            server @ PoolProcess::ForkServer(_) => write!(text, "{server} ")?,
        }
        if let Some(host) = &report.host {
            write!(text, "on {host:?} ")?;
        }
        match (report.exit.signal, report.exit.code) {
            (Some(signal), _) => {
                write!(text, "was killed by signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(text, " ({name})")?;
                }
            }
            (None, Some(code)) => write!(text, "exited unexpectedly with code {code}")?,
            (None, None) => text.write_str("died")?,
        }
        match self.exceeded() {
            Some((limit, true)) => write!(text, ": {}", limit.of_task())?,
            Some((limit, false)) => write!(text, ": {limit}")?,
            None => {}
        }
        text.write_str(report.exit.signal.map_or("", signal_hint))?;
        if self.was_killed_from_outside() {
            text.write_str(match self.1 {
                OomKill::InOwnGroup => {
                    ", by the kernel for want of memory in its own control group"
                }
                OomKill::Likely => {
                    ", most likely by the kernel for want of memory, as it has killed a process of \
                     this control group for that since this one was started"
                }
                OomKill::No => "; the kernel has killed none of this control group for its memory",
                OomKill::Unknown => "; was the machine out of memory?",
            })?;
        }
        if let Some(reason) = self.loss() {
            write!(
                text,
                "; it ended itself, as it could not talk to its parent any more{reason}: has a \
                 task closed descriptors that are not its own?"
            )?;
        }
        report.remark.as_ref().map_or(Ok(()), |remark| write!(text, "; {remark}"))
    }

    /// What it has printed last, in one line, behind words that lead there; nothing if that is
    /// nothing. It may be the output of any task, so it is for an error only if none has run.
    pub(crate) fn last_words(&self) -> String {
        match last_lines(&self.0.stderr_tail) {
            lines if lines.is_empty() => String::new(),
            lines => format!("; its last output was: {lines}"),
        }
    }

    /// Whether somebody has sent it SIGKILL, be it this process.
    pub(crate) fn was_killed(&self) -> bool {
        self.0.exit.signal == Some(9)
    }

    /// Whether it was asked to end, and that is all that is known of its end.
    pub(crate) fn was_asked_to_end(&self) -> bool {
        self.0.exit.signal == Some(15) && self.0.remark.is_none()
    }
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_ending(&mut OneLine(f))
    }
}

impl std::error::Error for WorkerDeath {}

/// As much of a worker's output as is put into a message: as many lines as a panic of `assert_eq!`
/// has, in one. Without backtraces, whose frames would push out the message that they belong to.
fn last_lines(text: &str) -> String {
    const LINES: usize = 5;
    const BYTES: usize = 1_000;
    let mut in_backtrace = false;
    let lines = text.lines().filter(|line| {
        in_backtrace = *line == "stack backtrace:" || in_backtrace && line.starts_with(' ');
        let is_note = line.starts_with("note: run with `RUST_BACKTRACE");
        !in_backtrace && !is_note && !line.trim().is_empty()
    });
    let lines: Vec<_> = lines.collect();
    let lines = lines[lines.len().saturating_sub(LINES)..].join("\n");
    let line = one_line(lines.trim_end());
    match line.len().checked_sub(BYTES) {
        Some(surplus @ 1..) => format!("…{}", &line[line.ceil_char_boundary(surplus)..]),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(exit: Exit, tail: &str) -> WorkerDeath {
        WorkerDeath::new(DeathReport {
            process: PoolProcess::Worker(7),
            worker: WorkerId(1),
            host: None,
            exit,
            stderr_tail: tail.to_owned(),
            task_output: None,
            limits: ResourceLimits::new(),
            task_limits: None,
            remark: None,
        })
    }

    #[test]
    fn a_worker_that_has_lost_its_parent_was_not_killed_for_want_of_memory() {
        let killed = Exit { code: None, signal: Some(9) };
        assert_eq!(
            death(killed, "").to_string(),
            "worker 1 (pid 7) was killed by signal 9 (SIGKILL); was the machine out of memory?"
        );
        let line = "procpool: a worker has lost its parent: Bad file descriptor (os error 9)";
        let lost = death(killed, &format!("a line\n{line}\n"));
        assert_eq!(
            lost.to_string(),
            "worker 1 (pid 7) was killed by signal 9 (SIGKILL); it ended itself, as it could \
                 not talk to its parent any more (Bad file descriptor (os error 9)): has a task \
                 closed descriptors that are not its own?"
        );
        assert!(!lost.was_killed_from_outside());
        // What a task has printed before it was killed says nothing.
        assert!(death(killed, &format!("{line}\na line")).was_killed_from_outside());
    }

    #[test]
    fn where_a_worker_was_is_told() {
        let mut death = death(Exit { code: Some(3), signal: None }, "");
        assert_eq!(death.host(), None);
        death.on_host(&"node\n1".into());
        assert_eq!(death.host(), Some("node\n1"));
        assert_eq!(
            death.to_string(),
            "worker 1 (pid 7) on \"node\\n1\" exited unexpectedly with code 3"
        );
    }

    #[test]
    fn what_another_task_has_printed_is_no_reason() {
        let aborted = Exit { code: None, signal: Some(6) };
        let report = |own: Option<&str>| DeathReport {
            stderr_tail: "memory allocation of 8 bytes failed\n".to_owned(),
            task_output: own.map(|own| (TaskId(2)..=TaskId(2), own.to_owned())),
            limits: ResourceLimits::new().memory(1 << 30),
            ..DeathReport::clone(&death(aborted, "").0)
        };
        assert!(WorkerDeath::new(report(None)).is_memory_limit());
        assert!(!WorkerDeath::new(report(Some(""))).is_memory_limit());
        let own = Some("memory allocation of 8 bytes failed");
        assert!(WorkerDeath::new(report(own)).is_memory_limit());
    }

    #[test]
    fn of_two_limits_the_one_that_was_met_is_told() {
        let new = ResourceLimits::new;
        let told = |signal, of_pool, of_task| {
            let report = DeathReport {
                stderr_tail: "memory allocation of 8 bytes failed".to_owned(),
                limits: of_pool,
                ..DeathReport::clone(&death(Exit { code: None, signal: Some(signal) }, "").0)
            };
            let mut death = WorkerDeath::new(report);
            death.in_task(Arc::new(of_task));
            death.to_string().rsplit_once("): ").map(|(_, limit)| limit.to_owned())
        };
        let (cpu, file, memory) = (24, 25, 6);
        let seconds = |seconds| new().cpu_time(std::time::Duration::from_secs(seconds));
        let cases = [
            (cpu, seconds(2), seconds(1), "the task's own CPU time limit of 1s"),
            (cpu, seconds(1), seconds(1), "the task's own CPU time limit of 1s"),
            (cpu, seconds(1), seconds(2), "CPU time limit of 1s"),
            (cpu, new(), seconds(2), "the task's own CPU time limit of 2s"),
            (cpu, seconds(2), new(), "CPU time limit of 2s"),
            (file, new().file_size(5), new().file_size(6), "file size limit of 5 bytes"),
            (
                file,
                new().file_size(6),
                new().file_size(5),
                "the task's own file size limit of 5 bytes",
            ),
            (
                memory,
                new().memory(1),
                new().memory(7),
                "most likely the task's own memory limit of 7 bytes",
            ),
            (memory, new().memory(1), new(), "most likely its memory limit of 1 bytes"),
        ];
        for (signal, of_pool, of_task, text) in cases {
            assert_eq!(told(signal, of_pool, of_task).as_deref(), Some(text));
        }
        assert_eq!(told(cpu, new(), new().memory(7)), None);
    }

    #[test]
    fn the_last_lines_of_a_worker_are_quoted_in_one() {
        let lines: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert_eq!(last_lines(&lines.join("\n")), "25\\n26\\n27\\n28\\n29");
        assert_eq!(last_lines("one\n\n"), "one");
        assert_eq!(last_lines(" \n"), "");
        assert_eq!(last_lines(&"ß".repeat(600)), format!("…{}", "ß".repeat(500)));
    }

    #[test]
    fn a_backtrace_does_not_push_out_what_it_belongs_to() {
        let frames = "  7: function\n             at ./src/main.rs:1:2\n".repeat(30);
        let text = format!("allocation failed\nstack backtrace:\n{frames}note: that is all\n  end");
        assert_eq!(last_lines(&text), "allocation failed\\nnote: that is all\\n  end");
    }
}
