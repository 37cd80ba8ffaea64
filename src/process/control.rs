//! A process as its users hold it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::error::{ProcessError, ProcessFailure};
use super::monitor::{self, ReapGuard};
use super::shared::{self, Shared, Signal};
use crate::base::AuthKey;
use crate::base::timer::within;
use crate::sys::process::Sentinel;

/// A function that runs in a process of its own: the counterpart of Python's
/// `multiprocessing.Process`.
///
/// The function is [registered](crate::register!), and `main` calls [`init`](crate::init), as for a
/// pool. To have the function's result, write [`Process::spawn`], which is one line. Otherwise a
/// process has an exit code:
///
/// ```
/// # async fn example() -> Result<(), procpool::ProcessError> {
/// use procpool::Process;
///
/// fn greet(name: String) {
///     println!("hello {name}, this is {}", procpool::current_process().name());
/// }
///
/// procpool::register!(greet);
///
/// let process = Process::new(greet, "Bob".to_owned());
/// process.start().await?;
/// assert_eq!(process.join().await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// This is a handle. It is cheap to clone, and every method can be called from any task. Dropping
/// it does nothing to the process.
///
/// # Exit codes
///
/// | what happens | exit code |
/// |---|---|
/// | the function returns | 0 |
/// | it returns an `Err`, or panics; either is printed to its standard error | 1 |
/// | it calls `exit(n)` | n |
/// | signal n ends the process | -n |
/// | before Linux 6.15: other code of this program has waited for it, or SIGCHLD is ignored | 255 |
///
/// # Its surroundings
///
/// A tokio task watches it, on the runtime on which it was started. If that runtime ends first, the
/// process goes on, and is reaped all the same. Only a process that was [spawned](Self::spawn) for
/// its result is killed then.
///
/// It leads a process group of its own, so Ctrl-C does not reach it. Signals reach its children,
/// which are killed when it ends, as long as this process lives. With an
/// [inherited](crate::ProcessBuilder::stdin) standard input it has no group of its own, and none of
/// this holds.
///
/// Whatever this process has set, it begins with no signal blocked, few ignored, and no terminal;
/// see [signals and the terminal](crate::guide::start_methods#signals-and-the-terminal).
#[derive(Clone)]
#[must_use = "it does nothing until `start` is awaited"]
pub struct Process(pub(super) Arc<Shared>);

impl Process {
    /// Starts the process. When this returns, the process is about to call the function.
    ///
    /// # Errors
    ///
    /// * If it was started before.
    /// * If there is no tokio runtime.
    /// * If the function is not registered, or its arguments cannot be encoded.
    /// * If this process is a [daemon](crate::ProcessBuilder::daemon).
    /// * If the program cannot be run, does not call [`init`](crate::init), lacks the function, is
    ///   killed, or takes longer than the [start timeout](crate::ProcessBuilder::start_timeout).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the process is started nevertheless.
    pub async fn start(&self) -> Result<(), ProcessError> {
        self.begin()?;
        self.0.started().await
    }

    /// Starts it in the background.
    pub(super) fn begin(&self) -> Result<(), ProcessError> {
        let (runtime, plan, authkey) = self.0.begin()?;
        // A runtime that has ended drops what it is given, and that looks at the stage again.
        let run = monitor::run(ReapGuard::new(Arc::clone(&self.0)), plan, authkey);
        runtime.spawn(run.boxed());
        Ok(())
    }

    /// Waits until the process has ended, and returns its [exit code](Self::exitcode). Joining
    /// twice is fine. If its standard input is a pipe that nobody has taken, that pipe is closed
    /// first.
    ///
    /// # Errors
    ///
    /// If it has not been started, or could not be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn join(&self) -> Result<i32, ProcessError> {
        self.0.prepare_to_join()?;
        self.0.ended().await
    }

    /// As [`join`](Self::join), but waits no longer than this. It returns `None` if the process is
    /// still running then. With zero it only looks. The time is real time, even if the runtime's
    /// clock is paused.
    ///
    /// # Errors
    ///
    /// As `join`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn join_within(&self, limit: Duration) -> Result<Option<i32>, ProcessError> {
        if limit.is_zero() {
            return self.0.look();
        }
        self.0.prepare_to_join()?;
        within(limit, self.0.ended()).await.transpose()
    }

    /// Its name; `Process-1` and so on, unless [another](crate::ProcessBuilder::name) was chosen.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is a [daemon](crate::ProcessBuilder::daemon).
    pub fn daemon(&self) -> bool {
        self.0.daemon
    }

    /// Its process id. `None` before it is started. It stays the same after the end, when another
    /// process may have this id.
    pub fn pid(&self) -> Option<u32> {
        self.0.inner.lock().pid()
    }

    /// How it ended, or `None` if it has not; see [the table](Self#exit-codes).
    pub fn exitcode(&self) -> Option<i32> {
        self.0.inner.lock().exitcode()
    }

    /// Whether it was started and has not ended.
    pub fn is_alive(&self) -> bool {
        self.0.inner.lock().is_alive()
    }

    /// Asks it to end, by SIGTERM, and continues it (SIGCONT) if it is stopped. If it has ended
    /// already this does nothing.
    ///
    /// # Errors
    ///
    /// If it has not been started.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.0.signal(Signal::Terminate)
    }

    /// Ends it, by SIGKILL. If it has ended already this does nothing.
    ///
    /// # Errors
    ///
    /// If it has not been started.
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.0.signal(Signal::Kill)
    }

    /// Sends it SIGINT, as Ctrl-C does, and continues it (SIGCONT) if it is stopped. If it has
    /// ended already this does nothing.
    ///
    /// # Errors
    ///
    /// If it has not been started.
    pub fn interrupt(&self) -> Result<(), ProcessError> {
        self.0.signal(Signal::Interrupt)
    }

    /// Frees what the handle holds: the descriptor of the sentinel and the pipes. Afterwards every
    /// method that can fail does fail, and the others say what they said last. Closing twice is
    /// fine. A process that is not closed is freed when its last handle is dropped.
    ///
    /// # Errors
    ///
    /// If it is running.
    pub fn close(&self) -> Result<(), ProcessError> {
        self.0.close()
    }

    /// A descriptor that is ready once the process has ended, and can be awaited. Then
    /// [`is_alive`](Self::is_alive) is false, and [`exitcode`](Self::exitcode) is there.
    ///
    /// # Errors
    ///
    /// If it has not been started, or if there are too many open descriptors.
    pub fn sentinel(&self) -> Result<Sentinel, ProcessError> {
        let end = self.0.end()?;
        Sentinel::of(&end)
            .map_err(|error| self.0.error(ProcessFailure::Descriptor(Arc::new(error))))
    }

    /// The key that it has or will have; see [`AuthKey`].
    pub fn authkey(&self) -> AuthKey {
        self.0.inner.lock().authkey.clone()
    }

    /// Chooses another key for it.
    ///
    /// # Errors
    ///
    /// If it was started, because it has its key already.
    pub fn set_authkey(&self, key: AuthKey) -> Result<(), ProcessError> {
        self.0.set_authkey(key)
    }

    /// This end of its standard input, once, after its start, if that is
    /// [a pipe](crate::ProcessStdio::Piped).
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.0.inner.lock().pipes.stdin.take()
    }

    /// This end of its standard output, once, after its start, if that is [a
    /// pipe](crate::ProcessStdio::Piped). Read it: a process that prints more than the pipe holds
    /// waits until somebody reads.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.0.inner.lock().pipes.stdout.take()
    }

    /// As [`take_stdout`](Self::take_stdout), for its standard error.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.0.inner.lock().pipes.stderr.take()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("function", &self.0.function)
            .field("pid", &self.pid())
            .field("exitcode", &self.exitcode())
            .field("daemon", &self.daemon())
            .finish_non_exhaustive()
    }
}

/// The processes that this one has started and that have not ended, in the order of their starts.
/// It includes those of [`Process::spawn`]. It does not include workers of pools;
/// [`workers`](crate::ProcessPoolExecutor::workers) returns those. It is Python's function of the
/// same name.
pub fn active_children() -> Vec<Process> {
    shared::active().into_iter().map(Process).collect()
}
