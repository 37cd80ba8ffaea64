//! What arrives from a child, before anybody has looked at it.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::memory::Payload;
use crate::wire::frame::{LENGTH, frame_length};

/// Room that is made for each read.
const READ: usize = 64 << 10;
/// Results up to this size are copied, so that none keeps a large buffer alive.
pub(crate) const SMALL: usize = 4 << 10;

/// Reads what there is; returns how many bytes that was, 0 at the end.
pub(crate) async fn read_more(
    stdout: &mut (impl AsyncRead + Unpin),
    inbox: &mut BytesMut,
) -> usize {
    // Not in the middle of a large frame: its room has been made, and growing would copy it.
    if inbox.is_empty() || inbox.len() == inbox.capacity() {
        inbox.reserve(READ);
    }
    stdout.read_buf(inbox).await.unwrap_or(0)
}

/// A result that is no larger than [`SMALL`].
pub(crate) fn small_payload(bytes: &[u8]) -> Payload {
    Payload::inline(bytes).unwrap_or_else(|| Bytes::copy_from_slice(bytes).into())
}

/// The last `length` bytes of a frame.
pub(crate) fn keep_payload(length: usize, mut frame: BytesMut) -> Payload {
    let start = frame.len() - length;
    if length <= SMALL {
        small_payload(&frame[start..])
    } else {
        frame.split_off(start).freeze().into()
    }
}

/// The length of the next frame and what is here of it and those behind it.
pub(super) fn frame_start(inbox: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = inbox.split_first_chunk::<LENGTH>()?;
    Some((frame_length(*length), rest))
}
