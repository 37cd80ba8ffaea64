//! What the pool adds to what the machine allows, on both flavours of the runtime.
//!
//! ```text
//! cargo bench --bench overhead -- [FILTER] [--quick]
//! ```
//!
//! * **round trip**: a trivial task on an idle pool, against a 64-byte ping-pong between two
//!   processes over two pipes with blocking reads and writes.
//! * **no-op tasks**: submitted one by one from one task, then all results awaited; two workers.
//! * **map of no-ops**: with default settings, results in order; two workers.
//! * **first result**: from `ProcessPoolExecutor::new()` on, against a bare spawn of this binary up
//!   to its first byte.
//! * **echo**: a payload there and back, against copying it there and back in memory.
//!
//! Only ratios say something about the pool: absolute times vary with the machine's mood.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod harness;

use std::fs::File;
use std::future::Future;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskHandle};
use serde_bytes::ByteBuf;
use tokio::runtime::{self, Runtime};

use harness::{Aim, Block, Case, Measure, Options, Unit};

const ECHO: &str = "bench-child-echo";
const ONE_BYTE: &str = "bench-child-one-byte";
/// Bytes that go each way in a round trip of the floor.
const PING: usize = 64;
const MIB: usize = 1 << 20;

fn noop(x: u64) -> u64 {
    x
}

fn echo(payload: ByteBuf) -> ByteBuf {
    payload
}

procpool::register!(noop, echo);

fn main() -> io::Result<()> {
    procpool::init();
    match std::env::args().nth(1).as_deref() {
        Some(ECHO) => return echo_pings(),
        Some(ONE_BYTE) => return io::stdout().write_all(&[1]),
        _ => {}
    }
    let options = Options::from_args();
    harness::run(&options, cases(options.quick));
    Ok(())
}

fn cases(quick: bool) -> Vec<Case> {
    let scale = move |full: usize| if quick { full.div_ceil(10) } else { full };
    let mut cases = Vec::new();
    for flavour in [Flavour::CurrentThread, Flavour::Spawned, Flavour::BlockOn] {
        cases.push(Case {
            name: format!("round trip, {}", flavour.name()),
            unit: Unit::Latency,
            aim: Some(Aim::Ratio(2.5)),
            blocks: scale(60),
            prepare: Box::new(move || round_trip(flavour)),
        });
    }
    for flavour in [Flavour::CurrentThread, Flavour::Spawned] {
        cases.push(Case {
            name: format!("no-op tasks, {}", flavour.name()),
            unit: Unit::PerSecond,
            aim: Some(Aim::PerSecond(500_000.0)),
            blocks: scale(9),
            prepare: Box::new(move || no_ops(flavour, scale(300_000))),
        });
    }
    for flavour in [Flavour::CurrentThread, Flavour::Spawned] {
        cases.push(Case {
            name: format!("map of no-ops, {}", flavour.name()),
            unit: Unit::PerSecond,
            aim: Some(Aim::PerSecond(10_000_000.0)),
            blocks: scale(9),
            prepare: Box::new(move || map_no_ops(flavour, scale(5_000_000))),
        });
    }
    for flavour in [Flavour::CurrentThread, Flavour::Spawned] {
        cases.push(Case {
            name: format!("first result, {}", flavour.name()),
            unit: Unit::Latency,
            aim: None,
            blocks: scale(60),
            prepare: Box::new(move || first_result(flavour)),
        });
    }
    for (size, blocks) in [(1, 60), (64, 9)] {
        for flavour in [Flavour::CurrentThread, Flavour::Spawned] {
            cases.push(Case {
                name: format!("echo {size} MiB, {}", flavour.name()),
                unit: Unit::Throughput(2 * size * MIB),
                aim: None,
                blocks: scale(blocks),
                prepare: Box::new(move || payload_echo(flavour, size * MIB)),
            });
        }
    }
    cases
}

/// Where the caller runs.
#[derive(Clone, Copy)]
enum Flavour {
    CurrentThread,
    /// In a task of a multi-threaded runtime.
    Spawned,
    /// Beside the threads of a multi-threaded runtime.
    BlockOn,
}

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::Spawned => "multi_thread",
            Self::BlockOn => "multi_thread block_on",
        }
    }

    fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::CurrentThread => runtime::Builder::new_current_thread(),
            Self::Spawned | Self::BlockOn => runtime::Builder::new_multi_thread(),
        };
        builder.enable_all().build().expect("a runtime")
    }
}

/// A runtime of one flavour.
struct Bed {
    flavour: Flavour,
    runtime: Runtime,
}

impl Bed {
    fn new(flavour: Flavour) -> Self {
        Self { flavour, runtime: flavour.runtime() }
    }

    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.flavour {
            Flavour::CurrentThread | Flavour::BlockOn => self.runtime.block_on(work),
            Flavour::Spawned => {
                let task = self.runtime.spawn(work);
                self.runtime.block_on(task).expect("no panic")
            }
        }
    }

    fn pool(&self) -> ProcessPoolExecutor {
        let _entered = self.runtime.enter();
        ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool")
    }
}

fn round_trip(flavour: Flavour) -> Measure {
    const TRIPS: usize = 200;
    let bed = Bed::new(flavour);
    let pool = bed.pool();
    let mut floor = Floor::new().expect("an echoing child");
    Box::new(move || {
        let reference = timed(TRIPS, || floor.ping().expect("an echo"));
        let pool = pool.clone();
        let ours = bed.run(async move {
            let mut times = Vec::with_capacity(TRIPS);
            for n in 0..TRIPS as u64 {
                let start = Instant::now();
                assert_eq!(pool.run(noop, n).await.expect("a result"), n);
                times.push(start.elapsed().as_secs_f64());
            }
            times
        });
        Block { reference, ours }
    })
}

fn no_ops(flavour: Flavour, tasks: usize) -> Measure {
    let bed = Bed::new(flavour);
    let pool = bed.pool();
    Box::new(move || {
        let pool = pool.clone();
        let ours = bed.run(async move {
            let start = Instant::now();
            let mut handles: Vec<TaskHandle<u64>> = Vec::with_capacity(tasks);
            for n in 0..tasks as u64 {
                handles.push(pool.submit(noop, n).await.expect("an open pool"));
            }
            for (n, handle) in (0..).zip(handles) {
                assert_eq!(handle.await.expect("a result"), n);
            }
            start.elapsed().as_secs_f64() / tasks as f64
        });
        Block { reference: Vec::new(), ours: vec![ours] }
    })
}

fn map_no_ops(flavour: Flavour, items: usize) -> Measure {
    let bed = Bed::new(flavour);
    let pool = bed.pool();
    Box::new(move || {
        let pool = pool.clone();
        let ours = bed.run(async move {
            let start = Instant::now();
            let mut results = pool.map(noop, 0..items as u64);
            let mut n = 0;
            while let Some(result) = results.next().await {
                assert_eq!(result.expect("a result"), n);
                n += 1;
            }
            assert_eq!(n, items as u64);
            start.elapsed().as_secs_f64() / items as f64
        });
        Block { reference: Vec::new(), ours: vec![ours] }
    })
}

fn first_result(flavour: Flavour) -> Measure {
    let bed = Bed::new(flavour);
    Box::new(move || {
        let reference = bare_spawn().expect("a child with one byte");
        let ours = bed.run(async {
            let start = Instant::now();
            let pool = ProcessPoolExecutor::new().expect("a pool");
            assert_eq!(pool.run(noop, 1).await.expect("a result"), 1);
            let took = start.elapsed().as_secs_f64();
            pool.shutdown().await;
            took
        });
        Block { reference: vec![reference], ours: vec![ours] }
    })
}

fn payload_echo(flavour: Flavour, size: usize) -> Measure {
    let bed = Bed::new(flavour);
    let pool = bed.pool();
    let source = vec![0xA5; size];
    let (mut there, mut back) = (vec![0; size], vec![0; size]);
    Box::new(move || {
        let reference = timed(1, || {
            there.copy_from_slice(black_box(&source));
            back.copy_from_slice(black_box(&there));
            black_box(&back);
        });
        let (pool, payload) = (pool.clone(), ByteBuf::from(source.clone()));
        let ours = bed.run(async move {
            let start = Instant::now();
            let echoed = pool.run(echo, payload).await.expect("an echo");
            let took = start.elapsed().as_secs_f64();
            assert_eq!(echoed.len(), size);
            took
        });
        Block { reference, ours: vec![ours] }
    })
}

fn timed(times: usize, mut operation: impl FnMut()) -> Vec<f64> {
    let once = || {
        let start = Instant::now();
        operation();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(once).take(times).collect()
}

/// The least that a round trip to another process can take.
struct Floor {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Floor {
    fn new() -> io::Result<Self> {
        let mut child = itself(ECHO)?.stdin(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, stdin, stdout })
    }

    fn ping(&mut self) -> io::Result<()> {
        let mut buffer = [0; PING];
        self.stdin.write_all(&buffer)?;
        self.stdout.read_exact(&mut buffer)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill(); // or it has gone
        let _ = self.child.wait();
    }
}

/// The child of [`Floor`].
fn echo_pings() -> io::Result<()> {
    // The standard handles would add a buffer and a lock.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut buffer = [0; PING];
    while input.read_exact(&mut buffer).is_ok() {
        output.write_all(&buffer)?;
    }
    Ok(())
}

/// Seconds until a child's first byte.
fn bare_spawn() -> io::Result<f64> {
    let start = Instant::now();
    let mut child = itself(ONE_BYTE)?.stdin(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    stdout.read_exact(&mut [0])?;
    let took = start.elapsed().as_secs_f64();
    child.wait()?;
    Ok(took)
}

fn itself(role: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role).stdout(Stdio::piped());
    Ok(command)
}
