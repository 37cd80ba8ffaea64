//! Waiting for the begin of a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::FutureExt;
use procpool::{ProcessPoolExecutor, TaskHandle, TaskStatus};

use crate::common::{Gate, fill, hold, in_time, pid};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[tokio::test]
async fn a_task_has_started_when_it_runs_and_not_before() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    assert_eq!(in_time(running.started()).await, TaskStatus::Running);
    assert_eq!(running.started().now_or_never(), Some(TaskStatus::Running));
    let held = gate.arrival().await;

    let waiting = pool.submit(hold, gate.port()).await.unwrap();
    let mut started = waiting.started();
    assert_eq!((&mut started).now_or_never(), None, "it waits behind another one");
    drop(held);
    assert_eq!(in_time(started).await, TaskStatus::Running);
    drop(gate.arrival().await);
    in_time(running).await.unwrap();
    in_time(waiting).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_over_says_so_to_who_waits_for_its_begin() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let done = pool.submit(pid, ()).await.unwrap();
    let started = done.started();
    in_time(done).await.unwrap();
    assert_eq!(in_time(started).await, TaskStatus::Finished, "it need not borrow the handle");

    let held = fill(&pool, &gate, 1).await;
    let cancelled = pool.submit(pid, ()).await.unwrap();
    let waiter = tokio::spawn(cancelled.started());
    tokio::task::yield_now().await;
    assert!(cancelled.cancel());
    assert_eq!(in_time(waiter).await.unwrap(), TaskStatus::Cancelled);

    let late = pool.submit(pid, ()).await.unwrap();
    let waiter = tokio::spawn(late.started());
    tokio::task::yield_now().await;
    in_time(pool.kill_workers()).await;
    assert_eq!(in_time(waiter).await.unwrap(), TaskStatus::Cancelled);
    drop(held);
}

#[tokio::test]
async fn each_of_several_who_wait_is_told_and_a_dropped_one_harms_nobody() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let held = fill(&pool, &gate, 1).await;
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let waiters: Vec<_> = (0..3).map(|_| tokio::spawn(handle.started())).collect();
    let mut dropped = handle.started();
    assert_eq!((&mut dropped).now_or_never(), None);
    drop(dropped);
    tokio::task::yield_now().await;
    drop(held);
    for waiter in waiters {
        assert_eq!(in_time(waiter).await.unwrap(), TaskStatus::Running);
    }
    drop(gate.arrival().await);
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn the_next_attempt_is_waited_for_as_the_first_was() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.task(hold, gate.port()).retries(1).submit().await.unwrap();
    assert_eq!(in_time(handle.started()).await, TaskStatus::Running);
    let first = gate.arrival().await;
    let victim = rustix::process::Pid::from_raw(first.pid.cast_signed()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    let second = gate.arrival().await;
    assert_ne!(second.pid, first.pid);
    assert_eq!(in_time(handle.started()).await, TaskStatus::Running);
    drop(second);
    in_time(handle).await.unwrap();
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// It must not look again and again for as long as another task takes, even if its own was sent
/// ahead to the worker of that one.
#[tokio::test]
async fn who_waits_in_the_queue_is_not_woken_before_its_turn() {
    let (pool, other, gate) = (pool_of(1), pool_of(1), Gate::new().await);
    for pool in [&pool, &other] {
        for _ in 0..200 {
            in_time(pool.run(pid, ())).await.unwrap(); // quick ones are sent ahead
        }
    }
    drop(pool.try_submit(hold, gate.port()).unwrap());
    let waiting: Vec<_> = (0..20).map(|_| pool.try_submit(pid, ()).unwrap()).collect();
    let held = gate.arrival().await;
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut started: Vec<_> = waiting.iter().map(TaskHandle::started).collect();
    let mut cx = Context::from_waker(&waker);
    for started in &mut started {
        assert_eq!(started.poll_unpin(&mut cx), Poll::Pending);
    }
    // The worker says nothing meanwhile, so nothing happens in the pool.
    for _ in 0..200 {
        in_time(other.run(pid, ())).await.unwrap();
    }
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    drop(held);
    for started in started {
        assert_ne!(in_time(started).await, TaskStatus::Pending);
    }
}
