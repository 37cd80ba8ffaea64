//! A big table that is built once and shared by all workers, which are forked from the process that
//! has it.
//!
//! ```console
//! $ cargo run --release --example forkserver
//! $ cargo run --release --example forkserver -- 150000000    # factors of numbers up to this one
//! ```

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, StartMethod};
use serde::{Deserialize, Serialize};

mod random;
use random::Random;

const WORKERS: usize = 4;
const NUMBERS: usize = 20_000;

/// What is preloaded. It never crosses a process boundary, so it need not be a serde type.
struct Table {
    /// The smallest prime factor of each number.
    smallest: Vec<u32>,
    building: Duration,
    built: Instant,
}

/// The preload, which runs in the fork server: the sieve of Eratosthenes. In earnest it would read
/// a dictionary, an index, or a model.
#[expect(clippy::cast_possible_truncation, reason = "they are at most the limit")]
fn build(limit: u32) -> Table {
    let start = Instant::now();
    let mut smallest: Vec<u32> = (0..=limit).collect();
    for p in 2..=limit.isqrt() as usize {
        if smallest[p] as usize == p {
            for multiple in (p * p..smallest.len()).step_by(p) {
                if smallest[multiple] as usize == multiple {
                    smallest[multiple] = p as u32;
                }
            }
        }
    }
    Table { smallest, building: start.elapsed(), built: Instant::now() }
}

fn table() -> &'static Table {
    procpool::preloaded().expect("the pool has a preload")
}

/// How long it took to build the table, and its bytes.
fn describe() -> (Duration, usize) {
    (table().building, size_of_val(&table().smallest[..]))
}

/// The prime factors of a number, which take no search.
fn factors(mut n: u32) -> Vec<u32> {
    worker().answers.set(worker().answers.get() + 1);
    let smallest = &table().smallest;
    let mut factors = Vec::new();
    while n > 1 {
        factors.push(smallest[n as usize]);
        n /= smallest[n as usize];
    }
    factors
}

/// What each worker keeps for itself.
struct Worker {
    /// After the table was built; time is the same in all processes of a machine.
    ready: Duration,
    answers: Cell<u32>,
}

/// The initializer: each worker runs it when it is forked.
fn begin() -> Worker {
    Worker { ready: table().built.elapsed(), answers: Cell::new(0) }
}

fn worker() -> &'static Worker {
    procpool::state().expect("the pool has an initializer")
}

/// What a worker says when it leaves.
#[derive(Serialize, Deserialize)]
struct Usage {
    pid: u32,
    ready: Duration,
    answers: u32,
}

/// The exit hook.
fn report_usage() -> Usage {
    Usage { pid: std::process::id(), ready: worker().ready, answers: worker().answers.get() }
}

procpool::register!(build, describe, factors, begin, report_usage);

fn main() -> ExitCode {
    procpool::init(); // the fork server and its workers stop here and never return

    let limit = std::env::args().nth(1).map_or(Ok(75_000_000), |arg| arg.parse());
    let Some(limit) = limit.ok().filter(|limit| *limit >= 1) else {
        eprintln!("usage: forkserver [LIMIT], at least 1");
        return ExitCode::from(2);
    };
    match factor_many(limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn factor_many(limit: u32) -> Result<(), Box<dyn Error>> {
    let pool = ProcessPoolExecutor::builder()
        .start_method(StartMethod::ForkServer)
        .preload(build, limit)
        .initializer(begin, ())
        .exit_hook(report_usage, ())
        .max_workers(WORKERS)
        .min_workers(WORKERS)
        .build()?;
    pool.ready().await?;
    let (took, size) = pool.run(describe, ()).await?;
    println!("the preload took {took:.0?}: a table of {} MB", megabytes(size));

    let start = Instant::now();
    let mut random = Random::new(1);
    let numbers: Vec<u32> = (0..NUMBERS)
        .map(|_| u32::try_from(random.below(limit.into())).map(|n| n + 1))
        .collect::<Result<_, _>>()?;
    let mut results = pool.map(factors, numbers.clone()).zip(futures::stream::iter(&numbers));
    let mut right = 0;
    while let Some((factors, number)) = results.next().await {
        right += usize::from(factors?.iter().product::<u32>() == *number);
    }
    println!("{right} of {NUMBERS} numbers were factored correctly in {:.0?}", start.elapsed());

    let workers = pool.workers();
    let memory: BTreeMap<_, _> = workers.iter().map(|w| (w.pid, memory_of(w.pid))).collect();
    let report = pool.shutdown().await;
    let exits = report.exit_results()?.into_iter();
    let mut usages: Vec<Usage> = exits.map(|exit| exit.result).collect::<Result<_, _>>()?;
    usages.sort_by_key(|usage| usage.ready);
    for Usage { pid, ready, answers } in usages {
        let memory = memory.get(&pid).and_then(Option::as_deref).unwrap_or("unknown");
        println!(
            "pid {pid}: ready {ready:.1?} after the preload, {answers} answers, memory {memory}"
        );
    }
    Ok(())
}

/// The memory of a process, with its part of what it shares with others, and without; only Linux
/// tells in this way.
fn memory_of(pid: u32) -> Option<String> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kibibytes = |key: &str| -> Option<usize> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let own = kibibytes("Private_Clean:")? + kibibytes("Private_Dirty:")?;
    let (part, own) = (megabytes(kibibytes("Pss:")? << 10), megabytes(own << 10));
    Some(format!("{part} MB, of which {own} MB are its own"))
}

#[expect(clippy::cast_precision_loss, reason = "to be shown")]
fn megabytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
