//! Factors large numbers on every core, and survives a task that panics and one that crashes.
//!
//! ```console
//! $ cargo run --release --example quickstart
//! $ cargo run --release --example quickstart -- 18446744073709551557 600851475143
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskError, WorkerId, WorkerOutput};
use serde::{Deserialize, Serialize};

mod factoring;

const NUMBERS: [u64; 12] = [
    18_446_743_979_220_271_189, // the two largest primes below 2^32, multiplied
    18_446_743_369_334_921_507,
    18_446_743_034_327_480_429,
    18_446_744_073_709_551_557, // the largest prime below 2^64
    600_851_475_143,            // the third problem of Project Euler
    1_000_000_016_000_000_063,
    12_345_678_901_234_567_890,
    9_223_372_036_854_775_807,
    576_460_752_303_423_487,
    1_111_111_111_111_111_111,
    18_446_744_073_709_551_615,
    15_241_578_750_190_521,
];

/// What a task returns: any serde type will do.
#[derive(Serialize, Deserialize)]
struct Factored {
    n: u64,
    factors: Vec<u64>,
    worker: WorkerId,
    pid: u32,
}

/// An ordinary function. It runs in a worker process, once for each number.
fn factor(n: u64) -> Factored {
    let worker = procpool::current().worker_id();
    Factored { n, factors: factoring::factors(n), worker, pid: std::process::id() }
}

/// A task with a bug.
fn panicking(n: u64) -> Factored {
    panic!("{n} is an unlucky number")
}

/// A task that takes its whole process with it, as a segfault in a C library would.
fn crashing(_: u64) -> Factored {
    std::process::abort()
}

procpool::register!(factor, panicking, crashing);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let numbers = match numbers(std::env::args().skip(1)) {
        Ok(numbers) => numbers,
        Err(message) => {
            eprintln!("{message}\nusage: quickstart [NUMBER]...");
            return ExitCode::from(2);
        }
    };
    match factor_all(&numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The numbers that were asked for, or the ones built in.
fn numbers(args: impl Iterator<Item = String>) -> Result<Vec<u64>, String> {
    let given: Vec<u64> = args
        .map(|arg| match arg.parse() {
            Ok(n @ 2..) => Ok(n),
            _ => Err(format!("`{arg}` is not a whole number from 2 to {}", u64::MAX)),
        })
        .collect::<Result<_, _>>()?;
    Ok(if given.is_empty() { NUMBERS.to_vec() } else { given })
}

#[tokio::main]
async fn factor_all(numbers: &[u64]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    // One worker for each CPU. What they print, such as the message of a panic, is dropped here;
    // it comes back in the error anyway.
    let pool = ProcessPoolExecutor::builder().worker_output(WorkerOutput::Null).build()?;

    let mut handles = Vec::new();
    let (first, rest) = numbers.split_at(numbers.len() / 2);
    for &n in first {
        handles.push(pool.submit(factor, n).await?);
    }
    handles.push(pool.submit(panicking, 13).await?);
    handles.push(pool.submit(crashing, 666).await?);
    for &n in rest {
        handles.push(pool.submit(factor, n).await?);
    }
    println!("{} tasks, in the order in which they end:\n", handles.len());

    let mut done = procpool::as_completed(handles);
    while let Some(finished) = done.next().await {
        println!("  {}", describe(finished.result));
    }

    let stats = pool.stats();
    pool.shutdown().await;
    let elapsed = start.elapsed();
    println!("\n{} tasks in {elapsed:.0?}:", stats.submitted);
    println!("  {} returned or panicked, {} lost their worker", stats.completed, stats.failed);
    println!("  {} workers were started, {} died", stats.worker_starts, stats.worker_deaths);
    Ok(())
}

fn describe(result: Result<Factored, TaskError>) -> String {
    match result {
        Ok(Factored { n, factors, worker, pid }) => {
            let factors: Vec<_> = factors.iter().map(u64::to_string).collect();
            format!("{worker} (pid {pid}):  {n} = {}", factors.join(" × "))
        }
        Err(error) => error.to_string(),
    }
}
