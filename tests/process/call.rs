//! Functions that have a process to themselves for one call, and are awaited for their value.

#![allow(clippy::needless_pass_by_value, reason = "calls own their arguments")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use procpool::{Process, ProcessError, ProcessStdio};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use tokio::io::AsyncReadExt;

use crate::common::{Gate, children, hold, in_time, panic_now, pid, process_gone, wait_until};

fn add(left: u64, right: u64) -> u64 {
    left + right
}

async fn add_later(left: u64, right: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    left + right
}

fn parse(text: String) -> Result<u32, String> {
    text.parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

fn exit_with(code: i32) -> u32 {
    std::process::exit(code)
}

fn reverse(mut bytes: ByteBuf) -> ByteBuf {
    bytes.reverse();
    bytes
}

fn zeros(count: usize) -> ByteBuf {
    ByteBuf::from(vec![0; count])
}

fn print_and_return(lines: usize) -> usize {
    for number in 0..lines {
        println!("line {number}");
    }
    lines
}

fn leave_a_child_behind() -> u32 {
    std::process::Command::new("sleep").arg("1000").spawn().unwrap().id()
}

/// Crosses in one direction only.
#[derive(Debug)]
struct OneWay;

impl Serialize for OneWay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

/// Cannot be encoded.
#[derive(Debug, Deserialize)]
struct Stuck;

impl Serialize for Stuck {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("stuck"))
    }
}

fn take_one_way(_: OneWay) {}

fn make_one_way() -> OneWay {
    OneWay
}

fn make_stuck() -> Stuck {
    Stuck
}

fn never_registered() {}

procpool::register!(add, add_later, parse, exit_with, reverse, zeros, print_and_return);
fn make_path() -> PathBuf {
    OsString::from_vec(vec![0xFF]).into()
}

fn make_json() -> serde_json::Value {
    serde_json::Value::Null
}

procpool::register!(leave_a_child_behind, take_one_way, make_one_way, make_stuck, panic_now);
procpool::register!(make_path, make_json => compact);

#[tokio::test]
async fn one_line_runs_a_function_in_a_process_of_its_own() {
    assert_eq!(in_time(Process::spawn(add, (2, 3))).await.unwrap(), 5);
    assert_eq!(in_time(Process::spawn(add_later, (2, 3))).await.unwrap(), 5);
    let handle = Process::spawn(pid, ());
    let process = handle.process().clone();
    let id = in_time(handle).await.unwrap();
    assert_ne!(id, std::process::id());
    assert_eq!((process.pid(), process.exitcode()), (Some(id), Some(0)));
    assert!(process_gone(id), "it is reaped when its value is there");
    let next = procpool::task!(|x: u64| -> u64 { x + 1 });
    assert_eq!(in_time(Process::spawn(next, 1)).await.unwrap(), 2);
}

#[tokio::test]
async fn an_err_is_a_value() {
    let handle = Process::spawn(parse, "seven".to_owned());
    let process = handle.process().clone();
    assert_eq!(in_time(handle).await.unwrap().unwrap_err(), "invalid digit found in string");
    assert_eq!(process.exitcode(), Some(0));
}

#[tokio::test]
async fn it_may_be_awaited_by_reference_and_again() {
    let gate = Gate::new().await;
    let mut handle = Process::spawn(hold, gate.port());
    let held = gate.arrival().await;
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = &mut handle => panic!("it is held"),
            () = tokio::task::yield_now() => {}
        }
    }
    let id = held.pid;
    drop(held);
    assert_eq!(in_time(&mut handle).await.unwrap(), id);
    assert_eq!(in_time(&mut handle).await.unwrap(), id);
    assert_eq!(in_time(handle.process().join()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_panic_comes_back_with_place_and_backtrace() {
    let handle = Process::builder(panic_now, ()).stderr(ProcessStdio::Piped).spawn();
    let process = handle.process().clone();
    let error = in_time(handle).await.unwrap_err();
    assert!(error.is_panic() && !error.is_death() && !error.is_start_failure(), "{error}");
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "now");
    assert!(panic.location().unwrap().starts_with("tests/process/../common/mod.rs:"), "{panic:?}");
    assert!(panic.backtrace().contains("panic_now"), "{panic:?}");
    assert_eq!(process.exitcode(), Some(1));
    let mut text = String::new();
    in_time(process.take_stderr().unwrap().read_to_string(&mut text)).await.unwrap();
    assert!(
        text.contains("panicked at tests/process/../common/mod.rs:") && text.contains("now"),
        "{text}"
    );
    let text = error.to_string();
    assert!(text.contains("(`process::common::panic_now`) failed: panicked: now"), "{text}");
}

#[tokio::test]
async fn an_exit_or_a_signal_instead_of_a_value() {
    for code in [0, 8] {
        let error = in_time(Process::spawn(exit_with, code)).await.unwrap_err();
        assert_eq!((error.is_death(), error.exitcode()), (true, Some(code)), "{error}");
        let text = format!("ended without a result: exited with code {code}");
        assert!(error.to_string().ends_with(&text), "{error}");
    }
    let gate = Gate::new().await;
    let handle = Process::spawn(hold, gate.port());
    let _held = gate.arrival().await;
    handle.process().kill().unwrap();
    let error = in_time(handle).await.unwrap_err();
    assert_eq!((error.is_death(), error.exitcode()), (true, Some(-9)), "{error}");
    assert!(error.to_string().contains("signal 9 (SIGKILL)"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_encoded_or_decoded_is_an_error() {
    let stuck = in_time(Process::spawn(make_stuck, ())).await.unwrap_err();
    let one_way = in_time(Process::spawn(make_one_way, ())).await.unwrap_err();
    let arguments = in_time(Process::spawn(take_one_way, OneWay)).await.unwrap_err();
    let expected = [
        (stuck, "the result cannot be encoded in it: stuck"),
        (one_way, "the result cannot be decoded: no way back"),
        (arguments, "the arguments cannot be decoded in it: no way back"),
    ];
    for (error, text) in expected {
        assert!(error.is_codec() && !error.is_too_large(), "{error}");
        assert!(error.to_string().ends_with(text), "{error}");
        assert!(std::error::Error::source(&error).is_none(), "the text has it");
    }
}

#[tokio::test]
async fn what_would_help_is_told_once() {
    let path = in_time(Process::spawn(make_path, ())).await.unwrap_err().to_string();
    let remedy = "; serde sends a `PathBuf` as text: use an `OsString` in its place";
    assert!(path.ends_with(remedy) && path.matches(remedy).count() == 1, "{path}");
    let json = in_time(Process::spawn(make_json, ())).await.unwrap_err().to_string();
    let cure = "write `procpool::register!(crate::call::make_json => named);`";
    assert!(json.contains("the result cannot be decoded: ") && json.ends_with(cure), "{json}");
}

#[tokio::test]
async fn what_is_too_large_is_an_error() {
    let result = Process::builder(zeros, 10_001).max_payload(10_000).spawn();
    let arguments =
        Process::builder(reverse, ByteBuf::from(vec![0; 10_001])).max_payload(10_000).spawn();
    for handle in [result, arguments] {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_too_large() && !error.is_codec(), "{error}");
        assert!(error.to_string().contains("more than 10000 bytes"), "{error}");
    }
}

#[tokio::test]
async fn large_values_cross() {
    const SIZE: usize = 64 << 20;
    let mut bytes = vec![7; SIZE];
    bytes[0] = 1;
    let reversed = in_time(Process::spawn(reverse, ByteBuf::from(bytes))).await.unwrap();
    assert_eq!((reversed.len(), reversed[SIZE - 1]), (SIZE, 1));
    assert!(reversed[..SIZE - 1].iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn a_process_that_ends_while_its_arguments_are_written_hangs_nobody() {
    let process = Process::builder(reverse, ByteBuf::from(vec![0; 64 << 20])).build();
    let start = tokio::spawn({
        let process = process.clone();
        async move { process.start().await }
    });
    wait_until("it is there", || process.pid().is_some()).await;
    process.kill().unwrap();
    // Or it was faster.
    drop::<Result<(), ProcessError>>(in_time(start).await.unwrap());
    let code = in_time(process.join()).await.unwrap_or(-9);
    assert!(matches!(code, 0 | -9), "{code}");
    assert!(process_gone(process.pid().unwrap()));
}

#[tokio::test]
async fn an_unregistered_function_is_an_error_of_the_handle() {
    let error = in_time(Process::spawn(never_registered, ())).await.unwrap_err();
    assert!(error.is_unregistered(), "{error}");
    assert_eq!(error.function(), "process::call::never_registered");
}

#[test]
fn no_runtime_is_an_error_of_the_handle() {
    use futures::FutureExt;

    let handle = Process::spawn(pid, ());
    assert!(!handle.process().is_alive());
    let error = handle.now_or_never().unwrap().unwrap_err();
    assert!(error.is_no_runtime(), "{error}");
}

#[tokio::test]
async fn a_dropped_handle_detaches() {
    let gate = Gate::new().await;
    drop(Process::spawn(hold, gate.port()));
    let held = gate.arrival().await;
    let id = held.pid;
    assert!(!process_gone(id));
    drop(held);
    wait_until("it is reaped when it has ended", || process_gone(id)).await;
}

#[tokio::test]
async fn a_handle_that_kills_on_drop_kills() {
    let gate = Gate::new().await;
    let handle = Process::spawn(hold, gate.port()).abort_on_drop(true);
    let process = handle.process().clone();
    let mut held = gate.arrival().await;
    drop(handle);
    held.gone().await;
    // It may not have been seen to be ready.
    assert_eq!(in_time(process.join()).await.unwrap_or(-9), -9);
    assert_eq!(process.exitcode(), Some(-9));

    let early = Process::spawn(hold, gate.port()).abort_on_drop(true);
    let process = early.process().clone();
    drop(early);
    assert!(in_time(process.join()).await.unwrap_err().is_start_failure());
    assert!(process_gone(process.pid().unwrap()));
}

#[tokio::test]
async fn a_timeout_ends_it() {
    let gate = Gate::new().await;
    let call = Process::spawn(hold, gate.port()).abort_on_drop(true);
    let mut held = gate.arrival().await;
    tokio::time::timeout(Duration::from_millis(1), call).await.unwrap_err();
    held.gone().await;
}

#[tokio::test]
async fn the_output_is_complete_when_the_value_is_there() {
    let handle = Process::builder(print_and_return, 1000).stdout(ProcessStdio::Piped).spawn();
    let process = handle.process().clone();
    let lines = in_time(handle).await.unwrap();
    let mut text = String::new();
    in_time(process.take_stdout().unwrap().read_to_string(&mut text)).await.unwrap();
    assert_eq!(text.lines().count(), lines);
}

#[tokio::test]
async fn what_it_has_started_goes_with_it() {
    let child = in_time(Process::spawn(leave_a_child_behind, ())).await.unwrap();
    wait_until("it is gone", || process_gone(child)).await;
}

/// In a process of its own, as descriptors are counted.
async fn call_a_hundred_at_once() {
    in_time(Process::spawn(pid, ())).await.unwrap(); // what is made on demand is there after that
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let handles: Vec<_> = (0..100).map(|number| Process::spawn(add, (number, 1))).collect();
    let mut ids = Vec::new();
    for (number, handle) in (0..).zip(handles) {
        let process = handle.process().clone();
        assert_eq!(in_time(handle).await.unwrap(), number + 1);
        ids.push(process.pid().unwrap());
    }
    assert!(ids.iter().all(|id| process_gone(*id)));
    assert_eq!(children(), Vec::<u32>::new());
    wait_until("descriptors are closed", || descriptors() <= before).await;
}

procpool::register!(call_a_hundred_at_once);

#[tokio::test]
async fn a_hundred_at_once_leave_nothing_behind() {
    in_time(Process::spawn(call_a_hundred_at_once, ())).await.unwrap();
}
