//! Handing tasks to a pool, and what comes back.

#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use procpool::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::common::{Gate, hold, in_time, pid};

fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

procpool::register!(power);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[tokio::test]
async fn a_task_returns_its_result() {
    // scenario 1
    let pool = pool_of(1);
    assert_eq!(in_time(pool.run(power, (2, 8))).await.unwrap(), 256);
}

#[tokio::test]
async fn a_handle_of_a_submitted_task_yields_its_result() {
    let pool = pool_of(1);
    let handle = pool.submit(power, (3, 2)).await.unwrap();
    assert_eq!(in_time(handle).await.unwrap(), 9);
    let handle = pool.try_submit(power, (3, 3)).unwrap();
    assert_eq!(in_time(handle).await.unwrap(), 27);
}

// ----- arguments of all kinds -----

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Rectangle { width: i128, height: u128 },
    Group(Vec<Shape>),
}

type Table = BTreeMap<String, Option<(char, Shape)>>;

fn same_table(table: Table) -> Table {
    table
}

fn same_numbers(numbers: (i128, u128)) -> (i128, u128) {
    numbers
}

fn same_bytes(bytes: ByteBuf) -> ByteBuf {
    bytes
}

fn same_text(text: Cow<'static, str>) -> Cow<'static, str> {
    text
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

fn same_units(unit: (), marker: Unit) -> ((), Unit) {
    (unit, marker)
}

#[expect(clippy::option_option, reason = "an argument may be of any serde type")]
fn same_option(option: Option<Option<u8>>) -> Option<Option<u8>> {
    option
}

procpool::register!(same_table, same_bytes, same_text, same_units, same_option, same_numbers);

#[tokio::test]
async fn enums_maps_and_options_come_back_as_they_were() {
    // scenario 2
    let shapes = vec![Shape::Nothing, Shape::Circle(-0.5), Shape::Group(Vec::new())];
    let rectangle = Shape::Rectangle { width: i128::MIN, height: u128::MAX };
    let table = Table::from([
        ("naïve \0 key".to_owned(), None),
        (String::new(), Some(('𝄞', Shape::Group(shapes)))),
        ("rectangle".to_owned(), Some(('r', rectangle))),
    ]);
    let pool = pool_of(1);
    assert_eq!(in_time(pool.run(same_table, table.clone())).await.unwrap(), table);
    for option in [None, Some(None), Some(Some(7))] {
        assert_eq!(in_time(pool.run(same_option, option)).await.unwrap(), option);
    }
}

#[tokio::test]
async fn units_numbers_of_128_bits_and_borrowed_texts_come_back_as_they_were() {
    // scenario 2
    let pool = pool_of(1);
    assert_eq!(in_time(pool.run(same_units, ((), Unit))).await.unwrap(), ((), Unit));
    let numbers = (i128::MIN, u128::MAX);
    assert_eq!(in_time(pool.run(same_numbers, numbers)).await.unwrap(), numbers);
    let text = Cow::Borrowed("borrowed here, owned there");
    assert_eq!(in_time(pool.run(same_text, text.clone())).await.unwrap(), text);
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_were() {
    // scenario 2
    let bytes = ByteBuf::from((0..=255).rev().collect::<Vec<u8>>());
    let pool = pool_of(1);
    assert_eq!(in_time(pool.run(same_bytes, bytes.clone())).await.unwrap(), bytes);
}

// ----- functions that are not registered -----

fn stranger() {}

#[tokio::test]
async fn an_unregistered_function_is_refused_at_once_and_the_pool_is_fine() {
    // scenario 3
    let pool = pool_of(1);
    let error = pool.try_submit(stranger, ()).unwrap_err();
    assert!(error.is_unregistered(), "{error}");
    let text = error.to_string();
    assert!(text.contains("`pool::submit::stranger` is not registered"), "{text}");
    assert!(text.contains("`procpool::register!(crate::submit::stranger);`"), "{text}");
    assert!(in_time(pool.submit(stranger, ())).await.unwrap_err().is_unregistered());
    assert!(in_time(pool.run(stranger, ())).await.unwrap_err().is_unregistered());
    assert_eq!((pool.stats().submitted, pool.stats().worker_starts), (0, 0));
    assert_eq!(in_time(pool.run(power, (2, 3))).await.unwrap(), 8);
}

#[tokio::test]
async fn a_closure_that_is_not_registered_is_told_how_to_be() {
    let error = in_time(pool_of(1).run(|x: u64| x + 1, 1)).await.unwrap_err().to_string();
    assert!(
        error.contains("the closure `pool::submit::")
            && error.contains("pass what it captures as arguments")
            && error.contains("task!(|x: u64, step: u64| -> u64 { x + step }), (41, step))`"),
        "{error}"
    );
}

// ----- how many workers -----

#[tokio::test]
async fn many_blocked_tasks_take_exactly_the_workers_there_may_be() {
    // scenario 15
    const WORKERS: usize = 3;
    let pool = pool_of(WORKERS);
    let gate = Gate::new().await;
    let mut handles = Vec::new();
    for _ in 0..15 * WORKERS {
        handles.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..WORKERS {
        held.push(gate.arrival().await);
    }
    assert_eq!(pool.stats().running, WORKERS);
    assert_eq!(pool.workers().len(), WORKERS);
    drop(held);
    for _ in 0..14 * WORKERS {
        drop(gate.arrival().await);
    }
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    assert_eq!(pool.stats().worker_starts, WORKERS as u64);
}

#[tokio::test]
async fn tasks_one_after_the_other_share_one_worker() {
    // scenario 16
    let pool = pool_of(4);
    assert_eq!(pool.stats().worker_starts, 0);
    let first = in_time(pool.run(pid, ())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first);
    }
    assert_eq!(pool.stats().worker_starts, 1);
}

// ----- what a worker keeps of a task -----

static ALIVE: AtomicU32 = AtomicU32::new(0);

/// Counts how many of its kind there are in this process.
struct Counted;

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Ok(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn alive_during(_first: Counted, _second: Counted) -> u32 {
    ALIVE.load(Ordering::Relaxed)
}

async fn alive_during_async(_counted: Counted) -> u32 {
    ALIVE.load(Ordering::Relaxed)
}

fn panic_with(_counted: Counted) {
    panic!("on purpose");
}

fn alive() -> u32 {
    ALIVE.load(Ordering::Relaxed)
}

procpool::register!(alive_during, alive_during_async, panic_with, alive);

#[tokio::test]
async fn arguments_are_dropped_before_the_next_task_begins() {
    // scenario 17
    ALIVE.store(1_000, Ordering::Relaxed); // this process's own ones are not the worker's
    let pool = pool_of(1);
    assert_eq!(in_time(pool.run(alive_during, (Counted, Counted))).await.unwrap(), 2);
    assert_eq!(in_time(pool.run(alive, ())).await.unwrap(), 0);
    assert_eq!(in_time(pool.run(alive_during_async, Counted)).await.unwrap(), 1);
    assert_eq!(in_time(pool.run(alive, ())).await.unwrap(), 0);
    assert!(in_time(pool.run(panic_with, Counted)).await.unwrap_err().is_panic());
    assert_eq!(in_time(pool.run(alive, ())).await.unwrap(), 0);
}

// ----- handles in many hands -----

#[test]
fn ten_threads_and_two_runtimes_share_a_pool() {
    // scenario 20
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (home, other) = (runtime().unwrap(), runtime().unwrap());
    let pool = home.block_on(async { pool_of(2) });
    std::thread::scope(|scope| {
        for thread in 0..10_u64 {
            let (pool, runtime) = (&pool, if thread % 2 == 0 { &home } else { &other });
            scope.spawn(move || {
                runtime.block_on(async {
                    for exponent in 0..20 {
                        let result = in_time(pool.run(power, (thread, exponent))).await;
                        assert_eq!(result.unwrap(), thread.pow(exponent));
                    }
                });
            });
        }
    });
    assert_eq!(pool.stats().completed, 200);
    home.block_on(in_time(pool.shutdown()));
}

#[test]
fn a_pool_is_used_without_a_runtime_on_another_thread() {
    // `try_submit` and a done callback need no runtime
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pool = runtime.block_on(async { pool_of(1) });
    let (sender, receiver) = std::sync::mpsc::channel();
    let handle = pool.try_submit(power, (2, 5)).unwrap();
    handle.add_done_callback(move |result| sender.send(result.unwrap()).unwrap());
    assert_eq!(receiver.recv_timeout(crate::common::LIMIT).unwrap(), 32);
}

// ----- tasks with processes of their own -----

fn shell(script: String) -> String {
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn nested(exponent: u32) -> (u64, u32) {
    let pool = pool_of(1);
    let result = pool.run(power, (2, exponent)).await.unwrap();
    let pid = pool.run(pid, ()).await.unwrap();
    pool.shutdown().await;
    (result, pid)
}

fn nested_in_sync_task() -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { pool_of(2).run(power, (3, 3)).await.unwrap() })
}

procpool::register!(shell, nested, nested_in_sync_task);

#[tokio::test]
async fn a_task_may_spawn_a_subprocess() {
    // scenario 22
    let pool = pool_of(1);
    let text = in_time(pool.run(shell, "echo out; echo err >&2".to_owned())).await.unwrap();
    assert_eq!(text, "out\n");
}

#[tokio::test]
async fn a_task_may_build_a_pool_of_its_own() {
    // scenario 22
    let pool = pool_of(1);
    let (result, inner) = in_time(pool.run(nested, 10)).await.unwrap();
    let outer = in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(result, 1024);
    assert!(inner != outer && inner != std::process::id());
    assert!(crate::common::process_gone(inner));
    assert_eq!(in_time(pool.run(nested_in_sync_task, ())).await.unwrap(), 27);
}
