//! Limits on the memory of workers.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::future::join_all;
use procpool::{Builder, ProcessPoolExecutor};
use serde_bytes::ByteBuf;

use crate::common::{in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note_line};

const MEGABYTE: usize = 1 << 20;
/// Far more than an idle worker takes.
const LIMIT: u64 = 64 << 20;
/// More than the limit by itself.
const BLOCK: usize = 80 * MEGABYTE;

/// Memory that is in use, not only promised.
fn block(bytes: usize) -> Vec<u8> {
    vec![1; bytes]
}

fn leak(bytes: usize) -> u32 {
    std::mem::forget(block(bytes));
    std::process::id()
}

/// Takes much memory and frees it before it ends.
fn use_and_free(bytes: usize) -> u32 {
    drop(std::hint::black_box(block(bytes)));
    std::process::id()
}

/// Notes that it ran where, and whether it leaked; then does so.
fn note_and_leak(path: String, number: u32, bytes: usize) -> u32 {
    note_line(&path, &format!("{} {number} {bytes}", std::process::id()));
    leak(bytes);
    number
}

fn produce(bytes: usize) -> ByteBuf {
    ByteBuf::from(block(bytes))
}

fn length(bytes: ByteBuf) -> usize {
    bytes.len()
}

fn allocate(bytes: usize) -> usize {
    std::hint::black_box(Vec::<u8>::with_capacity(bytes)).capacity()
}

fn try_to_allocate(bytes: usize) -> bool {
    std::hint::black_box(&mut Vec::<u8>::new()).try_reserve(bytes).is_ok()
}

/// The limit that a program sees which a task has started, in kilobytes.
fn limit_of_child() -> String {
    let shell = std::process::Command::new("sh").args(["-c", "ulimit -d"]).output().unwrap();
    String::from_utf8(shell.stdout).unwrap()
}

procpool::register!(
    leak,
    use_and_free,
    note_and_leak,
    produce,
    length,
    allocate,
    try_to_allocate,
    limit_of_child
);

fn builder(workers: usize) -> Builder {
    // A backtrace would come after the last words of a worker that cannot allocate.
    ProcessPoolExecutor::builder().max_workers(workers).env("RUST_BACKTRACE", "0")
}

#[tokio::test]
async fn a_worker_that_has_grown_too_large_is_replaced_after_its_task() {
    // scenario 45
    let pool = builder(1).max_memory_per_child(LIMIT).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(in_time(pool.run(leak, BLOCK)).await.unwrap(), first, "its result is delivered");
    let second = in_time(pool.run(pid, ())).await.unwrap();
    assert_ne!(second, first);
    wait_until("the first one has ended", || process_gone(first)).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn small_leaks_add_up() {
    // scenario 45
    let pool = builder(1).max_memory_per_child(LIMIT).build().unwrap();
    let mut ran = Vec::new();
    for _ in 0..12 {
        ran.push(in_time(pool.run(leak, 10 * MEGABYTE)).await.unwrap());
    }
    ran.dedup();
    assert!((2..=4).contains(&ran.len()), "{ran:?}");
}

#[tokio::test]
async fn a_worker_under_the_limit_is_kept() {
    // scenario 45
    let pool = builder(1).max_memory_per_child(LIMIT).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    for _ in 0..3 {
        assert_eq!(in_time(pool.run(leak, MEGABYTE)).await.unwrap(), first);
        let freed = in_time(pool.run(use_and_free, BLOCK)).await.unwrap();
        assert_eq!(freed, first, "it frees what it takes");
    }
}

#[tokio::test]
async fn large_arguments_and_results_are_not_what_a_task_leaves_behind() {
    let pool = builder(1).max_memory_per_child(LIMIT).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(in_time(pool.run(length, ByteBuf::from(block(BLOCK)))).await.unwrap(), BLOCK);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first);
    assert_eq!(in_time(pool.run(produce, BLOCK)).await.unwrap().len(), BLOCK);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first);
}

#[tokio::test]
async fn no_task_is_lost_or_begins_in_a_worker_that_is_too_large() {
    // scenario 45
    const TASKS: u32 = 600;
    let (pool, journal) = (builder(2).max_memory_per_child(LIMIT).build().unwrap(), Journal::new());
    let submitted = (0..TASKS).map(|number| {
        let bytes = if number % 100 == 50 { BLOCK } else { 0 };
        pool.submit(note_and_leak, (journal.path(), number, bytes))
    });
    for (number, handle) in (0..).zip(join_all(submitted).await) {
        assert_eq!(in_time(handle.unwrap()).await.unwrap(), number);
    }
    each_ran_in_a_worker_that_was_not_too_large(&journal, TASKS);
    assert_eq!(pool.stats().worker_deaths, 0);
}

fn each_ran_in_a_worker_that_was_not_too_large(journal: &Journal, tasks: u32) {
    let (mut ran, mut last) = (Vec::new(), BTreeMap::new());
    for line in journal.lines() {
        let words: Vec<usize> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [worker, number, bytes] = words[..] else { unreachable!() };
        let before = last.insert(worker, bytes);
        assert!(before.unwrap_or_default() == 0, "{line} came after it was too large");
        ran.push(u32::try_from(number).unwrap());
    }
    ran.sort_unstable();
    assert_eq!(ran, (0..tasks).collect::<Vec<_>>());
}

#[tokio::test]
async fn no_chunk_is_lost_or_begins_in_a_worker_that_is_too_large() {
    // scenario 45
    const ITEMS: u32 = 600;
    let (pool, journal) = (builder(2).max_memory_per_child(LIMIT).build().unwrap(), Journal::new());
    let inputs = (0..ITEMS).map(|number| {
        let bytes = if number % 100 == 50 { BLOCK } else { 0 };
        (journal.path(), number, bytes)
    });
    let results: Vec<_> = in_time(pool.map(note_and_leak, inputs).chunksize(1).collect()).await;
    for (number, result) in (0..).zip(results) {
        assert_eq!(result.unwrap(), number);
    }
    each_ran_in_a_worker_that_was_not_too_large(&journal, ITEMS);
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_worker_that_its_first_chunk_makes_too_large_has_not_lied() {
    // scenario 45
    let pool = builder(2).max_memory_per_child(1).build().unwrap();
    let results: Vec<_> = in_time(pool.map(leak, [1; 30]).chunksize(3).collect()).await;
    assert!(results.len() == 30 && results.iter().all(Result::is_ok));
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn every_task_is_run_even_if_each_makes_its_worker_too_large() {
    let pool = builder(2).max_memory_per_child(1).build().unwrap();
    let submitted = join_all((0..30).map(|_| pool.submit(pid, ()))).await;
    let results = join_all(submitted.into_iter().map(Result::unwrap));
    let ran: BTreeSet<u32> = in_time(results).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ran.len(), 30, "each in a worker of its own");
}

#[tokio::test]
async fn a_task_that_needs_more_than_the_hard_limit_dies_and_says_why() {
    let pool = builder(1).hard_memory_limit(256 << 20).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(pool.run(allocate, 512 * MEGABYTE)).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!((death.pid(), death.signal()), (first, Some(libc::SIGABRT)), "{error}");
    let said = "memory allocation of 536870912 bytes failed";
    assert!(death.stderr_tail().contains(said), "{error}");
    // The pool goes on, and the limit is that of each worker.
    let second = in_time(pool.run(pid, ())).await.unwrap();
    assert_ne!(second, first);
    let error = in_time(pool.run(leak, 300 * MEGABYTE)).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
}

#[tokio::test]
async fn a_task_within_the_hard_limit_is_left_alone() {
    let pool = builder(1).hard_memory_limit(256 << 20).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    for _ in 0..3 {
        assert_eq!(in_time(pool.run(use_and_free, BLOCK)).await.unwrap(), first);
    }
    let fits = in_time(pool.run(try_to_allocate, 512 * MEGABYTE)).await.unwrap();
    assert!(!fits, "it may find out without dying");
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first);
}

#[tokio::test]
async fn what_a_task_starts_inherits_the_hard_limit() {
    let pool = builder(1).hard_memory_limit(256 << 20).build().unwrap();
    let limit = in_time(pool.run(limit_of_child, ())).await.unwrap();
    assert_eq!(limit.trim(), (256 << 10).to_string());
}

#[tokio::test]
async fn a_hard_limit_below_what_the_initializer_needs_breaks_the_pool() {
    let builder = builder(1).hard_memory_limit(LIMIT).initializer(leak, BLOCK);
    let pool = builder.build().unwrap();
    let error = in_time(pool.ready()).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    assert!(error.to_string().contains("memory allocation of 83886080 bytes failed"), "{error}");
}

#[tokio::test]
async fn both_limits_go_together() {
    let builder = builder(1).max_memory_per_child(LIMIT).hard_memory_limit(256 << 20);
    let pool = builder.build().unwrap();
    let first = in_time(pool.run(leak, BLOCK)).await.unwrap();
    let error = in_time(pool.run(allocate, 512 * MEGABYTE)).await.unwrap_err();
    assert_ne!(error.worker_death().unwrap().pid(), first);
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), first);
}
