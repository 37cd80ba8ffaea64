//! What running tasks report of themselves.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use procpool::{ProcessPoolExecutor, Progress, ProgressStream, current};

use crate::common::{Gate, frame_pipe, hold, in_time, pid};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Reports 1 to `count`.
fn report(count: u64) -> u64 {
    (1..=count).for_each(|done| current().progress(done, count, format!("step {done}")));
    count
}

/// Reports before and after it has been held.
fn report_and_hold(count: u64, port: u16) {
    report(count);
    hold(port);
    current().progress(count + 1, count, "let go");
    hold(port);
}

fn report_and_panic() {
    report(3);
    panic!("as it should");
}

procpool::register!(report, report_and_hold, report_and_panic);

#[test]
fn the_function_of_a_task_can_be_called_where_there_is_no_pool() {
    assert_eq!(report(3), 3);
    let nobody = current();
    assert_eq!((nobody.id().get(), nobody.worker_id().get(), nobody.attempt()), (0, 0, 1));
    assert!(!nobody.is_cancelled() && nobody.state::<u64>().is_err());
    assert!(procpool::try_current().is_none());
}

#[tokio::test]
async fn the_function_of_a_task_can_be_that_of_a_process() {
    assert_eq!(in_time(procpool::Process::spawn(report, 3)).await.unwrap(), 3);
}

/// What a thread is told that has not been given a copy.
fn ask_on_a_thread() -> String {
    let panic = std::thread::spawn(current).join().unwrap_err();
    panic.downcast_ref::<&str>().unwrap().to_string()
}

procpool::register!(ask_on_a_thread);

#[tokio::test]
async fn a_thread_of_a_task_that_asks_for_it_is_told_to_have_a_copy() {
    let told = in_time(pool_of(1).run(ask_on_a_thread, ())).await.unwrap();
    assert!(told.contains("give threads that a task starts a copy of its `Current`"), "{told}");
}

async fn next(stream: &mut ProgressStream) -> Progress {
    in_time(stream.next()).await.expect("the stream has ended")
}

/// Waits for the report of `done`, which may be preceded by earlier ones.
async fn reach(stream: &mut ProgressStream, done: u64) -> Progress {
    loop {
        let progress = next(stream).await;
        assert!(progress.done <= done, "{progress:?}");
        if progress.done == done {
            return progress;
        }
    }
}

async fn rest(stream: ProgressStream) -> Vec<u64> {
    in_time(stream.map(|progress| progress.done).collect()).await
}

#[tokio::test]
async fn a_report_arrives_while_its_task_runs() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_and_hold, (1, gate.port())).await.unwrap();
    let mut progress = handle.progress();
    let first = next(&mut progress).await;
    assert_eq!((first.done, first.total, first.attempt), (1, 1, 1));
    assert_eq!(first.message, "step 1");
    drop(gate.arrival().await);
    let second = next(&mut progress).await;
    assert_eq!((second.done, second.total, second.message.as_str()), (2, 1, "let go"));
    drop(gate.arrival().await);
    assert_eq!(rest(progress).await, []);
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn the_latest_report_arrives_though_the_task_is_silent_from_then_on() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_and_hold, (1000, gate.port())).await.unwrap();
    let _held = gate.arrival().await;
    let latest = reach(&mut handle.progress(), 1000).await;
    assert_eq!(latest.message, "step 1000");
}

#[tokio::test]
async fn the_last_report_arrives_before_the_result() {
    let pool = pool_of(2);
    for _ in 0..200 {
        let mut handle = pool.submit(report, 5).await.unwrap();
        assert_eq!(in_time(&mut handle).await.unwrap(), 5);
        assert_eq!(rest(handle.progress()).await, [5]);
    }
}

#[tokio::test]
async fn a_tight_loop_of_reports_sends_few_of_them() {
    const REPORTS: u64 = 1_000_000;
    const INTERVAL: Duration = Duration::from_millis(50);
    fn report_in_a_loop() {
        let current = current();
        (1..=REPORTS).for_each(|done| current.progress(done, REPORTS, "in a loop"));
    }
    procpool::register!(report_in_a_loop);
    let (pool, began) = (pool_of(1), Instant::now());
    let handle = pool.submit(report_in_a_loop, ()).await.unwrap();
    let seen = rest(handle.progress()).await;
    // The first, one for each interval, and the last.
    let most = began.elapsed().as_millis() / INTERVAL.as_millis() + 2;
    assert!(seen.len() as u128 <= most, "{} instead of {most}", seen.len());
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&REPORTS));
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn a_thread_of_the_task_reports_through_a_copy() {
    fn report_from_a_thread(port: u16) {
        let current = current();
        std::thread::spawn(move || current.progress(1, 2, "from a thread")).join().unwrap();
        hold(port);
    }
    procpool::register!(report_from_a_thread);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_from_a_thread, gate.port()).await.unwrap();
    let progress = next(&mut handle.progress()).await;
    assert_eq!(progress.message, "from a thread");
    drop(gate.arrival().await);
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn an_async_task_reports() {
    async fn report_asynchronously() {
        current().progress(1, 1, String::from("owned"));
        tokio::task::yield_now().await;
    }
    procpool::register!(report_asynchronously);
    let handle = pool_of(1).submit(report_asynchronously, ()).await.unwrap();
    assert_eq!(next(&mut handle.progress()).await.message, "owned");
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn streams_are_independent_of_each_other_and_of_the_handle() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_and_hold, (1, gate.port())).await.unwrap();
    let (mut one, mut other, dropped) = (handle.progress(), handle.progress(), handle.progress());
    assert_eq!(next(&mut one).await.done, 1);
    assert_eq!(next(&mut other).await.done, 1);
    drop(dropped);
    let waiting = tokio::spawn(async move {
        let next = next(&mut one).await;
        (next, one)
    });
    drop(gate.arrival().await);
    let (second, one) = in_time(waiting).await.unwrap();
    assert_eq!(second.done, 2);
    assert_eq!(next(&mut handle.progress()).await.done, 2, "a late one begins with the latest");
    drop(handle);
    drop(gate.arrival().await);
    assert_eq!(rest(one).await, []);
    assert_eq!(rest(other).await, [2]);
}

#[tokio::test]
async fn the_stream_of_a_task_that_reports_nothing_just_ends() {
    let pool = pool_of(1);
    let handle = pool.submit(pid, ()).await.unwrap();
    assert_eq!(rest(handle.progress()).await, []);
}

#[tokio::test]
async fn the_stream_ends_with_a_panic() {
    let handle = pool_of(1).submit(report_and_panic, ()).await.unwrap();
    assert_eq!(rest(handle.progress()).await.last(), Some(&3));
    assert!(in_time(handle).await.unwrap_err().is_panic());
}

#[tokio::test]
async fn the_stream_ends_with_a_death() {
    fn report_and_die(port: u16) {
        report(1);
        hold(port);
        std::process::exit(1);
    }
    procpool::register!(report_and_die);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_and_die, gate.port()).await.unwrap();
    let mut progress = handle.progress();
    assert_eq!(next(&mut progress).await.done, 1);
    drop(gate.arrival().await);
    assert_eq!(rest(progress).await, []);
    assert!(in_time(handle).await.unwrap_err().is_worker_death());
}

#[tokio::test]
async fn the_stream_ends_with_a_cancel_and_with_an_abort() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(report_and_hold, (1, gate.port())).await.unwrap().abort_on_drop(true);
    let mut progress = running.progress();
    let waiting = pool.submit(pid, ()).await.unwrap();
    let never = waiting.progress();
    assert_eq!(next(&mut progress).await.done, 1);
    assert!(waiting.cancel());
    assert_eq!(rest(never).await, []);
    drop(running);
    assert_eq!(rest(progress).await, []);
}

#[tokio::test]
async fn the_stream_ends_with_the_pool() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(report_and_hold, (1, gate.port())).await.unwrap();
    let mut progress = handle.progress();
    assert_eq!(next(&mut progress).await.done, 1);
    let now = procpool::Shutdown::new().within(Duration::ZERO);
    in_time(pool.shutdown_with(now)).await;
    assert_eq!(rest(progress).await, []);
}

#[tokio::test]
async fn a_retry_reports_in_the_same_stream() {
    fn die_at_first(port: u16) {
        let attempt = current().attempt();
        current().progress(10 / u64::from(attempt), 10, "");
        hold(port);
        if attempt == 1 {
            std::process::abort();
        }
    }
    procpool::register!(die_at_first);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.task(die_at_first, gate.port()).retries(1).submit().await.unwrap();
    let mut progress = handle.progress();
    for expected in [(10, 1), (5, 2)] {
        let Progress { done, attempt, .. } = next(&mut progress).await;
        assert_eq!((done, attempt), expected);
        drop(gate.arrival().await);
    }
    assert_eq!(rest(progress).await, []);
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn a_huge_message_is_cut() {
    fn report_at_length() {
        current().progress(1, 1, "€".repeat(1 << 20));
    }
    procpool::register!(report_at_length);
    let handle = pool_of(1).submit(report_at_length, ()).await.unwrap();
    let message = next(&mut handle.progress()).await.message;
    assert!((4000..=4096).contains(&message.len()), "{}", message.len());
    assert!(message.chars().all(|c| c == '€'));
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn the_items_of_a_map_may_report() {
    let pool = pool_of(2);
    let results: Vec<_> = in_time(pool.map(report, 0..300).try_collect()).await.unwrap();
    assert!(results.into_iter().eq(0..300));
}

#[tokio::test]
async fn a_thread_that_outlives_its_task_reports_for_nobody() {
    static STOP: AtomicBool = AtomicBool::new(false);
    fn leave_a_thread() {
        let current = current();
        std::thread::spawn(move || {
            while !STOP.load(Ordering::Relaxed) {
                current.progress(666, 666, "left over");
            }
        });
    }
    fn stop() {
        STOP.store(true, Ordering::Relaxed);
    }
    procpool::register!(leave_a_thread, stop);
    let pool = pool_of(1);
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.run(leave_a_thread, ())).await.unwrap();
    for _ in 0..200 {
        let handle = pool.submit(report, 2).await.unwrap();
        let seen = rest(handle.progress()).await;
        assert!(seen.ends_with(&[2]) && !seen.contains(&666), "{seen:?}");
    }
    in_time(pool.run(stop, ())).await.unwrap();
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

/// Writes a frame of progress past the product, as only a hostile task can.
fn forge(task: u8, message: usize) {
    const PROGRESS: u8 = 22;
    let body = [&[PROGRESS, task, 66, 66][..], &vec![b'x'; message]].concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let mut pipe = OpenOptions::new().write(true).open(frame_pipe()).unwrap();
    pipe.write_all(&[&length[..], &body].concat()).unwrap();
}

procpool::register!(forge);

#[tokio::test]
async fn a_forged_report_for_a_task_that_does_not_run_there_is_ignored() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let victim = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let id = u8::try_from(victim.id().get()).unwrap();
    let accomplice = pool.submit(forge, (id, 0)).await.unwrap();
    let seen = accomplice.progress();
    in_time(accomplice).await.unwrap();
    drop(held);
    assert_eq!(rest(victim.progress()).await, []);
    assert_eq!(rest(seen).await, []);
    in_time(victim).await.unwrap();
    in_time(pool.run(forge, (100, 0))).await.unwrap(); // one that does not exist
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_forged_message_over_the_limit_costs_the_worker_its_life() {
    let pool = pool_of(1);
    let error = in_time(pool.run(forge, (0, 5000))).await.unwrap_err();
    assert!(error.is_worker_death(), "{error}");
    in_time(pool.run(pid, ())).await.unwrap();
}
