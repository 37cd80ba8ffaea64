//! Counts the primes below a number: in this process first, then range by range in a pool.
//!
//! ```console
//! $ cargo run --release --example primes               # below a million
//! $ cargo run --release --example primes -- 10000000
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use futures::TryStreamExt;
use procpool::{ProcessPoolExecutor, TaskError};

/// Enough work for one task, and little enough that all workers end at about the same time.
const NUMBERS_PER_TASK: usize = 10_000;

/// How many primes there are from `start` to `end - 1`. It runs in a worker, once for each range.
fn count_primes(start: u64, end: u64) -> usize {
    (start..end).filter(|n| is_prime(*n)).count()
}

/// By trial division, which is slow on purpose.
fn is_prime(n: u64) -> bool {
    n > 1 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d))
}

procpool::register!(count_primes);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let limit = std::env::args().nth(1).map_or(Ok(1_000_000), |arg| arg.parse());
    let Ok(limit) = limit else {
        eprintln!("usage: primes [LIMIT]");
        return ExitCode::from(2);
    };
    match compare(limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn compare(limit: u64) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let expected = count_primes(0, limit);
    let serial = start.elapsed();
    println!("{expected} primes below {limit}, counted one after the other in {serial:.0?}");

    let start = Instant::now(); // what it takes to start the workers counts, too
    let pool = ProcessPoolExecutor::new()?;
    let count = count_in_ranges(&pool, limit).await?;
    let parallel = start.elapsed();
    let workers = pool.stats().worker_starts;
    pool.shutdown().await;
    if count != expected {
        return Err(format!("the pool counted {count}").into());
    }
    println!("{count} primes below {limit}, counted by {workers} workers in {parallel:.0?}");
    println!("speed-up {:.2}", serial.div_duration_f64(parallel));
    Ok(())
}

async fn count_in_ranges(pool: &ProcessPoolExecutor, limit: u64) -> Result<usize, TaskError> {
    let starts = (0..limit).step_by(NUMBERS_PER_TASK);
    let ranges = starts.map(|start| (start, limit.min(start + NUMBERS_PER_TASK as u64)));
    let counts = pool.map(count_primes, ranges);
    counts.try_fold(0, |sum, count| async move { Ok(sum + count) }).await
}
