//! What a worker does before its first task, and what it keeps for all of them.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::Cell;
use std::time::Duration;

use futures::StreamExt;
use procpool::{Builder, OnWorkerDeath, ProcessPoolExecutor, RunError};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Gate, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note_line};

/// No serde type, and not even `Send`.
struct Model {
    name: String,
    uses: Cell<u32>,
}

impl Model {
    /// Notes the worker.
    fn load(path: &str, name: String) -> Self {
        note_line(path, &std::process::id().to_string());
        Self { name, uses: Cell::new(0) }
    }
}

fn load(path: String, name: String) -> Model {
    Model::load(&path, name)
}

fn load_or_fail(path: String, name: String) -> Result<Model, std::num::ParseIntError> {
    let model = Model::load(&path, name);
    model.name.parse::<u32>()?;
    Ok(model)
}

async fn load_later(path: String, name: String) -> Model {
    tokio::task::yield_now().await;
    Model::load(&path, name)
}

async fn load_later_or_fail(path: String, name: String) -> Result<Model, String> {
    tokio::task::yield_now().await;
    let model = Model::load(&path, name);
    if model.name.is_empty() { Err("it has no name".to_owned()) } else { Ok(model) }
}

/// No text comes with it.
struct Mute;

fn fail_without_a_text(path: String) -> Result<Model, Mute> {
    Model::load(&path, String::new());
    Err(Mute)
}

async fn fail_later_without_a_text(path: String) -> Result<Model, Mute> {
    tokio::task::yield_now().await;
    fail_without_a_text(path)
}

fn count_bytes(data: Vec<u8>) -> usize {
    data.len()
}

fn bytes_counted() -> usize {
    *procpool::current().state::<usize>().unwrap()
}

fn panic_at_start(path: String) -> Model {
    let model = Model::load(&path, String::new());
    panic!("the model {:?} is missing", model.name);
}

fn load_once(path: String) -> Result<Model, String> {
    let model = Model::load(&path, String::new());
    let starts = std::fs::read_to_string(&path).unwrap().lines().count();
    if starts > 1 { Err("once is enough".to_owned()) } else { Ok(model) }
}

/// Every third time it fails, but not the first time.
fn load_at_times(path: String) -> Result<Model, String> {
    let model = Model::load(&path, String::new());
    let starts = std::fs::read_to_string(&path).unwrap().lines().count();
    if starts.is_multiple_of(3) { Err("not now".to_owned()) } else { Ok(model) }
}

fn abort_at_start(path: String) -> Model {
    let _model = Model::load(&path, String::new());
    std::process::abort();
}

fn hang_at_start(path: String) -> Model {
    let _model = Model::load(&path, String::new());
    loop {
        std::thread::park();
    }
}

/// The worker, the model's name, and how often it was used before.
fn use_model() -> (u32, String, u32) {
    let model: &Model = procpool::current().state().unwrap();
    (std::process::id(), model.name.clone(), model.uses.replace(model.uses.get() + 1))
}

fn use_wrong_type() -> Result<u64, String> {
    procpool::current().state::<u64>().copied().map_err(|error| error.to_string())
}

procpool::register!(load, load_or_fail, load_later, load_later_or_fail, panic_at_start);
procpool::register!(fail_without_a_text, fail_later_without_a_text);
procpool::register!(
    load_once,
    load_at_times,
    abort_at_start,
    hang_at_start,
    use_model,
    use_wrong_type,
    use_model_elsewhere,
    count_bytes,
    bytes_counted
);

async fn assert_that_state_is_kept(builder: Builder, journal: &Journal, name: &str) {
    let pool = builder.max_workers(1).build().unwrap();
    let mut worker = None;
    for uses in 0..3 {
        let (pid, model, used_before) = in_time(pool.run(use_model, ())).await.unwrap();
        assert_eq!((model.as_str(), used_before), (name, uses));
        assert_eq!(*worker.get_or_insert(pid), pid);
    }
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [worker.unwrap()], "it ran once");
}

#[tokio::test]
async fn a_plain_initializer_makes_the_state() {
    // scenario 39
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load, (journal.path(), "small".to_owned()));
    assert_that_state_is_kept(builder, &journal, "small").await;
}

#[tokio::test]
async fn the_arguments_of_an_initializer_may_be_large() {
    const LENGTH: usize = 20 << 20;
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder.initializer(count_bytes, vec![7_u8; LENGTH]).build().unwrap();
    assert_eq!(in_time(pool.run(bytes_counted, ())).await.unwrap(), LENGTH);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_fallible_initializer_makes_the_state_if_it_succeeds() {
    // scenario 39
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load_or_fail, (journal.path(), "12".to_owned()));
    assert_that_state_is_kept(builder, &journal, "12").await;
}

#[tokio::test]
async fn an_async_initializer_makes_the_state() {
    // scenario 39
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load_later, (journal.path(), "late".to_owned()));
    assert_that_state_is_kept(builder, &journal, "late").await;
}

#[tokio::test]
async fn an_async_fallible_initializer_makes_the_state_if_it_succeeds() {
    // scenario 39
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load_later_or_fail, (journal.path(), "later".to_owned()));
    assert_that_state_is_kept(builder, &journal, "later").await;
}

#[tokio::test]
async fn the_initializer_runs_once_in_each_worker_and_again_in_a_replacement() {
    // scenario 39
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let builder = ProcessPoolExecutor::builder().max_workers(2);
    let builder = builder.initializer(load, (journal.path(), "m".to_owned()));
    let pool = builder.build().unwrap();
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let other = pool.submit(hold, gate.port()).await.unwrap();
    let (first, second) = (gate.arrival().await, gate.arrival().await);
    assert_eq!(journal.lines().len(), 2);
    kill_process(Pid::from_raw(first.pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    // One of the handles fails; which one depends on the order of arrival.
    let (replacement, model, uses) = in_time(pool.run(use_model, ())).await.unwrap();
    assert_eq!((&*model, uses), ("m", 0), "a state of its own");
    let survivor = second.pid;
    let mut expected = [first.pid, survivor, replacement];
    drop(second);
    let results = [in_time(victim).await, in_time(other).await];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    in_time(pool.shutdown()).await;
    let mut ran = journal.numbers();
    ran.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ran, expected);
}

/// Every way to meet a pool whose initializer fails with this message, and no process is left.
async fn assert_broken(builder: Builder, journal: &Journal, message: &str) {
    let pool = builder.max_workers(2).build().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(pool.submit(pid, ()).await.unwrap());
    }
    let culprit = assert_names(&in_time(pool.ready()).await.unwrap_err().into(), message);
    for handle in waiting {
        let id = handle.id();
        let error = in_time(handle).await.unwrap_err();
        assert_eq!(error.task_id(), Some(id), "an error of its own");
        assert!(error.to_string().starts_with(&format!("{id} (`")), "{error}");
        assert_eq!(assert_names(&error.into(), message), culprit);
    }
    for _ in 0..2 {
        let submitted = in_time(pool.submit(pid, ())).await;
        assert_eq!(assert_names(&submitted.unwrap_err().into(), message), culprit);
        let submitted = pool.try_submit(pid, ());
        assert_eq!(assert_names(&submitted.unwrap_err().into(), message), culprit);
        let ran = in_time(pool.run(pid, ())).await;
        assert_eq!(assert_names(&ran.unwrap_err(), message), culprit);
        let mapped: Vec<_> = in_time(pool.map(pid, [(), ()]).collect()).await;
        assert_eq!(mapped.len(), 2);
        for result in mapped {
            assert_eq!(assert_names(&result.unwrap_err().into(), message), culprit);
        }
        assert!(in_time(pool.ready()).await.unwrap_err().is_broken());
        in_time(pool.shutdown()).await;
    }
    let workers = journal.numbers();
    assert!(matches!(workers.len(), 1..=2), "{workers:?}");
    assert!(workers.contains(&culprit), "{culprit} is none of {workers:?}");
    wait_until("the workers are gone", || workers.iter().all(|pid| process_gone(*pid))).await;
}

/// Checks that an error has the message of the initializer, and returns the pid that it names.
#[track_caller]
fn assert_names(error: &RunError, message: &str) -> u32 {
    assert!(error.is_broken() && !error.is_shut_down(), "{error}");
    let broken = error.broken().unwrap();
    assert!(broken.is_initializer_failure() && broken.worker_death().is_none(), "{error}");
    let text = error.to_string();
    assert!(text.contains("the process pool is broken: the initializer `"), "{text}");
    assert!(text.contains(message), "{text}");
    let culprit = broken.pid().unwrap();
    assert!(text.contains(&format!("(pid {culprit})")), "{text}");
    culprit
}

#[tokio::test]
async fn an_initializer_that_panics_breaks_the_pool() {
    // scenario 40
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().initializer(panic_at_start, journal.path());
    assert_broken(builder, &journal, "panicked: the model \"\" is missing (at ").await;
}

#[tokio::test]
async fn an_initializer_that_returns_an_error_breaks_the_pool() {
    // scenario 40
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load_or_fail, (journal.path(), "many".to_owned()));
    assert_broken(builder, &journal, "invalid digit found in string").await;
}

#[tokio::test]
async fn an_async_initializer_that_returns_an_error_breaks_the_pool() {
    // scenario 40
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load_later_or_fail, (journal.path(), String::new()));
    assert_broken(builder, &journal, "it has no name").await;
}

#[tokio::test]
async fn an_error_without_a_text_breaks_the_pool_and_is_told_by_its_type() {
    // scenario 40
    const MESSAGE: &str = "it returned an error of the type `workers::initializer::Mute`";
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().initializer(fail_without_a_text, journal.path());
    assert_broken(builder, &journal, MESSAGE).await;
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(fail_later_without_a_text, journal.path());
    assert_broken(builder, &journal, MESSAGE).await;
}

#[tokio::test]
async fn an_initializer_that_hangs_breaks_the_pool() {
    // scenario 40
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().initializer(hang_at_start, journal.path());
    let builder = builder.start_timeout(Duration::from_secs(3)); // it must get as far as that
    assert_broken(builder, &journal, "hang_at_start` did not end within 3s").await;
}

#[tokio::test]
async fn an_initializer_that_goes_on_failing_in_a_replacement_breaks_the_pool() {
    // scenario 40
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let builder = ProcessPoolExecutor::builder().max_workers(1).initializer_retries(2);
    let pool = builder.initializer(load_once, journal.path()).build().unwrap();
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    kill_process(Pid::from_raw(held.pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let error = in_time(victim).await.unwrap_err();
    assert!(error.is_worker_death() && !error.is_broken(), "its own death: {error}");
    let error = in_time(waiting).await.unwrap_err();
    let culprit = assert_names(&error.into(), "once is enough");
    let pids = journal.numbers();
    assert_eq!((pids.len(), pids[0], pids[3]), (4, held.pid, culprit), "a start and three tries");
    assert_eq!(pool.stats().start_failures, 3);
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    assert_eq!(assert_names(&error, "once is enough"), culprit);
    let report = in_time(pool.shutdown()).await;
    assert_eq!((report.finished, report.cancelled), (2, 0), "each ended with an error");
}

#[tokio::test]
async fn an_initializer_that_fails_now_and_then_costs_a_pool_that_has_lived_no_task() {
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(1);
    let pool = builder.initializer(load_at_times, journal.path()).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    let handles = (0..12).map(|_| pool.run(pid, ()));
    in_time(futures::future::try_join_all(handles)).await.unwrap();
    assert!(pool.stats().start_failures > 0);
}

#[tokio::test]
async fn a_death_at_the_start_of_a_worker_breaks_a_pool_in_break_mode_at_once() {
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let builder = builder.on_worker_death(OnWorkerDeath::Break);
    let pool = builder.initializer(abort_at_start, journal.path()).build().unwrap();
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    assert_eq!(journal.numbers().len(), 1, "as in Python it is not tried again");
}

#[tokio::test]
async fn asking_for_a_state_of_another_type_says_which() {
    // scenario 41
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load, (journal.path(), "m".to_owned()));
    let pool = builder.max_workers(1).build().unwrap();
    let error = in_time(pool.run(use_wrong_type, ())).await.unwrap().unwrap_err();
    assert_eq!(error, "the initializer of this pool did not return a `u64`");
    let (_, model, _) = in_time(pool.run(use_model, ())).await.unwrap();
    assert_eq!(model, "m");
}

#[tokio::test]
async fn asking_for_state_without_an_initializer_says_so() {
    // scenario 41
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let error = in_time(pool.run(use_wrong_type, ())).await.unwrap().unwrap_err();
    assert!(error.contains("without an initializer"), "{error}");
    let error = in_time(pool.run(use_model, ())).await.unwrap_err();
    assert!(error.panic().unwrap().message().contains("NoInitializer"), "{error}");
}

fn use_model_elsewhere() -> Result<(), String> {
    let elsewhere = std::thread::spawn(|| procpool::state::<Model>().map(|_| ()));
    let found = elsewhere.join().expect("the thread does not panic");
    found.map_err(|error| error.to_string())
}

#[tokio::test]
async fn asking_for_state_on_another_thread_says_so() {
    // scenario 41
    let journal = Journal::new();
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(load, (journal.path(), "m".to_owned()));
    let pool = builder.max_workers(1).build().unwrap();
    let error = in_time(pool.run(use_model_elsewhere, ())).await.unwrap().unwrap_err();
    assert!(error.contains("another one"), "{error}");
}

fn fail_at_length() -> Result<u8, String> {
    Err("at length ".repeat(2 << 20))
}

procpool::register!(fail_at_length);

#[tokio::test]
async fn an_initializer_may_fail_with_any_length_of_text() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_payload(1000);
    let pool = builder.initializer(fail_at_length, ()).build().unwrap();
    let error = in_time(pool.ready()).await.unwrap_err();
    assert!(error.broken().unwrap().is_initializer_failure(), "{error}");
    assert!(error.to_string().contains("at length at length"), "{error}");
    assert!(error.to_string().len() < 10_000, "{}", error.to_string().len());
}
