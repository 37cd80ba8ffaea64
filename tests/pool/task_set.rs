//! Tasks that end with their scope.

use std::pin::pin;

use futures::{Stream, StreamExt};
use procpool::{ProcessPoolExecutor, TaskHandle, TaskSet, TaskStatus};

use crate::common::{Gate, Held, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note};

fn fail() -> u32 {
    panic!("on purpose");
}

procpool::register!(fail);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Puts a task into the set that runs until it is let go.
async fn submit_held(
    set: &mut TaskSet<u32>,
    pool: &ProcessPoolExecutor,
    gate: &Gate,
) -> (procpool::TaskId, Held) {
    let id = set.submit(pool, hold, gate.port()).await.unwrap();
    (id, gate.arrival().await)
}

#[tokio::test]
async fn tasks_are_taken_as_they_end() {
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let mut set = TaskSet::new();
    let (first, held_first) = submit_held(&mut set, &pool, &gate).await;
    let (second, held_second) = submit_held(&mut set, &pool, &gate).await;
    assert_eq!((set.len(), set.is_empty()), (2, false));
    assert!(futures::poll!(pin!(set.join_next())).is_pending(), "and no task is lost by that");
    for (id, held) in [(second, held_second), (first, held_first)] {
        assert!(set.try_join_next().is_none());
        let worker = held.pid;
        drop(held);
        let finished = in_time(set.join_next()).await.unwrap();
        assert_eq!((finished.id, finished.result.unwrap()), (id, worker));
    }
    assert!(set.is_empty() && set.try_join_next().is_none());
    assert!(in_time(set.join_next()).await.is_none());
}

#[tokio::test]
async fn a_set_that_was_emptied_takes_further_tasks() {
    let pool = pool_of(1);
    let mut set = TaskSet::default();
    for _ in 0..3 {
        let id = set.submit(&pool, pid, ()).await.unwrap();
        assert_eq!(in_time(set.next()).await.unwrap().id, id);
        assert!(in_time(set.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_task_that_is_over_is_taken_without_waiting() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let mut set = TaskSet::new();
    let (_, _held) = submit_held(&mut set, &pool, &gate).await;
    let mut over = pool.submit(pid, ()).await.unwrap();
    in_time(&mut over).await.unwrap();
    let id = set.insert(over);
    assert_eq!(set.try_join_next().unwrap().id, id);
    assert!(set.try_join_next().is_none());
}

#[tokio::test]
async fn join_all_returns_every_result_failures_included() {
    let pool = pool_of(2);
    let mut set = TaskSet::new();
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = match number % 4 {
            0 => set.submit(&pool, fail, ()).await.unwrap(),
            _ => set.submit(&pool, pid, ()).await.unwrap(),
        };
        ids.push(id);
    }
    let mut all = in_time(set.join_all()).await;
    all.sort_by_key(|finished| finished.id);
    assert_eq!(all.iter().map(|finished| finished.id).collect::<Vec<_>>(), ids);
    assert_eq!(all.iter().filter(|finished| finished.result.is_err()).count(), 10);
}

#[tokio::test]
async fn dropping_a_set_ends_its_tasks_running_and_waiting() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let mut set = TaskSet::new();
    let (_, mut held) = submit_held(&mut set, &pool, &gate).await;
    set.submit(&pool, note, (journal.path(), 1)).await.unwrap();
    drop(set);
    held.gone().await;
    wait_until("the worker is reaped", || process_gone(held.pid)).await;
    in_time(pool.run(pid, ())).await.expect("the pool goes on");
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), []);
    assert_eq!(pool.stats().cancelled, 2);
}

#[tokio::test]
async fn a_dropped_join_all_ends_its_tasks() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut set = TaskSet::new();
    let (_, mut held) = submit_held(&mut set, &pool, &gate).await;
    {
        let mut all = pin!(set.join_all());
        assert!(futures::poll!(&mut all).is_pending());
    }
    held.gone().await;
}

#[tokio::test]
async fn aborted_tasks_are_taken_as_cancelled() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut set = TaskSet::new();
    let (running, mut held) = submit_held(&mut set, &pool, &gate).await;
    let waiting = set.submit(&pool, pid, ()).await.unwrap();
    set.abort_all();
    assert_eq!(set.len(), 2);
    held.gone().await;
    let mut taken = Vec::new();
    while let Some(finished) = in_time(set.join_next()).await {
        assert!(finished.result.unwrap_err().is_cancelled());
        taken.push(finished.id);
    }
    assert_eq!(taken, [waiting, running], "the running one is over when its worker is gone");
}

#[tokio::test]
async fn one_task_of_a_set_can_be_aborted() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let mut set = TaskSet::new();
    let (victim, mut gone) = submit_held(&mut set, &pool, &gate).await;
    let (other, held) = submit_held(&mut set, &pool, &gate).await;
    assert!(set.handles().all(|handle| handle.status() == TaskStatus::Running));
    set.handles().find(|handle| handle.id() == victim).unwrap().abort();
    gone.gone().await;
    let finished = in_time(set.join_next()).await.unwrap();
    assert_eq!(finished.id, victim);
    drop(held);
    let finished = in_time(set.join_next()).await.unwrap();
    assert!(finished.id == other && finished.result.is_ok());
}

#[tokio::test]
async fn a_set_that_is_shut_down_runs_nothing_any_more() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let mut set = TaskSet::new();
    let (_, held) = submit_held(&mut set, &pool, &gate).await;
    set.submit(&pool, note, (journal.path(), 1)).await.unwrap();
    in_time(set.shutdown()).await;
    assert!(set.is_empty());
    assert!(process_gone(held.pid));
    in_time(set.shutdown()).await;
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn the_shutdown_of_a_set_begins_when_it_is_called() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut set = TaskSet::new();
    let (_, mut held) = submit_held(&mut set, &pool, &gate).await;
    drop(set.shutdown());
    assert!(set.is_empty());
    held.gone().await;
    set.submit(&pool, pid, ()).await.unwrap();
    assert!(in_time(set.join_next()).await.unwrap().result.is_ok());
}

#[tokio::test]
async fn detached_tasks_go_on() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let mut set = TaskSet::new();
    let (_, held) = submit_held(&mut set, &pool, &gate).await;
    set.submit(&pool, note, (journal.path(), 1)).await.unwrap();
    set.detach_all();
    assert!(set.is_empty());
    drop((set, held));
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [1]);
}

#[tokio::test]
async fn a_set_can_be_made_of_handles() {
    let pools = [pool_of(1), pool_of(1)];
    let mut handles = Vec::new();
    for pool in &pools {
        handles.push(pool.task(pid, ()).retries(1).submit().await.unwrap());
    }
    let mut set: TaskSet<u32> = handles.into_iter().collect();
    set.extend([pools[0].submit(pid, ()).await.unwrap()]);
    assert_eq!(format!("{set:?}"), "TaskSet { tasks: {TaskId(1), TaskId(2)}, .. }");
    assert_eq!(set.size_hint(), (3, Some(3)));
    let all = in_time(tokio::spawn(set.join_all())).await.unwrap();
    assert!(all.len() == 3 && all.iter().all(|finished| finished.result.is_ok()));
}

#[tokio::test]
async fn a_submit_that_fails_leaves_the_set_as_it_was() {
    let pool = pool_of(1);
    let mut set = TaskSet::new();
    set.submit(&pool, pid, ()).await.unwrap();
    in_time(pool.shutdown()).await;
    assert!(set.submit(&pool, pid, ()).await.unwrap_err().is_shut_down());
    assert_eq!(set.len(), 1);
    assert!(set.handles().all(TaskHandle::is_finished));
}
