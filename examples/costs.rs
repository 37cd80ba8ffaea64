//! What a task costs in calls of the kernel, wake-ups, copied bytes and allocations: counted, not
//! timed.
//!
//! ```text
//! cargo run --release --example costs -- [FILTER]
//! ```
//!
//! The kernel counts calls that read or write, the bytes that it copies for them, how often threads
//! wait and are woken, and pages that are mapped when they are touched (`/proc/PID/io`, `status`,
//! `stat`); an allocator counts allocations. Of all other calls `strace` can tell:
//!
//! ```text
//! strace -f -c target/release/examples/costs 'round trip'
//! ```

mod counts;

use std::io;

use procpool::ProcessPoolExecutor;

use counts::{Counts, Pending, bulk, echoes, emissions, looks, map, round_trips};

const WORKERS: usize = 2;
const PENDING: usize = 300_000;

/// What is counted, and how often it is done.
const CASES: [(&str, usize, Work); 8] = [
    ("round trip", 10_000, Work::RoundTrips),
    ("one of many tasks", 200_000, Work::Bulk),
    ("item of a map", 2_000_000, Work::Map),
    ("value that is emitted", 200_000, Work::Emit(16)),
    ("one of 1000 that wait", 200_000, Work::Emit(1_000)),
    ("64 KiB there and back", 1_000, Work::Echo(64 << 10)),
    ("64 MiB there and back", 10, Work::Echo(64 << 20)),
    ("1 MiB by reference", 10_000, Work::Look(1 << 20)),
];

#[derive(Clone, Copy)]
enum Work {
    RoundTrips,
    Bulk,
    Map,
    /// So many may wait.
    Emit(usize),
    Echo(usize),
    Look(usize),
}

fn main() -> io::Result<()> {
    procpool::init();
    count()
}

#[tokio::main(flavor = "current_thread")]
async fn count() -> io::Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).min_workers(WORKERS);
    let pool = pool.build().expect("a pool");
    pool.ready().await.expect("workers");
    println!(
        "{:22} {:>40} {:>41} {:>24} {:>12}",
        "", "the pool's process", "its two workers", "allocations", "copied"
    );
    let columns = ["reads", "writes", "wake-ups", "faults"];
    let columns = columns.map(|name| format!("{name:>10}")).join("");
    println!("{:22} {columns}  {columns} {:>11} {:>12} {:>12}", "each", "calls", "bytes", "bytes");
    for (name, times, work) in CASES.into_iter().filter(|case| case.0.contains(&filter)) {
        perform(work, &pool, times.div_ceil(10)).await; // warms up
        let counts = Counts::measure(&pool, perform(work, &pool, times)).await?;
        println!("{}", line(name, &counts, times));
    }
    pool.shutdown().await;
    if "pending task".contains(&filter) {
        let Pending { with_handle, detached } = Pending::measure(PENDING).await?;
        println!("\na pending task takes {detached:.0} bytes, with its handle {with_handle:.0}");
    }
    Ok(())
}

async fn perform(work: Work, pool: &ProcessPoolExecutor, times: usize) {
    match work {
        Work::RoundTrips => round_trips(pool, times).await,
        Work::Bulk => bulk(pool, times).await,
        Work::Emit(capacity) => emissions(pool, times, capacity).await,
        Work::Map => map(pool, times).await,
        Work::Echo(size) => echoes(pool, times, size).await,
        Work::Look(size) => looks(pool, times, size).await,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn line(name: &str, counts: &Counts, times: usize) -> String {
    let each = |count: u64| count as f64 / times as f64;
    let sides = [counts.parent, counts.workers].map(|side| {
        let counts = [side.reads, side.writes, side.wake_ups, side.faults];
        counts.map(|count| format!("{:>10.3}", each(count))).join("")
    });
    let allocations = counts.allocations;
    format!(
        "{name:22} {}  {} {:>11.3} {:>12.0} {:>12.0}",
        sides[0],
        sides[1],
        each(allocations.calls),
        each(allocations.bytes),
        each(counts.copied()),
    )
}
