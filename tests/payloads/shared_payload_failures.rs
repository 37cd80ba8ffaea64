//! Payloads for which there is no shared memory go through the pipe, and whoever dies or lies with
//! a hand on such memory costs no more than a task.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::TryStreamExt;
use procpool::{Builder, ProcessPoolExecutor, WorkerOutput};
use rustix::process::{Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::set_thread_res_uid;

use crate::common::{Gate, frame_pipe, hold, in_time};

const LENGTH: usize = 2 << 20;

fn builder() -> Builder {
    ProcessPoolExecutor::builder().max_workers(1).worker_output(WorkerOutput::Null)
}

fn value() -> Vec<u8> {
    (0..LENGTH).map(|index| (index ^ index >> 8).to_le_bytes()[0]).collect()
}

/// How many pieces of shared memory are mapped here for payloads. The page for claims is one more
/// file.
fn segments() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let segments = maps.lines().filter(|line| line.contains("/memfd:procpool"));
    segments.count().saturating_sub(1)
}

fn echo(value: Vec<u8>) -> Vec<u8> {
    value
}

fn segments_with(value: Vec<u8>) -> (usize, Vec<u8>) {
    (segments(), value)
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// How often this was called before in this worker.
fn count(value: Vec<u8>) -> (usize, Vec<u8>) {
    (COUNT.fetch_add(1, Ordering::Relaxed), value)
}

fn square(root: u64) -> u64 {
    root * root
}

fn set(resource: Resource, most: u64) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(most), maximum }).unwrap();
}

fn limit_files() {
    set(Resource::Fsize, 1 << 20);
}

fn limit_address_space() {
    set(Resource::As, 64 << 30);
}

/// Leaves room for so many.
fn limit_descriptors(room: u64) {
    let lowest = File::open("/dev/null").unwrap();
    set(Resource::Nofile, u64::try_from(lowest.as_raw_fd()).unwrap() + room);
}

fn become_another_user() {
    let nobody = Uid::from_raw(65534);
    let _ = set_thread_res_uid(nobody, nobody, nobody); // or this is not root
}

procpool::register!(
    echo,
    segments_with,
    count,
    square,
    limit_files,
    limit_address_space,
    limit_descriptors,
    become_another_user,
);

// ----- limits -----

/// Says how much shared memory the worker had for the last of a few payloads.
async fn segments_of(builder: Builder) -> usize {
    let pool = builder.build().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let (segments, echoed) = in_time(pool.run(segments_with, value())).await.unwrap();
        assert!(echoed == value());
        last = segments;
    }
    assert_eq!(pool.stats().worker_starts, 1);
    last
}

#[tokio::test]
async fn without_limits_both_ways_have_memory() {
    assert_eq!(segments_of(builder()).await, 2);
}

#[tokio::test]
async fn a_worker_that_may_not_make_large_files_has_none_for_results() {
    assert_eq!(segments_of(builder().initializer(limit_files, ())).await, 1);
}

#[tokio::test]
async fn a_worker_with_little_address_space_has_none_for_arguments() {
    assert_eq!(segments_of(builder().initializer(limit_address_space, ())).await, 1);
}

/// How many workers were started for a few payloads.
async fn starts_of(builder: Builder) -> u64 {
    let pool = builder.build().unwrap();
    for _ in 0..3 {
        assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
    }
    pool.stats().worker_starts
}

#[tokio::test]
async fn a_worker_without_room_for_descriptors_has_none() {
    assert_eq!(starts_of(builder().initializer(limit_descriptors, 0)).await, 1);
}

#[tokio::test]
async fn a_worker_that_cannot_open_its_arguments_has_them_by_the_pipe() {
    // There is room for one descriptor, which is enough to find that something can be opened.
    assert_eq!(starts_of(builder().initializer(limit_descriptors, 1)).await, 1);
}

#[tokio::test]
async fn what_cannot_be_opened_comes_again_in_its_order() {
    let pool = builder().build().unwrap();
    // To a worker whose tasks are quick the next ones are sent ahead.
    for _ in 0..100 {
        in_time(pool.run(echo, vec![1])).await.unwrap();
    }
    let limited = pool.submit(limit_descriptors, 0).await.unwrap();
    let mut handles = Vec::new();
    for number in 0..20 {
        let length = if number % 3 == 2 { LENGTH / 8 } else { 1 };
        let counted = pool.submit(count, vec![number; length]).await.unwrap();
        handles.push((number, length, counted));
    }
    let squares = pool.map(square, 0..100).chunksize(5).try_collect();
    let squares: Vec<_> = in_time(squares).await.unwrap();
    assert!(squares.into_iter().eq((0..100).map(|root| root * root)));
    in_time(limited).await.unwrap();
    for (place, (number, length, counted)) in (0..).zip(handles) {
        let (before, value) = in_time(counted).await.unwrap();
        assert_eq!((before, value.len(), value[0]), (place, length, number));
    }
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn a_worker_that_cannot_open_its_arguments_is_no_matter_to_others() {
    let (pool, gate) = (builder().max_workers(2).build().unwrap(), Gate::new().await);
    let mut held = Vec::new();
    for key in ["spoiled", "other"] {
        drop(pool.task(hold, gate.port()).sticky(key).submit().await.unwrap());
        held.push(gate.arrival().await);
    }
    drop(held);
    in_time(pool.task(limit_descriptors, 0).sticky("spoiled").run()).await.unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let spoiled = pool.task(echo, value()).sticky("spoiled").run();
        assert!(in_time(spoiled).await.unwrap() == value());
        let other = pool.task(segments_with, value()).sticky("other").run();
        let (segments, echoed) = in_time(other).await.unwrap();
        assert!(echoed == value());
        last = segments;
    }
    assert_eq!(last, 2);
    assert_eq!(pool.stats().worker_starts, 2);
}

#[tokio::test]
async fn what_was_taken_back_with_its_memory_costs_no_worker() {
    let (pool, gate) = (builder().shared_memory(4 << 20).build().unwrap(), Gate::new().await);
    for _ in 0..20 {
        // To a worker whose tasks are quick the next one is sent ahead.
        for _ in 0..20 {
            in_time(pool.run(echo, vec![1])).await.unwrap();
        }
        let holding = pool.submit(hold, gate.port()).await.unwrap();
        let ahead = pool.submit(echo, value()).await.unwrap();
        let held = gate.arrival().await;
        assert!(ahead.cancel());
        // Not before the memory of that one was given up there is room for this.
        let larger = pool.submit(echo, vec![7; 3 << 20]).await.unwrap();
        drop(held);
        in_time(holding).await.unwrap();
        assert!(in_time(larger).await.unwrap() == vec![7; 3 << 20]);
    }
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_worker_of_another_user_has_none_for_arguments() {
    if !rustix::process::geteuid().is_root() {
        return; // nobody can become another user
    }
    assert!(segments_of(builder().initializer(become_another_user, ())).await <= 1);
}

#[tokio::test]
async fn a_task_that_leaves_no_room_for_descriptors_does_no_harm() {
    let pool = builder().build().unwrap();
    in_time(pool.run(limit_descriptors, 0)).await.unwrap();
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
    assert_eq!(pool.stats().worker_starts, 1);
}

// ----- lies -----

const REPLY: u8 = 27;
const OFFER: u8 = 28;
const CANNOT_OPEN: u8 = 29;

/// What a worker says that it shares: process, descriptor, length, inode; numbers of postcard.
type Name = (u32, i32, u64, u64);

/// Writes a frame past the result.
#[expect(unsafe_code, reason = "no safe function does what this task does")]
fn close_standard_streams() {
    for fd in 0..3 {
        // SAFETY: this breaks whoever owns the descriptor, which is what the test is about; it is
        // no memory error.
        unsafe { libc::close(fd) };
    }
}

/// It is called with memory that it shares with its parent.
fn print_and_echo(value: Bytes) -> Bytes {
    let line = "out of place ".repeat(1000);
    for _ in 0..10 {
        println!("{line}");
        eprintln!("{line}");
    }
    value
}

procpool::register!(close_standard_streams, print_and_echo);

#[tokio::test]
async fn nothing_is_printed_into_memory_that_came_after_the_standard_streams_were_closed() {
    let pool = builder().build().unwrap();
    in_time(pool.run(close_standard_streams, ())).await.unwrap();
    for _ in 0..3 {
        let echoed = in_time(pool.run(print_and_echo, Bytes::from(value()))).await.unwrap();
        assert!(echoed == value());
    }
    assert_eq!(pool.stats().worker_starts, 1);
}

fn say(kind: u8, body: &[u8]) {
    let length = u32::try_from(1 + body.len()).unwrap().to_le_bytes();
    let mut pipe = OpenOptions::new().write(true).open(frame_pipe()).unwrap();
    pipe.write_all(&[&length[..], &[kind], body].concat()).unwrap();
}

fn offer(name: Name) -> u32 {
    let instead_of: Option<u64> = None;
    say(OFFER, &postcard::to_stdvec(&(77_u64, name, instead_of)).unwrap());
    1
}

/// As [`offer`], with something of the worker's own that is no memory.
fn offer_own(fd: i32, length: u64) -> u32 {
    offer((std::process::id(), fd, length, 0))
}

/// Says that the result is in a place that the parent does not know.
fn reply_elsewhere(segment: u64) -> u32 {
    let task = procpool::current().id().get();
    let (run_time, outcome) = ([0; 8], 0_u8);
    say(REPLY, &postcard::to_stdvec(&(run_time, task, outcome, segment, 1_u64)).unwrap());
    1
}

/// So often says that the next arguments cannot be opened.
fn complain(times: usize) {
    for _ in 0..times {
        say(CANNOT_OPEN, &[]);
    }
}

procpool::register!(offer, offer_own, reply_elsewhere, complain);

#[tokio::test]
async fn who_complains_for_no_reason_has_its_arguments_by_the_pipe() {
    let pool = builder().build().unwrap();
    in_time(pool.run(complain, 1)).await.unwrap();
    for _ in 0..3 {
        let (segments, echoed) = in_time(pool.run(segments_with, value())).await.unwrap();
        assert!(echoed == value() && segments <= 1);
    }
    assert_eq!(pool.stats().worker_starts, 1);
    let error = in_time(pool.run(complain, 1)).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
}

#[tokio::test]
async fn what_is_no_memory_is_not_taken() {
    let pool = builder().build().unwrap();
    for fd in -1..10 {
        assert_eq!(in_time(pool.run(offer_own, (fd, 4096))).await.unwrap(), 1);
    }
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn a_worker_of_which_nothing_can_be_opened_offers_nothing_more() {
    let pool = builder().build().unwrap();
    assert_eq!(in_time(pool.run(offer_own, (-1, 4096))).await.unwrap(), 1);
    for _ in 0..4 {
        let (segments, echoed) = in_time(pool.run(segments_with, value())).await.unwrap();
        assert!(echoed == value());
        assert_eq!(segments, 1, "only that of the arguments");
    }
}

#[tokio::test]
async fn what_is_not_its_own_is_not_taken() {
    let pool = builder().build().unwrap();
    let parent = std::process::id();
    for name in [(0, 0, 0, 0), (parent, 0, 4096, 0)] {
        assert_eq!(in_time(pool.run(offer, name)).await.unwrap(), 1);
    }
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn who_offers_what_it_must_not_is_ended() {
    let pool = builder().build().unwrap();
    let name = (u32::MAX, i32::MIN, u64::MAX, u64::MAX);
    let error = in_time(pool.run(offer, name)).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    let error = in_time(pool.run(offer_own, (0, u64::MAX))).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
}

#[tokio::test]
async fn who_tells_of_results_that_are_nowhere_is_ended() {
    let pool = builder().build().unwrap();
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
    for segment in [0, 7, u64::MAX] {
        let error = in_time(pool.run(reply_elsewhere, segment)).await.unwrap_err();
        assert!(error.is_worker_death(), "{error}");
    }
    assert!(in_time(pool.run(echo, value())).await.unwrap() == value());
}
