//! Chaos: pools of real processes under tasks that do all that can go wrong, callers who change
//! their minds, and an outside hand that sends signals to their workers. An independent recorder, a
//! file to which each task appends before it does anything else, tells how often each has begun;
//! every resolution is compared with it.
//!
//! Usually it takes some seconds. A long run, in which each pool has the next seed:
//!
//! ```text
//! PROCPOOL_CHAOS_SECONDS=3600 PROCPOOL_CHAOS_SEED=1 cargo test --release --test chaos -- --nocapture
//! ```
//!
//! `PROCPOOL_CHAOS_SEED` alone runs the pool of that seed and no other. A seed reproduces all
//! decisions, but not how the processes interleave.
//!
//! The workers of two pools out of three may not open what this process has, so that it is sent to
//! them ([`access`]); those of one are there only if root runs this.
//!
//! A stopped worker is no fault that a pool could see: its task just does not end, as one that
//! hangs. So whoever stops a worker either continues it, or the task has a timeout.
//!
//! A binary of its own: it counts the descriptors, threads and children of its process.

mod common;
mod journal;
#[path = "../examples/random/mod.rs"]
mod random;

#[path = "chaos/access.rs"]
mod access;
#[path = "chaos/client.rs"]
mod client;
#[path = "chaos/deeds.rs"]
mod deeds;
#[path = "chaos/hand.rs"]
mod hand;
#[path = "chaos/record.rs"]
mod record;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use procpool::{Builder, PoolStats, ProcessPoolExecutor, Shutdown, StartMethod, WorkerOutput};

use access::Access;
use client::{Client, Hung, Rules};
use common::{LIMIT, in_time, processes_with_env};
use deeds::{MAX_PAYLOAD, own_pid};
use hand::{Hand, Struck};
use journal::Journal;
use random::Random;
use record::{Audit, End, Fate, Tally, read_begins};

procpool::test_support!();

/// Its value tells the processes of one pool, grandchildren included, from all others.
const MARK: &str = "PROCPOOL_CHAOS_MARK";
/// In megabytes: what the allocator of a process keeps that has once had many large payloads.
const MOST_GROWTH: usize = 128;
const CLIENTS: u32 = 4;
const STEPS: u32 = 25;

// ----- a pool's life -----

fn build(random: &mut Random, mark: &str) -> (ProcessPoolExecutor, Rules) {
    let mut chance = |one_in| random.below(one_in) == 0;
    let is_forked = chance(2);
    let rules = Rules { stops_for_good: chance(3), kills_server: is_forked && chance(3) };
    let mut builder = ProcessPoolExecutor::builder()
        .grace_period(Duration::from_millis(60))
        .start_timeout(10 * LIMIT)
        .max_payload(MAX_PAYLOAD)
        .worker_output(if chance(2) { WorkerOutput::Null } else { WorkerOutput::lines(|_| {}) })
        .env(MARK, mark)
        .env("RUST_BACKTRACE", "0");
    if is_forked {
        builder = builder.start_method(StartMethod::ForkServer).preload(own_pid, ());
    }
    if rules.stops_for_good {
        builder = builder.default_timeout(Duration::from_millis(500));
    }
    if chance(2) {
        builder = builder.initializer(own_pid, ()).exit_hook(own_pid, ());
    }
    builder = limit(random, builder);
    let most = *random.choose(&[1, 2, 3, 4]);
    let least = *random.choose(&[0, 0, 1, most]);
    (builder.max_workers(most).min_workers(least).build().unwrap(), rules)
}

fn limit(random: &mut Random, mut builder: Builder) -> Builder {
    let mut chance = |one_in| random.below(one_in) == 0;
    if chance(3) {
        builder = builder.idle_timeout(Duration::from_millis(2));
    }
    if chance(3) {
        builder = builder.max_tasks_per_child(3);
    }
    if chance(2) {
        builder = builder.max_memory_per_child(16 << 20);
    }
    if chance(3) {
        builder = builder.queue_capacity(if chance(2) { 0 } else { 3 });
    }
    if chance(3) {
        builder = builder.queue_bytes(if chance(2) { 1 } else { 100_000 });
    }
    if chance(3) {
        builder = builder.shared_memory(if chance(2) { 0 } else { 1 << 20 });
    }
    builder
}

/// How a pool ends; it is orderly if all tasks may come to their own end before.
#[derive(Clone, Copy, Debug)]
struct Finish {
    how: u64,
    after: Option<Duration>,
}

impl Finish {
    fn draw(random: &mut Random) -> Self {
        let (how, delay) = (random.below(6), Duration::from_millis(random.below(1500)));
        Self { how, after: (random.below(6) == 0).then_some(delay) }
    }

    fn is_orderly(self) -> bool {
        self.after.is_none()
    }

    /// Tasks that nobody waits for any more may be cut.
    async fn end(self, pool: &ProcessPoolExecutor) {
        let limited = Shutdown::new().within(Duration::from_millis(3));
        match self.how {
            0 | 1 => pool.shutdown().await,
            2 => pool.shutdown_with(Shutdown::new().cancel_futures(true)).await,
            3 => pool.shutdown_with(limited).await,
            4 => pool.terminate_workers().await,
            _ => pool.kill_workers().await,
        };
    }

    async fn after<T>(
        self,
        clients: impl Future<Output = T>,
        pool: &ProcessPoolExecutor,
        hung: &Hung,
    ) -> T {
        let Some(delay) = self.after else {
            let done = clients.await;
            let _ = hung.or_note(self.end(pool)).await;
            return done;
        };
        let ended = async {
            tokio::time::sleep(delay).await;
            let _ = hung.or_note(self.end(pool)).await;
        };
        tokio::join!(clients, ended).0
    }
}

async fn live(seed: u64, access: Access, tally: &mut Tally) {
    let mark = format!("{}-{seed}", std::process::id());
    let (journal, mut random, hung) = (Journal::new(), Random::new(seed), Hung::default());
    let (pool, rules) = build(&mut random, &mark);
    let is_over = Arc::new(AtomicBool::new(false));
    let hand = Hand::new(&pool, random.number(), rules, &hung);
    let hand = tokio::spawn(hand.strike_until(Arc::clone(&is_over)));
    let clients = (0..CLIENTS).map(|number| {
        let client = Client::new(&pool, journal.path(), rules, &hung, number * 1_000_000);
        tokio::spawn(client.work(random.number(), STEPS))
    });
    let clients = join_all(clients.collect::<Vec<_>>());
    let finish = Finish::draw(&mut random);
    let clients = finish.after(clients, &pool, &hung).await;
    is_over.store(true, Ordering::Relaxed);
    let Struck { hits, sent_to } = hand.await.unwrap_or_else(|error| {
        tally.complaints.push(format!("seed {seed}: {error}"));
        Struck::default()
    });
    tally.hits += hits.len() as u64;
    tally.sent_to += sent_to.len() as u64;
    if !sent_to.is_empty() && !access.is_sent() {
        tally.complaints.push(format!("seed {seed}: {access:?}, and {sent_to:?} have sockets"));
    }
    let mut fates = Vec::new();
    for client in clients {
        match client {
            Ok(of_client) => fates.extend(of_client),
            Err(error) => tally.complaints.push(format!("seed {seed}: {error}")),
        }
    }
    check_pool(&pool, &fates, seed, tally);
    check_processes(&mark, seed, tally);
    let begins = read_begins(&std::fs::read(journal.path()).unwrap());
    Audit::new(tally, (seed, access), finish.is_orderly(), hits, begins).judge(fates);
    let hung = hung.take();
    tally.hung += hung.len() as u64;
    tally.complaints.extend(hung.into_iter().map(|what| format!("seed {seed}: {what}")));
}

fn check_pool(pool: &ProcessPoolExecutor, fates: &[Fate], seed: u64, tally: &mut Tally) {
    let PoolStats { submitted, completed, failed, cancelled, items, .. } = pool.stats();
    tally.worker_starts += pool.stats().worker_starts;
    tally.worker_deaths += pool.stats().worker_deaths;
    let called = fates.iter().filter(|fate| fate.calls.is_some()).count() as u64;
    let returned = fates.iter().filter(|fate| matches!(fate.end, End::Returned(_))).count() as u64;
    if returned > items.returned {
        tally.lost += 1;
        tally.complaints.push(format!("seed {seed}: {returned} have returned: {items:?}"));
    }
    if submitted != completed + failed + cancelled || submitted < called.min(1) {
        tally.lost += 1;
        tally.complaints.push(format!("seed {seed}: {:?}", pool.stats()));
    }
}

/// What a task has left behind was killed, and nobody waits until it has gone.
fn check_processes(mark: &str, seed: u64, tally: &mut Tally) {
    let (began, mut left) = (Instant::now(), processes_with_env(MARK, mark));
    while !left.is_empty() && began.elapsed() < LIMIT {
        std::thread::yield_now();
        left = processes_with_env(MARK, mark);
    }
    if !left.is_empty() {
        tally.complaints.push(format!("seed {seed}: {left:?} are left"));
    }
}

// ----- a campaign -----

/// What a process has that must not grow.
#[derive(Clone, Copy, Debug)]
struct Belongings {
    descriptors: usize,
    threads: usize,
    children: usize,
    megabytes: usize,
}

fn belongings() -> Belongings {
    let count = |directory| std::fs::read_dir(directory).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Belongings {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        children: common::children().len(),
        megabytes: resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10,
    }
}

impl Belongings {
    fn is_within(self, usual: Self) -> bool {
        self.descriptors <= usual.descriptors
            && self.threads <= usual.threads
            && self.children <= usual.children
            && self.megabytes <= usual.megabytes + MOST_GROWTH
    }

    /// Threads that have started workers, or reap them, may still be about to end.
    fn settled(usual: Self) -> Self {
        let began = Instant::now();
        while !belongings().is_within(usual) && began.elapsed() < LIMIT {
            std::thread::yield_now();
        }
        belongings()
    }
}

fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = if seed.is_multiple_of(2) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build().unwrap()
}

/// After one pool there is what a runtime opens once and for all, such as its descriptors for
/// signals.
fn usual() -> Belongings {
    let runtime = runtime(0);
    runtime.block_on(async {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
        in_time(pool.run(own_pid, ())).await.unwrap();
        in_time(pool.shutdown()).await;
    });
    drop(runtime);
    belongings()
}

fn number_in_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// Which seeds, and how long new ones are begun.
fn campaign() -> (std::ops::Range<u64>, Duration) {
    let seed = number_in_env("PROCPOOL_CHAOS_SEED");
    let seconds = number_in_env("PROCPOOL_CHAOS_SECONDS");
    match (seed, seconds) {
        (None, None) => (0..24, Duration::from_secs(8)),
        (Some(seed), None) => (seed..seed + 1, LIMIT),
        (seed, Some(seconds)) => (seed.unwrap_or(0)..u64::MAX, Duration::from_secs(seconds)),
    }
}

#[test]
fn nothing_is_lost_in_chaos() {
    let (seeds, time) = campaign();
    let usual = usual();
    let (began, mut tally, mut last) = (Instant::now(), Tally::default(), 0);
    for seed in seeds.clone() {
        println!("seed {seed}");
        Access::of(seed).with(|access| {
            let runtime = runtime(seed);
            runtime.block_on(live(seed, access, &mut tally));
            runtime.shutdown_timeout(LIMIT); // or threads that wait for something lost would block this one, too
        });
        let settled = Belongings::settled(usual);
        if !settled.is_within(usual) {
            tally.complaints.push(format!("seed {seed}: {usual:?} have become {settled:?}"));
        }
        last = seed;
        if !tally.is_clean() || began.elapsed() > time {
            break;
        }
    }
    report(&tally, seeds.start, last, began.elapsed(), usual);
    let are_few = last - seeds.start < 5; // and some end before anybody looks
    assert!(are_few || !tally.is_clean() || tally.sent_to > 0, "no worker was sent memory");
    assert!(tally.is_clean(), "{:#?}", tally.complaints);
}

fn report(tally: &Tally, first: u64, last: u64, time: Duration, before: Belongings) {
    let Tally { lost, repeated, hung, innocent, tasks, begins, hits, .. } = tally;
    let Tally { worker_starts, worker_deaths, sent_to, returned, panicked, died, .. } = tally;
    let Tally { timed_out, cancelled, never_began, other_errors, unknown, .. } = tally;
    println!(
        "seeds {first} to {last} in {time:.0?}: {tasks} tasks, which have begun {begins} times\n\
         {worker_starts} workers, {worker_deaths} deaths, {hits} hits from outside, \
         {sent_to} seen with sockets\n\
         ends: {returned} returned, {panicked} panicked, {died} died, {timed_out} timed out, \
         {cancelled} cancelled, {never_began} never began, {other_errors} other, {unknown} unseen\n\
         lost {lost}, repeated {repeated}, hung {hung}, wronged {innocent}\n\
         before {before:?}\nafter  {:?}",
        belongings()
    );
}
