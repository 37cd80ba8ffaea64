//! Frames: what the two processes say to each other, as bytes.
//!
//! Each side first sends [`PREAMBLE`], and each skips whatever comes before it: a banner, a test
//! harness's chatter. Then come frames:
//!
//! ```text
//! ┌────────────┬──────────┬──────────────────┬─────────┐
//! │ length u32 │ kind u8  │ header, postcard │ payload │
//! └────────────┴──────────┴──────────────────┴─────────┘
//!   of the rest, little-endian
//! ```
//!
//! A payload is the bytes of a task's arguments or result. It is not part of the header, so that
//! it is never copied through the header's codec. That of a chunk is a sequence of items, the
//! arguments of one call each, and that of its replies a sequence of entries, one for each result:
//!
//! ```text
//! ┌────────────┬───────┐    ┌────────────┬────────────┬───────┐
//! │ length u32 │ bytes │    │ outcome u8 │ length u32 │ bytes │
//! └────────────┴───────┘    └────────────┴────────────┴───────┘
//! ```

use std::io;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::LengthDelimitedCodec;

use super::message::Kind;

/// Begins each side's stream. No text contains it.
pub(crate) const PREAMBLE: [u8; 16] = *b"\xF5\x00procpool\xC0\x01\xFE\x1B\x00\xFF";

/// Both sides must speak the same one.
pub(crate) const VERSION: u32 = 10;

/// How many bytes say how long a frame is.
pub(crate) const LENGTH: usize = 4;
/// Room for everything in a frame but its payload. Only hellos come near it.
const MAX_HEADER: usize = 16 << 20;
/// The largest payload that fits into a frame together with any header.
pub(crate) const MAX_PAYLOAD: usize = u32::MAX as usize - MAX_HEADER;
/// The largest header of a frame that is sent for each task.
const MAX_SMALL_HEADER: usize = 64;

/// Appends a frame without its payload; `payload` bytes must follow.
pub(crate) fn put_frame(
    out: &mut Vec<u8>,
    kind: Kind,
    header: &impl Serialize,
    payload: usize,
) -> io::Result<()> {
    let start = begin_frame(out, kind);
    let buffer = std::mem::take(out);
    *out = postcard::to_extend(header, buffer).map_err(io::Error::other)?;
    end_frame(&mut out[start..], payload)
}

/// As [`put_frame`], for the small headers that are sent for each task.
pub(crate) fn put_task_frame(
    out: &mut Vec<u8>,
    kind: Kind,
    header: &impl Serialize,
    payload: usize,
) -> io::Result<()> {
    let mut scratch = [0; MAX_SMALL_HEADER];
    let header = postcard::to_slice(header, &mut scratch).map_err(io::Error::other)?;
    let start = begin_frame(out, kind);
    out.extend_from_slice(header);
    end_frame(&mut out[start..], payload)
}

/// A frame without header and payload.
pub(crate) const fn empty_frame(kind: Kind) -> [u8; LENGTH + 1] {
    let [a, b, c, d] = 1_u32.to_le_bytes();
    [a, b, c, d, kind as u8]
}

fn begin_frame(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    out.push(kind as u8);
    start
}

#[inline]
pub(super) fn end_frame(frame: &mut [u8], payload: usize) -> io::Result<()> {
    let length = u32::try_from(frame.len() - LENGTH + payload).map_err(io::Error::other)?;
    frame[..LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Corrects the length of a frame whose payload has been appended meanwhile.
pub(crate) fn set_length(frame: &mut [u8]) -> io::Result<()> {
    end_frame(frame, 0)
}

/// Sets the run time in a frame that begins with a [`ReplyHeader`](super::message::ReplyHeader).
pub(crate) fn set_run_time(reply: &mut [u8], run_time: Duration) {
    const PLACE: Range<usize> = LENGTH + 1..LENGTH + 1 + size_of::<u64>();
    let nanos = u64::try_from(run_time.as_nanos()).unwrap_or(u64::MAX);
    reply[PLACE].copy_from_slice(&nanos.to_le_bytes());
}

/// The largest frame that is accepted when payloads may have `max_payload` bytes.
pub(crate) fn max_frame(max_payload: usize) -> usize {
    max_payload.saturating_add(MAX_HEADER).min(u32::MAX as usize)
}

/// Cuts a stream into frames, and refuses one that is too long before taking memory for it.
pub(crate) fn frame_codec(max_payload: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .little_endian()
        .length_field_length(LENGTH)
        .max_frame_length(max_frame(max_payload))
        .new_codec()
}

/// Reads a frame's length.
#[inline]
pub(crate) fn frame_length(prefix: [u8; LENGTH]) -> usize {
    u32::from_le_bytes(prefix) as usize
}

/// Takes the kind off a frame whose length has been taken off.
pub(crate) fn split_kind(frame: &[u8]) -> io::Result<(Kind, &[u8])> {
    let (byte, rest) = frame.split_first().ok_or_else(|| malformed("an empty frame"))?;
    let kind = Kind::from_byte(*byte).ok_or_else(|| malformed("a frame of unknown kind"))?;
    Ok((kind, rest))
}

/// Takes the header off a frame whose kind has been taken off; the payload is left.
pub(crate) fn split_header<T: DeserializeOwned>(frame: &[u8]) -> io::Result<(T, &[u8])> {
    postcard::take_from_bytes(frame).map_err(|_| malformed("a frame with a malformed header"))
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the other side sent {what}"))
}

/// Finds the preamble in a stream that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct PreambleSearch {
    matched: usize,
    skipped: usize,
}

impl PreambleSearch {
    /// Looks at the next piece; returns how many of its bytes belong to what comes before the
    /// frames once the preamble is complete.
    pub(crate) fn advance(&mut self, piece: &[u8]) -> Option<usize> {
        for (index, byte) in piece.iter().enumerate() {
            // The first byte of the preamble does not occur in it again, so this is complete.
            if *byte == PREAMBLE[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(*byte == PREAMBLE[0]);
            }
            if self.matched == PREAMBLE.len() {
                return Some(index + 1);
            }
        }
        self.skipped += piece.len();
        None
    }

    /// How many bytes were skipped in vain.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::base::TaskId;
    use crate::wire::message::{Attempt, Outcome, ReplyHeader, TaskHeader};

    const FIRST: Attempt = Attempt { number: 1, is_heard: false };
    const HEADER: TaskHeader =
        TaskHeader { task: TaskId(7), function: 3, attempt: FIRST, slot: None };

    fn frame() -> Vec<u8> {
        let mut out = Vec::new();
        put_task_frame(&mut out, Kind::Task, &HEADER, 5).unwrap();
        out.extend_from_slice(b"hello");
        out
    }

    #[test]
    fn a_frame_comes_back() {
        let mut stream = BytesMut::from(&frame()[..]);
        let frame = frame_codec(100).decode(&mut stream).unwrap().unwrap();
        let (kind, rest) = split_kind(&frame).unwrap();
        let (header, payload) = split_header::<TaskHeader>(rest).unwrap();
        assert_eq!((kind, header, payload), (Kind::Task, HEADER, &b"hello"[..]));
    }

    #[test]
    fn frames_can_arrive_byte_by_byte() {
        let (mut codec, mut stream) = (frame_codec(100), BytesMut::new());
        let (last, first) = frame().split_last().map(|(l, f)| (*l, f.to_vec())).unwrap();
        for byte in first {
            stream.extend_from_slice(&[byte]);
            assert!(codec.decode(&mut stream).unwrap().is_none());
        }
        stream.extend_from_slice(&[last]);
        assert!(codec.decode(&mut stream).unwrap().is_some());
    }

    #[test]
    fn the_run_time_of_a_reply_can_be_set_when_its_payload_is_there() {
        let header = ReplyHeader { run_time: 0, task: TaskId(300), outcome: Outcome::Panicked };
        let mut out = Vec::new();
        put_task_frame(&mut out, Kind::Reply, &header, 5).unwrap();
        out.extend_from_slice(b"hello");
        set_run_time(&mut out, Duration::from_nanos(70_000));
        let (_, rest) = split_kind(&out[LENGTH..]).unwrap();
        let (changed, payload) = split_header::<ReplyHeader>(rest).unwrap();
        assert_eq!((changed, payload), (ReplyHeader { run_time: 70_000, ..header }, &b"hello"[..]));
    }

    #[test]
    fn a_frame_over_the_limit_takes_no_memory() {
        let mut stream = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert!(frame_codec(100).decode(&mut stream).is_err());
        assert!(stream.capacity() < 1000);
    }

    #[test]
    fn malformed_frames_are_errors() {
        assert!(split_kind(&[]).is_err());
        assert!(split_kind(&[0]).is_err());
        assert!(split_header::<TaskHeader>(&[0xFF]).is_err());
    }

    #[test]
    fn the_preamble_is_found_behind_any_chatter_in_any_pieces() {
        let mut stream = b"running 1 test\n\xF5\x00proc".to_vec();
        stream.extend_from_slice(&PREAMBLE);
        let end = stream.len();
        stream.extend_from_slice(b"frames");
        for size in 1..stream.len() {
            let (mut search, mut seen, mut found) = (PreambleSearch::default(), 0, None);
            for piece in stream.chunks(size) {
                found = search.advance(piece).map(|n| seen + n);
                seen += piece.len();
                if found.is_some() {
                    break;
                }
            }
            assert_eq!(found, Some(end), "pieces of {size}");
        }
    }

    #[test]
    fn the_preambles_first_byte_is_unique_in_it() {
        assert!(!PREAMBLE[1..].contains(&PREAMBLE[0]));
    }
}
