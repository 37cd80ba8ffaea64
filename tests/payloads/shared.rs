//! Memory that tasks share.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use futures::{StreamExt, TryStreamExt};
use procpool::{
    Process, ProcessPoolExecutor, SharedBytes, SharedSlice, SharedSliceMut, StartMethod,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::common::{Gate, exit_at_first_attempt, hold, in_time, wait_until};

/// Larger than a pipe, so that it would be noticed if it were sent.
const LEN: u32 = 1 << 20;

fn numbers() -> SharedSlice<u32> {
    let fill = |numbers: &mut [u32]| (0..).zip(numbers).for_each(|(n, number)| *number = n);
    SharedSlice::with_len(LEN as usize, fill).unwrap()
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

fn at(numbers: SharedSlice<u32>, place: u32) -> u32 {
    numbers[place as usize]
}

/// Values in a value.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    title: String,
    tables: Vec<SharedSlice<u32>>,
    picture: Option<SharedBytes>,
}

fn turn_around(mut report: Report) -> Report {
    report.tables.reverse();
    report
}

/// Makes memory of its own.
fn squares(count: u32) -> SharedSlice<u64> {
    let fill = |squares: &mut [u64]| (0..).zip(squares).for_each(|(n, square)| *square = n * n);
    SharedSlice::with_len(count as usize, fill).unwrap()
}

fn tail(numbers: SharedSlice<u64>, from: usize) -> SharedSlice<u64> {
    numbers.slice(from..)
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Particle {
    position: [f64; 3],
    charge: i32,
    kind: u32,
}

fn mirror(mut particles: SharedSliceMut<Particle>) -> SharedSlice<Particle> {
    for particle in particles.as_mut_slice() {
        *particle = Particle { charge: -particle.charge, ..*particle };
    }
    particles.freeze()
}

fn add(mut numbers: SharedSliceMut<u32>, summand: u32) -> SharedSliceMut<u32> {
    numbers.as_mut_slice().iter_mut().for_each(|number| *number += summand);
    numbers
}

fn panic_with(numbers: SharedSliceMut<u32>) -> u32 {
    panic!("with {numbers:?}")
}

fn hold_with(_: SharedBytes, port: u16) -> u32 {
    hold(port)
}

fn exit_with(_: SharedSliceMut<u32>) -> u32 {
    exit_at_first_attempt()
}

fn exit_with_shared(numbers: SharedSlice<u32>) -> u32 {
    exit_at_first_attempt() + numbers[7]
}

procpool::register!(
    at,
    turn_around,
    squares,
    tail,
    mirror,
    add,
    panic_with,
    hold_with,
    exit_with,
    exit_with_shared,
);

// ----- arguments -----

#[tokio::test]
async fn many_tasks_read_the_same_memory() {
    // Nothing that is larger is sent.
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_payload(1 << 10).build().unwrap();
    let numbers = numbers();
    let mut handles = Vec::new();
    for place in (0..LEN).step_by(LEN as usize / 16) {
        handles.push((place, pool.submit(at, (numbers.clone(), place)).await.unwrap()));
    }
    drop(numbers); // the tasks keep it
    for (place, handle) in handles {
        assert_eq!(in_time(handle).await.unwrap(), place);
    }
}

#[tokio::test]
async fn its_values_can_be_structures() {
    let particle = |n: i32| Particle { position: [n.into(), 0.5, -0.5], charge: n, kind: 7 };
    let particles = [1, -2, 3].map(particle);
    let sent = SharedSliceMut::copy_from_slice(&particles).unwrap();
    let received = in_time(pool_of(1).run(mirror, sent)).await.unwrap();
    let expected = particles.map(|particle| Particle { charge: -particle.charge, ..particle });
    assert_eq!(received[..], expected);
}

#[tokio::test]
async fn it_can_be_a_part_of_a_value() {
    let pool = pool_of(1);
    let numbers = numbers();
    let report = |tables| Report {
        title: "title".to_owned(),
        tables,
        picture: Some(SharedBytes::copy_from_slice(b"picture").unwrap()),
    };
    let sent = report(vec![numbers.clone(), numbers.slice(10..20)]);
    let received = in_time(pool.run(turn_around, sent)).await.unwrap();
    assert_eq!(received, report(vec![numbers.slice(10..20), numbers.clone()]));
    assert_eq!(received.tables[1].as_ptr(), numbers.as_ptr(), "it is open here already");
}

#[tokio::test]
async fn every_attempt_can_read_it() {
    let pool = pool_of(1);
    let task = pool.task(exit_with_shared, numbers()).retries(1);
    assert_eq!(in_time(task.run()).await.unwrap(), 2 + 7);
}

#[tokio::test]
async fn inputs_and_results_of_a_map_can_be_shared() {
    const ITEMS: u32 = 500;
    let pool = pool_of(2);
    for chunksize in [1, 50] {
        let made = pool.map(squares, 1..=ITEMS).chunksize(chunksize);
        let made: Vec<_> = in_time(made.try_collect()).await.unwrap();
        let lengths: Vec<_> = made.iter().map(|squares| squares.len()).collect();
        assert_eq!(lengths, (1..=ITEMS as usize).collect::<Vec<_>>());
        let inputs = made.into_iter().map(|squares| (squares, 0));
        let tails = pool.map(tail, inputs).chunksize(chunksize).unordered();
        let mut last: Vec<_> =
            in_time(tails.map(|tail| *tail.unwrap().last().unwrap()).collect()).await;
        last.sort_unstable();
        assert_eq!(last, (0..u64::from(ITEMS)).map(|n| n * n).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn workers_can_keep_it() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = ProcessPoolExecutor::builder()
            .max_workers(2)
            .start_method(method)
            .preload(keep_preloaded, numbers())
            .initializer(keep, SharedBytes::copy_from_slice(b"0123").unwrap())
            .build()
            .unwrap();
        let found: Vec<_> = in_time(pool.map(kept_at, 0..4_u32).try_collect()).await.unwrap();
        assert_eq!(found, [(0, b'0'), (1, b'1'), (2, b'2'), (3, b'3')]);
        let squares = in_time(pool.run(squares, 9)).await.unwrap();
        assert_eq!(in_time(pool.run(tail, (squares, 8))).await.unwrap()[..], [64]);
    }
}

fn keep_preloaded(numbers: SharedSlice<u32>) -> SharedSlice<u32> {
    numbers
}

fn keep(bytes: SharedBytes) -> SharedBytes {
    bytes
}

fn kept_at(place: u32) -> (u32, u8) {
    let numbers = procpool::preloaded::<SharedSlice<u32>>().unwrap();
    let bytes = procpool::state::<SharedBytes>().unwrap();
    (numbers[place as usize], bytes[place as usize])
}

procpool::register!(keep_preloaded, keep, kept_at);

#[tokio::test]
async fn the_worker_can_be_another_program() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"]);
    let pool = ProcessPoolExecutor::builder().max_workers(1).worker_command(command);
    let pool = pool.build().unwrap();
    assert_eq!(in_time(pool.run(at, (numbers(), 77))).await.unwrap(), 77);
    assert_eq!(in_time(pool.run(squares, 9)).await.unwrap().len(), 9);
}

#[tokio::test]
async fn processes_can_share_it() {
    let squares = in_time(Process::spawn(squares, 1000)).await.unwrap();
    let tail = in_time(Process::spawn(tail, (squares, 998))).await.unwrap();
    assert_eq!(tail[..], [998 * 998, 999 * 999]);
    let numbers = SharedSliceMut::copy_from_slice(&[1, 2]).unwrap();
    let numbers = in_time(Process::spawn(add, (numbers, 5))).await.unwrap();
    assert_eq!(numbers.freeze()[..], [6, 7]);
}

// ----- results -----

#[tokio::test]
async fn a_result_outlives_its_worker() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(1);
    let pool = pool.build().unwrap();
    let mut handles = Vec::new();
    for count in 1..30 {
        handles.push(pool.submit(squares, count).await.unwrap());
    }
    in_time(pool.shutdown()).await;
    for (count, handle) in (1..).zip(handles) {
        let squares = in_time(handle).await.unwrap();
        assert_eq!(
            (squares.len(), squares.last().copied()),
            (count, Some((count as u64 - 1).pow(2)))
        );
    }
}

#[tokio::test]
async fn a_result_can_be_passed_on_and_decoded_again() {
    let pool = pool_of(2);
    let handle = pool.submit(squares, 100).await.unwrap();
    let (seen, see) = tokio::sync::oneshot::channel();
    handle.add_done_callback(|squares| seen.send(squares.unwrap()[99]).unwrap());
    let squares = in_time(handle).await.unwrap();
    assert_eq!(in_time(see).await.unwrap(), 99 * 99);
    let half = in_time(pool.run(tail, (squares, 50))).await.unwrap();
    let quarter = in_time(pool.run(tail, (half, 25))).await.unwrap();
    assert_eq!((quarter.len(), quarter[0]), (25, 75 * 75));
}

#[tokio::test]
async fn the_result_of_an_exit_hook_can_be_shared() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).exit_hook(squares, 10);
    let pool = pool.build().unwrap();
    assert_eq!(in_time(pool.run(squares, 3)).await.unwrap()[..], [0, 1, 4]);
    let report = in_time(pool.shutdown()).await;
    let results = report.exit_results::<SharedSlice<u64>>().unwrap();
    assert_eq!(results[0].result.as_ref().unwrap()[9], 81);
}

/// A worker that has lent what the parent does not take: its runtime does nothing else meanwhile.
#[test]
fn a_worker_that_leaves_waits_for_its_parent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (handle, pool) = runtime.block_on(async {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1);
        let (pool, gate) = (pool.build().unwrap(), Gate::new().await);
        let handle = pool.submit(squares_at_gate, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        let (pid, began) = (held.pid, std::time::Instant::now());
        drop(held);
        // It has nothing to do any more but to leave.
        let is_lender = |name: String| name.starts_with("procpool-lender");
        let has_lent = || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let mut names =
                tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
            names.any(|name| name.is_ok_and(is_lender))
        };
        while !has_lent() || began.elapsed() < Duration::from_millis(100) {
            assert!(began.elapsed() < crate::common::LIMIT);
            std::thread::yield_now();
        }
        assert!(!crate::common::process_exited(pid));
        (handle, pool)
    });
    let squares = runtime.block_on(in_time(handle)).unwrap();
    assert_eq!(squares[2], 4);
    runtime.block_on(in_time(pool.shutdown()));
}

fn squares_at_gate(port: u16) -> SharedSlice<u64> {
    hold(port);
    squares(3)
}

procpool::register!(squares_at_gate);

// ----- values that can be changed -----

#[tokio::test]
async fn tasks_change_it_where_it_is() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_payload(1 << 10).build().unwrap();
    let mut numbers = SharedSliceMut::zeroed(LEN as usize).unwrap();
    for round in 1..=20 {
        numbers = in_time(pool.run(add, (numbers, 1))).await.unwrap();
        assert_eq!(numbers.as_mut_slice()[LEN as usize - 1], round);
    }
}

#[tokio::test]
async fn it_can_be_frozen_read_and_thawed() {
    let pool = pool_of(2);
    let mut numbers = SharedSliceMut::copy_from_slice(&[0_u32; 100]).unwrap();
    for round in 1..=20 {
        numbers.as_mut_slice().fill(round);
        let frozen = numbers.freeze();
        let reads = pool.map(at, (0..100).map(|place| (frozen.clone(), place)));
        let read: Vec<_> = in_time(reads.try_collect()).await.unwrap();
        assert_eq!(read, [round; 100]);
        numbers = thaw(frozen).await;
    }
}

/// It may have been copied for a moment by another test that starts a process.
async fn thaw<T: procpool::Plain>(frozen: SharedSlice<T>) -> SharedSliceMut<T> {
    let mut frozen = Some(frozen);
    let mut thawed = None;
    wait_until("it can be thawed", || {
        match frozen.take().unwrap().try_into_mut() {
            Ok(values) => thawed = Some(values),
            Err(values) => frozen = Some(values),
        }
        thawed.is_some()
    })
    .await;
    thawed.unwrap()
}

#[tokio::test]
async fn nobody_changes_it_while_a_task_has_it() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut bytes = SharedBytes::copy_from_slice(b"abc").unwrap();
    let handle = pool.submit(hold_with, (bytes.clone(), gate.port())).await.unwrap();
    for held in [None, Some(gate.arrival().await)] {
        bytes = bytes.try_into_mut().unwrap_err();
        drop(held);
    }
    in_time(handle).await.unwrap();
    assert_eq!(thaw(bytes).await.as_mut_slice(), b"abc");
}

#[tokio::test]
async fn a_worker_that_is_killed_leaves_no_lock_behind() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let bytes = SharedBytes::copy_from_slice(b"abc").unwrap();
    let handle = pool.submit(hold_with, (bytes.clone(), gate.port())).await.unwrap();
    let held = gate.arrival().await;
    let victim = rustix::process::Pid::from_raw(held.pid.cast_signed()).unwrap();
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
    assert!(in_time(handle).await.unwrap_err().is_worker_death());
    thaw(bytes).await;
}

#[tokio::test]
async fn a_second_attempt_does_not_get_it() {
    let pool = pool_of(1);
    let numbers = SharedSliceMut::zeroed(10).unwrap();
    let error = in_time(pool.task(exit_with, numbers).retries(3).run()).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains("passed on or changed"), "{error}");
    assert_eq!(pool.stats().worker_deaths, 1);
}

#[tokio::test]
async fn a_task_that_had_not_begun_still_has_it() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let holding = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let numbers = SharedSliceMut::copy_from_slice(&[1]).unwrap();
    let waiting = pool.submit(add, (numbers, 1)).await.unwrap();
    holding.abort();
    in_time(holding).await.unwrap_err();
    drop(held);
    assert_eq!(in_time(waiting).await.unwrap().freeze()[..], [2]);
}

#[tokio::test]
async fn it_goes_with_a_task_that_panics() {
    let pool = pool_of(1);
    let numbers = SharedSliceMut::zeroed(10).unwrap();
    let error = in_time(pool.run(panic_with, numbers)).await.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "with SharedSliceMut { len: 10, .. }");
}

#[tokio::test]
async fn a_result_that_can_be_changed_has_one_owner() {
    let pool = pool_of(1);
    let numbers = SharedSliceMut::copy_from_slice(&[1]).unwrap();
    let handle = pool.submit(add, (numbers, 1)).await.unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    handle.add_done_callback(|numbers| drop(sender.send(numbers.unwrap())));
    let error = in_time(handle).await.unwrap_err();
    assert!(error.is_codec(), "{error}");
    assert_eq!(in_time(receiver).await.unwrap().freeze()[..], [2]);
}

/// A server hands its locks down to the workers that it forks.
#[tokio::test]
async fn a_forked_worker_changes_nothing_that_its_siblings_have() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(1)
        .start_method(StartMethod::ForkServer)
        .preload(keep_both, (SharedSliceMut::zeroed(3).unwrap(), numbers()))
        .build()
        .unwrap();
    let error = in_time(pool.run(change_inherited, ())).await.unwrap_err();
    let panic = error.panic().unwrap().message();
    assert!(panic.contains("forked"), "{panic}");
    assert!(!in_time(pool.run(thaw_inherited, ())).await.unwrap());
}

type Both = std::sync::Mutex<(Option<SharedSliceMut<u32>>, Option<SharedSlice<u32>>)>;

fn keep_both(exclusive: SharedSliceMut<u32>, frozen: SharedSlice<u32>) -> Both {
    (Some(exclusive), Some(frozen)).into()
}

fn change_inherited() {
    let mut inherited = procpool::preloaded::<Both>().unwrap().lock().unwrap().0.take().unwrap();
    inherited.as_mut_slice()[0] = 1;
}

fn thaw_inherited() -> bool {
    let both = procpool::preloaded::<Both>().unwrap();
    let mut both = both.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    both.1.take().unwrap().try_into_mut().is_ok()
}

procpool::register!(keep_both, change_inherited, thaw_inherited);

// ----- what cannot be -----

#[tokio::test]
async fn a_size_that_is_forbidden_is_an_error() {
    let pool = pool_of(1);
    let text = in_time(pool.run(exceed_file_size, ())).await.unwrap();
    assert!(text.contains("too large"), "{text}");
}

/// The system sends a signal to who exceeds it, which would be the end of this worker.
fn exceed_file_size() -> String {
    let limit = Rlimit { current: Some(1 << 20), ..getrlimit(Resource::Fsize) };
    setrlimit(Resource::Fsize, limit).unwrap();
    SharedSlice::<u8>::with_len(1 << 19, |_| ()).unwrap();
    SharedSlice::<u8>::with_len(1 << 20, |_| ()).unwrap_err().to_string()
}

#[tokio::test]
async fn it_is_not_serialized_to_a_file_not_even_in_a_task() {
    let text = serde_json::to_string(&numbers()).unwrap_err().to_string();
    assert!(text.contains("only as an argument or a result"), "{text}");
    assert_eq!(in_time(pool_of(1).run(to_json, numbers())).await.unwrap(), text);
}

fn to_json(numbers: SharedSlice<u32>) -> String {
    serde_json::to_string(&numbers).unwrap_err().to_string()
}

procpool::register!(exceed_file_size, to_json);
