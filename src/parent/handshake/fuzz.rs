//! The first words of a child, what a fork server answers, and hellos.

use bytes::BytesMut;

use super::{Handshake, Heard};
use crate::base::{Identity, OomScore, ResourceLimits};
use crate::sys::sandbox::SandboxRules;
use crate::testing::fuzzing::{Seeds, frame, split};
use crate::wire::fork::{Answer, Request};
use crate::wire::frame::{PREAMBLE, VERSION, frame_codec, split_header, split_kind};
use crate::wire::hello::{
    CallHeader, FunctionName, Hello, ProcessHello, ServerHello, WorkerHello, peek_version,
};
use crate::wire::message::{HookFailure, HookStage, InitFailure, Kind, PanicReport, Ready};

const MAX_PAYLOAD: usize = 4 << 10;
/// Of one frame, whose header may be large in a handshake.
const MOST: usize = (17 << 20) + MAX_PAYLOAD;

fn greeting(differences: &[&str], rest: &[u8]) -> Vec<u8> {
    let differences = differences.iter().map(|text| (*text).to_owned()).collect();
    said(&WorkerHello { version: VERSION, no_page: None, differences }, rest)
}

fn said(hello: &WorkerHello, rest: &[u8]) -> Vec<u8> {
    [&[200], &PREAMBLE[..], &frame(Kind::WorkerHello, hello, &[]), rest].concat()
}

fn hook_failure() -> HookFailure {
    let failure = InitFailure::Failed("no lock".to_owned());
    HookFailure { stage: HookStage::After, number: 1, failure }
}

fn report() -> PanicReport {
    let (message, location) = ("it was bad".to_owned(), Some("src/main.rs:3:7".to_owned()));
    PanicReport { message, location, backtrace: "0: main".to_owned() }
}

#[test]
fn first_words() {
    let unprotected = InitFailure::NoSandbox("no Landlock".to_owned());
    let failure = InitFailure::Panicked(report());
    let unforkable = InitFailure::CannotFork("threads".to_owned());
    let no_page = WorkerHello { version: VERSION, no_page: Some(13), differences: Vec::new() };
    let seeds = Seeds::new("handshake")
        .with("no-page", said(&no_page, &frame(Kind::Ready, &Ready::default(), &[])))
        .with(
            "ready",
            greeting(&[], &frame(Kind::Ready, &Ready { segments: true, remarks: Vec::new() }, &[])),
        )
        .with("banner", [b"\x05running 1 test\n\xF5", &greeting(&[], &[])[1..]].concat())
        .with("differences", greeting(&["`a::b` is missing", "`c` differs"], &[]))
        .with("init-failed", greeting(&[], &frame(Kind::InitFailed, &failure, &[])))
        .with("no-sandbox", greeting(&[], &frame(Kind::InitFailed, &unprotected, &[])))
        .with("hook-failed", greeting(&[], &frame(Kind::HookFailed, &hook_failure(), &[])))
        .with("preload-failed", greeting(&[], &frame(Kind::PreloadFailed, &unforkable, &[])))
        .with("no-init", [&[1], &PREAMBLE[..], &frame(Kind::NotInitialized, &(), &[])].concat());
    seeds.fuzz((MOST, 16), |input| {
        let (size, stream) = split(input);
        let mut handshake = Handshake::default();
        let (mut inbox, mut codec) = (BytesMut::new(), frame_codec(MAX_PAYLOAD));
        for piece in stream.chunks(usize::from(size) + 1) {
            inbox.extend_from_slice(piece);
            loop {
                match handshake.advance(&mut inbox, &mut codec) {
                    Ok(Heard::Quiet) => {}
                    Ok(Heard::Wait) => break,
                    Ok(Heard::Refused(refusal)) => return drop(refusal.to_string()),
                    Ok(Heard::Ready { .. }) | Err(_) => return,
                }
            }
        }
    });
}

fn function(name: &str) -> FunctionName {
    FunctionName { name: name.to_owned(), signature: "fn(u64) -> u64".to_owned() }
}

/// What is random in it is not here.
fn identity() -> Identity {
    let parent = Some(("MainProcess", 7_u32));
    let fields = ("pool-worker-1", "w1", false, true, vec![7_u8; 32], parent);
    split_header(&postcard::to_stdvec(&fields).unwrap()).unwrap().0
}

#[test]
fn hellos() {
    let hello = Hello {
        version: VERSION,
        worker: crate::WorkerId(1),
        identity: identity(),
        max_payload: 1 << 30,
        max_memory: Some(1 << 30),
        limits: ResourceLimits::new().open_files(64),
        oom_score: OomScore::default(),
        pass_fds: vec![7],
        max_tasks: Some(7),
        functions: Some(vec![function("a::b"), function("c")]),
        preload: Some(CallHeader { function: 1, length: 2 }),
        after_fork: vec![CallHeader { function: 2, length: 1 }],
        sandbox: Some(SandboxRules { read: vec!["/usr".into()], ..SandboxRules::default() }),
        initializer: Some(0),
        claims: None,
        shared_memory: 1 << 28,
    };
    let server = ServerHello {
        version: VERSION,
        identity: identity(),
        functions: vec![function("a::b")],
        preload: Some(CallHeader { function: 0, length: 1 }),
        before_fork: vec![CallHeader { function: 0, length: 0 }],
        after_fork_in_parent: Vec::new(),
        pass_fds: vec![7],
        oom_score: OomScore::default(),
    };
    let process = ProcessHello {
        version: VERSION,
        max_payload: 1 << 30,
        function: function("c"),
        typed: true,
        ends_with_parent: true,
        identity: identity(),
        limits: ResourceLimits::default(),
        oom_score: OomScore::default(),
        pass_fds: Vec::new(),
    };
    let seeds = Seeds::new("hello")
        .with("worker", frame(Kind::Hello, &hello, b"\x01\x02\x03"))
        .with("server", frame(Kind::Hello, &server, b"\x01"))
        .with("process", frame(Kind::Hello, &process, b"\x01"));
    seeds.fuzz((4 << 10, 64), |input| {
        let Some((_, body)) = input.get(4..).and_then(|frame| split_kind(frame).ok()) else {
            return;
        };
        let _ = peek_version(body);
        let _ = split_header::<Hello>(body);
        let _ = split_header::<ServerHello>(body);
        let _ = split_header::<ProcessHello>(body);
    });
}

#[test]
fn the_fork_server_and_its_owner() {
    let seeds = Seeds::new("forkserver")
        .with("fork", Request::Fork.to_bytes().to_vec())
        .with("reap", Request::Reap { pid: 300 }.to_bytes().to_vec())
        .with("forked", Answer::Forked { pid: 300 }.to_bytes().to_vec())
        .with("reaped", Answer::Reaped { status: 256 }.to_bytes().to_vec())
        .with("failed", Answer::Failed { errno: 11 }.to_bytes().to_vec());
    seeds.fuzz((1 << 10, 0), |input| {
        for message in input.as_chunks().0 {
            if let Ok(request) = Request::from_bytes(*message) {
                assert_eq!(Request::from_bytes(request.to_bytes()).unwrap(), request);
            }
            if let Ok(answer) = Answer::from_bytes(*message) {
                assert_eq!(answer.to_bytes(), *message);
            }
        }
    });
}
