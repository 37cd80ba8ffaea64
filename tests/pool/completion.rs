//! Many tasks, as they end.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::sync::mpsc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use procpool::{ProcessPoolExecutor, Shutdown, TaskError, TaskHandle, TaskId, as_completed};

use crate::common::{Gate, Held, hold, in_time, pid};

fn fail(text: String) -> u32 {
    panic!("{text}");
}

fn count_down(number: u32) -> u32 {
    number - 1
}

procpool::register!(fail, count_down);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Tasks that hold, one after the other.
async fn holding<const N: usize>(
    pool: &ProcessPoolExecutor,
    gate: &Gate,
) -> (Vec<TaskHandle<u32>>, [Option<Held>; N]) {
    let (mut handles, mut held) = (Vec::new(), [const { None }; N]);
    for held in &mut held {
        handles.push(pool.submit(hold, gate.port()).await.unwrap());
        *held = Some(gate.arrival().await);
    }
    (handles, held)
}

fn ids(handles: &[TaskHandle<u32>]) -> Vec<TaskId> {
    handles.iter().map(TaskHandle::id).collect()
}

#[tokio::test]
async fn as_completed_yields_tasks_in_the_order_in_which_they_end() {
    // scenario 53
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let (handles, mut held) = holding::<3>(&pool, &gate).await;
    let ids = ids(&handles);
    let mut done = as_completed(handles);
    assert_eq!(done.size_hint(), (3, Some(3)));
    for index in [2, 0, 1] {
        assert!(futures::poll!(done.next()).is_pending());
        let worker = held[index].take().unwrap().pid;
        let finished = in_time(done.next()).await.unwrap();
        assert_eq!(finished.id, ids[index]);
        assert_eq!(finished.result.unwrap(), worker);
    }
    assert!(in_time(done.next()).await.is_none());
}

#[tokio::test]
async fn as_completed_yields_first_what_has_ended_already() {
    // scenario 53
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (mut handles, held) = holding::<1>(&pool, &gate).await;
    let mut over = pool.submit(pid, ()).await.unwrap();
    in_time(&mut over).await.unwrap();
    let mut failed = pool.submit(fail, "on purpose".to_owned()).await.unwrap();
    in_time(&mut failed).await.unwrap_err();
    let cancelled = pool.submit(pid, ()).await.unwrap();
    cancelled.abort();
    let expected = [over.id(), failed.id(), cancelled.id(), handles[0].id()];
    let mut cancelled = cancelled;
    let _ = in_time(&mut cancelled).await;
    handles.extend([over, failed, cancelled]);
    let mut done = as_completed(handles);
    let mut order = Vec::new();
    for _ in 0..3 {
        // Nothing needs to be waited for.
        let std::task::Poll::Ready(Some(finished)) = futures::poll!(done.next()) else {
            panic!("{order:?} and then nothing")
        };
        order.push(finished.id);
    }
    assert!(futures::poll!(done.next()).is_pending());
    drop(held);
    order.push(in_time(done.next()).await.unwrap().id);
    order[..3].sort_unstable();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn as_completed_yields_each_of_many_tasks_once() {
    // scenario 53
    let pool = pool_of(2);
    let mut handles = Vec::new();
    for number in 0..1000 {
        let handle = match number % 50 {
            0 => pool.submit(fail, number.to_string()).await.unwrap(),
            _ => pool.submit(count_down, number).await.unwrap(),
        };
        handles.push(handle);
    }
    let expected = ids(&handles);
    let done: Vec<_> = in_time(as_completed(handles).collect()).await;
    assert_eq!(done.iter().filter(|finished| finished.result.is_err()).count(), 20);
    let mut seen: Vec<TaskId> = done.iter().map(|finished| finished.id).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn as_completed_of_nothing_is_over_at_once() {
    let mut done = as_completed(Vec::<TaskHandle<u32>>::new());
    assert!(in_time(done.next()).await.is_none());
}

#[tokio::test]
async fn a_deadline_reports_how_many_of_how_many_are_unfinished() {
    // scenario 53
    let (pool, gate) = (pool_of(4), Gate::new().await);
    let (mut handles, mut held) = holding::<4>(&pool, &gate).await;
    let late = [held[1].take(), held[3].take()];
    drop(held);
    for index in [0, 2] {
        in_time(&mut handles[index]).await.unwrap();
    }
    let ids = ids(&handles);
    let mut done = as_completed(handles).within(Duration::from_millis(20));
    let mut finished = [
        in_time(done.next()).await.unwrap().unwrap().id,
        in_time(done.next()).await.unwrap().unwrap().id,
    ];
    finished.sort_unstable();
    assert_eq!(finished, [ids[0], ids[2]]);
    let error = in_time(done.next()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "2 of 4 tasks are unfinished");
    assert_eq!((error.unfinished, error.total), (2, 4));
    assert!(in_time(done.next()).await.is_none(), "it ends after the error");
    // They go on, and can still be awaited.
    let left = done.into_unfinished();
    assert_eq!(left.iter().map(TaskHandle::id).collect::<Vec<_>>(), [ids[1], ids[3]]);
    drop(late);
    for handle in left {
        in_time(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_deadline_that_is_met_is_not_noticed() {
    // scenario 53
    let pool = pool_of(2);
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    let done: Vec<_> =
        in_time(as_completed(handles).within(Duration::from_mins(10)).collect()).await;
    assert_eq!(done.len(), 10);
    assert!(done.iter().all(Result::is_ok));
}

#[tokio::test]
async fn tasks_cancelled_by_a_shutdown_are_yielded() {
    // scenario 54
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (mut handles, held) = holding::<1>(&pool, &gate).await;
    for _ in 0..5 {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    let running = handles[0].id();
    let mut done = as_completed(handles);
    assert!(futures::poll!(done.next()).is_pending());
    let shutdown = pool.shutdown_with(Shutdown::new().cancel_futures(true));
    for _ in 0..5 {
        let finished = in_time(done.next()).await.unwrap();
        assert!(finished.result.unwrap_err().is_cancelled());
    }
    drop(held);
    let last = in_time(done.next()).await.unwrap();
    assert_eq!(last.id, running);
    last.result.unwrap();
    assert!(in_time(done.next()).await.is_none());
    in_time(shutdown).await;
}

#[tokio::test]
async fn callbacks_are_called_in_the_order_in_which_they_were_added() {
    // scenario 55
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (mut handles, held) = holding::<1>(&pool, &gate).await;
    let (sender, calls) = mpsc::channel();
    for number in 0..10 {
        let sender = sender.clone();
        handles[0].add_done_callback(move |result| sender.send((number, result)).unwrap());
    }
    drop(sender);
    assert!(calls.try_recv().is_err(), "not before the end");
    let worker = held[0].as_ref().unwrap().pid;
    drop(held);
    in_time(&mut handles[0]).await.unwrap();
    in_time(pool.shutdown()).await; // the callbacks are called by the supervisor
    let calls: Vec<_> = calls.iter().collect();
    assert_eq!(
        calls.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    assert!(calls.into_iter().all(|(_, result)| result.unwrap() == worker));
}

#[tokio::test]
async fn a_callback_is_called_at_once_if_the_task_is_over() {
    // scenario 55
    let pool = pool_of(1);
    let mut handle = pool.submit(pid, ()).await.unwrap();
    let worker = in_time(&mut handle).await.unwrap();
    let (sender, calls) = mpsc::channel();
    handle.add_done_callback(move |result| sender.send(result).unwrap());
    assert_eq!(calls.try_recv().unwrap().unwrap(), worker);
}

#[tokio::test]
async fn a_callback_is_told_of_a_cancel() {
    // scenario 55
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (_handles, _held) = holding::<1>(&pool, &gate).await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    let (sender, calls) = mpsc::channel();
    waiting.add_done_callback(move |result| sender.send(result).unwrap());
    assert!(waiting.cancel());
    assert!(calls.try_recv().unwrap().unwrap_err().is_cancelled(), "by the thread that cancels");
}

#[tokio::test]
async fn a_callback_that_panics_does_not_keep_the_next_from_being_called() {
    // scenario 55
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (mut handles, held) = holding::<1>(&pool, &gate).await;
    let (sender, calls) = mpsc::channel();
    let (first, last) = (sender.clone(), sender);
    handles[0].add_done_callback(move |_| first.send(1).unwrap());
    handles[0].add_done_callback(|_| panic!("as it should"));
    handles[0].add_done_callback(move |_| last.send(3).unwrap());
    drop(held);
    in_time(&mut handles[0]).await.unwrap();
    handles[0].add_done_callback(|_| panic!("as it should, at once"));
    in_time(pool.run(pid, ())).await.expect("the pool goes on");
    in_time(pool.shutdown()).await;
    assert_eq!(calls.iter().collect::<Vec<_>>(), [1, 3]);
}

/// Submits the next task of a chain from the callback of the last one.
/// Panics when it is dropped.
struct Booby;

impl Drop for Booby {
    fn drop(&mut self) {
        panic!("caught again");
    }
}

#[tokio::test]
async fn a_callback_whose_panic_panics_when_it_is_dropped_does_no_harm() {
    let pool = pool_of(1);
    let handle = pool.submit(pid, ()).await.unwrap();
    handle.add_done_callback(|_| std::panic::panic_any(Booby));
    in_time(handle).await.unwrap();
    in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
}

fn continue_chain(
    pool: ProcessPoolExecutor,
    left: Result<u32, TaskError>,
    over: tokio::sync::mpsc::UnboundedSender<u32>,
) {
    let left = left.unwrap();
    if left == 0 {
        over.send(left).unwrap();
        return;
    }
    let handle = pool.try_submit(count_down, left).unwrap();
    handle.add_done_callback(move |result| continue_chain(pool, result, over));
}

#[tokio::test]
async fn callbacks_may_submit() {
    // scenario 19
    let pool = pool_of(2);
    let (sender, mut over) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..3 {
        continue_chain(pool.clone(), Ok(100), sender.clone());
    }
    for _ in 0..3 {
        assert_eq!(in_time(over.recv()).await, Some(0));
    }
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, 300);
}
