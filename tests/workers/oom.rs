//! Memory that is used up: whom the kernel takes, and what is said of that.
#![cfg(target_os = "linux")]

use procpool::{ForkServer, Process, ProcessPoolExecutor, StartMethod};

use crate::common::cgroup::Cgroup;
use crate::common::{fixture, in_time};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

fn score() -> i32 {
    std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap()
}

/// Of what a task starts.
fn score_of_child() -> String {
    let output = std::process::Command::new("cat").arg("/proc/self/oom_score_adj").output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// As it was in the initializer, or in the preload.
fn first_score() -> Option<i32> {
    procpool::state::<i32>().or_else(|_| procpool::preloaded::<i32>()).ok().copied()
}

procpool::register!(score, score_of_child, first_score);

#[tokio::test]
async fn workers_are_taken_before_the_service() {
    let own = score();
    for method in METHODS {
        let builder = || ProcessPoolExecutor::builder().start_method(method).max_workers(1);
        let pool = builder().initializer(score, ()).build().unwrap();
        assert_eq!(in_time(pool.run(score, ())).await.unwrap(), 1000);
        assert_eq!(in_time(pool.run(first_score, ())).await.unwrap(), Some(1000));
        assert_eq!(in_time(pool.run(score_of_child, ())).await.unwrap(), "1000\n");
        let pool = builder().preload(score, ()).build().unwrap();
        assert_eq!(in_time(pool.run(first_score, ())).await.unwrap(), Some(1000));
    }
    assert_eq!(in_time(Process::builder(score, ()).spawn()).await.unwrap(), 1000);
    assert_eq!(score(), own, "of this process it stays as it was");
}

#[tokio::test]
async fn how_willingly_workers_are_taken_is_chosen() {
    let own = score();
    for method in METHODS {
        for (chosen, expected) in [(Some(700), 700), (Some(-1000), own), (None, own)] {
            let builder = ProcessPoolExecutor::builder().start_method(method).max_workers(1);
            let pool = builder.oom_score_adj(chosen).build().unwrap();
            assert_eq!(in_time(pool.run(score, ())).await.unwrap(), expected.max(own));
        }
    }
    let server = ForkServer::builder().oom_score_adj(800).build().unwrap();
    let pool = ProcessPoolExecutor::builder().fork_server(&server).build().unwrap();
    assert_eq!(in_time(pool.run(score, ())).await.unwrap(), 800.max(own));
    let process = Process::builder(score, ()).oom_score_adj(None).spawn();
    assert_eq!(in_time(process).await.unwrap(), own);
}

/// The service has two thirds of the memory that there is.
#[test]
fn a_task_that_leaks_costs_that_task_and_not_the_service() {
    let group = match Cgroup::with_memory(300) {
        Ok(group) => group,
        Err(reason) => return println!("{reason}"),
    };
    let rounds = if cfg!(debug_assertions) { 10 } else { 100 };
    for method in ["spawn", "fork"] {
        let printed = group.run(&fixture("oom"), &["leaks", &rounds.to_string(), "200", method]);
        assert_eq!(printed.lines().count(), rounds + 1, "{printed}");
    }
}

/// With 256 MiB of it a worker would be killed.
#[test]
fn what_is_shared_leaves_room_for_the_service() {
    let group = match Cgroup::with_memory(300) {
        Ok(group) => group,
        Err(reason) => return println!("{reason}"),
    };
    for method in ["spawn", "fork"] {
        assert_eq!(group.run(&fixture("oom"), &["echoes", "6", "0", method]), "0\n");
    }
}
