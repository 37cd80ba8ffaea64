//! Pools where the system refuses calls that they would rather have, as filters of containers do.
//!
//! A binary of its own: it is no worker, and starts a program, `tests/fixtures/refused.rs`, as
//! nobody gets rid of a filter again.

#![cfg(target_os = "linux")]

mod common;

use tokio::process::Command;

use common::{fixture, printed};

const SIGCHLD_BLOCKED: &[&str] = &["--block-signal=CHLD"];

/// What the fixture prints, started by `env` with these arguments.
async fn run(env: &[&str], calls: &str, what: &str) -> String {
    let mut command = Command::new("env");
    command.args(env).arg(fixture("refused")).args([calls, what]);
    printed(command).await
}

#[tokio::test]
async fn exits_are_seen_without_a_pidfd_whatever_signals_are_blocked() {
    for env in [&[], SIGCHLD_BLOCKED] {
        let death = run(env, "pidfd_open", "spawn").await;
        assert!(death.ends_with("exited unexpectedly with code 8\n"), "{death}");
        assert_eq!(run(env, "pidfd_open", "process").await, "8\n");
    }
}

#[tokio::test]
async fn a_fork_server_that_needs_a_pidfd_says_so_and_what_helps() {
    let error = run(&[], "pidfd_open", "fork").await;
    for part in ["cannot fork workers: `pidfd_open`", "(os error 1)", "`StartMethod::Spawn`"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("failed to start the worker program"), "{error}");
}

#[tokio::test]
async fn what_a_crashed_worker_leaves_behind_goes_without_signals_by_pidfds() {
    let deaths = run(&[], "pidfd_send_signal", "helpers").await;
    assert_eq!(deaths.lines().filter(|line| line.contains("SIGABRT")).count(), 2, "{deaths}");
}

/// As `RestrictNamespaces` and `RestrictAddressFamilies` of systemd do.
#[tokio::test]
async fn nothing_is_lost_without_sockets_of_a_family_and_calls_that_a_filter_cannot_see_into() {
    for method in ["spawn", "fork"] {
        let death = run(&[], "clone3,socket", method).await;
        assert!(death.ends_with("exited unexpectedly with code 8\n"), "{death}");
    }
    assert_eq!(run(&[], "clone3,socket", "process").await, "8\n");
}
