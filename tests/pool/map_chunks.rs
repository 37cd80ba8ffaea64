//! What happens to one item of a chunk is nobody else's business.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use procpool::{ProcessPoolExecutor, Shutdown, TaskError, TaskId, WorkerOutput};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{Gate, LIMIT, hold, in_time, process_gone, process_stopped, wait_until};
use crate::journal::{Journal, note};

/// What an item does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Deed {
    #[default]
    Return,
    Panic,
    Exit,
    Abort,
    Kill,
    Hold(u16),
    /// Arrives at a gate, and ends when it is asked to.
    Look(u16),
}

/// Notes its number, so that it can be seen how often it ran, and does something.
fn act(path: String, number: u32, deed: Deed) -> u32 {
    note(path, number);
    match deed {
        Deed::Return => {}
        Deed::Panic => panic!("item {number} panics"),
        Deed::Exit => std::process::exit(3),
        Deed::Abort => std::process::abort(),
        Deed::Kill => kill_process(getpid(), Signal::KILL).unwrap(),
        Deed::Hold(port) => drop(hold(port)),
        Deed::Look(port) => look(port),
    }
    number
}

fn look(port: u16) {
    let current = procpool::current();
    current.is_cancelled(); // from now on it is known to look
    std::thread::spawn(move || hold(port));
    while !current.is_cancelled() {
        std::thread::yield_now();
    }
}

procpool::register!(act);

fn pool(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    builder.worker_output(WorkerOutput::Null).build().unwrap()
}

/// The inputs `0..count`, of which those at the given places do something.
fn inputs(journal: &Journal, count: u32, deeds: &[(u32, Deed)]) -> Vec<(String, u32, Deed)> {
    let deed = |n| deeds.iter().find(|(at, _)| *at == n).map(|(_, deed)| *deed);
    (0..count).map(|n| (journal.path(), n, deed(n).unwrap_or_default())).collect()
}

fn each_ran_once(journal: &Journal, count: u32) {
    let counts = journal.counts();
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    assert!(counts.values().all(|times| *times == 1), "{counts:?}");
}

type Results = Vec<Result<u32, TaskError>>;

#[tokio::test]
async fn an_item_that_panics_fails_alone() {
    // scenario 7
    let (pool, journal) = (pool(2), Journal::new());
    let items = inputs(&journal, 40, &[(0, Deed::Panic), (13, Deed::Panic), (39, Deed::Panic)]);
    let results: Results = in_time(pool.map(act, items).chunksize(40).collect()).await;
    for (n, result) in (0..).zip(results) {
        if [0, 13, 39].contains(&n) {
            let error = result.unwrap_err();
            assert_eq!(error.panic().unwrap().message(), format!("item {n} panics"));
            assert!(error.panic().unwrap().location().unwrap().contains("map_chunks.rs"));
        } else {
            assert_eq!(result.unwrap(), n);
        }
    }
    each_ran_once(&journal, 40);
    assert_eq!(pool.stats().worker_deaths, 0);
}

async fn one_item_kills_its_worker(deed: Deed, signal: Option<i32>, code: Option<i32>) {
    for (at, size) in [(0, 30), (14, 30), (29, 30), (17, 10)] {
        let (pool, journal) = (pool(1), Journal::new());
        let items = inputs(&journal, 30, &[(at, deed)]);
        let results: Results = in_time(pool.map(act, items).chunksize(size).collect()).await;
        assert_eq!(results.len(), 30);
        for (n, result) in (0..).zip(results) {
            if n == at {
                let error = result.unwrap_err();
                let death = error.worker_death().unwrap();
                assert_eq!((death.signal(), death.exit_code()), (signal, code), "{error}");
            } else {
                assert_eq!(result.unwrap(), n);
            }
        }
        each_ran_once(&journal, 30);
        assert_eq!(pool.stats().worker_deaths, 1);
    }
}

#[tokio::test]
async fn an_item_that_exits_fails_alone() {
    // scenarios 7 and 25
    one_item_kills_its_worker(Deed::Exit, None, Some(3)).await;
}

#[tokio::test]
async fn an_item_that_aborts_fails_alone() {
    // scenarios 7 and 25
    one_item_kills_its_worker(Deed::Abort, Some(6), None).await;
}

#[tokio::test]
async fn an_item_that_is_killed_fails_alone() {
    // scenarios 7 and 26
    one_item_kills_its_worker(Deed::Kill, Some(9), None).await;
}

#[tokio::test]
async fn every_item_of_a_chunk_may_kill_its_worker() {
    let (pool, journal) = (pool(2), Journal::new());
    let deeds: Vec<_> = (0..20).map(|n| (n, Deed::Kill)).collect();
    let items = inputs(&journal, 20, &deeds);
    let results: Results = in_time(pool.map(act, items).chunksize(20).collect()).await;
    assert_eq!(results.len(), 20);
    let mut killers = BTreeSet::new();
    for result in results {
        killers.insert(result.unwrap_err().worker_death().unwrap().pid());
    }
    assert_eq!(killers.len(), 20);
    each_ran_once(&journal, 20);
}

#[tokio::test]
async fn an_item_that_runs_for_long_keeps_nothing_of_its_chunk_waiting() {
    // scenarios 68 and 69
    let (pool, journal, gate) = (pool(2), Journal::new(), Gate::new().await);
    let items = inputs(&journal, 100, &[(30, Deed::Hold(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(100).unordered();
    let mut seen = BTreeSet::new();
    for _ in 0..99 {
        seen.insert(in_time(stream.next()).await.unwrap().unwrap());
    }
    assert_eq!(seen.len(), 99);
    drop(gate.arrival().await);
    assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), 30);
    assert!(in_time(stream.next()).await.is_none());
    each_ran_once(&journal, 100);
}

#[tokio::test]
async fn what_comes_before_an_item_that_runs_is_delivered_while_it_runs() {
    // scenario 69
    let (pool, journal, gate) = (pool(1), Journal::new(), Gate::new().await);
    let items = inputs(&journal, 100, &[(60, Deed::Hold(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(100);
    for n in 0..60 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
    }
    assert!(stream.next().now_or_never().is_none());
    drop(gate.arrival().await);
    for n in 60..100 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
    }
    each_ran_once(&journal, 100);
}

#[tokio::test]
async fn another_task_does_not_wait_for_a_chunk_of_slow_items() {
    // scenario 68
    let (pool, journal, gate) = (pool(1), Journal::new(), Gate::new().await);
    let deeds: Vec<_> = (0..10).map(|n| (n, Deed::Hold(gate.port()))).collect();
    let items = inputs(&journal, 10, &deeds);
    let mut stream = pool.map(act, items).chunksize(10);
    assert!(stream.next().now_or_never().is_none());
    let first = gate.arrival().await;
    wait_until("the rest has been taken back", || pool.stats().waiting > 0).await;
    drop(stream);
    drop(first);
    let items = inputs(&journal, 1, &[]);
    let results: Results = in_time(pool.map(act, items).collect()).await;
    assert_eq!(results[0].as_ref().unwrap(), &0);
    assert_eq!(journal.numbers(), [0, 0]);
}

#[tokio::test]
async fn dropping_the_stream_lets_no_more_items_of_a_running_chunk_begin() {
    // scenario 10
    let (pool, journal, gate) = (pool(1), Journal::new(), Gate::new().await);
    let items = inputs(&journal, 100, &[(20, Deed::Hold(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(100);
    assert!(stream.next().now_or_never().is_none());
    let held = gate.arrival().await;
    drop(stream);
    let pid = held.pid;
    drop(held);
    assert_eq!(
        in_time(pool.run(crate::common::pid, ())).await.unwrap(),
        pid,
        "it is left to finish"
    );
    assert_eq!(journal.numbers(), (0..=20).collect::<Vec<_>>());
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn dropping_the_stream_leaves_nothing_behind_whenever_it_happens() {
    // scenario 10
    let (pool, journal) = (pool(2), Journal::new());
    for polls in 0..60 {
        let mut stream = pool.map(act, inputs(&journal, 500, &[])).chunksize(25).unordered();
        for _ in 0..polls {
            in_time(stream.next()).await.unwrap().unwrap();
        }
        drop(stream);
    }
    in_time(pool.run(crate::common::pid, ())).await.unwrap();
    wait_until("nothing runs", || pool.stats().running == 0).await;
    assert_eq!((pool.stats().waiting, pool.stats().worker_deaths), (0, 0));
}

fn blob(size: usize) -> Vec<u8> {
    (0..=255).cycle().take(size).collect()
}

procpool::register!(blob);

#[tokio::test]
async fn results_of_every_size_come_back_from_chunks() {
    let pool = pool(2);
    let sizes = [0, 1, 7, 8, 9, 1000, 60_000, 65_000, 70_000, 3_000_000, 5, 0, 100_000, 30_000];
    for chunk in [1, 3, 14, 28] {
        let inputs = sizes.iter().chain(&sizes).copied();
        let mut stream = pool.map(blob, inputs).chunksize(chunk);
        for size in sizes.iter().chain(&sizes) {
            let result = in_time(stream.next()).await.unwrap().unwrap();
            assert!(result == blob(*size), "of {size} bytes in chunks of {chunk}");
        }
        assert!(in_time(stream.next()).await.is_none());
    }
}

/// A result of the given size, unless it is to kill its worker.
fn blob_or_kill(size: Option<usize>) -> Vec<u8> {
    let Some(size) = size else { std::process::abort() };
    blob(size)
}

procpool::register!(blob_or_kill);

#[tokio::test]
async fn results_of_every_size_survive_the_worker() {
    let pool = pool(1);
    let sizes = [Some(3), Some(50_000), Some(50_000), Some(500_000), Some(4), None, Some(70_000)];
    let results: Vec<_> = in_time(pool.map(blob_or_kill, sizes).chunksize(7).collect()).await;
    assert_eq!(results.len(), sizes.len());
    for (size, result) in sizes.iter().zip(results) {
        match size {
            Some(size) => assert!(result.unwrap() == blob(*size), "{size}"),
            None => assert!(result.unwrap_err().is_worker_death()),
        }
    }
}

/// Can be asked to fail where it is encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragile {
    Sound,
    Unencodable,
    Undecodable,
    TooLarge,
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sound => vec![0_u8; 1].serialize(serializer),
            Self::Unencodable => Err(serde::ser::Error::custom("it is fragile")),
            Self::Undecodable => vec![1_u8; 1].serialize(serializer),
            Self::TooLarge => vec![2_u8; 3000].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Vec::<u8>::deserialize(deserializer)?.as_slice() {
            [0] => Ok(Self::Sound),
            _ => Err(serde::de::Error::custom("it was fragile")),
        }
    }
}

fn accept(_: Fragile) {}

fn make(kind: u8) -> Fragile {
    [Fragile::Sound, Fragile::Unencodable, Fragile::Undecodable, Fragile::TooLarge]
        [usize::from(kind)]
}

procpool::register!(accept, make);

fn small_payloads() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).max_payload(2000).build().unwrap()
}

#[tokio::test]
async fn arguments_that_cannot_be_encoded_or_decoded_fail_alone() {
    // scenarios 27 and 28
    use Fragile::{Sound, TooLarge, Undecodable, Unencodable};
    let items = [Sound, Unencodable, Sound, Undecodable, TooLarge, TooLarge, Sound, Unencodable];
    let pool = small_payloads();
    let results: Vec<_> = in_time(pool.map(accept, items).chunksize(8).collect()).await;
    assert_eq!(results.len(), items.len());
    for (item, result) in items.iter().zip(results) {
        match item {
            Sound => result.unwrap(),
            TooLarge => assert!(result.unwrap_err().is_too_large()),
            Unencodable | Undecodable => {
                let error = result.unwrap_err();
                assert!(error.is_codec() && error.to_string().contains("fragile"), "{error}");
            }
        }
    }
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn results_that_cannot_be_encoded_or_decoded_fail_alone() {
    // scenario 29
    let kinds = [0, 1, 2, 3, 0, 3, 2, 1, 0];
    let pool = small_payloads();
    let results: Vec<_> = in_time(pool.map(make, kinds).chunksize(9).collect()).await;
    assert_eq!(results.len(), kinds.len());
    for (kind, result) in kinds.iter().zip(results) {
        match kind {
            0 => assert_eq!(result.unwrap(), Fragile::Sound),
            3 => assert!(result.unwrap_err().is_too_large()),
            _ => assert!(result.unwrap_err().is_codec()),
        }
    }
    assert_eq!(pool.stats().worker_deaths, 0);
}

fn own_id(fails: bool) -> u64 {
    assert!(!fails);
    procpool::current().id().get()
}

procpool::register!(own_id);

#[tokio::test]
async fn each_item_has_an_id_of_its_own() {
    let pool = pool(1);
    let results: Vec<_> =
        in_time(pool.map(own_id, [false, true, false]).chunksize(3).collect()).await;
    let first = *results[0].as_ref().unwrap();
    assert_eq!(*results[2].as_ref().unwrap(), first + 2);
    let failed = results[1].as_ref().unwrap_err().task_id();
    assert_eq!(failed.map(TaskId::get), Some(first + 1));
}

thread_local! {
    static LIVING: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// Counts how many of its kind live in this process.
#[derive(Serialize)]
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        LIVING.set(LIVING.get() + 1);
        Ok(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVING.set(LIVING.get().wrapping_sub(1));
    }
}

fn living(_: Counted) -> u32 {
    LIVING.get()
}

procpool::register!(living);

#[tokio::test]
async fn the_arguments_of_an_item_are_dropped_before_the_next_begins() {
    // scenario 17
    let inputs = std::iter::repeat_with(|| Counted).take(50);
    let counts: Vec<_> = in_time(pool(1).map(living, inputs).chunksize(50).collect()).await;
    assert!(counts.into_iter().all(|count| count.unwrap() == 1));
}

#[tokio::test]
async fn quick_items_share_chunks_without_being_told_to() {
    const ITEMS: u32 = 50_000;
    let pool = pool(2);
    let mut stream = pool.map(own_id, std::iter::repeat_n(false, ITEMS as usize));
    let mut count = 0;
    while let Some(result) = in_time(stream.next()).await {
        result.unwrap();
        count += 1;
    }
    assert_eq!(count, ITEMS);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_pool_that_breaks_fails_all_items_of_its_chunks() {
    // scenario 31
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_output(WorkerOutput::Null);
    let pool = builder.on_worker_death(procpool::OnWorkerDeath::Break).build().unwrap();
    let journal = Journal::new();
    let items = inputs(&journal, 30, &[(14, Deed::Abort)]);
    let results: Results = in_time(pool.map(act, items).chunksize(10).collect()).await;
    assert_eq!(results.len(), 30);
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == n && n < 14),
            Err(error) => assert!(error.is_broken() && n >= 14, "{n}: {error}"),
        }
    }
    assert_eq!(journal.numbers(), (0..=14).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_shutdown_that_cancels_leaves_each_item_with_a_result_or_an_error() {
    // scenarios 54 and 71
    let (pool, journal, gate) = (pool(1), Journal::new(), Gate::new().await);
    let items = inputs(&journal, 100, &[(10, Deed::Hold(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(20);
    assert!(stream.next().now_or_never().is_none());
    let held = gate.arrival().await;
    let shutdown = pool.shutdown_with(Shutdown::new().cancel_futures(true));
    for n in 0..10 {
        assert_eq!(in_time(stream.next()).await.unwrap().unwrap(), n);
    }
    drop(held);
    let rest: Results = in_time(stream.collect()).await;
    in_time(shutdown).await;
    assert_eq!(rest.len(), 90);
    assert_eq!(rest[0].as_ref().unwrap(), &10);
    assert!(rest[20..].iter().all(|item| item.as_ref().is_err_and(TaskError::is_cancelled)));
}

#[tokio::test]
async fn a_chunk_that_is_asked_to_end_is_no_broken_protocol() {
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let pool =
        ProcessPoolExecutor::builder().max_workers(1).grace_period(2 * LIMIT).build().unwrap();
    let worker = in_time(pool.run(crate::common::pid, ())).await.unwrap();
    let process = Pid::from_raw(worker.try_into().unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    wait_until("the worker has stopped", || process_stopped(worker)).await;
    let items = inputs(&journal, 10, &[(0, Deed::Look(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(10);
    assert!(stream.next().now_or_never().is_none());
    // Its items are asked back in vain, and each time not again until twice as much time has passed:
    // first after 4 ms, and last after 128 ms, which the supervisor has seen go by once it says so.
    let soon = Duration::from_millis(130);
    let expired = pool.task(crate::common::pid, ()).deadline(soon).submit().await.unwrap();
    assert!(in_time(expired).await.unwrap_err().is_deadline());
    kill_process(process, Signal::CONT).unwrap();
    let _held = gate.arrival().await;
    let now = Shutdown::new().within(Duration::ZERO);
    in_time(pool.shutdown_with(now)).await;
    let results: Results = in_time(stream.collect()).await;
    assert_eq!(*results[0].as_ref().unwrap(), 0);
    assert_eq!(results.len(), 10);
    assert!(results[1..].iter().all(|item| item.as_ref().is_err_and(TaskError::is_cancelled)));
    assert_eq!(pool.stats().worker_deaths, 0);
    assert_eq!(journal.numbers(), [0]);
}

#[tokio::test]
async fn a_worker_that_is_gone_is_replaced_for_the_rest_of_its_chunk() {
    let (pool, journal, gate) = (pool(1), Journal::new(), Gate::new().await);
    let items = inputs(&journal, 10, &[(5, Deed::Hold(gate.port()))]);
    let mut stream = pool.map(act, items).chunksize(10);
    assert!(stream.next().now_or_never().is_none());
    let held = gate.arrival().await;
    let pid = Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let results: Results = in_time(stream.collect()).await;
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert!(n == 5 && error.is_worker_death(), "{n}: {error}"),
        }
    }
    assert!(process_gone(held.pid));
    each_ran_once(&journal, 10);
}
