//! Workers that are replaced while their pool goes on.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use procpool::{
    Builder, PoolEvent, ProcessPoolExecutor, Shutdown, TaskHandle, TaskStatus, WorkerInfo,
    WorkerState,
};

use crate::common::{Gate, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note, note_line};

fn note_start(path: String) {
    note_line(&path, &std::process::id().to_string());
}

fn hold_start(port: u16) {
    hold(port);
}

fn fail_to_start() -> Result<(), String> {
    Err("on purpose".to_owned())
}

procpool::register!(note_start, hold_start, fail_to_start);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

fn pids(pool: &ProcessPoolExecutor) -> BTreeSet<u32> {
    pool.workers().iter().map(|worker| worker.pid).collect()
}

/// Submits so many tasks that return their worker's pid.
async fn submit(pool: &ProcessPoolExecutor, count: usize) -> Vec<TaskHandle<u32>> {
    let submitted = (0..count).map(|_| pool.submit(pid, ()));
    join_all(submitted).await.into_iter().map(Result::unwrap).collect()
}

/// So many tasks that are held, one in each worker.
async fn submit_held(
    pool: &ProcessPoolExecutor,
    gate: &Gate,
    count: usize,
) -> (Vec<TaskHandle<u32>>, Vec<crate::common::Held>) {
    let (mut handles, mut held) = (Vec::new(), Vec::new());
    for _ in 0..count {
        handles.push(in_time(pool.submit(hold, gate.port())).await.unwrap());
        held.push(gate.arrival().await);
    }
    (handles, held)
}

async fn results(handles: Vec<TaskHandle<u32>>) -> Vec<u32> {
    in_time(join_all(handles)).await.into_iter().map(Result::unwrap).collect()
}

// ----- after so many tasks -----

#[tokio::test]
async fn a_worker_is_replaced_after_as_many_tasks_as_it_may_run() {
    // scenario 42
    let pool = builder(1).max_tasks_per_child(3).build().unwrap();
    let mut ran = Vec::new();
    for _ in 0..7 {
        ran.push(in_time(pool.run(pid, ())).await.unwrap());
    }
    let [first, .., last] = ran[..] else { unreachable!() };
    let second = ran[3];
    assert_eq!(ran, [first, first, first, second, second, second, last]);
    assert!(first != second && second != last);
    let are_gone = || process_gone(first) && process_gone(second);
    wait_until("the used up workers are gone", are_gone).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn every_task_is_run_however_few_a_worker_may_run() {
    // scenario 43
    for (workers, limit, tasks) in [(1, 2, 6), (2, 2, 8), (3, 1, 6)] {
        for at_once in [false, true] {
            let pool = builder(workers).max_tasks_per_child(limit).build().unwrap();
            let handles = submit(&pool, tasks).await;
            let shutdown = at_once.then(|| pool.shutdown_with(Shutdown::new()));
            let mut ran = BTreeMap::<u32, u64>::new();
            for pid in results(handles).await {
                *ran.entry(pid).or_default() += 1;
            }
            assert!(ran.values().all(|tasks| *tasks <= limit), "{ran:?}");
            if let Some(shutdown) = shutdown {
                in_time(shutdown).await;
            }
            let report = in_time(pool.shutdown()).await;
            assert_eq!(report.finished, tasks as u64);
            assert!(ran.into_keys().all(process_gone));
        }
    }
}

#[tokio::test]
async fn used_up_workers_are_replaced_in_a_pool_that_was_shut_down_without_waiting() {
    // scenario 44
    let (pool, gate) = (builder(1).max_tasks_per_child(1).build().unwrap(), Gate::new().await);
    let (mut running, held) = submit_held(&pool, &gate, 1).await;
    let waiting = submit(&pool, 3).await;
    in_time(pool.shutdown_with(Shutdown::new().wait(false))).await;
    drop(pool);
    drop(held);
    running.extend(waiting);
    let ran: BTreeSet<u32> = results(running).await.into_iter().collect();
    assert_eq!(ran.len(), 4, "each ran in a worker of its own");
    wait_until("the workers are gone", || ran.iter().all(|pid| process_gone(*pid))).await;
}

#[tokio::test]
async fn many_tasks_in_workers_of_one_task_each_run_once() {
    let (pool, journal) = (builder(3).max_tasks_per_child(1).build().unwrap(), Journal::new());
    let submitted = (0..60).map(|number| pool.submit(note, (journal.path(), number)));
    let handles = join_all(submitted).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results(handles).await, (0..60).collect::<Vec<_>>());
    assert!(journal.counts().values().all(|times| *times == 1));
    let starts = pool.stats().worker_starts;
    assert!((60..=64).contains(&starts), "{starts}: some are ready for tasks that do not come");
}

#[tokio::test]
async fn the_items_of_a_map_count_one_by_one() {
    const ITEMS: usize = 3000; // more than are taken before their pace is known
    let pool = builder(1).max_tasks_per_child(500).build().unwrap();
    let ran = pool.map(pid, std::iter::repeat_n((), ITEMS)).map(Result::unwrap);
    let mut counts = BTreeMap::<u32, usize>::new();
    in_time(ran.for_each(|pid| {
        *counts.entry(pid).or_default() += 1;
        std::future::ready(())
    }))
    .await;
    assert!(counts.values().all(|count| *count == 500), "{counts:?}");
}

#[tokio::test]
async fn a_task_that_was_cancelled_does_not_use_up_its_worker() {
    let (pool, gate) = (builder(1).max_tasks_per_child(2).build().unwrap(), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate, 1).await;
    let waiting = submit(&pool, 5).await;
    assert!(waiting[..4].iter().all(TaskHandle::cancel));
    let worker = held[0].pid;
    drop(held);
    assert_eq!(results(running).await, [worker]);
    let last = waiting.into_iter().next_back().unwrap();
    assert_eq!(in_time(last).await.unwrap(), worker);
}

#[tokio::test]
async fn a_worker_must_be_allowed_one_task() {
    let error = builder(1).max_tasks_per_child(0).build().unwrap_err();
    let expected = "failed to build the process pool: max_tasks_per_child must be at least 1";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn the_initializer_runs_again_in_each_replacement() {
    let journal = Journal::new();
    let builder = builder(1).surge(0).initializer(note_start, journal.path());
    let pool = builder.max_tasks_per_child(2).build().unwrap();
    let mut ran = results(submit(&pool, 6).await).await;
    in_time(pool.recycle()).await;
    ran.push(in_time(pool.run(pid, ())).await.unwrap());
    in_time(pool.shutdown()).await;
    ran.dedup();
    assert_eq!(ran.len(), 4);
    assert_eq!(journal.numbers(), ran);
}

// ----- without a gap -----

/// The second and all later ones wait for the gate.
fn hold_later_starts(path: String, port: u16) {
    note_line(&path, &std::process::id().to_string());
    if std::fs::read_to_string(&path).unwrap().lines().count() > 1 {
        hold(port);
    }
}

procpool::register!(hold_later_starts);

/// A pool of one worker that is up, and whose successors are held while they start.
async fn held_successors(builder: Builder, gate: &Gate) -> (ProcessPoolExecutor, Journal, u32) {
    let journal = Journal::new();
    let pool = builder.initializer(hold_later_starts, (journal.path(), gate.port()));
    let pool = pool.build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    (pool, journal, first)
}

#[tokio::test]
async fn tasks_go_on_while_a_successor_starts() {
    let gate = Gate::new().await;
    let (pool, _journal, old) = held_successors(builder(1), &gate).await;
    let recycled = pool.recycle();
    let new = gate.arrival().await;
    for _ in 0..10 {
        assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), old, "it does not wait");
    }
    assert_eq!(pids(&pool), BTreeSet::from([old, new.pid]));
    let expected = new.pid;
    drop(new);
    in_time(recycled).await;
    assert!(process_gone(old));
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), expected);
    assert_eq!(pool.stats().worker_restarts, 1);
}

#[tokio::test]
async fn the_task_after_the_last_one_of_a_worker_does_not_wait_for_a_start() {
    let gate = Gate::new().await;
    let (pool, _journal, old) = held_successors(builder(1).max_tasks_per_child(3), &gate).await;
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), old);
    let new = gate.arrival().await; // before the last task
    let expected = new.pid;
    drop(new);
    wait_until("the successor is ready", || pool.workers().iter().all(is_up)).await;
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), old);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), expected);
}

fn is_up(worker: &WorkerInfo) -> bool {
    worker.state != WorkerState::Starting
}

#[tokio::test]
async fn an_old_worker_is_replaced_and_goes_on_until_then() {
    let gate = Gate::new().await;
    let age = Duration::from_millis(200);
    let (pool, _journal, old) = held_successors(builder(1).max_age(age), &gate).await;
    let new = gate.arrival().await;
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), old);
    drop(new);
    wait_until("the old worker is gone", || process_gone(old)).await;
}

#[tokio::test]
async fn never_more_tasks_run_than_there_may_be_workers() {
    let gate = Gate::new().await;
    let (pool, _journal, old) = held_successors(builder(1), &gate).await;
    let running = in_time(pool.submit(hold, gate.port())).await.unwrap();
    let held = gate.arrival().await;
    let recycled = pool.recycle();
    drop(gate.arrival().await);
    wait_until("the successor is ready", || pool.workers().iter().all(is_up)).await;
    let waiting = in_time(pool.submit(pid, ())).await.unwrap();
    wait_until("the pool has heard", || pool.stats().waiting == 1).await;
    assert_eq!(pool.stats().running, 1);
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), old);
    assert_ne!(in_time(waiting).await.unwrap(), old);
    in_time(recycled).await;
}

#[tokio::test]
async fn a_task_that_never_ends_is_ended_when_its_worker_must_be_replaced() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (mut running, _held) = submit_held(&pool, &gate, 1).await;
    in_time(pool.recycle_within(Duration::from_millis(50))).await;
    let error = in_time(running.remove(0)).await.unwrap_err();
    assert!(error.is_cancelled());
    assert!(error.to_string().contains("its worker was to be replaced"), "{error}");
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn without_a_surge_there_is_never_one_process_more() {
    let (pool, gate) = (builder(1).surge(0).build().unwrap(), Gate::new().await);
    let events = pool.events();
    let idle = in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.recycle()).await;
    assert!(process_gone(idle) && pool.workers().is_empty(), "there is no work for a successor");

    let (mut running, held) = submit_held(&pool, &gate, 1).await;
    let waiting = submit(&pool, 1).await;
    let recycled = pool.recycle();
    drop(held);
    in_time(recycled).await;
    running.extend(waiting);
    let [old, new] = results(running).await[..] else { panic!("there were two tasks") };
    assert_ne!(old, new);

    in_time(pool.shutdown()).await;
    let (mut processes, mut starts) = (0, 0);
    for event in in_time(events.collect::<Vec<_>>()).await {
        match event {
            PoolEvent::WorkerStarted { .. } => (processes, starts) = (processes + 1, starts + 1),
            PoolEvent::WorkerLeft { .. } => processes -= 1,
            _ => {}
        }
        assert!(processes <= 1, "after {starts} starts");
    }
    assert_eq!((processes, starts), (0, 3));
}

#[tokio::test]
async fn an_age_must_be_more_than_nothing() {
    let error = builder(1).max_age(Duration::ZERO).build().unwrap_err();
    let expected = "failed to build the process pool: max_age must be more than zero";
    assert_eq!(error.to_string(), expected);
}

// ----- all of them -----

#[tokio::test]
async fn recycling_lets_running_tasks_finish_and_replaces_every_worker() {
    // scenario 49
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let (mut running, mut held) = submit_held(&pool, &gate, 3).await;
    let idle = held.remove(0).pid;
    assert_eq!(in_time(running.remove(0)).await.unwrap(), idle);
    let old = pids(&pool);
    assert_eq!(old.len(), 3);

    let mut recycled = pin!(pool.recycle());
    wait_until("the idle worker is gone", || process_gone(idle)).await;
    assert!(futures::poll!(&mut recycled).is_pending(), "others still run");
    assert!(running.iter().all(|handle| handle.status() == TaskStatus::Running));
    let expected: Vec<u32> = held.iter().map(|held| held.pid).collect();
    drop(held);
    assert_eq!(results(running).await, expected);
    in_time(recycled).await;
    assert!(old.iter().all(|pid| process_gone(*pid)));

    let (running, held) = submit_held(&pool, &gate, 3).await;
    assert!(held.iter().all(|held| !old.contains(&held.pid)));
    drop(held);
    results(running).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn what_waits_runs_in_new_workers_even_if_it_was_sent_ahead() {
    // scenario 49
    let (pool, gate) = (builder(1).surge(0).build().unwrap(), Gate::new().await);
    results(submit(&pool, 200).await).await; // quick tasks make the pool send ahead
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let behind = submit(&pool, 20).await;
    let held = gate.arrival().await;
    let last = pool.submit(pid, ()).await.unwrap();
    let recycled = pool.recycle();
    assert!(last.cancel());
    // The pool hears of things in their order.
    wait_until("the pool has heard", || pool.stats().cancelled == 1).await;
    let old = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), old);
    let new: BTreeSet<u32> = results(behind).await.into_iter().collect();
    assert!(new.len() == 1 && !new.contains(&old), "{new:?}, {old}");
    in_time(recycled).await;
}

#[tokio::test]
async fn recycling_between_many_quick_tasks_loses_none() {
    // scenario 49
    const TASKS: u32 = 2_000;
    let (pool, journal) = (pool_of(2), Journal::new());
    let mut handles = Vec::new();
    for number in 0..TASKS {
        handles.push(in_time(pool.submit(note, (journal.path(), number))).await.unwrap());
        if number % 400 == 200 {
            let old = pids(&pool);
            in_time(pool.recycle()).await;
            assert!(old.into_iter().all(process_gone));
        }
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(results(handles).await, (0..TASKS).collect::<Vec<_>>());
    in_time(pool.shutdown()).await;
    assert_eq!(journal.counts().len(), TASKS as usize);
    assert!(journal.counts().values().all(|times| *times == 1));
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn recycling_brings_up_the_least_workers_anew_without_a_task() {
    let pool = builder(3).min_workers(2).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let old = pids(&pool);
    in_time(pool.recycle()).await;
    in_time(pool.ready()).await.unwrap();
    let new = pids(&pool);
    assert_eq!((old.len(), new.len()), (2, 2));
    assert!(old.is_disjoint(&new));
}

#[tokio::test]
async fn a_worker_that_is_just_starting_is_replaced_too() {
    let gate = Gate::new().await;
    let pool = builder(1).initializer(hold_start, gate.port()).build().unwrap();
    let waiting = pool.submit(pid, ()).await.unwrap();
    let first = gate.arrival().await;
    let recycled = pool.recycle();
    let old = first.pid;
    let stops = |worker: &WorkerInfo| worker.pid == old && worker.state == WorkerState::Stopping;
    wait_until("the pool has heard", || pool.workers().iter().any(stops)).await;
    drop(first);
    let second = gate.arrival().await;
    let new = second.pid;
    in_time(recycled).await;
    drop(second);
    assert_eq!(in_time(waiting).await.unwrap(), new);
    assert_ne!(old, new);
}

#[tokio::test]
async fn recycling_goes_on_when_nobody_waits_for_it() {
    let pool = pool_of(1);
    let old = in_time(pool.run(pid, ())).await.unwrap();
    drop(pool.recycle());
    wait_until("the worker is gone", || process_gone(old)).await;
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), old);
}

#[tokio::test]
async fn several_may_recycle_at_the_same_time() {
    let (pool, gate) = (builder(1).surge(0).build().unwrap(), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate, 1).await;
    let recycled = [pool.recycle(), pool.recycle(), pool.recycle()];
    drop(held);
    in_time(join_all(recycled)).await;
    results(running).await;
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(pool.stats().worker_starts, 2, "none was replaced twice");
}

#[tokio::test]
async fn a_task_that_kills_its_recycled_worker_hurts_nobody_else() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (mut running, held) = submit_held(&pool, &gate, 1).await;
    let waiting = submit(&pool, 3).await;
    let recycled = pool.recycle();
    let worker = rustix::process::Pid::from_raw(held[0].pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    let error = in_time(running.remove(0)).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    in_time(recycled).await;
    let mut ran = results(waiting).await;
    ran.dedup();
    assert_eq!(ran.len(), 1);
}

#[tokio::test]
async fn recycling_a_pool_that_was_never_used_starts_nothing() {
    // scenario 49
    let pool = pool_of(2);
    in_time(pool.recycle()).await;
    assert_eq!(pool.stats().worker_starts, 0);
}

#[tokio::test]
async fn recycling_a_pool_that_has_ended_does_no_harm() {
    // scenario 49
    let closed = pool_of(1);
    in_time(closed.run(pid, ())).await.unwrap();
    let report = in_time(closed.shutdown()).await;
    in_time(closed.recycle()).await;
    assert_eq!(in_time(closed.shutdown()).await, report);

    let broken = builder(1).initializer(fail_to_start, ()).build().unwrap();
    assert!(in_time(broken.ready()).await.unwrap_err().is_broken());
    in_time(broken.recycle()).await;
    assert!(in_time(broken.run(pid, ())).await.unwrap_err().is_broken());
}

#[test]
fn recycling_a_pool_whose_runtime_has_gone_returns() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let pool = first.block_on(async {
        let pool = pool_of(1);
        in_time(pool.run(pid, ())).await.unwrap();
        pool
    });
    let recycled = pool.recycle();
    drop(first);
    runtime().block_on(async {
        in_time(recycled).await;
        in_time(pool.recycle()).await;
    });
}

#[tokio::test]
async fn recycling_during_a_shutdown_lets_what_waits_run() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate, 1).await;
    let waiting = submit(&pool, 3).await;
    let shutdown = pool.shutdown_with(Shutdown::new());
    let recycled = pool.recycle();
    let old = held[0].pid;
    drop(held);
    assert_eq!(results(running).await, [old]);
    assert!(!results(waiting).await.contains(&old));
    in_time(recycled).await;
    assert_eq!(in_time(shutdown).await.finished, 4);
}
