//! How a process is to be.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::control::Process;
use super::error::{ProcessFailure, StartFailure};
use super::handle::ProcessHandle;
use super::plan::Plan;
use super::shared::Shared;
use super::stdio::{ProcessStdio, Streams};
use crate::base::{AuthKey, current_process};
use crate::error::CallFailure;
use crate::function::{Call, Callable, Evaluate, TaskFn};
use crate::memory::Payload;
use crate::parent::{Program, program_limits, program_settings};
use crate::wire::frame::MAX_PAYLOAD;

impl Process {
    /// A process that is to run `function` with `args`. [`start`](Self::start) starts it. One
    /// argument is passed bare, several as a tuple, none as `()`. The arguments are encoded at
    /// once.
    pub fn new<F, A, M>(function: F, args: A) -> Self
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        Self::builder(function, args).build()
    }

    /// As [`new`](Self::new), with further settings.
    pub fn builder<F, A, M>(function: F, args: A) -> ProcessBuilder<A, F::Output>
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        ProcessBuilder::new(function, args)
    }

    /// Runs a function in a process of its own. The process starts at once, in the background.
    /// Await the handle for the function's result.
    ///
    /// ```
    /// # async fn example() -> Result<(), procpool::ProcessError> {
    /// fn parse(text: String) -> Option<f64> {
    ///     text.parse().ok() // by a library that may crash, say
    /// }
    ///
    /// procpool::register!(parse);
    ///
    /// let number = procpool::Process::spawn(parse, "2.5".to_owned()).await?;
    /// assert_eq!(number, Some(2.5));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A start takes some milliseconds. For many calls a [pool](crate::ProcessPoolExecutor) is
    /// cheaper, because its workers stay. The process never outlives this one. But it is not a
    /// [daemon](ProcessBuilder::daemon) in Python's sense: it may have children.
    ///
    /// This needs a tokio runtime. All errors, the lack of a runtime included, come when the handle
    /// is awaited.
    pub fn spawn<F, A, M, R>(function: F, args: A) -> ProcessHandle<R>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        ProcessBuilder::<A, R>::new(function, args).spawn_for()
    }
}

/// Configures a [`Process`]; see [`Process::builder`].
///
/// ```
/// # fn work(_: u32) {}
/// # procpool::register!(work);
/// use procpool::{Process, ProcessStdio};
///
/// let process = Process::builder(work, 12)
///     .name("night shift")
///     .daemon(true)
///     .stdout(ProcessStdio::Piped)
///     .build();
/// assert_eq!(process.name(), "night shift");
/// ```
///
/// `A` is the type of the arguments, and `R` that of what the function returns. So it can be a
/// field, or a parameter. An `async fn` returns a future, which has no name: see
/// [`awaited`](Self::awaited).
///
/// ```
/// # fn render(page: u32) -> Vec<u8> { vec![0; page as usize] }
/// # procpool::register!(render);
/// use procpool::{Process, ProcessBuilder, ProcessHandle};
///
/// struct Job {
///     process: ProcessBuilder<u32, Vec<u8>>,
/// }
///
/// impl Job {
///     fn spawn(&self) -> ProcessHandle<Vec<u8>> {
///         self.process.clone().spawn()
///     }
/// }
///
/// let job = Job { process: Process::builder(render, 12).name("page 12") };
/// # drop(job);
/// ```
#[must_use = "call `build` or `spawn` to make a process"]
pub struct ProcessBuilder<A, R> {
    settings: ProcessSettings<A>,
    result: PhantomData<fn() -> R>,
}

/// All that does not depend on what the function returns.
#[derive(Clone)]
struct ProcessSettings<A> {
    function: &'static str,
    /// Encodes the arguments for this function, which may take so many bytes.
    prepare: fn(&A, usize) -> Result<Call, ProcessFailure>,
    args: A,
    name: Option<String>,
    daemon: Option<bool>,
    authkey: Option<AuthKey>,
    streams: Streams,
    program: Program,
    start_timeout: Duration,
    max_payload: usize,
}

impl<A, R> ProcessBuilder<A, R> {
    /// `R` is what this function returns.
    fn new<F: 'static>(_: F, args: A) -> Self
    where
        A: Serialize,
    {
        let settings = ProcessSettings {
            function: type_name::<F>(),
            prepare: call::<F, A>,
            args,
            name: None,
            daemon: None,
            authkey: None,
            streams: Streams::default(),
            program: Program::default(),
            start_timeout: Duration::from_secs(30),
            max_payload: 1 << 30,
        };
        Self { settings, result: PhantomData }
    }

    /// The name of the process in messages, and in the process itself:
    /// [`current_process().name()`](crate::current_process). It need not be unique.
    ///
    /// Default: `Process-1`, `Process-2` and so on. The second process that `Process-1` makes is
    /// `Process-1:2`. The first one that worker 3 of a pool makes is `Process-w3:1`. Each process
    /// has such a number, whatever its name is.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// Whether it is a daemon in Python's sense. A daemon ends, with its whole process group, when
    /// the process ends that has started it, however that happens. It cannot start a [`Process`] of
    /// its own. It may have a pool, whose workers end with it.
    ///
    /// Any other process may outlive the process that has started it. Python waits for such
    /// processes at the end of a program. In Rust nothing does, so wait where `main` ends:
    ///
    /// ```
    /// # async fn example() -> Result<(), procpool::ProcessError> {
    /// for process in procpool::active_children() {
    ///     if !process.daemon() {
    ///         process.join().await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Default: inherited from the process that makes it. In a worker of a pool it is `true`, so
    /// that processes of a task end with the worker. For a process that is [spawned](Self::spawn)
    /// for its result it is `false`: it may have children, and it ends with the process that wants
    /// the result anyway.
    pub fn daemon(mut self, daemon: impl Into<Option<bool>>) -> Self {
        self.settings.daemon = daemon.into();
        self
    }

    /// The key that it shares with its parent and its children; see [`AuthKey`]. Default: the key
    /// of the process that makes it.
    pub fn authkey(mut self, key: impl Into<Option<AuthKey>>) -> Self {
        self.settings.authkey = key.into();
        self
    }

    /// Its standard input. Default: [`ProcessStdio::Null`], as in Python, whose children have none.
    ///
    /// With [`ProcessStdio::Inherit`] it stays in the process group of this process, because only
    /// the foreground group may read from a terminal. So Ctrl-C reaches it, too, and its children
    /// do not end with it.
    pub fn stdin(mut self, stdin: ProcessStdio) -> Self {
        self.settings.streams.stdin = stdin;
        self
    }

    /// Its standard output. Default: [`ProcessStdio::Inherit`]. What is printed before
    /// [`init`](crate::init) is lost.
    pub fn stdout(mut self, stdout: ProcessStdio) -> Self {
        self.settings.streams.stdout = stdout;
        self
    }

    /// Its standard error. Default: [`ProcessStdio::Inherit`].
    pub fn stderr(mut self, stderr: ProcessStdio) -> Self {
        self.settings.streams.stderr = stderr;
        self
    }

    program_limits! { settings.program }

    program_settings! { settings.program }

    /// How long it may take until it is about to call the function. A slower process is killed, and
    /// has failed to start. Default: 30 seconds, as one second proved too short for loaded
    /// machines.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.settings.start_timeout = limit;
        self
    }

    /// The most bytes that the arguments or the result may take when they are encoded. Default: 1
    /// GiB, so that a mistake ends in an error before it uses up the memory. The highest value is a
    /// little less than 4 GiB; more is taken as that.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes.min(MAX_PAYLOAD);
        self
    }

    /// Makes the process; [`start`](Process::start) starts it. It has an exit code and no result.
    pub fn build(self) -> Process {
        let daemon = self.settings.daemon;
        let daemon = daemon.unwrap_or_else(|| current_process().children_are_daemons());
        self.settings.make(daemon, false)
    }

    /// Makes the process and starts it for its result; see [`Process::spawn`].
    ///
    /// ```
    /// use procpool::{Evaluate, ProcessBuilder, ProcessHandle};
    /// use serde::{Serialize, de::DeserializeOwned};
    ///
    /// /// Of any function: `K` is found by the compiler.
    /// fn spawn_named<A, R, K>(process: ProcessBuilder<A, R>, name: &str) -> ProcessHandle<R::Output>
    /// where
    ///     R: Evaluate<K, Output: Serialize + DeserializeOwned + 'static>,
    /// {
    ///     process.name(name).spawn()
    /// }
    /// ```
    pub fn spawn<K>(self) -> ProcessHandle<R::Output>
    where
        R: Evaluate<K, Output: Serialize + DeserializeOwned + 'static>,
    {
        self.spawn_for()
    }

    /// `T` is the result: what the function returns, awaited.
    fn spawn_for<T>(self) -> ProcessHandle<T> {
        let daemon = self.settings.daemon.unwrap_or(false);
        let max_payload = self.settings.max_payload;
        ProcessHandle::start(self.settings.make(daemon, true), max_payload)
    }
}

impl<A, T: Future> ProcessBuilder<A, T> {
    /// The same builder, whose type has the result of an `async fn` in place of its future, which
    /// has no name. Nothing else changes: the process awaits the future in any case.
    ///
    /// ```
    /// # async fn fetch(page: u32) -> String { page.to_string() }
    /// # procpool::register!(fetch);
    /// use procpool::{Process, ProcessBuilder};
    ///
    /// let process: ProcessBuilder<u32, String> = Process::builder(fetch, 12).awaited();
    /// # drop(process);
    /// ```
    pub fn awaited(self) -> ProcessBuilder<A, T::Output> {
        ProcessBuilder { settings: self.settings, result: PhantomData }
    }
}

impl<A> ProcessSettings<A> {
    fn make(self, daemon: bool, typed: bool) -> Process {
        let this = current_process();
        let path = this.next_path();
        let name = self.name.unwrap_or_else(|| format!("Process-{path}"));
        let authkey = self.authkey.unwrap_or_else(|| this.authkey());
        let plan = Plan {
            function: self.function,
            call: (self.prepare)(&self.args, self.max_payload),
            typed,
            path,
            streams: self.streams,
            program: self.program,
            start_timeout: self.start_timeout,
            max_payload: self.max_payload,
        };
        Process(Arc::new(Shared::new(name, daemon, authkey, plan)))
    }
}

fn call<F: 'static, A: Serialize>(args: &A, limit: usize) -> Result<Call, ProcessFailure> {
    let encode = |choice: &_| Payload::encode(args, limit, choice);
    let unregistered = |name| StartFailure::Unregistered(name).into();
    Call::prepare::<F, _>(encode, unregistered, |name, error| {
        CallFailure::encoding(CallFailure::PROCESS, name, error).into()
    })
}

// Derived, it would be for results only that can be cloned.
impl<A: Clone, R> Clone for ProcessBuilder<A, R> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), result: PhantomData }
    }
}

impl<A, R> fmt::Debug for ProcessBuilder<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("function", &self.settings.function)
            .field("name", &self.settings.name)
            .field("daemon", &self.settings.daemon)
            .finish_non_exhaustive()
    }
}
