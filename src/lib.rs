//! The process pool for tokio: await ordinary Rust functions that run in child processes.
//!
//! A service awaits `pool.run(f, args)`, and `f` runs in a child process, on another core. There a
//! panic, a segfault, a leak or an endless loop cannot hurt the service. The pool is the
//! counterpart of Python's `concurrent.futures.ProcessPoolExecutor`, written for async Rust.
//!
//! ```
//! use futures::StreamExt;
//! use procpool::ProcessPoolExecutor;
//!
//! fn smallest_factor(n: u64) -> Option<u64> {
//!     (2..).take_while(|d| d * d <= n).find(|d| n % d == 0)
//! }
//!
//! procpool::register!(smallest_factor); // what a worker may run
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     procpool::init(); // a worker stops here and never returns
//!     run()
//! }
//!
//! #[tokio::main]
//! async fn run() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = ProcessPoolExecutor::new()?; // up to a worker per CPU
//!     assert_eq!(pool.run(smallest_factor, 62_710_561).await?, Some(7_919));
//!
//!     let mut handles = Vec::new();
//!     for n in [104_729, 999_983, 104_395_303] {
//!         handles.push(pool.submit(smallest_factor, n).await?);
//!     }
//!     let mut done = procpool::as_completed(handles);
//!     while let Some(finished) = done.next().await {
//!         println!("{}: {:?}", finished.id, finished.result?);
//!     }
//!     pool.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # What is promised
//!
//! 1. Every task resolves exactly once, whatever dies and whenever. No handle hangs.
//! 2. A task is begun at most once, unless [`retries`](TaskBuilder::retries) are asked for. If its
//!    worker dies and the task has provably not begun, another worker gets it.
//! 3. A death is one task's business. The task that ran fails, and the worker is replaced. The
//!    error has the pid, the exit code or signal, and the last lines that this task printed. What
//!    other tasks printed is in no error's text; an accessor has it, for the log.
//!    ([`OnWorkerDeath::Break`] breaks the pool instead, as Python does.)
//! 4. A panic costs its task and nothing else. The error has the message, the location and the
//!    backtrace, and the worker lives. The worker also survives values that cannot be encoded or
//!    decoded, and values that are too large. Where Rust aborts at a panic (with `panic = "abort"`,
//!    or in a function that C calls), the worker is lost, too. The task still fails with the panic.
//!    Only an item of a [`map`](ProcessPoolExecutor::map) that runs with others fails with the
//!    death.
//! 5. First in, first out, and no task waits behind a long one while a worker is idle. Quick tasks
//!    are sent ahead to busy workers. They are taken back if the running task turns out to be long.
//!    Exceptions are yours ([`priority`](TaskBuilder::priority), [`tenant`](TaskBuilder::tenant),
//!    [`sticky`](TaskBuilder::sticky)), and a function that has just killed two workers in a row:
//!    its tasks do not take the last idle worker.
//! 6. Bounded by default: the queue has a capacity, and streams are lazy.
//! 7. No orphans and no zombies. When the parent ends, even by SIGKILL, every worker ends within a
//!    second, and all of its process group with it. The same holds in [the first process of a
//!    container](guide::start_methods#the-first-process-of-a-container).
//! 8. A task may print, by whatever means; see [`WorkerOutput`].
//! 9. Ctrl-C belongs to the parent: workers are in their own process groups. A worker that gets
//!    SIGTERM from anybody but its pool [finishes its task
//!    first](guide::start_methods#signals-and-the-terminal).
//! 10. Nothing blocks the runtime. The pool works on current-thread, multi-threaded and
//!     paused-clock runtimes.
//!
//! These are promises of pools. A [`Process`] is yours to end. It ends with its parent if it was
//! [spawned](Process::spawn) for its result, or is a [daemon](ProcessBuilder::daemon); any other
//! lives on. However a process ends, its handles are told, and it leaves no zombie.
//!
//! # The three lines to remember
//!
//! * [`register!`] names the functions that workers, or a [`Process`], may run; [`task!`] does so
//!   in place.
//! * [`init`] is the first statement of `main`. A worker is a further process of the same program,
//!   and so is a `Process`. (A separate worker program calls [`worker_main`] instead.)
//! * [`test_support!`] is written once in each test binary that uses pools or processes.
//!
//! A worker is another process, and shares no variables with this one. A global that `main` has set
//! is not set there. Pass what a task needs as arguments, or make it in each worker by an
//! [`initializer`](Builder::initializer).
//!
//! Arguments and results are serde types that own what they hold: `String`, not `&str`.
//! `serde_json::Value` is one. The chapter on [values](guide::values) says what crosses, in which
//! form, and what to write where something does not.
//!
//! # Where to find what
//!
//! | to … | see |
//! |---|---|
//! | run one function and await it | [`ProcessPoolExecutor::run`] |
//! | submit now and await later, ask, cancel | [`ProcessPoolExecutor::submit`], [`TaskHandle`] |
//! | never wait for a full queue | [`ProcessPoolExecutor::try_submit`] |
//! | run one from a thread outside of the runtime | [`ProcessPoolExecutor::blocking_run`] |
//! | limit running time | [`TaskBuilder::timeout`], [`TaskBuilder::deadline`] |
//! | have a task begun again, after what, and when | [`TaskBuilder::retries`], [`TaskBuilder::retry_if`], [`Map::retry_if`], [`Backoff`] |
//! | say in errors and events what a task is | [`TaskBuilder::label`], [`Map::label`] |
//! | run over many inputs, in their order or not | [`ProcessPoolExecutor::map`], [`Map`] |
//! | take results as they come | [`as_completed`] |
//! | wait until a task runs | [`TaskHandle::started`] |
//! | send the id of a request, or a tenant, with a task | [`TaskBuilder::context`], [`Current::context`] |
//! | show how far a task has come | [`Current::progress`], [`TaskHandle::progress`] |
//! | take partial results, or messages, while a task runs | [`Current::emit`], [`TaskHandle::emitted`], [a chapter](guide::running_tasks) |
//! | let a task end early in good order | [`Current::is_cancelled`] |
//! | answer by what has happened to a task | [`TaskError::kind`], [`SubmitError::kind`] |
//! | wait for the first, for a failure, or for all | [`wait`] |
//! | end tasks with their scope | [`TaskSet`] |
//! | build something once per worker | [`Builder::initializer`], [`current`] |
//! | build something once for all workers, share a large table | [`StartMethod::ForkServer`], [`Builder::preload`], [`preloaded`] |
//! | mend what a fork has duplicated, like random generators | [`Builder::after_fork`] |
//! | share a table with all tasks without a copy | [`SharedSlice`], [`SharedBytes`] |
//! | have a task change memory where it is | [`SharedSliceMut`] |
//! | let several pools share a fork server and what it has preloaded | [`ForkServer`], [`Builder::fork_server`] |
//! | choose where workers come from | [Start methods](guide::start_methods) |
//! | give a service logs, figures, probes and limits | [In production](guide::in_production) |
//! | run a service in a container, a systemd unit, Kubernetes | [Deploying](guide::deploying) |
//! | have workers on other machines, in containers, in Slurm | [Hosts](guide::hosts) |
//! | test a function, or a program with a pool | [Testing](guide::testing) |
//! | know what may be an argument or a result, and how it is sent | [Values](guide::values), [`value_forms`] |
//! | have pools in a library for Python, Node or C | [Embedding](guide::embedding) |
//! | know what a task costs, and make it cost less | [Performance](guide::performance) |
//! | collect something from each worker | [`Builder::exit_hook`], [`state`] |
//! | read the settings of a pool from a file | [`Settings`], [`Builder::settings`] |
//! | know whether a pool serves, for a probe | [`ProcessPoolExecutor::health`] |
//! | see how a pool stands, and what happens | [`ProcessPoolExecutor::stats`], [`ProcessPoolExecutor::events`] |
//! | know when a pool is over, and why | [`ProcessPoolExecutor::closed`] |
//! | break a pool for a reason of your own | [`ProcessPoolExecutor::abort`] |
//! | end a pool in good order | [`ProcessPoolExecutor::shutdown_with`] |
//! | run one function in a process of its own, for its result | [`Process::spawn`] |
//! | start a process, signal it, join it, as in Python | [`Process`] |
//! | talk to a process by pipes | [`ProcessStdio::Piped`], [`Process::take_stdout`] |
//! | wait for a process and for something else | [`Process::sentinel`] |
//! | see who this process is, and who has started it | [`current_process`], [`parent_process`] |
//! | see what this process has started | [`active_children`], [`ProcessPoolExecutor::workers`] |
//! | know what becomes of a task when its handle is dropped | [Conventions](guide::conventions#what-a-drop-does) |
//! | find the counterpart of what tokio has | [Coming from tokio](guide::coming_from_tokio) |
//! | find the counterpart of what Python has | [Coming from Python](guide::coming_from_python) |
//!
//! # Features
//!
//! All are off by default.
//!
//! * `tracing` emits events by the crate of that name. Level `DEBUG` is for workers that start,
//!   become ready, fail to start, leave or die, and for fork servers. Level `WARN` is for what
//!   somebody should know, for example a shutdown that waits. Level `ERROR` is for panics in
//!   callbacks and in handlers of worker output. Without this feature, warnings and errors are
//!   printed to standard error.
//! * `sandbox` adds [`Builder::sandbox`], which takes files, network and other processes from
//!   tasks, on Linux 6.2 or later.
//! * `hosts` adds [`Builder::hosts`]: workers on other machines, which `ssh` or any other command
//!   reaches. Nothing else changes:
//!
//!   ```ignore
//!   let hosts = [Host::local().workers(4), Host::ssh("node1")];
//!   let pool = ProcessPoolExecutor::builder().hosts(hosts).build()?;
//!   let factor = pool.run(smallest_factor, 62_710_561).await?;
//!   ```
//! * `fastrand2`, `rand09` and `rand010` each add the function of that name to [`reseed`], for the
//!   versions 2 of fastrand, 0.9 and 0.10 of rand.
//!
//! # When not to use it
//!
//! Arguments and results are encoded and cross a pipe (unless they are in a [`SharedSlice`]). A
//! round trip costs two process switches, some ten microseconds. Threads share memory and are
//! cheaper: where you trust the code not to crash, hang or leak, use
//! [`tokio::task::spawn_blocking`] or rayon.
//!
//! A process is the better choice for three kinds of code:
//!
//! * code that may take the service down, like parsers in C and plugins;
//! * code that must be killed when it takes too long, which no thread can be;
//! * code that wants an address space or an allocator of its own.
//!
//! The chapter on [choosing](guide::choosing) compares threads, pools and single processes, with
//! numbers and cases.
//!
//! # Platforms
//!
//! Linux is supported in full; [`StartMethod::ForkServer`] needs Linux 5.3 or later. Other Unix
//! systems are not tested yet. There, no tasks are sent ahead to busy workers, and no
//! [`SharedSlice`] can be made. Windows is not supported yet.
#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod base;
mod child;
mod codec;
mod error;
mod executor;
mod function;
#[cfg(feature = "hosts")]
mod host;
mod memory;
mod parent;
mod pool;
mod process;
mod roles;
#[cfg(feature = "sandbox")]
mod sandbox;
mod scheduler;
#[cfg(test)]
mod simulation;
mod sys;
#[cfg(test)]
mod testing;
mod wire;

pub use crate::base::{AuthKey, CurrentProcess, ResourceLimits, TaskId, WorkerId, current_process};
pub use crate::child::reseed;
pub use crate::child::{
    ContextError, Current, EmitError, StateError, current, preloaded, state, try_current,
};
pub use crate::codec::{Named, ValueForm};
pub use crate::error::build::{BuildError, ResizeError};
pub use crate::error::kind::{
    BrokenKind, BuildErrorKind, ProcessErrorKind, SubmitErrorKind, TaskErrorKind, TaskOutcome,
    UnknownWord,
};
pub use crate::error::{
    BrokenProcessPool, HostLoss, RunError, SubmitError, TaskError, TaskPanic, WorkerDeath,
};
pub use crate::executor::completion::{
    AsCompleted, AsCompletedWithin, Completed, Unfinished, as_completed,
};
pub use crate::executor::fork_server::{ForkServer, ForkServerBuilder};
pub use crate::executor::map::{Indexed, Map, Unindexed};
pub use crate::executor::settings::{PlainOutput, Settings};
pub use crate::executor::{
    Backoff, Builder, Deadline, EmittedError, EmittedStream, Ending, ProcessPoolExecutor,
    ProgressStream, ReturnWhen, Started, TaskBuilder, TaskHandle, TaskSet, WorkerCommand, wait,
};
pub use crate::function::{Callable, Evaluate, TaskFn, ValueForms, marker, value_forms};
#[cfg(feature = "hosts")]
pub use crate::host::Host;
pub use crate::memory::shared::{Plain, SharedBytes, SharedBytesMut, SharedSlice, SharedSliceMut};
pub use crate::parent::{Cgroup, OutputLine, StartMethod, WorkerOutput};
pub use crate::pool::task::{Progress, TaskStatus};
pub use crate::pool::watch::{
    DurationHistogram, Events, FunctionStats, Health, HostState, HostStats, PoolEvent, PoolStats,
    TaskOutcomes, WorkerInfo, WorkerState,
};
pub use crate::pool::{CloseReason, ExitResult, ExitTypeError, Shutdown, ShutdownReport};
pub use crate::process::{
    ParentProcess, Process, ProcessBuilder, ProcessError, ProcessHandle, ProcessStdio, Sentinel,
    active_children, parent_process,
};
pub use crate::roles::{init, worker_main};
#[cfg(feature = "sandbox")]
pub use crate::sandbox::Sandbox;
pub use crate::scheduler::{LeaveReason, OnWorkerDeath};

#[cfg(feature = "fastrand2")]
register!(reseed::fastrand2);
#[cfg(feature = "rand010")]
register!(reseed::rand010);
#[cfg(feature = "rand09")]
register!(reseed::rand09);

/// Chapters to read: how procpool compares with other tools, how workers start, what values can
/// cross, what a task costs, and how to test, deploy and embed a pool.
pub mod guide {
    #[doc = include_str!("../docs/guide/coming_from_python.md")]
    pub mod coming_from_python {}

    #[doc = include_str!("../docs/guide/coming_from_tokio.md")]
    pub mod coming_from_tokio {}

    #[doc = include_str!("../docs/guide/conventions.md")]
    pub mod conventions {}

    #[doc = include_str!("../docs/guide/running_tasks.md")]
    pub mod running_tasks {}

    #[doc = include_str!("../docs/guide/choosing.md")]
    pub mod choosing {}

    #[doc = include_str!("../docs/guide/start_methods.md")]
    pub mod start_methods {}

    #[doc = include_str!("../docs/guide/testing.md")]
    pub mod testing {}

    #[doc = include_str!("../docs/guide/in_production.md")]
    pub mod in_production {}

    #[doc = include_str!("../docs/guide/deploying.md")]
    pub mod deploying {}

    #[doc = include_str!("../docs/guide/hosts.md")]
    pub mod hosts {}

    #[doc = include_str!("../docs/guide/performance.md")]
    pub mod performance {}

    #[doc = include_str!("../docs/guide/values.md")]
    pub mod values {}

    #[doc = include_str!("../docs/guide/embedding.md")]
    pub mod embedding {}
}

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::codec::{AskedForm, round_trip};
    pub use crate::function::{Function, Probe, Registration, TestWorker, check, probes, search};
}

/// Compiles and runs the programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
