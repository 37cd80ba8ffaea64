//! What a task costs when many are pending, and when there are many workers.

use futures::StreamExt;
use futures::future::join_all;
use procpool::{ProcessPoolExecutor, TaskHandle};
use rustix::time::{ClockId, clock_gettime};

use super::bed::{Bed, Flavor, seconds, timed};
use super::counts::{Gate, bulk, noop, pass};
use super::floor::Echo;
use super::harness::{Aim, Block, Case, Options, Unit};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
const WORKERS: usize = 256;
/// Flat.
const SAME: Aim = Aim::Ratio(1.2);

pub(crate) fn cases(options: &Options) -> Vec<Case> {
    vec![pending(options), workers(options), crowd(options)]
}

/// From the first submission to the last result, but for the moment in which the workers are let
/// go.
fn pending(options: &Options) -> Case {
    let (many, repetitions) = (options.scale(MANY), options.scale(100));
    let case = Case::new("task of a million pending", Unit::Latency, options.scale(7), move || {
        let bed = Bed::new(Flavor::Spawned);
        let pool = bed.pool_of(2, |builder| builder.queue_capacity(MANY + 2));
        Box::new(move || {
            let pool = pool.clone();
            bed.run(async move {
                let mut few = 0.0;
                for _ in 0..repetitions {
                    few += per_task(&pool, FEW).await / repetitions as f64;
                }
                Block::against(vec![few], per_task(&pool, many).await)
            })
        })
    });
    case.floor("of a thousand", &[SAME])
}

async fn per_task(pool: &ProcessPoolExecutor, tasks: usize) -> f64 {
    let mut gate = Gate::new().expect("a pipe");
    let mut blocked = Vec::new();
    for _ in 0..2 {
        blocked.push(pool.submit(pass, gate.address()).await.expect("an open pool"));
    }
    for task in &blocked {
        task.progress().next().await.expect("a report");
    }
    let (submitting, handles) = seconds(async {
        let mut handles: Vec<TaskHandle<u64>> = Vec::with_capacity(tasks);
        for n in 0..tasks as u64 {
            handles.push(pool.submit(noop, n).await.expect("room for it"));
        }
        handles
    })
    .await;
    gate.open(blocked.len()).expect("a pipe");
    for task in blocked {
        task.await.expect("a result");
    }
    let (awaiting, ()) = seconds(async {
        for handle in handles {
            handle.await.expect("a result");
        }
    })
    .await;
    (submitting + awaiting) / tasks as f64
}

/// CPU time of the pool's process alone: on few cores the workers take turns, which is the kernel's
/// affair.
fn workers(options: &Options) -> Case {
    let (name, tasks) = (format!("parent's CPU time per task, {WORKERS} workers"), 200_000);
    let tasks = options.scale(tasks);
    let case = Case::new(name, Unit::Latency, options.scale(9), move || {
        let bed = Bed::new(Flavor::Spawned);
        let (few, many) = (bed.pool(1), bed.pool(WORKERS));
        Box::new(move || {
            let [few, many] = [&few, &many].map(|pool| {
                let pool = pool.clone();
                let before = cpu_time();
                bed.run(async move { bulk(&pool, tasks).await });
                (cpu_time() - before) / tasks as f64
            });
            Block::against(vec![few], many)
        })
    });
    case.floor("1 worker", &[SAME])
}

/// Seconds that this process has had on CPUs, children not included.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// One task for each worker, all at once, against a line to each of as many children.
fn crowd(options: &Options) -> Case {
    let name = format!("one task for each of {WORKERS} workers, all at once");
    let case = Case::new(name, Unit::Latency, options.scale(60), || {
        let bed = Bed::new(Flavor::Spawned);
        let pool = bed.pool(WORKERS);
        let children = (0..WORKERS).map(|_| Echo::new().expect("a child"));
        let mut children: Vec<Echo> = children.collect();
        Box::new(move || {
            let reference = timed(1, || {
                for child in &mut children {
                    child.send().expect("a child");
                }
                for child in &mut children {
                    child.receive().expect("an echo");
                }
            });
            let pool = pool.clone();
            let (took, ()) = bed.run(async move {
                let tasks = (0..WORKERS as u64).map(|n| pool.run(noop, n));
                seconds(async {
                    assert!(join_all(tasks).await.into_iter().all(|result| result.is_ok()));
                })
                .await
            });
            Block::against(reference, took)
        })
    });
    case.floor("as many pipes, in turn", &[])
}
