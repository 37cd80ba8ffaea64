//! Values that go with tasks.

use futures::{StreamExt, TryStreamExt};
use procpool::{ContextError, ProcessPoolExecutor, TaskError, current};
use serde::{Deserialize, Serialize};

use crate::common::{in_time, kill, pid};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trace {
    id: String,
    sampled: bool,
}

fn trace(id: &str) -> Trace {
    Trace { id: id.to_owned(), sampled: true }
}

fn seen() -> Option<Trace> {
    current().context().unwrap()
}

async fn seen_async() -> Option<Trace> {
    tokio::task::yield_now().await;
    seen()
}

fn seen_on_a_thread() -> Option<Trace> {
    let current = current();
    std::thread::spawn(move || current.context().unwrap()).join().unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]
fn seen_beside(item: usize, bytes: Vec<u8>) -> (usize, usize, Option<Trace>) {
    (item, bytes.len(), seen())
}

/// The first attempt dies.
fn seen_at_second_attempt() -> Option<Trace> {
    if current().attempt() == 1 {
        kill(std::process::id());
    }
    seen()
}

/// What somebody is told who asks for another type.
fn asked_wrongly() -> String {
    current().context::<u64>().unwrap_err().to_string()
}

/// Waits on a thread until the task is over, and looks then.
fn leave_behind(port: u16) {
    let current = current();
    std::thread::spawn(move || {
        crate::common::hold(port);
        let late = current.context::<Trace>() == Err(ContextError::TaskOver);
        if late {
            crate::common::hold(port);
        }
    });
}

procpool::register!(
    seen,
    seen_async,
    seen_on_a_thread,
    seen_beside,
    seen_at_second_attempt,
    asked_wrongly,
    leave_behind,
);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[test]
fn there_is_none_where_there_is_no_pool() {
    assert_eq!(seen(), None);
}

#[tokio::test]
async fn a_task_finds_what_has_come_with_it() {
    let pool = pool_of(1);
    let one = in_time(pool.task(seen, ()).context(trace("one")).run()).await.unwrap();
    assert_eq!(one, Some(trace("one")));
    assert_eq!(in_time(pool.run(seen, ())).await.unwrap(), None, "it was another task's");
    let two = in_time(pool.task(seen_async, ()).context(trace("two")).run()).await.unwrap();
    assert_eq!(two, Some(trace("two")));
    let task = pool.task(seen_on_a_thread, ()).context(trace("lost")).context(trace("three"));
    assert_eq!(in_time(task.run()).await.unwrap(), Some(trace("three")));
}

#[tokio::test]
async fn tasks_that_wait_in_one_worker_find_their_own() {
    let pool = pool_of(1);
    let mut handles = Vec::new();
    for number in 0..500 {
        let task = pool.task(seen_beside, (number, vec![0; number % 7 * 20_000]));
        let task = if number % 3 == 0 { task } else { task.context(trace(&number.to_string())) };
        handles.push(task.submit().await.unwrap());
    }
    for (number, handle) in (0..).zip(handles) {
        let (item, _, found) = in_time(handle).await.unwrap();
        let sent = (number % 3 != 0).then(|| trace(&number.to_string()));
        assert_eq!((item, found), (number, sent));
    }
}

#[tokio::test]
async fn it_comes_with_arguments_that_are_shared() {
    let pool = pool_of(2);
    for size in [1_000, 1 << 20, 5 << 20] {
        let task = pool.task(seen_beside, (7, vec![1; size])).context(trace("large"));
        assert_eq!(in_time(task.run()).await.unwrap(), (7, size, Some(trace("large"))));
    }
}

#[tokio::test]
async fn it_comes_with_each_item_of_a_map() {
    let pool = pool_of(2);
    let inputs = (0..2_000).map(|number| (number, Vec::new()));
    let items = pool.map(seen_beside, inputs).context(trace("map"));
    let items: Vec<_> = in_time(items.try_collect()).await.unwrap();
    assert!(items.iter().all(|(_, _, found)| *found == Some(trace("map"))));
    assert_eq!(items.len(), 2_000);
}

#[tokio::test]
async fn it_comes_again_with_each_attempt() {
    let pool = pool_of(1);
    let task = pool.task(seen_at_second_attempt, ()).retries(1).context(trace("again"));
    assert_eq!(in_time(task.run()).await.unwrap(), Some(trace("again")));
}

#[tokio::test]
async fn it_is_not_taken_for_another_type() {
    let told = in_time(pool_of(1).task(asked_wrongly, ()).context(trace("one")).run()).await;
    let told = told.unwrap();
    assert!(told.starts_with("the context of this task is a `pool::context::Trace`"), "{told}");
    assert!(told.ends_with("not a `u64`"), "{told}");
}

#[tokio::test]
async fn who_is_left_behind_does_not_find_it() {
    let (pool, gate) = (pool_of(1), crate::common::Gate::new().await);
    in_time(pool.task(leave_behind, gate.port()).context(trace("over")).run()).await.unwrap();
    let next = pool.task(seen, ()).context(trace("next")).run();
    assert_eq!(in_time(next).await.unwrap(), Some(trace("next")));
    drop(in_time(gate.arrival()).await);
    drop(in_time(gate.arrival()).await); // it says by this that it was told
}

/// Cannot be encoded.
#[derive(Serialize, Deserialize)]
pub(crate) struct Odd(#[serde(serialize_with = "refuse")] pub(crate) String);

fn refuse<S: serde::Serializer>(_: &str, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("odd"))
}

#[tokio::test]
async fn one_that_cannot_be_sent_is_an_error_of_the_task() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_payload(2_000).build().unwrap();
    let error = in_time(pool.task(pid, ()).label("odd").context(Odd(String::new())).submit())
        .await
        .unwrap_err();
    assert!(error.is_codec() && error.label() == Some("odd"), "{error}");
    assert!(error.to_string().ends_with("the context cannot be encoded: odd"), "{error}");
    let error = pool.task(pid, ()).context("x".repeat(2_001)).try_submit().unwrap_err();
    assert!(error.is_too_large(), "{error}");
    assert!(error.to_string().contains("the context takes more than 2000 bytes"), "{error}");
    let items =
        pool.map(seen_beside, [(1, Vec::new()), (2, Vec::new())]).context(Odd(String::new()));
    let items: Vec<_> = in_time(items.collect()).await;
    assert_eq!(items.len(), 2);
    assert!(items.iter().all(|item| item.as_ref().is_err_and(TaskError::is_codec)));
    let replaced = pool.map(seen_beside, [(1, Vec::new())]).context(Odd(String::new()));
    let replaced = replaced.context(trace("other"));
    assert!(in_time(replaced.collect::<Vec<_>>()).await[0].is_ok());
}
