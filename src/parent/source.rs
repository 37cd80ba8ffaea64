//! Where the bytes of a worker come from.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
#[cfg(feature = "hosts")]
use tokio::io::AsyncReadExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStderr, ChildStdout};

use crate::sys::pipe::read_available;

/// A pipe of a process of this host, or a stream from another one.
pub(crate) enum Source {
    Output(ChildStdout),
    Errors(ChildStderr),
    #[cfg(feature = "hosts")]
    Far(Box<dyn AsyncRead + Send + Unpin>),
}

impl Source {
    /// Reads what there is at this moment in the pipe of a process that has exited.
    pub(crate) fn read_available(&self, buffer: &mut BytesMut) -> io::Result<()> {
        match self {
            Self::Output(pipe) => read_available(pipe, buffer),
            Self::Errors(pipe) => read_available(pipe, buffer),
            #[cfg(feature = "hosts")]
            Self::Far(_) => Ok(()),
        }
    }

    /// The same of one on another host, whose streams end with it. What is left fits into their
    /// windows, so a host that says more is not listened to.
    #[cfg_attr(not(feature = "hosts"), expect(clippy::unused_async, reason = "nobody is far"))]
    pub(crate) async fn read_to_end_of_stream(&mut self, buffer: &mut BytesMut) {
        #[cfg(feature = "hosts")]
        if let Self::Far(stream) = self {
            const MOST: usize = 64 << 20;
            while buffer.len() < MOST && matches!(stream.read_buf(buffer).await, Ok(1..)) {}
        }
        #[cfg(not(feature = "hosts"))]
        let _ = buffer;
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Output(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Errors(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            #[cfg(feature = "hosts")]
            Self::Far(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}
