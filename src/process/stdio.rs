//! The standard streams of a process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::pipe::own_standard_streams;

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

/// One of the child's streams, as it is handed to it.
pub(super) enum Handed {
    Own(BorrowedFd<'static>),
    Opened(OwnedFd),
}

impl AsFd for Handed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Pipes {
    /// Opens what is to be the child's standard input and output.
    pub(super) fn open(streams: Streams) -> io::Result<(Self, [Handed; 2])> {
        let (own_stdin, own_stdout) = own_standard_streams();
        let mut pipes = Self::default();
        let stdin = match streams.stdin {
            ProcessStdio::Inherit => Handed::Own(own_stdin),
            ProcessStdio::Null => Handed::Opened(File::open("/dev/null")?.into()),
            ProcessStdio::Piped => {
                let (reader, writer) = io::pipe()?;
                let writer = std::process::ChildStdin::from(OwnedFd::from(writer));
                pipes.stdin = Some(ChildStdin::from_std(writer)?);
                Handed::Opened(reader.into())
            }
        };
        let stdout = match streams.stdout {
            ProcessStdio::Inherit => Handed::Own(own_stdout),
            ProcessStdio::Null => {
                Handed::Opened(File::options().write(true).open("/dev/null")?.into())
            }
            ProcessStdio::Piped => {
                let (reader, writer) = io::pipe()?;
                let reader = std::process::ChildStdout::from(OwnedFd::from(reader));
                pipes.stdout = Some(ChildStdout::from_std(reader)?);
                Handed::Opened(writer.into())
            }
        };
        Ok((pipes, [stdin, stdout]))
    }
}
