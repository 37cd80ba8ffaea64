//! One task in the hands of its caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use procpool::{ProcessPoolExecutor, Shutdown, TaskStatus};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Gate, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[tokio::test]
async fn cancel_answers_in_each_state_as_pythons_does() {
    // scenario 50
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let mut running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    assert_eq!(running.status(), TaskStatus::Running);
    assert!(!running.cancel());
    assert_eq!(running.status(), TaskStatus::Running);

    let mut pending = pool.submit(note, (journal.path(), 1)).await.unwrap();
    assert_eq!(pending.status(), TaskStatus::Pending);
    assert!(!pending.is_finished());
    assert!(pending.cancel());
    assert_eq!(pending.status(), TaskStatus::Cancelled);
    assert!(pending.cancel(), "it stays cancelled");
    assert!(pending.is_finished());
    // It resolves at once, while the worker is busy.
    let error = in_time(&mut pending).await.unwrap_err();
    assert!(error.is_cancelled(), "{error}");

    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(&mut running).await.unwrap(), worker, "the refused cancel did no harm");
    assert!(!running.cancel());
    assert_eq!(running.status(), TaskStatus::Finished);
    assert_eq!(in_time(running).await.unwrap(), worker);
    pool.shutdown().await;
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn a_failed_task_counts_as_finished_and_cannot_be_cancelled() {
    fn fail() {
        panic!("as it should");
    }
    procpool::register!(fail);
    let pool = pool_of(1);
    let mut handle = pool.submit(fail, ()).await.unwrap();
    assert!(in_time(&mut handle).await.unwrap_err().is_panic());
    assert_eq!(handle.status(), TaskStatus::Finished);
    assert!(!handle.cancel());
    assert!(in_time(handle).await.unwrap_err().is_panic());
}

#[tokio::test]
async fn a_task_that_is_being_aborted_runs_until_its_worker_is_gone() {
    // scenario 50
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    handle.abort();
    assert!(!handle.cancel() && !handle.is_finished());
    assert_eq!(handle.status(), TaskStatus::Running);
    assert!(in_time(&mut handle).await.unwrap_err().is_cancelled());
    assert!(process_gone(held.pid));
    assert_eq!(handle.status(), TaskStatus::Cancelled);
    assert!(handle.cancel(), "it is cancelled already");
}

#[tokio::test]
async fn a_task_that_lost_its_worker_or_its_time_counts_as_finished() {
    // scenario 50
    fn exit() {
        std::process::exit(3);
    }
    procpool::register!(exit);
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut dead = pool.submit(exit, ()).await.unwrap();
    assert!(in_time(&mut dead).await.unwrap_err().is_worker_death());
    assert_eq!((dead.status(), dead.cancel()), (TaskStatus::Finished, false));
    let limit = Duration::from_millis(20);
    let mut late = pool.task(hold, gate.port()).timeout(limit).submit().await.unwrap();
    assert!(in_time(&mut late).await.unwrap_err().is_timeout());
    assert_eq!((late.status(), late.cancel()), (TaskStatus::Finished, false));
}

#[tokio::test]
async fn a_task_can_be_cancelled_before_there_is_a_worker() {
    // scenario 50
    let pool = pool_of(1);
    let handle = pool.submit(pid, ()).await.unwrap(); // nothing else has run on this thread yet
    assert_eq!(handle.status(), TaskStatus::Pending);
    assert!(handle.cancel() && handle.cancel());
    assert_eq!(handle.status(), TaskStatus::Cancelled);
    assert_eq!(in_time(pool.shutdown()).await.cancelled, 1);
}

#[tokio::test]
async fn a_task_cancelled_by_a_shutdown_is_cancelled() {
    // scenario 50
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let _running = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    let mut handle = pool.submit(pid, ()).await.unwrap();
    drop(pool.shutdown_with(Shutdown::new().cancel_futures(true)));
    assert!(in_time(&mut handle).await.unwrap_err().is_cancelled());
    assert_eq!((handle.status(), handle.cancel()), (TaskStatus::Cancelled, true));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Alarm {
    fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_handle_wakes_the_task_that_polled_it_last() {
    // scenario 56
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let (first, last) = (Arc::new(Alarm::default()), Arc::new(Alarm::default()));
    for alarm in [&first, &last] {
        let waker = Waker::from(Arc::clone(alarm));
        let polled =
            Future::poll(std::pin::Pin::new(&mut handle), &mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Pending));
    }
    drop(held);
    wait_until("the last task is woken", || last.count() > 0).await;
    assert!(handle.is_finished());
    assert_eq!(first.count(), 0);
}

#[tokio::test]
async fn a_handle_may_move_to_another_task_after_it_was_polled() {
    // scenario 56
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    assert!(futures::poll!(&mut handle).is_pending());
    let other = tokio::spawn(handle);
    tokio::task::yield_now().await;
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(other).await.unwrap().unwrap(), worker);
}

#[tokio::test]
async fn awaiting_by_reference_in_a_select_loses_nothing() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut handle = pool.submit(hold, gate.port()).await.unwrap();
    let mut held = Some(gate.arrival().await);
    let worker = held.as_ref().unwrap().pid;
    let mut lost_races = 0;
    let result = loop {
        tokio::select! {
            biased;
            result = in_time(&mut handle) => break result,
            () = tokio::task::yield_now() => lost_races += 1,
        }
        if lost_races == 100 {
            held = None;
        }
    };
    assert_eq!(result.unwrap(), worker);
    assert!(lost_races >= 100 && held.is_none());
}

#[tokio::test]
async fn a_handle_awaited_twice_gives_its_result_twice() {
    let pool = pool_of(1);
    let mut handle = pool.submit(pid, ()).await.unwrap();
    let first = in_time(&mut handle).await.unwrap();
    assert_eq!(in_time(&mut handle).await.unwrap(), first);
    pool.shutdown().await;
    assert_eq!(in_time(handle).await.unwrap(), first, "also after the pool");
}

#[tokio::test]
async fn a_shared_result_reaches_every_task_that_awaits_it() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let shared = pool.submit(hold, gate.port()).await.unwrap().shared();
    let held = gate.arrival().await;
    let parties = [tokio::spawn(shared.clone()), tokio::spawn(shared.clone())];
    tokio::task::yield_now().await; // so that both wait
    let worker = held.pid;
    drop(held);
    for party in parties {
        assert_eq!(in_time(party).await.unwrap().unwrap(), worker);
    }
    assert_eq!(in_time(shared).await.unwrap(), worker, "also afterwards");
}

#[tokio::test]
async fn a_shared_error_reaches_every_task_that_awaits_it() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let (id, held) = (handle.id(), gate.arrival().await);
    let shared = handle.shared();
    let parties = [tokio::spawn(shared.clone()), tokio::spawn(shared)];
    tokio::task::yield_now().await; // so that both wait
    let victim = Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
    kill_process(victim, Signal::KILL).unwrap();
    for party in parties {
        let error = in_time(party).await.unwrap().unwrap_err();
        assert_eq!(error.task_id(), Some(id));
        assert_eq!(error.worker_death().unwrap().pid(), held.pid);
    }
}

#[tokio::test]
async fn a_dropped_handle_detaches_its_task() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    drop(pool.submit(hold, gate.port()).await.unwrap());
    let held = gate.arrival().await;
    drop(pool.submit(note, (journal.path(), 7)).await.unwrap());
    drop(held);
    pool.shutdown().await;
    assert_eq!(journal.numbers(), [7]);
}

#[tokio::test]
async fn abort_on_drop_ends_a_running_task() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap().abort_on_drop(true);
    let mut held = gate.arrival().await;
    assert_eq!(handle.status(), TaskStatus::Running);
    drop(handle);
    held.gone().await;
    wait_until("the worker is reaped", || process_gone(held.pid)).await;
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
    assert_eq!(pool.stats().cancelled, 1);
}

#[tokio::test]
async fn abort_on_drop_keeps_a_waiting_task_from_running() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    drop(pool.submit(note, (journal.path(), 1)).await.unwrap().abort_on_drop(true));
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), worker, "nobody else is hurt");
    pool.shutdown().await;
    assert_eq!(journal.numbers(), []);
}

#[tokio::test]
async fn abort_on_drop_does_nothing_once_the_task_is_over() {
    let pool = pool_of(1);
    let mut handle = pool.submit(pid, ()).await.unwrap().abort_on_drop(true);
    let worker = in_time(&mut handle).await.unwrap();
    drop(handle);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

#[tokio::test]
async fn dropping_a_run_future_ends_the_running_task() {
    // scenario 64
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut held = {
        let run = std::pin::pin!(pool.run(hold, gate.port()));
        tokio::select! {
            result = run => panic!("{result:?}"),
            held = gate.arrival() => held,
        }
    };
    held.gone().await;
    wait_until("the worker is reaped", || process_gone(held.pid)).await;
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
}

#[tokio::test]
async fn dropping_a_run_future_cancels_the_waiting_task() {
    // scenario 64
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    {
        let mut run = std::pin::pin!(pool.run(note, (journal.path(), 1)));
        assert!(futures::poll!(&mut run).is_pending());
        wait_until("it is queued", || pool.stats().submitted == 2).await;
    }
    let worker = held.pid;
    drop(held);
    assert_eq!(in_time(running).await.unwrap(), worker);
    assert_eq!(in_time(pool.run(note, (journal.path(), 2))).await.unwrap(), 2);
    pool.shutdown().await;
    assert_eq!(journal.numbers(), [2]);
}
