//! Workers that do nothing any more.

#![cfg(target_os = "linux")]

use std::time::Duration;

use futures::StreamExt;
use procpool::{LeaveReason, PoolEvent, ProcessPoolExecutor, WorkerState};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{in_time, pid, process_gone, process_stopped, wait_until};

/// A pool of one worker, which has been stopped while it was idle.
async fn pool_with_a_stopped_worker(grace: Duration) -> (ProcessPoolExecutor, u32) {
    let builder = ProcessPoolExecutor::builder().max_workers(1).grace_period(grace);
    let pool = builder.build().unwrap();
    let stopped = in_time(pool.run(pid, ())).await.unwrap();
    signal(stopped, Signal::STOP);
    wait_until("it has stopped", || process_stopped(stopped)).await;
    (pool, stopped)
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn what_a_stopped_worker_was_sent_goes_to_others_and_it_is_replaced() {
    let (pool, stopped) = pool_with_a_stopped_worker(Duration::from_millis(200)).await;
    let mut events = pool.events();
    let handles = (0..50).map(|_| pool.task(pid, ()).timeout(Duration::from_secs(60)).run());
    let pids = in_time(futures::future::try_join_all(handles)).await.unwrap();
    assert!(pids.iter().all(|pid| *pid != stopped));
    let stuck = in_time(async {
        loop {
            if let Some(PoolEvent::WorkerStuck { worker, .. }) = events.next().await {
                break worker;
            }
        }
    });
    assert_eq!(stuck.await.get(), 1);
    wait_until("it is killed when its time is up", || process_gone(stopped)).await;
    let stats = pool.stats();
    assert_eq!((stats.failed, stats.worker_deaths), (0, 0));
    assert!(stats.worker_restarts > 0);
}

#[tokio::test]
async fn a_time_limit_does_not_run_for_a_task_that_has_not_begun() {
    let (pool, stopped) = pool_with_a_stopped_worker(Duration::from_mins(10)).await;
    // Less than it takes until a worker counts as stuck, and more than the task does anywhere.
    let limited = pool.task(pid, ()).timeout(Duration::from_millis(300)).run();
    assert_ne!(in_time(limited).await.unwrap(), stopped);
    let workers = pool.workers();
    let of_stopped = workers.iter().find(|worker| worker.pid == stopped).unwrap();
    assert_eq!((of_stopped.state, pool.stats().workers_stuck), (WorkerState::Stuck, 1));
    // Once it goes on it leaves as it was told to.
    let mut events = pool.events();
    signal(stopped, Signal::CONT);
    let left = in_time(async {
        loop {
            if let Some(PoolEvent::WorkerLeft { worker, reason, .. }) = events.next().await {
                break (worker.get(), reason);
            }
        }
    });
    assert_eq!(left.await, (1, LeaveReason::Stuck));
}
