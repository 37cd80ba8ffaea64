//! What running tasks emit.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use procpool::{EmitError, EmittedStream, ProcessPoolExecutor, SharedSlice, TaskStatus, current};

use crate::common::{Gate, exit_now, hold, in_time, kill};
use crate::context::Odd;

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Emits the numbers below; returns how many of them somebody may take.
fn count(below: u64) -> u64 {
    (0..below).map(|n| u64::from(current().emit(n).unwrap())).sum()
}

async fn count_async(below: u64) -> u64 {
    let mut taken = 0;
    for n in 0..below {
        taken += u64::from(current().emit_async(n).await.unwrap());
    }
    taken
}

/// From several threads, each its own numbers.
fn count_on_threads(below: u64) -> u64 {
    let current = current();
    let emit = move |thread| {
        let emitted = (0..below).map(|n| current.emit((thread, n)).unwrap());
        emitted.map(u64::from).sum::<u64>()
    };
    let threads: Vec<_> =
        (0..4_u64).map(|thread| std::thread::spawn(move || emit(thread))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

/// Tells at the gate when it has emitted so many.
fn count_and_hold(below: u64, port: u16) -> u64 {
    let taken = count(below);
    hold(port);
    taken + count(below)
}

fn emit_and_die(values: u64) {
    count(values);
    kill(std::process::id());
}

fn emit_at_each_attempt(port: u16) -> u32 {
    let attempt = current().attempt();
    current().emit(attempt).unwrap();
    current().emit(attempt).unwrap();
    hold(port);
    if attempt == 1 {
        exit_now();
    }
    attempt
}

fn emit_sizes(sizes: Vec<usize>) -> usize {
    sizes.into_iter().map(|size| usize::from(current().emit(vec![1_u8; size]).unwrap())).sum()
}

/// Tells at the gate when it has emitted them all.
fn emit_sizes_and_hold(sizes: Vec<usize>, port: u16) -> usize {
    let taken = emit_sizes(sizes);
    hold(port);
    taken
}

fn emit_several_types() {
    let current = current();
    current.emit(1_u64).unwrap();
    current.emit("two".to_owned()).unwrap();
    current.emit(3_u64).unwrap();
}

/// Emits until it is asked to end.
fn emit_for_ever() -> String {
    let mut count = 0_u64;
    current().is_cancelled(); // it will look
    loop {
        if let Err(error) = current().emit(count) {
            return format!("after {count}: {error}");
        }
        count += 1;
    }
}

async fn emit_for_ever_async() -> String {
    let mut count = 0_u64;
    current().is_cancelled();
    loop {
        if let Err(error) = current().emit_async(count).await {
            return format!("after {count}: {error}");
        }
        count += 1;
    }
}

fn emit_memory(count: u64) -> u64 {
    for n in 0..count {
        assert!(current().emit(SharedSlice::copy_from_slice(&[n, n + 1]).unwrap()).unwrap());
    }
    count
}

/// Leaves a thread behind that waits for room, and one that emits when the task is over.
fn leave_behind(port: u16) {
    let current = current();
    for _ in 0..16 {
        current.emit(0_u64).unwrap();
    }
    std::thread::spawn(move || current.emit(1_u64).unwrap());
    std::thread::spawn(move || {
        hold(port);
        assert!(!current.emit(2_u64).unwrap());
        hold(port);
    });
}

fn refused() -> (String, String) {
    let odd = current().emit(Odd(String::new())).unwrap_err().to_string();
    (odd, current().emit("x".repeat(3_000)).unwrap_err().to_string())
}

procpool::register!(
    count,
    count_async,
    count_on_threads,
    count_and_hold,
    emit_and_die,
    emit_at_each_attempt,
    emit_sizes,
    emit_sizes_and_hold,
    emit_several_types,
    emit_for_ever,
    emit_for_ever_async,
    emit_memory,
    leave_behind,
    refused,
);

async fn rest<T: serde::de::DeserializeOwned>(stream: EmittedStream<T>) -> Vec<T> {
    in_time(stream.try_collect()).await.unwrap()
}

#[test]
fn a_function_that_emits_can_be_called_where_there_is_no_pool() {
    assert_eq!(count(20), 0);
    assert_eq!(count_async(20).now_or_never(), Some(0));
}

#[tokio::test]
async fn all_values_come_in_order_and_before_the_end() {
    let pool = pool_of(1);
    for below in [0, 1, 15, 16, 17, 1_000] {
        for function in ["sync", "async"] {
            let task = match function {
                "sync" => pool.submit(count, below).await.unwrap(),
                _ => pool.submit(count_async, below).await.unwrap(),
            };
            let values = rest(task.emitted::<u64>()).await;
            assert_eq!(values, (0..below).collect::<Vec<_>>(), "{function}");
            assert_eq!(in_time(task).await.unwrap(), below, "{function}");
        }
    }
}

#[tokio::test]
async fn what_was_emitted_before_the_stream_was_asked_for_is_kept() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(count_and_hold, (16, gate.port())).await.unwrap();
    let held = gate.arrival().await;
    let stream = handle.emitted::<u64>();
    drop(held);
    assert_eq!(rest(stream).await.len(), 32);
    assert_eq!(in_time(handle).await.unwrap(), 32);
}

#[tokio::test]
async fn values_come_while_the_task_runs() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(count_and_hold, (3, gate.port())).await.unwrap();
    let mut stream = handle.emitted::<u64>();
    let _held = gate.arrival().await;
    for n in 0..3 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
    }
    assert_eq!(handle.status(), TaskStatus::Running);
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test]
async fn the_task_waits_for_a_slow_reader() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    for (capacity, most) in [(None, 16), (Some(1), 1), (Some(5), 5), (Some(40), 40)] {
        let task = pool.task(count_and_hold, (most, gate.port())).emit_capacity(capacity);
        let handle = task.submit().await.unwrap();
        let mut stream = handle.emitted::<u64>();
        drop(gate.arrival().await); // it has emitted as many as it may
        for n in (0..most).chain(0..most) {
            assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
        }
        assert_eq!(in_time(handle).await.unwrap(), 2 * most);
    }
    let task = pool.task(count_and_hold, (17, gate.port())).submit().await.unwrap();
    let stream = task.emitted::<u64>();
    let is_early = tokio::time::timeout(Duration::from_millis(200), gate.arrival()).await.is_ok();
    assert!(!is_early, "a seventeenth value was emitted, and none was taken");
    let values = tokio::join!(rest(stream), async { drop(gate.arrival().await) }).0;
    assert_eq!(values.len(), 34);
}

#[tokio::test]
async fn who_only_awaits_the_handle_is_not_kept_waiting() {
    let pool = pool_of(1);
    let taken = in_time(pool.submit(count, 10_000).await.unwrap()).await.unwrap();
    assert!(taken <= 16, "{taken} values were sent to nobody");
    assert_eq!(in_time(pool.run(count, 10_000)).await.unwrap(), 0);
    assert_eq!(in_time(pool.try_run(count, 10_000)).await.unwrap(), 0);
    let items: Vec<_> = in_time(pool.map(count, [100; 20]).try_collect()).await.unwrap();
    assert_eq!(items, [0; 20]);
    let mut set = procpool::TaskSet::new();
    set.submit(&pool, count, 10_000).await.unwrap();
    assert!(in_time(set.join_next()).await.unwrap().result.unwrap() <= 16);
}

#[tokio::test]
async fn a_task_that_waits_goes_on_when_nobody_takes_any_more() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let begin = async || {
        let handle = pool.submit(count_and_hold, (16, gate.port())).await.unwrap();
        drop(gate.arrival().await); // it will wait for room
        [handle]
    };
    let [awaited] = begin().await;
    assert_eq!(in_time(awaited).await.unwrap(), 16);
    let ([dropped], mut next) = (begin().await, pool.submit(count, 1).await.unwrap());
    assert!((&mut next).now_or_never().is_none());
    drop(dropped);
    assert!(in_time(next).await.unwrap() <= 1);
    let [streamed] = begin().await;
    let mut stream = streamed.emitted::<u64>();
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 0);
    drop(stream);
    assert!(in_time(streamed).await.unwrap() < 32);
}

#[tokio::test]
async fn the_stream_outlives_the_handle() {
    let handle = pool_of(1).submit(count, 100).await.unwrap();
    let stream = handle.emitted::<u64>();
    drop(handle);
    assert_eq!(rest(stream).await.len(), 100);
}

#[tokio::test]
async fn streams_of_one_task_share_what_it_emits() {
    let handle = pool_of(1).submit(count, 200).await.unwrap();
    let streams = (handle.emitted::<u64>(), handle.emitted::<u64>());
    let (mut one, other) = in_time(futures::future::join(rest(streams.0), rest(streams.1))).await;
    one.extend(other);
    one.sort_unstable();
    assert_eq!(one, (0..200).collect::<Vec<_>>());
    assert_eq!(rest(handle.emitted::<u64>()).await, [], "nothing is left");
}

#[tokio::test]
async fn what_was_emitted_before_a_death_is_there() {
    let pool = pool_of(1);
    for values in [0, 1, 16, 300] {
        let handle = pool.submit(emit_and_die, values).await.unwrap();
        assert_eq!(rest(handle.emitted::<u64>()).await, (0..values).collect::<Vec<_>>());
        assert!(in_time(handle).await.unwrap_err().is_worker_death());
    }
}

#[tokio::test]
async fn attempts_follow_one_another_and_can_be_told_apart() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    for capacity in [2, 3, 16] {
        let task = pool.task(emit_at_each_attempt, gate.port()).retries(1);
        let handle = task.emit_capacity(capacity).submit().await.unwrap();
        let mut stream = handle.emitted::<u32>();
        drop(gate.arrival().await); // nobody has taken anything when it dies
        let mut seen = VecDeque::new();
        let read = async {
            while let Some(attempt) = stream.next().await {
                seen.push_back((attempt.unwrap(), stream.attempt()));
            }
        };
        in_time(futures::future::join(read, async { drop(gate.arrival().await) })).await;
        assert_eq!(seen, [(1, 1), (1, 1), (2, 2), (2, 2)]);
        assert_eq!(in_time(handle).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn values_of_any_size_come() {
    let pool = pool_of(1);
    let sizes = vec![0, 1, 1_000, 1_100, 70_000, 3_000_000, 1, 1_048_576, 700_000, 600_000, 5, 5];
    for capacity in [1, 16] {
        let task = pool.task(emit_sizes, sizes.clone()).emit_capacity(capacity);
        let handle = task.submit().await.unwrap();
        let values = rest(handle.emitted::<Vec<u8>>()).await;
        assert_eq!(values.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert!(values.iter().flatten().all(|byte| *byte == 1));
        assert_eq!(in_time(handle).await.unwrap(), sizes.len());
    }
}

#[tokio::test]
async fn a_task_waits_while_a_megabyte_is_not_taken() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let task = pool.submit(emit_sizes_and_hold, (vec![600_000; 3], gate.port()));
    let handle = task.await.unwrap();
    let mut stream = handle.emitted::<Vec<u8>>();
    let is_early = tokio::time::timeout(Duration::from_millis(200), gate.arrival()).await.is_ok();
    assert!(!is_early, "a third value was emitted, and none was taken");
    in_time(stream.next()).await.unwrap().unwrap();
    drop(gate.arrival().await);
    assert_eq!(in_time(stream.count()).await, 2);
    assert_eq!(in_time(handle).await.unwrap(), 3);
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_in_its_place() {
    let handle = pool_of(1).submit(emit_several_types, ()).await.unwrap();
    let values: Vec<_> = in_time(handle.emitted::<u64>().collect()).await;
    let [Ok(1), Err(error), Ok(3)] = &values[..] else { panic!("{values:?}") };
    assert!(error.is_other_type() && error.attempt() == 1 && error.id() == handle.id());
    let text = "task 1 (`pool::emit::emit_several_types`) has emitted a `alloc::string::String`, \
                and the stream is one of `u64`";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn several_threads_may_emit() {
    let handle = pool_of(1).submit(count_on_threads, 300).await.unwrap();
    let values = rest(handle.emitted::<(u64, u64)>()).await;
    for thread in 0..4 {
        let own = values.iter().filter(|(of, _)| *of == thread).map(|(_, n)| *n);
        assert_eq!(own.collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
    }
    assert_eq!(in_time(handle).await.unwrap(), 1_200);
}

#[tokio::test]
async fn a_task_that_waits_sees_that_it_is_asked_to_end() {
    let pool = pool_of(1);
    for (function, reads) in [("sync", 1), ("async", 1), ("sync", 50), ("async", 50)] {
        let handle = match function {
            "sync" => pool.submit(emit_for_ever, ()).await.unwrap(),
            _ => pool.submit(emit_for_ever_async, ()).await.unwrap(),
        };
        let mut stream = handle.emitted::<u64>();
        for n in 0..reads {
            assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
        }
        handle.abort();
        let told = in_time(handle).await.unwrap();
        assert!(told.ends_with(&EmitError::Cancelled.to_string()), "{function}: {told}");
        assert!(rest(stream).await.len() <= 16);
    }
    assert_eq!(pool.workers()[0].id.get(), 1, "the worker lives on");
}

#[tokio::test]
async fn a_task_that_waits_is_ended_by_its_timeout() {
    let pool = pool_of(1);
    let task = pool.task(count, 100).timeout(Duration::from_millis(100)).emit_capacity(4);
    let handle = task.submit().await.unwrap();
    let stream = handle.emitted::<u64>();
    let told = crate::common::within(Duration::from_secs(20), handle).await.unwrap();
    // It is asked first, and panics then.
    assert!(told.is_err(), "{told:?}");
    assert_eq!(rest(stream).await.len(), 4);
}

#[tokio::test]
async fn memory_that_is_emitted_is_not_copied() {
    let handle = pool_of(1).submit(emit_memory, 50).await.unwrap();
    let slices = rest(handle.emitted::<SharedSlice<u64>>()).await;
    for (n, slice) in (0..).zip(&slices) {
        assert_eq!(slice[..], [n, n + 1]);
    }
    assert_eq!(in_time(handle).await.unwrap(), 50);
}

#[tokio::test]
async fn threads_that_a_task_leaves_behind_hold_nobody_up() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(leave_behind, gate.port()).await.unwrap();
    let stream = handle.emitted::<u64>();
    for _ in 0..20 {
        assert_eq!(
            in_time(pool.submit(count, 1_000).await.unwrap().emitted::<u64>().count()).await,
            1_000
        );
    }
    drop(gate.arrival().await);
    drop(gate.arrival().await);
    let values = rest(stream).await;
    assert!(!values.contains(&2), "{values:?}");
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_error_of_the_task() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_payload(2_000).build().unwrap();
    let handle = pool.submit(refused, ()).await.unwrap();
    let stream = handle.emitted::<String>();
    let (odd, large) = in_time(handle).await.unwrap();
    assert_eq!(odd, "the emitted value cannot be encoded: odd");
    assert!(large.starts_with("the emitted value takes more than 2000 bytes"), "{large}");
    assert_eq!(rest(stream).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_stream_ends_when_its_task_never_begins() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    let handle = pool.submit(count, 5).await.unwrap();
    let stream = handle.emitted::<u64>();
    assert!(handle.cancel());
    assert_eq!(rest(stream).await, []);
    drop(running);
}

#[tokio::test]
async fn many_tasks_emit_at_once() {
    let pool = pool_of(3);
    let mut tasks = Vec::new();
    for _ in 0..60 {
        let handle = pool.submit(count, 200).await.unwrap();
        tasks.push(rest(handle.emitted::<u64>()));
    }
    for values in in_time(futures::future::join_all(tasks)).await {
        assert_eq!(values.len(), 200);
    }
}
