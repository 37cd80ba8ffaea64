//! Whether a pool serves, as a probe asks it.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use procpool::{Builder, Health, ProcessPoolExecutor, Shutdown};

use crate::common::{Gate, exit_now, hold, in_time, pid, wait_until};

fn arrive(port: u16) {
    hold(port);
}

fn need(path: String) -> Result<(), String> {
    if std::fs::exists(&path).unwrap() { Ok(()) } else { Err(format!("no file\n{path}")) }
}

procpool::register!(arrive, need);

fn builder() -> Builder {
    ProcessPoolExecutor::builder().max_workers(1)
}

/// What a probe sees: alive, ready, closed, broken.
fn probed(pool: &ProcessPoolExecutor) -> (bool, bool, bool, bool) {
    let health = pool.health();
    assert_eq!(pool.stats().health.as_str(), health.as_str()); // reasons have a pid
    (health.is_alive(), health.is_ready(), pool.is_closed(), pool.is_broken())
}

#[tokio::test]
async fn to_ask_starts_no_worker() {
    let pool = builder().build().unwrap();
    assert_eq!(probed(&pool), (true, true, false, false));
    assert_eq!(pool.health(), Health::Ready, "a worker starts as soon as there is work");
    tokio::task::yield_now().await;
    assert_eq!(pool.stats().worker_starts, 0);
}

#[tokio::test]
async fn a_pool_starts_until_its_first_worker_is_ready() {
    let gate = Gate::new().await;
    let pool = builder().min_workers(1).initializer(arrive, gate.port()).build().unwrap();
    let held = gate.arrival().await;
    assert_eq!(probed(&pool), (true, false, false, false));
    assert_eq!(pool.health().to_string(), "starting");
    drop(held);
    in_time(pool.ready()).await.unwrap();
    assert_eq!(pool.health().to_string(), "ready");
    in_time(pool.run(exit_now, ())).await.unwrap_err();
    let held = gate.arrival().await;
    assert_eq!(pool.health(), Health::Ready, "the next one starts as it should");
    drop(held);
}

#[tokio::test]
async fn a_pool_that_needs_no_worker_is_ready_while_its_first_one_starts() {
    let gate = Gate::new().await;
    let pool = builder().initializer(arrive, gate.port()).build().unwrap();
    assert_eq!(pool.health(), Health::Ready);
    let task = pool.submit(pid, ()).await.unwrap();
    let held = gate.arrival().await;
    assert_eq!(pool.health(), Health::Ready);
    drop(held);
    in_time(task).await.unwrap();
}

#[tokio::test]
async fn a_pool_that_cannot_start_workers_is_degraded_until_it_can() {
    let path = std::env::temp_dir().join(format!("procpool-health-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let name = path.to_str().unwrap().to_owned();
    let pool = builder().initializer(need, name.clone()).initializer_retries(1_000);
    let pool = pool.build().unwrap();
    in_time(pool.ready()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    in_time(pool.run(exit_now, ())).await.unwrap_err();
    assert_eq!(pool.health(), Health::Ready, "nobody needs a worker");
    let waiting = pool.submit(pid, ()).await.unwrap();
    wait_until("it has failed", || pool.health() != Health::Ready).await;
    assert_eq!(probed(&pool), (true, false, false, false));
    let Health::Degraded { workers_ready: 0, reason, .. } = pool.health() else {
        panic!("{:?}", pool.health());
    };
    assert!(reason.contains("a worker did not start: ") && reason.contains(&name), "{reason}");
    let shown = pool.health().to_string();
    assert!(shown.starts_with("degraded: a worker did not start: "), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    std::fs::write(&path, "").unwrap();
    in_time(waiting).await.unwrap();
    assert_eq!(pool.health(), Health::Ready);
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_pool_that_is_shut_down_lives_until_its_tasks_are_over() {
    let (pool, gate) = (builder().build().unwrap(), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let end = pool.shutdown_with(Shutdown::new());
    assert_eq!(probed(&pool), (true, false, true, false));
    assert_eq!(pool.health().to_string(), "shutting down");
    drop(held);
    in_time(running).await.unwrap();
    in_time(end).await;
    in_time(pool.closed()).await;
    assert_eq!(probed(&pool), (false, false, true, false));
    assert_eq!(pool.health().to_string(), "shut down");
}

#[tokio::test]
async fn a_broken_pool_says_why_in_one_line() {
    let pool = builder().build().unwrap();
    in_time(pool.abort("the key\nwas withdrawn")).await;
    assert_eq!(probed(&pool), (false, false, true, true));
    assert_eq!(pool.health().to_string(), "broken: the key\\nwas withdrawn");
    in_time(pool.shutdown()).await;
    assert!(pool.is_broken(), "it stays so");
}

#[tokio::test]
async fn a_pool_that_breaks_while_it_is_shut_down_is_broken() {
    let (pool, gate) = (builder().build().unwrap(), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    drop(pool.shutdown_with(Shutdown::new()));
    assert_eq!((pool.is_closed(), pool.is_broken()), (true, false));
    in_time(pool.abort("it takes too long")).await;
    in_time(running).await.unwrap_err();
    assert_eq!(pool.health().as_str(), "broken");
}

#[test]
fn a_pool_without_its_runtime_is_not_alive() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool = runtime.block_on(async {
        let pool = builder().build().unwrap();
        in_time(pool.run(pid, ())).await.unwrap();
        pool
    });
    drop(runtime);
    assert_eq!(probed(&pool), (false, false, true, false));
    assert_eq!(pool.health(), Health::RuntimeGone);
    assert_eq!(pool.health().to_string(), "the pool's runtime has ended");
}
