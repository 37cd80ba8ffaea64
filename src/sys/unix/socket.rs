//! Sockets between this process and a child, over which descriptors travel.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdStream;

use bytes::BytesMut;
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, recvmsg,
    sendmsg,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;

use super::descriptor::Descriptor;
use super::kernel::{RECEIVE, SEND};

/// The most descriptors that travel with one message.
const MOST_FDS: usize = 4;
const ROOM: usize = rustix::cmsg_space!(ScmRights(MOST_FDS));

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

    /// To read and to write at the same time.
    pub(crate) fn split(&mut self) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
        self.0.split()
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
    let mut room = [socket.as_fd(); MOST_FDS];
    let fds = room.get_mut(..descriptors.len()).ok_or(io::ErrorKind::InvalidInput)?;
    fds.iter_mut().zip(descriptors).for_each(|(fd, descriptor)| *fd = descriptor.as_fd());
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let bytes = [io::IoSlice::new(bytes)];
    loop {
        match sendmsg(&socket, &bytes, &mut ancillary, SEND) {
            Err(Errno::INTR) => {}
            sent => return Ok(sent?),
        }
    }
}

/// Receives what came in one message: some of its bytes, none at the end, and its descriptors.
pub(crate) fn receive_with_descriptors(
    socket: impl AsFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<Descriptor>)> {
    let mut space = [MaybeUninit::uninit(); ROOM];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [io::IoSliceMut::new(bytes)];
    let received = loop {
        match recvmsg(&socket, &mut bytes, &mut ancillary, RECEIVE) {
            Err(Errno::INTR) => {}
            received => break received?.bytes,
        }
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            for fd in received {
                if RECEIVE.is_empty() {
                    fcntl_setfd(&fd, FdFlags::CLOEXEC)?; // where it cannot be had at once
                }
                fds.push(fd);
            }
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
