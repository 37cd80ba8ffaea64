//! Everything at once: pools with random settings under a random load, while workers are killed,
//! replaced, and more or fewer. Whatever happens, each task resolves once, none runs more often
//! than it may, the counts add up, and nothing is left behind.
//!
//! `PROCPOOL_MIXTURES=FIRST..END` runs other seeds than the usual ones.
//!
//! A binary of its own: it counts the descriptors of its process.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod common;
mod journal;
#[path = "../examples/random/mod.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all};
use procpool::{
    Events, OnWorkerDeath, PoolEvent, PoolStats, ProcessPoolExecutor, ResourceLimits, ReturnWhen,
    Shutdown, ShutdownReport, SubmitError, TaskError, TaskHandle, TaskId, TaskOutcomes, TaskSet,
    WorkerId, WorkerOutput, as_completed, wait,
};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use common::{LIMIT, in_time, processes_with_env};
use journal::{Journal, note_line};
use random::Random;

procpool::test_support!();

// ----- in the workers -----

/// What a task does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    Return,
    Sleep(u64),
    /// Reports, and ends early if it is asked to.
    Look(u64),
    Panic,
    Exit,
    Kill,
    Leak,
    Print,
}

type Args = (String, u32, Deed, Vec<u8>);
type Echo = (u32, Vec<u8>);

fn act(path: String, number: u32, deed: Deed, padding: Vec<u8>) -> Echo {
    let current = procpool::current();
    note_line(&path, &format!("{number} {}", current.attempt()));
    match deed {
        Deed::Return => {}
        Deed::Sleep(millis) => std::thread::sleep(Duration::from_millis(millis)),
        Deed::Look(millis) => look(millis),
        Deed::Panic => panic!("task {number} panics"),
        Deed::Exit => std::process::exit(3),
        Deed::Kill => kill_process(getpid(), Signal::KILL).unwrap(),
        Deed::Leak => drop(std::hint::black_box(Box::leak(vec![7_u8; 4 << 20].into_boxed_slice()))),
        Deed::Print => println!("task {number} prints"),
    }
    (number, padding)
}

fn look(millis: u64) {
    let (current, began) = (procpool::current(), Instant::now());
    let mut count = 0;
    while !current.is_cancelled() && began.elapsed() < Duration::from_millis(millis) {
        count += 1;
        current.progress(count, 0, "");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn prepare() -> u32 {
    std::process::id()
}

fn leave() -> u32 {
    *procpool::state::<u32>().unwrap()
}

procpool::register!(act, prepare, leave);

// ----- what became of a task -----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has returned what it was to.
    Returned,
    /// It was refused, or cancelled before it began.
    NeverBegan,
    /// It has failed, or nobody asked.
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Fate {
    number: u32,
    retries: u32,
    end: End,
}

fn end_of(number: u32, result: Result<Echo, TaskError>) -> End {
    match result {
        Ok((echo, padding)) => {
            assert_eq!((echo, padding), (number, padding_of(number)));
            End::Returned
        }
        Err(error) => {
            let known = error.is_panic()
                || error.is_worker_death()
                || error.is_cancelled()
                || error.is_timeout()
                || error.is_deadline()
                || error.is_broken()
                || error.is_shut_down();
            assert!(known, "{error}");
            End::Other
        }
    }
}

fn padding_of(number: u32) -> Vec<u8> {
    let length = if number.is_multiple_of(23) { 100_000 } else { number as usize % 50 };
    vec![number.to_le_bytes()[0]; length]
}

// ----- clients -----

/// Beyond which nothing goes.
fn wide_limits() -> ResourceLimits {
    let limits = ResourceLimits::new().memory(1 << 40).address_space(1 << 40);
    limits.cpu_time(Duration::from_secs(1_000)).file_size(1 << 40)
}

/// One who uses a pool.
struct Client {
    pool: ProcessPoolExecutor,
    path: String,
    random: Random,
    next: u32,
    fates: Vec<Fate>,
    called: Arc<AtomicU32>,
    callbacks: u32,
}

impl Client {
    fn new(pool: &ProcessPoolExecutor, path: String, seed: u64, first: u32) -> Self {
        Self {
            pool: pool.clone(),
            path,
            random: Random::new(seed),
            next: first,
            fates: Vec::new(),
            called: Arc::default(),
            callbacks: 0,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn deed(&mut self, deadly: bool) -> Deed {
        match self.random.below(if deadly { 40 } else { 34 }) {
            0..=22 => Deed::Return,
            23..=26 => Deed::Sleep(self.random.below(6)),
            27..=29 => Deed::Look(self.random.below(20)),
            30 | 31 => Deed::Panic,
            32 => Deed::Leak,
            33 => Deed::Print,
            34..=36 => Deed::Exit,
            _ => Deed::Kill,
        }
    }

    fn args(&mut self, deadly: bool) -> (u32, Args) {
        let number = self.next;
        self.next += 1;
        (number, (self.path.clone(), number, self.deed(deadly), padding_of(number)))
    }

    fn record(&mut self, number: u32, retries: u32, end: End) {
        self.fates.push(Fate { number, retries, end });
    }

    /// A task with random wishes.
    async fn submit(&mut self) -> Option<(u32, u32, TaskHandle<Echo>)> {
        let (number, args) = self.args(true);
        let retries = if self.chance(3) { 2 } else { 0 };
        let pool = self.pool.clone();
        let mut task = pool.task(act, args).retries(retries);
        if self.chance(4) {
            task = task.timeout(Duration::from_millis(1 + self.random.below(8)));
        }
        if self.chance(4) {
            task = task.deadline(Duration::from_millis(self.random.below(30)));
        }
        if self.chance(3) {
            task = task.priority(i32::try_from(self.random.below(5)).unwrap() - 2);
        }
        if self.chance(3) {
            task = task.sticky(self.random.below(4));
        }
        if self.chance(4) {
            task = task.limits(wide_limits());
        }
        let submitted =
            if self.chance(5) { task.try_submit() } else { in_time(task.submit()).await };
        match submitted {
            Ok(handle) => {
                if self.chance(3) {
                    self.callbacks += 1;
                    let called = Arc::clone(&self.called);
                    handle.add_done_callback(move |_| {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                }
                Some((number, retries, handle))
            }
            Err(error) => {
                assert_refusal(&error);
                self.record(number, retries, End::NeverBegan);
                None
            }
        }
    }

    async fn pause(&mut self) {
        match self.random.below(3) {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_micros(self.random.below(3000))).await,
        }
    }

    async fn one(&mut self) {
        let Some((number, retries, mut handle)) = self.submit().await else { return };
        let what = self.random.below(7);
        if what < 3 {
            self.pause().await;
        }
        let end = match what {
            0 if handle.cancel() => {
                assert!(in_time(&mut handle).await.unwrap_err().is_cancelled());
                if retries == 0 { End::NeverBegan } else { End::Other }
            }
            1 => {
                handle.abort();
                end_of(number, in_time(handle).await)
            }
            2 => {
                drop(handle.abort_on_drop(true));
                End::Other
            }
            3 => {
                let mut progress = handle.progress();
                while in_time(progress.next()).await.is_some() {}
                assert!(handle.is_finished());
                end_of(number, in_time(handle).await)
            }
            4 => End::Other,
            _ => end_of(number, in_time(handle).await),
        };
        self.record(number, retries, end);
    }

    async fn many(&mut self) {
        let (mut handles, mut numbers) = (Vec::new(), BTreeMap::new());
        for _ in 0..self.random.below(12) {
            if let Some((number, retries, handle)) = self.submit().await {
                numbers.insert(handle.id(), (number, retries));
                handles.push(handle);
            }
        }
        let mut ends = BTreeMap::new();
        match self.random.below(3) {
            0 => {
                let mut done = as_completed(handles);
                while let Some(finished) = in_time(done.next()).await {
                    assert!(ends.insert(finished.id, finished.result).is_none());
                }
                assert_eq!(ends.len(), numbers.len());
            }
            1 => {
                let (done, rest) =
                    in_time(wait(handles, ReturnWhen::FirstException, Duration::from_millis(5)))
                        .await;
                rest.iter().for_each(TaskHandle::abort);
                for handle in done.into_iter().chain(rest) {
                    ends.insert(handle.id(), in_time(handle).await);
                }
            }
            _ => {
                let mut set: TaskSet<Echo> = handles.into_iter().collect();
                for _ in 0..self.random.below(12) {
                    let Some(finished) = in_time(set.join_next()).await else { break };
                    assert!(ends.insert(finished.id, finished.result).is_none());
                }
            }
        }
        for (id, (number, retries)) in numbers {
            let end = ends.remove(&id).map_or(End::Other, |result| end_of(number, result));
            self.record(number, retries, end);
        }
    }

    async fn run_and_drop(&mut self) {
        let (number, args) = self.args(true);
        let limit = Duration::from_micros(self.random.below(8000));
        let run = tokio::time::timeout(limit, self.pool.run(act, args)).await;
        let end = match run {
            Ok(Ok((echo, _))) if echo == number => End::Returned,
            _ => End::Other,
        };
        self.record(number, 0, end);
    }

    async fn block(&mut self) {
        let (number, args) = self.args(true);
        let pool = self.pool.clone();
        let run = tokio::task::spawn_blocking(move || pool.blocking_run(act, args));
        let end = in_time(run).await.unwrap().map_or(End::Other, |_| End::Returned);
        self.record(number, 0, end);
    }

    async fn map(&mut self) {
        let deadly = self.chance(3);
        let count = self.random.below(300);
        let items: Vec<_> = (0..count).map(|_| self.args(deadly)).collect();
        let first = self.next - u32::try_from(count).unwrap();
        let mut map = self.pool.map(act, items.into_iter().map(|(_, args)| args)).with_index();
        if self.chance(2) {
            map = map.chunksize(1 + usize::try_from(self.random.below(100)).unwrap());
        }
        if self.chance(3) {
            map = map.buffersize(1 + usize::try_from(self.random.below(64)).unwrap());
        }
        let ordered = self.chance(2);
        if !ordered {
            map = map.unordered();
        }
        if self.chance(4) {
            map = map.limits(wide_limits());
        }
        let limited = self.chance(5);
        if limited {
            map = map.within(Duration::from_millis(self.random.below(20)));
        }
        let most = if self.chance(4) { self.random.below(count + 1) } else { u64::MAX };
        let mut ends = BTreeMap::new();
        let (mut timed_out, mut late) = (false, BTreeSet::new());
        while (ends.len() as u64) < most
            && let Some((index, result)) = in_time(map.next()).await
        {
            if result.as_ref().is_err_and(|error| limited && error.is_deadline()) {
                timed_out = true;
                assert!(late.insert(index), "{index} is late twice");
                assert!(!ordered || index == ends.len() + late.len() - 1);
                continue;
            }
            let number = first + u32::try_from(index).unwrap();
            if ordered {
                assert_eq!(index, ends.len() + late.len());
            }
            let end = end_of(number, result);
            assert!(ends.insert(number, end).is_none(), "{number} comes twice");
        }
        if most == u64::MAX && !timed_out {
            assert_eq!(ends.len() as u64, count);
        }
        drop(map);
        for number in first..self.next {
            self.record(number, 0, ends.remove(&number).unwrap_or(End::Other));
        }
    }

    async fn work(mut self, steps: u32) -> Self {
        for _ in 0..steps {
            match self.random.below(10) {
                0..=4 => self.one().await,
                5 | 6 => self.many().await,
                7 => self.run_and_drop().await,
                8 => self.block().await,
                _ => self.map().await,
            }
        }
        self
    }
}

fn assert_refusal(error: &SubmitError) {
    let known =
        error.is_queue_full() || error.is_shut_down() || error.is_broken() || error.is_deadline();
    assert!(known, "{error}");
}

/// One who has other ideas.
async fn disturb(pool: ProcessPoolExecutor, mut random: Random, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        match random.below(12) {
            0..=2 => pool.resize(1 + usize::try_from(random.below(4)).unwrap()).unwrap(),
            3 => drop(pool.recycle()),
            4 => in_time(pool.recycle()).await,
            5..=7 => {
                let workers = pool.workers();
                if !workers.is_empty() {
                    let pid = random.choose(&workers).pid.cast_signed();
                    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
                }
            }
            _ => {
                let PoolStats { submitted, completed, failed, cancelled, waiting, .. } =
                    pool.stats();
                assert!(submitted >= completed + failed + cancelled + waiting as u64);
            }
        }
        tokio::time::sleep(Duration::from_micros(random.below(10_000))).await;
    }
}

// ----- a pool's life -----

fn build(random: &mut Random, mark: &str) -> ProcessPoolExecutor {
    let mut chance = |one_in| random.below(one_in) == 0;
    let mut builder = ProcessPoolExecutor::builder()
        .grace_period(Duration::from_millis(100))
        .worker_output(WorkerOutput::Null)
        .env("PROCPOOL_MIXTURE", mark)
        .initializer(prepare, ())
        .exit_hook(leave, ());
    if chance(2) {
        builder = builder.idle_timeout(Duration::from_millis(2));
    }
    if chance(3) {
        builder = builder.max_tasks_per_child(3);
    }
    if chance(3) {
        builder = builder.max_memory_per_child(16 << 20);
    }
    if chance(3) {
        builder = builder.queue_capacity(if chance(2) { 0 } else { 3 });
    }
    if chance(3) {
        builder = builder.queue_bytes(if chance(2) { 1 } else { 100_000 });
    }
    if chance(3) {
        builder = builder.default_timeout(Duration::from_millis(50));
    }
    if chance(8) {
        builder = builder.on_worker_death(OnWorkerDeath::Break);
    }
    let most = 1 + usize::try_from(random.below(4)).unwrap();
    let least = usize::try_from(random.below(most as u64 + 1)).unwrap();
    builder.max_workers(most).min_workers(least).build().unwrap()
}

async fn end(pool: ProcessPoolExecutor, how: u64) -> (ShutdownReport, PoolStats) {
    let report = match how {
        0 | 1 => in_time(pool.shutdown()).await,
        2 => in_time(pool.shutdown_with(Shutdown::new().cancel_futures(true))).await,
        3 => {
            let how = Shutdown::new().within(Duration::from_millis(3));
            in_time(pool.shutdown_with(how)).await
        }
        4 => in_time(pool.terminate_workers()).await,
        _ => in_time(pool.kill_workers()).await,
    };
    (report, pool.stats())
}

async fn mixture(seed: u64) {
    let mark = format!("{}-{seed}", std::process::id());
    let (journal, mut random) = (Journal::new(), Random::new(seed));
    let pool = build(&mut random, &mark);
    let story = tokio::spawn(read(pool.events()));
    let is_over = Arc::new(AtomicBool::new(false));
    let disturber = (random.below(3) > 0).then(|| {
        tokio::spawn(disturb(pool.clone(), Random::new(random.number()), Arc::clone(&is_over)))
    });
    let clients = (0..3).map(|number| {
        let client = Client::new(&pool, journal.path(), random.number(), number * 1_000_000);
        tokio::spawn(client.work(10))
    });
    let clients = join_all(clients.collect::<Vec<_>>());
    let (how, early) = (random.below(6), random.below(3) == 0);
    let (clients, (report, stats)) = if early {
        let delay = Duration::from_millis(random.below(100));
        let ended = async {
            tokio::time::sleep(delay).await;
            end(pool, how).await
        };
        tokio::join!(clients, ended)
    } else {
        let clients = clients.await;
        (clients, end(pool, how).await)
    };
    is_over.store(true, Ordering::Relaxed);
    if let Some(disturber) = disturber {
        in_time(disturber).await.unwrap();
    }
    assert_eq!(processes_with_env("PROCPOOL_MIXTURE", &mark), [] as [u32; 0]);
    check_counts(&report, &stats);
    let clients: Vec<_> = clients.into_iter().map(Result::unwrap).collect();
    check_items(&stats.items, &clients);
    check_runs(&journal, clients.into_iter());
    check_story(in_time(story).await.unwrap());
}

async fn read(events: Events) -> Vec<PoolEvent> {
    events.collect().await
}

fn check_counts(report: &ShutdownReport, stats: &PoolStats) {
    let PoolStats { submitted, completed, failed, cancelled, outcomes, .. } = stats;
    assert_eq!(*submitted, completed + failed + cancelled, "{stats:?}");
    let items = stats.items;
    assert_eq!((report.finished + report.cancelled, report.items), (items.total(), items));
    assert_eq!(report.cancelled, items.cancelled);
    assert!(report.killed <= report.cancelled);
    assert_eq!((stats.waiting, stats.running, stats.workers), (0, 0, 0), "{stats:?}");
    assert_eq!(outcomes.total(), *submitted, "{stats:?}");
    assert_eq!(outcomes.cancelled, *cancelled, "{stats:?}");
    assert!(
        stats.worker_deaths + report.exit_results::<u32>().unwrap().len() as u64
            <= stats.worker_starts
    );
    for exit in report.exit_results::<u32>().unwrap() {
        assert_eq!(exit.result.unwrap(), exit.pid);
    }
}

/// Whatever has returned is counted, and nothing more often than it was asked for.
fn check_items(items: &TaskOutcomes, clients: &[Client]) {
    let fates = || clients.iter().flat_map(|client| &client.fates);
    let returned = fates().filter(|fate| fate.end == End::Returned).count() as u64;
    assert!(returned <= items.returned, "{returned} have returned: {items:?}");
    let asked = fates().count() as u64;
    assert!(items.total() <= asked, "{asked} were asked for: {items:?}");
}

fn check_runs(journal: &Journal, clients: impl Iterator<Item = Client>) {
    let mut runs: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for line in journal.lines() {
        let (number, attempt) = line.split_once(' ').unwrap();
        runs.entry(number.parse().unwrap()).or_default().push(attempt.parse().unwrap());
    }
    for client in clients {
        assert_eq!(client.called.load(Ordering::Relaxed), client.callbacks, "callbacks");
        assert_eq!(client.fates.len(), client.next as usize % 1_000_000);
        for fate in client.fates {
            let attempts = runs.remove(&fate.number).unwrap_or_default();
            let rising = attempts.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(
                rising && attempts.iter().all(|n| *n <= 1 + fate.retries),
                "{fate:?} {attempts:?}"
            );
            match fate.end {
                End::Returned => assert!(!attempts.is_empty(), "{fate:?}"),
                End::NeverBegan => assert!(attempts.is_empty(), "{fate:?} {attempts:?}"),
                End::Other => {}
            }
        }
    }
    assert!(runs.is_empty(), "nobody asked for {runs:?}");
}

/// If nothing was missed every task and every worker has a beginning and an end.
fn check_story(story: Vec<PoolEvent>) {
    let (mut tasks, mut all_tasks) = (BTreeSet::<TaskId>::new(), BTreeSet::new());
    let mut workers = BTreeSet::<WorkerId>::new();
    for event in story {
        match event {
            PoolEvent::Missed(_) => return,
            PoolEvent::TaskQueued { task, .. } => {
                assert!(tasks.insert(task) && all_tasks.insert(task), "{task} comes twice");
            }
            PoolEvent::TaskStarted { task, .. } | PoolEvent::TaskRetried { task, .. } => {
                assert!(tasks.contains(&task), "{event:?}");
            }
            PoolEvent::TaskFinished { task, .. } => assert!(tasks.remove(&task), "{event:?}"),
            PoolEvent::WorkerStarted { worker, .. } => assert!(workers.insert(worker)),
            PoolEvent::WorkerReady { worker, .. } => assert!(workers.contains(&worker)),
            PoolEvent::WorkerLeft { worker, .. } => assert!(workers.remove(&worker)),
            PoolEvent::WorkerDied { death, .. } | PoolEvent::WorkerKilled { death, .. } => {
                assert!(workers.remove(&death.worker_id()), "{death}");
                assert!(!death.to_string().contains("protocol"), "{death}");
            }
            PoolEvent::WorkerNotStarted { worker, .. } => drop(workers.remove(&worker)),
            _ => {}
        }
    }
    assert!(tasks.is_empty() && workers.is_empty(), "{tasks:?} {workers:?}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("PROCPOOL_MIXTURES") else { return 0..8 };
    let (first, end) = range.split_once("..").expect("FIRST..END");
    first.parse().unwrap()..end.parse().unwrap()
}

#[test]
fn everything_at_once() {
    let mut usual = None;
    for seed in seeds() {
        println!("seed {seed}");
        let mut builder = if seed.is_multiple_of(2) {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(mixture(seed));
        drop(runtime);
        // The first time some are opened that stay, such as tokio's for signals.
        let usual = *usual.get_or_insert_with(descriptors);
        let began = Instant::now();
        while descriptors() > usual {
            // Threads that have started workers may still be about to end.
            assert!(began.elapsed() < LIMIT, "{} descriptors are left", descriptors() - usual);
            std::thread::yield_now();
        }
    }
}
