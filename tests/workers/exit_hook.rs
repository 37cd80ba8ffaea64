//! What a worker runs when it leaves, and what is told of it.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use procpool::{Builder, ExitResult, OutputLine, ProcessPoolExecutor, Shutdown, WorkerOutput};
use serde::{Deserialize, Serialize, Serializer};

use crate::common::{Gate, LIMIT, fill, hold, in_time, kill, pid, process_gone, wait_until};
use crate::journal::{Journal, note_line};

fn open_counter() -> Cell<u64> {
    Cell::new(0)
}

fn count(amount: u64) {
    let total: &Cell<u64> = procpool::current().state().unwrap();
    total.set(total.get() + amount);
}

/// The pid of its worker and what `count` has added up there.
fn total(unit: u64) -> (u32, u64) {
    let counted = procpool::state::<Cell<u64>>().map_or(0, Cell::get);
    (std::process::id(), counted * unit)
}

async fn total_later(unit: u64) -> (u32, u64) {
    tokio::task::yield_now().await;
    total(unit)
}

/// Notes that it was called.
fn note_exit(path: String) {
    note_line(&path, &std::process::id().to_string());
}

fn panic_at_exit() -> u32 {
    panic!("it will not go");
}

fn hang_at_exit(path: String) {
    note_exit(path);
    loop {
        std::thread::park();
    }
}

fn print_at_exit() -> u32 {
    println!("farewell");
    eprintln!("and thanks");
    std::process::id()
}

fn bytes_at_exit(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn ask_at_exit() -> (bool, String) {
    let state = procpool::state::<u64>();
    (procpool::try_current().is_none(), state.unwrap_err().to_string())
}

#[derive(Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it cannot be put in words"))
    }
}

fn unencodable() -> Unencodable {
    Unencodable
}

/// Ends in no way that a pool asked for.
fn exit_by_itself() {
    std::process::exit(0);
}

fn unregistered() {}

procpool::register!(open_counter, count, total, total_later, note_exit, panic_at_exit);
procpool::register!(hang_at_exit, print_at_exit, bytes_at_exit, ask_at_exit, unencodable);
procpool::register!(exit_by_itself);

/// With a grace period that no hook overruns, however loaded the machine is.
fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers).grace_period(LIMIT)
}

fn pids<R>(exits: &[ExitResult<R>]) -> BTreeSet<u32> {
    exits.iter().map(|exit| exit.pid).collect()
}

async fn assert_that_state_is_reported(pool: ProcessPoolExecutor) {
    for amount in [1, 2, 4] {
        in_time(pool.run(count, amount)).await.unwrap();
    }
    let worker = pool.workers()[0].clone();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<(u32, u64)>().unwrap();
    assert_eq!(exits.len(), 1);
    assert_eq!((exits[0].worker, exits[0].pid), (worker.id, worker.pid));
    assert_eq!(*exits[0].result.as_ref().unwrap(), (worker.pid, 700));
}

#[tokio::test]
async fn the_hook_reports_what_the_tasks_have_made_of_the_state() {
    let builder = builder(1).initializer(open_counter, ()).exit_hook(total, 100);
    assert_that_state_is_reported(builder.build().unwrap()).await;
}

#[tokio::test]
async fn the_hook_may_be_async() {
    let builder = builder(1).initializer(open_counter, ()).exit_hook(total_later, 100);
    assert_that_state_is_reported(builder.build().unwrap()).await;
}

#[tokio::test]
async fn each_worker_reports_once() {
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let pool = builder(3).exit_hook(note_exit, journal.path()).build().unwrap();
    let held = fill(&pool, &gate, 3).await;
    let workers: BTreeSet<u32> = held.iter().map(|held| held.pid).collect();
    assert_eq!(journal.lines().len(), 0, "not before they leave");
    drop(held);
    let (first, second) = in_time(async { tokio::join!(pool.shutdown(), pool.shutdown()) }).await;
    let exits = first.exit_results::<()>().unwrap();
    assert_eq!((exits.len(), pids(&exits)), (3, workers.clone()));
    assert!(exits.iter().all(|exit| exit.result.is_ok()), "{exits:?}");
    let called: BTreeSet<u32> = journal.numbers().into_iter().collect();
    assert_eq!((journal.lines().len(), called), (3, workers));
    assert_eq!(first, second, "each shutdown tells the same");
}

#[tokio::test]
async fn a_hook_that_panics_fails_alone() {
    let gate = Gate::new().await;
    let pool = builder(2).exit_hook(panic_at_exit, ()).build().unwrap();
    let workers: Vec<u32> = fill(&pool, &gate, 2).await.iter().map(|held| held.pid).collect();
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, 2);
    let exits = report.exit_results::<u32>().unwrap();
    assert_eq!(exits.len(), 2);
    for exit in exits {
        assert!(workers.contains(&exit.pid));
        let error = exit.result.unwrap_err();
        let panic = error.panic().unwrap();
        assert_eq!(panic.message(), "it will not go");
        assert!(panic.location().unwrap().contains("exit_hook.rs"));
        let beginning = "the exit hook `workers::exit_hook::panic_at_exit` failed in worker ";
        assert!(error.to_string().starts_with(beginning), "{error}");
        assert!(error.function().ends_with("panic_at_exit") && error.task_id().is_none());
    }
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_result_that_cannot_be_encoded_fails_alone() {
    let pool = builder(1).exit_hook(unencodable, ()).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<Unencodable>().unwrap();
    let error = exits[0].result.as_ref().err().unwrap();
    assert!(error.is_codec(), "{error}");
    assert!(error.to_string().contains("it cannot be put in words"), "{error}");
}

#[tokio::test]
async fn the_largest_payload_holds_for_the_hook_too() {
    let payload = vec![7_u8; 1000];
    let refused = builder(1).exit_hook(bytes_at_exit, payload.clone()).max_payload(1000).build();
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
    let pool = builder(1).exit_hook(bytes_at_exit, payload.clone()).max_payload(1002);
    let pool = pool.build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<Vec<u8>>().unwrap();
    assert_eq!(*exits[0].result.as_ref().unwrap(), payload);
}

#[tokio::test]
async fn large_arguments_and_results_come_through() {
    let payload = vec![9_u8; 5 << 20];
    let pool = builder(1).exit_hook(bytes_at_exit, payload.clone()).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<Vec<u8>>().unwrap();
    assert!(*exits[0].result.as_ref().unwrap() == payload);
}

#[tokio::test]
async fn the_hook_is_not_called_in_a_worker_that_was_killed() {
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let pool = builder(2).exit_hook(note_exit, journal.path()).build().unwrap();
    let held = fill(&pool, &gate, 2).await;
    let (victim, survivor) = (held[0].pid, held[1].pid);
    kill(victim);
    wait_until("its death is known", || pool.stats().worker_deaths == 1).await;
    drop(held);
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<()>().unwrap();
    assert_eq!(pids(&exits), BTreeSet::from([survivor]));
    assert_eq!(journal.numbers(), [survivor]);
}

#[tokio::test]
async fn the_hook_is_not_called_in_a_worker_that_exits_by_itself() {
    let journal = Journal::new();
    let pool = builder(1).exit_hook(note_exit, journal.path()).build().unwrap();
    assert!(in_time(pool.run(exit_by_itself, ())).await.unwrap_err().is_worker_death());
    let replacement = in_time(pool.run(pid, ())).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    assert_eq!(pids(&report.exit_results::<()>().unwrap()), BTreeSet::from([replacement]));
    assert_eq!(journal.numbers(), [replacement]);
}

#[tokio::test]
async fn the_hook_is_not_called_in_a_worker_whose_task_is_aborted() {
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let pool = builder(1).exit_hook(note_exit, journal.path()).build().unwrap();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.exit_results::<()>().unwrap().len(), 0);
    assert_eq!(journal.lines().len(), 0);
}

#[tokio::test]
async fn a_hook_that_hangs_is_killed_after_the_grace_period() {
    let journal = Journal::new();
    let builder = builder(1).grace_period(Duration::from_secs(2));
    let pool = builder.exit_hook(hang_at_exit, journal.path()).build().unwrap();
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [worker], "it was called");
    assert!(process_gone(worker));
    assert_eq!(report.exit_results::<()>().unwrap().len(), 0);
    assert_eq!((report.finished, pool.stats().worker_deaths), (1, 0));
}

#[tokio::test]
async fn a_worker_that_never_had_a_task_reports_too() {
    let pool = builder(1).initializer(open_counter, ()).exit_hook(total, 1).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<(u32, u64)>().unwrap();
    assert_eq!(*exits[0].result.as_ref().unwrap(), (exits[0].pid, 0));
}

#[tokio::test]
async fn what_a_hook_prints_is_passed_on() {
    let (sender, lines) = std::sync::mpsc::channel();
    let output = WorkerOutput::lines(move |line: OutputLine<'_>| {
        let _ = sender.send(line.text.to_owned());
    });
    let pool = builder(1).worker_output(output).exit_hook(print_at_exit, ()).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<u32>().unwrap();
    assert_eq!(*exits[0].result.as_ref().unwrap(), exits[0].pid);
    let printed: Vec<String> = lines.try_iter().collect();
    for line in ["farewell", "and thanks"] {
        assert!(printed.iter().any(|printed| printed == line), "{printed:?}");
    }
}

#[tokio::test]
async fn the_hook_is_no_task() {
    let pool = builder(1).exit_hook(ask_at_exit, ()).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<(bool, String)>().unwrap();
    let (no_task, state) = exits[0].result.as_ref().unwrap();
    assert!(no_task);
    assert!(state.contains("without an initializer"), "{state}");
    assert_eq!((report.finished, pool.stats().submitted), (0, 0));
}

#[tokio::test]
async fn asking_for_results_of_another_type_is_an_error() {
    let pool = builder(1).exit_hook(total, 1).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    let error = report.exit_results::<u64>().unwrap_err();
    assert_eq!((error.wanted, error.actual), ("u64", "(u32, u64)"));
    assert_eq!(report.exit_results::<(u32, u64)>().unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_hook_or_before_the_end_there_are_no_results() {
    let pool = builder(1).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let report = in_time(pool.shutdown_with(Shutdown::new().wait(false))).await;
    assert_eq!(report.exit_results::<u64>().unwrap().len(), 0);
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.exit_results::<u64>().unwrap().len(), 0);
}

#[tokio::test]
async fn a_hook_that_is_not_registered_is_refused() {
    // scenario 3
    let error = builder(1).exit_hook(unregistered, ()).build().unwrap_err();
    assert!(error.is_unregistered(), "{error}");
    let line = "procpool::register!(crate::exit_hook::unregistered);";
    assert!(error.to_string().contains(line), "{error}");
}

#[tokio::test]
async fn arguments_of_a_hook_that_cannot_be_encoded_are_refused() {
    fn take(_: Unencodable) {}
    procpool::register!(take);
    let error = builder(1).exit_hook(take, Unencodable).build().unwrap_err();
    assert!(error.to_string().contains("it cannot be put in words"), "{error}");
}
