//! Tasks that are begun again, as their users decide, and how long they wait before that.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use procpool::{
    Backoff, PoolEvent, ProcessPoolExecutor, Shutdown, TaskError, TaskErrorKind, TaskStatus,
    current,
};
use serde::{Deserialize, Serialize};

use crate::common::{Gate, hold, in_time, pid, wait_until};
use crate::journal::{Journal, note_line};

const HOUR: Duration = Duration::from_hours(1);
/// A result of so many bytes is looked at elsewhere.
const LARGE: usize = 100_000;

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// What a task does at its attempts, one after the other; the last deed stands for all others.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    Return(u32),
    Fail(u32),
    Panic,
    Die,
    Loop,
    /// Returns what cannot be encoded.
    Unspeakable,
}

use Deed::{Die, Fail, Loop, Panic, Return, Unspeakable};

#[derive(Debug, PartialEq, Deserialize)]
struct Word(u32);

impl Serialize for Word {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 == u32::MAX {
            return Err(serde::ser::Error::custom("it has no words"));
        }
        to.serialize_newtype_struct("Word", &self.0)
    }
}

fn act(deeds: Vec<Deed>) -> Result<Word, u32> {
    let attempt = usize::try_from(current().attempt()).unwrap();
    match deeds[(attempt - 1).min(deeds.len() - 1)] {
        Return(value) => Ok(Word(value)),
        Fail(code) => Err(code),
        Panic => panic!("at attempt {attempt}"),
        Die => std::process::abort(),
        Loop => loop {
            std::thread::park();
        },
        Unspeakable => Ok(Word(u32::MAX)),
    }
}

fn note_attempt(path: String) -> u32 {
    note_line(&path, &current().attempt().to_string());
    current().attempt()
}

procpool::register!(act, note_attempt);

type Acted = Result<Word, u32>;

/// What conditions were asked about, in short.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, outcome: Result<&Acted, &TaskError>) {
        let word = match outcome {
            Ok(Ok(Word(value))) => format!("{value}"),
            Ok(Err(code)) => format!("error {code}"),
            Err(error) => format!("{} at {}", error.kind(), error.attempts()),
        };
        self.0.lock().unwrap().push(word);
    }

    /// A condition that always says this.
    fn saying(&self, says: bool) -> impl Fn(Result<&Acted, &TaskError>) -> bool + use<> {
        let asked = self.clone();
        move |outcome| {
            asked.note(outcome);
            says
        }
    }

    fn words(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn is_failure(outcome: Result<&Acted, &TaskError>) -> bool {
    !matches!(outcome, Ok(Ok(_)))
}

#[tokio::test]
async fn an_error_that_is_returned_may_lead_to_another_attempt() {
    let (pool, asked) = (pool_of(1), Asked::default());
    let condition = asked.saying(true);
    let deeds = vec![Fail(1), Panic, Die, Fail(2), Return(7)];
    let task = pool.task(act, deeds).retries(9).retry_if(move |outcome| {
        condition(outcome);
        is_failure(outcome)
    });
    assert_eq!(in_time(task.run()).await.unwrap(), Ok(Word(7)));
    let words = ["error 1", "panic at 2", "worker_death at 3", "error 2", "7"];
    assert_eq!(asked.words(), words);
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed, stats.failed, stats.retries), (1, 1, 0, 4));
    assert_eq!((stats.run_time.count(), stats.lost_time.count()), (4, 1), "each attempt ran");
    assert_eq!((stats.outcomes.returned, stats.wait_time.count(), stats.running), (1, 1, 0));
}

#[tokio::test]
async fn the_last_outcome_is_delivered_when_no_retries_are_left() {
    let (pool, asked) = (pool_of(1), Asked::default());
    let task = pool.task(act, vec![Fail(1), Fail(2), Fail(3)]).retries(2);
    assert_eq!(in_time(task.retry_if(asked.saying(true)).run()).await.unwrap(), Err(3));
    assert_eq!(asked.words(), ["error 1", "error 2"], "nobody is asked when it does not matter");
    let task = pool.task(act, vec![Panic]).retries(1).retry_if(is_failure);
    let error = in_time(task.run()).await.unwrap_err();
    assert_eq!((error.is_panic(), error.attempts()), (true, 2));
}

#[tokio::test]
async fn the_condition_alone_decides() {
    let (pool, asked) = (pool_of(1), Asked::default());
    for (deed, limit) in [(Die, HOUR), (Panic, HOUR), (Loop, Duration::from_millis(30))] {
        let task = pool.task(act, vec![deed]).retries(5).timeout(limit);
        let error = in_time(task.retry_if(asked.saying(false)).run()).await.unwrap_err();
        assert_eq!(error.attempts(), 1);
    }
    assert_eq!(asked.words(), ["worker_death at 1", "panic at 1", "timeout at 1"]);
    // Without one a death and a timeout are repeated, and nothing else.
    let task = pool.task(act, vec![Die, Fail(1), Return(1)]).retries(5);
    assert_eq!(in_time(task.run()).await.unwrap(), Err(1));
    let error = in_time(pool.task(act, vec![Panic, Return(1)]).retries(5).run()).await.unwrap_err();
    assert!(error.is_panic());
}

#[tokio::test]
async fn a_timeout_may_lead_to_another_attempt() {
    let pool = pool_of(1);
    // The attempt that returns may be too late on a busy machine, as well.
    let task = pool.task(act, vec![Loop, Return(1)]).retries(20).timeout(Duration::from_millis(50));
    let task = task.retry_if(|outcome| outcome.is_err_and(TaskError::is_timeout));
    assert_eq!(in_time(task.run()).await.unwrap(), Ok(Word(1)));
}

#[tokio::test]
async fn nobody_is_asked_about_what_no_attempt_can_mend() {
    let (pool, asked) = (pool_of(1), Asked::default());
    let task = |deed| pool.task(act, vec![deed, Return(1)]).retries(5);
    let error = in_time(task(Unspeakable).retry_if(asked.saying(true)).run()).await.unwrap_err();
    assert_eq!((error.is_codec(), error.attempts()), (true, 1), "{error}");
    let late = task(Loop).deadline(Duration::from_millis(30)).retry_if(asked.saying(true)).run();
    let error = in_time(late).await.unwrap_err();
    assert_eq!((error.is_deadline(), error.attempts()), (true, 1), "{error}");
    let handle = task(Loop).retry_if(asked.saying(true)).submit().await.unwrap();
    assert_eq!(in_time(handle.started()).await, TaskStatus::Running);
    handle.abort();
    let error = in_time(handle).await.unwrap_err();
    assert_eq!((error.is_cancelled(), error.attempts()), (true, 1), "{error}");
    assert!(asked.words().is_empty(), "{:?}", asked.words());
}

/// It cannot be read where the pool is.
#[derive(Debug, Serialize)]
struct OneWay;

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("there is no way back"))
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_decoded_is_not_asked_about() {
    fn go(path: String) -> OneWay {
        note_attempt(path);
        OneWay
    }
    procpool::register!(go);
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(go, journal.path()).retries(3).retry_if(|_| true);
    assert!(in_time(task.run()).await.unwrap_err().is_codec());
    assert_eq!(journal.numbers(), [1]);
}

#[tokio::test]
async fn a_condition_that_panics_has_the_outcome_delivered() {
    let pool = pool_of(1);
    let condition = |outcome: Result<&Acted, &TaskError>| -> bool { panic!("{outcome:?}") };
    let returned = pool.task(act, vec![Fail(7), Fail(8)]).retries(3).retry_if(condition).run();
    assert_eq!(in_time(returned).await.unwrap(), Err(7));
    let died = pool.task(act, vec![Die]).retries(3).retry_if(condition).run();
    let error = in_time(died).await.unwrap_err();
    assert_eq!((error.is_worker_death(), error.attempts()), (true, 1));
    assert_eq!(in_time(pool.run(act, vec![Return(1)])).await.unwrap(), Ok(Word(1)));
}

static DECODED: AtomicU32 = AtomicU32::new(0);

/// Counts how often it is decoded.
#[derive(Debug, Serialize)]
struct Counted(Vec<u8>);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        Vec::deserialize(from).map(Self)
    }
}

fn counted(size: usize) -> Counted {
    Counted(vec![u8::try_from(current().attempt()).unwrap(); size])
}

/// So many bytes that say which attempt has made them.
fn fill(size: usize) -> Vec<u8> {
    vec![u8::try_from(current().attempt()).unwrap(); size]
}

procpool::register!(counted, fill);

#[tokio::test]
async fn a_result_is_decoded_once_and_a_large_one_on_another_thread() {
    let pool = pool_of(1);
    let here = std::thread::current().id();
    for (size, is_elsewhere) in [(10, false), (LARGE, true)] {
        let threads = Arc::new(Mutex::new(Vec::<ThreadId>::new()));
        let seen = Arc::clone(&threads);
        let before = DECODED.load(Ordering::SeqCst);
        let task = pool.task(counted, size).retries(5).retry_if(move |result| {
            seen.lock().unwrap().push(std::thread::current().id());
            result.is_ok_and(|counted| counted.0[0] < 3)
        });
        assert_eq!(in_time(task.run()).await.unwrap().0, vec![3; size]);
        assert_eq!(DECODED.load(Ordering::SeqCst) - before, 3, "once for each attempt");
        let threads = threads.lock().unwrap();
        assert_eq!(threads.len(), 3);
        assert!(threads.iter().all(|thread| (*thread != here) == is_elsewhere));
    }
}

#[tokio::test]
async fn a_task_whose_handle_was_dropped_is_begun_again_all_the_same() {
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(note_attempt, journal.path()).retries(2).retry_if(|_| true);
    drop(task.submit().await.unwrap());
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [1, 2, 3], "nor does a shutdown change that");
}

#[tokio::test]
async fn nothing_is_begun_again_once_a_run_was_dropped() {
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(note_attempt, journal.path()).retries(9).retry_if(|_| true);
    let mut run = Box::pin(task.backoff(Backoff::fixed(HOUR)).run());
    let waits =
        wait_until("it waits", || (pool.stats().waiting, journal.numbers().len()) == (1, 1));
    tokio::select! {
        _ = &mut run => panic!("it should wait"),
        () = waits => {}
    }
    drop(run);
    wait_until("it is cancelled", || pool.stats().cancelled == 1).await;
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [1]);
}

#[tokio::test]
async fn a_task_in_back_off_can_be_cancelled_and_holds_up_nobody() {
    let (pool, journal) = (pool_of(1), Journal::new());
    let task = pool.task(note_attempt, journal.path()).retries(9).retry_if(|_| true);
    let handle = task.backoff(Backoff::exponential(HOUR)).submit().await.unwrap();
    wait_until("it waits", || (pool.stats().waiting, journal.numbers().len()) == (1, 1)).await;
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(handle.status(), TaskStatus::Pending);
    assert!(handle.cancel());
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_deadline_ends_a_back_off() {
    let pool = pool_of(1);
    let task = pool.task(act, vec![Fail(1)]).retries(9).retry_if(is_failure);
    let task = task.backoff(Backoff::fixed(HOUR)).deadline(Duration::from_millis(100));
    let error = in_time(task.run()).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::Deadline);
}

#[tokio::test]
async fn a_back_off_is_at_least_as_long_as_it_says() {
    let (pool, wait) = (pool_of(1), Duration::from_millis(40));
    for backoff in [Backoff::fixed(wait), Backoff::exponential(wait / 2).max_delay(wait)] {
        let began = std::time::Instant::now();
        let task = pool.task(act, vec![Fail(1), Die, Return(1)]).retries(9).backoff(backoff);
        assert_eq!(in_time(task.retry_if(is_failure).run()).await.unwrap(), Ok(Word(1)));
        assert!(began.elapsed() >= wait + wait / 2, "{:?}", began.elapsed());
    }
    // Of those that are not conditional, too; and it can be taken back.
    let task = || pool.task(act, vec![Die, Return(1)]).retries(1).backoff(Backoff::fixed(HOUR));
    assert_eq!(in_time(task().backoff(None).run()).await.unwrap(), Ok(Word(1)));
    let deaths = pool.stats().worker_deaths;
    let handle = task().submit().await.unwrap();
    wait_until("it waits", || {
        let stats = pool.stats();
        (stats.worker_deaths, stats.waiting) == (deaths + 1, 1)
    })
    .await;
    in_time(pool.run(pid, ())).await.unwrap(); // so a worker is up, and has passed it by
    assert!(handle.cancel());
}

#[tokio::test]
async fn a_shutdown_that_cancels_begins_nothing_again() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let task = pool.task(hold, gate.port()).retries(9).retry_if(|_| true);
    let handle = task.submit().await.unwrap();
    let held = gate.arrival().await;
    let shutdown = pool.shutdown_with(Shutdown::new().cancel_futures(true));
    drop(held);
    assert!(in_time(handle).await.is_ok(), "its result is delivered");
    in_time(shutdown).await;
}

#[tokio::test]
async fn what_runs_after_it_does_not_wait_for_a_decision() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let (sender, receiver) = std::sync::mpsc::channel::<bool>();
    let receiver = Mutex::new(receiver);
    let large = pool.task(fill, LARGE).retries(1).retry_if(move |_| {
        receiver.lock().unwrap().recv().unwrap() // it may block there
    });
    let mut large = large.submit().await.unwrap();
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!((large.status(), pool.stats().running), (TaskStatus::Running, 1));
    assert!(!large.cancel(), "it is too late for that");
    assert!((&mut large).now_or_never().is_none());
    let held = {
        let handle = pool.submit(hold, gate.port()).await.unwrap();
        (gate.arrival().await, handle)
    };
    large.abort();
    sender.send(true).unwrap();
    assert_eq!(in_time(large).await.unwrap()[0], 1, "it was aborted, and has a result");
    drop(held);
}

#[tokio::test]
async fn attempts_that_have_results_emit_into_one_stream_and_are_events() {
    fn emit_attempt() -> u32 {
        current().emit(current().attempt()).unwrap();
        current().attempt()
    }
    procpool::register!(emit_attempt);
    let pool = pool_of(1);
    let events = pool.events();
    let task = pool.task(emit_attempt, ()).retries(9).emit_capacity(1);
    let handle = task.retry_if(|result| result.is_ok_and(|n| *n < 3)).submit().await.unwrap();
    let emitted: Vec<_> = in_time(handle.emitted::<u32>().collect()).await;
    assert_eq!(emitted.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), [1, 2, 3]);
    assert_eq!(in_time(handle).await.unwrap(), 3);
    in_time(pool.shutdown()).await;
    let events: Vec<PoolEvent> = in_time(events.collect()).await;
    let told = events.iter().filter_map(|event| match event {
        PoolEvent::TaskStarted { attempt, .. } => Some(format!("started {attempt}")),
        PoolEvent::TaskRetried { attempt, .. } => Some(format!("retried {attempt}")),
        PoolEvent::TaskFinished { outcome, .. } => Some(outcome.to_string()),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told, ["started 1", "retried 2", "started 2", "retried 3", "started 3", "returned"]);
}

#[tokio::test]
async fn a_worker_that_is_replaced_in_time_is_a_failure_like_others() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let task = pool.task(hold, gate.port()).retries(1);
    let handle = task.retry_if(|outcome| outcome.is_err_and(TaskError::is_cancelled)).submit();
    let handle = handle.await.unwrap();
    let held = gate.arrival().await;
    in_time(pool.recycle_within(Duration::ZERO)).await;
    drop(held);
    drop(gate.arrival().await);
    in_time(handle).await.unwrap();
}

#[test]
fn the_runtime_may_end_while_nothing_is_decided() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool: ProcessPoolExecutor = runtime.block_on(async { pool_of(1) });
    let journal = Journal::new();
    let task = pool.task(note_attempt, journal.path()).retries(1).retry_if(|_| true);
    let handle = runtime.block_on(task.backoff(Backoff::fixed(HOUR)).submit()).unwrap();
    runtime.block_on(wait_until("it has run", || pool.stats().run_time.count() == 1));
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(other.block_on(in_time(handle)).unwrap_err().is_runtime_gone());
}
