//! Waiting for enough of many tasks.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, ReturnWhen, Shutdown, TaskHandle, TaskId, wait};

use crate::common::{Gate, Held, hold, in_time, pid};

fn fail() -> u32 {
    panic!("on purpose");
}

/// Holds, and then fails.
fn hold_and_fail(port: u16) -> u32 {
    panic!("on purpose, in {}", hold(port));
}

fn refuse() -> Result<u32, String> {
    Err("a result like any other".to_owned())
}

/// A result that must not be looked at.
#[derive(serde::Serialize)]
struct Sealed(u32);

impl<'de> serde::Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("it was decoded");
    }
}

fn seal() -> Sealed {
    Sealed(1)
}

procpool::register!(fail, hold_and_fail, refuse, seal);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// A task that runs until it is let go.
async fn holding(pool: &ProcessPoolExecutor, gate: &Gate) -> (TaskHandle<u32>, Held) {
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    (handle, gate.arrival().await)
}

async fn finished(pool: &ProcessPoolExecutor) -> TaskHandle<u32> {
    let mut handle = pool.submit(pid, ()).await.unwrap();
    in_time(&mut handle).await.unwrap();
    handle
}

async fn failed(pool: &ProcessPoolExecutor) -> TaskHandle<u32> {
    let mut handle = pool.submit(fail, ()).await.unwrap();
    in_time(&mut handle).await.unwrap_err();
    handle
}

/// Aborted, whether it has begun or not.
async fn cancelled(pool: &ProcessPoolExecutor, gate: &Gate) -> TaskHandle<u32> {
    let mut handle = pool.submit(hold, gate.port()).await.unwrap();
    handle.abort();
    assert!(in_time(&mut handle).await.unwrap_err().is_cancelled());
    handle
}

fn ids<R>(handles: &[TaskHandle<R>]) -> Vec<TaskId> {
    handles.iter().map(TaskHandle::id).collect()
}

#[tokio::test]
async fn first_completed_returns_when_the_first_task_is_over() {
    // scenario 52
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let (first, _held) = holding(&pool, &gate).await;
    let (second, held) = holding(&pool, &gate).await;
    let (third, _other) = holding(&pool, &gate).await;
    let expected = (vec![second.id()], vec![first.id(), third.id()]);
    let mut waiting = pin!(wait([first, second, third], ReturnWhen::FirstCompleted, None));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(held);
    let (done, not_done) = in_time(waiting).await;
    assert_eq!((ids(&done), ids(&not_done)), expected);
}

#[tokio::test]
async fn first_completed_returns_at_once_with_all_that_are_over_already() {
    // scenario 52
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (running, _held) = holding(&pool, &gate).await;
    let (fine, bad) = (finished(&pool).await, failed(&pool).await);
    let gone = cancelled(&pool, &gate).await;
    let expected = (vec![bad.id(), gone.id(), fine.id()], vec![running.id()]);
    let handles = [bad, running, gone, fine];
    let Poll::Ready((done, not_done)) =
        futures::poll!(pin!(wait(handles, ReturnWhen::FirstCompleted, None)))
    else {
        panic!("it waits")
    };
    assert_eq!((ids(&done), ids(&not_done)), expected, "in the order of the input");
}

#[tokio::test]
async fn first_exception_ignores_success_and_cancellation() {
    // scenario 52
    let (pool, gate) = (pool_of(3), Gate::new().await);
    let gone = cancelled(&pool, &gate).await;
    let (slow, _slow) = holding(&pool, &gate).await;
    let (fine, held) = holding(&pool, &gate).await;
    let bad = pool.submit(hold_and_fail, gate.port()).await.unwrap();
    let last = gate.arrival().await;
    let waits = pool.submit(pid, ()).await.unwrap();
    let expected = (vec![gone.id(), fine.id(), bad.id()], vec![slow.id()]);
    let mut waiting = pin!(wait([gone, slow, fine, bad], ReturnWhen::FirstException, None));
    assert!(futures::poll!(&mut waiting).is_pending(), "a cancellation is no exception");
    drop(held);
    in_time(waits).await.unwrap(); // in the worker that is free now
    assert!(futures::poll!(&mut waiting).is_pending(), "a success is no exception");
    drop(last);
    let (done, not_done) = in_time(waiting).await;
    assert_eq!((ids(&done), ids(&not_done)), expected);
}

#[tokio::test]
async fn first_exception_returns_at_once_if_there_was_one() {
    // scenario 52
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (running, _held) = holding(&pool, &gate).await;
    let bad = failed(&pool).await;
    let waiting = wait([running, bad], ReturnWhen::FirstException, None);
    assert!(futures::poll!(pin!(waiting)).is_ready());
}

#[tokio::test]
async fn first_exception_waits_for_all_if_there_is_none() {
    // scenario 52
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (fine, gone) = (finished(&pool).await, cancelled(&pool, &gate).await);
    let (running, held) = holding(&pool, &gate).await;
    let mut waiting = pin!(wait([fine, gone, running], ReturnWhen::FirstException, None));
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(held);
    let (done, not_done) = in_time(waiting).await;
    assert_eq!((done.len(), not_done.len()), (3, 0));
}

#[tokio::test]
async fn an_err_that_a_task_returns_is_no_exception() {
    // scenario 52
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (_running, held) = holding(&pool, &gate).await;
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(pool.submit(refuse, ()).await.unwrap());
    }
    let waiting = wait(handles, ReturnWhen::FirstException, None);
    drop(held);
    let (done, _) = in_time(waiting).await;
    assert_eq!(done.len(), 3, "it waits for all");
    for handle in done {
        in_time(handle).await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn all_completed_waits_for_tasks_however_they_end() {
    // scenario 52
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (first, held) = holding(&pool, &gate).await;
    let (bad, gone) = (failed(&pool).await, cancelled(&pool, &gate).await);
    let last = pool.submit(hold_and_fail, gate.port()).await.unwrap();
    let other = gate.arrival().await;
    let handles = [first, bad, gone, last];
    let expected = ids(&handles);
    let mut waiting = pin!(wait(handles, ReturnWhen::default(), None));
    for held in [held, other] {
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
    }
    let (done, not_done) = in_time(waiting).await;
    assert_eq!((ids(&done), ids(&not_done)), (expected, vec![]));
}

#[tokio::test]
async fn all_completed_waits_for_many() {
    let pool = pool_of(2);
    let mut handles = Vec::new();
    for _ in 0..2000 {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    let expected = ids(&handles);
    let (done, _) = in_time(wait(handles, ReturnWhen::AllCompleted, None)).await;
    assert_eq!(ids(&done), expected);
}

#[tokio::test]
async fn a_timeout_gives_the_partition_and_no_error() {
    // scenario 52
    let (pool, gate) = (pool_of(2), Gate::new().await);
    for return_when in [ReturnWhen::FirstException, ReturnWhen::AllCompleted] {
        let (slow, held) = holding(&pool, &gate).await;
        let fine = finished(&pool).await;
        let expected = (vec![fine.id()], vec![slow.id()]);
        let limit = Duration::from_millis(20);
        let (done, not_done) = in_time(wait([slow, fine], return_when, limit)).await;
        assert_eq!((ids(&done), ids(&not_done)), expected);
        // The task goes on, and can be waited for again.
        drop(held);
        let (done, not_done) = in_time(wait(not_done, return_when, None)).await;
        assert_eq!((ids(&done), ids(&not_done)), (expected.1, vec![]));
    }
}

#[tokio::test]
async fn a_timeout_of_zero_only_looks() {
    // scenario 52
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let (slow, _held) = holding(&pool, &gate).await;
    let fine = finished(&pool).await;
    let waiting = wait([slow, fine], ReturnWhen::AllCompleted, Duration::ZERO);
    let (done, not_done) = in_time(waiting).await;
    assert_eq!((done.len(), not_done.len()), (1, 1));
}

#[tokio::test]
async fn a_timeout_that_is_not_reached_is_not_noticed() {
    // scenario 52
    let pool = pool_of(1);
    let handle = pool.submit(pid, ()).await.unwrap();
    let limit = Some(Duration::from_mins(10));
    let (done, not_done) = in_time(wait([handle], ReturnWhen::FirstCompleted, limit)).await;
    assert_eq!((done.len(), not_done.len()), (1, 0));
}

#[tokio::test]
async fn a_wait_may_move_between_threads() {
    let pool = pool_of(1);
    let handle = pool.submit(pid, ()).await.unwrap();
    let waiting = tokio::spawn(wait([handle], ReturnWhen::AllCompleted, Duration::from_mins(10)));
    assert_eq!(in_time(waiting).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn waiting_for_nothing_is_over_at_once() {
    for return_when in
        [ReturnWhen::FirstCompleted, ReturnWhen::FirstException, ReturnWhen::AllCompleted]
    {
        let nothing = Vec::<TaskHandle<u32>>::new();
        let Poll::Ready((done, not_done)) = futures::poll!(pin!(wait(nothing, return_when, None)))
        else {
            panic!("{return_when:?} waits")
        };
        assert!(done.is_empty() && not_done.is_empty());
    }
}

#[tokio::test]
async fn no_result_is_decoded() {
    let pool = pool_of(1);
    let handles = [pool.submit(seal, ()).await.unwrap(), pool.submit(seal, ()).await.unwrap()];
    let (done, not_done) = in_time(wait(handles, ReturnWhen::FirstException, None)).await;
    assert_eq!((done.len(), not_done.len()), (2, 0));
}

#[tokio::test]
async fn tasks_cancelled_by_a_shutdown_are_done() {
    // scenario 54
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (running, held) = holding(&pool, &gate).await;
    let mut handles = vec![running];
    for _ in 0..5 {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    let expected = ids(&handles);
    let mut waiting = pin!(wait(handles, ReturnWhen::FirstCompleted, None));
    assert!(futures::poll!(&mut waiting).is_pending());
    let shutdown = pool.shutdown_with(Shutdown::new().cancel_futures(true));
    let (mut done, not_done) = in_time(waiting).await;
    assert_eq!(done[0].id(), expected[1]);
    drop(held);
    done.extend(in_time(wait(not_done, ReturnWhen::AllCompleted, None)).await.0);
    done.sort_by_key(TaskHandle::id);
    assert_eq!(ids(&done), expected);
    let mut results = Vec::new();
    for handle in done {
        results.push(in_time(handle).await.map_err(|error| error.is_cancelled()));
    }
    assert!(results[0].is_ok());
    assert!(results[1..].iter().all(|result| *result == Err(true)), "{results:?}");
    in_time(shutdown).await;
}

#[tokio::test]
async fn a_dropped_wait_detaches_its_tasks() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (running, held) = holding(&pool, &gate).await;
    {
        let mut waiting = pin!(wait([running], ReturnWhen::AllCompleted, None));
        assert!(futures::poll!(&mut waiting).is_pending());
    }
    drop(held);
    assert_eq!(in_time(pool.shutdown()).await.finished, 1);
}
