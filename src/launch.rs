//! How workers are started, and what is said when that fails.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use crate::child::WORKER_FLAG;
use crate::error::{InitializerFailure, StartError};
use crate::exit::ExitHook;
use crate::id::WorkerId;
use crate::output::WorkerOutput;
use crate::payload::Payload;
use crate::registry::{Registry, TestWorker};
use crate::sys::{SharedPageRef, own_executable};
use crate::wire::{Hello, MemoryLimits, Stop};

/// How workers are started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Program and arguments; `None` for this process's own program.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) initializer: Option<Arc<Call>>,
    pub(crate) exit_hook: Option<Arc<ExitHook>>,
    pub(crate) max_payload: usize,
    pub(crate) memory: MemoryLimits,
    pub(crate) output: WorkerOutput,
    pub(crate) start_timeout: Duration,
}

/// A call that each worker makes once.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) function: u32,
    pub(crate) arguments: Payload,
}

impl Launch {
    pub(crate) fn program_name(&self) -> String {
        let own = || std::env::current_exe().map(Into::into).unwrap_or_default();
        let program = self.command.as_ref().and_then(|command| command.first().cloned());
        program.unwrap_or_else(own).to_string_lossy().into_owned()
    }

    pub(crate) fn command(&self) -> io::Result<Command> {
        let mut command = match &self.command {
            Some(words) => {
                let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            None => own_command()?,
        };
        command.arg(WORKER_FLAG).envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(directory) = &self.current_dir {
            assert_enterable(directory)?;
            command.current_dir(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0); // Ctrl-C belongs to the parent
        Ok(command)
    }

    pub(crate) fn hello(&self, worker: WorkerId, claims: Option<SharedPageRef>) -> Hello {
        let initializer = self.initializer.as_ref().map(|initializer| initializer.function);
        let functions = Registry::global().names();
        Hello::new(worker, self.max_payload, self.memory, functions, initializer, claims)
    }

    pub(crate) fn stop(&self) -> (Stop, Payload) {
        let call = self.exit_hook.as_ref().map(|hook| &hook.call);
        let arguments = call.map(|call| call.arguments.clone()).unwrap_or_default();
        (Stop { exit_hook: call.map(|call| call.function) }, arguments)
    }

    /// What to say of a worker that ended before its hello.
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

    pub(crate) fn initializer_failed(&self, failure: InitializerFailure) -> StartError {
        let function = self.initializer.as_ref().map_or("", |initializer| initializer.name);
        StartError::Initializer { function, failure }
    }

    pub(crate) fn timed_out(&self, pid: u32, initialising: bool) -> StartError {
        let limit = self.start_timeout;
        if initialising && self.initializer.is_some() {
            return self.initializer_failed(InitializerFailure::Timeout { pid, limit });
        }
        let hint = if initialising { "" } else { self.hint() };
        StartError::Timeout { pid, limit, hint }
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

/// This process's own program, as a worker.
fn own_command() -> io::Result<Command> {
    let mut command = Command::new(own_executable()?);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    if let Some(test) = TestWorker::name() {
        // The test harness is told to run the one test that turns into the worker. What comes
        // after `--` it takes for the names of further tests.
        command.args([&*test, "--exact", "--nocapture", "--test-threads=1", "--"]);
    }
    Ok(command)
}
