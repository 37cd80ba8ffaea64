//! A library that leaks, and a pool that restarts its workers every hundred tasks.
//!
//! ```console
//! $ cargo run --release --example restart
//! $ cargo run --release --example restart -- 5000      # so many tasks
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use futures::StreamExt;
use procpool::ProcessPoolExecutor;

const TASKS_PER_CHILD: u64 = 100;
const LEAK: usize = 256 << 10;
const MEBIBYTE: u64 = 1 << 20;

/// Returns who it is and how much memory it has, of which it leaks some each time.
fn leaky() -> (u32, Option<u64>) {
    std::mem::forget(black_box(vec![1_u8; LEAK]));
    (std::process::id(), resident_memory())
}

/// The bytes of RAM that this process takes; only Linux tells in this way.
fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

procpool::register!(leaky);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let tasks = std::env::args().nth(1).map_or(Ok(1_000), |arg| arg.parse());
    let Ok(tasks) = tasks else {
        eprintln!("usage: restart [TASKS]");
        return ExitCode::from(2);
    };
    match run_all(tasks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is known of one worker.
#[derive(Default)]
struct Worker {
    tasks: u64,
    memory: u64,
}

#[tokio::main]
async fn run_all(tasks: usize) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let pool = ProcessPoolExecutor::builder().max_tasks_per_child(TASKS_PER_CHILD).build()?;
    let mut workers: BTreeMap<u32, Worker> = BTreeMap::new();
    let mut results = pool.map(leaky, std::iter::repeat_n((), tasks));
    while let Some(result) = results.next().await {
        let (pid, memory) = result?;
        let worker = workers.entry(pid).or_default();
        worker.tasks += 1;
        worker.memory = worker.memory.max(memory.unwrap_or_default());
    }
    pool.shutdown().await;

    for (pid, Worker { tasks, memory }) in &workers {
        println!("pid {pid}: {tasks} tasks, {} MiB at last", memory / MEBIBYTE);
    }
    let leaked = (tasks * LEAK) as u64 / MEBIBYTE;
    let most = workers.values().map(|worker| worker.memory).max().unwrap_or_default() / MEBIBYTE;
    println!("{leaked} MiB were leaked in {tasks} tasks, but no worker had more than {most} MiB");
    println!("{} workers were started, {:.0?}", pool.stats().worker_starts, start.elapsed());
    Ok(())
}
