//! What a worker or a process may take of the machine.

use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::sys::resources::{MEASURES_ITSELF, Resource, limit_resource};
use crate::sys::signal::{SIGABRT, SIGXCPU, SIGXFSZ};

/// Limits on what a worker may take of the machine, for [`Builder::limits`](crate::Builder::limits)
/// and [`ProcessBuilder::limits`](crate::ProcessBuilder::limits); the counterpart of the limits in
/// Python's module `resource`. They can be those of [one task](#of-one-task), too.
///
/// They are limits of the system (`setrlimit`). The new process sets them before it runs its
/// initializer or its function. Processes that a task starts inherit them, and each process counts
/// by itself. Nothing that runs there can lift them again, unless it runs as root. A stricter limit
/// that was inherited stays. A fork server and what it preloads have no limits. (The [CPU
/// time](Self::cpu_time) of tasks is different.)
///
/// If the system kills at a limit, the task fails by the death of its worker. The death says so:
/// see [`WorkerDeath::is_cpu_time_limit`](crate::WorkerDeath::is_cpu_time_limit),
/// [`is_memory_limit`](crate::WorkerDeath::is_memory_limit) and
/// [`is_file_size_limit`](crate::WorkerDeath::is_file_size_limit).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), procpool::BuildError> {
/// use std::time::Duration;
///
/// use procpool::{ProcessPoolExecutor, ResourceLimits};
///
/// let limits = ResourceLimits::new()
///     .memory(1 << 30)
///     .cpu_time(Duration::from_secs(10))
///     .file_size(100 << 20)
///     .open_files(256)
///     .core_size(0);
/// let pool = ProcessPoolExecutor::builder().limits(limits).build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
///
/// # Of one task
///
/// [`TaskBuilder::limits`](crate::TaskBuilder::limits) and [`Map::limits`](crate::Map::limits) set
/// limits around one call, in a worker that other tasks use before and after it. They hold from
/// the decoding of the arguments to the encoding of the result. Then the worker has its own limits
/// again. A task that fails by one of them fails alone, and its worker is replaced. The limits of
/// the pool hold, too: where both limit the same, the stricter one counts.
///
/// ```
/// # fn thumbnail(image: Vec<u8>) -> Vec<u8> { image }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// use std::time::Duration;
///
/// use procpool::ResourceLimits;
///
/// // What a customer pays for.
/// let limits = ResourceLimits::new().memory(256 << 20).cpu_time(Duration::from_secs(2));
/// match pool.task(thumbnail, vec![0; 100]).limits(limits).run().await {
///     Err(error) if error.worker_death().is_some_and(|death| death.is_memory_limit()) => {
///         // … was killed by signal 6 (SIGABRT): most likely the task's own memory limit of …
///         eprintln!("the image is too large: {error}");
///     }
///     result => drop(result?),
/// }
/// # Ok(())
/// # }
/// ```
///
/// | limit | of a pool | of one task |
/// |---|---|---|
/// | [`memory`](Self::memory), [`address_space`](Self::address_space) | what the worker takes | what the task *adds* to what its worker takes when the task begins |
/// | [`cpu_time`](Self::cpu_time) | of each task | of this task |
/// | [`file_size`](Self::file_size), [`core_size`](Self::core_size) | of each file | the same |
/// | [`open_files`](Self::open_files) | of the worker | none: the task is refused, as its worker's own descriptors count |
///
/// What counts is the process. Memory that an earlier task has left free in the worker can be used
/// without adding to it. Threads count, and so do those that an earlier task has left behind: they
/// live under the limits of whichever task runs. Processes that the task starts inherit all but the
/// CPU time, each by itself.
///
/// Code that means harm can lift a limit of its task. It cannot lift one of its pool, but for the
/// [CPU time](Self::cpu_time).
///
/// Tasks without limits of their own pay nothing. A limit costs a few microseconds: at most five
/// system calls around the call, and one more the first time in a worker. Memory and CPU time need
/// Linux. Elsewhere a task that limits them is refused, with
/// [`is_unsupported_limit`](crate::SubmitError::is_unsupported_limit).
///
/// In a file it is a table, written as people write [`Settings`](crate::Settings). Formats that are
/// not for people, such as CBOR, have all of it in numbers: bytes, and serde's `Duration`.
///
/// ```
/// use procpool::ResourceLimits;
///
/// let file = r#"{"memory": "256 MiB", "cpu_time": "2s"}"#;
/// let limits: ResourceLimits = serde_json::from_str(file)?;
/// # let two_seconds = std::time::Duration::from_secs(2);
/// # assert_eq!(limits, ResourceLimits::new().memory(256 << 20).cpu_time(two_seconds));
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)] // for the wire; that for people is in `settings`
#[must_use = "hand it to `limits` of a `Builder`, a `ProcessBuilder`, a task or a map"]
pub struct ResourceLimits {
    pub(crate) memory: Option<u64>,
    pub(crate) address_space: Option<u64>,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) file_size: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) core_size: Option<u64>,
}

/// The limit that most likely has ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Memory {
        bytes: u64,
    },
    CpuTime(Duration),
    FileSize {
        bytes: u64,
    },
    /// The memory of its own control group.
    Cgroup,
}

impl ResourceLimits {
    /// No limits. Each can be set, and taken back by `None`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes of private writable memory (`RLIMIT_DATA`). Allocations beyond it fail, which
    /// aborts Rust code. [`Builder::hard_memory_limit`](crate::Builder::hard_memory_limit) is the
    /// same limit, and says more.
    pub fn memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory = bytes.into();
        self
    }

    /// The most bytes of addresses (`RLIMIT_AS`). Programs, libraries, mapped files and memory that
    /// was only reserved count as well. Most likely you want [`memory`](Self::memory) instead,
    /// which is less coarse. If the pool has this limit, large arguments and results go through
    /// pipes, not through [shared memory](crate::Builder::shared_memory). If only a task has it,
    /// the memory that is mapped for its result counts.
    pub fn address_space(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.address_space = bytes.into();
        self
    }

    /// The most CPU time that a task may take, on all threads of its worker together. A task that
    /// takes more is ended by SIGXCPU. Only on Linux.
    ///
    /// Unlike a [timeout](crate::TaskBuilder::timeout) it does not count while the task waits, or
    /// while the machine is busy with others. Each task has all of it, and so has each input of a
    /// [`map`](crate::ProcessPoolExecutor::map), and the exit hook. The preload and the initializer
    /// do not count, nor do processes that a task starts. It is exact to a tick of the system's
    /// clock, some milliseconds. It costs a call of the system for each task, about 0.4
    /// microseconds.
    ///
    /// A task can ignore the signal. Use it against bugs; against hostile code use a timeout.
    ///
    /// For a [`Process`](crate::Process) it is the most in its whole life, as the system counts it
    /// (`RLIMIT_CPU`). It is rounded up to seconds. The system counts by which process runs at the
    /// ticks of its clock, which may be far from exact on a busy machine. What the process starts
    /// inherits the limit. A process that ignores the signal is killed a second later.
    pub fn cpu_time(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.cpu_time = limit.into();
        self
    }

    /// The most bytes that a file that is written may have (`RLIMIT_FSIZE`). A task that writes
    /// more is ended by SIGXFSZ. If it handles or ignores that signal, the write fails. Pipes,
    /// sockets and terminals do not count. A result goes through a pipe if the [shared
    /// memory](crate::Builder::shared_memory) for it would be larger than the limit.
    pub fn file_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.file_size = bytes.into();
        self
    }

    /// The most descriptors that may be open at a time (`RLIMIT_NOFILE`). A task that opens more
    /// gets the error "too many open files". Standard input, output and error count. So do up to
    /// four that procpool needs for itself, and a dozen more if arguments or results are large.
    pub fn open_files(mut self, count: impl Into<Option<u64>>) -> Self {
        self.open_files = count.into();
        self
    }

    /// The most bytes of a core file (`RLIMIT_CORE`). With zero, a crash leaves none.
    pub fn core_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.core_size = bytes.into();
        self
    }

    /// With the limits of `earlier` where this has none.
    pub(crate) fn or(self, earlier: Self) -> Self {
        Self {
            memory: self.memory.or(earlier.memory),
            address_space: self.address_space.or(earlier.address_space),
            cpu_time: self.cpu_time.or(earlier.cpu_time),
            file_size: self.file_size.or(earlier.file_size),
            open_files: self.open_files.or(earlier.open_files),
            core_size: self.core_size.or(earlier.core_size),
        }
    }

    /// Sets those of this process that hold from now on to its end.
    pub(crate) fn apply(&self) -> io::Result<()> {
        let limits = [
            (Resource::Core, self.core_size),
            (Resource::Nofile, self.open_files),
            (Resource::Fsize, self.file_size),
            (Resource::As, self.address_space),
            (Resource::Data, self.memory),
        ];
        for (resource, most) in limits {
            if let Some(most) = most {
                limit_resource(resource, most, most)?;
            }
        }
        Ok(())
    }

    /// Limits the CPU time of this process in its whole life. It is killed if it goes on all the
    /// same.
    pub(crate) fn apply_cpu_time(&self) -> io::Result<()> {
        let Some(limit) = self.cpu_time else { return Ok(()) };
        let soft = whole_seconds(limit);
        limit_resource(Resource::Cpu, soft, soft.saturating_add(1))
    }

    /// Why they cannot be those of one task, if they cannot.
    pub(crate) fn refusal_for_task(&self) -> Option<String> {
        self.refusal_where(MEASURES_ITSELF)
    }

    /// Whether processes measure themselves depends on the system.
    fn refusal_where(&self, measured: bool) -> Option<String> {
        if self.open_files.is_some() {
            let text = "`open_files` cannot be limited for one task, as its worker's own \
                        descriptors count: limit them for the pool, by `Builder::limits`";
            return Some(text.to_owned());
        }
        let limits = [
            ("memory", self.memory.is_some()),
            ("address_space", self.address_space.is_some()),
            ("cpu_time", self.cpu_time.is_some()),
        ];
        let (name, _) = limits.into_iter().find(|(_, is_set)| *is_set && !measured)?;
        Some(format!("`{name}` can be limited for one task on Linux only"))
    }

    /// Which of them has ended a process, if one has: by this signal, and with these last words.
    /// They are its own, so this is only likely.
    pub(crate) fn exceeded(&self, ended_by: Option<i32>, words: &str) -> Option<Exceeded> {
        /// What Rust says before it aborts.
        const OUT_OF_MEMORY: &str = "memory allocation of ";
        let memory = self.memory.into_iter().chain(self.address_space).min();
        match ended_by? {
            SIGXCPU => self.cpu_time.map(Exceeded::CpuTime),
            SIGXFSZ => self.file_size.map(|bytes| Exceeded::FileSize { bytes }),
            SIGABRT if words.contains(OUT_OF_MEMORY) => {
                memory.map(|bytes| Exceeded::Memory { bytes })
            }
            _ => None,
        }
    }
}

impl Exceeded {
    /// Whether a process would have met this one first. Of memory that cannot be said: what one
    /// limits is a part of what the other does.
    pub(crate) fn is_stricter_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::CpuTime(limit), Self::CpuTime(other)) => limit < other,
            (Self::FileSize { bytes }, Self::FileSize { bytes: other }) => bytes < other,
            _ => false,
        }
    }

    /// For people, as a limit that the task had for itself.
    pub(crate) fn of_task(self) -> String {
        match self {
            Self::Memory { bytes } => {
                format!("most likely the task's own memory limit of {bytes} bytes")
            }
            limit => format!("the task's own {limit}"),
        }
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes } => write!(f, "most likely its memory limit of {bytes} bytes"),
            Self::CpuTime(limit) => write!(f, "CPU time limit of {limit:?}"),
            Self::FileSize { bytes } => write!(f, "file size limit of {bytes} bytes"),
            Self::Cgroup => f.write_str("no memory left in its own control group"),
        }
    }
}

/// What the system counts in, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_limits_count_each_by_itself() {
        let earlier = ResourceLimits::new().memory(1).file_size(2);
        let both = ResourceLimits::new().memory(3).open_files(4).or(earlier);
        assert_eq!(both, ResourceLimits::new().memory(3).file_size(2).open_files(4));
    }

    #[test]
    fn only_a_limit_that_was_set_is_said_to_have_ended_a_process() {
        let limits = ResourceLimits::new()
            .memory(5)
            .address_space(4)
            .cpu_time(Duration::from_secs(10))
            .file_size(6);
        let words = "memory allocation of 7 bytes failed";
        let told = |limits: ResourceLimits, signal, words| {
            limits.exceeded(signal, words).map(|exceeded| exceeded.to_string())
        };
        let cases = [
            (SIGXCPU, "", "CPU time limit of 10s"),
            (SIGXFSZ, "", "file size limit of 6 bytes"),
            (SIGABRT, words, "most likely its memory limit of 4 bytes"),
        ];
        for (signal, words, text) in cases {
            assert_eq!(told(limits, Some(signal), words).as_deref(), Some(text));
            assert_eq!(told(ResourceLimits::new(), Some(signal), words), None);
        }
        assert_eq!(told(limits, Some(SIGABRT), "a panic in a destructor"), None);
        assert_eq!(told(limits, None, words), None);
    }

    #[test]
    fn what_cannot_be_limited_for_one_task_is_refused() {
        let new = ResourceLimits::new;
        let refused = |limits: ResourceLimits| limits.refusal_where(false).unwrap_or_default();
        let anywhere = new().file_size(1).core_size(0);
        assert_eq!((refused(anywhere), anywhere.refusal_for_task()), (String::new(), None));
        let measured = [
            (new().memory(1), "memory"),
            (new().address_space(1), "address_space"),
            (new().cpu_time(Duration::ZERO), "cpu_time"),
        ];
        for (limits, name) in measured {
            assert_eq!(limits.refusal_where(true), None);
            let text = format!("`{name}` can be limited for one task on Linux only");
            assert_eq!(refused(limits.file_size(1)), text);
        }
        let text = new().open_files(1).refusal_where(true).unwrap();
        assert!(text.starts_with("`open_files` cannot be limited for one task"), "{text}");
    }

    #[test]
    fn time_is_rounded_up_to_what_the_system_counts_in() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([0, 1, 1000, 1001].map(seconds), [0, 1, 1, 2]);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
