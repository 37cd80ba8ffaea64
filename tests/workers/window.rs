//! Replies of quick tasks that their worker keeps back, to write them with later ones. Nobody may
//! notice: none waits for the next task, and none is lost when that one takes the worker along.
//!
//! The tasks of a scene are sent to an idle worker in one piece, the last of them does not end by
//! itself, and the only thread that reads what the worker says stands still meanwhile. Then the
//! worker keeps replies back, unless the first one was read before that thread stood still. So each
//! scene is repeated until its worker has kept something back a few times.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskHandle, TaskStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::common::{LIMIT, in_time, pid};
use crate::journal::Journal;

// ----- in the worker -----

fn echo(number: u32) -> u32 {
    number
}

fn report(number: u32) -> u32 {
    procpool::current().progress(u64::from(number), 0, "done");
    number
}

/// How the last task of a scene ends once it has arrived at the door.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum End {
    /// When it is let go, or killed.
    Waits,
    Aborts,
    Exits,
    KillsItself,
}

/// Says who it is, and how often its process has written; that is counted, but for sockets.
fn arrive(port: u16, end: End) -> u32 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let writes = writes_of(std::process::id()).unwrap_or(0);
    stream.write_all(&std::process::id().to_be_bytes()).unwrap();
    stream.write_all(&writes.to_be_bytes()).unwrap();
    match end {
        End::Waits => drop(stream.read(&mut [0])), // returns when the other end is closed
        End::Aborts => std::process::abort(),
        End::Exits => std::process::exit(0),
        End::KillsItself => kill_process(getpid(), Signal::KILL).unwrap(),
    }
    std::process::id()
}

/// If the system tells.
fn writes_of(pid: u32) -> Option<u64> {
    let counts = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("syscw: "))?.parse().ok()
}

procpool::register!(echo, report, arrive);

// ----- the stage -----

/// A pool of one worker, and the door at which the last task of each scene arrives.
struct Stage {
    pool: ProcessPoolExecutor,
    door: TcpListener,
}

/// What was submitted together.
struct Scene {
    quick: Vec<TaskHandle<u32>>,
    last: TaskHandle<u32>,
    /// The writes of the worker before, if the system tells.
    writes: Option<u64>,
}

/// The last task of a scene, which runs.
struct Visitor {
    pid: u32,
    stream: TcpStream,
    has_kept_back: bool,
}

impl Stage {
    const QUICK: u32 = 6;

    fn new() -> Self {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
        Self { pool, door: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap() }
    }

    /// Lets the pool find its worker quick, and submits tasks that it then sends in one piece. None
    /// is sent before the caller awaits something.
    async fn submit(&self, quick: fn(&Self, u32) -> TaskHandle<u32>, end: End) -> Scene {
        for _ in 0..300 {
            drop(in_time(self.pool.submit(echo, 0)).await.unwrap());
        }
        let worker = in_time(self.pool.run(pid, ())).await.unwrap();
        let writes = writes_of(worker);
        let port = self.door.local_addr().unwrap().port();
        Scene {
            quick: (0..Self::QUICK).map(|number| quick(self, number)).collect(),
            last: self.pool.try_submit(arrive, (port, end)).unwrap(),
            writes,
        }
    }

    fn echo(&self, number: u32) -> TaskHandle<u32> {
        self.pool.try_submit(echo, number).unwrap()
    }

    fn report(&self, number: u32) -> TaskHandle<u32> {
        self.pool.try_submit(report, number).unwrap()
    }

    /// Waits for the last task. From the beginning of the first one on the runtime stands still,
    /// unless that is in vain: a worker that looked slow has not been sent all.
    async fn arrival(&self, scene: &Scene) -> Visitor {
        while scene.quick[0].status() == TaskStatus::Pending {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        while !self.is_somebody_here() {
            assert!(began.elapsed() < LIMIT, "nobody arrives");
            tokio::task::yield_now().await;
        }
        let (mut stream, _) = self.door.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (mut pid, mut writes) = ([0; 4], [0; 8]);
        stream.read_exact(&mut pid).unwrap();
        stream.read_exact(&mut writes).unwrap();
        let few = |before| u64::from_be_bytes(writes) - before < u64::from(Self::QUICK);
        let has_kept_back = scene.writes.is_none_or(few);
        Visitor { pid: u32::from_be_bytes(pid), stream, has_kept_back }
    }

    fn is_somebody_here(&self) -> bool {
        let a_moment = Timespec::try_from(Duration::from_millis(20)).unwrap();
        let mut door = [PollFd::new(&self.door, PollFlags::IN)];
        poll(&mut door, Some(&a_moment)).unwrap() > 0
    }
}

impl Visitor {
    /// Waits until its process is gone, while the runtime stands still.
    fn wait_for_end(&mut self) {
        match self.stream.read(&mut [0]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// Repeats a scene, which tells whether its worker has kept something back, on both kinds of
/// runtimes. Each has one thread, on which the scene runs, too.
macro_rules! play {
    ($($scene:ident),* $(,)?) => {
        mod on_a_current_thread_runtime {
            $(#[tokio::test]
            async fn $scene() {
                super::repeat!(super::$scene)
            })*
        }
        mod on_a_multi_threaded_runtime {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
            async fn $scene() {
                tokio::spawn(async { super::repeat!(super::$scene) }).await.unwrap();
            })*
        }
    };
}

macro_rules! repeat {
    ($scene:path) => {{
        let (stage, began, mut kept_back) = (super::Stage::new(), std::time::Instant::now(), 0);
        while kept_back < 5 {
            assert!(
                began.elapsed() < super::LIMIT,
                "replies were kept back {kept_back} times only"
            );
            kept_back += u32::from($scene(&stage).await);
        }
    }};
}
use repeat;

play!(
    a_reply_does_not_wait_for_the_next_task,
    a_report_does_not_wait_for_the_next_task_either,
    a_reply_is_not_lost_when_the_next_task_aborts,
    a_reply_is_not_lost_when_the_next_task_exits,
    a_reply_is_not_lost_when_the_next_task_kills_its_worker,
    a_reply_is_not_lost_when_the_worker_is_killed,
    who_aborts_a_task_whose_reply_is_kept_back_hurts_nobody,
    who_drops_a_task_whose_reply_is_kept_back_hurts_nobody,
);

async fn expect_all(quick: Vec<TaskHandle<u32>>) {
    for (handle, number) in quick.into_iter().zip(0..) {
        assert_eq!(in_time(handle).await.unwrap(), number);
    }
}

// ----- the scenes -----

async fn a_reply_does_not_wait_for_the_next_task(stage: &Stage) -> bool {
    let scene = stage.submit(Stage::echo, End::Waits).await;
    let Visitor { pid, stream, has_kept_back } = stage.arrival(&scene).await;
    expect_all(scene.quick).await;
    assert!(!scene.last.is_finished());
    drop(stream);
    assert_eq!(in_time(scene.last).await.unwrap(), pid);
    has_kept_back
}

/// Only the first of several reports in a row is sent at once, by a thread of its own.
async fn a_report_does_not_wait_for_the_next_task_either(stage: &Stage) -> bool {
    let scene = stage.submit(Stage::report, End::Waits).await;
    let reports: Vec<_> = scene.quick.iter().map(TaskHandle::progress).collect();
    let visitor = stage.arrival(&scene).await;
    for (report, number) in reports.into_iter().zip(0..) {
        let report: Vec<u64> = in_time(report.map(|report| report.done).collect()).await;
        assert_eq!(report, [number]);
    }
    expect_all(scene.quick).await;
    drop(visitor.stream);
    in_time(scene.last).await.unwrap();
    visitor.has_kept_back
}

async fn a_reply_is_not_lost_when_the_next_task_aborts(stage: &Stage) -> bool {
    outlives_its_worker(stage, End::Aborts).await
}

async fn a_reply_is_not_lost_when_the_next_task_exits(stage: &Stage) -> bool {
    outlives_its_worker(stage, End::Exits).await
}

async fn a_reply_is_not_lost_when_the_next_task_kills_its_worker(stage: &Stage) -> bool {
    outlives_its_worker(stage, End::KillsItself).await
}

async fn a_reply_is_not_lost_when_the_worker_is_killed(stage: &Stage) -> bool {
    outlives_its_worker(stage, End::Waits).await
}

async fn outlives_its_worker(stage: &Stage, end: End) -> bool {
    let scene = stage.submit(Stage::echo, end).await;
    let mut visitor = stage.arrival(&scene).await;
    if matches!(end, End::Waits) {
        let worker = Pid::from_raw(visitor.pid.try_into().unwrap()).unwrap();
        kill_process(worker, Signal::KILL).unwrap();
    }
    visitor.wait_for_end();
    expect_all(scene.quick).await;
    let error = in_time(scene.last).await.unwrap_err();
    assert_eq!(error.worker_death().unwrap().pid(), visitor.pid);
    visitor.has_kept_back
}

async fn who_aborts_a_task_whose_reply_is_kept_back_hurts_nobody(stage: &Stage) -> bool {
    let mut scene = stage.submit(Stage::echo, End::Waits).await;
    let visitor = stage.arrival(&scene).await;
    assert!(!scene.quick[3].cancel(), "it has begun");
    let aborted = scene.quick.remove(4);
    aborted.abort();
    drop(scene.quick.remove(4).abort_on_drop(true));
    expect_all(scene.quick).await;
    match in_time(aborted).await {
        Ok(number) => assert_eq!(number, 4),
        Err(error) => assert!(error.is_cancelled(), "{error}"),
    }
    assert!(!scene.last.is_finished());
    drop(visitor.stream);
    assert_eq!(in_time(scene.last).await.unwrap(), visitor.pid);
    assert_eq!(in_time(stage.pool.run(pid, ())).await.unwrap(), visitor.pid, "it was not killed");
    visitor.has_kept_back
}

async fn who_drops_a_task_whose_reply_is_kept_back_hurts_nobody(stage: &Stage) -> bool {
    let mut scene = stage.submit(Stage::echo, End::Waits).await;
    let before = stage.pool.stats().completed;
    let count = scene.quick.len() as u64 + 1;
    let visitor = stage.arrival(&scene).await;
    let others = scene.quick.split_off(3);
    drop(scene.quick);
    for (handle, number) in others.into_iter().zip(3..) {
        assert_eq!(in_time(handle).await.unwrap(), number);
    }
    drop(visitor.stream);
    assert_eq!(in_time(scene.last).await.unwrap(), visitor.pid);
    assert_eq!(stage.pool.stats().completed - before, count, "each was counted");
    visitor.has_kept_back
}

// ----- without standing still -----

async fn replies_come_though_nothing_else_happens() {
    let stage = Stage::new();
    for _ in 0..100 {
        let mut scene = stage.submit(Stage::echo, End::Waits).await;
        for (handle, number) in scene.quick.iter_mut().zip(0..Stage::QUICK).rev() {
            assert_eq!(in_time(handle).await.unwrap(), number);
        }
        let visitor = stage.arrival(&scene).await;
        assert!(!scene.last.is_finished());
        drop(visitor.stream);
        in_time(scene.last).await.unwrap();
    }
}

#[tokio::test]
async fn replies_come_to_a_current_thread_runtime_that_sleeps() {
    replies_come_though_nothing_else_happens().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_come_to_a_multi_threaded_runtime_that_sleeps() {
    replies_come_though_nothing_else_happens().await;
}

// ----- a stream of quick tasks in which workers die -----

const TASKS: u32 = 100_000;
/// So many tasks lie between two that take their worker along.
const BETWEEN: u32 = 499;

fn open(path: String) -> File {
    OpenOptions::new().append(true).open(path).unwrap()
}

/// Notes that it was begun, by one write, which is not lost with the worker.
fn record(number: u32) -> u32 {
    let mut file: &File = procpool::state().unwrap();
    assert_eq!(file.write(&number.to_le_bytes()).unwrap(), size_of::<u32>());
    if is_deadly(number) {
        match number % 3 {
            0 => std::process::abort(),
            1 => std::process::exit(0),
            _ => kill_process(getpid(), Signal::KILL).unwrap(),
        }
    }
    number
}

fn is_deadly(number: u32) -> bool {
    number.is_multiple_of(BETWEEN)
}

procpool::register!(open, record);

async fn each_of_many_tasks_runs_once_and_resolves_once() {
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().max_workers(2);
    let pool = builder.initializer(open, journal.path()).build().unwrap();
    let resolutions: Arc<[AtomicU8]> = (0..TASKS).map(|_| AtomicU8::new(0)).collect();
    let mut handles = Vec::new();
    for number in 0..TASKS {
        let handle = in_time(pool.submit(record, number)).await.unwrap();
        let resolutions = Arc::clone(&resolutions);
        handle.add_done_callback(move |_| {
            resolutions[number as usize].fetch_add(1, Ordering::Relaxed);
        });
        handles.push(handle);
    }
    for (handle, number) in handles.into_iter().zip(0..) {
        match in_time(handle).await {
            Ok(result) => assert_eq!((result, is_deadly(number)), (number, false)),
            Err(error) => {
                assert!(error.is_worker_death() && is_deadly(number), "{number}: {error}");
            }
        }
    }
    in_time(pool.shutdown()).await;
    assert!(resolutions.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    let mut begun = journal.words();
    begun.sort_unstable();
    assert!(begun.into_iter().eq(0..TASKS), "each has begun once");
}

#[tokio::test]
async fn on_a_current_thread_runtime_each_of_many_tasks_runs_once() {
    each_of_many_tasks_runs_once_and_resolves_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_multi_threaded_runtime_each_of_many_tasks_runs_once() {
    each_of_many_tasks_runs_once_and_resolves_once().await;
}
