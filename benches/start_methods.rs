//! What a fresh process costs by each start method, in time and in memory.
//!
//! ```text
//! cargo bench -p procpool-benches --bench start_methods -- [FILTER] [--quick]
//! ```
//!
//! * **fresh processes**: no-op tasks, each in a process of its own (`max_tasks_per_child(1)`),
//!   submitted one by one from one task, then all results awaited. Against two shells at a time,
//!   each of which forks a process that exits (the floor of `ForkServer`) or starts `/bin/true`
//!   (that of `Spawn`), and waits for it, in a loop; and against Python's `ProcessPoolExecutor`,
//!   with two workers, for which that is best.
//! * **new worker**: a task for which a worker must be started, from submitting it to its result;
//!   the fork server is up. Against a bare spawn of this binary up to its first byte (`Spawn`), one
//!   of the shells above (`ForkServer`), or, where there is a preload, `Spawn` with the same
//!   preload.
//! * **first result**: from building the pool on, so with the start of the fork server. Against the
//!   bare spawn.
//! * **memory per worker**: by how much the memory of server and workers is more, when each worker
//!   has read all that was preloaded, than that of the server alone (the proportional set size, in
//!   which a page that n processes share counts as an n-th of a page in each, and the page tables).
//!   Against Python's `forkserver` that has preloaded a `bytes` of that size.
//!
//! Only ratios say something about the pool: absolute times vary with the machine's mood.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod harness;

use std::fs;
use std::future::Future;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::StartMethod::{ForkServer, Spawn};
use procpool::{Builder, PoolEvent, ProcessPoolExecutor, StartMethod, TaskHandle};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use harness::{Aim, Block, Case, Measure, Options, Unit};

const ONE_BYTE: &str = "bench-child-one-byte";
/// Best for two CPUs: while a process ends another one can be started.
const WORKERS: usize = 16;
const MEGABYTE: usize = 1_000_000;

fn noop(x: u64) -> u64 {
    x
}

fn server_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The preload.
fn build_table(bytes: usize) -> Vec<u64> {
    (0..bytes as u64 / 8).map(black_box).collect()
}

/// Reads all that was preloaded, reports that, and keeps its worker until it is cancelled.
fn read_table() {
    let table: &Vec<u64> = procpool::preloaded().expect("the pool has a preload");
    let sum = table.iter().sum::<u64>();
    let current = procpool::current();
    current.progress(1, 1, sum.to_string());
    while !current.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
}

procpool::register!(noop, server_pid, build_table, read_table);

fn main() -> io::Result<()> {
    procpool::init();
    if std::env::args().nth(1).as_deref() == Some(ONE_BYTE) {
        return io::stdout().write_all(&[1]);
    }
    let options = Options::from_args();
    let bed = Bed { runtime: Rc::new(Runtime::new()?), quick: options.quick };
    let mut cases: Vec<Case> =
        [fresh_processes(&bed), new_workers(&bed), first_results(&bed), memory(&bed)]
            .into_iter()
            .flatten()
            .collect();
    let has_python = has_python();
    if has_python {
        cases.extend(against_python(&bed));
    }
    harness::run(&options, cases, Vec::new);
    if !has_python {
        println!("skipped what is against Python: there is no `python3` of version 3.11 or later");
    }
    // What was preloaded is in huge pages from 6.1 on.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    println!("Linux {}", release.as_deref().unwrap_or("of an unknown version").trim());
    Ok(())
}

fn fresh_processes(bed: &Bed) -> Vec<Case> {
    let (spawn, fork) = (bed.clone(), bed.clone());
    let spawned = Case::new("fresh processes, Spawn", Unit::PerSecond, bed.scale(20), move || {
        let tasks = spawn.scale(500);
        spawn.many_tasks(Spawn, tasks, move || vec![shells(2, "/bin/true", tasks)])
    });
    let forked =
        Case::new("fresh processes, ForkServer", Unit::PerSecond, bed.scale(20), move || {
            let tasks = fork.scale(2_000);
            fork.many_tasks(ForkServer, tasks, move || vec![shells(2, "( : )", tasks)])
        });
    vec![
        spawned.floor("two shells, /bin/true", &[]),
        forked.aim(Aim::PerSecond(5_000.0)).floor("two shells, ( : )", &[]),
    ]
}

fn new_workers(bed: &Bed) -> Vec<Case> {
    let (spawn, fork, loaded) = (bed.clone(), bed.clone(), bed.clone());
    let spawned = Case::new("new worker, Spawn", Unit::Latency, bed.scale(200), move || {
        let mut worker = NewWorker::new(&spawn, builder(Spawn));
        Box::new(move || Block::against(vec![bare_spawn()], worker.measure()))
    });
    let forked = Case::new("new worker, ForkServer", Unit::Latency, bed.scale(200), move || {
        let mut worker = NewWorker::new(&fork, builder(ForkServer));
        Box::new(move || Block::against(vec![shells(1, "( : )", 20)], worker.measure()))
    });
    let name = format!("new worker, ForkServer, {}", bed.preloaded());
    let preloaded = Case::new(name, Unit::Latency, bed.scale(10), move || {
        let with_table = |method| {
            let builder = builder(method).preload(build_table, loaded.table());
            NewWorker::new(&loaded, builder)
        };
        let (mut spawned, mut forked) = (with_table(Spawn), with_table(ForkServer));
        Box::new(move || Block::against(vec![spawned.measure()], forked.measure()))
    });
    vec![
        spawned.floor("bare spawn", &[]),
        forked.aim(Aim::AtMost(500e-6)).floor("shell, ( : )", &[]),
        preloaded.floor("Spawn with the same preload", &[]),
    ]
}

fn first_results(bed: &Bed) -> Vec<Case> {
    let case = |method| {
        let (name, measured) = (format!("first result, {method:?}"), bed.clone());
        let case = Case::new(name, Unit::Latency, bed.scale(60), move || {
            Box::new(move || Block::against(vec![bare_spawn()], measured.first_result(method)))
        });
        case.floor("bare spawn", &[])
    };
    vec![case(Spawn), case(ForkServer)]
}

fn memory(bed: &Bed) -> Vec<Case> {
    let case = |method, workers, blocks| {
        let name = format!("memory per worker, {method:?}, {}", bed.preloaded());
        let bed = bed.clone();
        Case::new(name, Unit::Memory, blocks, move || {
            Box::new(move || Block::alone(bed.memory_per_worker(method, workers)))
        })
    };
    let forked = case(ForkServer, 4, bed.scale(5)).aim(Aim::AtMost(5e6));
    vec![case(Spawn, 2, bed.scale(2)), forked]
}

fn against_python(bed: &Bed) -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, name, tasks) in [(Spawn, "spawn", 20), (ForkServer, "forkserver", 100)] {
        let (title, measured) = (format!("fresh processes, {method:?} again"), bed.clone());
        let case = Case::new(title, Unit::PerSecond, bed.scale(10), move || {
            let python = move || python(["seconds_per_task", name, &tasks.to_string()]);
            measured.many_tasks(method, measured.scale(1_000), python)
        });
        cases.push(case.peer("Python", || "failed".to_owned(), &[]));
    }
    let name = format!("memory per worker, ForkServer again, {}", bed.preloaded());
    let measured = bed.clone();
    let case = Case::new(name, Unit::Memory, bed.scale(3), move || {
        let table = measured.table().to_string();
        Box::new(move || {
            let reference = python(["bytes_per_worker", &table, "4"]);
            Block::against(reference, measured.memory_per_worker(ForkServer, 4))
        })
    });
    cases.push(case.peer("Python", || "failed".to_owned(), &[]));
    cases
}

fn builder(method: StartMethod) -> Builder {
    ProcessPoolExecutor::builder().max_workers(WORKERS).start_method(method)
}

/// Where all is measured.
#[derive(Clone)]
struct Bed {
    runtime: Rc<Runtime>,
    quick: bool,
}

impl Bed {
    fn scale(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    /// The bytes of the table that is preloaded.
    fn table(&self) -> usize {
        self.scale(500) * MEGABYTE
    }

    fn preloaded(&self) -> String {
        format!("{} MB preloaded", self.table() / MEGABYTE)
    }

    fn pool(&self, builder: Builder) -> ProcessPoolExecutor {
        let _entered = self.runtime.enter();
        builder.build().expect("a pool")
    }

    /// Runs it as a service would, in a task.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(self.runtime.spawn(work)).expect("no panic")
    }

    fn many_tasks(
        &self,
        method: StartMethod,
        tasks: usize,
        mut reference: impl FnMut() -> Vec<f64> + 'static,
    ) -> Measure {
        let bed = self.clone();
        let pool = self.pool(builder(method).max_tasks_per_child(1));
        Box::new(move || {
            let (reference, pool) = (reference(), pool.clone());
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
            Block::against(reference, ours)
        })
    }

    fn first_result(&self, method: StartMethod) -> f64 {
        self.run(async move {
            let start = Instant::now();
            let pool = builder(method).build().expect("a pool");
            assert_eq!(pool.run(noop, 1).await.expect("a result"), 1);
            let took = start.elapsed().as_secs_f64();
            pool.shutdown().await;
            took
        })
    }

    /// What each of so many workers adds when all have read the whole table.
    fn memory_per_worker(&self, method: StartMethod, workers: usize) -> f64 {
        let pool = self.pool(builder(method).preload(build_table, self.table()));
        self.run(async move {
            let server = match method {
                ForkServer => Some(server_alone(&pool).await),
                _ => None,
            };
            let alone = server.map_or(0.0, memory_of);
            let mut handles = Vec::new();
            for _ in 0..workers {
                handles.push(pool.submit(read_table, ()).await.expect("an open pool"));
            }
            for handle in &handles {
                handle.progress().next().await.expect("a report");
            }
            let pids = pool.workers().into_iter().map(|worker| worker.pid);
            let together: f64 = pids.chain(server).map(memory_of).sum();
            handles.iter().for_each(TaskHandle::abort);
            pool.shutdown().await;
            (together - alone) / workers as f64
        })
    }
}

/// The server of a pool that has no worker.
async fn server_alone(pool: &ProcessPoolExecutor) -> u32 {
    let mut events = pool.events();
    let server = pool.run(server_pid, ()).await.expect("a result");
    for worker in pool.workers() {
        let pid = Pid::from_raw(worker.pid.cast_signed()).expect("a pid");
        kill_process(pid, Signal::KILL).expect("a worker");
    }
    while !matches!(events.next().await, Some(PoolEvent::WorkerDied { .. })) {}
    server
}

/// A pool that starts a worker for each task.
struct NewWorker {
    bed: Bed,
    pool: ProcessPoolExecutor,
}

impl NewWorker {
    fn new(bed: &Bed, builder: Builder) -> Self {
        let pool = bed.pool(builder.max_tasks_per_child(1));
        Self { bed: bed.clone(), pool }
    }

    /// Returns when the worker is gone again, so that its end does not count for the next one.
    fn measure(&mut self) -> f64 {
        let pool = self.pool.clone();
        self.bed.run(async move {
            let mut events = pool.events();
            let start = Instant::now();
            assert_eq!(pool.run(noop, 1).await.expect("a result"), 1);
            let took = start.elapsed().as_secs_f64();
            while !matches!(events.next().await, Some(PoolEvent::WorkerLeft { .. })) {}
            took
        })
    }
}

/// The bytes of memory of a process, where what it shares counts in proportion, and of the tables
/// that say where its memory is.
fn memory_of(pid: u32) -> f64 {
    let kibibytes = |file, key| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("a process");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("its memory");
        let number = line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u32>().ok());
        f64::from(number.expect("a number"))
    };
    (kibibytes("smaps_rollup", "Pss:") + kibibytes("status", "VmPTE:")) * 1024.0
}

/// Seconds for each of so many times that a shell runs a command, which is a process of its own; by
/// several shells, which share the work.
fn shells(count: usize, command: &str, times: usize) -> f64 {
    let times = times.div_ceil(count);
    let script = format!("i=0; while [ $i -lt {times} ]; do {command}; i=$((i+1)); done");
    let start = Instant::now();
    let mut shells: Vec<_> = (0..count)
        .map(|_| Command::new("sh").args(["-c", &script]).spawn().expect("a shell"))
        .collect();
    for shell in &mut shells {
        assert!(shell.wait().expect("a child").success());
    }
    start.elapsed().as_secs_f64() / (times * count) as f64
}

/// Seconds until the first byte of a child.
fn bare_spawn() -> f64 {
    let start = Instant::now();
    let program = std::env::current_exe().expect("a path");
    let mut command = Command::new(program);
    command.arg(ONE_BYTE).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a child");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0]).expect("a byte");
    let took = start.elapsed().as_secs_f64();
    child.wait().expect("a child");
    took
}

fn has_python() -> bool {
    let check = "import sys; sys.exit(sys.version_info < (3, 11))";
    let status = Command::new("python3").args(["-c", check]).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The number that Python prints; none if it fails, and has said why.
fn python(args: [&str; 3]) -> Vec<f64> {
    let mut command = Command::new("python3");
    command.args(["-c", "import start_methods; start_methods.main()"]).args(args);
    command.env("PYTHONPATH", env!("CARGO_MANIFEST_DIR"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.stderr(Stdio::inherit()).output().expect("a child");
    let number = str::from_utf8(&output.stdout).ok().and_then(|text| text.trim().parse().ok());
    number.into_iter().collect()
}
