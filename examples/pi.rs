//! Estimates pi from random points, with a seed for each task, so that every run gives the same.
//!
//! ```console
//! $ cargo run --release --example pi                   # 100 tasks, a million points each
//! $ cargo run --release --example pi -- 1000 100000    # 1000 tasks, 100000 points each
//! ```

use std::error::Error;
use std::f64::consts::PI;
use std::process::ExitCode;
use std::time::Instant;

use futures::TryStreamExt;
use procpool::ProcessPoolExecutor;

mod random;
use random::Random;

/// An estimate from so many points: four times the share of them that fall into the quarter of a
/// circle. The sequence of points depends on the seed alone, not on the worker.
fn estimate(seed: u64, points: u32) -> f64 {
    let mut random = Random::new(seed);
    let mut inside = 0;
    for _ in 0..points {
        let (x, y) = (random.fraction(), random.fraction());
        inside += u32::from(x * x + y * y < 1.0);
    }
    4.0 * f64::from(inside) / f64::from(points)
}

procpool::register!(estimate);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some((tasks, points)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: pi [TASKS [POINTS]], at least two tasks of one point");
        return ExitCode::from(2);
    };
    match estimate_all(tasks, points) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Option<(u32, u32)> {
    let tasks = args.next().map_or(Ok(100), |arg| arg.parse()).ok()?;
    let points = args.next().map_or(Ok(1_000_000), |arg| arg.parse()).ok()?;
    (tasks >= 2 && points >= 1 && args.next().is_none()).then_some((tasks, points))
}

#[tokio::main]
async fn estimate_all(tasks: u32, points: u32) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let pool = ProcessPoolExecutor::new()?;
    let seeds = (0..tasks).map(|seed| (u64::from(seed), points));
    let estimates: Vec<f64> = pool.map(estimate, seeds).try_collect().await?;
    pool.shutdown().await;

    let (mean, error) = mean_and_error(&estimates);
    println!("pi is about {mean:.7}, with a standard error of {error:.7}");
    println!("it is {:.7} off, {:.2} standard errors", mean - PI, (mean - PI).abs() / error);
    let workers = pool.stats().worker_starts;
    println!("{tasks} tasks of {points} points, {workers} workers, {:.0?}", start.elapsed());
    Ok(())
}

/// The mean, and by how much it is off as a rule, which is seen from how the estimates scatter.
#[expect(clippy::cast_precision_loss, reason = "there are not so many")]
fn mean_and_error(estimates: &[f64]) -> (f64, f64) {
    let count = estimates.len() as f64;
    let mean = estimates.iter().sum::<f64>() / count;
    let squares: f64 = estimates.iter().map(|estimate| (estimate - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}
