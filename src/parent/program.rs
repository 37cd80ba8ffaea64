//! The program that child processes run, and how one is started without being left behind.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::error::StartError;
use crate::function::TestWorker;
/// What names a descriptor to a child.
pub(crate) use crate::sys::descriptor::RawDescriptor;
use crate::sys::process::own_command;
use crate::wire::role::Role;

/// A program with its circumstances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// Program and arguments; `None` for this process's own program.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) env: Environment,
    pub(crate) current_dir: Option<PathBuf>,
    /// What it keeps of the descriptors that it inherits.
    pub(crate) pass_fds: Vec<RawDescriptor>,
}

/// How an environment differs from that of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// It inherits nothing.
    clear: bool,
    /// In the order in which they were asked for. `None` removes a variable.
    changes: Vec<(OsString, Option<OsString>)>,
}

impl Environment {
    pub(crate) fn set(&mut self, key: &OsStr, value: &OsStr) {
        self.changes.push((key.to_owned(), Some(value.to_owned())));
    }

    pub(crate) fn remove(&mut self, key: &OsStr) {
        self.changes.push((key.to_owned(), None));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { clear: true, changes: Vec::new() };
    }

    /// As far as a command tells: not whether it was cleared.
    pub(crate) fn of(command: &Command) -> Self {
        let changes = command.get_envs();
        let changes = changes.map(|(key, value)| (key.into(), value.map(Into::into)));
        Self { clear: false, changes: changes.collect() }
    }

    pub(crate) fn extend(&mut self, later: Self) {
        self.changes.extend(later.changes);
    }

    fn prepare(&self, command: &mut Command) {
        if self.clear {
            command.env_clear();
        }
        for (key, value) in &self.changes {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
    }
}

impl Program {
    /// What to say if no process could be made of it.
    pub(super) fn failed(&self, error: io::Error) -> StartError {
        StartError::Spawn { program: self.name(), source: Arc::new(error) }
    }

    pub(crate) fn name(&self) -> String {
        let first = || std::env::args_os().next().unwrap_or_default();
        let own = || std::env::current_exe().map_or_else(|_| first(), Into::into);
        let program = self.command.as_ref().and_then(|command| command.first().cloned());
        program.unwrap_or_else(own).to_string_lossy().into_owned()
    }

    /// The command that starts it in a role. Its standard streams and its group are left to the
    /// caller.
    pub(crate) fn command(&self, role: Role) -> io::Result<Command> {
        let mut command = match &self.command {
            Some(words) => {
                let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            None => own_program()?,
        };
        command.arg(role.flag());
        self.env.prepare(&mut command);
        if let Some(directory) = &self.current_dir {
            assert_enterable(directory)?;
            command.current_dir(directory);
        }
        Ok(command)
    }

    /// What to say of a process that ended before its hello.
    pub(crate) fn hint(&self) -> &'static str {
        match self.command {
            None => {
                "\nit did not get as far as `procpool::init()`: make that the first statement of \
                 `main`, and put `procpool::test_support!();` into test binaries"
            }
            Some(_) => {
                "\nit was started by `worker_command`: does it call `procpool::worker_main()`?"
            }
        }
    }
}

/// Spawning would fail with the same error, but as if it were the program that is missing.
fn assert_enterable(directory: &Path) -> io::Result<()> {
    let entered = std::fs::metadata(directory.join("."));
    entered.map(drop).map_err(|error| {
        let text = format!("its directory `{}` cannot be entered: {error}", directory.display());
        io::Error::new(error.kind(), text)
    })
}

/// This process's own program, as a child.
fn own_program() -> io::Result<Command> {
    let mut command = own_command()?;
    if let Some(test) = TestWorker::name() {
        // The test harness is told to run the one test that turns into the worker. What comes
        // after `--` it takes for the names of further tests.
        command.args([&*test, "--exact", "--nocapture", "--test-threads=1", "--"]);
    }
    Ok(command)
}

/// Runs what starts a child process, which blocks for a moment. It has a thread of its own, because
/// those that the runtime has for what blocks may all be taken for long.
pub(crate) async fn start_child<T: Send + 'static>(
    start: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, started) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new().name("procpool-spawner".to_owned()).spawn(move || {
        let _entered = runtime.enter();
        let started = catch_unwind(AssertUnwindSafe(start));
        let _ = sender.send(started.unwrap_or_else(|panic| Err(unsupported(&*panic))));
    })?;
    started.await.unwrap_or_else(|_| Err(io::ErrorKind::Unsupported.into()))
}

/// This is how tokio says that a runtime lacks something.
fn unsupported(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    io::Error::new(io::ErrorKind::Unsupported, text.unwrap_or_default())
}
