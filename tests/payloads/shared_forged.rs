//! A worker that lies about memory that it lends costs its own task at most.

#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Write;

use procpool::{ProcessPoolExecutor, SharedBytes, WorkerOutput};

use crate::common::{frame_pipe, in_time};

const LENT: u8 = 26;

/// As in memory of another process; numbers of postcard.
type Segment = (u32, i32, u64, u64);
type Name = (Segment, u64, u64);

/// Writes past its result that it lends memory.
fn forge(segment: Segment, count: usize, rest: Vec<u8>) -> SharedBytes {
    // Of a kind that it may be: to be read or to be taken.
    let memory: Vec<(Name, u8)> =
        (0..count).map(|n| ((segment, 7, 0), u8::try_from(n % 2).unwrap())).collect();
    let mut body = vec![LENT];
    body.extend(postcard::to_stdvec(&(segment, memory)).unwrap());
    body.extend(rest);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut pipe = OpenOptions::new().write(true).open(frame_pipe()).unwrap();
    pipe.write_all(&[&length[..], &body].concat()).unwrap();
    SharedBytes::copy_from_slice(b"true").unwrap()
}

/// As [`forge`], with memory of the worker's own that is no segment.
fn forge_own(fd: i32, count: usize) -> SharedBytes {
    forge((std::process::id(), fd, 0, 0), count, Vec::new())
}

fn garbage() -> SharedBytes {
    let pipe = OpenOptions::new().write(true).open(frame_pipe());
    pipe.unwrap().write_all(&[3, 0, 0, 0, LENT, 0xFF, 0xFF]).unwrap();
    SharedBytes::copy_from_slice(b"true").unwrap()
}

procpool::register!(forge, forge_own, garbage);

fn pool() -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    builder.worker_output(WorkerOutput::Null).build().unwrap()
}

#[tokio::test]
async fn names_of_what_is_no_shared_memory_are_passed_over() {
    let pool = pool();
    let own = std::process::id();
    for segment in [(own, 0, 0, 0), (0, 0, 0, 0), (u32::MAX, i32::MIN, u64::MAX, u64::MAX)] {
        let result = in_time(pool.run(forge, (segment, 100, Vec::new()))).await.unwrap();
        assert_eq!(result[..], *b"true");
    }
    for fd in -1..10 {
        assert_eq!(in_time(pool.run(forge_own, (fd, 10))).await.unwrap()[..], *b"true");
    }
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn a_frame_that_is_none_ends_the_worker() {
    let pool = pool();
    let error = in_time(pool.run(garbage, ())).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    assert_eq!(in_time(pool.run(forge_own, (0, 0))).await.unwrap()[..], *b"true");
}
