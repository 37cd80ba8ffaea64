//! procspawn does what the benchmark `overhead` asks for; the protocol is that of `peers.py`.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use procspawn::Pool;
use serde_bytes::ByteBuf;

const WORKERS: usize = 2;
/// Each pending task has a descriptor or more, and 1024 is a common limit.
const AT_ONCE: usize = 100;

fn main() -> io::Result<()> {
    procspawn::init();
    let pool = Pool::new(WORKERS).expect("a pool");
    round_trips(&pool, 10);
    println!("ready procspawn 1.0.2");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (request, count) = line.split_once(' ').expect("a request and a number");
        let count = count.parse().expect("a number");
        let times = match request {
            "round_trip" => round_trips(&pool, count),
            "tasks" => vec![tasks(&pool, count)],
            "payload" => vec![payload(&pool, count)],
            _ => Vec::new(),
        };
        let times: Vec<String> = times.iter().map(f64::to_string).collect();
        println!("{}", times.join(" "));
        io::stdout().flush()?;
    }
    pool.kill();
    Ok(())
}

fn round_trips(pool: &Pool, count: usize) -> Vec<f64> {
    let once = |n| {
        let start = Instant::now();
        let result = pool.spawn(n, |x| x).join().expect("a result");
        assert_eq!(result, n);
        start.elapsed().as_secs_f64()
    };
    (0..count as u64).map(once).collect()
}

/// Not more than [`AT_ONCE`] are pending, as it would run out of descriptors.
fn tasks(pool: &Pool, count: usize) -> f64 {
    let start = Instant::now();
    for first in (0..count).step_by(AT_ONCE) {
        let numbers = first..count.min(first + AT_ONCE);
        let spawned: Vec<_> = numbers.map(|n| pool.spawn(n, |x| x)).collect();
        for handle in spawned {
            handle.join().expect("a result");
        }
    }
    start.elapsed().as_secs_f64() / count as f64
}

fn payload(pool: &Pool, size: usize) -> f64 {
    let payload = ByteBuf::from(vec![0xA5; size]);
    let start = Instant::now();
    let echo = pool.spawn(payload, |bytes| bytes);
    assert_eq!(echo.join().expect("a result").len(), size);
    start.elapsed().as_secs_f64()
}
