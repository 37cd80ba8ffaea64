//! Tasks that run too long.

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, RunError, TaskStatus, WorkerOutput};

use crate::common::{Gate, hold, in_time, pid, process_gone};
use crate::journal::{Journal, note};

/// Cannot be interrupted but by signals.
fn loop_for_ever() {
    loop {
        std::hint::spin_loop();
    }
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn panic_at_once() {
    panic!("at once");
}

procpool::register!(loop_for_ever, sleep, panic_at_once);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[tokio::test]
async fn a_timeout_ends_an_endless_loop_and_nobody_else() {
    // scenario 57
    const LIMIT: Duration = Duration::from_millis(100);
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let bystander = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let began = Instant::now();
    let endless = pool.task(loop_for_ever, ()).timeout(LIMIT).submit().await.unwrap();
    let error = in_time(endless).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(!error.is_worker_death() && !error.is_cancelled(), "{error}");
    assert!(error.to_string().contains("longer than 100ms"), "{error}");
    assert!(began.elapsed() >= LIMIT);
    // Replaced, while the other task still runs.
    let workers = pool.workers();
    let replacement = in_time(pool.run(pid, ())).await.unwrap();
    assert!(workers.iter().all(|worker| worker.pid == held.pid || process_gone(worker.pid)));
    let survivor = held.pid;
    assert_ne!(replacement, survivor);
    drop(held);
    assert_eq!(in_time(bystander).await.unwrap(), survivor);
    assert_eq!(pool.stats().worker_deaths, 0, "a timeout is no death");
}

#[tokio::test]
async fn a_panic_under_a_short_timeout_is_told_as_a_panic() {
    // scenarios 24 and 57: the first backtrace of a worker takes longer than this
    const LIMIT: Duration = Duration::from_millis(40);
    for printed in ["0", "1"] {
        let builder = ProcessPoolExecutor::builder().max_workers(1);
        let builder = builder.worker_output(WorkerOutput::Null);
        let builder = builder.env("RUST_BACKTRACE", printed).env("RUST_LIB_BACKTRACE", "1");
        let mut errors = Vec::new();
        // A machine that is busy may keep a worker from its task for as long. Not each time.
        while !errors.iter().any(RunError::is_panic) {
            assert!(errors.len() < 10, "{errors:?}");
            let pool = builder.clone().build().unwrap();
            in_time(pool.run(sleep, 0)).await.unwrap();
            let task = pool.task(panic_at_once, ()).timeout(LIMIT);
            errors.push(in_time(task.run()).await.unwrap_err());
        }
        assert!(errors.last().unwrap().panic().unwrap().backtrace().contains("panic_at_once"));
    }
}

#[tokio::test]
async fn a_timeout_counts_from_the_beginning_of_the_task_not_from_its_submission() {
    // scenario 62
    const LIMIT: Duration = Duration::from_millis(500);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let second = pool.task(hold, gate.port()).timeout(LIMIT).submit().await.unwrap();
    // It has been waiting for longer than its limit before it may begin.
    tokio::time::sleep(2 * LIMIT).await;
    assert_eq!(second.status(), TaskStatus::Pending);
    let began = Instant::now();
    drop(held);
    in_time(first).await.unwrap();
    let held = gate.arrival().await;
    assert!(in_time(second).await.unwrap_err().is_timeout());
    assert!(began.elapsed() >= LIMIT, "it ended after {:?}", began.elapsed());
    assert!(process_gone(held.pid));
}

#[tokio::test]
async fn a_stale_timer_never_hits_the_task_that_follows() {
    // scenario 61
    const LIMIT: u64 = 4;
    let (pool, journal) = (pool_of(1), Journal::new());
    for round in 0..60 {
        let limited = pool.task(sleep, u64::from(round) % (2 * LIMIT));
        let limited = limited.timeout(Duration::from_millis(LIMIT)).submit().await.unwrap();
        let next = pool.submit(note, (journal.path(), round)).await.unwrap();
        if let Err(error) = in_time(limited).await {
            assert!(error.is_timeout(), "{error}");
        }
        assert_eq!(in_time(next).await.unwrap(), round);
    }
    pool.shutdown().await;
    assert_eq!(journal.numbers(), (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_long_task_follows_a_timed_out_one_unharmed() {
    // scenario 61: the follower is still running when a stale timer would have fired.
    const LIMIT: Duration = Duration::from_millis(100);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let quick = pool.task(pid, ()).timeout(LIMIT).submit().await.unwrap();
    let long = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let _ = in_time(quick).await; // whether it was quick enough depends on the machine
    tokio::time::sleep(3 * LIMIT).await;
    assert_eq!(long.status(), TaskStatus::Running);
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(long).await.unwrap(), worker);
}

#[tokio::test]
async fn a_task_within_its_timeout_is_left_alone() {
    let pool = pool_of(1);
    let limit = Duration::from_mins(10);
    let first = in_time(pool.task(pid, ()).timeout(limit).run()).await.unwrap();
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first);
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn run_with_a_timeout_reports_the_timeout() {
    let pool = pool_of(1);
    let run = pool.task(loop_for_ever, ()).timeout(Duration::from_millis(50)).run();
    let error = in_time(run).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    in_time(pool.run(pid, ())).await.unwrap();
}

#[tokio::test]
async fn a_default_timeout_ends_tasks_that_set_none_themselves() {
    const LIMIT: Duration = Duration::from_millis(50);
    let builder = ProcessPoolExecutor::builder().max_workers(1).default_timeout(LIMIT);
    let pool = builder.build().unwrap();
    let error = in_time(pool.run(loop_for_ever, ())).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("longer than 50ms"), "{error}");
    for submitted in [
        pool.submit(loop_for_ever, ()).await,
        pool.try_submit(loop_for_ever, ()),
        pool.task(loop_for_ever, ()).retries(1).submit().await,
    ] {
        assert!(in_time(submitted.unwrap()).await.unwrap_err().is_timeout());
    }
}

#[tokio::test]
async fn a_task_may_set_another_timeout_than_the_default_or_none() {
    const LIMIT: Duration = Duration::from_millis(50);
    let builder = ProcessPoolExecutor::builder().max_workers(2).default_timeout(LIMIT);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let own = pool.task(hold, gate.port()).timeout(Duration::from_mins(10)).submit();
    let own = own.await.unwrap();
    let none = pool.task(hold, gate.port()).timeout(None).submit().await.unwrap();
    let held = [gate.arrival().await, gate.arrival().await];
    tokio::time::sleep(3 * LIMIT).await;
    assert_eq!([own.status(), none.status()], [TaskStatus::Running; 2]);
    drop(held);
    in_time(own).await.unwrap();
    in_time(none).await.unwrap();
}
