//! Ending all workers at once.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::fs::OpenOptions;
use std::future::Future;
use std::os::fd::IntoRawFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use procpool::{Builder, OnWorkerDeath, ProcessPoolExecutor, ShutdownReport, TaskHandle};
use tokio::sync::oneshot;

use crate::common::{
    Gate, Held, LIMIT, finished_and_cancelled, hold, in_time, pid, process_gone, wait_until,
};
use crate::journal::{Journal, hold_with_children, note};

/// Either way to end all workers.
type End = fn(&ProcessPoolExecutor) -> Pin<Box<dyn Future<Output = ShutdownReport> + Send>>;

const TERMINATE: End = |pool| Box::pin(pool.terminate_workers());
const KILL: End = |pool| Box::pin(pool.kill_workers());
const BOTH: [End; 2] = [TERMINATE, KILL];

/// Where SIGTERM is noted.
static MARKS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn mark_sigterm(_: libc::c_int) {
    // SAFETY: `write` may be called in a signal handler, and the buffer is a static one.
    #[expect(unsafe_code, reason = "nothing else may be called in a handler")]
    unsafe {
        libc::write(MARKS.load(Ordering::Relaxed), b"15\n".as_ptr().cast(), 3)
    };
}

/// Notes each SIGTERM, and holds on.
fn hold_and_note_sigterm(path: String, port: u16) {
    let file = OpenOptions::new().append(true).open(path).unwrap();
    MARKS.store(file.into_raw_fd(), Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int) = mark_sigterm;
    // SAFETY: the handler calls nothing that must not be called in one.
    #[expect(unsafe_code, reason = "std cannot handle a signal")]
    unsafe {
        libc::signal(libc::SIGTERM, handler as libc::sighandler_t)
    };
    hold(port);
    loop {
        std::thread::park();
    }
}

fn fail_to_start() -> Result<(), String> {
    Err("on purpose".to_owned())
}

procpool::register!(hold_and_note_sigterm, hold_with_children, fail_to_start);

/// What ends in time was not ended by the end of the grace period.
fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers).grace_period(10 * LIMIT)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

async fn submit_held(pool: &ProcessPoolExecutor, gate: &Gate) -> (TaskHandle<u32>, Held) {
    let handle = in_time(pool.submit(hold, gate.port())).await.unwrap();
    (handle, gate.arrival().await)
}

async fn assert_cancelled(handles: impl IntoIterator<Item = TaskHandle<u32>>) {
    for handle in handles {
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_cancelled() && !error.is_worker_death(), "{error}");
    }
}

fn numbers(report: &ShutdownReport) -> (u64, u64, u64) {
    (report.finished, report.cancelled, report.killed)
}

#[tokio::test]
async fn an_idle_pool() {
    // scenario 76
    for end in BOTH {
        let pool = pool_of(2);
        let worker = in_time(pool.run(pid, ())).await.unwrap();
        let report = in_time(end(&pool)).await;
        assert_eq!(numbers(&report), (1, 0, 0));
        assert!(process_gone(worker));
        assert_eq!((pool.workers(), pool.stats().worker_deaths), (vec![], 0));
        assert!(pool.try_submit(pid, ()).unwrap_err().is_shut_down());
        assert_eq!(in_time(pool.shutdown()).await, report);
    }
}

#[tokio::test]
async fn a_busy_pool() {
    // scenario 76
    for end in BOTH {
        let (pool, gate, journal) = (pool_of(2), Gate::new().await, Journal::new());
        let (first, one) = submit_held(&pool, &gate).await;
        let (second, two) = submit_held(&pool, &gate).await;
        let waiting = (0..3).map(|number| pool.submit(note, (journal.path(), number)));
        let waiting = join_all(waiting).await.into_iter().map(Result::unwrap);
        let report = in_time(end(&pool)).await;
        assert_eq!(numbers(&report), (0, 5, 2));
        assert!(process_gone(one.pid) && process_gone(two.pid));
        assert_cancelled([first, second].into_iter().chain(waiting)).await;
        assert_eq!(journal.numbers(), []);
    }
}

#[tokio::test]
async fn a_pool_in_the_middle_of_many_quick_tasks() {
    // scenario 76
    const TASKS: u32 = 2_000;
    for end in BOTH {
        let (pool, journal) = (pool_of(2), Journal::new());
        let mut handles = Vec::new();
        for number in 0..TASKS {
            handles.push(in_time(pool.submit(note, (journal.path(), number))).await.unwrap());
        }
        in_time(&mut handles[300]).await.unwrap();
        let report = in_time(end(&pool)).await;
        let (finished, cancelled) = finished_and_cancelled(handles).await;
        assert_eq!((report.finished, report.cancelled), (finished.len() as u64, cancelled));
        assert!(report.killed <= 2 && cancelled > 0, "{report:?}");
        let counts = journal.counts();
        assert!(counts.values().all(|times| *times == 1));
        assert!(finished.iter().all(|number| counts.contains_key(number)));
        // One that was killed may have noted already.
        assert!(counts.len() as u64 <= report.finished + report.killed, "{report:?}");
    }
}

#[tokio::test]
async fn a_pool_whose_workers_are_starting() {
    // scenario 76
    for end in BOTH {
        let gate = Gate::new().await;
        let pool = builder(1).initializer(hold, gate.port()).build().unwrap();
        let waiting = pool.submit(pid, ()).await.unwrap();
        let held = gate.arrival().await;
        let report = in_time(end(&pool)).await;
        assert_eq!(numbers(&report), (0, 1, 0));
        assert!(process_gone(held.pid));
        assert_cancelled([waiting]).await;
    }
}

#[tokio::test]
async fn a_broken_pool() {
    // scenario 76
    for end in BOTH {
        let pool = builder(1).initializer(fail_to_start, ()).build().unwrap();
        assert!(in_time(pool.ready()).await.unwrap_err().is_broken());
        assert_eq!(numbers(&in_time(end(&pool)).await), (0, 0, 0));
        assert!(in_time(pool.run(pid, ())).await.unwrap_err().is_broken());

        let builder = builder(2).on_worker_death(OnWorkerDeath::Break);
        let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
        let (handle, held) = submit_held(&pool, &gate).await;
        let victim = rustix::process::Pid::from_raw(held.pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(victim, rustix::process::Signal::KILL).unwrap();
        assert!(in_time(handle).await.unwrap_err().is_broken());
        assert_eq!(numbers(&in_time(end(&pool)).await), (1, 0, 0));
    }
}

#[tokio::test]
async fn a_pool_that_was_never_used() {
    // scenario 76
    for end in BOTH {
        let pool = pool_of(2);
        assert_eq!(in_time(end(&pool)).await, ShutdownReport::default());
        assert_eq!(pool.stats().worker_starts, 0);
        assert!(in_time(pool.ready()).await.unwrap_err().is_shut_down());
    }
}

#[tokio::test]
async fn a_pool_that_has_been_shut_down() {
    // scenario 76
    for end in BOTH {
        let pool = pool_of(1);
        in_time(pool.run(pid, ())).await.unwrap();
        let report = in_time(pool.shutdown()).await;
        assert_eq!(in_time(end(&pool)).await, report);
    }
}

#[tokio::test]
async fn a_pool_that_is_being_shut_down() {
    // scenario 76
    for end in BOTH {
        let (pool, gate) = (pool_of(1), Gate::new().await);
        let (running, held) = submit_held(&pool, &gate).await;
        let waiting = pool.submit(pid, ()).await.unwrap();
        let shutdown = pool.shutdown();
        let mut shutdown = pin!(shutdown);
        assert!(futures::poll!(&mut shutdown).is_pending());
        let report = in_time(end(&pool)).await;
        assert_eq!(numbers(&report), (0, 2, 1));
        assert_eq!(in_time(shutdown).await, report);
        assert!(process_gone(held.pid));
        assert_cancelled([running, waiting]).await;
    }
}

#[tokio::test]
async fn twice_and_from_two_tasks_at_the_same_time() {
    // scenario 76
    for (first, second) in [(TERMINATE, TERMINATE), (KILL, KILL), (TERMINATE, KILL)] {
        let (pool, gate) = (pool_of(1), Gate::new().await);
        let (running, _held) = submit_held(&pool, &gate).await;
        let (one, two) = (pool.clone(), pool.clone());
        let one = tokio::spawn(async move { first(&one).await });
        let two = tokio::spawn(async move { second(&two).await });
        let (one, two) = (in_time(one).await.unwrap(), in_time(two).await.unwrap());
        assert_eq!((numbers(&one), &one), ((0, 1, 1), &two));
        assert_cancelled([running]).await;
        assert_eq!(in_time(first(&pool)).await, one);
        assert_eq!(in_time(second(&pool)).await, one);
    }
}

#[tokio::test]
async fn from_a_callback() {
    // scenario 76
    for end in BOTH {
        let (pool, gate) = (pool_of(2), Gate::new().await);
        let (running, other) = submit_held(&pool, &gate).await;
        let (done, held) = submit_held(&pool, &gate).await;
        let (sender, receiver) = oneshot::channel();
        let inner = pool.clone();
        done.add_done_callback(move |_| drop(sender.send(end(&inner))));
        drop(held);
        let report = in_time(in_time(receiver).await.unwrap()).await;
        assert_eq!(numbers(&report), (1, 1, 1));
        assert!(process_gone(other.pid));
        assert_cancelled([running]).await;
        in_time(done).await.unwrap();
    }
}

#[tokio::test]
async fn it_goes_on_when_nobody_waits_for_it() {
    // scenario 76
    for end in BOTH {
        let (pool, gate) = (pool_of(1), Gate::new().await);
        let (running, held) = submit_held(&pool, &gate).await;
        drop(end(&pool));
        assert!(pool.try_submit(pid, ()).unwrap_err().is_shut_down(), "at once");
        assert_cancelled([running]).await;
        wait_until("the worker is gone", || process_gone(held.pid)).await;
    }
}

#[tokio::test]
async fn a_submit_that_waits_for_room_is_refused() {
    // scenario 76
    for end in BOTH {
        let (pool, gate) = (builder(1).queue_capacity(1).build().unwrap(), Gate::new().await);
        let (_running, _held) = submit_held(&pool, &gate).await;
        let _queued = pool.submit(pid, ()).await.unwrap();
        let mut submit = pin!(pool.submit(pid, ()));
        assert!(futures::poll!(&mut submit).is_pending());
        let ending = end(&pool);
        assert!(in_time(submit).await.unwrap_err().is_shut_down());
        in_time(ending).await;
    }
}

#[tokio::test]
async fn the_children_of_tasks_go_too() {
    // scenario 76
    for end in BOTH {
        let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
        let task = pool.submit(hold_with_children, (journal.path(), gate.port()));
        let handle = in_time(task).await.unwrap();
        let held = gate.arrival().await;
        let children = journal.numbers();
        assert_eq!(children.len(), 2);
        assert!(children.iter().all(|child| !process_gone(*child)));
        in_time(end(&pool)).await;
        assert!(in_time(handle).await.unwrap_err().is_cancelled());
        wait_until("they are gone", || children.iter().all(|child| process_gone(*child))).await;
        assert!(process_gone(held.pid));
    }
}

#[tokio::test]
async fn terminating_begins_with_sigterm_and_escalates() {
    // scenario 76
    const GRACE: Duration = Duration::from_millis(300);
    let (pool, gate, journal) =
        (builder(1).grace_period(GRACE).build().unwrap(), Gate::new().await, Journal::new());
    let task = pool.submit(hold_and_note_sigterm, (journal.path(), gate.port()));
    let handle = in_time(task).await.unwrap();
    let held = gate.arrival().await;
    let began = Instant::now();
    let report = in_time(pool.terminate_workers()).await;
    assert!(began.elapsed() >= GRACE, "it had its time");
    assert_eq!(numbers(&report), (0, 1, 1));
    assert!(process_gone(held.pid));
    assert!(!journal.lines().is_empty() && journal.lines().iter().all(|line| line == "15"));
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn killing_does_not_wait_for_a_task_that_ignores_sigterm() {
    // scenario 76
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let task = pool.submit(hold_and_note_sigterm, (journal.path(), gate.port()));
    let handle = in_time(task).await.unwrap();
    let held = gate.arrival().await;
    let report = in_time(pool.kill_workers()).await;
    assert_eq!(numbers(&report), (0, 1, 1));
    assert!(process_gone(held.pid));
    assert_eq!(journal.lines(), [""; 0]);
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn killing_ends_what_was_terminated_in_vain() {
    // scenario 76
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let task = pool.submit(hold_and_note_sigterm, (journal.path(), gate.port()));
    let handle = in_time(task).await.unwrap();
    let held = gate.arrival().await;
    let terminated = pool.terminate_workers();
    wait_until("SIGTERM has come", || !journal.lines().is_empty()).await;
    assert!(!handle.is_finished() && !process_gone(held.pid));
    let report = in_time(pool.kill_workers()).await;
    assert_eq!(in_time(terminated).await, report);
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
}

#[test]
fn a_pool_whose_runtime_has_gone() {
    // scenario 76
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for end in BOTH {
        let first = runtime();
        let pool = first.block_on(async {
            let pool = pool_of(1);
            in_time(pool.run(pid, ())).await.unwrap();
            pool
        });
        let ending = end(&pool);
        drop(first);
        runtime().block_on(async {
            in_time(ending).await;
            in_time(end(&pool)).await;
        });
    }
}
