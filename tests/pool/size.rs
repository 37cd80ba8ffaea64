//! How many workers there are.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::pin::pin;
use std::time::Duration;

use futures::future::join_all;
use procpool::{Builder, ProcessPoolExecutor, Shutdown, TaskHandle, TaskStatus, WorkerState};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Gate, Held, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note};

fn same(number: u32) -> u32 {
    number
}

fn hold_start(port: u16) {
    hold(port);
}

procpool::register!(same, hold_start);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers)
}

fn pids(pool: &ProcessPoolExecutor) -> Vec<u32> {
    pool.workers().iter().map(|worker| worker.pid).collect()
}

fn size(pool: &ProcessPoolExecutor) -> usize {
    pool.workers().len()
}

/// Returns once the pool has seen what was asked of it before.
async fn heard(pool: &ProcessPoolExecutor) {
    in_time(pool.ready()).await.unwrap();
}

/// One more task that is held.
async fn submit_held(pool: &ProcessPoolExecutor, gate: &Gate) -> (TaskHandle<u32>, Held) {
    let handle = in_time(pool.submit(hold, gate.port())).await.unwrap();
    (handle, gate.arrival().await)
}

async fn results(handles: Vec<TaskHandle<u32>>) -> Vec<u32> {
    in_time(join_all(handles)).await.into_iter().map(Result::unwrap).collect()
}

// ----- at least -----

#[tokio::test]
async fn workers_come_with_tasks_and_go_after_the_idle_time() {
    // scenario 46
    let builder = builder(4).min_workers(2).idle_timeout(Duration::from_millis(100));
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    heard(&pool).await;
    let (mut sizes, mut handles, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..4 {
        let (handle, arrived) = submit_held(&pool, &gate).await;
        handles.push(handle);
        held.push(arrived);
        sizes.push(size(&pool));
    }
    let fifth = pool.submit(pid, ()).await.unwrap();
    heard(&pool).await;
    sizes.push(size(&pool));
    assert_eq!(sizes, [2, 2, 3, 4, 4]);
    assert_eq!(fifth.status(), TaskStatus::Pending);

    let before = pids(&pool);
    drop(held);
    handles.push(fifth);
    results(handles).await;
    wait_until("two workers have left", || size(&pool) == 2).await;
    let left = pids(&pool);
    assert!(before.iter().all(|pid| left.contains(pid) != process_gone(*pid)), "{left:?}");
    let ran = in_time(pool.run(pid, ())).await.unwrap();
    assert!(left.contains(&ran));
    assert_eq!((pool.stats().worker_starts, pool.stats().worker_deaths), (4, 0));
}

#[tokio::test]
async fn the_least_workers_are_started_without_a_task() {
    let pool = builder(3).min_workers(2).build().unwrap();
    wait_until("two workers are idle", || {
        let idle = |worker: &procpool::WorkerInfo| worker.state == WorkerState::Idle;
        pool.workers().iter().filter(|worker| idle(worker)).count() == 2
    })
    .await;
    assert_eq!(pool.stats().worker_starts, 2);
    in_time(pool.shutdown()).await;
    assert_eq!(size(&pool), 0);
}

#[tokio::test]
async fn one_of_the_least_workers_that_is_killed_is_replaced_without_a_task() {
    let pool = builder(2).min_workers(2).build().unwrap();
    heard(&pool).await;
    let before = pids(&pool);
    let victim = Pid::from_raw(before[0].try_into().unwrap()).unwrap();
    kill_process(victim, Signal::KILL).unwrap();
    wait_until("it is replaced", || {
        let now = pids(&pool);
        now.len() == 2 && !now.contains(&before[0])
    })
    .await;
    assert!(pids(&pool).contains(&before[1]));
    assert_eq!(pool.stats().worker_deaths, 1);
}

#[tokio::test]
async fn ready_waits_for_all_of_the_least_workers() {
    let gate = Gate::new().await;
    let builder = builder(3).min_workers(2).initializer(hold_start, gate.port());
    let pool = builder.build().unwrap();
    let mut ready = pin!(pool.ready());
    assert!(futures::poll!(&mut ready).is_pending());
    let (first, second) = (gate.arrival().await, gate.arrival().await);
    drop(first);
    wait_until("one is up", || pool.workers().iter().any(|w| w.state == WorkerState::Idle)).await;
    assert!(futures::poll!(&mut ready).is_pending());
    drop(second);
    in_time(ready).await.unwrap();
    assert_eq!(pool.stats().worker_starts, 2);
}

#[tokio::test]
async fn ready_waits_for_no_more_workers_than_there_may_be() {
    let gate = Gate::new().await;
    let builder = builder(2).min_workers(2).initializer(hold_start, gate.port());
    let pool = builder.build().unwrap();
    let (first, second) = (gate.arrival().await, gate.arrival().await);
    let mut ready = pin!(pool.ready());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    drop(first);
    let third = gate.arrival().await;
    assert!(futures::poll!(&mut ready).is_pending());
    pool.resize(1).unwrap();
    in_time(ready).await.unwrap();
    drop((second, third));
    in_time(running).await.unwrap();
}

#[tokio::test]
async fn there_cannot_be_more_least_workers_than_there_may_be() {
    let error = builder(2).min_workers(3).build().unwrap_err();
    let expected = "failed to build the process pool: min_workers (3) must not be more than \
                    max_workers (2)";
    assert_eq!(error.to_string(), expected);
}

// ----- idle -----

#[tokio::test]
async fn no_task_is_lost_when_it_meets_a_worker_that_leaves() {
    // scenario 47
    const TASKS: u32 = 10_000;
    let pool = builder(2).idle_timeout(Duration::from_millis(1)).build().unwrap();
    let mut handles = Vec::new();
    for number in 0..TASKS {
        handles.push(in_time(pool.submit(same, number)).await.unwrap());
        if number % 100 == 99 {
            in_time(handles.last_mut().unwrap()).await.unwrap();
            // Around the time at which the workers leave.
            tokio::time::sleep(Duration::from_micros(u64::from(number % 1_700) * 2)).await;
        }
    }
    assert_eq!(results(handles).await, (0..TASKS).collect::<Vec<_>>());
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, u64::from(TASKS));
    assert_eq!(pool.stats().worker_deaths, 0);
    assert!(pool.stats().worker_starts > 10, "some have left: {:?}", pool.stats());
}

#[tokio::test]
async fn an_idle_time_of_nothing_gives_each_task_a_worker() {
    let pool = builder(1).idle_timeout(Duration::ZERO).build().unwrap();
    let mut ran = Vec::new();
    for _ in 0..10 {
        ran.push(in_time(pool.run(pid, ())).await.unwrap());
    }
    ran.dedup();
    assert_eq!(ran.len(), 10);
    wait_until("the last one has left", || size(&pool) == 0).await;
}

// ----- at most -----

#[tokio::test]
async fn no_task_is_lost_while_the_size_changes_under_load() {
    // scenario 48
    const EACH: u32 = 60;
    let (pool, gate, journal) = (builder(2).build().unwrap(), Gate::new().await, Journal::new());
    let (mut handles, mut blockers, mut held, mut number) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for size in [12, 2, 1, 12, 6, 1, 8, 5] {
        pool.resize(size).unwrap();
        blockers.push(pool.submit(hold, gate.port()).await.unwrap());
        for _ in 0..EACH {
            handles.push(in_time(pool.submit(note, (journal.path(), number))).await.unwrap());
            number += 1;
        }
        // As many as possible are still busy when the size changes.
        while held.len() >= size {
            drop(held.remove(0));
        }
        held.push(gate.arrival().await);
    }
    drop(held);
    results(blockers).await;
    assert_eq!(results(handles).await, (0..number).collect::<Vec<_>>());
    wait_until("the pool has its last size", || size(&pool) <= 5).await;
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, u64::from(8 * (EACH + 1)));
    assert!(journal.counts().values().all(|times| *times == 1));
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_smaller_pool_keeps_the_tasks_of_busy_workers() {
    // scenario 48
    let (pool, gate) = (builder(6).build().unwrap(), Gate::new().await);
    let (mut running, mut held) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (handle, arrived) = submit_held(&pool, &gate).await;
        running.push(handle);
        held.push(arrived);
    }
    let waiting = pool.submit(pid, ()).await.unwrap();
    pool.resize(2).unwrap();
    heard(&pool).await;
    assert_eq!(size(&pool), 6);
    assert!(running.iter().all(|handle| handle.status() == TaskStatus::Running));
    let last = held.split_off(4);
    let expected: Vec<u32> = held.iter().chain(&last).map(|held| held.pid).collect();
    drop(held);
    wait_until("four have left", || size(&pool) == 2).await;
    assert!(expected[..4].iter().all(|pid| process_gone(*pid)));
    assert_eq!(waiting.status(), TaskStatus::Pending, "both that are left are busy");
    drop(last);
    assert_eq!(results(running).await, expected);
    assert!(expected[4..].contains(&in_time(waiting).await.unwrap()));
    assert_eq!(pool.stats().worker_starts, 6);
}

#[tokio::test]
async fn a_smaller_pool_sends_idle_workers_home_at_once() {
    // scenario 48
    let pool = builder(3).min_workers(3).build().unwrap();
    heard(&pool).await;
    pool.resize(1).unwrap();
    wait_until("two have left", || size(&pool) == 1).await;
    heard(&pool).await;
    assert_eq!(pool.stats().worker_starts, 3, "fewer than the least are enough now");
    // It remembers how many it is to keep when there may be so many again.
    pool.resize(4).unwrap();
    heard(&pool).await;
    assert_eq!(size(&pool), 3);
}

#[tokio::test]
async fn a_larger_pool_starts_workers_for_what_waits() {
    // scenario 48
    let (pool, gate) = (builder(1).build().unwrap(), Gate::new().await);
    let submitted = (0..3).map(|_| pool.submit(hold, gate.port()));
    let handles = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
    let first = gate.arrival().await;
    assert_eq!(size(&pool), 1);
    pool.resize(3).unwrap();
    let others = [gate.arrival().await, gate.arrival().await];
    assert_eq!(size(&pool), 3);
    drop((first, others));
    results(handles).await;
}

#[tokio::test]
async fn a_pool_has_at_least_one_worker() {
    let pool = builder(1).build().unwrap();
    let error = pool.resize(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to resize the process pool: max_workers must be at least 1"
    );
    in_time(pool.run(pid, ())).await.unwrap();
}

#[tokio::test]
async fn resizing_starts_nothing_by_itself_and_does_no_harm_after_the_end() {
    let pool = builder(1).build().unwrap();
    pool.resize(3).unwrap();
    let report = in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_starts, 0);
    pool.resize(5).unwrap();
    assert_eq!(in_time(pool.shutdown()).await, report);
}

#[tokio::test]
async fn a_pool_can_be_resized_while_it_shuts_down() {
    let (pool, gate) = (builder(2).build().unwrap(), Gate::new().await);
    let (first, one) = submit_held(&pool, &gate).await;
    let (second, two) = submit_held(&pool, &gate).await;
    let waiting = join_all((0..5).map(|_| pool.submit(pid, ()))).await;
    let shutdown = pool.shutdown_with(Shutdown::new());
    pool.resize(1).unwrap();
    drop((one, two));
    results(vec![first, second]).await;
    results(waiting.into_iter().map(Result::unwrap).collect()).await;
    assert_eq!(in_time(shutdown).await.finished, 7);
}
