//! Workers that are killed, stopped and starved from outside.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::{BTreeMap, VecDeque};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskHandle, WorkerState};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    Gate, fixture, hold, in_time, pid, process_gone, processes_with_env, wait_until,
};
use crate::journal::{Journal, note, note_line};

fn signal(pid: u32, signal: Signal) {
    // It may have gone by itself in the meantime.
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
}

/// Numbers without a pattern, the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// A pool whose processes can be found, those of its tasks included.
struct Marked {
    pool: ProcessPoolExecutor,
    mark: String,
}

impl Marked {
    const NAME: &str = "PROCPOOL_TEST_MARK";

    fn new(workers: usize) -> Self {
        let mark = Journal::new().path(); // as unique as a mark must be
        let builder = ProcessPoolExecutor::builder().max_workers(workers).env(Self::NAME, &mark);
        let builder = builder.grace_period(Duration::from_millis(200));
        // A worker that dies within the append of a note would disturb nobody's terminal.
        let pool = builder.worker_output(procpool::WorkerOutput::Null).build().unwrap();
        Self { pool, mark }
    }

    /// Shuts down, and finds that all processes are gone.
    async fn end(self) -> procpool::ShutdownReport {
        let report = in_time(self.pool.shutdown()).await;
        assert!(self.pool.workers().is_empty());
        wait_until("no process is left", || processes_with_env(Self::NAME, &self.mark).is_empty())
            .await;
        report
    }
}

/// Can be killed before, within and after its note.
fn note_slowly(path: String, number: u32) -> u32 {
    let pause = Duration::from_micros(200 * u64::from(number % 4));
    std::thread::sleep(pause);
    note(path, number);
    std::thread::sleep(pause);
    number
}

procpool::register!(note_slowly);

/// Kills workers of a pool, at any point of their tasks' lives, until it is dropped.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Killer {
    fn start(pool: &ProcessPoolExecutor, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, pool) = (Arc::clone(&stop), pool.clone());
        let thread = std::thread::spawn(move || {
            let mut dice = Dice(seed);
            while !stopped.load(Ordering::Relaxed) {
                // Not those that start: if none ever gets so far the pool is rightly broken.
                let mut workers = pool.workers();
                workers.retain(|worker| worker.state != WorkerState::Starting);
                if !workers.is_empty() {
                    let victim = dice.below(workers.len() as u64);
                    signal(workers[usize::try_from(victim).unwrap()].pid, Signal::KILL);
                    // Some tasks must get through between two kills.
                    let progress = pool.stats().completed + dice.below(40);
                    while pool.stats().completed < progress && !stopped.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                }
                std::thread::sleep(Duration::from_micros(dice.below(500)));
            }
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn workers_killed_at_random_lose_no_handle_and_run_no_task_twice() {
    const TASKS: u32 = 2000;
    const DEATHS: u64 = 50;
    const IN_FLIGHT: usize = 100;
    let (marked, journal) = (Marked::new(3), Journal::new());
    let pool = &marked.pool;
    in_time(pool.ready()).await.unwrap();
    let killer = Killer::start(pool, 1);
    let (mut handles, mut results) = (VecDeque::new(), BTreeMap::new());
    for number in 0.. {
        let handle = in_time(pool.submit(note_slowly, (journal.path(), number))).await.unwrap();
        handles.push_back((number, handle));
        if handles.len() > IN_FLIGHT {
            let (number, handle) = handles.pop_front().unwrap();
            results.insert(number, in_time(handle).await);
        }
        if number >= TASKS && pool.stats().worker_deaths >= DEATHS {
            break;
        }
    }
    killer.stop();
    for (number, handle) in handles {
        results.insert(number, in_time(handle).await);
    }

    let tasks = results.len() as u64;
    let counts = journal.counts();
    let (mut finished, mut died) = (0, 0);
    for (number, result) in results {
        let ran = counts.get(&number).copied().unwrap_or_default();
        match result {
            Ok(result) => {
                assert_eq!((result, ran), (number, 1));
                finished += 1;
            }
            Err(error) => {
                assert!(error.is_worker_death(), "{error}");
                assert_eq!(error.worker_death().unwrap().signal(), Some(9), "{error}");
                assert_eq!(error.attempts(), 1);
                assert!(ran <= 1, "task {number} ran {ran} times");
                died += 1;
            }
        }
    }
    assert!(finished > 0 && died > 0, "{finished} and {died}");
    in_time(pool.run(pid, ())).await.unwrap();
    let report = marked.end().await;
    assert_eq!((report.finished, report.cancelled), (tasks + 1, 0));
}

#[tokio::test]
async fn workers_killed_at_random_cost_a_map_one_item_each() {
    const ITEMS: u32 = 2000;
    let (marked, journal) = (Marked::new(3), Journal::new());
    let pool = &marked.pool;
    in_time(pool.ready()).await.unwrap();
    let killer = Killer::start(pool, 3);
    let inputs = (0..ITEMS).map(|number| (journal.path(), number));
    let mut stream = pool.map(note_slowly, inputs).chunksize(8).unordered().with_index();
    let mut results = BTreeMap::new();
    while let Some((index, result)) = in_time(stream.next()).await {
        assert!(results.insert(u32::try_from(index).unwrap(), result).is_none());
    }
    killer.stop();
    assert_eq!(results.len(), ITEMS as usize);
    let (counts, mut died) = (journal.counts(), 0);
    for (number, result) in results {
        let ran = counts.get(&number).copied().unwrap_or_default();
        match result {
            Ok(result) => assert_eq!((result, ran), (number, 1)),
            Err(error) => {
                assert!(error.is_worker_death() && ran <= 1, "{ran} times: {error}");
                died += 1;
            }
        }
    }
    assert!(died <= pool.stats().worker_deaths);
    marked.end().await;
}

#[tokio::test]
async fn kills_cancels_aborts_and_timeouts_at_once_leave_the_numbers_right() {
    const TASKS: u32 = 1000;
    let (marked, journal, mut dice) = (Marked::new(3), Journal::new(), Dice(5));
    let pool = &marked.pool;
    in_time(pool.ready()).await.unwrap();
    let killer = Killer::start(pool, 2);
    let mut handles: Vec<TaskHandle<u32>> = Vec::new();
    for number in 0..TASKS {
        let mut task = pool.task(note_slowly, (journal.path(), number));
        if dice.below(10) == 0 {
            task = task.timeout(Duration::from_micros(dice.below(3000)));
        }
        handles.push(in_time(task.submit()).await.unwrap());
        let recent = handles.len() as u64 - 1 - dice.below(handles.len().min(50) as u64);
        let victim = &mut handles[usize::try_from(recent).unwrap()];
        match dice.below(20) {
            0 => victim.abort(),
            1 | 2 => {
                victim.cancel();
            }
            3..8 => tokio::task::yield_now().await,
            8 => drop(in_time(victim).await),
            _ => {}
        }
    }
    for handle in &mut handles {
        let _ = in_time(handle).await;
    }
    killer.stop();
    let (mut cancelled, counts) = (0, journal.counts());
    for (number, handle) in (0..).zip(handles) {
        let ran = counts.get(&number).copied().unwrap_or_default();
        match in_time(handle).await {
            Ok(_) => assert_eq!(ran, 1),
            Err(error) if error.is_cancelled() => cancelled += 1,
            Err(error) => assert!(error.is_worker_death() || error.is_timeout(), "{error}"),
        }
        assert!(ran <= 1, "task {number} ran {ran} times");
    }
    let report = marked.end().await;
    assert_eq!(report.cancelled, cancelled);
    assert_eq!(report.finished + report.cancelled, u64::from(TASKS));
}

#[tokio::test]
async fn a_worker_killed_while_it_starts_loses_no_task() {
    let (marked, journal) = (Marked::new(1), Journal::new());
    let pool = &marked.pool;
    for number in 0..10 {
        let handle = pool.submit(note, (journal.path(), number)).await.unwrap();
        wait_until("a worker is started", || !pool.workers().is_empty()).await;
        // At different points of its start, or of its task.
        tokio::time::sleep(Duration::from_millis(u64::from(number))).await;
        let states = pool.workers();
        for worker in &states {
            signal(worker.pid, Signal::KILL);
        }
        match in_time(handle).await {
            Ok(result) => assert_eq!(result, number),
            Err(error) => assert!(error.is_worker_death(), "{error}"),
        }
        // The kill of an idle worker may not have been noticed yet; its task is not lost either.
        wait_until("the victims are reaped", || states.iter().all(|w| process_gone(w.pid))).await;
    }
    assert!(journal.counts().values().all(|count| *count == 1));
    marked.end().await;
}

fn length(bytes: String) -> usize {
    bytes.len()
}

procpool::register!(length);

#[tokio::test]
async fn a_worker_killed_within_a_large_payload_fails_one_task() {
    const SIZE: usize = 8 << 20;
    let marked = Marked::new(1);
    let pool = &marked.pool;
    let payload = "x".repeat(SIZE);
    for round in 0..10 {
        in_time(pool.ready()).await.unwrap();
        let victim = pool.submit(length, payload.clone()).await.unwrap();
        let next = pool.submit(pid, ()).await.unwrap();
        for _ in 0..round * 3 {
            tokio::task::yield_now().await;
        }
        let before = pool.workers();
        for worker in &before {
            signal(worker.pid, Signal::KILL);
        }
        match in_time(victim).await {
            Ok(length) => assert_eq!(length, SIZE),
            Err(error) => assert!(error.is_worker_death(), "{error}"),
        }
        // It had begun only if the first one had ended.
        if let Err(error) = in_time(next).await {
            assert!(error.is_worker_death(), "{error}");
        }
    }
    assert_eq!(in_time(pool.run(length, payload)).await.unwrap(), SIZE);
    marked.end().await;
}

#[tokio::test]
async fn a_worker_stopped_and_then_killed_is_a_death_like_any_other() {
    let (marked, gate) = (Marked::new(2), Gate::new().await);
    let pool = &marked.pool;
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    signal(held.pid, Signal::STOP);
    // Others are served meanwhile, by another worker.
    for _ in 0..10 {
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
    }
    assert!(!handle.is_finished());
    signal(held.pid, Signal::KILL);
    let error = in_time(handle).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!((death.pid(), death.signal()), (held.pid, Some(9)));
    marked.end().await;
}

#[tokio::test]
async fn a_stopped_worker_cannot_hold_up_an_abort_or_a_shutdown() {
    let (marked, gate) = (Marked::new(1), Gate::new().await);
    let pool = &marked.pool;
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    signal(held.pid, Signal::STOP);
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    assert!(process_gone(held.pid));
    let idle = in_time(pool.run(pid, ())).await.unwrap();
    signal(idle, Signal::STOP);
    marked.end().await;
    assert!(process_gone(idle));
}

#[tokio::test]
async fn a_pool_with_too_few_descriptors_works_or_says_so() {
    assert_works_or_says_so("descriptors", 40).await;
}

#[tokio::test]
async fn a_fork_server_with_too_few_descriptors_works_or_says_so() {
    for limit in [20, 30, 40] {
        assert_works_or_says_so("forked-descriptors", limit).await;
    }
}

async fn assert_works_or_says_so(what: &str, limit: u16) {
    let output = tokio::process::Command::new(fixture("parent"))
        .args([what, &limit.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = in_time(output).await.unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let (last, results) = lines.split_last().unwrap();
    assert_eq!(*last, "closed with 0 children");
    assert_eq!(results.len(), 100, "{stdout}");
    for result in results {
        assert!(*result == "ok" || result.contains("Too many open files"), "{result}");
    }
}

/// Runs tasks in a pool of its own.
async fn sum_of_squares(numbers: Vec<u32>) -> u32 {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().unwrap();
    let mut handles = Vec::new();
    for number in numbers {
        handles.push(pool.submit(square, number).await.unwrap());
    }
    let mut sum = 0;
    for handle in handles {
        sum += handle.await.unwrap();
    }
    pool.shutdown().await;
    sum
}

fn square(number: u32) -> u32 {
    number * number
}

/// Holds in two workers of a pool of its own.
async fn hold_nested(path: String, port: u16) {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().unwrap();
    note_line(&path, &std::process::id().to_string());
    let (one, two) = tokio::join!(pool.run(hold, port), pool.run(hold, port));
    one.unwrap();
    two.unwrap();
}

procpool::register!(sum_of_squares, square, hold_nested);

#[tokio::test]
async fn a_task_may_have_a_pool_of_its_own() {
    // scenario 22
    let marked = Marked::new(2);
    let sums = [
        marked.pool.submit(sum_of_squares, vec![1, 2, 3]).await.unwrap(),
        marked.pool.submit(sum_of_squares, vec![4, 5]).await.unwrap(),
    ];
    let [one, two] = sums;
    assert_eq!(in_time(one).await.unwrap(), 14);
    assert_eq!(in_time(two).await.unwrap(), 41);
    marked.end().await;
}

#[tokio::test]
async fn nested_workers_go_when_the_outer_worker_is_killed() {
    let (marked, gate, journal) = (Marked::new(1), Gate::new().await, Journal::new());
    let pool = &marked.pool;
    let outer = pool.submit(hold_nested, (journal.path(), gate.port())).await.unwrap();
    let nested = [gate.arrival().await, gate.arrival().await];
    let [outer_pid] = *journal.numbers() else { panic!("one task runs") };
    assert!(nested.iter().all(|nested| nested.pid != outer_pid));
    signal(outer_pid, Signal::KILL);
    let error = in_time(outer).await.unwrap_err();
    assert_eq!(error.worker_death().unwrap().pid(), outer_pid);
    for nested in &nested {
        wait_until("the nested worker is gone", || process_gone(nested.pid)).await;
    }
    marked.end().await;
}

#[tokio::test]
async fn nested_workers_go_when_the_outer_task_is_aborted() {
    let (marked, gate, journal) = (Marked::new(1), Gate::new().await, Journal::new());
    let outer = marked.pool.submit(hold_nested, (journal.path(), gate.port())).await.unwrap();
    let nested = [gate.arrival().await, gate.arrival().await];
    outer.abort();
    assert!(in_time(outer).await.unwrap_err().is_cancelled());
    for nested in &nested {
        wait_until("the nested worker is gone", || process_gone(nested.pid)).await;
    }
    marked.end().await;
}

#[tokio::test]
async fn the_children_of_a_killed_worker_go_with_it() {
    fn hold_with_child(port: u16) {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        hold(port);
        child.wait().unwrap();
    }
    procpool::register!(hold_with_child);
    let (marked, gate) = (Marked::new(1), Gate::new().await);
    let handle = marked.pool.submit(hold_with_child, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    // A new program's environment can be read only a moment after its parent goes on.
    let marks = || processes_with_env(Marked::NAME, &marked.mark).len();
    wait_until("the child can be told by its mark", || marks() >= 2).await;
    signal(held.pid, Signal::KILL);
    assert!(in_time(handle).await.unwrap_err().is_worker_death());
    marked.end().await;
}

#[tokio::test]
async fn a_daemon_that_a_task_leaves_behind_holds_nothing_up() {
    /// Leaves a process in a session of its own, which holds the worker's output open.
    fn leave_a_daemon() -> u32 {
        let script = "setsid sleep 1000 & echo $!";
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        shell.wait().unwrap();
        line.trim().parse().unwrap()
    }
    procpool::register!(leave_a_daemon);
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let daemon = in_time(pool.run(leave_a_daemon, ())).await.unwrap();
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
    assert!(process_gone(worker));
    signal(daemon, Signal::KILL);
}

#[tokio::test]
async fn workers_killed_while_they_start_are_replaced() {
    let gate = Gate::new().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1).initializer(hold, gate.port());
    let pool = builder.build().unwrap();
    let handle = pool.submit(pid, ()).await.unwrap();
    for _ in 0..8 {
        signal(gate.arrival().await.pid, Signal::KILL);
    }
    let last = gate.arrival().await;
    let survivor = last.pid;
    drop(last);
    assert_eq!(in_time(handle).await.unwrap(), survivor);
}
