//! What a task costs stays within bounds: counts, not times. How many tasks are written together
//! depends on the moment, so the best of a few attempts has to be within the bounds.
//! `cargo run --release --example costs` prints the same counts.
//!
//! A binary of its own: it counts the allocations and the calls of its whole process.

#![cfg(target_os = "linux")]

#[path = "../examples/counts/mod.rs"]
mod counts;

procpool::test_support!();

use std::io;

use procpool::ProcessPoolExecutor;
use tokio::sync::Mutex;

use counts::{Counts, Pending, Usage, bulk_behind_gate, echoes, emissions, map, round_trips};

/// The most that each of many tasks may take. Where nothing else is said all processes are counted
/// together; beside each bound stands what was measured when it was set.
#[derive(Clone, Copy)]
struct Bounds {
    /// Calls of the pool's process that read or write.
    parent_calls: f64,
    /// The same of the workers.
    worker_calls: f64,
    wake_ups: f64,
    /// Calls of the allocator in the pool's process, and the bytes that it asks for.
    allocations: f64,
    allocated: f64,
    /// Bytes that the kernel copies.
    copied: f64,
}

/// A task on an idle pool.
const ROUND_TRIP: Bounds = Bounds {
    parent_calls: 2.1, // 2.0
    worker_calls: 2.2, // 2.0
    wake_ups: 2.1,     // 1.0; the one who waits may find what it waits for before it sleeps
    allocations: 3.1,  // 3.0
    allocated: 600.0,  // 496
    copied: 80.0,      // 66
};

/// One of many that are submitted before the first begins.
const BULK: Bounds = Bounds {
    parent_calls: 0.2, // 0.05
    worker_calls: 0.3, // 0.05
    wake_ups: 0.15,    // 0.03
    allocations: 1.5,  // 1.24
    allocated: 800.0,  // 463
    copied: 100.0,     // 78
};

/// An item of a `map` with default settings.
const ITEM: Bounds = Bounds {
    parent_calls: 0.02, // 0.001
    worker_calls: 0.02, // 0.001
    wake_ups: 0.02,     // 0.001
    allocations: 0.05,  // 0.013, in a release build 0.004
    allocated: 120.0,   // 59, in a release build 24
    copied: 60.0,       // 30
};

/// A value that a task emits, of which sixteen may wait. If the reader sleeps each time there is a
/// call for each on either side, and one for each eight of them the other way.
const EMITTED: Bounds = Bounds {
    parent_calls: 1.3, // 0.13
    worker_calls: 1.3, // 0.09
    wake_ups: 1.3,     // 0.1 to 0.7
    allocations: 0.3,  // 0.07
    allocated: 200.0,  // 18
    copied: 60.0,      // 21
};

/// 64 KiB there and back.
const PAYLOAD: Bounds = Bounds {
    parent_calls: 4.5,    // 4.0
    worker_calls: 4.5,    // 3.1
    wake_ups: 4.0,        // 1.0
    allocations: 18.0,    // 16
    allocated: 450_000.0, // 394 000
    copied: 270_000.0,    // 262 226
};

/// Bytes of memory in the pool's process for each trivial task that is pending.
const PENDING: f64 = 162.0; // 161
/// The same when the handle was dropped.
const PENDING_DETACHED: f64 = 146.0; // 145

const ATTEMPTS: usize = 10;

/// Counts are those of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Fails unless one of a few attempts is within all bounds. If the machine is too busy for each of
/// them, it is enough that none is beyond the looser ones.
async fn check(tasks: usize, bounds: Bounds, work: impl AsyncFn(&ProcessPoolExecutor, usize)) {
    if let Err(error) = Usage::of(&[std::process::id()]) {
        println!("SKIPPED: this system does not count what a process does: {error}");
        return;
    }
    let pool = pool().await;
    work(&pool, tasks).await; // warms up
    let (mut beyond, mut disturbed) = (Vec::new(), 0);
    for _ in 0..ATTEMPTS {
        let counts = Counts::measure(&pool, work(&pool, tasks)).await.unwrap();
        let exceeded = bounds.exceeded_by(&counts, tasks);
        if exceeded.is_empty() {
            return;
        }
        if is_disturbed(&counts) {
            let exceeded = bounds.loosened().exceeded_by(&counts, tasks);
            if !exceeded.is_empty() {
                beyond.push(format!("on a busy machine: {}", exceeded.join(", ")));
            }
            disturbed += 1;
        } else {
            beyond.push(exceeded.join(", "));
        }
    }
    assert!(beyond.is_empty(), "a task costs more than it should:\n{}", beyond.join("\n"));
    println!("the machine was too busy {disturbed} times: only the looser bounds were tested");
}

/// Whether others had the CPUs for much of the time. Then workers look slow to the pool, and are
/// sent less at a time. On an idle machine the share is less than a fifth, with three busy loops
/// beside it above one.
fn is_disturbed(counts: &Counts) -> bool {
    let all = counts.parent.plus(counts.workers);
    all.delay > all.cpu / 3
}

async fn pool() -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(2).min_workers(2);
    // Room for all tasks that are submitted at once.
    let pool = builder.queue_capacity(30_000).build().unwrap();
    pool.ready().await.unwrap();
    pool
}

impl Bounds {
    /// Whatever happens, one of many tasks costs no more than one by itself.
    fn loosened(self) -> Self {
        Self {
            parent_calls: self.parent_calls.max(ROUND_TRIP.parent_calls),
            worker_calls: self.worker_calls.max(ROUND_TRIP.worker_calls),
            wake_ups: self.wake_ups.max(ROUND_TRIP.wake_ups),
            allocations: self.allocations.max(ROUND_TRIP.allocations),
            allocated: self.allocated.max(ROUND_TRIP.allocated),
            ..self
        }
    }

    /// What costs more than it may, in words.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn exceeded_by(&self, counts: &Counts, tasks: usize) -> Vec<String> {
        let calls = |usage: Usage| usage.reads + usage.writes;
        let compared = [
            ("calls of the parent", calls(counts.parent), self.parent_calls),
            ("calls of the workers", calls(counts.workers), self.worker_calls),
            ("wake-ups", counts.parent.wake_ups + counts.workers.wake_ups, self.wake_ups),
            ("allocations", counts.allocations.calls, self.allocations),
            ("bytes allocated", counts.allocations.bytes, self.allocated),
            ("bytes copied", counts.copied(), self.copied),
        ];
        let each = compared.map(|(what, count, most)| (what, count as f64 / tasks as f64, most));
        let exceeded = each.into_iter().filter(|(_, count, most)| count > most);
        exceeded.map(|(what, count, most)| format!("{what}: {count:.3} > {most}")).collect()
    }
}

#[tokio::test]
async fn a_round_trip_takes_one_call_for_each_way_and_side() {
    let _alone = ALONE.lock().await;
    check(1_000, ROUND_TRIP, round_trips).await;
}

#[tokio::test]
async fn many_tasks_share_calls_and_wake_ups() {
    let _alone = ALONE.lock().await;
    check(20_000, BULK, bulk_behind_gate).await;
}

#[tokio::test]
async fn items_of_a_map_cost_next_to_nothing_each() {
    let _alone = ALONE.lock().await;
    check(200_000, ITEM, map).await;
}

#[tokio::test]
async fn values_that_are_emitted_share_calls_and_wake_ups() {
    let _alone = ALONE.lock().await;
    check(20_000, EMITTED, async |pool, values| emissions(pool, values, 16).await).await;
}

#[tokio::test]
async fn a_payload_is_copied_once_for_each_side_and_way() {
    let _alone = ALONE.lock().await;
    check(100, PAYLOAD, async |pool, tasks| echoes(pool, tasks, 64 << 10).await).await;
}

#[tokio::test]
async fn a_pending_task_takes_little_memory() -> io::Result<()> {
    let _alone = ALONE.lock().await;
    let Pending { with_handle, detached } = Pending::measure(50_000).await?;
    assert!(with_handle <= PENDING, "{with_handle} bytes");
    assert!(detached <= PENDING_DETACHED, "{detached} bytes without the handle");
    Ok(())
}
