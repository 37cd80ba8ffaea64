//! Pipes: the worker's end of the frames, and looks past tokio's readiness.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use bytes::BytesMut;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use super::descriptor::{Descriptor, move_out_of_the_way};
pub(crate) use super::kernel::is_accessible;
use super::kernel::set_pipe_size;
use super::socket::control_socket;

const NOWHERE: &str = "/dev/null";

/// The end to read from, and the one to write to; no child inherits them by itself.
pub(crate) fn pipe() -> io::Result<(Descriptor, Descriptor)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// The worker's end of its two frame pipes.
#[derive(Debug)]
pub(crate) struct FramePipes {
    pub(crate) input: File,
    pub(crate) output: File,
}

#[cfg(feature = "hosts")]
impl FramePipes {
    /// To be read and written by a runtime.
    ///
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    pub(crate) fn watched(
        self,
    ) -> io::Result<(tokio::process::ChildStdout, tokio::process::ChildStdin)> {
        widen(&self.input, &self.output);
        let input = ChildStdout::from(Descriptor::from(self.input));
        let output = ChildStdin::from(Descriptor::from(self.output));
        let input = tokio::process::ChildStdout::from_std(input)?;
        Ok((input, tokio::process::ChildStdin::from_std(output)?))
    }
}

/// A worker's ends of its pipes.
#[derive(Debug)]
pub(crate) struct WorkerPipes {
    pub(crate) input: Descriptor,
    pub(crate) output: Descriptor,
    pub(crate) stderr: Descriptor,
}

impl WorkerPipes {
    /// Makes them those of this process, of which standard input leads nowhere already.
    pub(crate) fn take(self) -> io::Result<FramePipes> {
        let input = move_out_of_the_way(self.input.as_fd())?;
        let output = move_out_of_the_way(self.output.as_fd())?;
        dup2_stdout(&self.stderr)?;
        dup2_stderr(&self.stderr)?;
        Ok(FramePipes { input: input.into(), output: output.into() })
    }

    /// To be sent to where the worker comes from.
    pub(crate) fn ends(&self) -> [&dyn AsFd; 3] {
        [&self.input, &self.output, &self.stderr]
    }
}

/// What a parent writes a worker's frames to.
#[derive(Debug)]
pub(crate) enum ParentInput {
    Pipe(ChildStdin),
    /// Over which descriptors travel, too.
    Socket(Descriptor),
}

/// With the worker's end: a socket if memory is to be sent to that, or could not be opened by it.
pub(crate) fn worker_input(sends_memory: bool) -> io::Result<(ParentInput, Descriptor)> {
    if is_accessible() && !sends_memory {
        let (theirs, ours) = pipe()?;
        return Ok((ParentInput::Pipe(ours.into()), theirs));
    }
    let (ours, theirs) = control_socket()?;
    Ok((ParentInput::Socket(ours), theirs))
}

/// The other ends of [`WorkerPipes`].
#[derive(Debug)]
pub(crate) struct ParentPipes {
    pub(crate) stdin: ParentInput,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// The pipes of a worker that is not started by a command, which would make them.
pub(crate) fn worker_pipes(sends_memory: bool) -> io::Result<(ParentPipes, WorkerPipes)> {
    let (stdin, input) = worker_input(sends_memory)?;
    let (stdout, output) = pipe()?;
    let (errors, stderr) = pipe()?;
    let ours = ParentPipes { stdin, stdout: stdout.into(), stderr: errors.into() };
    Ok((ours, WorkerPipes { input, output, stderr }))
}

impl TryFrom<Vec<Descriptor>> for WorkerPipes {
    type Error = io::Error;

    fn try_from(fds: Vec<Descriptor>) -> io::Result<Self> {
        let fds = <[Descriptor; 3]>::try_from(fds);
        let [input, output, stderr] = fds.map_err(|_| Errno::MFILE)?; // the rest had no room
        Ok(Self { input, output, stderr })
    }
}

/// Takes the frame pipes away from descriptors 0 and 1, so that user code may read and print by
/// whatever means: standard input becomes empty, standard output joins standard error.
pub(crate) fn take_frame_pipes() -> io::Result<FramePipes> {
    let output = move_out_of_the_way(stdout())?;
    let input = take_control_socket()?;
    Ok(FramePipes { input, output: output.into() })
}

/// What this process prints to, whatever code of the user's makes of its standard streams later.
///
/// Never closed, as a task may have done that already, and somebody else have its number.
#[derive(Debug)]
pub(crate) struct OwnOutput(ManuallyDrop<Descriptor>);

impl OwnOutput {
    pub(crate) fn of_process() -> io::Result<Self> {
        move_out_of_the_way(stderr()).map(ManuallyDrop::new).map(Self)
    }

    /// How many bytes the parent has not read yet; `None` if a filter does not let it tell.
    pub(crate) fn unread(&self) -> Option<u64> {
        ioctl_fionread(&*self.0).ok()
    }
}

/// Takes what connects this process to its parent away from descriptor 0, as [`take_frame_pipes`]
/// does, for those whose standard output is not part of that.
pub(crate) fn take_control_socket() -> io::Result<File> {
    let input = move_out_of_the_way(stdin())?;
    dup2_stdin(&File::open(NOWHERE)?)?;
    dup2_stdout(stderr())?;
    Ok(input.into())
}

/// Makes other descriptors this process's standard input and output.
pub(crate) fn set_standard_streams(input: Descriptor, output: Descriptor) -> io::Result<()> {
    dup2_stdin(input)?;
    Ok(dup2_stdout(output)?)
}

/// Whether descriptor 0 is a pipe.
pub(crate) fn is_stdin_pipe() -> bool {
    is_stdin(FileType::Fifo)
}

/// Whether descriptor 0 is a socket.
pub(crate) fn is_stdin_socket() -> bool {
    is_stdin(FileType::Socket)
}

pub(crate) fn is_socket(fd: impl AsFd) -> bool {
    is_of_kind(fd, FileType::Socket)
}

fn is_stdin(kind: FileType) -> bool {
    is_of_kind(stdin(), kind)
}

fn is_of_kind(fd: impl AsFd, kind: FileType) -> bool {
    fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind)
}

/// Writes to descriptor 0, which is a socket in a process that has its parent there.
pub(crate) fn write_to_stdin(bytes: &[u8]) -> io::Result<()> {
    let socket = stdin().try_clone_to_owned()?;
    File::from(socket).write_all(bytes)
}

/// One of a child's streams, as it is handed to it.
pub(crate) enum Handed {
    Own(BorrowedFd<'static>),
    Opened(Descriptor),
}

impl Handed {
    /// This process's own standard input and output.
    pub(crate) fn own() -> (Self, Self) {
        (Self::Own(stdin()), Self::Own(stdout()))
    }

    /// Nothing can be read from it, and what is written to it is lost.
    pub(crate) fn nowhere(options: &OpenOptions) -> io::Result<Self> {
        Ok(Self::Opened(options.open(NOWHERE)?.into()))
    }
}

impl AsFd for Handed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

/// How much a pipe takes at once. What is larger has to wait for the reader in the middle, who then
/// gets it in pieces.
#[derive(Debug)]
pub(crate) struct PipeWidth(usize);

impl Default for PipeWidth {
    /// Of a pipe as the system makes it.
    fn default() -> Self {
        Self(64 << 10)
    }
}

impl PipeWidth {
    /// The most that an ordinary user may have.
    const MOST: usize = 1 << 20;
    /// A pipe counts in pages, and does not fill up each of them.
    const SPARE: usize = 4 << 10;

    /// Widens the pipe for a frame of that size. It is as good as before if there is no more to be
    /// had: all pipes of a user together may have so much.
    #[inline]
    pub(crate) fn fit(&mut self, fd: impl AsFd, length: usize) {
        let wanted = length.saturating_add(Self::SPARE).min(Self::MOST);
        if wanted > self.0 {
            self.0 = wanted.next_power_of_two();
            set_pipe_size(fd, self.0);
        }
    }
}

/// Widens the pipes of a connection over which much goes, as far as they are pipes.
#[cfg(feature = "hosts")]
pub(crate) fn widen(input: impl AsFd, output: impl AsFd) {
    const MUCH: usize = (512 << 10) - PipeWidth::SPARE; // with it, not a byte above this power
    PipeWidth::default().fit(input, MUCH);
    PipeWidth::default().fit(output, MUCH);
}

/// Reads behind what a buffer has, into room that it has already, and no more bytes than that;
/// waits for the first of them. Returns how many were read: zero at the end.
pub(crate) fn read_behind(fd: impl AsFd, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let room = buffer.spare_capacity_mut();
    let most = most.min(room.len());
    let count = loop {
        match rustix::io::read(&fd, &mut room[..most]) {
            Ok((read, _)) => break read.len(),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    // SAFETY: so many bytes behind those that the buffer had were just written, within its
    // capacity.
    #[expect(unsafe_code, reason = "takes in bytes that were read")]
    unsafe {
        buffer.set_len(buffer.len() + count);
    }
    Ok(count)
}

/// Reads what is in a non-blocking pipe at this moment, and no more: somebody may go on writing as
/// fast as it is read. Unlike a read through tokio it does not depend on an event that the reactor
/// may not have seen yet.
pub(crate) fn read_available(fd: impl AsFd, buffer: &mut BytesMut) -> io::Result<()> {
    let mut left = usize::try_from(ioctl_fionread(&fd)?).unwrap_or(usize::MAX);
    let mut chunk = [0_u8; 4096];
    while left > 0 {
        let wanted = left.min(chunk.len());
        match rustix::io::read(&fd, &mut chunk[..wanted]) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                left -= count;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::{ioctl_fionbio, write};
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn everything_written_is_available() {
        let (reader, writer) = pipe().unwrap();
        ioctl_fionbio(&reader, true).unwrap();
        write(&writer, &[7; 10_000]).unwrap();
        let mut buffer = BytesMut::new();
        read_available(&reader, &mut buffer).unwrap();
        assert_eq!(buffer.len(), 10_000);
    }

    #[test]
    fn what_is_written_meanwhile_is_not_waited_for() {
        let (reader, writer) = pipe().unwrap();
        ioctl_fionbio(&reader, true).unwrap();
        let flood = || {
            let writer = writer.try_clone().unwrap();
            std::thread::spawn(move || while write(&writer, &[7; 8 << 10]).is_ok() {})
        };
        let floods = [flood(), flood(), flood()];
        drop(writer);
        while ioctl_fionread(&reader).unwrap() < 32 << 10 {
            std::thread::yield_now();
        }
        let capacity = rustix::pipe::fcntl_getpipe_size(&reader).unwrap();
        for _ in 0..1000 {
            let mut buffer = BytesMut::new();
            read_available(&reader, &mut buffer).unwrap();
            assert!(buffer.len() <= capacity, "{}", buffer.len());
        }
        drop(reader);
        for flood in floods {
            flood.join().unwrap();
        }
    }

    #[test]
    fn a_pipe_is_as_wide_as_what_is_written() {
        let (reader, writer) = pipe().unwrap();
        let size = || rustix::pipe::fcntl_getpipe_size(&reader).unwrap();
        let (before, mut width) = (size(), PipeWidth::default());
        width.fit(&writer, 1000);
        assert_eq!(size(), before);
        width.fit(&writer, 64 << 10);
        let wider = size();
        // Unless the user's pipes have all that they may.
        assert!(wider == 128 << 10 || wider == before, "{wider}");
        width.fit(&writer, usize::MAX);
        assert!(size() == 1 << 20 || size() == wider);
        PipeWidth::default().fit(File::open("/dev/null").unwrap(), 1 << 20); // it does no harm
    }
}
