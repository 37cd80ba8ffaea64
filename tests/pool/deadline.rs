//! Tasks that must be over by a certain time.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::time::{Duration, Instant};

use procpool::{
    Builder, ProcessPoolExecutor, SubmitErrorKind, TaskErrorKind, TaskHandle, TaskOutcome,
    TaskStatus, current,
};

use crate::common::{Gate, Held, LIMIT, hold, in_time, pid, process_gone};
use crate::journal::{Journal, note};

/// Soon enough for a test to wait for.
const SOON: Duration = Duration::from_millis(200);
/// Never met in a test.
const FAR: Duration = Duration::from_mins(10);

fn loop_for_ever() {
    loop {
        std::hint::spin_loop();
    }
}

/// Notes which attempt this is, and never ends.
fn note_and_loop(path: String) {
    note(path, current().attempt());
    loop_for_ever();
}

/// Returns when it is asked to end.
fn cooperate() -> u32 {
    while !current().is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

fn work(micros: u64) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

fn hold_if(port: Option<u16>) {
    if let Some(port) = port {
        hold(port);
    }
}

procpool::register!(loop_for_ever, note_and_loop, cooperate, work, hold_if);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

/// A task that is held, and has begun before its deadline passes.
async fn submit_held(pool: &ProcessPoolExecutor, gate: &Gate) -> (TaskHandle<u32>, Held, Instant) {
    let mut limit = SOON;
    loop {
        let deadline = Instant::now() + limit;
        let task = pool.task(hold, gate.port()).deadline(deadline);
        let mut late = in_time(task.submit()).await.unwrap();
        tokio::select! {
            biased;
            held = gate.arrival() => return (late, held, deadline),
            result = &mut late => assert!(result.unwrap_err().is_deadline()),
        }
        limit *= 2; // the machine is busy
    }
}

/// Returns once the pool has seen what was asked of it before.
async fn heard(pool: &ProcessPoolExecutor) {
    in_time(pool.ready()).await.unwrap();
}

#[tokio::test]
async fn a_task_whose_deadline_passes_in_the_queue_never_begins() {
    // scenario 62
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let began = Instant::now();
    let late = pool.task(note, (journal.path(), 1)).deadline(SOON).submit().await.unwrap();
    let other = pool.task(note, (journal.path(), 2)).deadline(FAR).submit().await.unwrap();
    let error = in_time(late).await.unwrap_err();
    assert!(began.elapsed() >= SOON);
    assert!(error.is_deadline() && !error.is_cancelled() && !error.is_worker_death(), "{error}");
    assert!(error.to_string().ends_with("its deadline has passed"), "{error}");
    assert_eq!((running.status(), pool.stats().waiting), (TaskStatus::Running, 1));
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), worker, "nobody else was hurt");
    assert_eq!(in_time(other).await.unwrap(), 2);
    assert_eq!(journal.numbers(), [2]);
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn a_task_whose_deadline_passes_while_it_runs_is_ended_and_nobody_else() {
    // scenario 62
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let bystander = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let (late, ended, deadline) = submit_held(&pool, &gate).await;
    let error = in_time(late).await.unwrap_err();
    assert!(Instant::now() >= deadline);
    assert!(error.is_deadline() && !error.is_worker_death(), "{error}");
    assert!(process_gone(ended.pid));
    let replacement = in_time(pool.run(pid, ())).await.unwrap();
    assert!(replacement != ended.pid && replacement != held.pid);
    let survivor = held.pid;
    drop(held);
    assert_eq!(in_time(bystander).await.unwrap(), survivor);
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn deadlines_that_pass_at_any_time_hurt_nobody_else() {
    // scenario 62: quick tasks are sent ahead, so they expire there, too.
    let (pool, journal) = (pool_of(2), Journal::new());
    let (mut handles, mut steady) = (Vec::new(), Vec::new());
    for number in 0..300 {
        steady.push(pool.submit(work, 100).await.unwrap());
        let limit = Duration::from_micros(u64::from(number) * 37 % 5_000);
        let task = pool.task(note, (journal.path(), number)).deadline(limit);
        handles.push(task.submit().await.unwrap());
        if number % 10 == 0 {
            in_time(steady.last_mut().unwrap()).await.unwrap(); // lets the workers catch up
        }
    }
    let mut returned = Vec::new();
    for (number, handle) in (0..).zip(handles) {
        match in_time(handle).await {
            Ok(result) => returned.push((number, result)),
            Err(error) => assert!(error.is_deadline(), "{error}"),
        }
    }
    for handle in steady {
        in_time(handle).await.unwrap();
    }
    let counts = journal.counts();
    assert!(counts.values().all(|times| *times == 1));
    assert!(returned.iter().all(|(number, result)| number == result));
    assert!(returned.iter().all(|(number, _)| counts.contains_key(number)));
    assert!(returned.len() < 300, "some were late");
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_deadline_in_the_past_fails_the_task_at_once() {
    // scenario 62
    let pool = pool_of(1);
    let past = Instant::now().checked_sub(Duration::from_millis(1)).unwrap();
    let handles = [
        pool.task(loop_for_ever, ()).deadline(Duration::ZERO).submit().await.unwrap(),
        pool.task(loop_for_ever, ()).deadline(past).try_submit().unwrap(),
    ];
    for handle in handles {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_deadline(), "{error}");
    }
    let error = in_time(pool.task(loop_for_ever, ()).deadline(past).run()).await.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    assert_eq!((pool.stats().worker_starts, pool.stats().failed), (0, 3));
}

#[tokio::test]
async fn a_deadline_may_be_as_far_away_as_it_likes() {
    let pool = pool_of(1);
    let far = Instant::now() + FAR;
    let first = in_time(pool.task(pid, ()).deadline(Duration::MAX).run()).await.unwrap();
    assert_eq!(in_time(pool.task(pid, ()).deadline(far).run()).await.unwrap(), first);
}

#[tokio::test]
async fn a_deadline_that_passes_while_a_submit_waits_for_room_submits_nothing() {
    // scenario 62
    let (pool, gate, journal) =
        (builder(1).queue_capacity(1).build().unwrap(), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let queued = pool.submit(note, (journal.path(), 1)).await.unwrap();
    let late = |number| pool.task(note, (journal.path(), number)).deadline(SOON);

    let began = Instant::now();
    let error = in_time(late(2).submit()).await.unwrap_err();
    assert!(began.elapsed() >= SOON);
    assert!(error.is_deadline() && !error.is_queue_full() && !error.is_shut_down(), "{error}");
    assert!(error.to_string().contains("its deadline has passed"), "{error}");
    let error = in_time(late(3).run()).await.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    let (other, path) = (pool.clone(), journal.path());
    let blocking = tokio::task::spawn_blocking(move || {
        other.task(note, (path, 4)).deadline(SOON).blocking_submit().unwrap_err()
    });
    assert!(in_time(blocking).await.unwrap().is_deadline());
    assert!(late(5).try_submit().unwrap_err().is_queue_full(), "it does not wait for anything");
    assert_eq!(pool.stats().submitted, 2);

    drop(held);
    in_time(running).await.unwrap();
    in_time(queued).await.unwrap();
    in_time(pool.run(note, (journal.path(), 6))).await.unwrap();
    assert_eq!(journal.numbers(), [1, 6]);
}

#[tokio::test]
async fn the_wait_for_room_counts() {
    // scenario 62
    let (pool, gate) = (builder(1).queue_capacity(1).build().unwrap(), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let queued = pool.submit(hold, gate.port()).await.unwrap();
    let began = Instant::now();
    let task = pool.task(pid, ()).deadline(Duration::from_secs(1));
    let mut submit = std::pin::pin!(task.submit());
    assert!(futures::poll!(&mut submit).is_pending());
    tokio::time::sleep(SOON).await;
    drop(held);
    in_time(running).await.unwrap();
    let held = gate.arrival().await; // so there is room now
    match in_time(submit).await {
        Ok(late) => assert!(in_time(late).await.unwrap_err().is_deadline()),
        Err(error) => assert!(error.is_deadline(), "the machine is busy: {error}"),
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    drop(held);
    in_time(queued).await.unwrap();
}

#[tokio::test]
async fn a_task_that_was_ended_at_its_deadline_is_not_tried_again() {
    // scenario 62
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(note_and_loop, journal.path()).retries(3).deadline(SOON);
    let error = in_time(task.run()).await.unwrap_err();
    assert!(error.is_deadline(), "{error}");
    in_time(pool.run(pid, ())).await.unwrap();
    assert!(matches!(*journal.numbers(), [] | [1]), "{:?}", journal.numbers());
}

#[tokio::test]
async fn a_deadline_ends_a_row_of_retries() {
    // scenario 62
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(note_and_loop, journal.path()).retries(u32::MAX);
    let task = task.timeout(Duration::from_millis(50)).deadline(Duration::from_secs(2));
    let error = in_time(task.run()).await.unwrap_err();
    assert!(error.is_deadline() && error.to_string().contains("deadline"), "{error}");
    let attempts = journal.numbers();
    assert!(attempts.is_sorted_by(|one, next| one < next), "each ran once: {attempts:?}");
}

#[tokio::test]
async fn a_task_that_ends_when_it_is_asked_keeps_its_result_and_its_worker() {
    // scenario 59
    let pool = builder(1).grace_period(4 * LIMIT).build().unwrap();
    in_time(pool.run(pid, ())).await.unwrap();
    let task = pool.task(cooperate, ()).deadline(Duration::from_secs(3));
    let worker = in_time(task.run()).await.unwrap();
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

#[tokio::test]
async fn a_deadline_that_was_met_leaves_nothing_behind() {
    // scenarios 61, 62: the follower is still running when the deadline passes.
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let met = pool.task(pid, ()).deadline(SOON).submit().await.unwrap();
    let long = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let _ = in_time(met).await; // whether it was quick enough depends on the machine
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(long.status(), TaskStatus::Running);
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(long).await.unwrap(), worker);
}

#[tokio::test]
async fn a_cancelled_task_stays_cancelled_when_its_deadline_passes() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let mut cancelled = pool.task(pid, ()).deadline(SOON).submit().await.unwrap();
    assert!(cancelled.cancel());
    tokio::time::sleep(2 * SOON).await;
    heard(&pool).await;
    assert!(in_time(&mut cancelled).await.unwrap_err().is_cancelled());
    assert_eq!((pool.stats().cancelled, pool.stats().failed), (1, 0));
    drop(held);
    in_time(running).await.unwrap();
}

#[tokio::test]
async fn a_deadline_counts_while_no_worker_is_up() {
    let gate = Gate::new().await;
    let pool = builder(1).initializer(hold, gate.port()).build().unwrap();
    let late = pool.task(pid, ()).deadline(SOON).submit().await.unwrap();
    let held = gate.arrival().await;
    assert!(in_time(late).await.unwrap_err().is_deadline());
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

// ----- limits of the wait alone -----

#[tokio::test]
async fn a_task_that_does_not_begin_in_time_never_begins() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let late = pool.task(note, (journal.path(), 1)).begin_within(Duration::from_millis(10));
    let error = in_time(late.run()).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::NotBegun);
    assert!(error.is_not_begun() && !error.is_deadline() && !error.is_timeout());
    assert!(error.to_string().ends_with("it did not begin within 10ms"), "{error}");
    assert_eq!(error.outcome(), TaskOutcome::NotBegun);
    drop(held);
    in_time(running).await.unwrap();
    in_time(pool.run(note, (journal.path(), 2))).await.unwrap();
    assert_eq!(journal.numbers(), [2]);
    assert_eq!(pool.stats().outcomes.not_begun, 1);
}

#[tokio::test]
async fn a_task_that_has_begun_in_time_may_take_longer() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut limit = Duration::from_millis(50);
    let (running, held) = loop {
        let task = pool.task(hold, gate.port()).begin_within(limit);
        let mut running = in_time(task.submit()).await.unwrap();
        tokio::select! {
            biased;
            held = gate.arrival() => break (running, held),
            result = &mut running => assert!(result.unwrap_err().is_not_begun()),
        }
        limit *= 2; // the machine is busy
    };
    let later = pool.task(pid, ()).begin_within(limit);
    assert!(in_time(later.run()).await.unwrap_err().is_not_begun()); // so the time is over
    drop(held);
    in_time(running).await.unwrap();
}

#[tokio::test]
async fn the_wait_for_room_counts_as_a_wait_to_begin() {
    let (pool, gate) = (builder(1).queue_capacity(1).build().unwrap(), Gate::new().await);
    drop(pool.submit(hold, gate.port()).await.unwrap());
    let held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    let limit = Duration::from_millis(10);
    let error = in_time(pool.task(pid, ()).begin_within(limit).submit()).await.unwrap_err();
    assert!(error.is_not_begun(), "{error}");
    assert_eq!(error.kind(), SubmitErrorKind::NotBegun);
    // What comes first counts.
    let task = pool.task(pid, ()).begin_within(limit).deadline(Duration::ZERO);
    assert!(in_time(task.submit()).await.unwrap_err().is_deadline());
    let task = pool.task(pid, ()).begin_within(limit).deadline(FAR);
    assert!(in_time(task.submit()).await.unwrap_err().is_not_begun());
    drop(held);
    in_time(waiting).await.unwrap();
    let task = pool.task(pid, ()).begin_within(Duration::ZERO).begin_within(None);
    in_time(task.run()).await.unwrap();
}

#[tokio::test]
async fn what_was_sent_ahead_has_not_begun() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    for _ in 0..200 {
        in_time(pool.run(work, 0)).await.unwrap(); // so more than one is sent at a time
    }
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let task = pool.task(hold_if, (n == 0).then(|| gate.port()));
            let task = if n == 0 { task } else { task.begin_within(Duration::from_millis(10)) };
            task.try_submit().unwrap()
        })
        .collect();
    let held = gate.arrival().await;
    let mut tasks = tasks.into_iter();
    let first = tasks.next().unwrap();
    for task in tasks {
        assert!(in_time(task).await.unwrap_err().is_not_begun());
    }
    drop(held);
    in_time(first).await.unwrap();
}
