//! One function over many inputs.

use std::panic::AssertUnwindSafe;

use futures::{FutureExt, StreamExt};
use procpool::{ProcessPoolExecutor, TaskError};
use serde::{Deserialize, Deserializer, Serialize};

use crate::common::{Gate, hold, in_time, wait_until};

fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

fn checked(n: u32) -> u32 {
    assert_ne!(n % 10, 7, "sevens fail");
    n
}

/// Does not like to be decoded if it is a three.
#[derive(Debug, Serialize)]
struct Fussy(u32);

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(deserializer)?;
        assert_ne!(n, 3, "threes are not decoded");
        Ok(Self(n))
    }
}

fn fussy(n: u32) -> Fussy {
    Fussy(n)
}

fn say_timed_out(n: u32) -> Result<u32, String> {
    if n == 1 { Err("timed out".to_owned()) } else { Ok(n) }
}

procpool::register!(power, checked, fussy, say_timed_out, hold);

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(2).build().unwrap()
}

async fn collect<T>(stream: impl futures::Stream<Item = Result<T, TaskError>>) -> Vec<T> {
    in_time(stream.map(Result::unwrap).collect()).await
}

#[tokio::test]
async fn results_are_those_of_a_serial_map_in_the_order_of_the_inputs() {
    // scenario 4
    let inputs = || (0..2_000).zip([2, 3, 1].into_iter().cycle());
    let serial: Vec<u64> = inputs().map(|(base, exponent)| power(base, exponent)).collect();
    assert_eq!(collect(pool().map(power, inputs())).await, serial);
}

#[tokio::test]
async fn no_input_is_an_empty_stream_and_starts_no_worker() {
    // scenario 5
    let pool = pool();
    assert_eq!(collect(pool.map(power, [])).await, [0_u64; 0]);
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_starts, 0);
}

#[tokio::test]
async fn an_item_that_fails_is_an_error_in_its_place() {
    // scenario 7
    let results: Vec<_> = in_time(pool().map(checked, 0..30).collect()).await;
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(error) => assert!(error.is_panic() && n % 10 == 7, "{n}: {error}"),
        }
    }
}

#[tokio::test]
async fn an_error_that_a_task_returns_is_an_ordinary_item() {
    // scenario 8
    let results = collect(pool().map(say_timed_out, 0..3)).await;
    assert_eq!(results, [Ok(0), Err("timed out".to_owned()), Ok(2)]);
}

#[tokio::test]
async fn dropping_the_stream_cancels_what_has_not_begun() {
    // scenario 10
    let (pool, gate) = (pool(), Gate::new().await);
    let mut stream = pool.map(hold, vec![gate.port(); 100]);
    assert!(stream.next().now_or_never().is_none());
    let held = [gate.arrival().await, gate.arrival().await];
    drop(stream);
    wait_until("the rest is cancelled", || pool.stats().cancelled == 98).await;
    drop(held);
    assert_eq!(in_time(pool.run(power, (2, 3))).await.unwrap(), 8);
}

#[tokio::test]
async fn endless_inputs_are_not_drained() {
    // scenario 12
    let mut taken = 0_u64;
    let inputs = std::iter::repeat_with(|| {
        taken += 1;
        (taken, 1)
    });
    assert_eq!(collect(pool().map(power, inputs).take(3)).await, [1, 2, 3]);
    assert!(taken < 1_000, "{taken} inputs were taken");
}

#[tokio::test]
async fn a_panic_of_the_inputs_reaches_the_consumer() {
    // scenario 14
    let pool = pool();
    let inputs = (0..10).inspect(|n| assert!(*n < 5, "no more inputs")).map(|n| (n, 1));
    let all = AssertUnwindSafe(pool.map(power, inputs).collect::<Vec<_>>());
    assert!(in_time(all.catch_unwind()).await.is_err());
    assert_eq!(in_time(pool.run(power, (2, 3))).await.unwrap(), 8);
}

#[tokio::test]
async fn a_result_whose_decoding_panics_costs_its_own_item_only() {
    let pool = pool();
    let mut results = pool.map(fussy, 0..5).chunksize(5);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let next = AssertUnwindSafe(in_time(results.next())).catch_unwind().await;
        seen.push(next.ok().map(|item| item.unwrap().unwrap().0));
    }
    assert_eq!(seen, [Some(0), Some(1), Some(2), None, Some(4)]);
    assert!(in_time(results.next()).await.is_none());
}

#[tokio::test]
async fn a_pool_that_is_shut_down_refuses_items() {
    let pool = pool();
    in_time(pool.shutdown()).await;
    let results: Vec<_> = in_time(pool.map(power, [(2, 2)]).collect()).await;
    assert!(results[0].as_ref().unwrap_err().is_shut_down());
}
