//! What fails with one task, and costs nothing but that task.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "tasks own their arguments, and have the results that a test needs"
)]

use std::error::Error;
use std::fmt;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, RunError, StartMethod, SubmitErrorKind, WorkerOutput};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{in_time, pid};

fn pool() -> ProcessPoolExecutor {
    builder().build().unwrap()
}

fn builder() -> procpool::Builder {
    ProcessPoolExecutor::builder().max_workers(1).worker_output(WorkerOutput::Null)
}

/// The messages of an error and of all that it stems from.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect()
}

// ----- errors that tasks return -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    Odd { number: u32 },
    TooLarge(String),
}

fn halve(number: u32) -> Result<u32, Refusal> {
    match number {
        1_000.. => Err(Refusal::TooLarge(format!("{number} is too large"))),
        _ if number % 2 == 1 => Err(Refusal::Odd { number }),
        _ => Ok(number / 2),
    }
}

procpool::register!(halve);

#[tokio::test]
async fn an_err_of_a_task_is_a_typed_result() {
    // scenario 23
    let pool = pool();
    assert_eq!(in_time(pool.run(halve, 8)).await.unwrap(), Ok(4));
    assert_eq!(in_time(pool.run(halve, 7)).await.unwrap(), Err(Refusal::Odd { number: 7 }));
    let too_large = Refusal::TooLarge("2000 is too large".to_owned());
    assert_eq!(in_time(pool.run(halve, 2_000)).await.unwrap(), Err(too_large));
    assert_eq!(pool.stats().completed, 3);
}

// ----- panics -----

const PANIC_LINE: u32 = line!() + 3;

fn panic_saying(text: String) {
    panic!("said {text}");
}

fn panic_with_number() {
    std::panic::panic_any(42);
}

fn panic_with_string() {
    std::panic::panic_any("a string".to_owned());
}

fn unwrap_none() -> u32 {
    "no number".parse().ok().unwrap()
}

async fn panic_after_await() {
    tokio::task::yield_now().await;
    panic!("after an await");
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn panic_with_payload_that_panics() {
    std::panic::panic_any(PanicsWhenDropped);
}

fn panic_without_hook() {
    let _ = std::panic::take_hook();
    panic!("unseen");
}

fn panic_on_a_thread() -> bool {
    std::thread::spawn(|| panic!("on a thread")).join().is_err()
}

fn resume_unwind() {
    std::panic::resume_unwind(Box::new("resumed"));
}

fn catch_one_and_resume_another() {
    let _ = std::panic::catch_unwind(|| panic!("caught by the task"));
    std::panic::resume_unwind(Box::new("resumed"));
}

procpool::register!(
    panic_saying,
    panic_with_number,
    panic_with_string,
    unwrap_none,
    panic_after_await,
    panic_with_payload_that_panics,
    panic_without_hook,
    panic_on_a_thread,
    resume_unwind,
    catch_one_and_resume_another,
);

fn panic_message(error: &RunError) -> &str {
    assert!(error.is_panic() && !error.is_worker_death(), "{error}");
    error.panic().unwrap().message()
}

#[tokio::test]
async fn a_panic_brings_message_location_and_backtrace_and_the_worker_lives() {
    // scenario 24
    let pool = pool();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(panic_saying, "so".to_owned())).await.unwrap_err();
    assert_eq!(panic_message(&error), "said so");
    let panic = error.panic().unwrap();
    let location = panic.location().unwrap();
    let place = format!("tests/pool/task_errors.rs:{PANIC_LINE}:");
    assert!(location.contains(&place), "{location}");
    assert!(panic.backtrace().contains("panic_saying"), "{}", panic.backtrace());
    let text = error.to_string();
    assert!(text.contains("said so") && text.contains(&place), "{text}");
    assert_eq!(error.worker_id(), Some(pool.workers()[0].id));
    assert!(text.contains("pool::task_errors::panic_saying"), "{text}");
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_panic_has_a_backtrace_unless_the_environment_says_no() {
    // scenario 24
    let variables = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"];
    let cases = [
        ([None, None], true),
        ([None, Some("0")], false),
        ([Some("0"), Some("1")], false),
        ([Some("1"), Some("0")], true),
    ];
    for (values, expected) in cases {
        let builder = variables.into_iter().zip(values).fold(builder(), |builder, pair| {
            let (variable, value) = pair;
            let builder = builder.env_remove(variable);
            value.into_iter().fold(builder, |builder, value| builder.env(variable, value))
        });
        let error = in_time(builder.build().unwrap().run(panic_saying, "so".to_owned())).await;
        let error = error.unwrap_err();
        let panic = error.panic().unwrap();
        assert!(panic.location().is_some(), "{panic}");
        let backtrace = panic.backtrace();
        assert_eq!(backtrace.contains("panic_saying"), expected, "{values:?}: {backtrace}");
        assert_eq!(backtrace.is_empty(), !expected, "{values:?}: {backtrace}");
    }
}

extern "C" fn callback(number: u32) {
    assert!(number != 1, "in a callback");
}

/// As a C library does.
fn call_back(number: u32) -> u32 {
    callback(number);
    number
}

struct PanicsInTurn;

impl Drop for PanicsInTurn {
    fn drop(&mut self) {
        panic!("in turn");
    }
}

fn panic_twice() {
    let _guard = PanicsInTurn;
    panic!("at first");
}

procpool::register!(call_back, panic_twice);

#[tokio::test]
async fn a_panic_that_ends_its_worker_is_told_as_one() {
    // scenarios 25 and 26
    for start_method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = builder().start_method(start_method).build().unwrap();
        let before = in_time(pool.run(pid, ())).await.unwrap();
        let error = in_time(pool.run(call_back, 1)).await.unwrap_err();
        assert_eq!(panic_message(&error), "in a callback");
        let panic = error.panic().unwrap();
        assert!(panic.location().unwrap().contains("task_errors.rs:"), "{panic}");
        assert!(panic.backtrace().contains("call_back"), "{}", panic.backtrace());
        let error = in_time(pool.run(panic_twice, ())).await.unwrap_err();
        assert_eq!(panic_message(&error), "in turn");
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), before, "another worker is there");
        assert_eq!(pool.stats().worker_deaths, 2);
    }
    // Of items that are run together the worker cannot answer for one alone.
    let pool = pool();
    let results: Vec<_> = in_time(pool.map(call_back, [0, 1, 2]).chunksize(3).collect()).await;
    let [Ok(0), Err(error), Ok(2)] = &results[..] else { panic!("{results:?}") };
    assert!(error.is_worker_death() && !error.is_panic(), "{error}");
}

#[tokio::test]
async fn panics_of_all_kinds_cost_nothing_but_their_task() {
    // scenario 24
    let pool = pool();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(panic_with_number, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "a payload that is not text");
    assert!(error.panic().unwrap().location().unwrap().contains("task_errors.rs:"));
    let error = in_time(pool.run(panic_with_string, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "a string");
    let error = in_time(pool.run(unwrap_none, ())).await.unwrap_err();
    assert!(panic_message(&error).contains("`None` value"), "{error}");
    let error = in_time(pool.run(panic_after_await, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "after an await");
    let error = in_time(pool.run(panic_with_payload_that_panics, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "a payload that is not text");
    assert!(in_time(pool.run(panic_on_a_thread, ())).await.unwrap());
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

#[tokio::test]
async fn a_resumed_panic_has_its_own_message() {
    let pool = pool();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(resume_unwind, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "resumed");
    let error = in_time(pool.run(catch_one_and_resume_another, ())).await.unwrap_err();
    assert_eq!(panic_message(&error), "resumed");
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

#[tokio::test]
async fn a_task_that_replaces_the_panic_hook_still_reports_its_message() {
    let pool = pool();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    for _ in 0..2 {
        let error = in_time(pool.run(panic_without_hook, ())).await.unwrap_err();
        assert_eq!(panic_message(&error), "unseen");
        assert_eq!(error.panic().unwrap().location(), None);
    }
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

#[tokio::test]
async fn panics_that_tasks_caught_do_not_show_in_later_ones() {
    let pool = pool();
    assert!(in_time(pool.run(panic_on_a_thread, ())).await.unwrap());
    let error = in_time(pool.run(panic_saying, "second".to_owned())).await.unwrap_err();
    assert_eq!(panic_message(&error), "said second");
}

// ----- values that fail on their way -----

/// Where a value fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fails {
    Nowhere,
    Encoding,
    Decoding,
    PanicEncoding,
    PanicDecoding,
}

/// A value that fails on its way, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fragile(Fails);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fails::Encoding => Err(S::Error::custom("not to be encoded")),
            Fails::PanicEncoding => panic!("panicked while it was encoded"),
            fails => fails.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Fails::deserialize(deserializer)? {
            Fails::Decoding => Err(D::Error::custom("not to be decoded")),
            Fails::PanicDecoding => panic!("panicked while it was decoded"),
            fails => Ok(Self(fails)),
        }
    }
}

fn take(_value: Fragile) -> u32 {
    pid()
}

fn give(fails: Fails) -> Fragile {
    Fragile(fails)
}

procpool::register!(take, give);

#[tokio::test]
async fn arguments_that_cannot_be_encoded_fail_at_once_and_alone() {
    // scenario 27
    let pool = pool();
    for _ in 0..100 {
        let error = pool.try_submit(take, Fragile(Fails::Encoding)).unwrap_err();
        assert!(error.is_codec() && error.kind() == SubmitErrorKind::Codec, "{error}");
        assert!(error.to_string().contains(": the arguments cannot be encoded: "), "{error}");
    }
    assert_eq!(pool.stats().submitted, 0);
    let mut handles = Vec::new();
    for _ in 0..100 {
        handles.push(in_time(pool.submit(take, Fragile(Fails::Nowhere))).await.unwrap());
    }
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    assert_eq!((pool.stats().completed, pool.stats().worker_starts), (100, 1));
}

#[tokio::test]
async fn good_and_bad_arguments_in_turn_fail_exactly_where_they_are_bad() {
    // scenario 27
    let pool = pool();
    for index in 0..50 {
        let fails = if index % 2 == 0 { Fails::Encoding } else { Fails::Nowhere };
        let result = in_time(pool.run(take, Fragile(fails))).await;
        assert_eq!(result.is_ok(), fails == Fails::Nowhere, "{result:?}");
    }
}

#[tokio::test]
async fn an_argument_that_cannot_be_decoded_fails_its_task_and_the_worker_lives() {
    // scenario 28
    let pool = pool();
    let before = in_time(pool.run(take, Fragile(Fails::Nowhere))).await.unwrap();
    let error = in_time(pool.run(take, Fragile(Fails::Decoding))).await.unwrap_err();
    assert!(error.is_codec() && !error.is_worker_death(), "{error}");
    let text = error.to_string();
    assert!(text.contains(": the arguments cannot be decoded in the worker: "), "{text}");
    let error = in_time(pool.run(take, Fragile(Fails::PanicDecoding))).await.unwrap_err();
    assert_eq!(panic_message(&error), "panicked while it was decoded");
    assert_eq!(in_time(pool.run(take, Fragile(Fails::Nowhere))).await.unwrap(), before);
}

#[tokio::test]
async fn a_result_that_cannot_be_encoded_or_decoded_fails_its_task_and_the_worker_lives() {
    // scenario 29
    let pool = pool();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(give, Fails::Encoding)).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(
        error.to_string().contains(": the result cannot be encoded in the worker: "),
        "{error}"
    );
    let error = in_time(pool.run(give, Fails::PanicEncoding)).await.unwrap_err();
    assert_eq!(panic_message(&error), "panicked while it was encoded");
    let error = in_time(pool.run(give, Fails::Decoding)).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains(": the result cannot be decoded: "), "{error}");
    assert_eq!(in_time(pool.run(give, Fails::Nowhere)).await.unwrap(), Fragile(Fails::Nowhere));
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

// ----- payloads over the limit -----

const SMALL: usize = 10_000;

fn length(text: String) -> usize {
    text.len()
}

fn text_of(length: usize) -> String {
    "x".repeat(length)
}

fn panic_with_long_message(length: usize) {
    panic!("{}", "y".repeat(length));
}

/// Says much about why it cannot be encoded.
#[derive(Debug, Deserialize)]
struct Verbose;

impl Serialize for Verbose {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("z".repeat(20 << 20)))
    }
}

fn verbose() -> Verbose {
    Verbose
}

procpool::register!(length, text_of, panic_with_long_message, verbose);

#[tokio::test]
async fn arguments_over_the_limit_are_refused_at_once() {
    let pool = builder().max_payload(SMALL).build().unwrap();
    let error = pool.try_submit(length, text_of(SMALL)).unwrap_err();
    assert!(error.is_too_large() && !error.is_codec(), "{error}");
    assert!(error.to_string().contains(": the arguments take more than 10000 bytes; "), "{error}");
    assert_eq!(pool.stats().submitted, 0);
    // The length of a text takes two bytes of its own here.
    assert_eq!(in_time(pool.run(length, text_of(SMALL - 2))).await.unwrap(), SMALL - 2);
}

#[tokio::test]
async fn a_result_over_the_limit_fails_its_task_and_the_worker_lives() {
    let pool = builder().max_payload(SMALL).build().unwrap();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    for size in [SMALL - 1, SMALL, 100 * SMALL] {
        let error = in_time(pool.run(text_of, size)).await.unwrap_err();
        assert!(error.is_too_large() && !error.is_worker_death(), "{error}");
        assert!(
            error.to_string().contains(": the result takes more than 10000 bytes; "),
            "{error}"
        );
    }
    assert_eq!(in_time(pool.run(text_of, SMALL - 2)).await.unwrap().len(), SMALL - 2);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

#[tokio::test]
async fn a_panic_message_over_the_limit_is_cut() {
    for limit in [0, 1, 1_000, SMALL] {
        let pool = builder().max_payload(limit).build().unwrap();
        let error = in_time(pool.run(panic_with_long_message, 1_000_000)).await;
        // The argument takes three bytes.
        if limit < 3 {
            assert!(error.unwrap_err().is_too_large());
            continue;
        }
        let error = error.unwrap_err();
        let message = panic_message(&error);
        assert!((100..1_000_000).contains(&message.len()), "{}", message.len());
        assert!(message.starts_with("yyy"));
        assert_eq!(pool.stats().worker_deaths, 0);
    }
}

#[tokio::test]
async fn a_reason_over_the_limit_is_cut_and_the_worker_lives() {
    let pool = builder().max_payload(SMALL).build().unwrap();
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(verbose, ())).await.unwrap_err();
    assert!(error.is_codec(), "{:?}", error.worker_death());
    let length = error.to_string().len();
    assert!((100..SMALL + 1_000).contains(&length), "{length}");
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), before);
}

// ----- the errors themselves -----

#[tokio::test]
async fn errors_of_different_tasks_are_different_values() {
    // scenario 38
    let pool = pool();
    let first = pool.submit(panic_saying, "first".to_owned()).await.unwrap();
    let second = pool.submit(panic_saying, "second".to_owned()).await.unwrap();
    let ids = [first.id(), second.id()];
    let first = in_time(first).await.unwrap_err();
    let second = in_time(second).await.unwrap_err();
    assert_eq!([first.task_id().unwrap(), second.task_id().unwrap()], ids);
    assert_ne!(ids[0], ids[1]);
    for (error, id) in [(&first, ids[0]), (&second, ids[1])] {
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        assert_eq!(error.function(), "pool::task_errors::panic_saying");
        assert_eq!(error.attempts(), 1);
    }
    assert!(first.to_string().contains("said first") && second.to_string().contains("said second"));
}

#[tokio::test]
async fn a_text_holds_its_cause_which_is_no_source() {
    // scenario 38
    let pool = pool();
    let panic = in_time(pool.run(panic_saying, "so".to_owned())).await.unwrap_err();
    assert_eq!(panic.panic().unwrap().message(), "said so");
    assert!(panic.to_string().contains("panicked: said so (at "), "{panic}");
    assert_eq!(chain(&panic).len(), 1, "{:?}", chain(&panic));

    let death = in_time(pool.run(procpool::task!(|| { std::process::exit(3) }), ())).await;
    let death = death.unwrap_err();
    let source = death.worker_death().unwrap();
    assert_eq!(source.exit_code(), Some(3));
    assert!(death.to_string().ends_with(&source.to_string()), "{death}");
    assert_eq!(chain(&death).len(), 1, "{:?}", chain(&death));

    for fails in [Fails::Encoding, Fails::Decoding] {
        let error = in_time(pool.run(take, Fragile(fails))).await.unwrap_err();
        assert_eq!(chain(&error).len(), 1, "{:?}", chain(&error));
        let error = in_time(pool.run(give, fails)).await.unwrap_err();
        assert_eq!(chain(&error).len(), 1, "{:?}", chain(&error));
    }
}

#[tokio::test]
async fn a_failure_to_encode_or_decode_names_its_own_reason() {
    let pool = pool();
    for (fails, reason) in
        [(Fails::Encoding, "not to be encoded"), (Fails::Decoding, "not to be decoded")]
    {
        let error = in_time(pool.run(take, Fragile(fails))).await.unwrap_err();
        assert!(chain(&error).concat().contains(reason), "{:?}", chain(&error));
        let error = in_time(pool.run(give, fails)).await.unwrap_err();
        assert!(chain(&error).concat().contains(reason), "{:?}", chain(&error));
    }
}

#[test]
fn errors_can_be_cloned_and_sent_anywhere() {
    fn check<E: Error + Clone + Send + Sync + fmt::Display + 'static>() {}
    check::<procpool::SubmitError>();
    check::<procpool::TaskError>();
    check::<RunError>();
    check::<procpool::BuildError>();
    check::<procpool::TaskPanic>();
    check::<procpool::WorkerDeath>();
    check::<procpool::BrokenProcessPool>();
}

fn die_first_then_give(fails: Fails) -> Fragile {
    if procpool::current().attempt() == 1 {
        std::process::abort();
    }
    Fragile(fails)
}

procpool::register!(die_first_then_give);

#[tokio::test]
async fn an_error_that_is_met_while_awaiting_knows_attempt_and_worker() {
    let pool = pool();
    let task = pool.task(die_first_then_give, Fails::Decoding).retries(1);
    let error = in_time(task.run()).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert_eq!(error.attempts(), 2);
    assert!(error.to_string().contains("in worker 2 at attempt 2"), "{error}");
}
