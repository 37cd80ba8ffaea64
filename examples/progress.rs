//! A search that shows how far it is, and stops in good order when it is interrupted.
//!
//! ```console
//! $ cargo run --release --example progress                 # below ten million
//! $ cargo run --release --example progress -- 1000000000   # and press Ctrl-C when it is enough
//! ```

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, Progress, TaskHandle};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};

const WIDTH: u64 = 30;

/// The number that takes most steps to get down to one, of those that were looked at.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Longest {
    start: u64,
    steps: u32,
    /// All numbers below this one were looked at.
    seen: u64,
}

/// Halve what is even, else triple it and add one: Collatz believed that this always ends at one.
fn longest_way_down(limit: u64) -> Longest {
    let current = procpool::current();
    let mut longest = Longest::default();
    for n in 1..limit {
        if current.is_cancelled() {
            break; // what was found so far is the result
        }
        let steps = steps(n);
        if steps > longest.steps {
            longest = Longest { start: n, steps, ..longest };
        }
        longest.seen = n + 1;
        if n % 1_000 == 0 {
            current.progress(n, limit, format!("{} takes {} steps", longest.start, longest.steps));
        }
    }
    longest
}

fn steps(start: u64) -> u32 {
    let mut n = u128::from(start);
    let mut steps = 0;
    while n != 1 {
        n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

procpool::register!(longest_way_down);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let limit = std::env::args().nth(1).map_or(Ok(10_000_000), |arg| arg.parse());
    let Ok(limit @ 2..) = limit else {
        eprintln!("usage: progress [LIMIT], at least 2");
        return ExitCode::from(2);
    };
    match search(limit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn search(limit: u64) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let interrupts = signal(SignalKind::interrupt())?;
    let pool = ProcessPoolExecutor::new()?;
    let handle = pool.submit(longest_way_down, limit).await?;
    show_until_done(&handle, interrupts).await?;
    let Longest { start: longest, steps, seen } = handle.await?;
    pool.shutdown().await;
    if seen < limit {
        println!("interrupted");
    }
    println!("below {seen}, {longest} takes most steps: {steps} ({:.0?})", start.elapsed());
    Ok(())
}

/// Shows what the task reports until it is over. Ctrl-C reaches this process alone; it asks the
/// task to end.
async fn show_until_done(handle: &TaskHandle<Longest>, mut interrupts: Signal) -> io::Result<()> {
    let mut reports = handle.progress();
    let mut bar = Bar::default();
    loop {
        tokio::select! {
            report = reports.next() => match report {
                Some(report) => bar.show(&report)?,
                None => return bar.finish(),
            },
            _ = interrupts.recv() => handle.abort(),
        }
    }
}

/// A line that overwrites itself on a terminal, and one for each tenth elsewhere.
#[derive(Default)]
struct Bar {
    tenths: Option<u64>,
}

impl Bar {
    fn show(&mut self, report: &Progress) -> io::Result<()> {
        let Progress { done, total, message, .. } = report;
        let (percent, full) = (100 * done / total, WIDTH * done / total);
        let bar: String = (0..WIDTH).map(|at| if at < full { '█' } else { '·' }).collect();
        let line = format!("{bar} {percent:>3} %  {message}");
        let mut stderr = io::stderr();
        if stderr.is_terminal() {
            self.tenths = Some(0);
            write!(stderr, "\r{line}")
        } else if self.tenths.replace(percent / 10) != Some(percent / 10) {
            writeln!(stderr, "{line}")
        } else {
            Ok(())
        }
    }

    /// Leaves the line as it is.
    fn finish(self) -> io::Result<()> {
        let mut stderr = io::stderr();
        if stderr.is_terminal() && self.tenths.is_some() { writeln!(stderr) } else { Ok(()) }
    }
}
