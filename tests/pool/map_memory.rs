//! What a map holds for a reader who takes his time.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::Cell;
use std::rc::Rc;

use futures::{Stream, StreamExt};
use procpool::{ProcessPoolExecutor, TaskError};
use serde_bytes::ByteBuf;

use crate::common::{in_time, pid, wait_until};
use crate::journal::{Journal, note_line};

const WORKERS: usize = 2;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// What is documented, without one result for each worker and one that began before it was known.
const BUDGET: usize = 16 * MIB;

/// Notes how large its result is.
fn make(path: String, size: usize) -> ByteBuf {
    note_line(&path, &size.to_string());
    ByteBuf::from(vec![7; size])
}

fn length(value: ByteBuf) -> usize {
    value.len()
}

procpool::register!(make, length);

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(WORKERS).build().unwrap()
}

/// Waits until the pool has done all that it will do until somebody reads on.
async fn idle(pool: &ProcessPoolExecutor) {
    in_time(pool.run(pid, ())).await.unwrap(); // behind all that waits and is not held back
    wait_until("the pool is idle", || pool.stats().running == 0).await;
}

fn sum(journal: &Journal) -> usize {
    journal.numbers().into_iter().map(|size| size as usize).sum()
}

/// Reads all results, and looks several times how much was made and not read.
async fn read_slowly(
    pool: &ProcessPoolExecutor,
    journal: &Journal,
    sizes: &[usize],
    mut results: impl Stream<Item = Result<ByteBuf, TaskError>> + Unpin,
) {
    let largest = sizes.iter().max().unwrap();
    let (mut read, mut most) = (0, 0);
    for number in 0..sizes.len() {
        read += in_time(results.next()).await.unwrap().unwrap().len();
        let is_edge = number > 0 && sizes[number] / 4 > sizes[number - 1];
        if number % (sizes.len() / 8) == 0 || is_edge {
            idle(pool).await;
            most = most.max(sum(journal) - read);
        }
    }
    assert!(results.next().await.is_none());
    assert_eq!((read, journal.lines().len()), (sizes.iter().sum(), sizes.len()));
    let bound = BUDGET + 2 * WORKERS * largest;
    println!("{} KiB held at most, {} KiB are the bound", most / KIB, bound / KIB);
    assert!(most <= bound, "{most} bytes are held, with results of up to {largest}");
}

async fn check_results(sizes: Vec<usize>) {
    for is_ordered in [true, false] {
        let (pool, journal) = (pool(), Journal::new());
        let inputs = sizes.clone().into_iter().map(|size| (journal.path(), size));
        let results = pool.map(make, inputs.collect::<Vec<_>>());
        if is_ordered {
            read_slowly(&pool, &journal, &sizes, results).await;
        } else {
            read_slowly(&pool, &journal, &sizes, results.unordered()).await;
        }
    }
}

#[tokio::test]
async fn large_results_wait_for_their_reader() {
    check_results(vec![2 * MIB; 100]).await;
}

#[tokio::test]
async fn results_that_become_large_wait_for_their_reader() {
    let small = std::iter::repeat_n(10, 2_000);
    check_results(small.chain(std::iter::repeat_n(4 * MIB, 60)).collect()).await;
}

#[tokio::test]
async fn results_that_become_small_flow_again() {
    let large = std::iter::repeat_n(4 * MIB, 24);
    check_results(large.chain(std::iter::repeat_n(100, 4_000)).collect()).await;
}

#[tokio::test]
async fn results_of_mixed_sizes_wait_for_their_reader() {
    let size = |number: usize| if number % 7 == 3 { MIB } else { number % 300 };
    check_results((0..600).map(size).collect()).await;
}

#[tokio::test]
async fn results_of_the_chunks_of_a_user_wait_for_their_reader() {
    let (pool, journal, sizes) = (pool(), Journal::new(), [MIB; 160]);
    let inputs: Vec<_> = sizes.iter().map(|size| (journal.path(), *size)).collect();
    read_slowly(&pool, &journal, &sizes, pool.map(make, inputs).chunksize(20)).await;
}

#[tokio::test]
async fn arguments_are_taken_as_far_as_they_fit() {
    let becomes_large = |number| if number < 1_000 { 10 } else { 2 * MIB };
    let mixed = |number| if number % 11 == 5 { 3 * MIB } else { 1 };
    let sizes: [&dyn Fn(usize) -> usize; 3] = [&|_| MIB, &becomes_large, &mixed];
    for (size, count) in sizes.into_iter().zip([100, 1_060, 300]) {
        let pool = pool();
        let (taken, largest) = (Rc::new(Cell::new(0)), (0..count).map(size).max().unwrap());
        let all = Rc::clone(&taken);
        let inputs = (0..count).map(move |number| {
            all.set(all.get() + size(number));
            ByteBuf::from(vec![7; size(number)])
        });
        let (mut results, mut done, mut most) = (pool.map(length, inputs), 0, 0);
        while let Some(result) = in_time(results.next()).await {
            done += result.unwrap();
            most = most.max(taken.get() - done);
        }
        assert!(most <= BUDGET + WORKERS * largest, "{most} bytes, each up to {largest}");
    }
}

#[tokio::test]
async fn whoever_sets_a_buffersize_has_it_whatever_results_take() {
    let (pool, journal) = (pool(), Journal::new());
    let mut results = pool.map(make, vec![(journal.path(), MIB); 60]).buffersize(40);
    in_time(results.next()).await.unwrap().unwrap();
    idle(&pool).await;
    assert!(journal.lines().len() >= 40);
}

#[tokio::test]
async fn what_is_held_back_is_run_when_the_pool_is_shut_down() {
    let (pool, journal) = (pool(), Journal::new());
    let mut results = pool.map(make, vec![(journal.path(), 2 * MIB); 60]);
    in_time(results.next()).await.unwrap().unwrap();
    idle(&pool).await;
    assert!(journal.lines().len() < 20);
    in_time(pool.shutdown()).await;
    while let Some(result) = in_time(results.next()).await {
        result.unwrap();
    }
    assert_eq!(journal.lines().len(), 60);
}

#[tokio::test]
async fn what_is_held_back_can_be_cancelled() {
    let (pool, journal) = (pool(), Journal::new());
    let mut results = pool.map(make, vec![(journal.path(), 2 * MIB); 60]);
    in_time(results.next()).await.unwrap().unwrap();
    idle(&pool).await;
    drop(results);
    wait_until("nothing waits", || pool.stats().waiting == 0).await;
    let (ran, stats) = (journal.lines().len() as u64, pool.stats());
    assert_eq!(stats.cancelled, 60 - ran, "{stats:?}");
}
