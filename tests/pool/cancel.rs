//! Tasks that are not wanted any more.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::time::Duration;

use procpool::{ProcessPoolExecutor, TaskHandle, TaskStatus};

use crate::common::{Gate, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, hold_with_children, note};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Holds on when it is asked to end.
fn hold_in_spite_of_sigterm(port: u16) -> u32 {
    // SAFETY: SIG_IGN is a valid disposition, and no handler is involved.
    #[expect(unsafe_code, reason = "std cannot ignore a signal")]
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN)
    };
    hold(port)
}

procpool::register!(hold_in_spite_of_sigterm, hold_with_children);

/// Numbers without a pattern, the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[tokio::test]
async fn ten_thousand_random_cancels_never_let_a_cancelled_task_run() {
    // scenario 51
    const TASKS: u32 = 10_000;
    let (pool, journal, mut dice) = (pool_of(2), Journal::new(), Dice(7));
    let mut handles: Vec<TaskHandle<u32>> = Vec::new();
    for number in 0..TASKS {
        handles.push(in_time(pool.submit(note, (journal.path(), number))).await.unwrap());
        // Recent ones, so that many are on their way to a worker.
        let victim = handles.len() - 1 - dice.below(handles.len().min(300));
        if dice.below(2) == 0 && handles[victim].cancel() {
            assert_eq!(handles[victim].status(), TaskStatus::Cancelled);
        }
        if dice.below(4) == 0 {
            tokio::task::yield_now().await;
        }
        if number % 1000 == 999 {
            let _ = in_time(handles.last_mut().unwrap()).await; // lets the workers catch up
        }
    }
    let mut cancelled = 0;
    let mut expected = Vec::new();
    for (number, mut handle) in (0..).zip(handles) {
        let status_before = handle.status();
        match in_time(&mut handle).await {
            Ok(result) => {
                assert_eq!(result, number);
                assert_ne!(status_before, TaskStatus::Cancelled);
                expected.push(number);
            }
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                cancelled += 1;
            }
        }
    }
    let report = pool.shutdown().await;
    assert!(cancelled > 0 && !expected.is_empty());
    assert_eq!((report.finished, report.cancelled), (expected.len() as u64, cancelled));
    assert!(journal.counts().values().all(|count| *count == 1), "none ran twice");
    let ran: Vec<u32> = journal.counts().into_keys().collect();
    assert_eq!(ran, expected, "exactly those that were not cancelled ran");
}

#[tokio::test]
async fn a_cancelled_task_never_runs_even_if_it_was_sent_ahead() {
    // scenario 51
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    for round in 0..20 {
        // Quick tasks make the pool send ahead.
        let mut quick = Vec::new();
        for _ in 0..200 {
            quick.push(pool.submit(pid, ()).await.unwrap());
        }
        let running = pool.submit(hold, gate.port()).await.unwrap();
        let mut behind = Vec::new();
        for _ in 0..50 {
            behind.push(pool.submit(note, (journal.path(), round)).await.unwrap());
        }
        let held = gate.arrival().await;
        assert!(behind.iter().all(TaskHandle::cancel), "none has begun");
        drop(held);
        for handle in quick {
            in_time(handle).await.unwrap();
        }
        in_time(running).await.unwrap();
        for handle in behind {
            assert!(in_time(handle).await.unwrap_err().is_cancelled());
        }
    }
    pool.shutdown().await;
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn aborting_the_waiting_then_the_running_task_lets_the_third_run() {
    // scenario 60
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let waiting = pool.submit(note, (journal.path(), 2)).await.unwrap();
    let third = pool.submit(note, (journal.path(), 3)).await.unwrap();
    let held = gate.arrival().await;
    waiting.abort();
    running.abort();
    assert!(in_time(waiting).await.unwrap_err().is_cancelled());
    assert!(in_time(running).await.unwrap_err().is_cancelled());
    assert_eq!(in_time(third).await.unwrap(), 3);
    assert!(process_gone(held.pid), "the aborted task resolves once its worker is gone");
    pool.shutdown().await;
    assert_eq!(journal.numbers(), [3]);
}

#[tokio::test]
async fn aborting_a_running_task_hurts_nobody_else() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let victims = gate.arrival().await;
    let bystander = pool.submit(hold, gate.port()).await.unwrap();
    let other = gate.arrival().await;
    victim.abort();
    victim.abort(); // twice is once
    let error = in_time(victim).await.unwrap_err();
    assert!(error.is_cancelled() && !error.is_worker_death(), "{error}");
    assert!(process_gone(victims.pid));
    // The worker is replaced while the other one is still busy.
    let replacement = in_time(pool.run(pid, ())).await.unwrap();
    assert!(replacement != victims.pid && replacement != other.pid);
    let survivor = other.pid;
    drop(other);
    assert_eq!(in_time(bystander).await.unwrap(), survivor);
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.worker_deaths), (1, 0), "an abort is no death");
}

#[tokio::test]
async fn an_abort_that_comes_too_late_changes_nothing() {
    let pool = pool_of(1);
    let mut handle = pool.submit(pid, ()).await.unwrap();
    let worker = in_time(&mut handle).await.unwrap();
    handle.abort();
    assert_eq!(in_time(&mut handle).await.unwrap(), worker);
    assert_eq!(handle.status(), TaskStatus::Finished);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker, "the worker lives");
}

#[tokio::test]
async fn an_abort_that_races_the_result_never_hits_the_next_task() {
    let (pool, journal) = (pool_of(1), Journal::new());
    let mut dice = Dice(3);
    for round in 0..300 {
        let victim = pool.submit(pid, ()).await.unwrap();
        let next = pool.submit(note, (journal.path(), round)).await.unwrap();
        for _ in 0..dice.below(30) {
            tokio::task::yield_now().await;
        }
        victim.abort();
        if let Err(error) = in_time(victim).await {
            assert!(error.is_cancelled(), "{error}");
        }
        assert_eq!(in_time(next).await.unwrap(), round);
    }
    pool.shutdown().await;
    assert_eq!(journal.numbers(), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_is_killed_after_the_grace_period() {
    // scenario 58
    const GRACE: Duration = Duration::from_millis(300);
    let pool = ProcessPoolExecutor::builder().max_workers(1).grace_period(GRACE).build().unwrap();
    let gate = Gate::new().await;
    let handle = pool.submit(hold_in_spite_of_sigterm, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let aborted = std::time::Instant::now();
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    assert!(aborted.elapsed() >= GRACE, "it had its time");
    assert!(process_gone(held.pid));
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
}

#[tokio::test]
async fn a_task_that_ends_during_the_grace_period_keeps_its_result() {
    let pool = ProcessPoolExecutor::builder().max_workers(1);
    let pool = pool.grace_period(Duration::from_mins(10)).build().unwrap();
    let gate = Gate::new().await;
    let handle = pool.submit(hold_in_spite_of_sigterm, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    handle.abort();
    wait_until("the abort has been handled", || {
        pool.workers().iter().any(|worker| worker.state == procpool::WorkerState::Stopping)
    })
    .await;
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(handle).await.unwrap(), worker);
    // What is left of the worker does not hold up the next task for the rest of the period.
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

#[tokio::test]
async fn the_children_of_an_aborted_task_go_with_it() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let handle = pool.submit(hold_with_children, (journal.path(), gate.port())).await.unwrap();
    let held = gate.arrival().await;
    let children = journal.numbers();
    assert_eq!(children.len(), 2);
    assert!(children.iter().all(|child| !process_gone(*child)));
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    wait_until("the task's children are gone", || children.iter().all(|c| process_gone(*c))).await;
    assert!(process_gone(held.pid));
}
