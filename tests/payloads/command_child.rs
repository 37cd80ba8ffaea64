//! Workers that are not the process that their pool has started, but a child of that.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

use std::fs::{File, read_dir, read_link, read_to_string};
use std::os::fd::AsRawFd;
use std::process::Command;

use futures::StreamExt;
use procpool::{Builder, ProcessPoolExecutor, SharedBytes, SharedBytesMut};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{in_time, pid};

const LENGTH: usize = 2 << 20;

/// The inodes of the shared memory that this process has mapped.
fn segments() -> Vec<u64> {
    let maps = read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().filter(|line| line.contains("/memfd:procpool"));
    lines.map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect()
}

/// How many pieces of shared memory this process has open.
fn descriptors() -> usize {
    let links = read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|entry| read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().contains("memfd:procpool")).count()
}

fn segments_with(value: Vec<u8>) -> (Vec<u64>, Vec<u8>) {
    (segments(), value)
}

fn share(value: Vec<u8>) -> SharedBytes {
    value.try_into().unwrap()
}

fn change(mut value: SharedBytesMut) -> SharedBytesMut {
    value.as_mut_slice()[0] += 1;
    value
}

fn set_descriptors(most: Option<u64>) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most.or(maximum), maximum }).unwrap();
}

fn leave_no_descriptors() {
    let lowest = File::open("/dev/null").unwrap();
    set_descriptors(Some(u64::try_from(lowest.as_raw_fd()).unwrap()));
}

fn share_after_all(value: Vec<u8>) -> SharedBytes {
    set_descriptors(None);
    share(value)
}

fn share_number(number: u8) -> SharedBytes {
    share(vec![number])
}

procpool::register!(
    descriptors,
    segments_with,
    share,
    change,
    leave_no_descriptors,
    share_after_all,
    share_number,
);

/// A pool whose worker is the child of a shell.
fn builder() -> Builder {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$PROGRAM\" \"$@\"; exit $?", "sh"]);
    command.args(["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"]);
    command.env("PROGRAM", std::env::current_exe().unwrap());
    ProcessPoolExecutor::builder().max_workers(1).worker_command(command)
}

#[tokio::test]
async fn large_payloads_go_through_memory() {
    let pool = builder().build().unwrap();
    let known = in_time(pool.run(pid, ())).await.unwrap();
    assert_ne!(pool.workers()[0].pid, known, "it is the child of a shell");
    let mut last = Vec::new();
    for _ in 0..3 {
        let (segments, value) = in_time(pool.run(segments_with, vec![7; LENGTH])).await.unwrap();
        assert!(value == vec![7; LENGTH]);
        last = segments;
    }
    // The page for claims, one for arguments, one for results; and each of them both have.
    let here = segments();
    assert_eq!(last.iter().filter(|inode| here.contains(inode)).count(), 3, "{last:?} {here:?}");
}

#[tokio::test]
async fn results_may_name_shared_memory() {
    let pool = builder().build().unwrap();
    let before = in_time(pool.run(descriptors, ())).await.unwrap();
    let shared = in_time(pool.run(share, vec![7; 100])).await.unwrap();
    assert_eq!(*shared, [7; 100]);
    let mut value = SharedBytesMut::zeroed(10).unwrap();
    for turn in 1..=3 {
        value = in_time(pool.run(change, value)).await.unwrap();
        assert_eq!(value.as_mut_slice()[0], turn);
    }
    // All that is left there is where the parent has counted what it has opened.
    while in_time(pool.run(descriptors, ())).await.unwrap() > before + 1 {}
}

#[tokio::test]
async fn a_worker_that_cannot_say_who_it_is_says_that_it_cannot_share() {
    let builder = builder().initializer(leave_no_descriptors, ());
    let pool = builder.build().unwrap();
    let error = in_time(pool.run(share_after_all, vec![7; 100])).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains("it is not the process that its parent has"), "{error}");
    let shared = pool.map(share_number, 0..5).chunksize(5).collect::<Vec<_>>();
    for result in in_time(shared).await {
        assert!(result.unwrap_err().is_codec());
    }
    for _ in 0..3 {
        let (_, value) = in_time(pool.run(segments_with, vec![7; LENGTH])).await.unwrap();
        assert!(value == vec![7; LENGTH]);
    }
    assert_eq!(in_time(pool.run(descriptors, ())).await.unwrap(), 0, "nothing is lent or offered");
    assert_eq!(pool.stats().worker_starts, 1);
}
