//! Workers of which tasks emit: how they come to be, what they may do, and how they end.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use procpool::{ProcessPoolExecutor, StartMethod, WorkerOutput, current};

use crate::common::{frame_pipe, in_time, pid, process_gone, wait_until};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];
const EMIT: u8 = 32;

fn pool_with(method: StartMethod) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    builder.worker_output(WorkerOutput::Null).build().unwrap()
}

fn count(below: u64) -> u64 {
    (0..below).map(|n| u64::from(current().emit(n).unwrap())).sum()
}

/// Writes frames past the product, as only a hostile task can: so many values, of a task with this
/// name, or of its own.
fn forge(values: usize, task: Option<u8>) {
    let task = task.unwrap_or_else(|| u8::try_from(current().id().get()).unwrap());
    let name = b"u64";
    let header = [&[EMIT, task, 1, 3][..], name].concat();
    let body = [&header[..], &[7]].concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let frames = [&length[..], &body].concat().repeat(values);
    let mut pipe = OpenOptions::new().write(true).open(frame_pipe()).unwrap();
    pipe.write_all(&frames).unwrap();
    std::thread::sleep(Duration::from_secs(60)); // it is ended before
}

/// Comes back twice, and both emit.
#[allow(unsafe_code)]
fn count_in_a_copy(below: u64) -> u64 {
    // SAFETY: the process has no lock that another thread would hold.
    let copy = unsafe { libc::fork() };
    let taken = count(below);
    if copy == 0 {
        std::process::exit(3); // not reached
    }
    taken
}

fn count_for_ever() {
    while current().emit(0_u64).unwrap() {}
}

procpool::register!(count, forge, count_in_a_copy, count_for_ever);

#[tokio::test]
async fn workers_of_all_start_methods_emit() {
    for method in METHODS {
        let pool = pool_with(method);
        let handle = pool.submit(count, 5_000).await.unwrap();
        let others: Vec<_> = (0..100).map(|_| pool.try_submit(pid, ()).unwrap()).collect();
        let values: Vec<_> = in_time(handle.emitted::<u64>().try_collect()).await.unwrap();
        assert_eq!(values, (0..5_000).collect::<Vec<_>>());
        assert_eq!(in_time(handle).await.unwrap(), 5_000);
        for other in others {
            in_time(other).await.unwrap();
        }
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn a_worker_that_emits_more_than_it_may_is_ended() {
    let pool = pool_with(StartMethod::Spawn);
    let handle = pool.submit(forge, (16, None)).await.unwrap();
    let mut stream = handle.emitted::<u64>();
    for _ in 0..8 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 7);
    }
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled(), "it has done nothing wrong");
    let handle = pool.submit(forge, (1_000, None)).await.unwrap();
    let mut stream = handle.emitted::<u64>();
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 7);
    assert!(in_time(stream.collect::<Vec<_>>()).await.len() < 1_000);
    let error = in_time(handle).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    in_time(pool.run(pid, ())).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_emits_in_the_name_of_others_or_of_nobody_is_ended() {
    for (values, task) in [(1, Some(99)), (40, None)] {
        let pool = pool_with(StartMethod::Spawn);
        let error = in_time(pool.run(forge, (values, task))).await.unwrap_err();
        assert!(error.is_worker_death(), "{error}");
        in_time(pool.run(pid, ())).await.unwrap();
    }
}

#[tokio::test]
async fn a_copy_of_a_worker_emits_nothing() {
    for method in METHODS {
        let pool = pool_with(method);
        for below in [1, 10, 100] {
            let handle = pool.submit(count_in_a_copy, below).await.unwrap();
            let values: Vec<_> = in_time(handle.emitted::<u64>().try_collect()).await.unwrap();
            assert_eq!(values, (0..below).collect::<Vec<_>>());
            assert_eq!(in_time(handle).await.unwrap(), below);
        }
        assert_eq!(pool.stats().worker_starts, 1);
    }
}

#[test]
fn a_worker_that_waits_for_a_reader_goes_with_its_runtime() {
    for method in METHODS {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (pool, handle, worker) = runtime.block_on(async {
            let pool = pool_with(method);
            let handle = pool.submit(count_for_ever, ()).await.unwrap();
            let mut stream = handle.emitted::<u64>();
            in_time(stream.next()).await.unwrap().unwrap();
            std::mem::forget(stream); // nobody reads it
            let worker = pool.workers()[0].pid;
            (pool, handle, worker)
        });
        drop(runtime);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(wait_until("it is gone", || process_gone(worker)));
        assert!(runtime.block_on(in_time(handle)).is_err());
        drop(pool);
    }
}
