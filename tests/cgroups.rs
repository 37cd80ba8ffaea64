//! Workers and processes with control groups of their own.
//!
//! A binary of its own: it starts a program, `tests/fixtures/grouped.rs`, which moves from group to
//! group; and, for what the kernel of this machine keeps to itself, a virtual machine in which that
//! program is the first process. What takes root, cgroups of version 2, or such a machine, is
//! skipped without, and says so.

#![cfg(target_os = "linux")]

mod common;

use std::path::PathBuf;
use std::sync::OnceLock;

use tokio::process::Command;

use common::{fixture, machine, printed};

/// Whether this user may make groups.
fn may_make_groups() -> bool {
    static IS_ALLOWED: OnceLock<bool> = OnceLock::new();
    let is_allowed = *IS_ALLOWED.get_or_init(makes_a_group);
    if !is_allowed {
        eprintln!("skipped: this user cannot make cgroups of version 2");
    }
    is_allowed
}

fn makes_a_group() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let tried = line.and_then(|line| line.split(' ').nth(4)).map(|top| {
        let group = PathBuf::from(top).join(format!("procpool-try-{}", std::process::id()));
        std::fs::create_dir(&group).and_then(|()| std::fs::remove_dir(&group))
    });
    tried.is_some_and(|tried| tried.is_ok())
}

/// What the program prints.
async fn run(deed: &str, method: &str) -> String {
    let mut command = Command::new(fixture("grouped"));
    command.args([deed, method]);
    printed(command).await
}

#[tokio::test]
async fn each_worker_has_a_group_beside_its_service_which_ends_with_it() {
    if may_make_groups() {
        run("service", "spawn").await;
    }
}

#[tokio::test]
async fn each_worker_that_is_forked_has_a_group() {
    if may_make_groups() {
        run("service", "fork").await;
    }
}

#[tokio::test]
async fn groups_are_made_where_that_is_said_and_those_that_were_left_there_are_removed() {
    if may_make_groups() {
        run("given", "spawn").await;
        run("given", "fork").await;
    }
}

#[tokio::test]
async fn groups_are_made_in_the_group_that_systemd_has_marked() {
    if may_make_groups() {
        run("marked", "spawn").await;
        run("marked", "fork").await;
    }
}

#[tokio::test]
async fn a_worker_is_in_the_group_of_the_program_that_starts_it() {
    if may_make_groups() {
        run("wrapped", "spawn").await;
    }
}

#[tokio::test]
async fn what_is_not_delegated_is_named() {
    if !may_make_groups() {
        return;
    }
    for method in ["spawn", "fork"] {
        let printed = run("refused", method).await;
        let lines: Vec<_> = printed.lines().collect();
        let [unit, controller, value, directory, process] = &lines[..] else { panic!("{printed}") };
        for line in [controller, process] {
            let what =
                "its control group cannot be made: the controller `novel` is not to be had in";
            assert!(line.contains(what) && line.contains("`Delegate=yes`"), "{line}");
        }
        assert!(value.contains("`deep` cannot be written to"), "{value}");
        assert!(value.contains("cgroup.max.depth: Invalid argument"), "{value}");
        assert!(unit.contains(".service` is not delegated: give it `Delegate=yes`"), "{unit}");
        assert!(directory.contains("/missing/cgroup.controllers: No such file"), "{directory}");
    }
}

/// With 300 MB for all, a task that takes 2 GB 100 times, and with each limit there is.
#[test]
fn limits_hold_for_a_worker_with_all_that_it_starts() {
    let printed = match machine::run_as_first(&fixture("grouped")) {
        Ok(printed) => printed,
        Err(why) => return eprintln!("{why}"),
    };
    println!("{printed}");
    assert!(printed.contains("the machine is done"), "{printed}");
    for deed in ["service", "given", "marked", "refused", "limits", "leaks"] {
        for method in ["spawn", "fork"] {
            let line = format!("{deed} {method}: exit status: 0");
            assert!(printed.contains(&line), "{line} is not in\n{printed}");
        }
    }
    for leaks in [100, 20] {
        assert!(printed.contains(&format!("{leaks} leaks, and 100 MB were held")), "{printed}");
    }
}
