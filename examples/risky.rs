//! Ten tasks, of which half go wrong, each in its own way. The others never notice.
//!
//! ```console
//! $ cargo run --release --example risky
//! $ cargo run --release --example risky -- 10     # an endless loop may run for ten seconds
//! ```

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, TaskError, WorkerOutput};

/// What a worker may allocate: enough for every honest task here.
const MEMORY: u64 = 256 << 20;
const MEBIBYTE: usize = 1 << 20;
/// This one fails at its first attempt.
const FLAKY: u64 = 9;

/// Squares a number, if all goes well; also says which attempt it took.
fn risky(n: u64) -> (u64, u32) {
    let attempt = procpool::current().attempt();
    match n {
        2 => panic!("{n} is not to my taste"),
        4 => drop(overflow_the_stack(n)),
        5 => loop_for_ever(),
        7 => leak(),
        FLAKY if attempt == 1 => crash_now_and_then(),
        _ => {}
    }
    (n * n, attempt)
}

/// As deep as it goes, and then a crash that no `catch_unwind` catches.
fn overflow_the_stack(n: u64) -> u64 {
    black_box(black_box([n; 1000])[1] + if black_box(true) { overflow_the_stack(n + 1) } else { 0 })
}

fn loop_for_ever() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Takes memory until there is no more.
fn leak() -> ! {
    loop {
        std::mem::forget(black_box(vec![1_u8; MEBIBYTE]));
    }
}

/// As a library might that calls `exit` when it loses a connection.
fn crash_now_and_then() -> ! {
    eprintln!("the connection was lost");
    std::process::exit(3)
}

procpool::register!(risky);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let seconds = std::env::args().nth(1).map_or(Ok(1), |arg| arg.parse());
    let Ok(seconds) = seconds else {
        eprintln!("usage: risky [SECONDS]");
        return ExitCode::from(2);
    };
    match run_all(Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run_all(limit: Duration) -> Result<(), Box<dyn Error>> {
    let pool = ProcessPoolExecutor::builder()
        .default_timeout(limit)
        .hard_memory_limit(MEMORY)
        .worker_output(WorkerOutput::Null) // it is shown with the errors
        .env("RUST_BACKTRACE", "0") // the last words of a crash are enough
        .build()?;
    let mut handles = Vec::new();
    for n in 1..=10 {
        // Only this one may be begun twice; for the others one crash is enough.
        let retries = u32::from(n == FLAKY);
        handles.push(pool.task(risky, n).retries(retries).submit().await?);
    }
    for handle in handles {
        let id = handle.id();
        match handle.await {
            Ok((square, 1)) => println!("{id} returned {square}"),
            Ok((square, attempt)) => println!("{id} returned {square} at attempt {attempt}"),
            Err(error) => println!("{}", explain(&error)),
        }
    }
    let stats = pool.stats();
    pool.shutdown().await;
    println!("{} workers were started, {} died", stats.worker_starts, stats.worker_deaths);
    Ok(())
}

/// What an error says, and what it answers if it is asked.
fn explain(error: &TaskError) -> String {
    let mut lines = vec![error.to_string()];
    if let Some(panic) = error.panic() {
        lines.push(format!("is_panic: {:?} at {:?}", panic.message(), panic.location()));
    }
    if let Some(death) = error.worker_death() {
        let (pid, signal, code) = (death.pid(), death.signal(), death.exit_code());
        lines.push(format!("is_worker_death: pid {pid}, signal {signal:?}, exit code {code:?}"));
        // All tasks here are ours, so what the worker printed may be shown.
        let printed: Vec<_> = death.stderr_tail().lines().collect();
        let last = printed.iter().rev().take(4).rev();
        lines.extend(last.map(|line| format!("it printed: {line}")));
    }
    if error.is_timeout() {
        lines.push(format!("is_timeout: at attempt {}", error.attempts()));
    }
    lines.join("\n    ")
}
