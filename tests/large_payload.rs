//! Payloads of many megabytes. A binary of its own: what is measured is memory of the whole
//! process, so the tests take turns.

#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use procpool::{ProcessPoolExecutor, TaskHandle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_bytes::ByteBuf;
use tokio::sync::Mutex;

use common::{Gate, LIMIT, frame_pipe, hold, in_time, wait_until};

procpool::test_support!();

const MEGABYTE: usize = 1 << 20;

static TURN: Mutex<()> = Mutex::const_new(());

const BLOCK: usize = 4096;

/// A block of bytes that tells where it stands.
fn block(index: usize) -> [u8; BLOCK] {
    let mut block = [index.to_le_bytes()[0]; BLOCK];
    block[..8].copy_from_slice(&index.to_le_bytes());
    block
}

fn pattern(length: usize) -> ByteBuf {
    let mut bytes = Vec::with_capacity(length);
    for index in 0..length.div_ceil(BLOCK) {
        let rest = length - bytes.len();
        bytes.extend_from_slice(&block(index)[..rest.min(BLOCK)]);
    }
    ByteBuf::from(bytes)
}

fn is_pattern(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).enumerate().all(|(index, chunk)| block(index).starts_with(chunk))
}

fn checked(bytes: ByteBuf) -> ByteBuf {
    assert!(is_pattern(&bytes));
    bytes
}

fn produce(length: usize) -> ByteBuf {
    pattern(length)
}

/// Produces something once it is let go.
fn produce_later(length: usize, port: u16) -> ByteBuf {
    hold(port);
    produce(length)
}

procpool::register!(checked, produce, produce_later, frame_pipe);

/// A line of `/proc/self/status`, in bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Makes `VmHWM` the present size.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[tokio::test]
async fn a_hundred_megabytes_go_there_and_back_without_several_copies() {
    // scenario 21
    const SIZE: usize = 100 * MEGABYTE;
    let _turn = TURN.lock().await;
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let argument = pattern(SIZE);
    reset_peak();
    let before = memory("VmRSS"); // the argument is in it
    let result = in_time(pool.run(checked, argument)).await.unwrap();
    let growth = memory("VmHWM").saturating_sub(before);
    assert!(result.len() == SIZE && is_pattern(&result));
    // Of the four copies that this process may hold at a time, one was there before.
    assert!(growth < 3 * SIZE, "grew by {} MB", growth / MEGABYTE);
}

#[tokio::test]
async fn many_payloads_of_a_megabyte_in_parallel() {
    // scenario 21
    let _turn = TURN.lock().await;
    let pool = ProcessPoolExecutor::builder().max_workers(3).build().unwrap();
    let runs = (0..64).map(|index| {
        let length = MEGABYTE + index;
        let run = pool.run(checked, pattern(length));
        async move {
            let result = run.await.unwrap();
            assert!(result.len() == length && is_pattern(&result));
        }
    });
    in_time(futures::future::join_all(runs)).await;
}

#[tokio::test]
async fn memory_of_dropped_results_is_freed_while_the_pool_lives() {
    // scenario 18
    const SIZE: usize = 50 * MEGABYTE;
    let _turn = TURN.lock().await;
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    drop(in_time(pool.run(produce, SIZE)).await.unwrap());
    let before = memory("VmRSS");
    for _ in 0..5 {
        drop(in_time(pool.run(produce, SIZE)).await.unwrap());
    }
    // A result that nobody awaits is freed with its handle.
    for _ in 0..5 {
        let handle = pool.submit(produce, SIZE).await.unwrap();
        wait_until("the task is over", || handle.is_finished()).await;
        drop(handle);
    }
    let growth = memory("VmRSS").saturating_sub(before);
    assert!(growth < 2 * SIZE, "grew by {} MB", growth / MEGABYTE);
}

/// Of ten payloads at a time: less than in the scenario, as unoptimized code is slow to encode, but
/// so much that the allocator gives each back to the system.
const SHARE: usize = 40 * MEGABYTE;

/// Waits until the memory that ten payloads took is free again, but for what one may leave. That of
/// the process's own: what it shares with workers is kept, and is bounded.
async fn memory_returns(before: usize) {
    wait_until("memory returns", || memory("RssAnon") < before + 2 * SHARE).await;
}

#[tokio::test]
async fn memory_of_large_arguments_returns_when_they_are_cancelled() {
    // scenario 63, for memory of the process's own
    let _turn = TURN.lock().await;
    let (pool, gate) = (
        ProcessPoolExecutor::builder().max_workers(2).shared_memory(0).build().unwrap(),
        Gate::new().await,
    );
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    let held = [gate.arrival().await, gate.arrival().await];
    let before = memory("RssAnon");
    let mut handles = Vec::new();
    for _ in 0..10 {
        handles.push(pool.submit(checked, pattern(SHARE)).await.unwrap());
    }
    assert!(memory("RssAnon") > before + 9 * SHARE, "they are there");
    assert!(handles.iter().all(TaskHandle::cancel));
    memory_returns(before).await; // while the handles live
    for handle in handles {
        assert!(in_time(handle).await.unwrap_err().is_cancelled());
    }
    drop(held);
    for handle in running {
        in_time(handle).await.unwrap();
    }
}

#[tokio::test]
async fn memory_of_large_payloads_returns_when_they_are_aborted_on_their_way() {
    // scenario 63
    let _turn = TURN.lock().await;
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().unwrap();
    in_time(pool.run(checked, pattern(BLOCK))).await.unwrap();
    let before = memory("RssAnon");
    for round in 0..4 {
        let mut handles = Vec::new();
        for number in 0..10 {
            handles.push(match number % 2 {
                0 => pool.submit(checked, pattern(SHARE)).await.unwrap(),
                _ => pool.submit(produce, SHARE).await.unwrap(),
            });
        }
        // Some are on their way to a worker, or back.
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 1 {
            let _ = in_time(&mut handles[0]).await;
        }
        handles.iter().for_each(TaskHandle::abort);
        for handle in handles {
            match in_time(handle).await {
                Ok(result) => assert!(result.len() == SHARE && is_pattern(&result)),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
    }
    memory_returns(before).await;
    // For arguments, and for the results of each of two workers half of that.
    assert!(memory("RssShmem") < 2 * (256 << 20) + SHARE);
    assert_eq!(in_time(pool.run(produce, BLOCK)).await.unwrap().len(), BLOCK);
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_of_its_reply_has_not_replied() {
    /// More than any pipe takes, so it cannot be written while nobody reads.
    const SIZE: usize = 64 * MEGABYTE;
    let _turn = TURN.lock().await;
    let gate = Gate::new().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).shared_memory(0);
    let pool = builder.build().unwrap();
    for (retries, turns) in [(0, 0), (0, 2), (1, 0), (1, 2)] {
        let pipe = in_time(pool.run(frame_pipe, ())).await.unwrap();
        let task = pool.task(produce_later, (SIZE, gate.port())).retries(retries);
        let mut handle = task.submit().await.unwrap();
        let behind = pool.submit(produce, MEGABYTE).await.unwrap();
        let held = gate.arrival().await;
        let pid = held.pid;
        let pipe = format!("/proc/{pid}/{}", pipe.strip_prefix("/proc/self").unwrap().display());
        drop(held);
        // The only thread that reads what the worker writes is this one.
        wait_for_bytes(&pipe);
        for _ in 0..turns {
            tokio::task::yield_now().await;
            wait_for_bytes(&pipe);
        }
        assert!(!handle.is_finished());
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        if retries == 0 {
            let error = in_time(&mut handle).await.map(drop).unwrap_err();
            let death = error.worker_death().unwrap();
            assert_eq!((death.pid(), death.signal()), (pid, Some(9)), "{error}");
        } else {
            drop(gate.arrival().await);
            let produced = in_time(&mut handle).await.unwrap();
            assert!(produced.len() == SIZE && is_pattern(&produced));
        }
        assert!(is_pattern(&in_time(behind).await.unwrap()));
    }
    assert_eq!(pool.stats().worker_deaths, 4);
}

/// Blocks until something is in a pipe, whose reading end nobody here reads meanwhile.
fn wait_for_bytes(pipe: &str) {
    let non_blocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let end = OpenOptions::new().read(true).custom_flags(non_blocking).open(pipe).unwrap();
    let limit = Timespec::try_from(LIMIT).unwrap();
    let count = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(count, 1, "nothing was written within {LIMIT:?}");
}
