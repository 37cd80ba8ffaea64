//! Which functions can be tasks, and how they are named.

#![forbid(unsafe_code)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    clippy::many_single_char_names,
    reason = "tasks own their arguments, and may have up to eight"
)]

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use procpool::{ProcessPoolExecutor, RunError};
use serde::{Deserialize, Serialize};

use crate::common::in_time;

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().unwrap()
}

// ----- parameters -----

fn f0() -> u64 {
    0
}

fn f1(a: u64) -> u64 {
    a
}

fn f2(a: u64, b: u8) -> u64 {
    10 * f1(a) + u64::from(b)
}

fn f3(a: u64, b: u8, c: u16) -> u64 {
    10 * f2(a, b) + u64::from(c)
}

fn f4(a: u64, b: u8, c: u16, d: u32) -> u64 {
    10 * f3(a, b, c) + u64::from(d)
}

fn f5(a: u64, b: u8, c: u16, d: u32, e: String) -> u64 {
    10 * f4(a, b, c, d) + e.len() as u64
}

fn f6(a: u64, b: u8, c: u16, d: u32, e: String, f: Vec<u8>) -> u64 {
    10 * f5(a, b, c, d, e) + f.len() as u64
}

fn f7(a: u64, b: u8, c: u16, d: u32, e: String, f: Vec<u8>, g: Option<u64>) -> u64 {
    10 * f6(a, b, c, d, e, f) + g.unwrap_or(9)
}

fn f8(a: u64, b: u8, c: u16, d: u32, e: String, f: Vec<u8>, g: Option<u64>, h: bool) -> u64 {
    10 * f7(a, b, c, d, e, f, g) + u64::from(h)
}

procpool::register!(f0, f1, f2, f3, f4, f5, f6, f7, f8);

#[tokio::test]
async fn functions_of_zero_to_eight_parameters() {
    let pool = pool();
    let (e, f) = ("eeeee".to_owned(), vec![0; 6]);
    assert_eq!(in_time(pool.run(f0, ())).await.unwrap(), 0);
    assert_eq!(in_time(pool.run(f1, 1)).await.unwrap(), 1);
    assert_eq!(in_time(pool.run(f2, (1, 2))).await.unwrap(), 12);
    assert_eq!(in_time(pool.run(f3, (1, 2, 3))).await.unwrap(), 123);
    assert_eq!(in_time(pool.run(f4, (1, 2, 3, 4))).await.unwrap(), 1_234);
    let args = (1, 2, 3, 4, e.clone());
    assert_eq!(in_time(pool.run(f5, args)).await.unwrap(), 12_345);
    let args = (1, 2, 3, 4, e.clone(), f.clone());
    assert_eq!(in_time(pool.run(f6, args)).await.unwrap(), 123_456);
    let args = (1, 2, 3, 4, e.clone(), f.clone(), Some(7));
    assert_eq!(in_time(pool.run(f7, args)).await.unwrap(), 1_234_567);
    let args = (1, 2, 3, 4, e, f, Some(7), true);
    assert_eq!(in_time(pool.run(f8, args)).await.unwrap(), 12_345_671);
}

async fn async0() -> u32 {
    tokio::task::yield_now().await;
    7
}

async fn async8(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
    let rest = tokio::spawn(async move { e + f + g + h });
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    a + b + c + d + rest.await.unwrap()
}

async fn async_fallible(text: String) -> Result<u32, String> {
    text.parse().map_err(|error: std::num::ParseIntError| error.to_string())
}

fn future_of(number: u32) -> impl Future<Output = u32> {
    // What is called is inside of the runtime, too.
    let task = tokio::spawn(async move { number + 1 });
    async { task.await.unwrap() }
}

procpool::register!(async0, async8, async_fallible, future_of);

#[tokio::test]
async fn async_functions() {
    let pool = pool();
    assert_eq!(in_time(pool.run(async0, ())).await.unwrap(), 7);
    assert_eq!(in_time(pool.run(async8, (1, 2, 3, 4, 5, 6, 7, 8))).await.unwrap(), 36);
    assert_eq!(in_time(pool.run(async_fallible, "12".to_owned())).await.unwrap(), Ok(12));
    assert!(in_time(pool.run(async_fallible, "x".to_owned())).await.unwrap().is_err());
    assert_eq!(in_time(pool.run(future_of, 41)).await.unwrap(), 42);
}

// ----- paths -----

mod outer {
    pub(crate) fn name() -> String {
        "outer".to_owned()
    }

    pub(crate) mod inner {
        fn name() -> String {
            "inner".to_owned()
        }

        // Where a function is private, it is registered and submitted beside it.
        procpool::register!(name, super::name);

        pub(crate) async fn run(pool: &procpool::ProcessPoolExecutor) -> String {
            pool.run(name, ()).await.unwrap()
        }
    }
}

#[tokio::test]
async fn functions_of_one_name_in_different_modules() {
    let pool = pool();
    assert_eq!(in_time(pool.run(outer::name, ())).await.unwrap(), "outer");
    assert_eq!(in_time(outer::inner::run(&pool)).await, "inner");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
    y: i32,
}

impl Point {
    fn diagonal(length: i32) -> Self {
        Self { x: length, y: length }
    }

    fn moved(self, by: i32) -> Self {
        Self { x: self.x + by, ..self }
    }
}

trait Sides {
    fn sides() -> u32;
}

impl Sides for Point {
    fn sides() -> u32 {
        0
    }
}

impl Sides for Option<Vec<u8>> {
    fn sides() -> u32 {
        1
    }
}

procpool::register!(Point::diagonal, Point::moved, <Point as Sides>::sides, i32::wrapping_add);
procpool::register!(<Option<Vec<u8>> as Sides>::sides => named, <Vec<u8>>::into_boxed_slice);

#[tokio::test]
async fn methods_and_associated_functions() {
    let pool = pool();
    let point = in_time(pool.run(Point::diagonal, 3)).await.unwrap();
    assert_eq!(point, Point { x: 3, y: 3 });
    assert_eq!(in_time(pool.run(Point::moved, (point, 2))).await.unwrap(), Point { x: 5, y: 3 });
    assert_eq!(in_time(pool.run(Point::sides, ())).await.unwrap(), 0);
    assert_eq!(in_time(pool.run(i32::wrapping_add, (i32::MAX, 1))).await.unwrap(), i32::MIN);
    assert_eq!(in_time(pool.run(<Option<Vec<u8>>>::sides, ())).await.unwrap(), 1);
    assert_eq!(in_time(pool.run(<Vec<u8>>::into_boxed_slice, vec![7])).await.unwrap(), [7].into());
}

fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

fn shown<T: Debug, const WIDTH: usize>(item: T) -> String {
    format!("{item:WIDTH$?}")
}

procpool::register!(largest::<u32>, largest::<String>, shown::<u8, 3>, shown::<u8, 5>);

#[tokio::test]
async fn generic_functions_are_registered_for_each_type() {
    let pool = pool();
    assert_eq!(in_time(pool.run(largest::<u32>, vec![1, 3, 2])).await.unwrap(), Some(3));
    let texts = vec!["a".to_owned(), "c".to_owned(), "b".to_owned()];
    assert_eq!(in_time(pool.run(largest::<String>, texts)).await.unwrap().as_deref(), Some("c"));
    assert_eq!(in_time(pool.run(shown::<u8, 3>, 7)).await.unwrap(), "  7");
    assert_eq!(in_time(pool.run(shown::<u8, 5>, 7)).await.unwrap(), "    7");
    let error = pool.try_submit(largest::<u8>, Vec::new()).unwrap_err();
    assert!(error.is_unregistered(), "{error}");
    assert!(
        error.to_string().contains("register!(crate::registration::largest::<u8>);"),
        "{error}"
    );
}

/// It borrows nothing when it has been decoded.
fn shout(text: Cow<'_, str>) -> Cow<'static, str> {
    text.to_uppercase().into()
}

/// No serde type, as an initializer's result need not be.
fn begun() -> &'static Instant {
    Box::leak(Box::new(Instant::now()))
}

procpool::register!(shout, begun);

#[tokio::test]
async fn lifetimes_that_are_no_hindrance() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).initializer(begun, ());
    let pool = builder.build().unwrap();
    assert_eq!(in_time(pool.run(shout, "hello".into())).await.unwrap(), "HELLO");
}

static SET_HERE: AtomicU64 = AtomicU64::new(0);

fn global() -> u64 {
    SET_HERE.load(Ordering::Relaxed)
}

procpool::register!(global);

#[tokio::test]
async fn a_global_that_is_set_here_is_not_set_in_a_worker() {
    SET_HERE.store(7, Ordering::Relaxed);
    assert_eq!((global(), in_time(pool().run(global, ())).await.unwrap()), (7, 0));
}

// ----- registering -----

procpool::register!(f1, f1,);

#[tokio::test]
async fn registering_twice_is_registering_once() {
    assert_eq!(in_time(pool().run(f1, 5)).await.unwrap(), 5);
}

#[tokio::test]
async fn registering_inside_a_function() {
    fn local(number: u32) -> u32 {
        number + 1
    }
    procpool::register!(local);
    assert_eq!(in_time(pool().run(local, 5)).await.unwrap(), 6);
}

mod strangers {
    pub(crate) fn stranger(number: u32) -> u32 {
        number
    }
}

#[tokio::test]
async fn the_error_of_an_unregistered_function_names_the_line_to_add() {
    let pool = pool();
    let error = pool.try_submit(strangers::stranger, 1).unwrap_err();
    assert!(
        error.is_unregistered() && RunError::from(error.clone()).task_id().is_none(),
        "{error}"
    );
    assert_eq!(error.function(), "pool::registration::strangers::stranger");
    let line = "`procpool::register!(crate::registration::strangers::stranger);` beside it, in the \
        crate `pool`";
    assert!(error.to_string().contains(line), "{error}");
    let error = pool.try_submit(strangers::stranger as fn(u32) -> u32, 1).unwrap_err().to_string();
    assert!(error.contains("`fn(u32) -> u32` does not tell which function it is"), "{error}");
    // A closure is no item that could be registered; `task!` makes one of it.
    let error = pool.try_submit(|number: u32| number, 1).unwrap_err();
    assert!(error.is_unregistered(), "{error}");
}

// ----- task! -----

#[tokio::test]
async fn tasks_in_place_with_and_without_arguments_and_results() {
    let pool = pool();
    let result = pool.run(procpool::task!(|x: u64, y: u64| -> u64 { 10 * x + y }), (4, 2));
    assert_eq!(in_time(result).await.unwrap(), 42);
    let result = pool.run(procpool::task!(|x: u64| -> u64 { x + 1 }), 41);
    assert_eq!(in_time(result).await.unwrap(), 42);
    let result = pool.run(procpool::task!(|| -> String { "no argument".to_owned() }), ());
    assert_eq!(in_time(result).await.unwrap(), "no argument");
    in_time(pool.run(procpool::task!(|text: String| { assert_eq!(text, "no result") }), {
        "no result".to_owned()
    }))
    .await
    .unwrap();
    in_time(pool.run(procpool::task!(|| {}), ())).await.unwrap();
}

#[tokio::test]
async fn async_tasks_in_place_with_and_without_arguments_and_results() {
    let pool = pool();
    let task = procpool::task!(async |x: u64, y: u64| -> u64 {
        tokio::task::yield_now().await;
        10 * x + y
    });
    assert_eq!(in_time(pool.run(task, (4, 2))).await.unwrap(), 42);
    let task = procpool::task!(async || -> u64 { async { 7 }.await });
    assert_eq!(in_time(pool.run(task, ())).await.unwrap(), 7);
    let task = procpool::task!(async |text: String| {
        tokio::task::yield_now().await;
        assert_eq!(text, "no result");
    });
    in_time(pool.run(task, "no result".to_owned())).await.unwrap();
    let task = procpool::task!(async || { tokio::task::yield_now().await });
    in_time(pool.run(task, ())).await.unwrap();
}

#[tokio::test]
async fn tasks_in_one_function_are_distinct() {
    let pool = pool();
    let (first, second) = (procpool::task!(|| -> u32 { 1 }), procpool::task!(|| -> u32 { 2 }));
    assert_eq!(in_time(pool.run(first, ())).await.unwrap(), 1);
    assert_eq!(in_time(pool.run(second, ())).await.unwrap(), 2);
    let third = procpool::task!(|| -> u32 { 3 });
    assert_eq!(in_time(pool.run(third, ())).await.unwrap(), 3);
}
