//! Finds the smallest factor of numbers large and small, and shows each as soon as it is found.
//!
//! ```console
//! $ cargo run --release --example factors
//! $ cargo run --release --example factors -- 62710561 1000000016000000063 91
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::ProcessPoolExecutor;

/// The first ones take longest, so the order in which they end is quite another.
const NUMBERS: [u64; 10] = [
    89_999_980_200_000_989, // the two largest primes below 300 million, multiplied
    4_999_999_999_999_997,  // a prime
    29_999_997_110_000_063,
    999_999_999_999_989, // another prime
    2_305_567_963_945_518_424,
    104_395_303,
    62_710_561,
    10_403,
    9_409,
    91,
];

/// What a worker found, and how long it took.
type Found = (u64, Duration);

/// The smallest factor of `n` but 1; that of a prime is the prime itself.
fn smallest_factor(n: u64) -> Found {
    let start = Instant::now();
    let factor = if n.is_multiple_of(2) {
        2
    } else {
        (3..).step_by(2).take_while(|d| *d <= n / *d).find(|d| n.is_multiple_of(*d)).unwrap_or(n)
    };
    (factor, start.elapsed())
}

procpool::register!(smallest_factor);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let numbers: Option<Vec<u64>> =
        std::env::args().skip(1).map(|arg| arg.parse().ok().filter(|n| *n > 1)).collect();
    let numbers = match numbers.as_deref() {
        None => {
            eprintln!("usage: factors [NUMBER]..., each at least 2");
            return ExitCode::from(2);
        }
        Some([]) => &NUMBERS,
        Some(given) => given,
    };
    match factor_all(numbers) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn factor_all(numbers: &[u64]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let pool = ProcessPoolExecutor::new()?;
    let (mut handles, mut submitted) = (Vec::new(), BTreeMap::new());
    for (place, &n) in (1..).zip(numbers) {
        let handle = pool.submit(smallest_factor, n).await?;
        submitted.insert(handle.id(), (place, n));
        handles.push(handle);
    }

    println!("submitted    ended    after  of these it ran");
    let mut rank = 0;
    let mut done = procpool::as_completed(handles);
    let mut working = Duration::ZERO;
    while let Some(finished) = done.next().await {
        rank += 1;
        let (place, n) = submitted[&finished.id];
        let (factor, took) = finished.result?;
        let (place, rank, now) = (format!("{place}."), format!("{rank}."), start.elapsed());
        let verdict = if factor == n {
            "is prime".to_owned()
        } else {
            format!("= {factor} × {}", n / factor)
        };
        println!("{place:>9} {rank:>8} {now:>8.0?} {took:>15.0?}   {n} {verdict}");
        working += took;
    }
    pool.shutdown().await;
    println!("{working:.0?} of work in {:.0?}", start.elapsed());
    Ok(())
}
