//! Payloads that travel through memory that the processes share.
//!
//! A binary of its own: descriptors and mappings of the whole process are counted, so the tests
//! take turns.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

mod common;

use std::sync::Mutex as StdMutex;
use std::time::Instant;

use bytes::Bytes;
use futures::TryStreamExt;
use procpool::{ProcessPoolExecutor, SharedBytes, TaskHandle};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{Mutex, MutexGuard};

use common::{Gate, LIMIT, fill, hold, in_time, wait_until};

procpool::test_support!();

const KILOBYTE: usize = 1 << 10;
const MEGABYTE: usize = 1 << 20;

static TURN: Mutex<()> = Mutex::const_new(());

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    values: Vec<f64>,
    counts: Option<Vec<u32>>,
    parts: Vec<Vec<u8>>,
    raw: ByteBuf,
    shared: Bytes,
}

fn echo_bytes(value: Bytes) -> Bytes {
    value
}

fn echo_vec(value: Vec<u8>) -> Vec<u8> {
    value
}

fn echo_text(value: String) -> String {
    value
}

fn echo_record(value: Record, number: u32) -> (u32, Record) {
    (number, value)
}

/// How many segments this process has mapped; the page for claims is one more file.
fn segments() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let segments = maps.lines().filter(|line| line.contains("/memfd:procpool"));
    segments.count().saturating_sub(1)
}

/// Takes and returns something large.
fn segments_with(value: Bytes) -> (usize, Bytes) {
    (segments(), value)
}

fn pid_with(value: Bytes) -> (u32, Bytes) {
    (std::process::id(), value)
}

static KEPT: StdMutex<Vec<Bytes>> = StdMutex::new(Vec::new());

fn keep(value: Bytes) -> usize {
    let mut kept = KEPT.lock().unwrap();
    kept.push(value);
    kept.len()
}

/// Whether each of the kept ones consists of its number.
fn kept_are_unchanged() -> bool {
    let kept = KEPT.lock().unwrap();
    (0..).zip(kept.iter()).all(|(number, value)| value.iter().all(|byte| *byte == number))
}

fn die_at_first(value: Vec<u8>) -> Vec<u8> {
    if procpool::current().attempt() == 1 {
        std::process::abort();
    }
    value
}

/// Takes and returns something large that names memory: each becomes the other.
fn swap(large: Vec<u8>, named: SharedBytes) -> (Vec<u8>, SharedBytes) {
    (named.to_vec(), large.try_into().unwrap())
}

fn swap_at_second(large: Vec<u8>, named: SharedBytes) -> (Vec<u8>, SharedBytes) {
    swap(die_at_first(large), named)
}

fn hold_with(value: Bytes, port: u16) -> usize {
    hold(port);
    value.len()
}

fn panic_with(value: Vec<u8>) -> Vec<u8> {
    panic!("{} bytes", value.len())
}

fn leave() {
    std::process::abort()
}

procpool::register!(
    echo_bytes,
    echo_vec,
    echo_text,
    echo_record,
    segments_with,
    pid_with,
    keep,
    kept_are_unchanged,
    die_at_first,
    swap,
    swap_at_second,
    hold_with,
    panic_with,
    leave,
);

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index ^ index >> 8 ^ index >> 16).to_le_bytes()[0]).collect()
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// How many segments this process has open.
fn descriptors() -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().contains("memfd:procpool")).count()
}

/// Waits until no other test has anything shared: its runtime may end a moment after it.
async fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().await;
    wait_until("the last test is over", || descriptors() == 0).await;
    turn
}

#[tokio::test]
async fn values_of_all_sizes_and_types_come_back() {
    let _turn = turn().await;
    let pool = pool(2);
    let edge = 128 * KILOBYTE;
    let mut lengths = vec![0, 1, 1000, edge - 9, edge - 4, edge - 3, edge - 2, edge, edge + 1];
    lengths.extend([256 * KILOBYTE, MEGABYTE - 1, 3 * MEGABYTE + 7, 20 * MEGABYTE]);
    for length in lengths {
        let value = bytes(length);
        for round in 0..3 {
            let (shared, text) = (Bytes::from(value.clone()), "€".repeat(length / 3));
            assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
            assert!(in_time(pool.run(echo_bytes, shared.clone())).await.unwrap() == shared);
            assert!(in_time(pool.run(echo_text, text.clone())).await.unwrap() == text);
            let record = Record {
                name: text,
                values: value.iter().map(|byte| f64::from(*byte) / 3.0).collect(),
                counts: (length % 2 == 0)
                    .then(|| value.iter().map(|byte| (*byte).into()).collect()),
                parts: vec![value.clone(), Vec::new(), value[..length / 2].to_vec()],
                raw: ByteBuf::from(value.clone()),
                shared,
            };
            let echoed = in_time(pool.run(echo_record, (record.clone(), round))).await.unwrap();
            assert!(echoed == (round, record), "{length} bytes in round {round}");
        }
    }
}

#[tokio::test]
async fn the_same_memory_is_used_again_and_again() {
    let _turn = turn().await;
    let pool = pool(1);
    let value = Bytes::from(bytes(2 * MEGABYTE));
    let mut most = 0;
    for _ in 0..50 {
        let (segments, echoed) = in_time(pool.run(segments_with, value.clone())).await.unwrap();
        assert!(echoed == value);
        most = most.max(segments);
        assert!(descriptors() <= 2, "one for arguments, one for results: {}", descriptors());
    }
    assert_eq!(most, 2);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_pool_is_over() {
    let _turn = turn().await;
    let pool = pool(2);
    let value = Bytes::from(bytes(MEGABYTE));
    let runs = (0..20).map(|_| pool.run(echo_bytes, value.clone()));
    for echoed in in_time(futures::future::join_all(runs)).await {
        assert!(echoed.unwrap() == value);
    }
    assert!(descriptors() > 0);
    in_time(pool.shutdown()).await;
    // The last payloads may be on their way to be dropped.
    wait_until("descriptors are closed", || descriptors() == 0).await;
    wait_until("memory is unmapped", || segments() == 0).await;
}

#[tokio::test]
async fn what_is_not_needed_any_more_is_given_back() {
    let _turn = turn().await;
    let (pool, gate) = (pool(2), Gate::new().await);
    let value = bytes(4 * MEGABYTE);
    for _ in 0..2 {
        for _ in 0..3 {
            let runs = (0..4).map(|_| pool.run(echo_vec, value.clone()));
            for echoed in in_time(futures::future::join_all(runs)).await {
                assert!(echoed.unwrap() == value);
            }
        }
        assert!(descriptors() > 2);
        // One worker has something to do, the other one sleeps, or does the same.
        let held = fill(&pool, &gate, 1).await.remove(0);
        wait_until_with("memory is given back", &pool, || descriptors() == 0).await;
        let sleeping = memory_of(held.pid);
        assert!(sleeping < MEGABYTE, "{sleeping} bytes are left in the worker");
        drop(held);
    }
}

/// As [`wait_until`], with small tasks on their way.
async fn wait_until_with(
    what: &str,
    pool: &ProcessPoolExecutor,
    mut condition: impl FnMut() -> bool,
) {
    let began = Instant::now();
    while !condition() {
        in_time(pool.run(echo_vec, vec![1])).await.unwrap();
        assert!(began.elapsed() < LIMIT, "waited in vain until {what}");
    }
}

/// How much shared memory a process has in use, in bytes.
fn memory_of(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut sum, mut is_shared) = (0, false);
    for line in maps.lines() {
        match line.strip_prefix("Rss:") {
            Some(size) if is_shared => {
                let size = size.trim().trim_end_matches(" kB");
                sum += size.parse::<usize>().unwrap() * KILOBYTE;
            }
            // The line that a mapping begins with has addresses before the first space.
            None if line.split(' ').next().is_some_and(|word| word.contains('-')) => {
                is_shared = line.contains("/memfd:procpool");
            }
            _ => {}
        }
    }
    sum
}

#[tokio::test]
async fn it_can_be_turned_off() {
    let _turn = turn().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).shared_memory(0);
    let pool = builder.build().unwrap();
    let value = Bytes::from(bytes(2 * MEGABYTE));
    for _ in 0..3 {
        let (segments, echoed) = in_time(pool.run(segments_with, value.clone())).await.unwrap();
        assert!(echoed == value && segments == 0 && descriptors() == 0);
    }
}

#[tokio::test]
async fn what_finds_no_room_goes_through_the_pipe() {
    let _turn = turn().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).shared_memory(4 * MEGABYTE);
    let pool = builder.build().unwrap();
    for length in [MEGABYTE, 3 * MEGABYTE, 5 * MEGABYTE, MEGABYTE] {
        let value = bytes(length);
        let mut handles = Vec::new();
        for _ in 0..8 {
            handles.push(pool.submit(echo_vec, value.clone()).await.unwrap());
        }
        // None of the results is taken away before the last one is there.
        in_time(handles.last_mut().unwrap()).await.unwrap();
        for handle in handles {
            assert!(in_time(handle).await.unwrap() == value);
        }
    }
}

#[tokio::test]
async fn more_tasks_can_be_on_their_way_than_there_are_segments() {
    let _turn = turn().await;
    let pool = pool(2);
    let mut handles = Vec::new();
    for number in 0..100 {
        let value = vec![number; 200 * KILOBYTE];
        handles.push((value.clone(), pool.submit(echo_vec, value).await.unwrap()));
    }
    for (value, handle) in handles {
        assert!(in_time(handle).await.unwrap() == value);
    }
}

#[tokio::test]
async fn a_worker_that_dies_with_a_segment_costs_its_task_only() {
    let _turn = turn().await;
    let pool = pool(1);
    let value = bytes(2 * MEGABYTE);
    for _ in 0..3 {
        let retried = pool.task(die_at_first, value.clone()).retries(1).run();
        assert!(in_time(retried).await.unwrap() == value);
        let error = in_time(pool.run(die_at_first, value.clone())).await.unwrap_err();
        assert!(error.is_worker_death(), "{error}");
        let error = in_time(pool.run(panic_with, value.clone())).await.unwrap_err();
        assert!(error.is_panic(), "{error}");
    }
    assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
}

#[tokio::test]
async fn nothing_is_left_of_what_a_killed_worker_had() {
    let _turn = turn().await;
    let (pool, gate) = (pool(1), Gate::new().await);
    let value = bytes(2 * MEGABYTE);
    for _ in 0..3 {
        // Both ways are in use.
        for _ in 0..2 {
            assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
        }
        let retried = pool.task(hold_with, (value.clone().into(), gate.port())).retries(1);
        let handle = retried.submit().await.unwrap();
        let held = gate.arrival().await;
        let pid = Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        drop(gate.arrival().await); // the other attempt goes on
        assert_eq!(in_time(handle).await.unwrap(), value.len());
        // That of the dead one may be kept for arguments, but nothing for its results.
        wait_until("the rest is closed", || descriptors() <= 1).await;
    }
    in_time(pool.shutdown()).await;
    wait_until("nothing is left", || descriptors() == 0 && segments() == 0).await;
}

#[tokio::test]
async fn a_result_outlives_its_worker() {
    let _turn = turn().await;
    let pool = pool(1);
    let value = bytes(2 * MEGABYTE);
    for _ in 0..3 {
        assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
        assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
        let handle = pool.submit(echo_vec, value.clone()).await.unwrap();
        assert!(in_time(pool.run(leave, ())).await.unwrap_err().is_worker_death());
        assert!(handle.is_finished());
        assert!(in_time(handle).await.unwrap() == value);
    }
}

#[tokio::test]
async fn results_of_workers_that_have_gone_take_no_descriptors() {
    let _turn = turn().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(3);
    let pool = builder.build().unwrap();
    let value = bytes(MEGABYTE);
    let mut handles = Vec::new();
    for _ in 0..12 {
        handles.push(pool.submit(echo_vec, value.clone()).await.unwrap());
    }
    in_time(pool.shutdown()).await;
    wait_until("descriptors are closed", || descriptors() == 0).await;
    for handle in handles {
        assert!(in_time(handle).await.unwrap() == value);
    }
}

#[tokio::test]
async fn a_result_can_be_awaited_twice() {
    let _turn = turn().await;
    let pool = pool(1);
    let value = bytes(2 * MEGABYTE);
    for _ in 0..3 {
        let mut handle = pool.submit(echo_vec, value.clone()).await.unwrap();
        assert!(in_time(&mut handle).await.unwrap() == value);
        assert!(in_time(pool.run(echo_vec, vec![1; 2 * MEGABYTE])).await.is_ok());
        assert!(in_time(&mut handle).await.unwrap() == value);
    }
}

#[tokio::test]
async fn bytes_that_a_worker_keeps_do_not_change() {
    let _turn = turn().await;
    let pool = pool(1);
    for number in 0..12 {
        let value = Bytes::from(vec![number; MEGABYTE]);
        let kept = in_time(pool.run(keep, value)).await.unwrap();
        assert_eq!(kept, usize::from(number) + 1);
        assert!(in_time(pool.run(kept_are_unchanged, ())).await.unwrap());
    }
    for _ in 0..5 {
        in_time(pool.run(echo_vec, vec![99; MEGABYTE])).await.unwrap();
    }
    assert!(in_time(pool.run(kept_are_unchanged, ())).await.unwrap());
}

/// The arguments of a swap.
fn large_and_named() -> (Vec<u8>, SharedBytes) {
    (bytes(2 * MEGABYTE), vec![7; MEGABYTE].try_into().unwrap())
}

fn assert_swapped((large, named): &(Vec<u8>, SharedBytes)) {
    assert!(*large == vec![7; MEGABYTE] && **named == bytes(2 * MEGABYTE));
}

#[tokio::test]
async fn what_is_large_can_name_memory() {
    let _turn = turn().await;
    let pool = pool(1);
    for _ in 0..4 {
        assert_swapped(&in_time(pool.run(swap, large_and_named())).await.unwrap());
        let retried = pool.task(swap_at_second, large_and_named()).retries(1).run();
        assert_swapped(&in_time(retried).await.unwrap());
    }
    for chunksize in [1, 2] {
        let swapped = pool.map(swap, (0..6).map(|_| large_and_named())).chunksize(chunksize);
        let swapped: Vec<_> = in_time(swapped.try_collect()).await.unwrap();
        swapped.iter().for_each(assert_swapped);
    }
    in_time(pool.shutdown()).await;
    wait_until("nothing is left", || descriptors() == 0 && segments() == 0).await;
}

#[tokio::test]
async fn what_a_large_result_names_outlives_its_worker() {
    let _turn = turn().await;
    let pool = pool(1);
    let mut handles = Vec::new();
    for _ in 0..3 {
        // The second one of each worker is in a segment.
        for _ in 0..2 {
            handles.push(pool.submit(swap, large_and_named()).await.unwrap());
        }
        assert!(in_time(pool.run(leave, ())).await.unwrap_err().is_worker_death());
    }
    for mut handle in handles {
        for _ in 0..2 {
            assert_swapped(&in_time(&mut handle).await.unwrap());
        }
    }
}

#[tokio::test]
async fn cancelled_tasks_give_their_memory_back() {
    let _turn = turn().await;
    let (pool, gate) = (pool(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let mut most = 0;
    for _ in 0..5 {
        let mut handles = Vec::new();
        for _ in 0..5 {
            handles.push(pool.submit(echo_vec, vec![1; MEGABYTE]).await.unwrap());
        }
        assert!(handles.iter().all(TaskHandle::cancel));
        most = most.max(descriptors());
        for handle in handles {
            assert!(in_time(handle).await.unwrap_err().is_cancelled());
        }
        // Frames that are in the pipe have been given back, too, when the supervisor has heard of
        // it.
        wait_until("nothing is queued", || pool.stats().waiting == 0).await;
    }
    assert!(most <= 10, "{most}");
    drop(held);
    in_time(running).await.unwrap();
    let value = bytes(MEGABYTE);
    assert!(in_time(pool.run(echo_vec, value.clone())).await.unwrap() == value);
}

#[tokio::test]
async fn shared_memory_is_not_held_against_a_worker() {
    const SIZE: usize = 64 * MEGABYTE;
    let _turn = turn().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).shared_memory(8 * SIZE);
    let pool = builder.max_memory_per_child(96 << 20).build().unwrap();
    let value = Bytes::from(bytes(SIZE));
    // The first result goes through the pipe, from memory of its own.
    let mut pids = Vec::new();
    for _ in 0..5 {
        let (pid, echoed) = in_time(pool.run(pid_with, value.clone())).await.unwrap();
        assert!(echoed == value);
        pids.push(pid);
    }
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}
