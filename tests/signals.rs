//! What workers and processes do not take over from the program that starts them: signals that it
//! blocks or ignores, and its terminal.
//!
//! A binary of its own: it is no worker, and starts a program, `tests/fixtures/signals.rs`, with
//! signals and a terminal of which a test has none to give away.

#![cfg(target_os = "linux")]

mod common;

use tokio::process::Command;

use common::{fixture, printed, tells_of_the_reaped};

/// What the fixture prints, started by a command in front of it.
async fn run(before: &[&str], what: &str) -> String {
    let mut command = Command::new("env");
    command.args(before).arg(fixture("signals")).arg(what);
    printed(command).await
}

// ----- signals -----

const USUAL: &[&str] = &[];
const BLOCKED: &[&str] = &["--block-signal=TERM,INT,HUP,QUIT,CHLD,USR1,TTIN,TTOU,PIPE"];
const IGNORED: &[&str] = &["--ignore-signal=TERM,INT,HUP,QUIT,CHLD,USR1,TTIN,TTOU,RTMIN"];

/// In hexadecimal, as `/proc` shows them: what a process ignores that Rust has started, and what
/// its children do.
fn expected(kept: u64, kept_in_foreground: u64) -> String {
    const PIPE: u64 = 0x1000;
    let states = |kept| format!("own 0 {:x}, child's 0 {kept:x}\n", kept | PIPE);
    let apart = states(kept);
    let foreground = states(kept_in_foreground);
    format!("Spawn: {apart}ForkServer: {apart}Process: {apart}{foreground}")
}

#[tokio::test]
async fn nothing_is_blocked_or_ignored_in_what_a_pool_starts() {
    const HUP: u64 = 0x1;
    const INT_AND_QUIT: u64 = 0x6;
    assert_eq!(run(USUAL, "states").await, expected(0, 0));
    assert_eq!(run(BLOCKED, "states").await, expected(0, 0));
    // As `nohup` wants it, and as a shell does for what is in the background of a terminal.
    assert_eq!(run(IGNORED, "states").await, expected(HUP, HUP | INT_AND_QUIT));
}

#[tokio::test]
async fn what_a_program_blocks_or_ignores_ends_its_tasks_as_soon() {
    for before in [USUAL, BLOCKED, IGNORED] {
        let ends = run(before, "ends").await;
        let lines: Vec<_> = ends.lines().collect();
        let [first, timeout, second, again, third, terminated, interrupted] = lines[..] else {
            panic!("{ends}");
        };
        for (line, method) in [(first, "Spawn"), (second, "ForkServer"), (third, "Process")] {
            assert_eq!(line, format!("{method}: Ok(Some(15))"), "{before:?}");
        }
        assert!(timeout.contains("50ms") && again.contains("50ms"), "{ends}");
        if before != IGNORED || tells_of_the_reaped() {
            assert_eq!((terminated, interrupted), ("-15", "-2"), "{before:?}");
        }
    }
}

#[tokio::test]
async fn a_worker_ends_that_ignored_it_when_it_was_asked_to() {
    for before in [USUAL, BLOCKED, IGNORED] {
        assert_eq!(run(before, "early").await, "");
    }
}

#[tokio::test]
async fn a_program_that_ignores_the_ends_of_its_children_is_told_of_them() {
    let deaths = run(&["--ignore-signal=CHLD"], "deaths").await;
    let lines: Vec<_> = deaths.lines().collect();
    let unknown = "died; how it ended is not known, as this program ignores SIGCHLD";
    let expected = if tells_of_the_reaped() { "exited unexpectedly with code 7" } else { unknown };
    assert!(lines[0].contains(expected), "{deaths}");
    assert!(lines[1].ends_with("exited unexpectedly with code 7"), "{deaths}");
}

// ----- the terminal -----

#[tokio::test]
async fn only_what_is_in_the_foreground_has_the_terminal() {
    const NO_SUCH_DEVICE: &str = "not set, Err(Some(6))";
    let lines = ["Spawn", "ForkServer", "Process"].map(|who| format!("{who}: {NO_SUCH_DEVICE}\n"));
    let expected = lines.concat() + "foreground: set, Ok(1)\nown: set, Ok(1)\n";
    assert_eq!(run(USUAL, "terminal").await, expected);
}

// ----- what is stopped -----

#[tokio::test]
async fn what_is_stopped_ends_when_it_is_asked_to() {
    let ends = run(USUAL, "stopped").await;
    let lines: Vec<_> = ends.lines().collect();
    assert!(lines[..2].iter().all(|line| line.ends_with("it was cancelled")), "{ends}");
    assert_eq!(lines[2..], ["Process: -15"], "{ends}");
}
