//! What work on another host costs, beside a bare connection to it.
//!
//! ```text
//! cargo bench -p procpool-benches --bench hosts -- DESTINATION [SSH OPTION]...
//! ```
//!
//! The destination is what `ssh` is called with; one on this machine will do. Each round measures
//! all of it, one after the other, so the machine's mood is the same for what is compared:
//!
//! * **round trip**: a task that does nothing, awaited before the next one; against 64 bytes to
//!   `ssh DESTINATION cat` and back.
//! * **tasks**: many that do nothing, to one worker, and to four.
//! * **map**: items that do nothing.
//! * **large values**: 64 MiB there and back; against the same through `ssh DESTINATION cat`.
//! * **two hosts**: work for the CPU, on two connections with one worker each; against one of them.
//! * **64 workers**: from building a pool of as many there until all are ready; against a login and
//!   a pool of as many here, one after the other.

#![allow(clippy::cast_precision_loss)]

use std::env::args;
use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{Builder, Host, ProcessPoolExecutor};
use serde_bytes::ByteBuf;

const ROUNDS: usize = 5;
const TRIPS: u32 = 2_000;
const TASKS: u64 = 200_000;
const ITEMS: u64 = 4_000_000;
const LARGE: usize = 64 << 20;
const START: usize = 64;

fn noop(x: u64) -> u64 {
    x
}

fn echo(bytes: ByteBuf) -> ByteBuf {
    bytes
}

/// Some milliseconds of work.
fn burn(seed: u64) -> u64 {
    (0..10_000_000).fold(seed, |sum: u64, n| black_box(sum.rotate_left(5) ^ n))
}

procpool::register!(noop, echo, burn);

fn main() -> Result<(), Box<dyn Error>> {
    procpool::init();
    let mut words = args().skip(1).filter(|word| word != "--bench");
    let Some(destination) = words.next() else {
        println!("no destination for ssh was given");
        return Ok(());
    };
    let options: Vec<String> = words.collect();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let pool = |workers| {
            let host = Host::ssh(&destination).workers(workers).ssh_options(&options);
            ProcessPoolExecutor::builder().max_workers(workers).hosts([host]).build()
        };
        let (one, four) = (pool(1)?, pool(4)?);
        one.run(noop, 0).await?;
        four.run(noop, 0).await?;
        for round in 0..ROUNDS {
            let mut bare = Bare::start(&destination, &options)?;
            let floor = bare.round_trip()?;
            let trip = round_trip(&one).await?;
            println!(
                "{round}: round trip {trip:?}, bare {floor:?}, ratio {:.2}",
                trip.as_secs_f64() / floor.as_secs_f64()
            );
            for (name, pool) in [("one worker", &one), ("four", &four)] {
                let tasks = many(pool).await?;
                let items = map(pool).await?;
                println!("{round}: {name}: {tasks:.0} tasks/s, {items:.0} items/s");
            }
            let floor = bare.large()?;
            let large = large(&one).await?;
            println!(
                "{round}: 64 MiB there and back {large:?}, bare {floor:?}, share {:.2}",
                floor.as_secs_f64() / large.as_secs_f64()
            );
        }
        let two = [Host::ssh(&destination), Host::ssh(&destination)];
        let two = two.map(|host| host.workers(1).ssh_options(&options));
        let two = ProcessPoolExecutor::builder().min_workers(2).hosts(two).build()?;
        two.ready().await?;
        for round in 0..ROUNDS {
            let (one, two) = (work(&one).await?, work(&two).await?);
            println!(
                "{round}: work on one host {one:?}, on two {two:?}, ratio {:.2}",
                one.as_secs_f64() / two.as_secs_f64()
            );
        }
        for pool in [one, four, two] {
            pool.shutdown().await;
        }
        for round in 0..3 {
            let began = Instant::now();
            Bare::start(&destination, &options)?.round_trip_once()?;
            start_all(ProcessPoolExecutor::builder()).await?;
            let floor = began.elapsed();
            let host = Host::ssh(&destination).workers(START).ssh_options(&options);
            let began = Instant::now();
            start_all(ProcessPoolExecutor::builder().hosts([host])).await?;
            let took = began.elapsed();
            println!(
                "{round}: {START} workers {took:?}, a login and a local pool {floor:?}, ratio {:.2}",
                took.as_secs_f64() / floor.as_secs_f64()
            );
        }
        Ok(())
    })
}

async fn round_trip(pool: &ProcessPoolExecutor) -> Result<Duration, Box<dyn Error>> {
    pool.run(noop, 0).await?;
    let began = Instant::now();
    for n in 0..TRIPS {
        pool.run(noop, u64::from(n)).await?;
    }
    Ok(began.elapsed() / TRIPS)
}

async fn many(pool: &ProcessPoolExecutor) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut handles = Vec::new();
    for n in 0..TASKS {
        handles.push(pool.submit(noop, n).await?);
    }
    for handle in handles {
        handle.await?;
    }
    Ok(TASKS as f64 / began.elapsed().as_secs_f64())
}

async fn map(pool: &ProcessPoolExecutor) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut results = pool.map(noop, 0..ITEMS);
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(ITEMS as f64 / began.elapsed().as_secs_f64())
}

async fn large(pool: &ProcessPoolExecutor) -> Result<Duration, Box<dyn Error>> {
    let value = ByteBuf::from(vec![7; LARGE]);
    let began = Instant::now();
    let back = pool.run(echo, value).await?;
    assert_eq!(back.len(), LARGE);
    Ok(began.elapsed())
}

/// Some seconds for one CPU.
async fn work(pool: &ProcessPoolExecutor) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let mut results = pool.map(burn, 0..400);
    while let Some(result) = results.next().await {
        result?;
    }
    Ok(began.elapsed())
}

async fn start_all(builder: Builder) -> Result<(), Box<dyn Error>> {
    let pool = builder.max_workers(START).min_workers(START).build()?;
    pool.ready().await?;
    pool.kill_workers();
    Ok(())
}

/// `cat` on the host.
struct Bare(Child);

impl Bare {
    fn start(destination: &str, options: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes"]).args(options).args([destination, "cat"]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    fn round_trip(&mut self) -> Result<Duration, Box<dyn Error>> {
        let (Some(input), Some(output)) = (&mut self.0.stdin, &mut self.0.stdout) else {
            return Err("it has no pipes".into());
        };
        let mut bytes = [7; 64];
        let mut began = Instant::now();
        for n in 0..=TRIPS {
            if n == 1 {
                began = Instant::now(); // the first one waits for the login
            }
            input.write_all(&bytes)?;
            output.read_exact(&mut bytes)?;
        }
        Ok(began.elapsed() / TRIPS)
    }

    fn round_trip_once(&mut self) -> Result<(), Box<dyn Error>> {
        let (Some(input), Some(output)) = (&mut self.0.stdin, &mut self.0.stdout) else {
            return Err("it has no pipes".into());
        };
        input.write_all(&[7])?;
        output.read_exact(&mut [0])?;
        Ok(())
    }

    fn large(&mut self) -> Result<Duration, Box<dyn Error>> {
        let (Some(mut input), Some(output)) = (self.0.stdin.take(), &mut self.0.stdout) else {
            return Err("it has no pipes".into());
        };
        let value = vec![7; LARGE];
        let began = Instant::now();
        let writing = thread::spawn(move || input.write_all(&value));
        let mut back = Vec::with_capacity(LARGE);
        output.read_to_end(&mut back)?;
        writing.join().map_err(|_| "it has panicked")??;
        assert_eq!(back.len(), LARGE);
        Ok(began.elapsed())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
