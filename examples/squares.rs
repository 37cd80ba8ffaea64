//! Squares of many numbers by `pool.map`, and what it does for them to travel in chunks.
//!
//! ```console
//! $ cargo run --release --example squares
//! $ cargo run --release --example squares -- 50000      # so many; ten times as many of the trivial
//! ```

use std::error::Error;
use std::hint::black_box;
use std::ops::Range;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use procpool::{ProcessPoolExecutor, TaskError, TaskFn};

/// The smallest number that is squared: to find its square takes so many divisions.
const FIRST: u64 = 20_000;

/// A trivial task, which takes a nanosecond. To hand it over costs a thousand times as much.
fn square(n: u64) -> u64 {
    n * n
}

/// The same by looking for the next multiple: some tens of microseconds, which is worth another
/// process.
fn square_by_looking(n: u64) -> u64 {
    (n * (n - 1) + 1..=n * n).find(|candidate| candidate.is_multiple_of(n)).unwrap_or(0)
}

procpool::register!(square, square_by_looking);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let count = std::env::args().nth(1).map_or(Ok(20_000), |arg| arg.parse());
    let Ok(count @ 1..=100_000_000) = count else {
        eprintln!("usage: squares [COUNT], from 1 to 100000000");
        return ExitCode::from(2);
    };
    match compare_all(count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn compare_all(count: u64) -> Result<(), Box<dyn Error>> {
    let workers = available_parallelism()?.get();
    // All of them are there before the clock starts.
    let pool = ProcessPoolExecutor::builder().max_workers(workers).min_workers(workers).build()?;
    pool.ready().await?;
    println!("{workers} workers\n");
    compare(&pool, "square_by_looking", square_by_looking, FIRST..FIRST + count).await?;
    compare(&pool, "square", square, FIRST..FIRST + 10 * count).await?;
    pool.shutdown().await;
    println!("all results were those of the loop");
    Ok(())
}

/// Calls `f` with all numbers, in a loop and by the pool, and prints how long it took.
async fn compare<F, M>(
    pool: &ProcessPoolExecutor,
    name: &str,
    f: F,
    numbers: Range<u64>,
) -> Result<(), Box<dyn Error>>
where
    F: TaskFn<u64, M, Output = u64> + Fn(u64) -> u64 + Copy,
{
    let start = Instant::now();
    let expected: Vec<u64> = numbers.clone().map(|n| black_box(f)(n)).collect();
    let serial = start.elapsed();
    println!("{name}, {} numbers      time   speed-up", expected.len());
    print("a loop, without a pool", serial, serial);

    let ways = [
        ("chunks as the pool finds best", None),
        ("one by one", Some(1)),
        ("chunks of 1000", Some(1000)),
    ];
    for (way, chunksize) in ways {
        let start = Instant::now();
        let squares = map(pool, f, numbers.clone(), chunksize).await?;
        print(way, start.elapsed(), serial);
        if squares != expected {
            return Err(format!("{name}, {way}: the results are wrong").into());
        }
    }
    println!();
    Ok(())
}

async fn map<F, M>(
    pool: &ProcessPoolExecutor,
    f: F,
    numbers: Range<u64>,
    chunksize: Option<usize>,
) -> Result<Vec<u64>, TaskError>
where
    F: TaskFn<u64, M, Output = u64>,
{
    let squares = pool.map(f, numbers);
    match chunksize {
        Some(items) => squares.chunksize(items).try_collect().await,
        None => squares.try_collect().await,
    }
}

fn print(way: &str, time: Duration, serial: Duration) {
    println!("  {way:<30} {time:>9.1?} {:>10.2}", serial.div_duration_f64(time));
}
