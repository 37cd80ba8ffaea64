//! A picture of the Mandelbrot set, whose lines are shown as they come: partial results of one
//! task.
//!
//! ```console
//! $ cargo run --release --example partial                 # 78 columns
//! $ cargo run --release --example partial -- 200 10       # 200, and only the first ten lines
//! ```

use std::error::Error;
use std::process::ExitCode;

use futures::StreamExt;
use procpool::{EmitError, ProcessPoolExecutor};

/// Emits the picture line by line; returns how many lines somebody has wanted.
fn draw(columns: u32, lines: u32) -> Result<u32, String> {
    let mut wanted = 0;
    for line in 0..lines {
        let y = 2.4 * f64::from(line) / f64::from(lines) - 1.2;
        let x = |column| 3.0 * f64::from(column) / f64::from(columns) - 2.2;
        let text: String = (0..columns).map(|column| shade(x(column), y)).collect();
        match procpool::current().emit(text) {
            Ok(true) => wanted += 1,
            Ok(false) | Err(EmitError::Cancelled) => break, // nobody looks any more
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(wanted)
}

procpool::register!(draw);

/// How soon the point leaves.
fn shade(x: f64, y: f64) -> char {
    const STEPS: usize = 20_000;
    let (mut re, mut im, mut steps) = (0.0_f64, 0.0_f64, 0);
    while steps < STEPS && re * re + im * im < 4.0 {
        (re, im) = (re * re - im * im + x, 2.0 * re * im + y);
        steps += 1;
    }
    match steps {
        STEPS => '#',
        30.. => '+',
        8.. => '.',
        _ => ' ',
    }
}

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let args: Result<Vec<u32>, _> = std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let (columns, shown) = match args.as_deref() {
        Ok([]) => (78, u32::MAX),
        Ok([columns @ 1..=10_000]) => (*columns, u32::MAX),
        Ok([columns @ 1..=10_000, shown]) => (*columns, *shown),
        _ => {
            eprintln!("usage: partial [COLUMNS [LINES]], with 1 to 10000 columns");
            return ExitCode::from(2);
        }
    };
    match show(columns, shown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn show(columns: u32, shown: u32) -> Result<(), Box<dyn Error>> {
    let pool = ProcessPoolExecutor::new()?;
    let lines = columns * 2 / 5;
    // The task is three lines ahead at most: two wait to be shown, and one waits for its place.
    let handle = pool.task(draw, (columns, lines)).emit_capacity(2).submit().await?;
    let mut picture = handle.emitted::<String>();
    for _ in 0..shown {
        let Some(line) = picture.next().await else { break };
        println!("{}", line?);
    }
    drop(picture); // the task sees that nobody takes more
    let wanted = handle.await??;
    println!("{wanted} of {lines} lines");
    pool.shutdown().await;
    Ok(())
}
