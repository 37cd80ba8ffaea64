//! What the control group of a process gives it.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// A control group (cgroup, version 2) for each process, for
/// [`Builder::cgroup`](crate::Builder::cgroup) and
/// [`ProcessBuilder::cgroup`](crate::ProcessBuilder::cgroup). Its limits are for a worker together
/// with all that its tasks start.
///
/// Each limit is written to the [file of the group][files] with that name.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), procpool::BuildError> {
/// use procpool::{Cgroup, ProcessPoolExecutor};
///
/// let each = Cgroup::new()
///     .memory_max(512 << 20) // bytes
///     .cpu_max(1.5) // CPUs
///     .pids_max(64) // processes and threads
///     .set("cpu.weight", 20);
/// let pool = ProcessPoolExecutor::builder().cgroup(each).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
///
/// It is a serde type: [`Settings`](crate::Settings) says how it is written in a file.
///
/// [files]: https://docs.kernel.org/admin-guide/cgroup-v2.html#controllers
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "hand it to `Builder::cgroup` or `ProcessBuilder::cgroup`"]
pub struct Cgroup {
    parent: Option<PathBuf>,
    /// Files with what is written to them, by their names.
    values: Vec<(Cow<'static, str>, String)>,
}

impl Cgroup {
    /// No limits. Even so, a group ends as a whole: whatever a task has started ends with its
    /// worker, even in a session of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// `memory.max`: the most bytes that the group may have. Cached pages of files that it has read
    /// or written count as well. When the group needs more, and the kernel can reclaim nothing, it
    /// kills the whole group at once (`memory.oom.group`). The task fails, the error [says
    /// why](crate::WorkerDeath::is_out_of_memory), and no other task is affected.
    ///
    /// Memory that is swapped out does not count. Where there is swap, also set `memory.swap.max`.
    pub fn memory_max(self, bytes: u64) -> Self {
        self.set("memory.max", bytes).set("memory.oom.group", 1)
    }

    /// `cpu.max`: how many CPUs the group may use, at least 0.01. They are counted in periods of a
    /// tenth of a second. When the group has used up a period, it waits for the next one.
    pub fn cpu_max(self, cpus: f64) -> Self {
        const PERIOD: f64 = 100_000.0; // microseconds
        self.set("cpu.max", format_args!("{:.0} {PERIOD:.0}", cpus * PERIOD))
    }

    /// `pids.max`: the most processes and threads, the worker's own included. Starting one more
    /// fails with `EAGAIN`. A worker has two or three threads before its task starts any.
    pub fn pids_max(self, count: u64) -> Self {
        self.set("pids.max", count)
    }

    /// Writes a value to a file of the group. The name of the file begins with its controller (`io`
    /// for `io.weight`). That controller has to be delegated, too. A later value for a file
    /// replaces an earlier one.
    pub fn set(mut self, file: impl Into<Cow<'static, str>>, value: impl Display) -> Self {
        let file = file.into();
        self.values.retain(|(name, _)| *name != file);
        let at = self.values.partition_point(|(name, _)| *name < file);
        self.values.insert(at, (file, value.to_string()));
        self
    }

    /// The directory in which the groups of the processes are made. Default: the group that was
    /// delegated to this process; see [`Builder::cgroup`](crate::Builder::cgroup).
    pub fn parent(mut self, directory: impl Into<PathBuf>) -> Self {
        self.parent = Some(directory.into());
        self
    }

    pub(crate) fn home(&self) -> Option<&Path> {
        self.parent.as_deref()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.values.iter().map(|(file, value)| (&**file, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_kernel_reads_them() {
        let group = Cgroup::new().memory_max(1 << 20).cpu_max(1.5).pids_max(9).pids_max(10);
        let values: Vec<_> = group.values().collect();
        let memory = [("memory.max", "1048576"), ("memory.oom.group", "1")];
        let (cpu, pids) = ([("cpu.max", "150000 100000")], [("pids.max", "10")]);
        assert_eq!(values, [&cpu[..], &memory, &pids].concat());
    }
}
