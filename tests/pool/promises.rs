//! The ten promised semantics, one by one; the other files look closer.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use procpool::{OnWorkerDeath, ProcessPoolExecutor, Shutdown, TaskHandle, WorkerOutput};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{Gate, children, fixture, hold, in_time, kill, pid, process_gone, wait_until};
use crate::journal::{Journal, note, note_line};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

fn fail() -> u32 {
    panic!("a panic");
}

fn exit(code: i32) -> u32 {
    eprintln!("last words");
    std::process::exit(code)
}

fn spin() -> u32 {
    loop {
        std::hint::spin_loop();
    }
}

procpool::register!(fail, exit, spin);

// ----- 1 -----

#[tokio::test]
async fn promise_1_every_task_resolves_exactly_once() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let mut handles: Vec<TaskHandle<u32>> = vec![
        pool.submit(hold, gate.port()).await.unwrap(),
        pool.submit(hold, gate.port()).await.unwrap(),
    ];
    let killed = gate.arrival().await;
    let held = gate.arrival().await;
    handles.push(pool.submit(pid, ()).await.unwrap());
    handles.push(pool.submit(fail, ()).await.unwrap());
    handles.push(pool.submit(exit, 3).await.unwrap());
    handles.push(pool.task(spin, ()).timeout(Duration::from_millis(20)).submit().await.unwrap());
    handles.push(pool.submit(pid, ()).await.unwrap());
    handles.last().unwrap().cancel();
    handles.push(pool.submit(spin, ()).await.unwrap());
    handles.last().unwrap().abort();
    let resolutions = Arc::new(AtomicU32::new(0));
    for handle in &handles {
        let resolutions = Arc::clone(&resolutions);
        handle.add_done_callback(move |_| {
            resolutions.fetch_add(1, Ordering::Relaxed);
        });
    }
    kill(killed.pid);
    drop(held);
    let count = handles.len();
    let mut ends = Vec::new();
    for handle in handles {
        ends.push(match in_time(handle).await {
            Ok(_) => "result",
            Err(error) if error.is_panic() => "panic",
            Err(error) if error.is_worker_death() => "death",
            Err(error) if error.is_timeout() => "timeout",
            Err(error) if error.is_cancelled() => "cancelled",
            Err(error) => panic!("{error}"),
        });
    }
    // Which of the two holders arrived first is open.
    ends[..2].sort_unstable();
    let expected =
        ["death", "result", "result", "panic", "death", "timeout", "cancelled", "cancelled"];
    assert_eq!(ends, expected);
    in_time(pool.shutdown()).await;
    assert_eq!(resolutions.load(Ordering::Relaxed), count.try_into().unwrap());
}

// ----- 2 -----

fn note_and_die(path: String) {
    let attempt = procpool::current().attempt();
    note_line(&path, &attempt.to_string());
    std::process::abort();
}

procpool::register!(note_and_die);

#[tokio::test]
async fn promise_2_at_most_once_unless_retries_are_asked_for() {
    let (pool, journal) = (pool_of(1), Journal::new());
    let error = in_time(pool.run(note_and_die, journal.path())).await.unwrap_err();
    assert_eq!((error.is_worker_death(), error.attempts()), (true, 1));
    assert_eq!(journal.numbers(), [1]);

    let journal = Journal::new();
    let run = pool.task(note_and_die, journal.path()).retries(2).run();
    let error = in_time(run).await.unwrap_err();
    assert_eq!((error.is_worker_death(), error.attempts()), (true, 3));
    assert_eq!(journal.numbers(), [1, 2, 3]);
}

#[tokio::test]
async fn promise_2_a_task_that_had_not_begun_is_given_to_another_worker() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    for _ in 0..200 {
        drop(pool.submit(pid, ()).await.unwrap()); // so that tasks are sent ahead
    }
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let mut behind = Vec::new();
    for number in 0..50 {
        behind.push(pool.submit(note, (journal.path(), number)).await.unwrap());
    }
    let held = gate.arrival().await;
    kill(held.pid);
    assert!(in_time(victim).await.unwrap_err().is_worker_death());
    for handle in behind {
        in_time(handle).await.unwrap();
    }
    assert_eq!(journal.numbers(), (0..50).collect::<Vec<_>>());
}

// ----- 3 -----

#[tokio::test]
async fn promise_3_a_death_is_one_tasks_business() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let bystander = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let died = pool.submit(exit, 7).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(pool.submit(pid, ()).await.unwrap());
    }
    let error = in_time(died).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!((death.exit_code(), death.signal()), (Some(7), None));
    assert!(death.stderr_tail().contains("last words"), "{error}");
    for other in others {
        let worker = in_time(other).await.unwrap();
        assert!(worker != death.pid() && worker != held.pid, "it is replaced");
    }
    let survivor = held.pid;
    drop(held);
    assert_eq!(in_time(bystander).await.unwrap(), survivor);
}

#[tokio::test]
async fn promise_3_in_break_mode_a_death_is_everybodys_business() {
    let gate = Gate::new().await;
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder.on_worker_death(OnWorkerDeath::Break).build().unwrap();
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let pending = pool.submit(pid, ()).await.unwrap();
    let held = gate.arrival().await;
    kill(held.pid);
    for handle in [victim, pending] {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_broken(), "{error}");
        assert_eq!(error.worker_death().unwrap().pid(), held.pid);
    }
    assert!(pool.try_submit(pid, ()).unwrap_err().is_broken());
    in_time(pool.shutdown()).await;
}

fn bad_start() -> Result<u32, String> {
    Err("no such model".to_owned())
}

procpool::register!(bad_start);

#[tokio::test]
async fn promise_3_a_pool_whose_workers_cannot_be_initialized_is_broken() {
    let pool = ProcessPoolExecutor::builder().initializer(bad_start, ()).build().unwrap();
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    assert!(error.is_broken() && error.to_string().contains("no such model"), "{error}");
}

// ----- 4 -----

/// Can be sent, but does not arrive.
#[derive(Debug, Serialize)]
struct Undecodable(u32);

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("it does not decode"))
    }
}

/// Cannot be sent.
#[derive(Debug, Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("it does not encode"))
    }
}

fn take_undecodable(_: Undecodable) {}

fn return_undecodable() -> Undecodable {
    Undecodable(1)
}

fn return_unencodable() -> Unencodable {
    Unencodable
}

fn return_text(length: usize) -> String {
    "x".repeat(length)
}

procpool::register!(take_undecodable, return_undecodable, return_unencodable, return_text);

#[tokio::test]
async fn promise_4_a_panic_or_a_bad_value_costs_nothing_but_its_task() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_payload(100_000);
    let pool = builder.worker_output(WorkerOutput::Null).build().unwrap();
    let worker = in_time(pool.run(pid, ())).await.unwrap();

    let error = in_time(pool.run(fail, ())).await.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "a panic");
    assert!(panic.location().unwrap().starts_with(file!()), "{:?}", panic.location());
    assert!(panic.backtrace().contains("fail"), "{}", panic.backtrace());

    let error = in_time(pool.run(take_undecodable, Undecodable(1))).await.unwrap_err();
    assert!(error.is_codec() && error.to_string().contains("cannot be decoded"), "{error}");
    let error = in_time(pool.run(return_unencodable, ())).await.unwrap_err();
    assert!(error.is_codec() && error.to_string().contains("cannot be encoded"), "{error}");
    let error = in_time(pool.run(return_undecodable, ())).await.unwrap_err();
    assert!(error.is_codec() && error.to_string().contains("cannot be decoded"), "{error}");
    let error = in_time(pool.run(return_text, 100_001)).await.unwrap_err();
    assert!(error.is_too_large(), "{error}");

    assert_eq!(in_time(pool.run(return_text, 99_000)).await.unwrap().len(), 99_000);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker, "the worker lives");
}

// ----- 5 -----

#[tokio::test]
async fn promise_5_first_in_first_out() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    for number in 0..500 {
        drop(pool.submit(note, (journal.path(), number)).await.unwrap());
    }
    drop(held);
    in_time(first).await.unwrap();
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn promise_5_nobody_waits_behind_a_long_task() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    // After quick tasks the pool sends ahead, and must take back what it sent.
    let mut short = Vec::new();
    for _ in 0..300 {
        short.push(pool.submit(pid, ()).await.unwrap());
    }
    let long = pool.submit(hold, gate.port()).await.unwrap();
    for _ in 0..300 {
        short.push(pool.submit(pid, ()).await.unwrap());
    }
    let held = gate.arrival().await;
    for handle in short {
        in_time(handle).await.unwrap();
    }
    assert!(!long.is_finished());
    drop(held);
    in_time(long).await.unwrap();
}

// ----- 6 -----

#[tokio::test]
async fn promise_6_the_queue_is_bounded_by_default() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let mut accepted = 0;
    let error = loop {
        match pool.try_submit(pid, ()) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_queue_full(), "{error}");
    assert_eq!(accepted, 10_000);
    drop(held);
    in_time(running).await.unwrap();
    drop(in_time(pool.submit(pid, ())).await.unwrap());
    in_time(pool.shutdown_with(Shutdown::new().cancel_futures(true))).await;
}

fn double(number: u64) -> u64 {
    2 * number
}

procpool::register!(double);

#[tokio::test]
async fn promise_6_streams_are_lazy() {
    let pool = pool_of(2);
    let mut taken = 0_u64;
    let results = pool.map(double, (0_u64..).inspect(|_| taken += 1)).take(3).collect::<Vec<_>>();
    let results: Vec<u64> = in_time(results).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [0, 2, 4]);
    assert!(taken < 100_000, "{taken} of an endless input were taken");
}

// ----- 7 -----

#[tokio::test]
async fn promise_7_no_orphans_when_the_parent_is_killed() {
    let gate = Gate::new().await;
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let parent = parent.args(["work", &gate.port().to_string()]).kill_on_drop(true);
    let mut parent = parent.stdout(std::process::Stdio::null()).spawn().unwrap();
    let held = [gate.arrival().await, gate.arrival().await];
    parent.start_kill().unwrap();
    in_time(parent.wait()).await.unwrap();
    for held in held {
        wait_until("a busy worker is gone", || process_gone(held.pid)).await;
    }
}

#[tokio::test]
async fn promise_7_no_zombies() {
    let pool = pool_of(2);
    let mut workers = Vec::new();
    for _ in 0..3 {
        let died = in_time(pool.run(exit, 0)).await.unwrap_err();
        workers.push(died.worker_death().unwrap().pid());
        workers.push(in_time(pool.run(pid, ())).await.unwrap());
    }
    in_time(pool.shutdown()).await;
    let left = children();
    assert!(workers.iter().all(|worker| !left.contains(worker)), "{workers:?}, {left:?}");
}

// ----- 8 -----

fn print() -> u32 {
    println!("by println");
    let _ = rustix::io::write(rustix::stdio::stdout(), b"by write\n");
    assert!(std::process::Command::new("echo").arg("by a child").status().unwrap().success());
    std::process::id()
}

procpool::register!(print);

#[tokio::test]
async fn promise_8_a_task_may_print() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let output = WorkerOutput::lines(move |line| sink.lock().unwrap().push(line.text.to_owned()));
    let pool = ProcessPoolExecutor::builder().max_workers(1).worker_output(output);
    let pool = pool.build().unwrap();
    let worker = in_time(pool.run(print, ())).await.unwrap();
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
    let expected = ["by println", "by write", "by a child"];
    // The test harness, which is the worker's program here, prints as well.
    let printed = || lines.lock().unwrap().iter().filter(|l| l.starts_with("by ")).count();
    wait_until("the lines arrive", || printed() == expected.len()).await;
    let lines = lines.lock().unwrap();
    assert!(expected.iter().all(|line| lines.iter().any(|l| l == line)), "{lines:?}");
}

// ----- 9 -----

fn process_group() -> (u32, i32) {
    (std::process::id(), rustix::process::getpgrp().as_raw_nonzero().get())
}

procpool::register!(process_group);

#[tokio::test]
async fn promise_9_workers_are_in_their_own_process_group() {
    let pool = pool_of(1);
    let (worker, group) = in_time(pool.run(process_group, ())).await.unwrap();
    assert_eq!(i64::from(worker), i64::from(group));
    assert_ne!(group, process_group().1);
}

// ----- 10 -----

#[tokio::test]
async fn promise_10_nothing_blocks_a_current_thread_runtime() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await; // the only thread of the runtime is here, not in the task
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(held);
    in_time(running).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_10_it_works_on_a_multi_threaded_runtime() {
    let pool = pool_of(2);
    in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
}

#[tokio::test(start_paused = true)]
async fn promise_10_it_works_under_a_paused_clock() {
    let pool = pool_of(2);
    // No `in_time`: that clock jumps ahead whenever the runtime waits.
    pool.task(pid, ()).timeout(Duration::from_mins(1)).run().await.unwrap();
    pool.shutdown().await;
}
