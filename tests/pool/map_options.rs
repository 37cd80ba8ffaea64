//! How a map can be configured: chunks, buffers, order, numbers, time, and inputs from a stream.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, SinkExt, StreamExt};
use procpool::{ProcessPoolExecutor, TaskError};

use crate::common::{Gate, hold, in_time, process_gone, wait_until};
use crate::journal::{Journal, note};

fn double(n: u32) -> u32 {
    2 * n
}

/// Waits at a gate if there is one.
fn pass(gate: Option<u16>, n: u32) -> u32 {
    if let Some(port) = gate {
        hold(port);
    }
    n
}

fn note_and_pass(journal: String, gate: Option<u16>, n: u32) -> u32 {
    note(journal, n);
    pass(gate, n)
}

/// Returns the number, and at which attempt that is.
fn note_and_die_once(journal: String, n: u32) -> (u32, u32) {
    note(journal, n);
    let attempt = procpool::current().attempt();
    if n % 20 == 7 && attempt == 1 {
        std::process::abort();
    }
    (n, attempt)
}

fn worker_of(_: u32) -> u32 {
    std::process::id()
}

procpool::register!(double, pass, note_and_pass, note_and_die_once, worker_of);

fn pool(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    builder.grace_period(Duration::from_millis(200)).build().unwrap()
}

async fn collect<T>(stream: impl futures::Stream<Item = Result<T, TaskError>>) -> Vec<T> {
    in_time(stream.map(Result::unwrap).collect()).await
}

const LONG: Duration = Duration::from_hours(1);

/// Lets a time limit pass that was set before.
async fn let_time_pass(limit: Duration) {
    tokio::time::pause();
    tokio::time::advance(limit).await;
    tokio::time::resume();
}

#[tokio::test]
async fn what_is_chosen_after_the_first_results_counts_from_then_on() {
    let pool = pool(2);
    let mut map = pool.map(double, 0..1_000).chunksize(10);
    let mut results = Vec::new();
    for _ in 0..5 {
        results.push(in_time(map.next()).await.unwrap().unwrap());
    }
    let map = map.unordered().chunksize(3).buffersize(7).within(LONG).with_index();
    let rest: Vec<(usize, _)> = in_time(map.collect()).await;
    assert!(rest.iter().all(|(index, result)| *result.as_ref().unwrap() as usize == 2 * index));
    results.extend(rest.into_iter().map(|(_, result)| result.unwrap()));
    results.sort_unstable();
    assert_eq!(results, (0..1_000).map(double).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_size_of_chunks_does_not_change_the_results() {
    // scenario 6
    let (pool, expected) = (pool(2), (0..40).map(double).collect::<Vec<_>>());
    for size in [1, 6, 40, 50, usize::MAX] {
        assert_eq!(collect(pool.map(double, 0..40).chunksize(size)).await, expected, "{size}");
    }
}

#[tokio::test]
async fn chunks_of_nothing_are_of_the_default_size() {
    // scenario 6
    let pool = pool(2);
    let expected: Vec<_> = (0..40).map(|n| n * 2).collect();
    assert_eq!(collect(pool.map(double, 0..40).chunksize(0)).await, expected);
    assert_eq!(collect(pool.map(double, 0..40).chunksize(7).chunksize(None)).await, expected);
}

#[tokio::test]
async fn chunks_of_the_default_size_are_single_items_where_tasks_are_counted() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build();
    let pool = pool.unwrap();
    for size in [Some(0), None] {
        let workers = collect(pool.map(worker_of, 0..4).chunksize(7).chunksize(size)).await;
        assert_eq!(workers.into_iter().collect::<BTreeSet<_>>().len(), 4);
    }
}

#[tokio::test]
async fn the_size_of_the_buffer_does_not_change_the_results() {
    // scenario 11
    let pool = pool(2);
    for size in [1, 2, 4, 8, usize::MAX] {
        assert_eq!(collect(pool.map(double, 0..4).buffersize(size)).await, [0, 2, 4, 6]);
        let chunks = pool.map(double, 0..4).buffersize(size).chunksize(3);
        assert_eq!(collect(chunks).await, [0, 2, 4, 6]);
    }
}

#[tokio::test]
async fn a_buffer_for_nothing_is_of_the_default_size() {
    // scenario 11
    let (pool, taken) = (pool(2), Cell::new(0));
    for size in [Some(0), None] {
        taken.set(0);
        let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
        let mut map = pool.map(double, inputs).buffersize(1).buffersize(size);
        in_time(map.next()).await.unwrap().unwrap();
        assert!(taken.get() >= 256, "{} inputs were taken", taken.get());
    }
}

#[tokio::test]
async fn a_buffer_bounds_what_is_taken_of_endless_inputs() {
    // scenario 12
    let (pool, taken) = (pool(2), Cell::new(0));
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    assert_eq!(collect(pool.map(double, inputs).buffersize(2).take(3)).await, [0, 2, 4]);
    assert!(taken.get() <= 5, "{} inputs were taken", taken.get());
}

#[tokio::test]
async fn a_stream_that_is_not_polled_takes_no_inputs() {
    // scenario 13
    let (pool, taken) = (pool(2), Cell::new(0));
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut stream = pool.map(double, inputs).buffersize(2);
    assert_eq!(taken.get(), 0);
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(taken.get(), 2);
    wait_until("both are done", || pool.stats().completed == 2).await;
    assert_eq!(taken.get(), 2);
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 0);
    assert!(taken.get() <= 3);
}

#[tokio::test]
async fn results_can_be_had_as_they_come() {
    let (pool, gate) = (pool(2), Gate::new().await);
    let inputs = (0..200).map(|n| ((n == 3).then(|| gate.port()), n));
    let mut stream = pool.map(pass, inputs).unordered();
    let mut seen = Vec::new();
    for _ in 0..199 {
        seen.push(in_time(stream.next()).await.unwrap().unwrap());
    }
    assert!(!seen.contains(&3));
    drop(gate.arrival().await);
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 3);
    assert!(in_time(stream.next()).await.is_none());
}

#[tokio::test]
async fn results_can_be_numbered_as_their_inputs() {
    let pool = pool(2);
    let in_order: Vec<_> = in_time(pool.map(double, 5..9).with_index().collect()).await;
    let numbers: Vec<_> = in_order.into_iter().map(|(n, result)| (n, result.unwrap())).collect();
    assert_eq!(numbers, [(0, 10), (1, 12), (2, 14), (3, 16)]);
    let stream = pool.map(double, 0..5000).unordered().with_index();
    let results: BTreeMap<_, _> = in_time(stream.collect()).await;
    assert_eq!(results.len(), 5000);
    for (number, result) in results {
        assert_eq!(result.unwrap() as usize, 2 * number);
    }
}

#[tokio::test]
async fn inputs_can_come_from_a_stream() {
    let (mut sender, inputs) = mpsc::channel(10);
    let pool = pool(2);
    let mut stream = pool.map_stream(double, inputs).chunksize(100);
    for n in 0..3 {
        // None waits for the next one.
        sender.send(n).await.unwrap();
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 2 * n);
    }
    let feed = async move {
        for n in 3..1000 {
            sender.send(n).await.unwrap();
        }
    };
    let (rest, ()) = in_time(futures::future::join(collect(stream), feed)).await;
    assert_eq!(rest, (3..1000).map(double).collect::<Vec<_>>());
}

#[tokio::test]
async fn when_the_time_is_up_all_that_is_done_comes_and_what_is_not_is_an_error_in_its_place() {
    // scenario 9
    let (pool, gate) = (pool(2), Gate::new().await);
    let inputs = (0..50).map(|n| ((n == 4).then(|| gate.port()), n));
    let mut stream = pool.map(pass, inputs).with_index().within(LONG);
    for n in 0..4 {
        let (number, result) = in_time(stream.next()).await.unwrap();
        assert_eq!((number, result.unwrap()), (n as usize, n));
    }
    let mut held = gate.arrival().await;
    wait_until("the others are done", || pool.stats().completed == 49).await;
    let_time_pass(LONG).await;
    let (number, result) = in_time(stream.next()).await.unwrap();
    let error = result.unwrap_err();
    assert!(error.is_deadline() && error.to_string().contains("3600s"), "{error}");
    assert_eq!(number, 4, "in the place of the one that is not done");
    for n in 5..50 {
        let (number, result) = in_time(stream.next()).await.unwrap();
        assert_eq!((number, result.unwrap()), (n as usize, n));
    }
    assert!(in_time(stream.next()).await.is_none());
    assert!(in_time(stream.next()).await.is_none());
    held.gone().await;
    wait_until("the one that ran is ended", || process_gone(held.pid)).await;
    assert_eq!(in_time(pool.run(double, 1)).await.unwrap(), 2);
}

#[tokio::test]
async fn when_the_time_is_up_what_has_not_begun_never_does() {
    // scenario 9
    let (pool, gate, journal) = (pool(1), Gate::new().await, Journal::new());
    let mut blocker = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let inputs = (0..).map(|n| (journal.path(), n));
    let mut stream = pool.map(note, inputs).chunksize(3).within(LONG);
    assert!(stream.next().now_or_never().is_none());
    let_time_pass(LONG).await;
    let results: Vec<_> = in_time(stream.collect()).await;
    assert!(!results.is_empty());
    assert!(results.into_iter().all(|result| result.unwrap_err().is_deadline()));
    drop(held);
    in_time(&mut blocker).await.unwrap();
    assert_eq!(in_time(pool.run(double, 1)).await.unwrap(), 2);
    assert!(journal.numbers().is_empty());
}

#[tokio::test]
async fn an_unordered_stream_yields_all_that_is_done_when_the_time_is_up() {
    let (pool, gate) = (pool(2), Gate::new().await);
    let inputs = (0..50).map(|n| ((n == 4).then(|| gate.port()), n));
    let stream = pool.map(pass, inputs).unordered().chunksize(5).within(LONG);
    let mut stream = Box::pin(stream.peekable());
    in_time(stream.as_mut().peek()).await.unwrap().as_ref().unwrap();
    let _held = gate.arrival().await;
    let mut results = 0;
    while let Some(Some(result)) = stream.next().now_or_never() {
        result.unwrap();
        results += 1;
    }
    for _ in results..49 {
        in_time(stream.next()).await.unwrap().unwrap();
    }
    let_time_pass(LONG).await;
    assert!(in_time(stream.next()).await.unwrap().unwrap_err().is_deadline());
    assert!(in_time(stream.next()).await.is_none());
}

#[tokio::test]
async fn a_limit_stops_inputs_that_are_always_there() {
    let pool = pool(2);
    let mut stream = pool.map(double, 0..).within(LONG);
    for n in 0..1000 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 2 * n);
    }
    let_time_pass(LONG).await;
    let rest: Vec<_> = in_time(stream.collect()).await;
    for (n, result) in (1000..).zip(&rest) {
        assert!(result.as_ref().map_or_else(TaskError::is_deadline, |result| *result == 2 * n));
    }
    assert!(rest.last().unwrap().is_err());
}

#[tokio::test]
async fn an_item_that_takes_too_long_fails_alone_and_none_of_its_chunk_runs_twice() {
    let (pool, gate, journal) = (pool(1), Gate::new().await, Journal::new());
    let inputs = (0..60).map(|n| (journal.path(), (n == 30).then(|| gate.port()), n));
    let limit = Duration::from_millis(500); // much more than the others take on a busy machine
    let stream = pool.map(note_and_pass, inputs).chunksize(20).timeout(limit);
    let results: Vec<_> = in_time(stream.collect()).await;
    assert_eq!(results.len(), 60);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(result) => assert_eq!(result, n),
            Err(error) => {
                assert!(n == 30 && error.is_timeout(), "{n}: {error}");
                assert!(error.to_string().contains("500ms"), "{error}");
            }
        }
    }
    assert!(journal.counts().values().all(|times| *times == 1), "{:?}", journal.counts());
    assert_eq!(pool.stats().worker_restarts, 1);
}

#[tokio::test]
async fn the_time_limit_of_the_pool_is_that_of_each_item() {
    let gate = Gate::new().await;
    let builder = ProcessPoolExecutor::builder().max_workers(2);
    let pool = builder.default_timeout(Duration::from_millis(500)).build().unwrap();
    let inputs = || [(Some(gate.port()), 1), (None, 2)];
    let collected = pool.map(pass, inputs()).collect::<Vec<_>>();
    let (results, _held) = in_time(futures::future::join(collected, gate.arrival())).await;
    assert!(results[0].as_ref().unwrap_err().is_timeout());
    assert_eq!(results[1].as_ref().unwrap(), &2);
    let mut stream = pool.map(pass, inputs()).timeout(None);
    assert!(stream.next().now_or_never().is_none());
    let mut held = gate.arrival().await;
    // One that begins later and has a limit says that the limit has passed.
    let limited = pool.run(pass, (Some(gate.port()), 3));
    let (limited, _held) = in_time(futures::future::join(limited, gate.arrival())).await;
    assert!(limited.unwrap_err().is_timeout());
    assert!(held.gone().now_or_never().is_none());
    drop(stream);
    in_time(held.gone()).await;
}

#[tokio::test]
async fn items_can_be_tried_again_but_those_that_are_done_are_not() {
    let (pool, journal) = (pool(1), Journal::new());
    let inputs = (0..40).map(|n| (journal.path(), n));
    let stream = pool.map(note_and_die_once, inputs).chunksize(10).retries(1);
    let results: Vec<_> = in_time(stream.collect()).await;
    for (n, result) in (0..).zip(results) {
        let attempt = if n % 20 == 7 { 2 } else { 1 };
        assert_eq!(result.unwrap(), (n, attempt), "with its number and its name");
    }
    let counts = journal.counts();
    assert!(
        counts.iter().all(|(n, times)| *times == if n % 20 == 7 { 2 } else { 1 }),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_stream_that_aborts_leaves_nothing_running() {
    let (pool, gate) = (pool(2), Gate::new().await);
    let inputs = || (0..4).map(|n| (Some(gate.port()), n));
    let mut left = pool.map(pass, inputs()).abort_on_drop(false);
    assert!(left.next().now_or_never().is_none());
    let held = [gate.arrival().await, gate.arrival().await];
    drop(left);
    assert_eq!(pool.stats().running, 2, "they are left to finish");
    drop(held);
    let mut aborted = pool.map(pass, inputs());
    assert!(aborted.next().now_or_never().is_none());
    let mut held = [gate.arrival().await, gate.arrival().await];
    drop(aborted);
    for held in &mut held {
        in_time(held.gone()).await;
    }
    assert_eq!(in_time(pool.run(double, 1)).await.unwrap(), 2);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_limit_that_is_not_reached_changes_nothing() {
    let results = collect(pool(2).map(double, 0..100).within(LONG)).await;
    assert_eq!(results, (0..100).map(double).collect::<Vec<_>>());
    let taken_back = pool(2).map(double, 0..100).within(Duration::ZERO).within(None);
    assert_eq!(collect(taken_back).await, results);
}

#[tokio::test]
async fn the_stream_knows_how_many_results_are_left() {
    use futures::Stream;

    let pool = pool(2);
    let mut stream = pool.map(double, 0..100);
    assert_eq!(stream.size_hint(), (100, Some(100)));
    in_time(stream.next()).await.unwrap().unwrap();
    assert_eq!(stream.size_hint(), (99, Some(99)));
    assert_eq!(pool.map(double, 0..100).within(LONG).size_hint(), (0, Some(101)));
}
