//! Being told that a pool is over, and ending it for a reason of one's own.

use std::fmt;

use futures::{FutureExt, StreamExt};
use procpool::{CloseReason, OnWorkerDeath, PoolEvent, ProcessPoolExecutor, TaskStatus};

use crate::common::{Gate, exit_now, fill, hold, in_time, pid, process_gone, wait_until};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[tokio::test]
async fn a_pool_that_is_shut_down_is_over_after_its_last_task() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let held = fill(&pool, &gate, 1).await;
    let last = pool.submit(pid, ()).await.unwrap();
    let mut closed = pool.closed();
    assert!((&mut closed).now_or_never().is_none());
    let end = pool.shutdown();
    tokio::pin!(end);
    assert!((&mut end).now_or_never().is_none());
    assert!((&mut closed).now_or_never().is_none(), "a task runs, and one waits");
    drop(held);
    assert_eq!(in_time(closed).await.to_string(), "the pool has been shut down");
    assert!(last.is_finished() && pool.workers().is_empty());
    in_time(end).await;
    assert_eq!(
        pool.closed().now_or_never().unwrap().to_string(),
        "the pool has been shut down",
        "also to who comes late"
    );
}

#[tokio::test]
async fn who_waits_for_its_end_does_not_keep_a_pool() {
    let pool = pool_of(1);
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    let closed = tokio::spawn(pool.closed());
    tokio::task::yield_now().await;
    drop(pool);
    assert_eq!(in_time(closed).await.unwrap().to_string(), "the pool has been shut down");
    wait_until("the worker is gone", || process_gone(worker)).await;
}

#[test]
fn a_pool_whose_runtime_goes_is_over() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool = runtime.block_on(async {
        let pool = pool_of(1);
        in_time(pool.run(pid, ())).await.unwrap();
        pool
    });
    let closed = pool.closed();
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reason = other.block_on(async { in_time(closed).await });
    assert_eq!(reason.to_string(), "the runtime that the pool was built on has ended");
}

#[tokio::test]
async fn a_broken_pool_is_over_at_once_and_says_why() {
    let builder = ProcessPoolExecutor::builder().on_worker_death(OnWorkerDeath::Break);
    let pool = builder.max_workers(1).build().unwrap();
    let closed = tokio::spawn(pool.closed());
    let error = in_time(pool.run(exit_now, ())).await.unwrap_err();
    let CloseReason::Broken(broken) = in_time(closed).await.unwrap() else {
        panic!("it was not shut down");
    };
    assert_eq!(broken.worker_death().unwrap().exit_code(), Some(3));
    assert!(error.to_string().contains("exited unexpectedly with code 3"), "{error}");
}

#[derive(Debug)]
struct Withdrawn(u32);

impl fmt::Display for Withdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} was withdrawn", self.0)
    }
}

impl std::error::Error for Withdrawn {}

#[tokio::test]
async fn what_a_pool_is_aborted_for_is_in_all_errors() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let events = pool.events();
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    let closed = tokio::spawn(pool.closed());
    drop(pool.abort(Withdrawn(7)));
    let refused = pool.try_submit(pid, ()).unwrap_err();
    assert!(refused.to_string().contains("key 7 was withdrawn"), "{refused}");

    for handle in [running, waiting] {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_broken() && !error.is_cancelled(), "{error}");
        assert!(error.to_string().contains("the process pool is broken: key 7 was withdrawn"));
    }
    let not_ready = in_time(pool.ready()).await.unwrap_err();
    assert!(not_ready.to_string().contains("key 7 was withdrawn"), "{not_ready}");
    let CloseReason::Broken(broken) = in_time(closed).await.unwrap() else {
        panic!("it was not shut down");
    };
    let reason = broken.abort_reason().unwrap();
    assert_eq!(reason.downcast_ref::<Withdrawn>().unwrap().0, 7);
    assert!(broken.pid().is_none() && broken.worker_death().is_none());

    let report = in_time(pool.abort("another reason")).await;
    assert_eq!((report.finished, report.cancelled), (2, 0));
    assert_eq!(
        in_time(pool.closed()).await.to_string(),
        broken.to_string(),
        "the first one counts"
    );
    wait_until("the worker is gone", || process_gone(held.pid)).await;
    let story: Vec<_> = in_time(events.collect()).await;
    let told = |event: &PoolEvent| matches!(event, PoolEvent::PoolBroken { .. });
    assert_eq!(story.iter().filter(|event| told(event)).count(), 1);
}

#[tokio::test]
async fn a_pool_that_is_shut_down_can_still_be_aborted() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    let mut end = pool.shutdown_with(procpool::Shutdown::new());
    assert!((&mut end).now_or_never().is_none());
    in_time(pool.abort("it takes too long")).await;
    in_time(end).await;
    assert_eq!(running.status(), TaskStatus::Finished);
    let error = in_time(running).await.unwrap_err();
    assert!(error.to_string().contains("it takes too long"), "{error}");
    assert!(in_time(pool.closed()).await.to_string().contains("it takes too long"));
    in_time(pool.abort("it is over")).await; // and nothing happens
}
