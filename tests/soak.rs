//! A pool under mixed load for long, in which workers die all the time: what a service takes must
//! not grow with the time that it runs. Usually it takes half a minute; an hour:
//!
//! ```text
//! PROCPOOL_SOAK_SECONDS=3600 cargo test --release --test soak -- --nocapture
//! ```
//!
//! What is compared is the second quarter of the time, in which everything has warmed up, with the
//! last.
//!
//! A binary of its own: it measures memory, descriptors, threads and children of its process.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod common;
#[path = "../examples/random/mod.rs"]
mod random;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use procpool::{
    Builder, PoolStats, ProcessPoolExecutor, RunError, SharedSlice, StartMethod, TaskError,
    WorkerOutput, WorkerState,
};
use rustix::process::{Pid, Signal, kill_process};

use common::{in_time, pid, wait_until};
use random::Random;

procpool::test_support!();

/// How often a worker is killed, in milliseconds; and each client has one in 40 tasks that dies by
/// itself.
const KILL_EVERY: u64 = 150;
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

// ----- tasks -----

fn echo(value: Bytes) -> Bytes {
    value
}

fn sum(values: SharedSlice<u64>) -> u64 {
    values.iter().sum()
}

fn sleep(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

fn print(number: u64) -> u64 {
    println!("task {number} prints");
    number
}

fn panic(number: u64) -> u64 {
    panic!("task {number} panics")
}

fn exit(code: i32) -> u64 {
    std::process::exit(code)
}

/// Takes memory that it never gives back.
fn leak(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes].leak()).len()
}

fn double(number: u64) -> u64 {
    2 * number
}

procpool::register!(echo, sum, sleep, print, panic, exit, leak, double);

// ----- load -----

/// What clients have been told. A task is in one of these counts.
#[derive(Debug, Default)]
struct Counts {
    returned: AtomicU64,
    panicked: AtomicU64,
    died: AtomicU64,
    timed_out: AtomicU64,
    aborted: AtomicU64,
}

impl Counts {
    fn count<R>(&self, result: Result<R, RunError>) -> Option<R> {
        let counter = match &result {
            Ok(_) => &self.returned,
            Err(error) if error.is_panic() => &self.panicked,
            Err(error) if error.is_worker_death() => &self.died,
            Err(error) if error.is_timeout() => &self.timed_out,
            Err(error) if error.is_cancelled() => &self.aborted,
            Err(error) => panic!("no task of this test can fail so: {error}"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result.ok()
    }

    fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

struct Client {
    pool: ProcessPoolExecutor,
    counts: Arc<Counts>,
    random: Random,
    end: Instant,
}

impl Client {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// All kinds of tasks.
    async fn mix(mut self) {
        while !self.is_over() {
            let number = self.random.number();
            match self.random.below(40) {
                0 => drop(self.counts.count(in_time(self.pool.run(exit, 3)).await)),
                1 => drop(self.counts.count(in_time(self.pool.run(panic, number)).await)),
                2..=4 => self.echo(300_000).await,
                5 => self.echo(3_000_000).await,
                6 | 7 => drop(self.counts.count(in_time(self.pool.run(leak, 1 << 20)).await)),
                8 => {
                    let limited = self.pool.task(sleep, 1000).timeout(Duration::from_millis(3));
                    self.counts.count(in_time(limited.run()).await);
                }
                9 => {
                    let handle = self.pool.submit(sleep, 1000).await.unwrap();
                    handle.abort();
                    self.counts.count(in_time(handle).await.map_err(RunError::from));
                }
                10..=12 => self.sum().await,
                13..=15 => {
                    let retried = self.pool.task(sleep, 1).retries(5);
                    self.counts.count(in_time(retried.run()).await);
                }
                16..=20 => drop(self.counts.count(in_time(self.pool.run(print, number)).await)),
                _ => self.echo(100).await,
            }
        }
    }

    async fn echo(&self, length: usize) {
        let value = Bytes::from(vec![length.to_le_bytes()[0]; length]);
        let echoed = in_time(self.pool.run(echo, value.clone())).await;
        if let Some(echoed) = self.counts.count(echoed) {
            assert!(echoed == value);
        }
    }

    async fn sum(&self) {
        let values = SharedSlice::copy_from_slice(&[3; 1000]).unwrap();
        if let Some(sum) = self.counts.count(in_time(self.pool.run(sum, values)).await) {
            assert_eq!(sum, 3000);
        }
    }

    /// One quick task after the other; how long each took.
    async fn measure(self) -> Vec<f32> {
        let mut times = Vec::new();
        while !self.is_over() {
            let began = Instant::now();
            let run = in_time(self.pool.run(double, 21)).await;
            if self.counts.count(run) == Some(42) {
                times.push(began.elapsed().as_secs_f32());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times
    }

    /// Maps, of which all items come, and fail by nothing but deaths; how many.
    async fn map(self) -> u64 {
        let mut items = 0;
        while !self.is_over() {
            let mut map = self.pool.map(double, 0..2000).with_index();
            for expected in 0..2000 {
                match in_time(map.next()).await.expect("one for each input") {
                    (index, Ok(value)) => assert_eq!((index, value), (expected, 2 * index as u64)),
                    (index, Err(error)) => {
                        assert!(index == expected && TaskError::is_worker_death(&error), "{error}");
                    }
                }
                items += 1;
            }
            assert!(in_time(map.next()).await.is_none());
        }
        items
    }
}

/// One who kills a worker now and then, at a steady rate; how many.
async fn kill(pools: [ProcessPoolExecutor; 2], mut random: Random, end: Instant) -> u64 {
    let mut interval = tokio::time::interval(Duration::from_millis(KILL_EVERY));
    let mut count = 0;
    while Instant::now() < end {
        interval.tick().await;
        let mut workers = random.choose(&pools).workers();
        workers.retain(|worker| worker.state != WorkerState::Starting);
        if !workers.is_empty() {
            let pid = random.choose(&workers).pid.cast_signed();
            count += u64::from(kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).is_ok());
        }
    }
    count
}

// ----- what must not grow -----

#[derive(Clone, Copy, Debug)]
struct Sample {
    kilobytes: f32,
    descriptors: f32,
    threads: f32,
    children: f32,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "these numbers are small")]
    fn take() -> Self {
        let count = |directory| std::fs::read_dir(directory).unwrap().count() as f32;
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            kilobytes: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            children: common::children().len() as f32,
        }
    }
}

async fn watch(end: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    while Instant::now() < end {
        samples.push(Sample::take());
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
    samples
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}

/// Compares the medians of the second and the last quarter. It may grow by a factor, and by so
/// much.
fn assert_flat(what: &str, values: &[f32], (factor, slack): (f32, f32)) {
    let quarter = values.len() / 4;
    assert!(quarter > 0, "{what} was measured {} times", values.len());
    let before = median(values[quarter..2 * quarter].to_vec());
    let after = median(values[3 * quarter..].to_vec());
    println!("{what}: {before:.6} in the second quarter, {after:.6} in the last");
    assert!(after <= before * factor + slack, "{what} was {before} and is {after}");
}

// ----- the soak -----

fn builder() -> Builder {
    ProcessPoolExecutor::builder()
        .max_workers(2)
        .grace_period(Duration::from_millis(50))
        .start_timeout(10 * common::LIMIT)
        .worker_output(WorkerOutput::Null)
        .env("RUST_BACKTRACE", "0")
}

fn check_counts(counts: &Counts, stats: &PoolStats) {
    let Counts { returned, panicked, died, timed_out, aborted } = counts;
    let own = [returned, panicked, died, timed_out, aborted].map(Counts::get);
    let outcomes = &stats.outcomes;
    let told = [
        outcomes.returned,
        outcomes.panicked,
        outcomes.worker_died,
        outcomes.timed_out,
        outcomes.cancelled,
    ];
    assert_eq!(own, told, "{stats:?}");
    assert_eq!(own.iter().sum::<u64>(), stats.submitted, "{stats:?}");
    check_sums(stats);
}

fn check_sums(stats: &PoolStats) {
    let PoolStats { submitted, completed, failed, cancelled, worker_starts, .. } = stats;
    assert_eq!(*submitted, completed + failed + cancelled, "{stats:?}");
    assert!(stats.worker_deaths <= *worker_starts, "{stats:?}");
    assert_eq!((stats.waiting, stats.running, stats.workers), (0, 0, 0), "{stats:?}");
}

async fn soak(time: Duration) {
    let first = builder().max_tasks_per_child(500).max_memory_per_child(64 << 20).build().unwrap();
    let second = builder().start_method(StartMethod::ForkServer).preload(pid, ()).build().unwrap();
    let (counts, end) = (Arc::new(Counts::default()), Instant::now() + time);
    let client = |pool: &ProcessPoolExecutor, seed| {
        let (pool, counts) = (pool.clone(), Arc::clone(&counts));
        Client { pool, counts, random: Random::new(seed), end }
    };
    let mixers = [1, 2, 3].map(|seed| tokio::spawn(client(&first, seed).mix()));
    let mapper = tokio::spawn(client(&second, 4).map());
    let measurer = tokio::spawn(client(&first, 5).measure());
    let killer = tokio::spawn(kill([first.clone(), second.clone()], Random::new(6), end));
    let samples = watch(end).await;
    for mixer in mixers {
        mixer.await.unwrap();
    }
    let (items, times, kills) =
        (mapper.await.unwrap(), measurer.await.unwrap(), killer.await.unwrap());
    in_time(first.shutdown()).await;
    in_time(second.shutdown()).await;
    check_counts(&counts, &first.stats());
    check_sums(&second.stats());
    let deaths = [&first, &second].map(|pool| pool.stats().worker_deaths);
    println!("{counts:?}, {items} items of maps; {kills} killed, {deaths:?} died");
    let of = |value: fn(&Sample) -> f32| samples.iter().map(value).collect::<Vec<_>>();
    assert_flat("kilobytes", &of(|sample| sample.kilobytes), (1.1, 16_000.0));
    assert_flat("descriptors", &of(|sample| sample.descriptors), (1.0, 6.0));
    assert_flat("threads", &of(|sample| sample.threads), (1.0, 4.0));
    assert_flat("children", &of(|sample| sample.children), (1.0, 2.0));
    // Who else uses the machine may come and go.
    assert_flat("seconds", &times, (4.0, 0.01));
}

#[test]
fn nothing_grows_with_time() {
    let seconds = std::env::var("PROCPOOL_SOAK_SECONDS").map(|seconds| seconds.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = builder().build().unwrap();
        in_time(pool.run(pid, ())).await.unwrap();
        in_time(pool.shutdown()).await;
        wait_until("its workers are reaped", || common::children().is_empty()).await;
        let before = Sample::take();
        soak(Duration::from_secs(seconds.unwrap_or(20))).await;
        let is_as_before = || {
            let now = Sample::take();
            now.descriptors <= before.descriptors && now.children <= before.children
        };
        wait_until("nothing is left", is_as_before).await;
    });
}
