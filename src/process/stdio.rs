//! The standard streams of a process.

use std::fs::File;
use std::io;
use std::process::Stdio;

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::pipe::{Handed, pipe};

/// What a standard stream of a [`Process`](crate::Process) is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessStdio {
    /// That of this process.
    Inherit,
    /// A pipe, of which this process has the other end: [`take_stdin`](crate::Process::take_stdin),
    /// [`take_stdout`](crate::Process::take_stdout), [`take_stderr`](crate::Process::take_stderr).
    Piped,
    /// Nothing can be read from it, and what is written to it is lost.
    Null,
}

/// What each of them is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    pub(super) stdin: ProcessStdio,
    pub(super) stdout: ProcessStdio,
    pub(super) stderr: ProcessStdio,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            stdin: ProcessStdio::Null,
            stdout: ProcessStdio::Inherit,
            stderr: ProcessStdio::Inherit,
        }
    }
}

impl Streams {
    /// Only the foreground group of a terminal may read from it.
    pub(super) fn need_own_group(self) -> bool {
        self.stdin != ProcessStdio::Inherit
    }

    pub(super) fn stderr(self) -> Stdio {
        match self.stderr {
            ProcessStdio::Inherit => Stdio::inherit(),
            ProcessStdio::Piped => Stdio::piped(),
            ProcessStdio::Null => Stdio::null(),
        }
    }
}

/// This process's ends of the pipes, as long as nobody has taken them.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

impl Pipes {
    /// Opens what is to be the child's standard input and output.
    pub(super) fn open(streams: Streams) -> io::Result<(Self, [Handed; 2])> {
        let (own_stdin, own_stdout) = Handed::own();
        let mut pipes = Self::default();
        let stdin = match streams.stdin {
            ProcessStdio::Inherit => own_stdin,
            ProcessStdio::Null => Handed::nowhere(File::options().read(true))?,
            ProcessStdio::Piped => {
                let (reader, writer) = pipe()?;
                pipes.stdin = Some(ChildStdin::from_std(writer.into())?);
                Handed::Opened(reader)
            }
        };
        let stdout = match streams.stdout {
            ProcessStdio::Inherit => own_stdout,
            ProcessStdio::Null => Handed::nowhere(File::options().write(true))?,
            ProcessStdio::Piped => {
                let (reader, writer) = pipe()?;
                pipes.stdout = Some(ChildStdout::from_std(reader.into())?);
                Handed::Opened(writer)
            }
        };
        Ok((pipes, [stdin, stdout]))
    }
}
