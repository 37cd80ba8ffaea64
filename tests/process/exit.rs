//! What a process ends with, and what it says then.

#![allow(clippy::unnecessary_wraps, reason = "results are what is tested")]
#![allow(clippy::unused_async, reason = "that functions are `async` is what is tested")]
#![allow(clippy::needless_pass_by_value, reason = "processes own their arguments")]

use procpool::{Process, ProcessBuilder, ProcessStdio};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::AsyncReadExt;

use crate::common::{Gate, hold, in_time, pid, process_gone, tells_of_the_reaped};

/// As [`hold`], whoever runs the tests: a shell has what it runs in the background ignore an
/// interrupt, which children inherit.
fn hold_unless_interrupted(port: u16) -> u32 {
    // SAFETY: no handler is set, but the one that the system has from the start.
    #[expect(unsafe_code, reason = "there is no safe function for it")]
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
    }
    hold(port)
}

fn panic_with(text: String) {
    panic!("{text}");
}

async fn panic_later() {
    tokio::task::yield_now().await;
    panic!("later");
}

fn panic_without_text() {
    std::panic::panic_any(7_u32);
}

fn resume_a_panic() {
    std::panic::resume_unwind(Box::new("resumed"));
}

fn catch_a_panic() {
    let _ = std::panic::catch_unwind(|| panic!("caught"));
}

fn parse(text: String) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

async fn parse_later(text: String) -> Result<u32, std::num::ParseIntError> {
    tokio::task::yield_now().await;
    text.parse()
}

/// Neither it nor its error is a serde type, and the error has no text.
struct Mute;

fn fail_without_a_text() -> Result<Mute, Mute> {
    Err(Mute)
}

async fn succeed() -> Result<Mute, Mute> {
    Ok(Mute)
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn return_what_panics() -> PanicsWhenDropped {
    PanicsWhenDropped
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

fn abort() {
    std::process::abort();
}

fn leave_a_thread_behind() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

/// Cannot be decoded.
struct Odd;

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("too odd"))
    }
}

fn take(_: Odd) {}

procpool::register!(panic_with, panic_later, panic_without_text, resume_a_panic, catch_a_panic);
procpool::register!(parse, parse_later, fail_without_a_text, succeed, return_what_panics);
procpool::register!(exit_with, abort, leave_a_thread_behind, take, hold_unless_interrupted);

/// Runs it to its end; returns its exit code and what it has printed to standard error.
async fn ending_of<A, R>(builder: ProcessBuilder<A, R>) -> (i32, String) {
    let process = builder.stderr(ProcessStdio::Piped).build();
    in_time(process.start()).await.unwrap();
    let mut text = String::new();
    in_time(process.take_stderr().unwrap().read_to_string(&mut text)).await.unwrap();
    (in_time(process.join()).await.unwrap(), text)
}

#[tokio::test]
async fn what_returns_ends_with_0() {
    // scenario 83
    assert_eq!(ending_of(Process::builder(pid, ())).await, (0, String::new()));
    assert_eq!(ending_of(Process::builder(parse, "7".to_owned())).await, (0, String::new()));
    assert_eq!(ending_of(Process::builder(parse_later, "7".to_owned())).await.0, 0);
    assert_eq!(ending_of(Process::builder(succeed, ())).await.0, 0);
    assert_eq!(ending_of(Process::builder(leave_a_thread_behind, ())).await.0, 0);
    assert_eq!(ending_of(Process::builder(return_what_panics, ())).await, (0, String::new()));
    assert_eq!(ending_of(Process::builder(catch_a_panic, ())).await.0, 0);
}

#[tokio::test]
async fn an_error_ends_it_with_1_and_is_printed() {
    // scenario 83
    let (code, text) = ending_of(Process::builder(parse, "seven".to_owned()).name("parser")).await;
    assert_eq!(code, 1);
    assert_eq!(text, "procpool: process `parser` failed: invalid digit found in string\n");
    let (code, text) = ending_of(Process::builder(parse_later, String::new())).await;
    assert_eq!(code, 1);
    assert!(text.ends_with("` failed: cannot parse integer from empty string\n"), "{text}");
    let (code, text) = ending_of(Process::builder(fail_without_a_text, ())).await;
    assert_eq!(code, 1);
    assert!(text.contains("it returned an error of the type `process::exit::Mute`"), "{text}");
}

#[tokio::test]
async fn a_panic_ends_it_with_1_and_is_printed_with_its_backtrace() {
    // scenario 83
    for (printed, wanted, count) in [("0", "1", 1), ("1", "1", 1), ("0", "0", 0)] {
        let builder = Process::builder(panic_with, "at the disco".to_owned()).name("dancer");
        let builder = builder.env("RUST_BACKTRACE", printed).env("RUST_LIB_BACKTRACE", wanted);
        let (code, text) = ending_of(builder).await;
        assert_eq!(code, 1);
        assert!(
            text.contains("process `dancer` panicked: at the disco (at tests/process/exit.rs:")
        );
        assert_eq!(text.matches("stack backtrace:\n").count(), count, "{text}");
        assert_eq!(text.contains("process::exit::panic_with"), count == 1, "{text}");
    }
    let (code, text) = ending_of(Process::builder(panic_later, ())).await;
    assert_eq!(code, 1);
    assert!(text.contains("` panicked: later (at tests/process/exit.rs:"), "{text}");
}

#[tokio::test]
async fn panics_without_text_or_hook_end_it_with_1() {
    // scenario 83
    let (code, text) = ending_of(Process::builder(panic_without_text, ())).await;
    assert_eq!(code, 1);
    assert!(text.contains("a payload that is not text"), "{text}");
    let (code, text) = ending_of(Process::builder(resume_a_panic, ())).await;
    assert_eq!(code, 1);
    assert!(text.ends_with("` panicked: resumed\n"), "{text}");
}

#[tokio::test]
async fn arguments_that_cannot_be_decoded_end_it_with_1() {
    let (code, text) = ending_of(Process::builder(take, Odd)).await;
    assert_eq!(code, 1);
    assert!(text.contains("the arguments cannot be decoded: too odd"), "{text}");
}

#[tokio::test]
async fn an_exit_keeps_its_code() {
    // scenario 83
    for code in [0, 1, 8, 255] {
        assert_eq!(ending_of(Process::builder(exit_with, code)).await, (code, String::new()));
    }
}

#[tokio::test]
async fn a_signal_counts_below_zero() {
    // scenario 83
    let gate = Gate::new().await;
    for code in [-15, -9, -2] {
        let process = Process::new(hold_unless_interrupted, gate.port());
        in_time(process.start()).await.unwrap();
        let _held = gate.arrival().await;
        match code {
            -15 => process.terminate().unwrap(),
            -9 => process.kill().unwrap(),
            _ => process.interrupt().unwrap(),
        }
        assert_eq!(in_time(process.join()).await.unwrap(), code);
        assert_eq!(process.exitcode(), Some(code));
    }
    assert_eq!(ending_of(Process::builder(abort, ())).await.0, -6);
}

#[tokio::test]
async fn a_stopped_process_is_alive_and_can_be_killed() {
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    kill_process(Pid::from_raw(held.pid.try_into().unwrap()).unwrap(), Signal::STOP).unwrap();
    crate::common::wait_until("it is stopped", || crate::common::process_stopped(held.pid)).await;
    assert!(process.is_alive());
    process.kill().unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), -9);
}

#[tokio::test]
async fn the_code_of_what_somebody_else_has_reaped_is_known_where_the_system_tells() {
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    let id = Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
    drop(held);
    // On this runtime nothing else runs before the next await, so this is first.
    waitid(WaitId::Pid(id), WaitIdOptions::EXITED).unwrap().unwrap();
    let code = if tells_of_the_reaped() { 0 } else { 255 };
    assert_eq!((process.exitcode(), process.is_alive()), (Some(code), false));
    process.kill().unwrap(); // reaches nobody
    assert_eq!(in_time(process.join()).await.unwrap(), code);
    assert_eq!(process.exitcode(), Some(code));
}

#[tokio::test]
async fn a_hundred_that_return_and_a_hundred_that_are_terminated() {
    // scenario 87
    let gate = Gate::new().await;
    for number in 0..100 {
        let returns = Process::new(exit_with, number);
        let runs = Process::new(hold, gate.port());
        in_time(returns.start()).await.unwrap();
        in_time(runs.start()).await.unwrap();
        let _held = gate.arrival().await;
        runs.terminate().unwrap();
        assert_eq!(in_time(returns.join()).await.unwrap(), number);
        assert_eq!(in_time(runs.join()).await.unwrap(), -15);
        assert!(process_gone(returns.pid().unwrap()) && process_gone(runs.pid().unwrap()));
    }
}
