//! The configuration of a pool.

use std::time::Duration;

use crate::error::BuildError;
use crate::executor::command::WorkerCommand;
use crate::executor::pool::ProcessPoolExecutor;
use crate::parent::{WorkerOutput, program_limits, program_settings};
use crate::pool::{Configuration, OnWorkerDeath};
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;

impl ProcessPoolExecutor {
    /// A pool with the default settings: as many workers as this process may use CPUs, started when
    /// there is work for them.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Configures a pool.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// Configures a [`ProcessPoolExecutor`]; see [`ProcessPoolExecutor::builder`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), procpool::BuildError> {
/// use std::time::Duration;
///
/// let pool = procpool::ProcessPoolExecutor::builder()
///     .max_workers(4)
///     .queue_capacity(1_000)
///     .grace_period(Duration::from_millis(200))
///     .env("RUST_BACKTRACE", "1")
///     .build()?;
/// # drop(pool);
/// # Ok(())
/// # }
/// ```
///
/// What is nothing by default takes `None`, too: so a setting that a builder has is taken back in
/// its clone.
///
/// ```
/// # use std::time::Duration;
/// let builder = procpool::ProcessPoolExecutor::builder().default_timeout(Duration::from_secs(5));
/// let patient = builder.clone().default_timeout(None);
/// # drop((builder, patient));
/// ```
///
/// # All settings and their defaults
///
/// | setting | default | what it says |
/// |---|---|---|
/// | **[Workers](#workers)** | | |
/// | [`max_workers`](Self::max_workers) | the CPUs that this process may use | the most workers at a time |
/// | [`min_workers`](Self::min_workers) | 0 | workers that are kept without tasks |
/// | [`idle_timeout`](Self::idle_timeout) | never | when a worker without tasks leaves |
/// | [`max_tasks_per_child`](Self::max_tasks_per_child) | no limit | tasks until a worker is replaced |
/// | [`max_memory_per_child`](Self::max_memory_per_child) | no limit | memory at which a worker is replaced |
/// | [`max_age`](Self::max_age) | no limit | age at which a worker is replaced |
/// | [`surge`](Self::surge) | 1 | further processes during a replacement |
/// | **[Tasks](#tasks)** | | |
/// | [`queue_capacity`](Self::queue_capacity) | 10,000 | tasks that may wait |
/// | [`default_timeout`](Self::default_timeout) | none | running time of a task |
/// | [`max_payload`](Self::max_payload) | 1 GiB | bytes of arguments, or of a result |
/// | [`shared_memory`](Self::shared_memory) | 256 MiB, less in a small container | memory for large values |
/// | **[Failures](#failures)** | | |
/// | [`on_worker_death`](Self::on_worker_death) | the worker is replaced | what the death of a worker means |
/// | [`grace_period`](Self::grace_period) | 2 seconds | time to end before SIGKILL |
/// | [`start_timeout`](Self::start_timeout) | 30 seconds | time for the start of a worker |
/// | [`initializer_retries`](Self::initializer_retries) | 8 | further tries of a failed initializer |
/// | **[Limits](#limits)** | | |
/// | [`hard_memory_limit`](Self::hard_memory_limit) | no limit | memory that a worker can allocate |
/// | [`limits`](Self::limits) | those of this process | memory, CPU time, size of files, descriptors |
/// | [`cgroup`](Self::cgroup) | that of this process | a control group for each worker |
/// | [`oom_score_adj`](Self::oom_score_adj) | 1000 | whom Linux kills first when memory is short |
#[cfg_attr(
    feature = "sandbox",
    doc = "| [`sandbox`](Self::sandbox) | none | files, network and processes that tasks may use |"
)]
/// | **[Program and environment](#program-and-environment)** | | |
/// | [`worker_command`](Self::worker_command) | this program | the program that a worker is |
/// | [`env`](Self::env), [`env_remove`](Self::env_remove), [`env_clear`](Self::env_clear) | all of this process's | environment variables |
/// | [`current_dir`](Self::current_dir) | that of this process | the directory |
/// | [`pass_fds`](Self::pass_fds) | none | descriptors that a worker has from this process |
/// | [`inner_threads`](Self::inner_threads) | nothing is said | threads that libraries have in each worker |
/// | [`worker_output`](Self::worker_output) | standard error | where what tasks print goes |
/// | **[Functions of yours](#functions-of-yours)** | | |
/// | [`start_method`](Self::start_method) | `Spawn` | how a worker is started |
/// | [`initializer`](Self::initializer) | none | called in each worker before its first task |
/// | [`exit_hook`](Self::exit_hook) | none | called in each worker after its last task |
/// | [`preload`](Self::preload) | none | called once, before workers are forked |
/// | [`before_fork`](Self::before_fork), [`after_fork`](Self::after_fork), [`after_fork_in_parent`](Self::after_fork_in_parent) | none | called around each fork |
/// | **[A shared fork server](#a-shared-fork-server)** | | |
/// | [`fork_server`](Self::fork_server) | one of its own | the server from which workers are forked |
/// | **[Settings from a file](#settings-from-a-file)** | | |
/// | [`settings`](Self::settings) | none | several of these settings at once |
/// | **[The pool itself](#the-pool-itself)** | | |
/// | [`name`](Self::name) | `procpool` | its name in logs |
#[derive(Clone, Debug, Default)]
#[must_use = "call `build` to make a pool"]
pub struct Builder {
    pub(super) settings: Configuration,
}

/// # Workers
///
/// How many there are, and when one leaves or is replaced.
impl Builder {
    /// The most workers at a time, and so the most tasks. They are started when there is work for
    /// them; [`resize`](ProcessPoolExecutor::resize) changes the number later. While some of them
    /// are replaced there may be a few [more processes](Self::surge).
    ///
    /// Default: the number of CPUs that this process may use, its affinity mask and cgroup quota
    /// counted ([`std::thread::available_parallelism`]). Zero is an error; on Windows, which cannot
    /// wait for more processes at once, so are more than 61.
    pub fn max_workers(mut self, count: impl Into<Option<usize>>) -> Self {
        self.settings.max_workers = count.into();
        self
    }

    /// This many workers are started when the pool is built, and kept: one that dies is replaced
    /// without waiting for a task. Default: 0, so that a pool that is not used costs nothing. More
    /// than `max_workers` is an error.
    pub fn min_workers(mut self, count: usize) -> Self {
        self.settings.min_workers = count;
        self
    }

    /// A worker that has had no task for this long leaves, unless only
    /// [`min_workers`](Self::min_workers) are left. Default: never, as in Python: a start costs
    /// more than an idle worker does.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.idle_timeout = limit.into();
        self
    }

    /// A worker is replaced after it has run this many tasks: a bound on what leaks in them can do.
    /// Default: never. Zero is an error. It is Python's parameter of this name, but no task is ever
    /// lost by it, and none is delayed if workers live longer than they take to start: a
    /// [successor](Self::surge) is ready by then. If several workers are used up at the same time
    /// some are replaced a few tasks earlier.
    ///
    /// An input of a [`map`](ProcessPoolExecutor::map) is a task here, too, unless you set a
    /// [`chunksize`](crate::Map::chunksize): then a chunk is one.
    pub fn max_tasks_per_child(mut self, tasks: impl Into<Option<u64>>) -> Self {
        self.settings.launch.max_tasks_per_child = tasks.into();
        self
    }

    /// A worker that has more bytes of memory in use when a task ends than this is replaced; it
    /// begins no other task before. Default: no limit.
    ///
    /// It is looked at after each task, which costs about a microsecond. Memory that a task frees
    /// before it ends is not seen, nor are its arguments and its result; for that there is
    /// [`hard_memory_limit`](Self::hard_memory_limit). Only on Linux. What a forked worker has in
    /// common with the server from the start does not count.
    pub fn max_memory_per_child(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.launch.max_memory_per_child = bytes.into();
        self
    }

    /// A worker is replaced when it has lived for so long, its start included: a bound on what
    /// grows old with it, such as connections, caches, or a library's leaks. It goes on with tasks
    /// until its [successor](Self::surge) is ready, finishes the one that runs, and leaves. Zero is
    /// an error. Default: never.
    ///
    /// ```
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::time::Duration;
    ///
    /// let builder = procpool::ProcessPoolExecutor::builder();
    /// let pool = builder.max_age(Duration::from_secs(6 * 3_600)).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.settings.max_age = age.into();
        self
    }

    /// How many more processes than [`max_workers`](Self::max_workers) there may be for a moment
    /// while workers are replaced: by [number of tasks](Self::max_tasks_per_child),
    /// [memory](Self::max_memory_per_child), [age](Self::max_age) or
    /// [`recycle`](ProcessPoolExecutor::recycle). Default: 1. It is what Kubernetes calls so in a
    /// rolling update.
    ///
    /// So many successors start while those that they replace go on with tasks. A successor gets
    /// none before one of those has left, so there are never more than `max_workers` tasks at a
    /// time. With a larger surge many workers are replaced sooner, and more memory is taken
    /// meanwhile.
    ///
    /// With zero a worker leaves first, and its successor starts afterwards, when there is work for
    /// it; tasks may wait for that as long as a start and the
    /// [initializer](Self::initializer) take.
    ///
    /// ```
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// // Each worker has a large model: there is no memory for one more.
    /// let pool = procpool::ProcessPoolExecutor::builder().max_workers(2).surge(0).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn surge(mut self, processes: usize) -> Self {
        self.settings.surge = processes;
        self
    }
}

/// # Tasks
///
/// How many may wait, how long one may run, and how its values travel.
impl Builder {
    /// How many tasks may wait to begin. When so many do, `submit` waits and `try_submit` refuses.
    ///
    /// Default: 10,000, enough to keep any number of cores busy, and little memory if the arguments
    /// are small. Zero is an error. With large arguments choose less, as each waiting task holds
    /// its own.
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.settings.queue_capacity = tasks;
        self
    }

    /// The [timeout](crate::TaskBuilder::timeout) of tasks that do not set one themselves;
    /// `timeout(None)` exempts a task. Default: none, as only you know how long is too long.
    ///
    /// In a [`map`](ProcessPoolExecutor::map) it is that of each item; see
    /// [`item_timeout`](crate::Map::item_timeout).
    pub fn default_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.default_timeout = limit.into();
        self
    }

    /// The most bytes that the arguments or the result of a task may take when they are encoded.
    /// What is larger fails alone, with [`is_too_large`](crate::TaskError::is_too_large). Default:
    /// 1 GiB, so that a mistake ends in an error before it ends the memory. The most is a little
    /// less than 4 GiB, and more is taken as that.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.launch.max_payload = bytes.min(Configuration::MAX_PAYLOAD);
        self
    }

    /// How many bytes of memory the pool may share with its workers, so that large arguments and
    /// results need not go through pipes: so many for arguments, and for the results of each worker
    /// half of that. It takes only what is needed, and keeps that to use it again. What was not
    /// needed for a second or two is given back, as soon as there is something else to do; a pool
    /// that is idle stays asleep. What is larger, or finds no room because too many others are on
    /// their way, goes through a pipe, which is slower. Zero turns it off.
    ///
    /// Default: 256 MiB, or less where the control group of this process has a limit of memory, as
    /// most containers have. Then all that is shared with [`max_workers`](Self::max_workers) takes
    /// an eighth at most of the limit that there was when the pool was built.
    ///
    /// Arguments and results are shared if they take more than 128 KiB. A parameter of the type
    /// `bytes::Bytes` that is most of that is not even copied in the worker. So far only on Linux,
    /// and not with workers whose initializer has limited their address space or their
    /// descriptors. One that cannot open what the pool shares, as it runs as another user or in a
    /// sandbox, has it sent over a socket.
    ///
    /// ```
    /// # fn main() -> Result<(), procpool::BuildError> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// // Frames of a film, each of 32 megabytes.
    /// let pool = procpool::ProcessPoolExecutor::builder().shared_memory(1 << 30).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn shared_memory(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.settings.shared_memory = bytes.into();
        self
    }
}

/// # Failures
///
/// What a death means, and how long the pool waits for a start or an end.
impl Builder {
    /// What the death of a worker means. Default: [`OnWorkerDeath::Replace`].
    ///
    /// In both modes a pool is broken if no worker can be started: at once if the reason would
    /// meet every other one, too (there is no such program, or it has other functions). Workers
    /// that die while they start are tried again: five times, or twice if each has taken longer
    /// than a second, or up to fifty times in some 25 seconds if they were killed from outside or
    /// the machine was short of something. Only tries in a row count, and only while no worker is
    /// ready.
    pub fn on_worker_death(mut self, reaction: OnWorkerDeath) -> Self {
        self.settings.on_worker_death = reaction;
        self
    }

    /// How long a task that is aborted or times out has to end, and a worker to leave when it is
    /// told to; then comes SIGKILL. Default: 2 seconds, enough to tidy up, and short enough that a
    /// stuck worker does not hold up a shutdown for long.
    ///
    /// A task that looks at [`is_cancelled`](crate::Current::is_cancelled) has the first half of it
    /// to end by itself, which spares its worker; then comes SIGTERM. Another one gets SIGTERM at
    /// once.
    pub fn grace_period(mut self, period: Duration) -> Self {
        self.settings.grace_period = period;
        self
    }

    /// How long a worker may take from its spawning to the end of its initializer. One that takes
    /// longer is ended, and counts as one whose [initializer](Self::initializer) failed. Default:
    /// 30 seconds, as one second proved too short for loaded machines. If the pool's own process
    /// has not run at that moment (it was stopped, or its machine was), it counts from the
    /// beginning.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.launch.start_timeout = limit;
        self
    }

    /// How often in a row the start of a worker is tried again because its initializer failed (or
    /// the [preload](Self::preload) of a new fork server), once a worker has been ready: the
    /// database that it connects to may be away for a moment. The first try comes after 100
    /// milliseconds, each further one after twice as long, but at most five seconds. The pool is
    /// broken when these tries are used up and no worker is left; as long as others live they
    /// go on with the tasks. Default: 8, which takes some 16 seconds.
    ///
    /// Under [`OnWorkerDeath::Break`] nothing is tried again.
    pub fn initializer_retries(mut self, times: u32) -> Self {
        self.settings.initializer_retries = times;
        self
    }
}

/// # Limits
///
/// What a worker may take of the machine.
impl Builder {
    /// A worker cannot allocate more bytes than this, whatever it runs: Rust code that needs more
    /// is aborted, so that its task fails by the [death](crate::TaskError::is_worker_death) of its
    /// worker, whose last words are "memory allocation of … bytes failed"; see
    /// [`is_memory_limit`](crate::WorkerDeath::is_memory_limit). Default: no limit. There are
    /// [other limits](Self::limits).
    ///
    /// It is the system's limit on private writable memory (`RLIMIT_DATA`), which what a task
    /// starts inherits, and in which what was [preloaded](Self::preload) counts as well. Leave room
    /// for the worker itself: its program, its threads, and its allocator's reserves.
    pub fn hard_memory_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        let limits = &mut self.settings.launch.program.limits;
        *limits = limits.with_memory(bytes.into());
        self
    }

    program_limits! { settings.launch.program }

    /// Takes from tasks what they do not need of the machine: files, network, other processes. A
    /// worker enters the sandbox after its [initializer](Self::initializer), and never leaves it;
    /// with a [shared](Self::fork_server) or an own fork server it is the forked worker that does.
    /// The [exit hook](Self::exit_hook) runs in it. Default: none. See [`Sandbox`].
    ///
    /// A worker that cannot enter it does not start, and the pool is
    /// [broken](crate::BrokenProcessPool), with the reason. So it is if its initializer has left
    /// threads behind, to which not all of it would apply.
    #[cfg(feature = "sandbox")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sandbox")))]
    pub fn sandbox(mut self, sandbox: impl Into<Option<Sandbox>>) -> Self {
        self.settings.launch.sandbox = sandbox.into().map(|sandbox| sandbox.0);
        self
    }
}

/// # Program and environment
///
/// Which program a worker is, and what it finds around it.
impl Builder {
    /// Starts workers by this command instead of this process's own program. It must call
    /// [`worker_main`](crate::worker_main), or [`init`](crate::init), in a program that has
    /// registered the same functions. A bare name is looked for in `PATH`; a relative path counts
    /// from the directory that this process is in now.
    ///
    /// Takes a path, an array of a path and arguments, such as `["python3", "-m", "tasks"]`, or a
    /// [`std::process::Command`], of which the program, the arguments, the
    /// environment variables that it sets or removes, and the directory are used. Whether its
    /// environment was cleared cannot be seen: for that there is [`env_clear`](Self::env_clear),
    /// before this.
    pub fn worker_command(mut self, command: impl Into<WorkerCommand>) -> Self {
        self.settings.launch.program.replace_by(command.into().into_program());
        self
    }

    /// How many threads libraries that compute with threads are to have in each worker. Zero stands
    /// for the CPUs that this process may use (by its affinity, and on Linux by the quota of its
    /// control group), divided by [`max_workers`](Self::max_workers), but one at least: then all
    /// workers together have as many threads as there are CPUs. Default: nothing is said, and each
    /// library takes as many as there are CPUs.
    ///
    /// It is said by environment variables: `RAYON_NUM_THREADS`, `POLARS_MAX_THREADS`,
    /// `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `BLIS_NUM_THREADS`,
    /// `VECLIB_MAXIMUM_THREADS`, `NUMBA_NUM_THREADS` and `NUMEXPR_NUM_THREADS`. One that this
    /// process has, or that is set or removed by [`env`](Self::env) or
    /// [`env_remove`](Self::env_remove), stays as it is. A
    /// [resize](ProcessPoolExecutor::resize) changes nothing, and tokio's runtimes are not told, as
    /// they are not there to compute.
    ///
    /// In Python joblib does so for its workers (`inner_max_num_threads`), and unasked. Here it has
    /// to be asked for, as a pool of which only one worker is busy would lose by it.
    ///
    /// ```
    /// # fn threads() -> Option<String> { std::env::var("RAYON_NUM_THREADS").ok() }
    /// # procpool::register!(threads);
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #     procpool::init();
    /// #     tokio::runtime::Runtime::new()?.block_on(run())
    /// # }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = procpool::ProcessPoolExecutor::builder();
    /// # let builder = builder.env_clear();
    /// let pool = builder.max_workers(2).inner_threads(4).build()?; // on a machine with eight CPUs
    /// assert_eq!(pool.run(threads, ()).await?.as_deref(), Some("4"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn inner_threads(mut self, count: impl Into<Option<usize>>) -> Self {
        self.settings.inner_threads = count.into();
        self
    }

    /// What becomes of the text that tasks print. Default: [`WorkerOutput::Inherit`].
    pub fn worker_output(mut self, output: impl Into<WorkerOutput>) -> Self {
        self.settings.launch.output = output.into();
        self
    }

    program_settings! { settings.launch.program }
}

/// # The pool itself
impl Builder {
    /// The pool's name in what it [logs](crate#features) and in its `Debug`; see
    /// [`ProcessPoolExecutor::name`]. Default: `procpool`. It need not be unique.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.launch.name = name.into();
        self
    }

    /// Makes the pool. Beyond [`min_workers`](Self::min_workers) no worker is started before there
    /// is work for it.
    ///
    /// # Errors
    ///
    /// Outside of a tokio runtime; if `queue_capacity`, `max_workers`, `max_tasks_per_child` or
    /// `max_age` is zero; if `max_workers` is too many for the platform, or less than
    /// `min_workers`; if the initializer or the exit hook is not registered or its arguments cannot
    /// be encoded; if two registered functions have the same name; and in a worker that has not
    /// called [`init`](crate::init).
    pub fn build(self) -> Result<ProcessPoolExecutor, BuildError> {
        Ok(ProcessPoolExecutor::of(self.settings.build()?))
    }
}

#[cfg(test)]
impl Builder {
    pub(crate) fn into_settings(self) -> Configuration {
        self.settings
    }
}
