//! What a parent says once its worker is ready.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::{Identity, OomScore, ResourceLimits, TaskId};
use crate::child::stream::Lending;
use crate::codec::encoded;
use crate::memory::lease_word;
use crate::sys::memory::Segment;
use crate::testing::fuzzing::{MENDED, Seeds, frame, split_stream, stream};
use crate::wire::frame::PREAMBLE;
use crate::wire::item::{begin_item, end_item};
use crate::wire::message::{Attempt, Place};

const MAX_PAYLOAD: usize = 4 << 10;
/// Of one frame, whose header may be large as far as the reader knows.
const MOST: usize = (18 << 20) + MAX_PAYLOAD;
/// Of the segment that is known.
const SEGMENT: u64 = 1;
const LEASE: u64 = 5;
/// In the number of a stream: the worker takes part in claims.
const CLAIMS: u8 = 2;
const FIRST: Attempt = Attempt { number: 1, is_heard: true };

fn nothing() {}

fn echo(value: Vec<u8>) -> Vec<u8> {
    value
}

#[expect(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]
fn total(numbers: Vec<u32>, text: String, bytes: Bytes) -> usize {
    numbers.len() + text.len() + bytes.len()
}

crate::register!(nothing, echo, total);

/// Those from above, in this order.
fn functions() -> Vec<&'static Function> {
    let names = Registry::global().names();
    let find = |end: &str| {
        let name = names.iter().find(|name| name.name.ends_with(end)).unwrap().clone();
        Registry::global().resolve(&[name]).unwrap()[0]
    };
    ["fuzz::nothing", "fuzz::echo", "fuzz::total"].map(find).into()
}

fn hello() -> Hello {
    let fields = ("fuzz", "", false, false, Vec::<u8>::new(), None::<(String, u32)>);
    let identity: Identity = split_header(&postcard::to_stdvec(&fields).unwrap()).unwrap().0;
    Hello {
        version: VERSION,
        worker: crate::WorkerId(1),
        identity,
        max_payload: MAX_PAYLOAD as u64,
        max_memory: None,
        limits: ResourceLimits::default(),
        oom_score: OomScore::default(),
        pass_fds: Vec::new(),
        max_tasks: None,
        functions: None,
        preload: None,
        after_fork: Vec::new(),
        sandbox: None,
        initializer: None,
        claims: None,
        shared_memory: 1 << 20,
    }
}

fn items(values: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let start = begin_item(&mut out);
        out.extend_from_slice(&encoded(value));
        end_item(&mut out, start).unwrap();
    }
    out
}

fn seeds() -> Seeds {
    let task = |function| TaskHeader { task: TaskId(300), function, attempt: FIRST, slot: None };
    let arguments = encoded(&(vec![1_u32, 300], "text", Bytes::from_static(b"bytes")));
    let chunk = ChunkHeader {
        task: TaskId(300),
        function: 1,
        attempt: 1,
        skipped: 0,
        count: 3,
        credit: 1 << 20,
        slot: None,
    };
    // What is not known is looked for in a process that is not there.
    let name = |id| (id, (u32::MAX, 5, 4096_u64, 77_u64), 20_u64, LEASE);
    let extras = ExtrasHeader {
        task: TaskId(300),
        allowance: Some(3),
        context: Some("u8".to_owned()),
        limits: None,
    };
    let limits = ResourceLimits::new().memory(1 << 30).cpu_time(Duration::MAX).file_size(1 << 40);
    let limited =
        ExtrasHeader { allowance: None, context: None, limits: Some(limits), ..extras.clone() };
    let header = |function| (300_u64, function, FIRST, None::<()>);
    Seeds::new("worker")
        .with("nothing", one(frame(Kind::Task, &task(0), &[])))
        .with("echo", one(frame(Kind::Task, &task(1), &encoded(&vec![7_u8; 100]))))
        .with("total", one(frame(Kind::Task, &task(2), &arguments)))
        .with("chunk", one(frame(Kind::Chunk, &chunk, &items(&[b"one", b"", b"three"]))))
        .with("segment", one(frame(Kind::SegmentTask, &(header(1), name(SEGMENT)), &[])))
        .with(
            "extras",
            stream(
                CLAIMS,
                &[frame(Kind::Extras, &extras, b"\x07"), frame(Kind::Task, &task(0), &[])],
            ),
        )
        .with(
            "limits",
            stream(
                CLAIMS,
                &[
                    frame(Kind::Extras, &limited, &[]),
                    frame(Kind::Chunk, &chunk, &items(&[b"one"])),
                ],
            ),
        )
        .with(
            "cannot-open",
            stream(
                CLAIMS,
                &[
                    frame(Kind::SegmentTask, &(header(1), name(2)), &[]),
                    frame(Kind::Task, &task(0), &[]),
                    frame(Kind::Resume, &(), &[]),
                    frame(Kind::OfferRefused, &(), &[]),
                    frame(Kind::Task, &task(0), &[]),
                ],
            ),
        )
        .with("stop", one(frame(Kind::Stop, &Stop { exit_hook: None }, &[])))
        .with(
            "exit-hook",
            one(frame(Kind::Stop, &Stop { exit_hook: Some(1) }, &encoded(&vec![7_u8]))),
        )
}

fn one(frame: Vec<u8>) -> Vec<u8> {
    stream(MENDED, &[frame])
}

/// A worker that knows one segment.
fn worker(
    reporter: &'static Reporter,
    claims: Option<&'static SharedPage>,
    known: &Place,
) -> Worker {
    let mut segments = Segments::new(1 << 20);
    segments.read(known).unwrap();
    Worker {
        hello: hello(),
        functions: functions(),
        claims,
        reporter,
        runs: 0,
        replies: 0,
        memory: None,
        limits: CallLimits::default(),
        over_memory: false,
        extras: None,
        waits_for_resume: false,
        segments,
        entries: Vec::new(),
        clock: None,
        output: TaskOutput::new(None),
    }
}

#[test]
fn what_a_parent_says() {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let reporter = &*Box::leak(Box::new(Reporter::new(null)));
    let page = &*Box::leak(Box::new(SharedPage::create().unwrap().0));
    let mut segment = Segment::create(100).unwrap();
    segment.write_at(0, &encoded(&vec![7_u8; 19])).unwrap();
    lease_word(&segment).store(LEASE, std::sync::atomic::Ordering::SeqCst);
    let known = Place { id: SEGMENT, name: segment.name(), length: 20, lease: LEASE };
    seeds().fuzz((MOST, 256), |input| {
        let (number, stream) = split_stream(input);
        let (pipe, mut sender) = io::pipe().unwrap();
        sender.write_all(&PREAMBLE).unwrap();
        sender.write_all(&stream).unwrap();
        drop(sender);
        let pipe = Arc::new(File::from(std::os::fd::OwnedFd::from(pipe)));
        let mut reader = FrameReader::new(pipe).unwrap();
        reader.set_max_payload(MAX_PAYLOAD);
        let mut writer = FrameWriter::new(reporter, Lending::ByName);
        let claims = (number & CLAIMS != 0).then_some(page);
        let mut worker = worker(reporter, claims, &known);
        while worker.step(&mut reader, &mut writer).unwrap_or(false) {}
    });
}
