//! What a worker says once it is ready.

mod beside;

use super::*;
use crate::base::TaskId;
use crate::codec::encoded;
use crate::error::Cause;
use crate::parent::birth::start::spawn;
use crate::parent::output::WorkerOutput;
use crate::parent::program::Program;
use crate::sys::memory::{Segment, SegmentRef};
use crate::testing::fuzzing::{MENDED, Seeds, frame, split_stream, stream};
use crate::wire::message::{MAX_MESSAGE, Outcome, ProgressHeader};

const MAX_PAYLOAD: usize = 4 << 10;
/// Of one frame, whose header may be large as far as the codec knows, and of the room for what is
/// read.
const MOST: usize = (17 << 20) + MAX_PAYLOAD;
/// Of the segment that is known.
const SEGMENT: u64 = 1;
/// In the number of a stream: the worker was told to leave.
const STOPPING: u8 = 2;
/// Of so many bytes, and these bits are the number of a stream, too.
const PIECES: u8 = 0xFC;

fn launch() -> Launch {
    let command = ["sh", "-c", "exec cat >/dev/null", "sh"].map(Into::into).into();
    Launch {
        name: "fuzz".to_owned(),
        program: Program { command: Some(command), ..Program::default() },
        max_payload: MAX_PAYLOAD,
        shared_memory: 1 << 20,
        output: WorkerOutput::Null,
        ..Launch::default()
    }
}

struct Nobody;

impl Listener for Nobody {
    fn bring(&self, _: WorkerId, _: &mut Vec<Message>) {}
}

fn uplink() -> Uplink {
    Uplink {
        worker: WorkerId(1),
        listener: Arc::new(Nobody),
        reports: mpsc::channel(1).0,
        clock: Clock::REAL,
        arena: Arena::new(1 << 20),
    }
}

/// A name for memory that is nobody's.
fn nowhere() -> (u32, i32, u64, u64) {
    (u32::MAX, 5, 4096, 77)
}

fn seeds() -> Seeds {
    let reply = |outcome| ReplyHeader { run_time: 7_000, task: TaskId(300), outcome };
    let returned = reply(Outcome::Returned);
    let chunk =
        ChunkReplyHeader { task: TaskId(300), base: 0, count: 2, nanos: 7, run_time: Some(9) };
    let emit = |type_name: Option<&str>| EmitHeader {
        task: TaskId(300),
        type_name: type_name.map(str::to_owned),
    };
    let progress = ProgressHeader { task: TaskId(300), done: 1, total: 2 };
    let name: SegmentRef = split_header(&postcard::to_stdvec(&nowhere()).unwrap()).unwrap().0;
    let offer = SegmentOffer { segment: 2, name, instead_of: Some(SEGMENT) };
    let in_segment = SegmentReply { reply: returned, segment: SEGMENT, length: 6 };
    let lent = (nowhere(), vec![((nowhere(), 1_u64, 2_u64), 0_u32), ((nowhere(), 3, 4), 1)]);
    let text = encoded(&"a result");
    Seeds::new("link")
        .with("reply", stream(PIECES | MENDED, &[frame(Kind::Reply, &returned, &text)]))
        .with(
            "replies",
            stream(
                7,
                &[
                    frame(Kind::Progress, &progress, b"half"),
                    frame(Kind::Reply, &returned, &text),
                    frame(Kind::Reply, &reply(Outcome::Panicked), b"\x01x\x00\x00"),
                    frame(Kind::OverMemory, &(), &[]),
                    frame(Kind::AskedToEnd, &(), &[]),
                    frame(Kind::CannotOpen, &(), &[]),
                ],
            ),
        )
        .with(
            "emitted",
            stream(
                PIECES,
                &[
                    frame(Kind::Emit, &emit(Some("alloc::string::String")), &text),
                    frame(Kind::Emit, &emit(None), &text),
                    frame(Kind::Reply, &returned, &text),
                ],
            ),
        )
        .with("large-reply", stream(PIECES | MENDED, &[frame(Kind::Reply, &returned, &[7; 4500])]))
        .with(
            "chunk",
            stream(
                PIECES | MENDED,
                &[frame(Kind::ChunkReply, &chunk, b"\0\x01\0\0\0\x07\x03\x01\0\0\0x")],
            ),
        )
        .with(
            "segments",
            stream(
                255,
                &[
                    frame(Kind::SegmentReply, &in_segment, &[]),
                    frame(Kind::SegmentOffer, &offer, &[]),
                ],
            ),
        )
        .with(
            "segment-reply",
            stream(PIECES | MENDED, &[frame(Kind::SegmentReply, &in_segment, &[])]),
        )
        .with(
            "lent",
            stream(16, &[frame(Kind::Lent, &lent, &[]), frame(Kind::Reply, &returned, &text)]),
        )
        .with(
            "goodbye",
            stream(
                PIECES | MENDED | STOPPING,
                &[frame(Kind::Goodbye, &Goodbye { exit_hook: None }, &[])],
            ),
        )
}

impl Link<'_> {
    /// Makes it as it is when a worker is ready that has a segment.
    fn begin_anew(&mut self, segment: &Segment, stopping: bool) {
        self.loans = Loans::new(self.launch.memory_for_results());
        let offer = SegmentOffer { segment: SEGMENT, name: segment.name(), instead_of: None };
        self.loans.accept(&offer, &Peer::child(std::process::id())).unwrap();
        self.peer = Peer::child(u32::MAX); // of whom nothing can be opened
        self.outlet.set_opens_segments();
        self.stage = LinkStage::Serving;
        self.codec = frame_codec(self.launch.max_payload);
        self.inbox = BytesMut::new();
        self.borrowed = Kept::default();
        (self.inside, self.replies, self.told.stopping) = (false, 0, stopping);
    }
}

fn consume(message: Message) {
    match message {
        Message::Reply(Reply::Task { header, payload }) => {
            match Cause::told(header.outcome, &payload, MAX_PAYLOAD) {
                None => drop(payload.decode::<String>()),
                Some(cause) => drop(cause.to_string()),
            }
        }
        Message::Emit(emitted) => drop(emitted.payload.decode::<String>()),
        Message::Progress(progress) => assert!(progress.text.len() <= 3 * MAX_MESSAGE),
        Message::Reply(Reply::Chunk { .. })
        | Message::OverMemory
        | Message::AskedToEnd
        | Message::CannotOpen => {}
    }
}

#[tokio::test]
async fn what_a_worker_says() {
    let (launch, uplink) = (Arc::new(launch()), uplink());
    let spawned = spawn(&launch).unwrap();
    let mut link = Link::new(launch, &uplink, spawned);
    let mut segment = Segment::create(100).unwrap();
    segment.write_at(0, &encoded(&"text")).unwrap();
    seeds().fuzz((MOST, 64), |input| {
        let (number, stream) = split_stream(input);
        link.begin_anew(&segment, number & STOPPING != 0);
        for piece in stream.chunks(usize::from(number & PIECES) + 1) {
            link.inbox.extend_from_slice(piece);
            loop {
                match link.next_step() {
                    Ok(LinkStep::Message(message)) => consume(message),
                    Ok(LinkStep::Report(_) | LinkStep::Quiet) => {}
                    Ok(LinkStep::Wait) => break,
                    Err(_) => return,
                }
            }
        }
    });
}
