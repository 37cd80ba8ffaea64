//! The configuration of a pool.

use std::time::Duration;

use crate::error::build::BuildError;
use crate::executor::command::WorkerCommand;
use crate::executor::pool::ProcessPoolExecutor;
#[cfg(feature = "hosts")]
use crate::host::Host;
use crate::parent::{WorkerOutput, program_limits, program_settings};
use crate::pool::{Configuration, OnWorkerDeath};
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;

impl ProcessPoolExecutor {
    /// A pool with the [default settings](Builder#all-settings-and-their-defaults). It has up to
    /// one worker for each CPU that this process may use, and starts a worker when there is work
    /// for it.
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
/// A setting whose default is "none" or "no limit" takes `None`, too. So a clone of a builder can
/// take back what the builder has set.
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
#[cfg_attr(
    feature = "hosts",
    doc = "| **[Hosts](#hosts)** | | |\n| [`hosts`](Self::hosts) | this machine | where workers are |"
)]
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
/// | [`queue_bytes`](Self::queue_bytes) | no limit | bytes of arguments that may wait |
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

/// # Hosts
///
/// Where workers are.
#[cfg(feature = "hosts")]
impl Builder {
    /// The machines on which the pool has workers. Default, and if there are none: this one alone.
    /// Everything else stays as it is: functions, handles, maps, time limits, aborts, output. Only
    /// what belongs to one machine cannot be had then, like [`SharedSlice`](crate::SharedSlice) and
    /// [`pass_fds`](Self::pass_fds); see the [guide](crate::guide::hosts).
    ///
    /// Each host has up to as many [workers](crate::Host::workers) as it says, or as it has CPUs,
    /// and all together up to [`max_workers`](Self::max_workers), whose default is their sum. A far
    /// host that does not say how many counts as one there until it is connected. A worker is
    /// started on the host that has the smallest share of its workers. A host is connected when its
    /// first worker is to be started, and again after it was lost.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), procpool::BuildError> {
    /// use procpool::{Host, ProcessPoolExecutor};
    ///
    /// let hosts = [Host::local().workers(4), Host::ssh("node1")];
    /// let pool = ProcessPoolExecutor::builder().hosts(hosts).build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn hosts(mut self, hosts: impl IntoIterator<Item = Host>) -> Self {
        self.settings.hosts = hosts.into_iter().collect();
        self
    }
}

/// # Workers
///
/// How many there are, and when one leaves or is replaced.
impl Builder {
    /// The most workers at a time. As many tasks run at a time, at most. A worker is started when
    /// there is work for it. [`resize`](ProcessPoolExecutor::resize) changes the number later.
    /// While workers are replaced there may be a few [more processes](Self::surge).
    ///
    /// Default: the number of CPUs that this process may use, by its affinity mask and its cgroup's
    /// quota ([`std::thread::available_parallelism`]); with hosts, what these may have together,
    /// which is also the most. Zero is an error. On Windows more than 61 is an error, too, as it
    /// cannot wait for more processes at once.
    pub fn max_workers(mut self, count: impl Into<Option<usize>>) -> Self {
        self.settings.max_workers = count.into();
        self
    }

    /// How many workers are started when the pool is built, and kept. One that dies is replaced at
    /// once, even if no task waits. Default: 0, so that a pool that is not used costs nothing. More
    /// than `max_workers` is an error.
    pub fn min_workers(mut self, count: usize) -> Self {
        self.settings.min_workers = count;
        self
    }

    /// A worker leaves when it has had no task for this long. The last
    /// [`min_workers`](Self::min_workers) stay. Default: never, as in Python, because a start costs
    /// more than an idle worker does.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.idle_timeout = limit.into();
        self
    }

    /// A worker is replaced after it has run this many tasks. This bounds what a leak can take.
    /// Default: never. Zero is an error.
    ///
    /// It is Python's parameter of this name, but no task is ever lost by it. A
    /// [successor](Self::surge) is ready before the worker leaves. So no task is delayed either,
    /// unless workers live for less time than they take to start. If several workers would leave at
    /// the same time, some leave a few tasks earlier.
    ///
    /// An input of a [`map`](ProcessPoolExecutor::map) counts as a task. If you set a
    /// [`chunksize`](crate::Map::chunksize), a chunk counts as one.
    pub fn max_tasks_per_child(mut self, tasks: impl Into<Option<u64>>) -> Self {
        self.settings.launch.max_tasks_per_child = tasks.into();
        self
    }

    /// A worker is replaced if it has more than this many bytes of memory in use when a task ends.
    /// It begins no other task before it leaves. Default: no limit.
    ///
    /// The memory is measured after each task, which costs about a microsecond. Memory that a task
    /// frees before it ends does not count. Neither do its arguments and its result. To limit
    /// those, set [`hard_memory_limit`](Self::hard_memory_limit). What a forked worker shares with
    /// its fork server does not count either. Only on Linux.
    pub fn max_memory_per_child(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.launch.max_memory_per_child = bytes.into();
        self
    }

    /// A worker is replaced when it has lived this long, its start included. This bounds what grows
    /// with age, such as caches, connections, or a library's leaks. The worker goes on with tasks
    /// until its [successor](Self::surge) is ready; then it finishes its task and leaves. Default:
    /// never. Zero is an error.
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

    /// How many processes there may be beyond [`max_workers`](Self::max_workers) while workers are
    /// replaced. Default: 1. Workers are replaced by [number of tasks](Self::max_tasks_per_child),
    /// [memory](Self::max_memory_per_child), [age](Self::max_age) or
    /// [`recycle`](ProcessPoolExecutor::recycle). The word is that of a rolling update in
    /// Kubernetes.
    ///
    /// This many successors start at a time, while the old workers go on with tasks. A successor
    /// gets no task before an old worker has left, so there are never more than `max_workers` tasks
    /// at a time. A larger surge replaces many workers sooner, and takes more memory meanwhile.
    ///
    /// A worker with too much memory is an exception. It leaves at once, and its successor starts
    /// meanwhile.
    ///
    /// With zero, a worker leaves first. Its successor starts afterwards, when there is work for
    /// it. Tasks may wait for that start and for the [initializer](Self::initializer).
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
    /// How many tasks may wait to begin. When the queue is full, `submit` waits and `try_submit`
    /// refuses.
    ///
    /// Default: 10,000. That keeps any number of cores busy, and takes little memory if arguments
    /// are small. Each waiting task holds its arguments, so choose less if they are large.
    ///
    /// With zero there is no queue: the pool accepts a task only if there is a worker for it, or
    /// may be one. When all are busy, `try_submit` refuses, and `submit` waits until a task is
    /// over. A task keeps its place until then, also while it waits for a [further
    /// attempt](crate::TaskBuilder::backoff).
    ///
    /// A chunk of a [`map`](crate::ProcessPoolExecutor::map) counts as one task. If idle workers
    /// take parts of it, another task may still wait for such a part. A map that waits for a place
    /// and is not polled keeps one from others, so poll it, or move it to a tokio task of its own.
    ///
    /// ```
    /// # fn thumbnail(image: Vec<u8>) -> Vec<u8> { image }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::ProcessPoolExecutor::builder().queue_capacity(0).build()?;
    /// # let image = vec![0];
    /// match pool.try_submit(thumbnail, image) {
    ///     Err(error) if error.is_queue_full() => println!("all workers are busy"),
    ///     handle => drop(handle),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.settings.queue_capacity = tasks;
        self
    }

    /// How many bytes the arguments of waiting tasks may take altogether. When there is no room for
    /// a task's arguments, `submit` waits and `try_submit` refuses, as with a full
    /// [queue](Self::queue_capacity). So a queue of large arguments does not exhaust the memory.
    /// Each `submit` that waits keeps its own arguments, in their encoded form. To bound these,
    /// too, use `try_submit` or [`try_run`](ProcessPoolExecutor::try_run).
    ///
    /// Arguments count in their encoded form, in steps of 64 bytes, from when there is room for
    /// them until the first attempt of their task. So those of a `submit` count, too, that has room
    /// for them and waits for a place in the queue, or for a worker. If the arguments of a task are
    /// larger than the limit, they get room when no others count. Items of a
    /// [`map`](ProcessPoolExecutor::map) do not count: [`buffersize`](crate::Map::buffersize)
    /// bounds them.
    ///
    /// Default: no limit. Zero is an error.
    ///
    /// ```
    /// # fn thumbnail(image: Vec<u8>) -> Vec<u8> { image }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), procpool::BuildError> {
    /// let pool = procpool::ProcessPoolExecutor::builder().queue_bytes(100 << 20).build()?;
    /// # let image = vec![0];
    /// match pool.try_submit(thumbnail, image) {
    ///     Err(error) if error.is_queue_full() => println!("100 MiB of images wait already"),
    ///     handle => drop(handle),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn queue_bytes(mut self, limit: impl Into<Option<usize>>) -> Self {
        self.settings.queue_bytes = limit.into();
        self
    }

    /// The [timeout](crate::TaskBuilder::timeout) of tasks that do not set one themselves.
    /// `timeout(None)` exempts a task. Default: none, as only you know how long is too long.
    ///
    /// In a [`map`](ProcessPoolExecutor::map) it is the timeout of each item; see
    /// [`timeout`](crate::Map::timeout).
    pub fn default_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.default_timeout = limit.into();
        self
    }

    /// The most bytes that the arguments or the result of a task may take when they are encoded. A
    /// task with more fails with [`is_too_large`](crate::TaskError::is_too_large), and no other
    /// task does. Default: 1 GiB, so that a mistake ends in an error before it uses up the memory.
    /// The highest value is a little less than 4 GiB. A larger one counts as that.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.launch.max_payload = bytes.min(Configuration::MAX_PAYLOAD);
        self
    }

    /// Upper bound on shared memory for large arguments and results: this many bytes for all
    /// arguments, plus half as many for the results of each worker. Zero turns it off.
    ///
    /// The pool takes only what it needs, and keeps it for the next values. Memory that was not
    /// needed for a second or two is given back when the pool next does something. An idle pool
    /// sleeps, and gives nothing back. A value that finds no room goes through a pipe, which is
    /// slower.
    ///
    /// Default: 256 MiB. It is less if the control group of this process has a memory limit, as in
    /// most containers. Then the shared memory of all [`max_workers`](Self::max_workers) together
    /// takes at most an eighth of that limit. The limit is read when the pool is built.
    ///
    /// Arguments and results are shared if they take more than 128 KiB. If one parameter of the
    /// type `bytes::Bytes` is most of the arguments, the worker does not copy it.
    ///
    /// So far only on Linux. A worker whose initializer has limited its address space or its
    /// descriptors shares nothing. A worker that cannot open shared memory, because it runs as
    /// another user or in a sandbox, gets it over a socket.
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
    /// In both modes a pool breaks if no worker can be started. It breaks at once if every worker
    /// would fail in the same way, for example because the program does not exist, or has other
    /// functions.
    ///
    /// If a worker dies while it starts, its start is tried again: five times, or twice if each
    /// start takes longer than a second. If workers are killed from outside, or the machine is
    /// short of something, there are up to fifty tries in some 25 seconds. Only tries in a row
    /// count, and only while no worker is ready.
    pub fn on_worker_death(mut self, reaction: OnWorkerDeath) -> Self {
        self.settings.on_worker_death = reaction;
        self
    }

    /// How long a task has to end when it is aborted or times out, and how long a worker has to
    /// leave. Then comes SIGKILL. Default: 2 seconds. That is enough to tidy up, and a stuck worker
    /// does not hold up a shutdown for long.
    ///
    /// A task gets SIGTERM at once. If it has looked at
    /// [`is_cancelled`](crate::Current::is_cancelled) before, it first has half of the grace period
    /// to return by itself, which spares its worker.
    pub fn grace_period(mut self, period: Duration) -> Self {
        self.settings.grace_period = period;
        self
    }

    /// How long a worker may take from its spawning to the end of its initializer. A slower one is
    /// ended, and counts as one whose [initializer](Self::initializer) failed. Default: 30 seconds,
    /// as one second proved too short for loaded machines. If the pool's own process was suspended
    /// meanwhile, the timeout restarts.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.launch.start_timeout = limit;
        self
    }

    /// How often in a row the start of a worker is tried again after its initializer has failed,
    /// for example because a database was away for a moment. The same holds for the
    /// [preload](Self::preload) of a new fork server. Default: 8, which takes some 16 seconds.
    ///
    /// This counts once a worker has been ready. Before that, the first failure breaks the pool.
    /// The first try comes after 100 milliseconds. Each further one comes after twice as long, at
    /// most five seconds. Other workers go on with tasks meanwhile. When the tries are used up and
    /// no worker is left, the pool is broken.
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
    /// A worker cannot allocate more bytes than this, whatever it runs. Default: no limit. Rust
    /// code that needs more is aborted, and its task fails by the
    /// [death](crate::TaskError::is_worker_death) of its worker, of which
    /// [`is_memory_limit`](crate::WorkerDeath::is_memory_limit) holds. The worker's last words are
    /// "memory allocation of … bytes failed". There are [other limits](Self::limits).
    ///
    /// It is the system's limit on private writable memory (`RLIMIT_DATA`). Processes that a task
    /// starts inherit it. What was [preloaded](Self::preload) counts as well. Leave room for the
    /// worker itself: its program, its threads, and its allocator's reserves.
    pub fn hard_memory_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        let limits = &mut self.settings.launch.program.limits;
        *limits = limits.memory(bytes);
        self
    }

    program_limits! { settings.launch.program }

    /// Takes from tasks what they do not need of the machine: files, network, other processes.
    /// Default: none. See [`Sandbox`]. A worker enters the sandbox after its
    /// [initializer](Self::initializer), and never leaves it. Its [exit hook](Self::exit_hook) runs
    /// inside. A fork server does not enter it; the workers that it forks do.
    ///
    /// If a worker cannot enter it, the pool is [broken](crate::BrokenProcessPool), and the error
    /// has the reason. The same happens if an initializer leaves threads behind, as not all of a
    /// sandbox would apply to them.
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
    /// Starts workers by this command instead of this process's own program. Default: the own
    /// program. The other program must have registered the same functions, and must call
    /// [`worker_main`](crate::worker_main) or [`init`](crate::init). A bare name is looked for in
    /// `PATH`. A relative path counts from the directory that this process is in now.
    ///
    /// Takes a path, an array or a `Vec` of a path and arguments, such as
    /// `["python3", "-m", "tasks"]`, or a [`std::process::Command`]. These are used of a `Command`:
    /// the program, the arguments, the directory, and the environment variables that it sets or
    /// removes. The pool cannot see whether its environment was cleared: call
    /// [`env_clear`](Self::env_clear) before this instead.
    pub fn worker_command(mut self, command: impl Into<WorkerCommand>) -> Self {
        self.settings.launch.program.replace_by(command.into().into_program());
        self
    }

    /// How many threads a numeric library, such as rayon or a BLAS, starts in each worker. Default:
    /// nothing is said, and each library takes as many as there are CPUs.
    ///
    /// Zero stands for the CPUs that this process may use, divided by
    /// [`max_workers`](Self::max_workers), and at least one. Then all workers together have as many
    /// threads as there are CPUs. (The CPUs are those of the affinity mask, and on Linux of the
    /// control group's quota.)
    ///
    /// Libraries are told by environment variables: `RAYON_NUM_THREADS`, `POLARS_MAX_THREADS`,
    /// `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `BLIS_NUM_THREADS`,
    /// `VECLIB_MAXIMUM_THREADS`, `NUMBA_NUM_THREADS` and `NUMEXPR_NUM_THREADS`. A variable stays as
    /// it is if this process has it, or if [`env`](Self::env) or [`env_remove`](Self::env_remove)
    /// says something about it. A [resize](ProcessPoolExecutor::resize) changes nothing. tokio's
    /// runtimes are not told, because they are not there to compute.
    ///
    /// Python's joblib does this by default for its workers (`inner_max_num_threads`). Here it is
    /// not the default, because it slows down a pool of which only one worker is busy.
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
    /// The pool's name, in its [logs](crate#features), in its `Debug`, and in `ps` and `top`.
    /// Default: `procpool`. It need not be unique. [`ProcessPoolExecutor::name`] returns it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.launch.name = name.into();
        self
    }

    /// Makes the pool, and starts [`min_workers`](Self::min_workers). Any other worker is started
    /// when there is work for it.
    ///
    /// # Errors
    ///
    /// * If there is no tokio runtime.
    /// * If `max_workers`, `max_tasks_per_child`, `max_age` or `queue_bytes` is zero.
    /// * If `max_workers` is too many for the platform, or less than `min_workers`.
    /// * If the initializer, a hook or the preload is not registered, or its arguments cannot be
    ///   encoded.
    /// * If the pool has a [shared fork server](Self::fork_server), and sets something that belongs
    ///   to that.
    /// * If two registered functions have the same name.
    /// * In a worker that has not called [`init`](crate::init).
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
