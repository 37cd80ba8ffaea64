//! Which task goes first, and to which worker.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;

use futures::future::join_all;
use procpool::{Builder, ProcessPoolExecutor, TaskHandle, TaskStatus, current};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Gate, Held, hold, in_time, pid, process_gone};
use crate::journal::{Journal, note};

const KEY: &str = "session 7";

/// Dies at its first attempt.
fn pid_at_the_second_attempt(path: String) -> u32 {
    note(path, std::process::id());
    if current().attempt() == 1 {
        std::process::abort();
    }
    std::process::id()
}

procpool::register!(pid_at_the_second_attempt);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

/// A task of the key that is held.
async fn submit_held(pool: &ProcessPoolExecutor, gate: &Gate) -> (TaskHandle<u32>, Held) {
    let task = pool.task(hold, gate.port()).sticky(KEY);
    (in_time(task.submit()).await.unwrap(), gate.arrival().await)
}

/// So many tasks of the key that return their worker's pid.
async fn submit(pool: &ProcessPoolExecutor, count: usize) -> Vec<TaskHandle<u32>> {
    let submitted = (0..count).map(|_| pool.task(pid, ()).sticky(KEY).submit());
    in_time(join_all(submitted)).await.into_iter().map(Result::unwrap).collect()
}

/// The workers in which the tasks have run.
async fn workers_of(handles: Vec<TaskHandle<u32>>) -> Vec<u32> {
    let results = in_time(join_all(handles)).await;
    let workers: BTreeSet<u32> = results.into_iter().map(Result::unwrap).collect();
    workers.into_iter().collect()
}

/// Returns once the pool has seen what was asked of it before.
async fn heard(pool: &ProcessPoolExecutor) {
    in_time(pool.ready()).await.unwrap();
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = kill_process(pid, Signal::KILL); // or it has just gone
}

#[tokio::test]
async fn higher_priorities_come_first_and_each_in_order_of_submission() {
    // scenario 67
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let mut handles = Vec::new();
    for (number, priority) in (1..).zip([0, 5, -3, 5, 0, i32::MAX, i32::MIN, -3]) {
        let task = pool.task(note, (journal.path(), number)).priority(priority);
        handles.push(task.submit().await.unwrap());
    }
    handles.push(pool.submit(note, (journal.path(), 9)).await.unwrap());
    drop(held);
    in_time(running).await.unwrap();
    in_time(join_all(handles)).await;
    assert_eq!(journal.numbers(), [6, 2, 4, 1, 5, 9, 3, 8, 7]);
}

#[tokio::test]
async fn a_running_task_is_not_interrupted_by_a_higher_priority() {
    // scenario 67
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.task(hold, gate.port()).priority(-5).submit().await.unwrap();
    let held = gate.arrival().await;
    let urgent = pool.task(pid, ()).priority(5).try_submit().unwrap();
    heard(&pool).await;
    assert_eq!((running.status(), urgent.status()), (TaskStatus::Running, TaskStatus::Pending));
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), worker);
    assert_eq!(in_time(urgent).await.unwrap(), worker);
}

#[tokio::test]
async fn tasks_of_all_priorities_end_up_run() {
    // scenario 67
    const TASKS: u32 = 3_000;
    let (pool, journal) = (pool_of(2), Journal::new());
    let mut handles = Vec::new();
    for number in 0..TASKS {
        let priority = i32::try_from(number % 7).unwrap() - 3;
        let task = pool.task(note, (journal.path(), number)).priority(priority);
        handles.push(in_time(task.submit()).await.unwrap());
    }
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(in_time(handle).await.unwrap(), number);
    }
    assert_eq!(journal.counts().len(), TASKS as usize);
    assert!(journal.counts().values().all(|times| *times == 1));
}

#[tokio::test]
async fn tasks_of_a_key_stay_with_one_worker() {
    // scenario 67
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let mut sticky = submit(&pool, 20).await;
    let others = join_all((0..100).map(|_| pool.submit(pid, ()))).await;
    sticky.extend(submit(&pool, 20).await);
    let home = workers_of(sticky).await;
    assert_eq!(home.len(), 1);
    for handle in others {
        in_time(handle.unwrap()).await.unwrap();
    }
    // Even if it was left alone for long, and others are idle.
    let (running, held) = submit_held(&pool, &gate).await;
    assert_eq!(held.pid, home[0]);
    drop(held);
    in_time(running).await.unwrap();
}

#[tokio::test]
async fn a_task_of_a_key_waits_for_its_worker_although_others_are_idle() {
    // scenario 67
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate).await;
    let waiting = submit(&pool, 3).await;
    let other = in_time(pool.run(pid, ())).await.unwrap();
    assert_ne!(other, held.pid);
    heard(&pool).await;
    assert!(waiting.iter().all(|handle| handle.status() == TaskStatus::Pending));
    let home = held.pid;
    drop(held);
    in_time(running).await.unwrap();
    assert_eq!(workers_of(waiting).await, [home]);
    assert_eq!(pool.stats().worker_starts, 2, "they want no worker of their own");
}

#[tokio::test]
async fn different_keys_spread_over_the_workers() {
    // scenario 67
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate).await;
    let another = pool.task(hold, gate.port()).sticky((KEY, 2)).submit().await.unwrap();
    let other = gate.arrival().await;
    assert_ne!(held.pid, other.pid);
    let third = pool.task(pid, ()).sticky(3_u64).submit().await.unwrap();
    let home = other.pid;
    drop(other);
    in_time(another).await.unwrap();
    assert_eq!(in_time(third).await.unwrap(), home, "whoever is free first");
    drop(held);
    in_time(running).await.unwrap();
    // It stays there although the other one is idle, too.
    assert_eq!(in_time(pool.task(pid, ()).sticky(3_u64).run()).await.unwrap(), home);
}

#[tokio::test]
async fn nothing_is_lost_when_the_worker_of_a_key_dies() {
    // scenario 67
    let (pool, gate, journal) = (pool_of(2), Gate::new().await, Journal::new());
    let (running, held) = submit_held(&pool, &gate).await;
    let mut noted = Vec::new();
    for number in 0..20 {
        let task = pool.task(note, (journal.path(), number)).sticky(KEY);
        noted.push(task.submit().await.unwrap());
    }
    let waiting = submit(&pool, 20).await;
    kill(held.pid);
    assert!(in_time(running).await.unwrap_err().is_worker_death());
    assert!(in_time(join_all(noted)).await.iter().all(Result::is_ok));
    assert_eq!(journal.numbers(), (0..20).collect::<Vec<_>>(), "in their order");
    let home = workers_of(waiting).await;
    assert!(home.len() == 1 && home[0] != held.pid, "{home:?}");
    assert_eq!(workers_of(submit(&pool, 3).await).await, home);
}

#[tokio::test]
async fn a_retried_task_of_a_key_goes_to_another_worker_and_the_key_with_it() {
    // scenario 67
    let (pool, journal) = (pool_of(2), Journal::new());
    in_time(pool.task(pid, ()).sticky(KEY).run()).await.unwrap();
    let task = pool.task(pid_at_the_second_attempt, journal.path()).sticky(KEY).retries(1);
    let home = in_time(task.run()).await.unwrap();
    let tried = journal.numbers();
    assert_eq!(tried.len(), 2);
    assert!(tried[0] != home && tried[1] == home, "{tried:?}, {home}");
    assert!(process_gone(tried[0]));
    assert_eq!(workers_of(submit(&pool, 3).await).await, [home]);
}

#[tokio::test]
async fn aborting_a_task_of_a_key_lets_the_others_go_on_elsewhere() {
    // scenario 67
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (running, held) = submit_held(&pool, &gate).await;
    let waiting = submit(&pool, 5).await;
    running.abort();
    assert!(in_time(running).await.unwrap_err().is_cancelled());
    let home = workers_of(waiting).await;
    assert!(home.len() == 1 && home[0] != held.pid, "{home:?}");
}

#[tokio::test]
async fn a_task_that_waits_for_its_worker_can_be_cancelled() {
    // scenario 67
    let (pool, gate, journal) = (pool_of(2), Gate::new().await, Journal::new());
    let (running, held) = submit_held(&pool, &gate).await;
    let mut handles = Vec::new();
    for number in 0..3 {
        let task = pool.task(note, (journal.path(), number)).sticky(KEY).priority(7);
        handles.push(task.submit().await.unwrap());
    }
    heard(&pool).await;
    handles[0].abort();
    assert!(handles[1].cancel());
    heard(&pool).await;
    assert_eq!(pool.stats().waiting, 1);
    drop(held);
    in_time(running).await.unwrap();
    let results = in_time(join_all(handles)).await;
    assert!(results[..2].iter().all(|r| r.as_ref().is_err_and(procpool::TaskError::is_cancelled)));
    assert_eq!(*results[2].as_ref().unwrap(), 2);
    assert_eq!(journal.numbers(), [2]);
}

#[tokio::test]
async fn a_key_may_have_tasks_of_several_priorities() {
    // scenario 67
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let (running, held) = submit_held(&pool, &gate).await;
    let mut handles = Vec::new();
    for (number, priority) in (1..).zip([0, 1, 0, 1]) {
        let mine = pool.task(note, (journal.path(), number)).sticky(KEY).priority(priority);
        handles.push(mine.submit().await.unwrap());
        let other = pool.task(note, (journal.path(), 10 * number)).priority(priority);
        handles.push(other.submit().await.unwrap());
    }
    drop(held);
    in_time(running).await.unwrap();
    in_time(join_all(handles)).await;
    assert_eq!(journal.numbers(), [2, 20, 4, 40, 1, 10, 3, 30]);
}

#[tokio::test]
async fn a_key_goes_on_when_its_worker_leaves() {
    // scenario 67
    let pool = builder(2).max_tasks_per_child(3).build().unwrap();
    assert_eq!(workers_of(submit(&pool, 9).await).await.len(), 3);
    let pool = pool_of(2);
    let before = workers_of(submit(&pool, 9).await).await;
    let waiting = submit(&pool, 9).await;
    let recycled = pool.recycle();
    workers_of(waiting).await;
    in_time(recycled).await;
    let after = workers_of(submit(&pool, 9).await).await;
    assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?}, {after:?}");
}

#[tokio::test]
async fn many_keys_and_priorities_while_workers_die_lose_nothing() {
    // scenario 67
    const TASKS: u32 = 1_000;
    let (pool, journal) = (pool_of(3), Journal::new());
    let mut handles = Vec::new();
    for number in 0..TASKS {
        let task = pool.task(note, (journal.path(), number)).sticky(number % 13);
        let task = task.priority(i32::try_from(number % 3).unwrap());
        handles.push(in_time(task.submit()).await.unwrap());
        if number % 100 == 50 {
            tokio::task::yield_now().await;
            pool.workers().first().into_iter().for_each(|worker| kill(worker.pid));
        }
    }
    let (mut returned, mut died) = (Vec::new(), 0);
    for (number, handle) in (0..).zip(handles) {
        match in_time(handle).await {
            Ok(result) => returned.push((number, result)),
            Err(error) => {
                assert!(error.is_worker_death(), "{error}");
                died += 1;
            }
        }
    }
    assert!(died <= 10, "at most one task for each dead worker: {died}");
    assert!(returned.iter().all(|(number, result)| number == result));
    let counts = journal.counts();
    assert!(counts.values().all(|times| *times == 1), "none ran twice");
    assert!(returned.iter().all(|(number, _)| counts.contains_key(number)));
}
