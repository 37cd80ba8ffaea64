//! Zombies, codes and orphans where this process is the first of a namespace or a subreaper, where
//! other code waits for its children, and where nobody can.
//!
//! A binary of its own: it is no worker, and starts a program, `tests/fixtures/reaping.rs`, as a
//! test can be none of that. What takes root, a namespace or a cgroup is skipped without, and says
//! so.

#![cfg(target_os = "linux")]

mod common;

use std::ffi::OsString;

use tokio::process::Command;

use common::cgroup::Cgroup;
use common::{fixture, printed, tells_of_the_reaped};

const AS_FIRST: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
const IGNORING: [&str; 2] = ["env", "--ignore-signal=CHLD"];

/// What the fixture prints, started by a command in front of it.
async fn run(before: &[OsString], args: &str) -> String {
    let mut words = before.to_vec();
    words.push(fixture("reaping").into());
    words.extend(args.split(' ').map(OsString::from));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    printed(command).await
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn words_of(command: &std::process::Command) -> Vec<OsString> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(OsString::from).collect()
}

/// Whether this user may have a namespace of processes.
fn has_namespaces() -> bool {
    let tried = std::process::Command::new(AS_FIRST[0]).args(&AS_FIRST[1..]).arg("true").output();
    let is_allowed = tried.is_ok_and(|output| output.status.success());
    if !is_allowed {
        eprintln!("skipped: this user cannot run {AS_FIRST:?}");
    }
    is_allowed
}

// ----- those that are left to this process -----

#[tokio::test]
async fn the_first_process_of_a_namespace_goes_on_after_a_thousand_timeouts() {
    if !has_namespaces() {
        return;
    }
    let group = Cgroup::with_processes(60);
    if let Err(error) = &group {
        eprintln!("the limit of processes is {error}");
    }
    let in_group = group.as_ref().map(|group| group.command(AS_FIRST[0].as_ref()));
    let mut before = in_group.map_or_else(|_| words(&AS_FIRST[..1]), |command| words_of(&command));
    before.extend(words(&AS_FIRST[1..]));
    for method in ["spawn", "fork"] {
        let told = run(&before, &format!("timeouts {method} 500")).await;
        assert_eq!(told, "500 timeouts\n0 zombies\ngoes on: Ok(true)\n0 children\n", "{method}");
    }
}

#[tokio::test]
async fn a_subreaper_has_no_zombies() {
    for method in ["spawn", "fork"] {
        let told = run(&[], &format!("timeouts {method} 20")).await;
        assert_eq!(told, "20 timeouts\n0 zombies\ngoes on: Ok(true)\n0 children\n", "{method}");
    }
}

#[tokio::test]
async fn workers_behind_a_shell_leave_no_zombies() {
    assert_eq!(run(&[], "shells").await, "0 zombies\n0 children\n");
}

#[tokio::test]
async fn workers_whose_server_has_died_leave_no_zombies_and_their_ends_are_known() {
    let told = run(&[], "server").await;
    let [death, left] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert!(death.contains("was killed by signal 9 (SIGKILL)"), "{death}");
    assert_eq!(left, "0 children");
}

#[tokio::test]
async fn workers_whose_runtime_has_ended_leave_no_zombies() {
    for method in ["spawn", "fork"] {
        assert_eq!(run(&[], &format!("runtime {method}")).await, "0 children\n", "{method}");
    }
}

// ----- others that reap -----

#[tokio::test]
async fn a_death_is_told_and_takes_its_group_along_whoever_reaps() {
    if !has_namespaces() {
        return;
    }
    let known = "20 × exited unexpectedly with code 3\n20 × was killed by signal 6 (SIGABRT)\n";
    let ignoring = [&AS_FIRST[..], &IGNORING].concat();
    for method in ["spawn", "fork"] {
        for (before, reaper) in [
            (&AS_FIRST[..], "none"),
            (&AS_FIRST, "polling"),
            (&AS_FIRST, "tokio"),
            (&AS_FIRST, "blocking"),
            (&ignoring, "none"),
        ] {
            let told = run(&words(before), &format!("deaths {reaper} {method} 40")).await;
            if tells_of_the_reaped() {
                assert_eq!(told, format!("{known}0 helpers\n"), "{reaper} {method}");
            } else {
                assert!(told.contains("is not known") || told.starts_with(known), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn the_exit_code_of_a_process_is_right_whoever_reaps() {
    if !tells_of_the_reaped() {
        eprintln!("skipped: this system does not tell how others have ended");
        return;
    }
    for (before, reaper, count) in [
        (&[][..], "none", 100),
        (&[], "polling", 100),
        (&[], "tokio", 100),
        (&IGNORING, "none", 1000),
        (&[], "blocking", 1000),
    ] {
        let told = run(&words(before), &format!("processes {reaper} {count}")).await;
        assert_eq!(told, format!("{count} × 8\n"), "{before:?} {reaper}");
    }
}
