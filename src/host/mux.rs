//! Many streams over one connection, each with a flow control of its own: a worker that reads
//! slowly holds up nobody else.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter, Join, join,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use crate::wire::frame::LENGTH;
use crate::wire::host::{message_bytes, read_message};

/// Room for what is read and written at once.
const BUFFER: usize = 64 << 10;
/// No stream has more at a time, so that none holds up others for long.
const PIECE: usize = 64 << 10;
/// Two for each worker, those that are being replaced included, and one more. One too many would
/// end the connection, so this is more than any machine has.
const MOST_STREAMS: usize = 1 << 18;
/// No header of a stream is longer.
const LONGEST_HEADER: usize = 256;

pub(super) type MuxStream = Compat<yamux::Stream>;
type Transport<R, W> = Compat<Join<BufReader<R>, BufWriter<W>>>;

/// A connection, of which somebody has to drive the streams.
pub(super) struct Mux<R, W>(Connection<Transport<R, W>>);

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Mux<R, W> {
    /// The side that opens streams.
    pub(super) fn of_service(reader: BufReader<R>, writer: W) -> Self {
        Self::new(reader, writer, Mode::Client)
    }

    pub(super) fn of_agent(reader: BufReader<R>, writer: W) -> Self {
        Self::new(reader, writer, Mode::Server)
    }

    fn new(reader: BufReader<R>, writer: W, mode: Mode) -> Self {
        let mut config = Config::default();
        config
            .set_max_connection_receive_window(None)
            .set_max_num_streams(MOST_STREAMS)
            .set_split_send_size(PIECE);
        let both = join(reader, BufWriter::with_capacity(BUFFER, writer));
        Self(Connection::new(both.compat(), config, mode))
    }

    /// Drives the streams, and opens those that are wanted, until the connection ends or nobody
    /// can want any more.
    pub(super) async fn serve(&mut self, wanted: &mut mpsc::Receiver<Wanted>) -> io::Error {
        let mut next: Option<Wanted> = None;
        poll_fn(|cx| {
            loop {
                if next.is_none()
                    && let Poll::Ready(more) = wanted.poll_recv(cx)
                {
                    let Some(wanted) = more else { return Poll::Ready(closed()) };
                    next = Some(wanted);
                }
                if next.is_some()
                    && let Poll::Ready(opened) = self.0.poll_new_outbound(cx)
                {
                    match (opened, next.take()) {
                        (Ok(stream), Some(wanted)) => drop(wanted.send(stream.compat())),
                        (Err(error), _) => return Poll::Ready(io::Error::other(error)),
                        (Ok(_), None) => {}
                    }
                    continue;
                }
                match self.0.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(_))) => {} // an agent opens none
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(io::Error::other(error)),
                    Poll::Ready(None) => return Poll::Ready(closed()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Drives the streams until there is a new one; `None` if the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn accept(&mut self) -> Option<MuxStream> {
        let stream = poll_fn(|cx| self.0.poll_next_inbound(cx)).await?;
        stream.ok().map(FuturesAsyncReadCompatExt::compat)
    }

    /// Writes what is left, and says that this is all.
    pub(super) async fn close(mut self) {
        let _ = poll_fn(|cx| self.0.poll_close(cx)).await; // or the other side has gone
    }
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Where a stream that was opened is handed to.
pub(super) type Wanted = oneshot::Sender<MuxStream>;

/// Writes a message, with its length.
pub(super) async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    let bytes = message_bytes(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_le_bytes()[..], &bytes].concat()).await?;
    stream.flush().await
}

/// Reads a message, and nothing behind it.
pub(super) async fn receive<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut length = [0; LENGTH];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = BytesMut::zeroed(length);
    stream.read_exact(&mut bytes).await?;
    read_message(&bytes)
}

/// Answers a stream. While 256 are unanswered the other side opens no more, and by itself one is
/// answered only by the first byte that is written to it.
pub(super) async fn acknowledge(stream: &mut MuxStream) -> io::Result<usize> {
    stream.write(&[]).await // an empty frame
}
