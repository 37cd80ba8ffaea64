//! A program that workers run in place of this one.

use std::path::{Path, PathBuf};

use crate::parent::Program;

/// A program and its arguments; what
/// [`Builder::worker_command`](crate::Builder::worker_command) takes.
#[derive(Clone, Debug)]
#[must_use = "hand it to `Builder::worker_command`"]
pub struct WorkerCommand(Program);

impl WorkerCommand {
    pub(super) fn into_program(self) -> Program {
        self.0
    }
}

/// This process's own program, as where no command is given.
impl Default for WorkerCommand {
    fn default() -> Self {
        Self(Program::default())
    }
}

macro_rules! worker_commands {
    ($($path:ty)*) => {$(
        impl From<$path> for WorkerCommand {
            fn from(program: $path) -> Self {
                Self(Program::named(program.as_ref()))
            }
        }
    )*};
}

worker_commands! { &str String &Path PathBuf }

/// The program, and its arguments.
impl<S: AsRef<std::ffi::OsStr>, const N: usize> From<[S; N]> for WorkerCommand {
    fn from(words: [S; N]) -> Self {
        Self(Program::in_words(words))
    }
}

/// The program, and its arguments. An empty `Vec` names no program, so no worker can be started.
impl<S: AsRef<std::ffi::OsStr>> From<Vec<S>> for WorkerCommand {
    fn from(words: Vec<S>) -> Self {
        Self(Program::in_words(words))
    }
}

impl From<std::process::Command> for WorkerCommand {
    fn from(command: std::process::Command) -> Self {
        Self(Program::of(&command))
    }
}
