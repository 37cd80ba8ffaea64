//! Shared memory is gone when nobody has it any more.
//!
//! A binary of its own: what its process has open is counted, so there is one test.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod common;

use futures::StreamExt;
use procpool::{Process, ProcessPoolExecutor, SharedBytes, SharedBytesMut};
use serde::{Deserialize, Serialize};

use common::{Gate, hold, in_time, wait_until};

procpool::test_support!();

/// How many shared values this process has: descriptors and mappings of those with more than a
/// page. The smaller ones are the pool's own.
fn open_here() -> (usize, usize) {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    let sizes = fds.filter_map(|fd| {
        let path = fd.unwrap().path();
        let is_memory = std::fs::read_link(&path).ok()?.starts_with("/memfd:procpool (deleted)");
        is_memory.then(|| std::fs::metadata(&path).ok())?
    });
    let fds = sizes.filter(|found| found.len() > LEN as u64).count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let maps = maps.lines().filter(|line| line.contains("/memfd:procpool") && length(line) > LEN);
    (fds, maps.count())
}

/// Of a mapping.
fn length(line: &str) -> usize {
    let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
    let address = |text| usize::from_str_radix(text, 16).unwrap();
    address(end) - address(start)
}

/// More than any page that the pool shares with a worker.
const LEN: usize = 10 << 20;

fn bytes() -> SharedBytes {
    SharedBytes::with_len(LEN, |bytes| bytes[0] = 7).unwrap()
}

fn count_with(_: Vec<SharedBytes>) -> (usize, usize) {
    open_here()
}

fn count() -> (usize, usize) {
    open_here()
}

fn make(_: u32) -> SharedBytes {
    bytes()
}

fn change(mut bytes: SharedBytesMut) -> SharedBytesMut {
    bytes.as_mut_slice()[1] += 1;
    bytes
}

fn refuse(_: SharedBytesMut) {
    panic!("it is dropped");
}

fn hold_with(_: SharedBytes, port: u16) -> u32 {
    hold(port)
}

#[derive(Debug, Serialize)]
struct Unsendable(SharedBytes, #[serde(serialize_with = "fail")] String);

impl<'de> Deserialize<'de> for Unsendable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it is never sent"))
    }
}

fn fail<S: serde::Serializer>(_: &str, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("it cannot be sent"))
}

fn take_unsendable(_: Unsendable) {}

fn make_unsendable() -> Unsendable {
    Unsendable(bytes(), String::new())
}

procpool::register!(
    count_with,
    count,
    make,
    change,
    refuse,
    hold_with,
    take_unsendable,
    make_unsendable,
);

/// What a worker has lent it lets go when it has seen that it was taken, which may be after its
/// next task. And results that nobody wants may still be on their way.
async fn nothing_is_left(pool: &ProcessPoolExecutor) {
    wait_until("nothing is open here", || open_here() == (0, 0)).await;
    let began = std::time::Instant::now();
    while in_time(pool.run(count, ())).await.unwrap() != (0, 0) {
        assert!(began.elapsed() < common::LIMIT);
    }
}

#[tokio::test]
async fn no_memory_outlives_its_last_handle() {
    let (gate, builder) = (Gate::new().await, ProcessPoolExecutor::builder().max_workers(1));
    let pool = builder.worker_output(procpool::WorkerOutput::Null).build().unwrap();

    // Parts and clones are the same memory; a worker has it as long as the task.
    let whole = bytes();
    let parts = vec![whole.clone(), whole.slice(5..), bytes()];
    assert_eq!(open_here(), (2, 2));
    assert_eq!(in_time(pool.run(count_with, parts)).await.unwrap(), (2, 2));
    assert_eq!(open_here(), (1, 1), "the second one went with its task");
    assert_eq!(in_time(pool.run(count, ())).await.unwrap(), (0, 0));
    drop(whole);
    nothing_is_left(&pool).await;

    // Results: awaited, never awaited, of a map whose end nobody waits for.
    let made = in_time(pool.run(make, 0)).await.unwrap();
    assert_eq!((made[0], open_here()), (7, (1, 1)));
    drop(made);
    drop(pool.submit(make, 0).await.unwrap());
    nothing_is_left(&pool).await;
    let mut map = pool.map(make, 0..20).chunksize(4);
    assert_eq!(in_time(map.next()).await.unwrap().unwrap()[0], 7);
    drop(map);
    nothing_is_left(&pool).await;

    // What is moved.
    let moved = SharedBytesMut::zeroed(LEN).unwrap();
    let mut moved = in_time(pool.run(change, moved)).await.unwrap();
    assert_eq!((moved.as_mut_slice()[1], open_here()), (1, (1, 1)));
    assert!(in_time(pool.run(refuse, moved)).await.unwrap_err().is_panic());
    nothing_is_left(&pool).await;

    // What is not sent at all.
    let error =
        in_time(pool.run(take_unsendable, Unsendable(bytes(), String::new()))).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(in_time(pool.run(make_unsendable, ())).await.unwrap_err().is_codec());
    nothing_is_left(&pool).await;

    // Tasks that are cancelled before they begin, or end with their worker.
    let running = pool.submit(hold_with, (bytes(), gate.port())).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(hold_with, (bytes(), gate.port())).await.unwrap();
    assert_eq!(open_here(), (2, 2));
    assert!(waiting.cancel());
    assert!(in_time(waiting).await.unwrap_err().is_cancelled());
    running.abort();
    in_time(running).await.unwrap_err();
    drop(held);
    nothing_is_left(&pool).await;

    // Processes.
    let made = in_time(Process::spawn(make, 0)).await.unwrap();
    assert_eq!(in_time(Process::spawn(count_with, vec![made])).await.unwrap(), (1, 1));
    wait_until("what the process had is gone", || open_here() == (0, 0)).await;
    in_time(pool.shutdown()).await;
}
