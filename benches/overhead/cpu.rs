//! Work that keeps the CPUs busy, and a pool that has none.

use std::fs;
use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use procpool::ProcessPoolExecutor;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tokio::sync::oneshot;

use super::bed::{Bed, Flavor, seconds, timed};
use super::counts::{Usage, round_trips};
use super::harness::{Aim, Block, Case, Options, Unit};

/// About a millisecond of work each.
const ITEMS: u64 = 200;
const STEPS: u64 = 1_000_000;

/// The same code for all who run it, step by step: what is inlined may be folded, and here more
/// than there.
#[inline(never)]
fn churn(seed: u64) -> u64 {
    (0..STEPS).fold(seed, |x, step| black_box(x.wrapping_mul(6_364_136_223_846_793_005) ^ step))
}

procpool::register!(churn);

pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let mut cases = vec![busy(options)];
    for flavor in [Flavor::CurrentThread, Flavor::Spawned] {
        cases.push(idle_wake_ups(flavor, options));
    }
    cases.push(idle_time(options));
    cases
}

fn busy(options: &Options) -> Case {
    let case = Case::new("CPU-bound map, 2 workers", Unit::Latency, options.scale(15), || {
        let bed = Bed::new(Flavor::Spawned);
        let pool = bed.pool(2);
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        Box::new(move || {
            let (mut expected, mut of_rayon) = (Vec::new(), Vec::new());
            let serial = timed(1, || expected = (0..ITEMS).map(churn).collect());
            let parallel = timed(1, || {
                of_rayon = rayon.install(|| (0..ITEMS).into_par_iter().map(churn).collect());
            });
            let pool = pool.clone();
            let (took, results) = bed
                .run(async move { seconds(pool.map(churn, 0..ITEMS).collect::<Vec<_>>()).await });
            let results: Vec<u64> = results.into_iter().map(|one| one.expect("a result")).collect();
            assert!(results == expected && of_rayon == expected);
            Block { ours: vec![took], others: vec![parallel, serial] }
        })
    });
    case.floor("rayon, 2 threads", &[Aim::Times(0.97)]).floor("serial", &[Aim::Times(1.9)])
}

fn idle_wake_ups(flavor: Flavor, options: &Options) -> Case {
    let name = format!("wake-ups of an idle pool in a second, {}", flavor.name());
    idle(name, Unit::Count, flavor, options, |usage| (usage.wake_ups + usage.preemptions) as f64)
}

fn idle_time(options: &Options) -> Case {
    let name = "CPU time of an idle pool in a second".to_owned();
    idle(name, Unit::Latency, Flavor::Spawned, options, |usage| usage.cpu as f64 * 1e-9)
}

fn idle(
    name: String,
    unit: Unit,
    flavor: Flavor,
    options: &Options,
    value: fn(Usage) -> f64,
) -> Case {
    let case = Case::new(name, unit, options.scale(3), move || {
        let pool = IdlePool::new(flavor);
        Box::new(move || Block::alone(value(pool.usage())))
    });
    case.aim(Aim::AtMost(0.0))
}

/// A pool of two workers that have run tasks, in a runtime on a thread of its own.
struct IdlePool {
    workers: Vec<u32>,
    _until: oneshot::Sender<()>,
}

impl IdlePool {
    fn new(flavor: Flavor) -> Self {
        let (sender, workers) = mpsc::channel();
        let (until, over) = oneshot::channel();
        thread::spawn(move || {
            Bed::new(flavor).run(async move {
                let builder = ProcessPoolExecutor::builder().max_workers(2).min_workers(2);
                let pool = builder.build().expect("a pool");
                pool.ready().await.expect("workers");
                round_trips(&pool, 100).await;
                let pids = pool.workers().iter().map(|worker| worker.pid).collect();
                sender.send(pids).expect("somebody waits for it");
                let _ = over.await; // the sender is dropped
                pool.shutdown().await;
            });
        });
        Self { workers: workers.recv().expect("a pool"), _until: until }
    }

    /// Of the workers, and of all threads of this process but the one that sleeps here: all other
    /// pools of this benchmark are idle, too.
    fn usage(&self) -> Usage {
        thread::sleep(Duration::from_millis(200)); // what has run before is over then
        let before = self.usage_so_far();
        thread::sleep(Duration::from_secs(1));
        self.usage_so_far() - before
    }

    fn usage_so_far(&self) -> Usage {
        let pid = std::process::id();
        let threads = fs::read_dir("/proc/self/task").expect("a list of threads");
        let names = threads.map(|entry| entry.expect("a thread").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let others = names.filter(|name| *name != pid.to_string());
        let workers = Usage::of(&self.workers).expect("workers");
        others.fold(workers, |sum, thread| {
            sum.plus(Usage::of_thread(&thread, pid).expect("a thread"))
        })
    }
}
