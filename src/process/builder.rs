//! How a process is to be.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::control::Process;
use super::error::{ProcessFailure, StartFailure};
use super::handle::ProcessHandle;
use super::plan::Plan;
use super::shared::Shared;
use super::stdio::{ProcessStdio, Streams};
use crate::base::{AuthKey, current_process};
use crate::error::CallFailure;
use crate::function::{Call, Callable, TaskFn};
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

    /// As [`new`](Self::new), with more to choose.
    pub fn builder<F, A>(function: F, args: A) -> ProcessBuilder<F, A> {
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
    /// cheaper, as its workers stay. The process never outlives this one, but it is no
    /// [daemon](ProcessBuilder::daemon) in Python's sense: it may have children.
    ///
    /// This needs a tokio runtime. All errors, the lack of a runtime included, come when the handle
    /// is awaited.
    pub fn spawn<F, A, M, R>(function: F, args: A) -> ProcessHandle<R>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        Self::builder(function, args).spawn()
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
#[derive(Clone)]
#[must_use = "call `build` or `spawn` to make a process"]
pub struct ProcessBuilder<F, A> {
    function: PhantomData<F>,
    args: A,
    name: Option<String>,
    daemon: Option<bool>,
    authkey: Option<AuthKey>,
    streams: Streams,
    program: Program,
    start_timeout: Duration,
    max_payload: usize,
}

impl<F, A> ProcessBuilder<F, A> {
    pub(super) fn new(_: F, args: A) -> Self {
        Self {
            function: PhantomData,
            args,
            name: None,
            daemon: None,
            authkey: None,
            streams: Streams::default(),
            program: Program::default(),
            start_timeout: Duration::from_secs(30),
            max_payload: 1 << 30,
        }
    }

    /// The name of the process in messages, and in the process itself:
    /// [`current_process().name()`](crate::current_process). It need not be unique.
    ///
    /// Default: `Process-1`, `Process-2` and so on. The second process that `Process-1` makes is
    /// `Process-1:2`. The first one that worker 3 of a pool makes is `Process-w3:1`. Each process
    /// has such a number, whatever its name is.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it is a daemon in Python's sense. A daemon ends, with all of its process group, when
    /// the process that has started it ends, however that ends. It may have no [`Process`] of its
    /// own. It may have a pool, whose workers end with it.
    ///
    /// A process that is no daemon outlives the process that has started it. Python waits for such
    /// processes at the end of a program. Rust has no place for that, so do it where `main` ends:
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
    /// Default: as the process in which it is made. In a worker of a pool it is `true`, so that
    /// what a task has started ends with it. For a process that is [spawned](Self::spawn) for its
    /// result it is `false`: it may have children, and in any case it ends with the process that
    /// wants the result.
    pub fn daemon(mut self, daemon: impl Into<Option<bool>>) -> Self {
        self.daemon = daemon.into();
        self
    }

    /// The key that it shares with its relatives; see [`AuthKey`]. Default: the key of the process
    /// in which it is made.
    pub fn authkey(mut self, key: impl Into<Option<AuthKey>>) -> Self {
        self.authkey = key.into();
        self
    }

    /// Its standard input. Default: [`ProcessStdio::Null`], as in Python, whose children have none.
    ///
    /// With [`ProcessStdio::Inherit`] it stays in the process group of this process, because only
    /// the foreground group may read from a terminal. So Ctrl-C reaches it, too, and what it has
    /// started does not end with it.
    pub fn stdin(mut self, stdin: ProcessStdio) -> Self {
        self.streams.stdin = stdin;
        self
    }

    /// Its standard output. Default: [`ProcessStdio::Inherit`]. What is printed before
    /// [`init`](crate::init) is lost.
    pub fn stdout(mut self, stdout: ProcessStdio) -> Self {
        self.streams.stdout = stdout;
        self
    }

    /// Its standard error. Default: [`ProcessStdio::Inherit`].
    pub fn stderr(mut self, stderr: ProcessStdio) -> Self {
        self.streams.stderr = stderr;
        self
    }

    program_limits! { program }

    program_settings! { program }

    /// How long it may take until it is about to call the function. A slower process is killed, and
    /// has failed to start. Default: 30 seconds, as one second proved too short for loaded
    /// machines.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// The most bytes that the arguments or the result may take when they are encoded. Default: 1
    /// GiB, so that a mistake ends in an error before it uses up the memory. The highest value is a
    /// little less than 4 GiB; more is taken as that.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes.min(MAX_PAYLOAD);
        self
    }

    /// Makes the process; [`start`](Process::start) starts it. It has an exit code and no result.
    pub fn build<M>(self) -> Process
    where
        F: Callable<A, M>,
        A: Serialize,
    {
        let daemon = self.daemon.unwrap_or_else(|| current_process().children_are_daemons());
        self.make(daemon, false)
    }

    /// Makes the process and starts it for its result; see [`Process::spawn`].
    pub fn spawn<M, R>(self) -> ProcessHandle<R>
    where
        F: TaskFn<A, M, Output = R>,
        A: Serialize,
    {
        let daemon = self.daemon.unwrap_or(false);
        let max_payload = self.max_payload;
        ProcessHandle::start(self.make(daemon, true), max_payload)
    }

    fn make(self, daemon: bool, typed: bool) -> Process
    where
        F: 'static,
        A: Serialize,
    {
        let this = current_process();
        let path = this.next_path();
        let name = self.name.unwrap_or_else(|| format!("Process-{path}"));
        let authkey = self.authkey.unwrap_or_else(|| this.authkey());
        let plan = Plan {
            function: type_name::<F>(),
            call: call::<F, A>(&self.args, self.max_payload),
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

impl<F, A> fmt::Debug for ProcessBuilder<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("function", &type_name::<F>())
            .field("name", &self.name)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}
