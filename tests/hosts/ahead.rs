//! What is sent ahead to workers on a host: it runs once, comes back from behind what is slow, and
//! is hurt by nobody's death.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use procpool::{Builder, ProcessPoolExecutor, TaskErrorKind};

use crate::command::builder;
use crate::common::{Gate, hold, in_time};

const MANY: u64 = 2_000;

/// Leaves a byte behind each time that it runs.
fn count(path: PathBuf, n: u64) -> u64 {
    OpenOptions::new().append(true).open(path).unwrap().write_all(&[1]).unwrap();
    n
}

fn twice(n: u64) -> u64 {
    2 * n
}

/// The fatal one kills its worker.
fn deadly(path: PathBuf, n: u64, fatal: u64) -> u64 {
    if n == fatal {
        std::process::abort();
    }
    count(path, n)
}

/// The slow one holds its worker until it is let go.
fn slow(n: u64, (which, port): (u64, u16)) -> u64 {
    if n == which {
        hold(port);
    }
    n
}

fn until_cancelled(port: u16) -> u32 {
    let current = procpool::current();
    assert!(!current.is_cancelled());
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    (&stream).write_all(&std::process::id().to_be_bytes()).unwrap();
    while !current.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

procpool::register!(count, twice, deadly, slow, until_cancelled);

/// A file that tasks make longer.
struct Counted(PathBuf);

impl Counted {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("procpool-ahead-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        File::create(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }

    fn runs(&self) -> u64 {
        fs::metadata(&self.0).unwrap().len()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    // So that tasks run on all of them.
    let builder: Builder = builder(workers).min_workers(workers);
    builder.build().unwrap()
}

/// Has the pool see that tasks are quick there.
async fn train(pool: &ProcessPoolExecutor) {
    let mut tasks = Vec::new();
    for n in 0..200 {
        tasks.push(pool.submit(twice, n).await.unwrap());
    }
    for (task, n) in tasks.into_iter().zip(0..) {
        assert_eq!(in_time(task).await.unwrap(), 2 * n);
    }
}

#[tokio::test]
async fn each_of_many_tasks_runs_once() {
    let (pool, counted) = (pool(2), Counted::new());
    let mut tasks = Vec::new();
    for n in 0..MANY {
        tasks.push(pool.submit(count, (counted.path(), n)).await.unwrap());
    }
    for (task, n) in tasks.into_iter().zip(0..) {
        assert_eq!(in_time(task).await.unwrap(), n);
    }
    assert_eq!(counted.runs(), MANY);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_death_amid_many_tasks_is_the_business_of_one() {
    let (pool, counted) = (pool(2), Counted::new());
    train(&pool).await;
    let mut tasks = Vec::new();
    for n in 0..MANY {
        tasks.push(pool.submit(deadly, (counted.path(), n, MANY / 2)).await.unwrap());
    }
    for (task, n) in tasks.into_iter().zip(0..) {
        match in_time(task).await {
            Ok(result) => assert_eq!(result, n),
            Err(error) => {
                assert_eq!((error.kind(), n), (TaskErrorKind::WorkerDeath, MANY / 2), "{error}");
            }
        }
    }
    assert_eq!(counted.runs(), MANY - 1, "nothing ran twice, though others had to be begun anew");
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn what_was_sent_ahead_comes_back_from_behind_a_slow_task() {
    let (pool, gate) = (pool(2), Gate::new().await);
    train(&pool).await;
    let mut tasks = Vec::new();
    for n in 0..500 {
        tasks.push(pool.submit(slow, (n, (20, gate.port()))).await.unwrap());
    }
    let held = gate.arrival().await;
    let slow_one = tasks.remove(20);
    for task in tasks {
        in_time(task).await.unwrap();
    }
    assert!(!slow_one.is_finished());
    drop(held);
    assert_eq!(in_time(slow_one).await.unwrap(), 20);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_slow_item_holds_up_no_other_one() {
    let (pool, gate) = (pool(2), Gate::new().await);
    let port = gate.port();
    let inputs = (0..3_000).map(move |n| (n, (1_500, port)));
    let mut results = pool.map(slow, inputs).unordered();
    let mut held = None;
    for _ in 0..2_999 {
        let result = tokio::select! {
            biased;
            arrived = gate.arrival(), if held.is_none() => {
                held = Some(arrived);
                in_time(results.next()).await
            }
            result = results.next() => result,
        };
        assert_ne!(result.unwrap().unwrap(), 1_500);
    }
    if held.is_none() {
        held = Some(gate.arrival().await);
    }
    drop(held);
    assert_eq!(in_time(results.next()).await.unwrap().unwrap(), 1_500);
    assert!(in_time(results.next()).await.is_none());
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_death_over_an_item_is_the_business_of_that_one() {
    let (pool, counted) = (pool(2), Counted::new());
    let path = counted.path();
    let inputs = (0..MANY).map(move |n| (path.clone(), n, 700));
    let results: Vec<_> = in_time(pool.map(deadly, inputs).collect()).await;
    for (result, n) in results.into_iter().zip(0..) {
        match result {
            Ok(result) => assert_eq!(result, n),
            Err(error) => {
                assert_eq!((error.kind(), n), (TaskErrorKind::WorkerDeath, 700), "{error}");
            }
        }
    }
    assert_eq!(counted.runs(), MANY - 1, "no item ran twice");
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn an_item_has_as_much_time_as_it_may_take_and_no_more() {
    let (pool, gate) = (pool(2), Gate::new().await);
    let port = gate.port();
    let inputs = (0..300).map(move |n| (n, (150, port)));
    let map = pool.map(slow, inputs).timeout(Duration::from_millis(200));
    let results: Vec<_> = in_time(map.collect()).await;
    for (result, n) in results.into_iter().zip(0..) {
        match result {
            Ok(result) => assert_eq!(result, n),
            Err(error) => assert_eq!((error.kind(), n), (TaskErrorKind::Timeout, 150), "{error}"),
        }
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_task_that_looks_ends_by_itself_and_spares_its_worker() {
    let (pool, gate) = (pool(1), Gate::new().await);
    train(&pool).await;
    let task = pool.submit(until_cancelled, gate.port()).await.unwrap();
    let (worker, mut stream) = gate.accept().await;
    task.abort();
    assert_eq!(in_time(task).await.unwrap(), worker, "it has returned before it was ended");
    let ended = tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await;
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert_eq!(in_time(pool.run(crate::common::pid, ())).await.unwrap(), worker);
    assert_eq!(pool.stats().worker_deaths, 0);
    in_time(pool.shutdown()).await;
}
