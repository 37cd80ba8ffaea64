//! The end of a pool.

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Shutdown};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::common::{
    Gate, finished_and_cancelled, hold, in_time, pid, process_gone, processes_with_env, wait_until,
};
use crate::journal::{Journal, note};

/// Cannot be interrupted but by signals.
fn loop_for_ever(port: u16) {
    // Announces itself, and then does not wait to be let go.
    let mut stream = std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
    std::io::Write::write_all(&mut stream, &std::process::id().to_be_bytes()).unwrap();
    loop {
        std::hint::spin_loop();
    }
}

procpool::register!(loop_for_ever);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

fn pids(pool: &ProcessPoolExecutor) -> Vec<u32> {
    pool.workers().iter().map(|worker| worker.pid).collect()
}

#[tokio::test]
async fn a_waiting_shutdown_lets_every_task_finish() {
    // scenario 70
    let (pool, journal) = (pool_of(2), Journal::new());
    let mut handles = Vec::new();
    for number in 0..50 {
        handles.push(pool.submit(note, (journal.path(), number)).await.unwrap());
    }
    let workers = pids(&pool);
    let report = in_time(pool.shutdown()).await;
    assert!(handles.iter().all(procpool::TaskHandle::is_finished), "before it returns");
    assert_eq!((report.finished, report.cancelled, report.killed), (50, 0, 0));
    assert_eq!(journal.numbers().len(), 50);
    assert!(workers.into_iter().all(process_gone));
    assert_eq!(pool.workers(), []);
    for (number, handle) in (0..).zip(handles) {
        assert_eq!(in_time(handle).await.unwrap(), number);
    }
}

#[tokio::test]
async fn nothing_is_accepted_after_a_shutdown() {
    // scenario 70
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
    let errors = [
        in_time(pool.submit(pid, ())).await.unwrap_err(),
        pool.try_submit(pid, ()).unwrap_err(),
        in_time(pool.ready()).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_shut_down() && !error.is_broken(), "{error}");
    }
    assert!(in_time(pool.run(pid, ())).await.unwrap_err().is_shut_down());
}

#[tokio::test]
async fn a_shutdown_can_be_repeated() {
    // scenario 70
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, 1);
    assert_eq!(in_time(pool.shutdown()).await, report);
    assert_eq!(in_time(pool.clone().shutdown()).await, report);
    let how = Shutdown::new().wait(false).cancel_futures(true).within(Duration::ZERO);
    assert_eq!(in_time(pool.shutdown_with(how)).await, report);
}

#[tokio::test]
async fn shutdowns_at_the_same_time_agree() {
    // scenario 70
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let (one, two) = (pool.clone(), pool.clone());
    let one = tokio::spawn(async move { one.shutdown().await });
    let two = tokio::spawn(async move { two.shutdown().await });
    tokio::task::yield_now().await;
    assert!(!one.is_finished() && !two.is_finished(), "a task still runs");
    drop(held);
    in_time(running).await.unwrap();
    let (one, two) = (in_time(one).await.unwrap(), in_time(two).await.unwrap());
    assert_eq!((one.finished, one), (1, two));
}

#[tokio::test]
async fn a_shutdown_of_a_pool_that_was_never_used_is_quick_and_starts_nothing() {
    let pool = pool_of(2);
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report, in_time(pool.shutdown()).await);
    assert_eq!((report.finished, pool.stats().worker_starts), (0, 0));
}

#[tokio::test]
async fn a_cancelling_shutdown_lets_running_tasks_finish() {
    // scenario 71
    let (pool, gate, journal) = (pool_of(2), Gate::new().await, Journal::new());
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    let held = [gate.arrival().await, gate.arrival().await];
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(pool.submit(note, (journal.path(), number)).await.unwrap());
    }
    let shutdown = pool.shutdown_with(Shutdown::new().cancel_futures(true));
    for handle in waiting {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    }
    drop(held);
    for handle in running {
        in_time(handle).await.unwrap();
    }
    let report = in_time(shutdown).await;
    assert_eq!((report.finished, report.cancelled, report.killed), (2, 10, 0));
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn the_numbers_add_up_whenever_a_shutdown_cancels() {
    // scenario 71
    const TASKS: u32 = 300;
    for patience in [0, 1, 10, 100] {
        let (pool, journal) = (pool_of(2), Journal::new());
        let mut handles = Vec::new();
        for number in 0..TASKS {
            handles.push(pool.submit(note, (journal.path(), number)).await.unwrap());
        }
        if let Some(handle) = handles[..patience].last_mut() {
            in_time(handle).await.unwrap();
        }
        let report = in_time(pool.shutdown_with(Shutdown::new().cancel_futures(true))).await;
        let (finished, cancelled) = finished_and_cancelled(handles).await;
        assert_eq!((report.finished, report.cancelled), (finished.len() as u64, cancelled));
        assert_eq!(report.finished + report.cancelled, u64::from(TASKS));
        let mut ran = journal.numbers();
        ran.sort_unstable();
        assert_eq!(ran, finished);
    }
}

#[tokio::test]
async fn tasks_still_run_after_a_shutdown_without_waiting_and_after_everything_is_dropped() {
    // scenario 72
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    drop(pool.submit(hold, gate.port()).await.unwrap());
    let held = gate.arrival().await;
    for number in 0..10 {
        drop(pool.submit(note, (journal.path(), number)).await.unwrap());
    }
    let report = in_time(pool.shutdown_with(Shutdown::new().wait(false))).await;
    assert_eq!(report.finished, 0, "it is not over");
    assert!(pool.try_submit(pid, ()).unwrap_err().is_shut_down());
    drop(pool);
    let worker = held.pid;
    drop(held);
    wait_until("all have run", || journal.lines().len() == 10).await;
    wait_until("the worker is gone", || process_gone(worker)).await;
    assert_eq!(journal.numbers(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropping_the_last_handle_of_a_pool_shuts_it_down_without_waiting() {
    // scenario 73
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let queued = pool.submit(pid, ()).await.unwrap();
    let other = pool.clone();
    drop(pool);
    let third = other.submit(pid, ()).await.unwrap(); // one handle is left
    let workers = pids(&other);
    drop(other);
    drop(held);
    in_time(running).await.unwrap();
    in_time(queued).await.unwrap();
    in_time(third).await.unwrap();
    wait_until("the workers are gone", || workers.iter().all(|pid| process_gone(*pid))).await;
}

#[tokio::test]
async fn a_shutdown_that_is_no_longer_awaited_goes_on() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    {
        let mut shutdown = std::pin::pin!(pool.shutdown());
        assert!(futures::poll!(&mut shutdown).is_pending());
    }
    assert!(pool.try_submit(pid, ()).unwrap_err().is_shut_down());
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), worker);
    wait_until("the worker is gone", || process_gone(worker)).await;
}

#[tokio::test]
async fn a_shutdown_begins_when_it_is_called() {
    let pool = pool_of(1);
    let worker = in_time(pool.run(pid, ())).await.unwrap();
    drop(pool.shutdown());
    assert!(pool.is_closed());
    assert!(pool.try_submit(pid, ()).unwrap_err().is_shut_down());
    wait_until("the worker is gone", || process_gone(worker)).await;
}

#[tokio::test]
async fn a_shutdown_with_a_limit_ends_what_never_ends_and_says_so() {
    // scenario 75
    const LIMIT: Duration = Duration::from_millis(200);
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let endless = pool.submit(loop_for_ever, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(note, (journal.path(), 1)).await.unwrap();
    let began = Instant::now();
    let report = in_time(pool.shutdown_with(Shutdown::new().within(LIMIT))).await;
    assert!(began.elapsed() >= LIMIT);
    assert_eq!((report.finished, report.cancelled, report.killed), (0, 2, 1));
    assert!(process_gone(held.pid));
    assert!(in_time(endless).await.unwrap_err().is_cancelled());
    assert!(in_time(waiting).await.unwrap_err().is_cancelled());
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn a_later_shutdown_can_set_a_limit_to_an_earlier_one() {
    // scenario 75
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let endless = pool.submit(loop_for_ever, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let patient = pool.shutdown();
    let mut patient = std::pin::pin!(patient);
    assert!(futures::poll!(&mut patient).is_pending());
    let report = in_time(pool.shutdown_with(Shutdown::new().within(Duration::ZERO))).await;
    assert_eq!((report.cancelled, report.killed), (1, 1));
    assert_eq!(in_time(patient).await, report);
    assert!(in_time(endless).await.unwrap_err().is_cancelled());
    assert!(process_gone(held.pid));
}

/// Drops a runtime under a pool with a running and a waiting task.
async fn a_dropped_runtime_leaves_nothing(runtime: Runtime) {
    let gate = Gate::new().await;
    let port = gate.port();
    let (sender, receiver) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let pool = pool_of(1);
            let running = pool.submit(hold, port).await.unwrap();
            let waiting = pool.submit(pid, ()).await.unwrap();
            sender.send((pool, running, waiting)).unwrap();
            stopped.await.unwrap();
        });
        drop(runtime);
    });
    let (pool, running, waiting) = in_time(receiver).await.unwrap();
    let mut held = gate.arrival().await;
    let awaiting = tokio::spawn(running); // wakes up, too
    tokio::task::yield_now().await;
    stop.send(()).unwrap();
    in_time(thread).await.unwrap();

    for result in [in_time(awaiting).await.unwrap(), in_time(waiting).await] {
        let error = result.unwrap_err();
        assert!(error.is_runtime_gone(), "{error}");
    }
    held.gone().await;
    wait_until("the worker is gone and reaped", || process_gone(held.pid)).await;
    assert!(pool.try_submit(pid, ()).unwrap_err().is_runtime_gone());
    assert!(in_time(pool.ready()).await.unwrap_err().is_runtime_gone());
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn tasks_resolve_and_workers_go_when_a_current_thread_runtime_is_dropped() {
    // scenario 74
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    a_dropped_runtime_leaves_nothing(runtime).await;
}

#[tokio::test]
async fn tasks_resolve_and_workers_go_when_a_multi_threaded_runtime_is_dropped() {
    // scenario 74
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    a_dropped_runtime_leaves_nothing(runtime).await;
}

#[test]
fn a_runtime_dropped_at_once_leaves_nothing() {
    // scenario 74: at the moment of the drop the worker is being started.
    const NAME: &str = "PROCPOOL_TEST_MARK";
    let mark = Journal::new().path(); // as unique as a mark must be
    let other = Builder::new_current_thread().enable_all().build().unwrap();
    for steps in 0..30 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let builder = ProcessPoolExecutor::builder().env(NAME, &mark);
        let pool = runtime.block_on(async { builder.build().unwrap() });
        let handle = runtime.block_on(pool.submit(pid, ())).unwrap();
        drop(pool);
        runtime.block_on(async { tokio::time::sleep(steps * Duration::from_micros(200)).await });
        drop(runtime);
        if let Err(error) = other.block_on(in_time(handle)) {
            assert!(error.is_runtime_gone(), "{error}");
        }
    }
    let none = || processes_with_env(NAME, &mark).is_empty();
    other.block_on(wait_until("no worker is left", none));
}
