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

use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

use crate::base::Identity;
use crate::base::id::{TaskId, WorkerId};
use crate::base::limits::ResourceLimits;
use crate::sys::{SegmentRef, SharedPageRef};

/// Begins each side's stream. No text contains it.
pub(crate) const PREAMBLE: [u8; 16] = *b"\xF5\x00procpool\xC0\x01\xFE\x1B\x00\xFF";

/// Both sides must speak the same one.
pub(crate) const VERSION: u32 = 4;

/// How many bytes say how long a frame is.
pub(crate) const LENGTH: usize = 4;
/// Room for everything in a frame but its payload. Only hellos come near it.
const MAX_HEADER: usize = 16 << 20;
/// The largest payload that fits into a frame together with any header.
pub(crate) const MAX_PAYLOAD: usize = u32::MAX as usize - MAX_HEADER;
/// The largest header of a frame that is sent for each task.
const MAX_SMALL_HEADER: usize = 64;

/// The longest message of a report of progress, in bytes: enough for any line that is shown, and
/// little for the parent to keep for each task.
pub(crate) const MAX_MESSAGE: usize = 4 << 10;

/// The kinds of frames, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Supervisor → worker: [`Hello`], with the initializer's arguments as payload.
    Hello = 1,
    /// Supervisor → worker: [`TaskHeader`], with the arguments as payload.
    Task = 2,
    /// Supervisor → worker: leave. [`Stop`], with the exit hook's arguments as payload.
    Stop = 3,
    /// Supervisor → worker: [`ChunkHeader`], with the items as payload.
    Chunk = 4,
    /// Supervisor → worker: [`SegmentTask`], whose arguments are in shared memory.
    SegmentTask = 5,
    /// Supervisor → worker: the answer to `CannotOpen`. Everything that was sent before is void; what counts
    /// of it comes again, with its arguments.
    Resume = 6,
    /// Supervisor → worker: something that was offered cannot be opened, and nothing more is to be offered. This
    /// is said once.
    OfferRefused = 7,
    /// Worker → supervisor: [`WorkerHello`].
    WorkerHello = 16,
    /// Worker → supervisor: initialised. [`Ready`].
    Ready = 17,
    /// Worker → supervisor: [`InitFailure`].
    InitFailed = 18,
    /// Worker or fork server → supervisor: [`InitFailure`] of the preload.
    PreloadFailed = 25,
    /// Worker → supervisor: [`ReplyHeader`], with the result as payload.
    Reply = 19,
    /// Worker → supervisor: leaving as told. [`Goodbye`], with the exit hook's result as payload.
    Goodbye = 20,
    /// Worker → supervisor: it takes more memory than it may, and begins no more tasks that could go
    /// to another worker.
    OverMemory = 23,
    /// Worker → supervisor: user code was reached because `init` was not called.
    NotInitialised = 21,
    /// Worker → supervisor: [`ProgressHeader`], with the message as payload.
    Progress = 22,
    /// Worker → supervisor: [`ChunkReplyHeader`], with entries as payload.
    ChunkReply = 24,
    /// Worker → supervisor: [`Lent`](crate::memory::shared::Lent), of which the next reply or goodbye is the first to know.
    Lent = 26,
    /// Worker → supervisor: [`SegmentReply`], whose result is in shared memory.
    SegmentReply = 27,
    /// Worker → supervisor: [`SegmentOffer`].
    SegmentOffer = 28,
    /// Worker → supervisor: it cannot open where the arguments of its next task are, and begins nothing
    /// before `Resume`. This is said once.
    CannotOpen = 29,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 21] = [
            Kind::Hello,
            Kind::Task,
            Kind::Stop,
            Kind::Chunk,
            Kind::WorkerHello,
            Kind::Ready,
            Kind::InitFailed,
            Kind::PreloadFailed,
            Kind::Reply,
            Kind::Goodbye,
            Kind::NotInitialised,
            Kind::Progress,
            Kind::OverMemory,
            Kind::ChunkReply,
            Kind::Lent,
            Kind::SegmentTask,
            Kind::Resume,
            Kind::OfferRefused,
            Kind::SegmentReply,
            Kind::SegmentOffer,
            Kind::CannotOpen,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a worker must know before its first task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    pub(crate) worker: WorkerId,
    pub(crate) identity: Identity,
    pub(crate) max_payload: u64,
    /// A worker that takes more memory after a task, in bytes, is replaced.
    pub(crate) max_memory: Option<u64>,
    pub(crate) limits: ResourceLimits,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
    /// After so many tasks the worker leaves without being told to.
    pub(crate) max_tasks: Option<u64>,
    /// The functions that tasks name by their position here. `None`: those that the server that has forked the
    /// worker was told.
    pub(crate) functions: Option<Vec<FunctionName>>,
    /// If it is to be run in the worker itself. Its arguments are the beginning of the payload.
    pub(crate) preload: Option<PreloadHeader>,
    /// Position of the initializer.
    pub(crate) initializer: Option<u32>,
    pub(crate) claims: Option<SharedPageRef>,
    /// How much memory it may share with its parent, in bytes.
    pub(crate) shared_memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PreloadHeader {
    pub(crate) function: u32,
    /// How many bytes its arguments take.
    pub(crate) length: u64,
}

/// What a fork server must know; the preload's arguments are the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerHello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    /// That of the worker for which the server was started: the preload finds what it would find there.
    pub(crate) identity: Identity,
    /// The functions that tasks name by their position here.
    pub(crate) functions: Vec<FunctionName>,
    /// Position of the preload.
    pub(crate) preload: Option<u32>,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
}

impl Hello {
    pub(crate) fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

/// What a [`Process`](crate::Process) is told; its arguments are the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessHello {
    /// First, so that every version can read it.
    pub(crate) version: u32,
    pub(crate) max_payload: u64,
    pub(crate) function: FunctionName,
    /// Whether the result is wanted, not just an exit code.
    pub(crate) typed: bool,
    /// Whether it must not outlive its parent.
    pub(crate) ends_with_parent: bool,
    pub(crate) identity: Identity,
    pub(crate) limits: ResourceLimits,
    /// Descriptors that it keeps, of those that it has inherited.
    pub(crate) pass_fds: Vec<i32>,
}

impl ProcessHello {
    pub(crate) fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

/// A function as both processes know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
    pub(crate) signature: String,
}

/// A worker's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerHello {
    pub(crate) version: u32,
    /// Whether it can take part in claims.
    pub(crate) claims: bool,
    /// If there are any, the worker leaves.
    pub(crate) differences: Vec<String>,
}

/// Where a sent task's word stands, as told to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) index: u16,
    /// A frame is in a pipe for some hundreds of sendings at most, so it does not matter that the
    /// numbers begin anew some day.
    pub(crate) sending: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskHeader {
    pub(crate) task: TaskId,
    pub(crate) function: u32,
    pub(crate) attempt: u32,
    /// The task begins only if this can be claimed.
    pub(crate) slot: Option<Slot>,
}

/// A task whose arguments are in memory that the parent shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentTask {
    pub(crate) task: TaskHeader,
    pub(crate) place: Place,
}

/// Bytes in a segment of the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Of the segment, unique in the pool.
    pub(crate) id: u64,
    pub(crate) name: SegmentRef,
    pub(crate) length: u64,
    /// The bytes are there as long as the segment says this number.
    pub(crate) lease: u64,
}

/// A reply whose payload is at the beginning of a segment of the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentReply {
    /// First, as its run time is set when the rest is written.
    pub(crate) reply: ReplyHeader,
    pub(crate) segment: u64,
    pub(crate) length: u64,
}

/// A segment in which the worker will leave results, once the supervisor has opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentOffer {
    pub(crate) segment: u64,
    pub(crate) name: SegmentRef,
    /// One that is not used any more.
    pub(crate) instead_of: Option<u64>,
}

/// The worker is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Whether it can open what its parent shares, even now.
    pub(crate) segments: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyHeader {
    /// In nanoseconds. First and of fixed length, so that it can be set when the rest is written.
    #[serde(with = "postcard::fixint::le")]
    pub(crate) run_time: u64,
    pub(crate) task: TaskId,
    pub(crate) outcome: Outcome,
}

/// Calls of one function, which are one task until something happens to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkHeader {
    /// Also the name of the first item; the others have those that follow.
    pub(crate) task: TaskId,
    pub(crate) function: u32,
    pub(crate) count: u32,
    /// Each item begins only if this can be claimed.
    pub(crate) slot: Option<Slot>,
}

/// Results of a chunk, in the order of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkReplyHeader {
    pub(crate) task: TaskId,
    /// The item that the first entry is of.
    pub(crate) base: u32,
    /// How many entries there are.
    pub(crate) count: u32,
    /// How long these items took together, in nanoseconds.
    pub(crate) nanos: u64,
    /// Set if the chunk is done: how long it took as a whole.
    pub(crate) run_time: Option<u64>,
}

/// What a worker is told when it has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// Position of the exit hook.
    pub(crate) exit_hook: Option<u32>,
}

/// A worker's last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Goodbye {
    /// How the exit hook ended.
    pub(crate) exit_hook: Option<Outcome>,
}

/// How a call ended, and what the payload of its reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// The result.
    Returned = 0,
    /// A [`PanicReport`].
    Panicked,
    /// The error's text.
    UndecodableArguments,
    /// The error's text.
    UnencodableResult,
    /// Nothing.
    ResultTooLarge,
}

impl Outcome {
    #[inline]
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Returned,
            1 => Self::Panicked,
            2 => Self::UndecodableArguments,
            3 => Self::UnencodableResult,
            4 => Self::ResultTooLarge,
            _ => return None,
        })
    }
}

/// What a running task reports of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgressHeader {
    pub(crate) task: TaskId,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// A panic that was caught in a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: String,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)?;
        match &self.location {
            Some(location) => write!(f, " (at {location})"),
            None => Ok(()),
        }
    }
}

/// Why a worker could not be initialised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InitFailure {
    Panicked(PanicReport),
    Failed(String),
    /// It has not failed, but after it this process cannot be forked.
    CannotFork(String),
}

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

fn begin_frame(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    out.push(kind as u8);
    start
}

#[inline]
fn end_frame(frame: &mut [u8], payload: usize) -> io::Result<()> {
    let length = u32::try_from(frame.len() - LENGTH + payload).map_err(io::Error::other)?;
    frame[..LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Corrects the length of a frame whose payload has been appended meanwhile.
pub(crate) fn set_length(frame: &mut [u8]) -> io::Result<()> {
    end_frame(frame, 0)
}

/// Sets the run time in a frame that begins with a [`ReplyHeader`].
pub(crate) fn set_run_time(reply: &mut [u8], run_time: Duration) {
    const PLACE: Range<usize> = LENGTH + 1..LENGTH + 1 + size_of::<u64>();
    let nanos = u64::try_from(run_time.as_nanos()).unwrap_or(u64::MAX);
    reply[PLACE].copy_from_slice(&nanos.to_le_bytes());
}

/// Begins an item; its bytes must follow, and [`end_item`].
#[inline]
pub(crate) fn begin_item(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    start
}

/// Sets the length of the item that began at `start`.
#[inline]
pub(crate) fn end_item(out: &mut [u8], start: usize) -> io::Result<()> {
    end_frame(&mut out[start..], 0)
}

/// Takes an item off the front; returns it and what is left.
#[inline]
pub(crate) fn split_item(items: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let short = || malformed("an item that is cut short");
    let (length, rest) = items.split_first_chunk().ok_or_else(short)?;
    rest.split_at_checked(frame_length(*length)).ok_or_else(short)
}

/// Begins an entry; the bytes of its result must follow, and [`end_entry`].
#[inline]
pub(crate) fn begin_entry(out: &mut Vec<u8>) -> usize {
    out.push(Outcome::Returned as u8);
    begin_item(out)
}

/// Puts other bytes in the place of those that follow `begin_entry`, which has returned `start`.
pub(crate) fn replace_entry(out: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    out.truncate(start + LENGTH);
    out.extend_from_slice(bytes);
}

/// Sets outcome and length of the entry for which `begin_entry` has returned `start`.
#[inline]
pub(crate) fn end_entry(out: &mut [u8], start: usize, outcome: Outcome) -> io::Result<()> {
    out[start - 1] = outcome as u8;
    end_item(out, start)
}

/// Takes an entry off the front; returns outcome, bytes and what is left.
#[inline]
pub(crate) fn split_entry(entries: &[u8]) -> io::Result<(Outcome, &[u8], &[u8])> {
    let (&byte, rest) = entries.split_first().ok_or_else(|| malformed("too few results"))?;
    let outcome =
        Outcome::from_byte(byte).ok_or_else(|| malformed("a result of unknown outcome"))?;
    let (bytes, rest) = split_item(rest)?;
    Ok((outcome, bytes, rest))
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

/// Reads the version of a hello whose other contents may be unknown.
pub(crate) fn peek_version(hello: &[u8]) -> io::Result<u32> {
    Ok(split_header(hello)?.0)
}

fn malformed(what: &str) -> io::Error {
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

    const HEADER: TaskHeader = TaskHeader { task: TaskId(7), function: 3, attempt: 1, slot: None };

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
    fn entries_come_back_one_by_one() {
        let mut out = Vec::new();
        for (text, outcome) in [(&b"one"[..], Outcome::Returned), (b"", Outcome::ResultTooLarge)] {
            let start = begin_entry(&mut out);
            out.extend_from_slice(text);
            end_entry(&mut out, start, outcome).unwrap();
        }
        let (outcome, bytes, rest) = split_entry(&out).unwrap();
        assert_eq!((outcome, bytes), (Outcome::Returned, &b"one"[..]));
        assert_eq!(split_entry(rest).unwrap(), (Outcome::ResultTooLarge, &b""[..], &b""[..]));
    }

    #[test]
    fn malformed_entries_are_errors() {
        let bad: [&[u8]; 4] = [b"", b"\x00\x01\x00", b"\x00\x02\x00\x00\x00a", b"\xFF\0\0\0\0"];
        for bytes in bad {
            assert!(split_entry(bytes).is_err(), "{bytes:?}");
        }
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
