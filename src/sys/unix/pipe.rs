//! Pipes: the worker's end of the frames, and looks past tokio's readiness.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

/// The worker's end of its two frame pipes.
#[derive(Debug)]
pub(crate) struct FramePipes {
    pub(crate) input: File,
    pub(crate) output: File,
}

/// A worker's ends of its pipes.
#[derive(Debug)]
pub(crate) struct WorkerPipes {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) stderr: OwnedFd,
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

    pub(crate) fn as_fds(&self) -> [BorrowedFd<'_>; 3] {
        [self.input.as_fd(), self.output.as_fd(), self.stderr.as_fd()]
    }
}

/// The other ends of [`WorkerPipes`].
#[derive(Debug)]
pub(crate) struct ParentPipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// The pipes of a worker that is not started by a command, which would make them.
pub(crate) fn worker_pipes() -> io::Result<(ParentPipes, WorkerPipes)> {
    let (input, stdin) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdout, output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    let ours = ParentPipes { stdin: stdin.into(), stdout: stdout.into(), stderr: errors.into() };
    Ok((ours, WorkerPipes { input, output, stderr }))
}

impl TryFrom<Vec<OwnedFd>> for WorkerPipes {
    type Error = io::Error;

    fn try_from(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let fds = <[OwnedFd; 3]>::try_from(fds);
        let [input, output, stderr] = fds.map_err(|_| Errno::MFILE)?; // the rest had no room
        Ok(Self { input, output, stderr })
    }
}

/// Takes the frame pipes away from descriptors 0 and 1, so that user code may read and print by
/// whatever means: standard input becomes empty, standard output joins standard error.
pub(crate) fn take_frame_pipes() -> io::Result<FramePipes> {
    let output = move_out_of_the_way(stdout())?;
    let input = take_control_socket()?;
    Ok(FramePipes { input: input.into(), output: output.into() })
}

/// Takes what connects this process to its parent away from descriptor 0, as [`take_frame_pipes`]
/// does, for those whose standard output is not part of that.
pub(crate) fn take_control_socket() -> io::Result<OwnedFd> {
    let input = move_out_of_the_way(stdin())?;
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(stderr())?;
    Ok(input)
}

/// Makes other descriptors this process's standard input and output.
pub(crate) fn set_standard_streams(input: impl AsFd, output: impl AsFd) -> io::Result<()> {
    dup2_stdin(input)?;
    Ok(dup2_stdout(output)?)
}

/// This process's own standard input and output, to be handed on.
pub(crate) fn own_standard_streams() -> (BorrowedFd<'static>, BorrowedFd<'static>) {
    (stdin(), stdout())
}

/// Writes to descriptor 0, which is a socket in a process that has its parent there.
pub(crate) fn write_to_stdin(bytes: &[u8]) -> io::Result<()> {
    let socket = stdin().try_clone_to_owned()?;
    File::from(socket).write_all(bytes)
}

/// Copies a descriptor to a high number, where a task that closes "all the low ones", or uses a
/// wrong number, is unlikely to hit it.
pub(super) fn move_out_of_the_way(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const RESERVE: u64 = 16;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1024).min(1024);
    let high = i32::try_from(limit.saturating_sub(RESERVE)).unwrap_or(0).max(3);
    Ok(fcntl_dupfd_cloexec(fd, high).or_else(|_| fcntl_dupfd_cloexec(fd, 3))?)
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

#[cfg(target_os = "linux")]
fn set_pipe_size(fd: impl AsFd, size: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(fd, size);
}

#[cfg(not(target_os = "linux"))]
fn set_pipe_size(_: impl AsFd, _: usize) {}

/// Blocks until the other end of a pipe is closed, or until this end is, or until the process has
/// ended.
pub(crate) fn wait_for_hangup(fd: BorrowedFd<'_>, process: Option<BorrowedFd<'_>>) {
    // No event is asked for, so data does not wake the thread; a hangup is always reported.
    wait_for(fd, PollFlags::empty(), process);
}

/// Blocks until a read would not block, and says so, or until the process has ended.
pub(crate) fn wait_for_input(fd: BorrowedFd<'_>, process: Option<BorrowedFd<'_>>) -> bool {
    wait_for(fd, PollFlags::IN, process)
}

/// False if the process has ended, which is what a pidfd tells.
fn wait_for(fd: BorrowedFd<'_>, wanted: PollFlags, process: Option<BorrowedFd<'_>>) -> bool {
    let first = PollFd::from_borrowed_fd(fd, wanted);
    let second = process.map(|process| PollFd::from_borrowed_fd(process, PollFlags::IN));
    let mut fds: Vec<_> = [first].into_iter().chain(second).collect();
    loop {
        match poll(&mut fds, None) {
            Ok(0) | Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => return fds.get(1).is_none_or(|process| process.revents().is_empty()),
        }
    }
}

/// Reads what is in a pipe at this moment, be it blocking or not. `None` if there is nothing, or if
/// the system cannot do that.
#[cfg(target_os = "linux")]
pub(crate) fn read_now(fd: impl AsFd, buffer: &mut [u8]) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    const NO_OFFSET: u64 = u64::MAX;
    let mut buffers = [io::IoSliceMut::new(buffer)];
    preadv2(fd, &mut buffers, NO_OFFSET, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read_now(_: impl AsFd, _: &mut [u8]) -> Option<usize> {
    None
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

/// Whether the other end is closed.
pub(crate) fn has_hung_up(fd: impl AsFd) -> bool {
    !events(fd, PollFlags::empty()).is_empty()
}

/// Whether a read would not block.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    !events(fd, PollFlags::IN).is_empty()
}

fn events(fd: impl AsFd, wanted: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&fd, wanted)];
    while let Err(Errno::INTR) = poll(&mut fds, Some(&Timespec::default())) {}
    fds[0].revents()
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
    fn a_hangup_is_seen_and_data_is_not() {
        let (reader, writer) = pipe().unwrap();
        write(&writer, b"data").unwrap();
        let waiter = std::thread::spawn(move || wait_for_hangup(reader.as_fd(), None));
        drop(writer);
        waiter.join().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_end_of_a_process_is_seen_though_its_pipe_is_open() {
        let (reader, _writer) = pipe().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = super::super::child::open_process(child.id()).unwrap();
        assert!(!wait_for_input(reader.as_fd(), Some(process.as_fd())));
        wait_for_hangup(reader.as_fd(), Some(process.as_fd()));
        child.wait().unwrap();
    }

    #[test]
    fn looking_at_a_pipe_does_not_block() {
        let (reader, writer) = pipe().unwrap();
        assert!(!has_hung_up(&reader) && !is_readable(&reader));
        write(&writer, b"data").unwrap();
        assert!(!has_hung_up(&reader) && is_readable(&reader));
        drop(writer);
        assert!(has_hung_up(&reader));
    }

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

    #[test]
    fn a_descriptor_moves_to_a_high_number() {
        use std::os::fd::AsRawFd;

        let (reader, _writer) = pipe().unwrap();
        assert!(move_out_of_the_way(reader.as_fd()).unwrap().as_raw_fd() > 8);
    }
}
