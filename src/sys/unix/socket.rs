//! Sockets between this process and a child, over which descriptors travel.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionread};
use tokio::io::Interest;
use tokio::net::UnixStream;

pub(crate) use super::ancillary::MOST_FDS;
use super::ancillary::{receive, send};
use super::descriptor::Descriptor;
use super::kernel::RECEIVE;

/// The most bytes that are received at a time.
const PIECE: usize = 64 << 10;

/// Two connected ends: one for this process, which does not block, and one for a child. Neither is
/// inherited by a child unless it is made one of its standard streams.
pub(crate) fn control_socket() -> io::Result<(Descriptor, Descriptor)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours.into(), theirs.into()))
}

/// This process's end of a [`control_socket`], watched by the runtime.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    pub(crate) fn new(ours: Descriptor) -> io::Result<Self> {
        UnixStream::from_std(StdStream::from(ours)).map(Self)
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }

    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.0.try_read_buf(buffer)
    }

    /// As [`send_with_descriptors`].
    pub(crate) fn try_send(&self, bytes: &[u8], descriptors: &[&dyn AsFd]) -> io::Result<usize> {
        self.0.try_io(Interest::WRITABLE, || send_with_descriptors(&self.0, bytes, descriptors))
    }

    /// Waits until something can be sent, and sends it, as [`send_memory`] does.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        descriptors: &[&Descriptor],
    ) -> Poll<io::Result<usize>> {
        let descriptors: Vec<_> = descriptors.iter().map(|fd| *fd as &dyn AsFd).collect();
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            let attempt = || send_memory(&self.0, bytes, &descriptors);
            match self.0.try_io(Interest::WRITABLE, attempt) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    /// Descriptors that were [sent](send_descriptors): so many, if they are there, and what came in
    /// one message with them.
    pub(crate) fn receive_descriptors(&self, count: usize) -> Vec<Descriptor> {
        // Who sends without end, with descriptors or without, is not listened to without end.
        const MOST: usize = 1024;
        let (most, mut received) = (count.min(MOST), Vec::new());
        for _ in 0..most {
            if received.len() >= most {
                break;
            }
            let Ok((1.., mut more)) = receive_with_descriptors(&self.0, &mut [0]) else { break };
            received.append(&mut more);
        }
        received
    }

    /// Sends all of it, with descriptors that travel with its first bytes.
    pub(crate) async fn send_all(
        &self,
        bytes: &mut impl Buf,
        descriptors: &mut Vec<Descriptor>,
    ) -> io::Result<()> {
        while bytes.has_remaining() {
            let (piece, sent) = next_piece(bytes.chunk(), descriptors.len());
            let some: Vec<_> = descriptors.iter().take(sent).collect();
            let count = poll_fn(|cx| self.poll_send(cx, piece, &some)).await?;
            descriptors.drain(..sent);
            bytes.advance(count);
        }
        Ok(())
    }

    /// Reads what there is behind what the buffer has; returns how many bytes that was, 0 at the
    /// end, and the descriptors that came with them.
    pub(crate) async fn receive_more(
        &self,
        buffer: &mut BytesMut,
    ) -> io::Result<(usize, Vec<Descriptor>)> {
        loop {
            self.readable().await?;
            match self.0.try_io(Interest::READABLE, || receive_behind(&self.0, buffer, PIECE)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }

    /// Reads what is there at this moment, and no more, whatever the reactor has seen.
    pub(crate) fn receive_available(&self, buffer: &mut BytesMut) -> Vec<Descriptor> {
        let mut descriptors = Vec::new();
        let mut left = ioctl_fionread(&self.0).unwrap_or(0);
        while left > 0
            && let Ok((count @ 1.., more)) =
                receive_behind(&self.0, buffer, PIECE.min(usize::try_from(left).unwrap_or(PIECE)))
        {
            left = left.saturating_sub(count as u64);
            descriptors.extend(more);
        }
        descriptors
    }

    /// Not watched any more.
    pub(crate) fn into_descriptor(self) -> io::Result<Descriptor> {
        self.0.into_std().map(Descriptor::from)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a few bytes, which must not be none, with copies of descriptors.
pub(crate) fn send_with_descriptors(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[&dyn AsFd],
) -> io::Result<usize> {
    loop {
        match send(socket.as_fd(), bytes, descriptors) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

/// As [`send_with_descriptors`], but without them if the processes of this user have too many on
/// the way. Whoever misses them cannot open what they are of, and says so; without the bytes it
/// would understand nothing that comes later.
fn send_memory(socket: impl AsFd, bytes: &[u8], descriptors: &[&dyn AsFd]) -> io::Result<usize> {
    match send_with_descriptors(&socket, bytes, descriptors) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::TOOMANYREFS) => {
            send_with_descriptors(&socket, bytes, &[])
        }
        sent => sent,
    }
}

/// What is sent next, of so many descriptors that wait: a byte alone while there are more than one
/// message takes. What names memory has many bytes for each that it names.
fn next_piece(bytes: &[u8], waiting: usize) -> (&[u8], usize) {
    if waiting > MOST_FDS { (&bytes[..1], MOST_FDS) } else { (bytes, waiting) }
}

fn receive_behind(
    socket: impl AsFd,
    buffer: &mut BytesMut,
    most: usize,
) -> io::Result<(usize, Vec<Descriptor>)> {
    let known = buffer.len();
    buffer.resize(known + most, 0);
    let received = receive_with_descriptors(socket, &mut buffer[known..]);
    buffer.truncate(known + received.as_ref().map_or(0, |(count, _)| *count));
    received
}

/// Blocks until all is sent, with descriptors that travel with its first bytes.
pub(crate) fn send_all_with_descriptors(
    socket: impl AsFd,
    mut bytes: &[u8],
    descriptors: &[Descriptor],
) -> io::Result<()> {
    let mut waiting = descriptors;
    while !bytes.is_empty() {
        let (piece, sent) = next_piece(bytes, waiting.len());
        let some: Vec<_> = waiting[..sent].iter().map(|fd| fd as &dyn AsFd).collect();
        let count = send_memory(&socket, piece, &some)?;
        (bytes, waiting) = (&bytes[count..], &waiting[sent..]);
    }
    Ok(())
}

/// Sends descriptors, and nothing that means anything.
pub(crate) fn send_descriptors(socket: impl AsFd, descriptors: &[Descriptor]) -> io::Result<()> {
    for some in descriptors.chunks(MOST_FDS) {
        let some: Vec<_> = some.iter().map(|fd| fd as &dyn AsFd).collect();
        send_memory(&socket, &[0], &some)?;
    }
    Ok(())
}

/// Receives what came in one message: some of its bytes, none at the end, and its descriptors.
pub(crate) fn receive_with_descriptors(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<Descriptor>)> {
    let (received, fds) = loop {
        match receive(socket.as_fd(), bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => break received?,
        }
    };
    if RECEIVE == 0 {
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?; // where it cannot be had at once
        }
    }
    Ok((received, fds))
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn descriptors_travel_with_the_bytes_they_were_sent_with() {
        let (ours, theirs) = control_socket().unwrap();
        let (reader, writer) = pipe().unwrap();
        send_with_descriptors(&ours, b"none", &[]).unwrap();
        send_with_descriptors(&ours, b"both", &[&reader, &writer]).unwrap();
        drop((reader, writer));
        let mut bytes = [0; 4];
        assert_eq!(receive_with_descriptors(&theirs, &mut bytes).unwrap().1.len(), 0);
        let (count, fds) = receive_with_descriptors(&theirs, &mut bytes).unwrap();
        assert_eq!((count, &bytes, fds.len()), (4, b"both", 2));
        rustix::io::write(&fds[1], b"through").unwrap();
        assert_eq!(rustix::io::read(&fds[0], &mut [0; 10]).unwrap(), 7);
    }

    #[test]
    fn an_end_is_seen_by_the_other() {
        let (ours, theirs) = control_socket().unwrap();
        drop(ours);
        assert_eq!(receive_with_descriptors(&theirs, &mut [0; 4]).unwrap().0, 0);
    }
}
