//! Items of maps that are run again, as their users decide.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use procpool::{Backoff, ProcessPoolExecutor, TaskError, current};
use serde::{Deserialize, Serialize};

use crate::common::{Gate, hold, in_time, pid, wait_until};
use crate::journal::{Journal, note_line};

const HOUR: Duration = Duration::from_hours(1);

type Tried = Result<u32, u32>;

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Some numbers fail at their first attempt, panic, or kill their workers; each has its number as
/// result in the end.
fn try_number(number: u32, path: String) -> Tried {
    note_line(&path, &number.to_string());
    match number % 7 {
        _ if current().attempt() > 1 => Ok(number),
        3 => Err(number),
        5 if number % 35 == 5 => panic!("{number} at its first attempt"),
        6 if number % 70 == 6 => std::process::abort(),
        _ => Ok(number),
    }
}

fn fail(number: u32) -> Tried {
    Err(number * 10 + current().attempt())
}

procpool::register!(try_number, fail);

fn is_failure(outcome: Result<&Tried, &TaskError>) -> bool {
    !matches!(outcome, Ok(Ok(_)))
}

fn fails_at_first(number: u32) -> bool {
    number % 7 == 3 || number % 35 == 5 || number % 70 == 6
}

#[tokio::test]
async fn an_item_that_waits_to_be_begun_again_counts_what_was_begun() {
    let pool = pool_of(1);
    let map = pool.map(fail, 0..1).retries(40).retry_if(is_failure);
    let mut map = map.backoff(Backoff::exponential(Duration::from_millis(1)));
    tokio::select! {
        _ = map.next() => panic!("it should wait"),
        () = wait_until("it was begun thrice, and waits", || {
            let stats = pool.stats();
            stats.run_time.count() >= 3 && (stats.waiting, stats.running) == (1, 0)
        }) => {}
    }
    in_time(pool.abort("enough")).await;
    let error = in_time(map.next()).await.unwrap().unwrap_err();
    assert!(error.attempts() >= 3, "{error:?}");
}

#[tokio::test]
async fn each_item_is_run_again_alone_whatever_went_wrong() {
    let count = 140;
    for (workers, chunk) in [(1, Some(10)), (3, Some(7)), (3, None), (2, Some(1))] {
        let (pool, journal) = (pool_of(workers), Journal::new());
        let inputs = (0..count).map(|number| (number, journal.path()));
        let map = pool.map(try_number, inputs).chunksize(chunk).retries(1).retry_if(is_failure);
        let results: Vec<_> = in_time(map.collect()).await;
        let results: Vec<Tried> = results.into_iter().map(Result::unwrap).collect();
        assert!(results.into_iter().eq((0..count).map(Ok)), "in their order");
        let runs = (0..count).map(|number| (number, 1 + u32::from(fails_at_first(number))));
        assert_eq!(journal.counts(), runs.collect::<BTreeMap<_, _>>());
        let again = (0..count).filter(|number| fails_at_first(*number)).count();
        assert_eq!(pool.stats().retries, again as u64);
    }
}

#[tokio::test]
async fn results_that_come_as_they_come_keep_their_numbers() {
    let (pool, journal) = (pool_of(2), Journal::new());
    let inputs = (0..140).map(|number| (number, journal.path()));
    let map = pool.map(try_number, inputs).retries(1).retry_if(is_failure);
    let results: Vec<_> = in_time(map.unordered().with_index().collect()).await;
    assert_eq!(results.len(), 140);
    for (index, result) in results {
        assert_eq!(result.unwrap(), Ok(u32::try_from(index).unwrap()));
    }
}

#[tokio::test]
async fn the_condition_alone_decides_and_the_last_outcome_counts() {
    let pool = pool_of(2);
    let map = pool.map(fail, 0..50).retry_if(is_failure).retries(2);
    let results: Vec<_> = in_time(map.collect()).await;
    let results: Vec<Tried> = results.into_iter().map(Result::unwrap).collect();
    assert!(results.into_iter().eq((0..50).map(|number| Err(number * 10 + 3))));
    assert_eq!(pool.stats().retries, 100);

    let journal = Journal::new();
    let inputs = (0..14).map(|number| (number, journal.path()));
    let map = pool.map(try_number, inputs).retries(5).retry_if(|_| false);
    let failed = map.filter(|result| std::future::ready(result.is_err()));
    let errors: Vec<_> = in_time(failed.map(Result::unwrap_err).collect()).await;
    let is_death = |error: &&TaskError| error.is_worker_death();
    assert_eq!((errors.len(), errors.iter().filter(is_death).count()), (2, 1));
    assert!(journal.counts().values().all(|runs| *runs == 1));
}

#[tokio::test]
async fn an_error_tells_its_attempt() {
    fn panic_always(number: u32) -> Tried {
        panic!("{number}")
    }
    procpool::register!(panic_always);
    let map = pool_of(1).map(panic_always, 0..3).retries(2).retry_if(|r| r.is_err());
    let errors: Vec<_> = in_time(map.map(Result::unwrap_err).collect()).await;
    assert!(errors.iter().all(|error| error.is_panic() && error.attempts() == 3), "{errors:?}");
}

/// An item is run again although another one of its chunk takes for ever.
#[tokio::test]
async fn an_item_does_not_wait_for_the_others_of_its_chunk() {
    fn fail_or_hold(number: u32, port: u16) -> Tried {
        match (number, current().attempt()) {
            (0, 1) => Err(0),
            (1, _) => Ok(hold(port)),
            _ => Ok(number),
        }
    }
    procpool::register!(fail_or_hold);
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let inputs = (0..2).map(|number| (number, gate.port()));
    let map = pool.map(fail_or_hold, inputs).chunksize(2).retries(1).retry_if(is_failure);
    let mut map = map.unordered().with_index();
    let (first, held) = in_time(futures::future::join(map.next(), gate.arrival())).await;
    let (index, result) = first.unwrap();
    assert_eq!((index, result.unwrap()), (0, Ok(0)));
    drop(held);
    assert_eq!(in_time(map.next()).await.unwrap().0, 1);
    assert!(in_time(map.next()).await.is_none());
}

#[tokio::test]
async fn a_condition_that_panics_has_outcomes_delivered() {
    let condition = |outcome: Result<&Tried, &TaskError>| -> bool { panic!("{outcome:?}") };
    let map = pool_of(1).map(fail, 0..3).retries(5).retry_if(condition);
    let results: Vec<_> = in_time(map.map(Result::unwrap).collect()).await;
    assert_eq!(results, [Err(1), Err(11), Err(21)]);
}

static DECODED: AtomicU32 = AtomicU32::new(0);

/// Counts how often it is decoded.
#[derive(Debug, PartialEq, Serialize)]
struct Seen(u32);

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        u32::deserialize(from).map(Self)
    }
}

#[tokio::test]
async fn each_result_is_decoded_once() {
    fn see(number: u32) -> Seen {
        Seen(number * 10 + current().attempt())
    }
    procpool::register!(see);
    let map = pool_of(2).map(see, 0..100).retries(3).retry_if(|r| r.is_ok_and(|s| s.0 % 10 < 2));
    let results: Vec<_> = in_time(map.map(Result::unwrap).collect()).await;
    assert!(results.into_iter().eq((0..100).map(|number| Seen(number * 10 + 2))));
    assert_eq!(DECODED.load(Ordering::SeqCst), 200);
}

#[tokio::test]
async fn an_item_in_back_off_is_cancelled_with_its_stream() {
    let pool = pool_of(1);
    let map = pool.map(fail, 0..3).retries(5).retry_if(is_failure).backoff(Backoff::fixed(HOUR));
    let mut map = map;
    tokio::select! {
        _ = map.next() => panic!("it should wait"),
        () = wait_until("all wait", || {
            let stats = pool.stats();
            (stats.run_time.count(), stats.waiting, stats.running) == (3, 3, 0)
        }) => {}
    }
    drop(map);
    wait_until("they are cancelled", || pool.stats().waiting == 0).await;
    assert_eq!(pool.stats().cancelled, 3);
}

#[tokio::test]
async fn a_limit_of_all_ends_back_offs() {
    let map = pool_of(1).map(fail, 0..3).retries(5).retry_if(is_failure);
    let map = map.backoff(Backoff::fixed(HOUR)).within(Duration::from_millis(200));
    let results: Vec<_> = in_time(map.collect()).await;
    assert_eq!(results.len(), 3);
    assert!(results.into_iter().all(|result| result.unwrap_err().is_deadline()));
}

#[tokio::test]
async fn a_pool_that_was_shut_down_runs_no_item_again() {
    let pool = pool_of(1);
    let mut map = pool.map(fail, 0..3).retries(5).retry_if(is_failure);
    tokio::select! {
        biased;
        _ = map.next() => panic!("it is not polled again"),
        () = std::future::ready(()) => {}
    }
    in_time(pool.shutdown()).await;
    let results: Vec<_> = in_time(map.map(Result::unwrap).collect()).await;
    assert_eq!(results, [Err(1), Err(11), Err(21)]);
}

#[tokio::test]
async fn a_back_off_is_there_without_a_condition_too() {
    fn die_at_first(number: u32) -> u32 {
        if number == 1 && current().attempt() == 1 {
            std::process::abort();
        }
        number
    }
    procpool::register!(die_at_first);
    let pool = pool_of(1);
    let map = pool.map(die_at_first, [1]).retries(1).backoff(Backoff::fixed(HOUR));
    let mut results = Box::pin(map.collect::<Vec<_>>());
    let is_passed_by = async {
        wait_until("it has died", || {
            let stats = pool.stats();
            (stats.worker_deaths, stats.waiting) == (1, 1)
        })
        .await;
        in_time(pool.run(pid, ())).await.unwrap();
    };
    tokio::select! {
        biased;
        _ = &mut results => panic!("it should wait"),
        () = is_passed_by => {}
    }
    drop(results);
    // It is begun again when that is over, and at once without it.
    let backoff = Backoff::fixed(Duration::from_millis(50));
    let map = pool.map(die_at_first, 0..3).retries(1).backoff(backoff);
    assert_eq!(in_time(map.map(Result::unwrap).collect::<Vec<_>>()).await, [0, 1, 2]);
    let map = pool.map(die_at_first, 0..3).retries(1).backoff(Backoff::fixed(HOUR)).backoff(None);
    assert_eq!(in_time(map.map(Result::unwrap).collect::<Vec<_>>()).await, [0, 1, 2]);
}
