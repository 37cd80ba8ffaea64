//! What the frames for a worker are written to.
//!
//! It is a pipe, or a socket if the worker cannot open memory of this process by its name. Then
//! descriptors of the memory that a frame names travel with the first byte of that frame.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::process::ChildStdin;

use crate::sys::descriptor::{Descriptor, close_elsewhere};
use crate::sys::pipe::{ParentInput, PipeWidth};
use crate::sys::socket::{Channel, MOST_FDS};

/// See the [module](self).
#[derive(Debug)]
pub(crate) enum FrameSink {
    Pipe(ChildStdin, PipeWidth),
    Socket(WorkerSocket, Passengers),
    #[cfg(feature = "hosts")]
    Far(FarInput),
}

/// A stream to another host.
#[cfg(feature = "hosts")]
pub(crate) struct FarInput(pub(crate) Box<dyn AsyncWrite + Send + Unpin>);

#[cfg(feature = "hosts")]
impl std::fmt::Debug for FarInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FarInput(..)")
    }
}

/// What the worker has sent, and nobody has looked at, is closed with the socket, and may be
/// anything.
#[derive(Debug)]
pub(crate) struct WorkerSocket(Option<Channel>);

impl WorkerSocket {
    fn channel(&self) -> io::Result<&Channel> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into()) // not reached
    }
}

impl Drop for WorkerSocket {
    fn drop(&mut self) {
        close_elsewhere(self.0.take());
    }
}

/// Descriptors that wait for the frames that they travel with.
#[derive(Debug, Default)]
pub(crate) struct Passengers {
    /// How many bytes are written before.
    waiting: VecDeque<(usize, Descriptor)>,
}

impl FrameSink {
    /// # Panics
    ///
    /// Outside of a runtime with an IO driver.
    pub(crate) fn new(input: ParentInput) -> io::Result<Self> {
        Ok(match input {
            ParentInput::Pipe(stdin) => {
                Self::Pipe(ChildStdin::from_std(stdin)?, PipeWidth::default())
            }
            ParentInput::Socket(socket) => {
                let socket = WorkerSocket(Some(Channel::new(socket)?));
                Self::Socket(socket, Passengers::default())
            }
        })
    }

    /// Whether the memory that frames name has to be sent with them.
    pub(super) fn takes_descriptors(&self) -> bool {
        matches!(self, Self::Socket(..))
    }

    /// They are sent with what comes after so many bytes.
    pub(super) fn attach(&mut self, after: usize, descriptors: Vec<Descriptor>) {
        if let Self::Socket(_, passengers) = self {
            passengers.waiting.extend(descriptors.into_iter().map(|fd| (after, fd)));
        }
    }

    /// So many descriptors, if they are there, that the worker has sent the other way. More are for
    /// frames that were not read yet.
    pub(super) fn receive(&self, count: usize) -> Vec<Descriptor> {
        match self {
            Self::Pipe(..) => Vec::new(),
            #[cfg(feature = "hosts")]
            Self::Far(_) => Vec::new(),
            Self::Socket(socket, _) => {
                let channel = socket.channel();
                channel.map(|channel| channel.receive_descriptors(count)).unwrap_or_default()
            }
        }
    }

    /// A large frame is about to be written.
    pub(crate) fn fit(&mut self, length: usize) {
        if let Self::Pipe(stdin, width) = self {
            width.fit(&*stdin, length);
        }
    }

    /// Writes some of these bytes, which must not be none.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipe(stdin, _) => Pin::new(stdin).poll_write(cx, bytes),
            Self::Socket(socket, passengers) => passengers.poll_write(socket.channel()?, cx, bytes),
            #[cfg(feature = "hosts")]
            Self::Far(FarInput(stream)) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
}

impl Passengers {
    fn poll_write(
        &mut self,
        channel: &Channel,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_next = |(after, _): &&(usize, Descriptor)| *after == 0;
        let next: Vec<_> = self.waiting.iter().take_while(is_next).take(MOST_FDS).collect();
        let fds: Vec<_> = next.iter().map(|(_, fd)| fd).collect();
        // Up to where the ones behind these travel, if they are not to go with the next byte.
        let rest = self.waiting.get(fds.len()).map_or(bytes.len(), |(after, _)| (*after).max(1));
        let piece = &bytes[..rest.min(bytes.len())];
        let count = ready!(channel.poll_send(cx, piece, &fds))?;
        let sent = fds.len();
        self.waiting.drain(..sent);
        self.waiting.iter_mut().for_each(|(after, _)| *after = after.saturating_sub(count));
        Poll::Ready(Ok(count))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;

    use super::*;
    use crate::sys::socket::{control_socket, receive_with_descriptors, send_descriptors};

    fn descriptors(count: usize) -> Vec<Descriptor> {
        (0..count).map(|_| File::open("/dev/null").unwrap().into()).collect()
    }

    async fn write(sink: &mut FrameSink, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| sink.poll_write(cx, bytes)).await.unwrap();
            bytes = &bytes[count..];
        }
    }

    #[tokio::test]
    async fn descriptors_travel_with_the_first_bytes_of_their_frames() {
        let (ours, theirs) = control_socket().unwrap();
        let mut sink = FrameSink::new(ParentInput::Socket(ours)).unwrap();
        sink.attach(3, descriptors(2));
        sink.attach(7, descriptors(MOST_FDS + 1));
        write(&mut sink, b"oneframethree").await;
        // What came with a piece has come when that piece is read, and not before.
        let mut room = [0; 64];
        let mut pieces = Vec::new();
        while pieces.iter().map(|(count, _)| count).sum::<usize>() < 13 {
            let (count, received) = receive_with_descriptors(&theirs, &mut room[..3]).unwrap();
            pieces.push((count, received.len()));
        }
        assert_eq!(pieces[..2], [(3, 0), (3, 2)]);
        let (mut bytes, mut received) = (0, 0);
        for (count, more) in pieces {
            assert!(more == 0 || bytes + count > 3, "too early");
            assert!(received + more <= 2 || bytes + count > 7, "too early");
            (bytes, received) = (bytes + count, received + more);
        }
        assert_eq!(received, MOST_FDS + 3);
        let FrameSink::Socket(_, passengers) = &sink else { panic!("it is a socket") };
        assert!(passengers.waiting.is_empty());
    }

    #[tokio::test]
    async fn what_the_worker_sends_comes_at_once() {
        let (ours, theirs) = control_socket().unwrap();
        let sink = FrameSink::new(ParentInput::Socket(ours)).unwrap();
        assert!(sink.receive(1).is_empty());
        send_descriptors(&theirs, &descriptors(MOST_FDS + 1)).unwrap();
        send_descriptors(&theirs, &descriptors(1)).unwrap();
        assert_eq!(sink.receive(MOST_FDS + 1).len(), MOST_FDS + 1);
        assert_eq!(sink.receive(100).len(), 1);
    }
}
