//! A model that is loaded once in each worker, and used by every task there.
//!
//! ```console
//! $ cargo run --release --example model
//! $ cargo run --release --example model -- 50000 5000    # known points, points to classify
//! ```

use std::cell::Cell;
use std::error::Error;
use std::f64::consts::TAU;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};

mod random;
use random::Random;

const CLASSES: u64 = 3;
const NEIGHBORS: usize = 7;

/// How often this worker has loaded a model. A static of a program exists once in each worker.
static LOADS: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    class: u64,
}

impl Point {
    /// Somewhere on one of three arms of a spiral, give or take so much that they touch.
    #[expect(clippy::cast_precision_loss, reason = "there are three classes")]
    fn random(random: &mut Random) -> Self {
        let class = random.below(CLASSES);
        let radius = random.fraction();
        let angle = TAU * (radius + class as f64 / CLASSES as f64) + random.fraction() * 2.3;
        Self { x: radius * angle.cos(), y: radius * angle.sin(), class }
    }

    fn many(seed: u64, count: usize) -> Vec<Self> {
        let mut random = Random::new(seed);
        (0..count).map(|_| Self::random(&mut random)).collect()
    }

    fn distance(&self, other: &Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// What a worker keeps. It never crosses a process boundary, so it need not be a serde type, and as
/// one thread runs all tasks of a worker it may have a `Cell`.
struct Model {
    known: Vec<Point>,
    loading: Duration,
    uses: Cell<u32>,
}

/// The initializer. Of a real model it would read the weights.
fn load(known: usize) -> Model {
    let start = Instant::now();
    LOADS.fetch_add(1, Ordering::Relaxed);
    let known = Point::many(1, known);
    Model { known, loading: start.elapsed(), uses: Cell::new(0) }
}

/// The class that most of the nearest neighbors have.
fn classify(point: Point) -> u64 {
    let model: &Model = procpool::state().expect("the pool has an initializer");
    model.uses.set(model.uses.get() + 1);
    let mut neighbors: Vec<_> =
        model.known.iter().map(|known| (known.distance(&point), known.class)).collect();
    let nearest = NEIGHBORS.min(neighbors.len());
    if nearest < neighbors.len() {
        neighbors.select_nth_unstable_by(nearest, |a, b| a.0.total_cmp(&b.0));
    }
    let votes = |class| neighbors[..nearest].iter().filter(|near| near.1 == class).count();
    (0..CLASSES).max_by_key(|class| votes(*class)).unwrap_or_default()
}

/// What a worker says when it leaves.
#[derive(Serialize, Deserialize)]
struct Usage {
    pid: u32,
    loads: u32,
    loading: Duration,
    uses: u32,
}

/// The exit hook.
fn report_usage() -> Usage {
    let model: &Model = procpool::state().expect("the pool has an initializer");
    let (loads, uses) = (LOADS.load(Ordering::Relaxed), model.uses.get());
    Usage { pid: std::process::id(), loads, loading: model.loading, uses }
}

procpool::register!(load, classify, report_usage);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some((known, count)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: model [KNOWN [POINTS]], each at least 1");
        return ExitCode::from(2);
    };
    match classify_all(known, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Option<(usize, usize)> {
    let known = args.next().map_or(Ok(20_000), |arg| arg.parse()).ok()?;
    let count = args.next().map_or(Ok(3_000), |arg| arg.parse()).ok()?;
    (known >= 1 && count >= 1 && args.next().is_none()).then_some((known, count))
}

#[tokio::main]
async fn classify_all(known: usize, count: usize) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let pool = ProcessPoolExecutor::builder()
        .initializer(load, known)
        .exit_hook(report_usage, ())
        .build()?;
    let points = Point::many(2, count); // others than the model knows
    let mut classes = pool.map(classify, points.clone()).zip(futures::stream::iter(&points));
    let mut right = 0;
    while let Some((class, point)) = classes.next().await {
        right += usize::from(class? == point.class);
    }
    let report = pool.shutdown().await;

    println!("{right} of {count} points were classified correctly in {:.0?}", start.elapsed());
    for exit in report.exit_results::<Usage>()? {
        let Usage { pid, loads, loading, uses } = exit.result?;
        println!("pid {pid}: loaded {loads} time, which took {loading:.0?}, and used {uses} times");
    }
    Ok(())
}
