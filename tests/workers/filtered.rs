//! Workers that give up, in their initializer, all system calls but those that SECURITY.md lists.
//! What they do is in `tests/fixtures/filtered.rs`: a program of its own, as others in a test
//! harness have threads that make other calls.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::common::{LIMIT, fixture, in_time, process_gone, wait_until};
use crate::filter::{is_there, table};

const METHODS: [&str; 2] = ["spawn", "forkserver"];
const ANSWERS: [&str; 2] = ["kill", "refuse"];
const EXTENTS: [&str; 2] = ["all", "needed"];

fn settings() -> impl Iterator<Item = [&'static str; 3]> {
    let answers = ANSWERS.into_iter().flat_map(|answer| EXTENTS.map(|extent| (answer, extent)));
    answers.flat_map(|(answer, extent)| METHODS.map(|method| [method, answer, extent]))
}

/// False, after it has said why, if the system has no such filters.
fn has_filters() -> bool {
    let is_there = is_there();
    if !is_there {
        eprintln!("skipped: this system has no filters of system calls");
    }
    is_there
}

async fn run(setting: [&str; 3], what: &str) -> Output {
    let mut command = Command::new(fixture("filtered"));
    command.args(setting).arg(what).env_remove("RUST_BACKTRACE").kill_on_drop(true);
    tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap()
}

async fn assert_does(what: &str, steps: &[&str]) {
    if !has_filters() {
        return;
    }
    for setting in
        settings().filter(|[_, _, extent]| what == "end" || what == "serve" || *extent == "all")
    {
        let output = run(setting, what).await;
        let text = String::from_utf8_lossy(&output.stdout);
        let done: Vec<_> = text.lines().collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && done == steps, "{setting:?}: {text}\n{errors}");
    }
}

#[tokio::test]
async fn a_worker_serves_with_the_calls_of_the_list() {
    let steps =
        ["small", "large", "panic", "map", "progress and cancellation", "shared", "async", "exit"];
    assert_does("serve", &steps).await;
    assert_does("serve undumpable", &steps).await;
    assert_does("serve no files", &steps).await;
}

#[tokio::test]
async fn a_worker_that_is_ended_or_aborts_is_gone_with_the_calls_of_the_list() {
    assert_does("end", &["timeout", "abort"]).await;
}

/// One that is busy and one that is idle.
#[tokio::test]
async fn workers_end_with_the_service_though_a_filter_lets_them_send_no_signal() {
    if !has_filters() {
        return;
    }
    for setting in settings() {
        let mut command = Command::new(fixture("filtered"));
        command.args(setting).arg("leave").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let mut workers: Vec<u32> = Vec::new();
        loop {
            let line = in_time(lines.next_line()).await.unwrap().expect("it prints one more line");
            match line.parse() {
                Ok(pid) => workers.push(pid),
                Err(_) => break, // it is ready
            }
        }
        assert_eq!(workers.len(), 2, "{setting:?}");
        in_time(parent.kill()).await.unwrap();
        let what = format!("{workers:?} are gone, {setting:?}");
        wait_until(&what, || workers.iter().all(|pid| process_gone(*pid))).await;
    }
}

#[test]
fn security_md_has_the_list_that_is_tested() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md");
    let security = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- system calls -->\n", "<!-- end of system calls -->\n");
    let list = security.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let list = list.expect("SECURITY.md says where the list is").0;
    assert!(
        list == table(),
        "it is in tests/filter/mod.rs; this is what SECURITY.md has to say:\n{}",
        table()
    );
}
