//! What a pool tells of itself in numbers.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use procpool::{
    Builder, PoolStats, ProcessPoolExecutor, Shutdown, TaskOutcomes, WorkerOutput, WorkerState,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{
    Gate, LIMIT, exit_at_first_attempt, exit_now, hold, in_time, panic_now, pid, wait_until,
};

fn bytes(count: usize) -> Vec<u8> {
    vec![1; count]
}

/// Can be encoded only where it is not decoded.
#[derive(Debug)]
struct Undecodable;

impl Serialize for Undecodable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

fn take(_: Undecodable) {}

thread_local! {
    static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes memory, and keeps it when it ends.
fn keep_memory(bytes: usize) {
    KEPT.with_borrow_mut(|kept| *kept = vec![1; bytes]);
}

/// Does not come back from some numbers.
fn judge(number: u32) -> u32 {
    match number {
        7 | 70 | 700 => panic!("{number}"),
        123 => std::process::exit(3),
        _ => number,
    }
}

fn fail_to_start() -> Result<(), String> {
    Err("not today".to_owned())
}

procpool::register!(panic_now, exit_now, exit_at_first_attempt, bytes, take, keep_memory);
procpool::register!(fail_to_start, judge);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers).grace_period(LIMIT)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

/// The outcomes must be the other counts in detail.
#[track_caller]
fn outcomes(pool: &ProcessPoolExecutor) -> TaskOutcomes {
    let PoolStats { completed, failed, cancelled, outcomes, .. } = pool.stats();
    let TaskOutcomes { returned, panicked, codec, too_large, .. } = outcomes;
    let TaskOutcomes { worker_died, host_lost, timed_out, expired, not_begun, .. } = outcomes;
    let TaskOutcomes { unsupported_limit, broken, shut_down, .. } = outcomes;
    assert_eq!(returned + panicked + codec + too_large + unsupported_limit, completed);
    assert_eq!(
        worker_died + host_lost + timed_out + expired + not_begun + broken + shut_down,
        failed
    );
    assert_eq!((outcomes.cancelled, outcomes.total()), (cancelled, completed + failed + cancelled));
    outcomes
}

#[tokio::test]
async fn a_new_pool_has_counted_nothing() {
    let stats = pool_of(2).stats();
    assert_eq!((stats.submitted, stats.worker_starts, stats.retries), (0, 0, 0));
    assert_eq!(stats.outcomes, TaskOutcomes::default());
    assert_eq!((stats.run_time.count(), stats.wait_time.count()), (0, 0));
    assert!(stats.utilization.abs() < 1e-9);
}

#[tokio::test]
async fn each_end_of_a_task_has_its_count() {
    let (pool, gate) = (builder(1).max_payload(1000).build().unwrap(), Gate::new().await);
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(outcomes(&pool).returned, 1);
    assert!(in_time(pool.run(panic_now, ())).await.unwrap_err().is_panic());
    assert_eq!(outcomes(&pool).panicked, 1);
    assert!(in_time(pool.run(take, Undecodable)).await.unwrap_err().is_codec());
    assert_eq!(outcomes(&pool).codec, 1);
    assert!(in_time(pool.run(bytes, 2000)).await.unwrap_err().is_too_large());
    assert_eq!(outcomes(&pool).too_large, 1);
    assert!(in_time(pool.run(exit_now, ())).await.unwrap_err().is_worker_death());
    assert_eq!(outcomes(&pool).worker_died, 1);
    let other_gate = Gate::new().await;
    let timed = pool.task(hold, other_gate.port()).timeout(Duration::from_millis(20));
    assert!(in_time(timed.run()).await.unwrap_err().is_timeout());
    assert_eq!(outcomes(&pool).timed_out, 1);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    assert!(waiting.cancel());
    wait_until("the pool knows", || pool.stats().cancelled == 1).await;
    running.abort();
    assert!(in_time(running).await.unwrap_err().is_cancelled());
    assert_eq!(outcomes(&pool).cancelled, 2);
    drop(held);
    let all = outcomes(&pool);
    assert_eq!((all.returned, all.broken, all.shut_down), (1, 0, 0));
    assert_eq!((pool.stats().submitted, pool.stats().completed), (8, 4));
}

#[tokio::test]
async fn tasks_that_a_broken_pool_fails_are_counted() {
    let pool = builder(1).initializer(fail_to_start, ()).build().unwrap();
    let handles = [pool.submit(pid, ()).await.unwrap(), pool.submit(pid, ()).await.unwrap()];
    for handle in handles {
        assert!(in_time(handle).await.unwrap_err().is_broken());
    }
    assert_eq!(outcomes(&pool).broken, 2);
}

#[tokio::test]
async fn tasks_that_a_shutdown_cuts_off_are_counted() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    drop(pool.submit(hold, gate.port()).await.unwrap());
    let _held = gate.arrival().await;
    drop(pool.submit(pid, ()).await.unwrap());
    in_time(pool.shutdown_with(Shutdown::new().within(Duration::ZERO))).await;
    assert_eq!(outcomes(&pool).cancelled, 2);
}

#[tokio::test]
async fn each_retry_is_counted() {
    // scenario 36
    let pool = pool_of(1);
    assert_eq!(in_time(pool.task(exit_at_first_attempt, ()).retries(3).run()).await.unwrap(), 2);
    assert_eq!(pool.stats().retries, 1);
    in_time(pool.task(exit_now, ()).retries(2).run()).await.unwrap_err();
    let stats = pool.stats();
    assert_eq!((stats.retries, stats.submitted, stats.worker_deaths), (3, 2, 4));
    assert_eq!(stats.run_time.count(), 1, "those that died have not told how long they ran");
    assert_eq!(stats.lost_time.count(), 4, "each attempt that died");
    assert_eq!(stats.wait_time.count(), 2, "a retry does not wait again");
}

#[tokio::test]
async fn a_held_task_ran_as_long_as_it_was_held() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let since = Instant::now();
    wait_until("it has run for a while", || since.elapsed() >= Duration::from_millis(50)).await;
    let at_least = since.elapsed();
    drop(held);
    in_time(handle).await.unwrap();
    let run_time = pool.stats().run_time;
    assert_eq!(run_time.count(), 1);
    assert!(run_time.max() >= at_least, "{run_time:?}, {at_least:?}");
    assert!(run_time.max() < LIMIT, "{run_time:?}");
    assert!(run_time.percentile(50.0) >= at_least, "{run_time:?}, {at_least:?}");
}

#[tokio::test]
async fn a_task_behind_another_has_waited_for_it() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let second = pool.submit(pid, ()).await.unwrap();
    wait_until("it is queued", || pool.stats().waiting == 1).await;
    let since = Instant::now();
    wait_until("it has waited for a while", || since.elapsed() >= Duration::from_millis(50)).await;
    assert_eq!(pool.stats().wait_time.count(), 1, "it still waits");
    let at_least = since.elapsed();
    drop(held);
    in_time(first).await.unwrap();
    in_time(second).await.unwrap();
    let wait_time = pool.stats().wait_time;
    assert_eq!(wait_time.count(), 2);
    assert!(wait_time.max() >= at_least && wait_time.max() < LIMIT, "{wait_time:?}, {at_least:?}");
}

#[tokio::test]
async fn run_times_of_tasks_whose_results_come_together_are_told_apart() {
    const TASKS: u64 = 500;
    let pool = pool_of(1);
    let mut handles = Vec::new();
    for _ in 0..TASKS {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    let stats = pool.stats();
    assert_eq!((stats.run_time.count(), stats.wait_time.count()), (TASKS, TASKS));
    // They ran one after the other, so the median cannot be more than its share of that time.
    let uptime = pool.workers()[0].uptime;
    let share = uptime / u32::try_from(TASKS / 2).unwrap();
    assert!(stats.run_time.percentile(50.0) <= share * 2, "{:?}, {uptime:?}", stats.run_time);
}

#[tokio::test]
async fn utilization_is_the_share_of_time_that_tasks_ran() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    in_time(pool.ready()).await.unwrap();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    wait_until("a running task counts", || pool.stats().utilization > 0.5).await;
    drop(held);
    in_time(handle).await.unwrap();
    wait_until("idle time counts", || pool.stats().utilization < 0.5).await;
    let utilization = pool.stats().utilization;
    assert!(utilization > 0.0, "{utilization}");
    in_time(pool.shutdown()).await;
    let utilization = pool.stats().utilization;
    assert!(utilization > 0.0 && utilization <= 1.0, "{utilization}");
    let (first, second) = (pool.stats(), pool.stats());
    assert_eq!(first, second, "nothing moves in a closed pool");
}

#[tokio::test]
async fn the_time_of_a_task_that_is_killed_counts_as_used() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    wait_until("it has run for long", || pool.stats().utilization > 0.5).await;
    handle.abort();
    in_time(handle).await.unwrap_err();
    assert_eq!(pool.stats().workers, 0);
    assert!(pool.stats().utilization > 0.5, "{:?}", pool.stats());
    assert_eq!(pool.stats().run_time.count(), 0);
    let lost_time = pool.stats().lost_time;
    assert_eq!(lost_time.count(), 1);
    assert!(lost_time.sum() > Duration::ZERO && lost_time.sum() < LIMIT, "{lost_time:?}");
}

#[tokio::test]
async fn what_waits_behind_a_task_that_dies_has_lost_no_time() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    let own = rustix::process::Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
    assert!(in_time(running).await.unwrap_err().is_worker_death());
    in_time(waiting).await.unwrap();
    assert_eq!((pool.stats().lost_time.count(), pool.stats().run_time.count()), (1, 1));
}

#[tokio::test]
async fn each_function_has_its_figures() {
    let pool = pool_of(1);
    assert!(pool.functions().is_empty());
    for size in [1, 2, 3] {
        in_time(pool.run(bytes, size)).await.unwrap();
    }
    in_time(pool.task(exit_now, ()).retries(1).run()).await.unwrap_err();
    in_time(pool.run(panic_now, ())).await.unwrap_err();
    let expired = pool.task(pid, ()).deadline(Instant::now());
    in_time(expired.run()).await.unwrap_err();
    let functions = pool.functions();
    assert!(functions.is_sorted_by_key(|function| function.name));
    let of = |name: &str| functions.iter().find(|found| found.name.ends_with(name)).unwrap();
    let (bytes, exit, panic) = (of("::stats::bytes"), of("::exit_now"), of("::panic_now"));
    assert_eq!((bytes.begun, bytes.outcomes.returned), (3, 3));
    assert_eq!((bytes.run_time.count(), bytes.lost_time.count()), (3, 0));
    assert_eq!((exit.begun, exit.outcomes.worker_died), (1, 1), "a retry does not begin again");
    assert_eq!((exit.run_time.count(), exit.lost_time.count()), (0, 2));
    assert_eq!((panic.begun, panic.outcomes.panicked, panic.run_time.count()), (1, 1, 1));
    let stats = pool.stats();
    let sum: u64 = functions.iter().map(|function| function.run_time.count()).sum();
    assert_eq!((stats.run_time.count(), sum), (4, 4));
    assert_eq!(outcomes(&pool).returned, 3);
}

#[tokio::test]
async fn each_input_of_a_map_is_an_item() {
    let pool = builder(2).worker_output(WorkerOutput::Null).build().unwrap();
    in_time(pool.run(pid, ())).await.unwrap();
    let results: Vec<_> = in_time(pool.map(judge, 0..1_000).chunksize(100).collect()).await;
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 4);
    let stats = pool.stats();
    let TaskOutcomes { returned, panicked, worker_died, .. } = stats.items;
    assert_eq!((returned, panicked, worker_died, stats.items.total()), (997, 3, 1, 1_001));
    assert_eq!(outcomes(&pool).panicked, 0, "their chunks have returned");
    assert!(stats.submitted < stats.items.total(), "{stats:?}");
    let functions = pool.functions();
    let of = |name: &str| functions.iter().find(|found| found.name.ends_with(name)).unwrap();
    let (judge, pid) = (of("::judge"), of("::pid"));
    assert_eq!((judge.items.returned, judge.items.total()), (996, 1_000));
    assert!(judge.outcomes.total() < 1_000, "{judge:?}");
    assert_eq!((pid.items, pid.items.returned), (pid.outcomes, 1));
    let report = in_time(pool.shutdown()).await;
    assert_eq!((report.finished, report.cancelled, report.items), (1_001, 0, stats.items));
}

#[tokio::test]
async fn each_worker_has_its_items_counted() {
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    let map = pool.map(bytes, vec![1; 50]).chunksize(10);
    assert_eq!(in_time(map.collect::<Vec<_>>()).await.len(), 50);
    wait_until("the chunks are over", || pool.stats().running == 0).await;
    let worker = &pool.workers()[0];
    assert_eq!(worker.items_completed, 51, "{worker:?}");
    assert!(worker.tasks_completed < 51, "{worker:?}");
}

#[tokio::test]
async fn the_items_of_a_dropped_map_are_cancelled() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut map = pool.map(hold, vec![gate.port(); 10]).chunksize(10);
    assert!(map.next().now_or_never().is_none());
    let _held = gate.arrival().await;
    drop(map);
    wait_until("it is over", || pool.stats().running == 0).await;
    let items = pool.stats().items;
    assert_eq!((items.cancelled, items.total()), (10, 10));
    let report = in_time(pool.shutdown()).await;
    assert_eq!((report.finished, report.cancelled), (0, 10));
}

#[tokio::test]
async fn an_item_counts_once_unless_its_user_has_it_begun_again() {
    let pool = pool_of(1);
    let map = pool.map(exit_at_first_attempt, [(); 3]).retries(1);
    assert_eq!(in_time(map.collect::<Vec<_>>()).await.len(), 3);
    let stats = pool.stats();
    assert_eq!((stats.items.returned, stats.items.total(), stats.worker_deaths), (3, 3, 3));
    let map = pool.map(bytes, [1, 2, 3]).retries(1).retry_if(|outcome| outcome.is_ok());
    assert_eq!(in_time(map.collect::<Vec<_>>()).await.len(), 3);
    assert_eq!(pool.stats().items.total(), 3 + 6);
}

#[tokio::test]
async fn a_pool_is_shown_in_a_line() {
    let (pool, gate) = (builder(1).name("thumbs").build().unwrap(), Gate::new().await);
    let shown = |workers, waiting, running| {
        format!(
            "ProcessPoolExecutor {{ name: \"thumbs\", workers: {workers}, waiting: {waiting}, \
             running: {running} }}"
        )
    };
    assert_eq!(format!("{pool:?}"), shown(0, 0, 0));
    drop(pool.submit(hold, gate.port()).await.unwrap());
    let _held = gate.arrival().await;
    drop(pool.submit(pid, ()).await.unwrap());
    wait_until("it is queued", || pool.stats().waiting == 1).await;
    assert_eq!(format!("{pool:?}"), shown(1, 1, 1));
}

#[tokio::test]
async fn workers_are_counted_by_state() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.workers_busy, stats.workers_idle), (1, 1, 0));
    assert_eq!((stats.waiting, stats.running), (0, 1));
    drop(held);
    in_time(handle).await.unwrap();
    let stats = pool.stats();
    assert_eq!((stats.workers, stats.workers_busy, stats.workers_idle), (1, 0, 1));
    assert_eq!((stats.workers_starting, stats.workers_stopping), (0, 0));
    in_time(pool.shutdown()).await;
    assert_eq!((pool.stats().workers, pool.stats().workers_idle), (0, 0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_that_takes_memory_is_seen_to() {
    const TAKEN: usize = 50 << 20;
    let pool = pool_of(1);
    in_time(pool.run(keep_memory, 0)).await.unwrap();
    let before = pool.workers()[0].memory.unwrap();
    in_time(pool.run(keep_memory, TAKEN)).await.unwrap();
    let worker = &pool.workers()[0];
    let taken = worker.memory.unwrap() - before;
    assert!(before > 0 && taken >= TAKEN as u64 - (1 << 20), "{before}, {taken}");
    assert_eq!(worker.state, WorkerState::Idle);
}

#[tokio::test]
async fn a_worker_grows_older_and_its_replacement_begins_anew() {
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    let uptime = || pool.workers()[0].uptime;
    let (first, since) = (uptime(), Instant::now());
    wait_until("time has passed", || since.elapsed() >= Duration::from_millis(20)).await;
    let second = uptime();
    assert!(second >= first + Duration::from_millis(20), "{first:?}, {second:?}");
    let replaced_after = Instant::now();
    in_time(pool.run(exit_now, ())).await.unwrap_err();
    in_time(pool.run(pid, ())).await.unwrap();
    let replacement = uptime();
    assert!(replacement <= replaced_after.elapsed(), "{replacement:?}");
}
