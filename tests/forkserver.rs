//! Workers that are forked by a server.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

mod common;

use common::{children, in_time, panic_now, pid};
use procpool::{Builder, ProcessPoolExecutor, StartMethod};

procpool::test_support!();

fn square(x: u64) -> u64 {
    x * x
}

fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

procpool::register!(square, parent_pid, panic_now);

fn builder() -> Builder {
    ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer)
}

#[tokio::test]
async fn forked_workers_run_tasks() {
    let pool = builder().max_workers(2).build().unwrap();
    for n in 0..10 {
        assert_eq!(in_time(pool.run(square, n)).await.unwrap(), n * n);
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn workers_have_one_server_as_their_parent() {
    let pool = builder().max_workers(1).max_tasks_per_child(1).build().unwrap();
    let first = in_time(pool.run(parent_pid, ())).await.unwrap();
    let second = in_time(pool.run(parent_pid, ())).await.unwrap();
    assert_eq!(first, second);
    assert_ne!(first, std::process::id());
    assert!(children().contains(&first));
    let workers =
        [in_time(pool.run(pid, ())).await.unwrap(), in_time(pool.run(pid, ())).await.unwrap()];
    assert_ne!(workers[0], workers[1]);
    in_time(pool.shutdown()).await;
    assert!(!children().contains(&first));
}
