//! Services of which their workers cannot open what they have: workers share memory with them all
//! the same, or somebody is told.
//!
//! A binary of its own: it is no worker, and starts a program, `tests/fixtures/inaccessible.rs`, as
//! other users, in namespaces, and with capabilities. What takes root or a tool is skipped without,
//! and says so.

#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{ProgramCopy, fixture, printed};

const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
/// What is on the way is counted for each user, so not all tests are the same one.
const AS_SECOND: [&str; 4] = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups"];
const AS_THIRD: [&str; 4] = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"];
/// In a PID namespace, with the `/proc` of another one.
const UNNAMED: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];
const METHODS: [&str; 2] = ["spawn", "fork"];

fn program(name: &str) -> ProgramCopy {
    ProgramCopy::new(&fixture("inaccessible"), name)
}

/// What the program prints, started by a command in front of it.
async fn run(before: &[&str], program: &ProgramCopy, args: &str) -> String {
    let mut words: Vec<_> = before.iter().map(Path::new).collect();
    words.push(&program.0);
    let mut command = tokio::process::Command::new(words[0]);
    command.args(&words[1..]).args(args.split(' '));
    printed(command).await
}

/// Whether this command can be had.
fn can(words: &[&str]) -> bool {
    let tried = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: {words:?} is not possible");
    }
    can
}

/// Root may open what others have, so it is another user.
fn as_user(user: &'static [&'static str]) -> &'static [&'static str] {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = CAN.get_or_init(|| can(&[&AS_NOBODY[..], &["true"]].concat()));
    if *can { user } else { &[] }
}

#[tokio::test]
async fn a_service_that_is_not_dumpable_shares_memory() {
    let program = program("undumpable");
    for method in METHODS {
        for how in ["dumpable", "undumpable"] {
            let told = run(as_user(&AS_NOBODY), &program, &format!("{how} {method} all")).await;
            assert_eq!(told, "0 of 2 share nothing\n", "{how}, {method}");
        }
    }
}

/// More descriptors than a user may have on the way at a time, of whom each process has few.
#[tokio::test]
async fn what_cannot_be_sent_is_told_of_and_harms_nothing_else() {
    if as_user(&AS_THIRD).is_empty() {
        return;
    }
    let program = program("in-flight");
    for method in METHODS {
        let told =
            run(as_user(&AS_THIRD), &program, &format!("undumpable {method} in_flight")).await;
        assert_eq!(told, "some were not sent, 8 workers\n", "{method}");
    }
}

#[tokio::test]
async fn a_program_with_a_capability_of_its_file_shares_memory() {
    let program = program("capable");
    let path = program.0.to_str().unwrap();
    if !can(&["setcap", "cap_net_bind_service+ep", path]) {
        return;
    }
    for method in METHODS {
        let told = run(as_user(&AS_SECOND), &program, &format!("capable {method} all")).await;
        if told == "dumpable\n" {
            return eprintln!("skipped: capabilities of files have no effect there");
        }
        assert_eq!(told, "0 of 2 share nothing\n", "{method}");
    }
}

#[tokio::test]
async fn a_service_whose_proc_is_that_of_another_namespace_shares_memory() {
    if !can(&[&UNNAMED[..], &["true"]].concat()) {
        return;
    }
    let program = program("unnamed");
    for method in METHODS {
        let told = run(&UNNAMED, &program, &format!("unnamed {method} all")).await;
        assert_eq!(told, "0 of 2 share nothing\n", "{method}");
    }
}

/// The first one finds out, and is started once more.
#[tokio::test]
async fn workers_of_another_user_share_memory() {
    if as_user(&AS_NOBODY).is_empty() {
        return;
    }
    let program = program("other-user");
    let told = run(&[], &program, "other_user spawn all").await;
    assert_eq!(told, "0 of 2 share nothing\n");
}

/// `/proc` has other names there, so what is found by the parent's may be somebody else's.
#[tokio::test]
async fn workers_in_a_namespace_with_the_proc_outside_share_memory() {
    if !can(&[&UNNAMED[..], &["true"]].concat()) {
        return;
    }
    let program = program("namespaced");
    let told = run(&[], &program, "namespaced_worker spawn tasks").await;
    assert_eq!(told, "0 of 2 share nothing\n");
}

#[tokio::test]
async fn who_cannot_be_sent_memory_is_told_so() {
    if as_user(&AS_NOBODY).is_empty() {
        return;
    }
    let program = program("relay");
    let told = run(as_user(&AS_NOBODY), &program, "undumpable_relay spawn tasks").await;
    assert!(told.starts_with("2 of 2 share nothing\nthe worker cannot open"), "{told}");
    assert_eq!(told.matches("which its `worker_command` has to hand on as it is").count(), 2);
}

#[tokio::test]
async fn a_service_that_may_make_no_files_without_names_shares_memory() {
    let program = program("no-files");
    for method in METHODS {
        let told = run(&[], &program, &format!("no_files {method} tasks")).await;
        assert_eq!(told, "0 of 2 share nothing\n", "{method}");
        let told = run(&[], &program, &format!("no_memory {method} tasks")).await;
        assert!(told.starts_with("2 of 2 share nothing\nmemory to share cannot be made"), "{told}");
        assert!(told.contains("has to allow `memfd_create`"), "{told}");
    }
}
