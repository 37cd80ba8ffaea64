//! A large table that is made once and read by many tasks, without a copy of it in any worker.
//!
//! ```console
//! $ cargo run --release --example shared
//! $ cargo run --release --example shared -- 400 200    # megabytes, tasks
//! ```

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use procpool::{ProcessPoolExecutor, SharedSlice, SharedSliceMut};

mod random;
use random::Random;

const LOOKUPS: usize = 20_000;

/// The sum of values from all over the table. Every task needs all of it.
fn look_up(table: &[f64], seed: u64) -> f64 {
    let mut random = Random::new(seed);
    (0..LOOKUPS).map(|_| table[place(&mut random, table.len())]).sum()
}

fn place(random: &mut Random, len: usize) -> usize {
    usize::try_from(random.below(len as u64)).unwrap_or_default()
}

fn shared(table: SharedSlice<f64>, seed: u64) -> f64 {
    look_up(&table, seed)
}

fn copied(table: Vec<f64>, seed: u64) -> f64 {
    look_up(&table, seed)
}

/// Keeps the table in the worker, for quick tasks.
fn keep(table: SharedSlice<f64>) -> SharedSlice<f64> {
    table
}

fn kept(seed: u64) -> f64 {
    procpool::state::<SharedSlice<f64>>().map_or(f64::NAN, |table| look_up(table, seed))
}

/// Doubles all values where they are.
fn double(mut table: SharedSliceMut<f64>) -> SharedSliceMut<f64> {
    table.as_mut_slice().iter_mut().for_each(|value| *value *= 2.0);
    table
}

/// Has workers started.
fn nothing(_: u32) {}

procpool::register!(shared, copied, keep, kept, double, nothing);

fn main() -> ExitCode {
    procpool::init();

    let Some((megabytes, tasks)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: shared [MEGABYTES [TASKS]], each at least 1");
        return ExitCode::from(2);
    };
    match run(megabytes, tasks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Option<(usize, u64)> {
    let default = if cfg!(debug_assertions) { 20 } else { 200 };
    let megabytes = args.next().map_or(Ok(default), |arg| arg.parse()).ok()?;
    let tasks = args.next().map_or(Ok(100), |arg| arg.parse()).ok()?;
    (megabytes >= 1 && tasks >= 1).then_some((megabytes, tasks))
}

#[tokio::main]
async fn run(megabytes: usize, tasks: u64) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut random = Random::new(1);
    let table = SharedSlice::with_len((megabytes << 20) / size_of::<f64>(), |values| {
        values.fill_with(|| random.fraction());
    })?;
    println!("a table of {megabytes} MiB was made in {:.0?}", began.elapsed());
    let expected: Vec<f64> = (0..tasks).map(|seed| look_up(&table, seed)).collect();

    let mut agree = true;
    let mut check = |found: &[f64]| agree &= *found == expected[..found.len()];

    let pool = ProcessPoolExecutor::new()?;
    pool.map(nothing, 0..16).try_collect::<Vec<_>>().await?; // its workers are there
    let began = Instant::now();
    let inputs = (0..tasks).map(|seed| (table.clone(), seed));
    let found: Vec<f64> = pool.map(shared, inputs).try_collect().await?;
    report("passed to each task", began.elapsed(), tasks);
    check(&found);

    let few = tasks.min(4);
    let began = Instant::now();
    let copies = (0..few).map(|seed| (table.to_vec(), seed));
    let found: Vec<f64> = pool.map(copied, copies).chunksize(1).try_collect().await?;
    report("copied to each task", began.elapsed(), few);
    check(&found);
    pool.shutdown().await;

    let pool = ProcessPoolExecutor::builder().initializer(keep, table.clone()).build()?;
    pool.map(nothing, 0..16).try_collect::<Vec<_>>().await?;
    let began = Instant::now();
    let found: Vec<f64> = pool.map(kept, 0..tasks).try_collect().await?;
    report("kept by each worker", began.elapsed(), tasks);
    check(&found);
    for worker in pool.workers() {
        println!("  worker {}: {}", worker.pid, memory_of(worker.pid));
    }
    pool.shutdown().await;
    drop(pool); // it has the table, for more workers

    let (first, last) = (table[0], table[table.len() - 1]);
    let table = match table.try_into_mut() {
        Ok(table) => table,
        Err(table) => SharedSliceMut::copy_from_slice(&table)?, // somebody still has it
    };
    let pool = ProcessPoolExecutor::new()?;
    let began = Instant::now();
    let table = pool.run(double, table).await?.freeze();
    println!("changed by a worker, where it is, in {:.0?}", began.elapsed());
    let doubled = [table[0] / 2.0, table[table.len() - 1] / 2.0];
    agree &= doubled.map(f64::to_bits) == [first, last].map(f64::to_bits);
    pool.shutdown().await;

    if !agree {
        return Err("not all results were those of this process".into());
    }
    println!("all results were those of this process");
    Ok(())
}

fn report(how: &str, time: Duration, tasks: u64) {
    let each = time / u32::try_from(tasks.max(1)).unwrap_or(u32::MAX);
    println!("{how}: {tasks} tasks in {time:.0?}, {each:.0?} each");
}

/// What a process has in memory: all of it, and its share of what it has together with others.
fn memory_of(pid: u32) -> String {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let megabytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_default() / 1024
    };
    let (all, part, own) = (megabytes("Rss:"), megabytes("Pss:"), megabytes("Private_Dirty:"));
    format!("{all} MiB resident, {part} MiB its share, {own} MiB its own")
}
