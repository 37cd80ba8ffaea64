//! What an agent says, and what it is told.

use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::io::BufReader;
use tokio::sync::mpsc;

use super::far::FarWorkers;
use super::greeting::{FirstWords, Greeting};
use crate::base::WorkerId;
use crate::parent::Launch;
use crate::parent::birth::{Body, FarLaunch};
use crate::testing::fuzzing::{Seeds, frame, split};
use crate::wire::far::{FarAnswer, FarPage, FarQuestion, FarRecord, StoppedChunk};
use crate::wire::frame::{PREAMBLE, VERSION};
use crate::wire::hello::{FarFailure, FarFailureClass};
use crate::wire::host::{
    AgentBanner, Build, FromAgent, StreamHeader, ToAgent, WorkerEnd, message_bytes, read_message,
};
use crate::wire::message::Kind;

/// Of one frame, whose header may be large.
const MOST: usize = 17 << 20;

fn banner(before: &str) -> Vec<u8> {
    let words = AgentBanner { version: VERSION, build: Build(Some(7)), pid: 4711, cpus: 8 };
    let frame = frame(Kind::AgentBanner, &words, &[]);
    [&[200], before.as_bytes(), &PREAMBLE[..], &frame].concat()
}

#[test]
fn greetings() {
    let uninitialized = frame(Kind::NotInitialized, &(), &[]);
    let seeds = Seeds::new("host-greeting")
        .with("banner", banner("Last login: yesterday\n"))
        .with("wish", banner("\nprocpool-needs Linux x86_64\n"))
        .with("no-init", [&[1], &PREAMBLE[..], &uninitialized].concat());
    seeds.fuzz((MOST, 16), |input| {
        let (size, stream) = split(input);
        let mut input = BufReader::with_capacity(usize::from(size) + 1, stream);
        let mut greeting = Greeting::default();
        futures::executor::block_on(async {
            while let Ok(FirstWords::Wants(system)) = greeting.listen(&mut input).await {
                assert!(!system.contains('\n'));
            }
        });
        drop(greeting.quoted());
    });
}

#[test]
fn messages() {
    let worker = WorkerId(1);
    let bytes = |message: &FromAgent| message_bytes(message).unwrap().to_vec();
    let (text, kind) = ("no such file".to_owned(), "preload".to_owned());
    let failure = FarFailure { text, class: FarFailureClass::Initialization, kind };
    let end = WorkerEnd { code: None, signal: Some(9), was_oom: Some(true), page: None };
    let record = FarRecord { base: 3, bytes: vec![7; 9] };
    let page = FarPage { claims: vec![1; 512], record: Some((4, record.clone())) };
    let full_end = WorkerEnd { page: Some(page), ..end.clone() };
    let stopped = Some(StoppedChunk { number: 4, begun: 12, record: Some(record) });
    let taken = FromAgent::Answer(worker, FarAnswer::TakenBack { from: 5, stopped });
    let question = FarQuestion::TakeBack { first: 5, count: 2, stops: true };
    let ping = ToAgent::Ping { echo: 1 << 40 };
    let seeds = Seeds::new("host-messages")
        .with("pong", bytes(&FromAgent::Pong { clock: 1 << 40 }))
        .with("started", bytes(&FromAgent::Started { worker, pid: 4711, page: None }))
        .with("not-started", bytes(&FromAgent::NotStarted { worker, failure }))
        .with("exited", bytes(&FromAgent::Exited { worker, end }))
        .with("died", bytes(&FromAgent::Exited { worker, end: full_end }))
        .with("taken-back", bytes(&taken))
        .with("question", message_bytes(&ToAgent::Ask(worker, question)).unwrap().to_vec())
        .with("ping", message_bytes(&ping).unwrap().to_vec())
        .with("header", message_bytes(&StreamHeader::Frames(worker)).unwrap().to_vec());
    seeds.fuzz((MOST, 16), |input| {
        let bytes = input.into();
        let workers = Arc::<FarWorkers>::default();
        let (orders, _ordered) = mpsc::unbounded_channel();
        let (mut body, mut starting) = workers.expect(worker, orders);
        let question = FarQuestion::TakeBack { first: 5, count: 2, stops: true };
        body.ask(question);
        if let Ok(message) = read_message::<FromAgent>(&bytes) {
            workers.tell(message.clone());
            workers.tell(message);
        }
        let mut cx = Context::from_waker(Waker::noop());
        let first = body.poll_answer(&mut cx);
        assert!(first.is_pending() || body.poll_answer(&mut cx).is_pending(), "it asked once");
        if let Some(page) = body.last_words() {
            for number in [0, 5, u32::MAX] {
                let _ = (page.has_begun(number), page.record_of(number));
            }
        }
        drop(starting.try_recv());
        drop((read_message::<ToAgent>(&bytes), read_message::<StreamHeader>(&bytes)));
    });
}

#[test]
fn ways_to_start() {
    let launch = Launch::default();
    let bytes = FarLaunch::new(&launch, Some(0), Some(4)).to_bytes().unwrap();
    Seeds::new("host-launch").with("default", bytes).fuzz((MOST, 16), |input| {
        if let Ok(launch) = FarLaunch::from_bytes(input) {
            drop(launch.into_launch());
        }
    });
}
