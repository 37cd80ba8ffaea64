//! Tasks that are asked to end, and those that do not listen.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use procpool::{Current, ProcessPoolExecutor, Shutdown, current};

use crate::common::{Gate, LIMIT, in_time, pid, process_gone};

/// One worker whose tasks may take longer to end than any test waits: what ends here was not ended
/// by a signal that waits for half of this time.
fn patient_pool() -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    builder.grace_period(4 * LIMIT).build().unwrap()
}

/// Arrives at a gate without waiting there. The connection shows how long the process lives.
fn arrive(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(&std::process::id().to_be_bytes()).unwrap();
    stream
}

/// Returns once it is asked.
fn listen(current: Current, port: u16) -> u32 {
    assert!(!current.is_cancelled());
    let _stream = arrive(port);
    while !current.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

fn cooperate(port: u16) -> u32 {
    listen(current(), port)
}

fn cooperate_in_a_thread(port: u16) -> u32 {
    let current = current();
    std::thread::spawn(move || listen(current, port)).join().unwrap()
}

async fn cooperate_asynchronously(port: u16) -> u32 {
    assert!(!current().is_cancelled());
    let _stream = arrive(port);
    while !current().is_cancelled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    std::process::id()
}

fn look_once(port: u16) {
    assert!(!current().is_cancelled());
    let _stream = arrive(port);
    std::thread::sleep(10 * LIMIT);
}

fn never_look(port: u16) {
    let _stream = arrive(port);
    std::thread::sleep(10 * LIMIT);
}

/// Whether a task sees itself asked from the beginning.
fn is_cancelled() -> bool {
    current().is_cancelled()
}

procpool::register!(
    cooperate,
    cooperate_in_a_thread,
    cooperate_asynchronously,
    look_once,
    never_look,
    is_cancelled
);

/// The worker still serves, and what its last task was asked does not concern the next one.
async fn assert_serves(pool: &ProcessPoolExecutor, worker: u32) {
    assert!(!in_time(pool.run(is_cancelled, ())).await.unwrap());
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_task_that_returns_when_it_is_aborted_keeps_its_worker_alive() {
    // scenario 59
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let handle = pool.submit(cooperate, gate.port()).await.unwrap();
    let worker = gate.arrival().await.pid;
    handle.abort();
    assert_eq!(in_time(handle).await.unwrap(), worker, "what it returns is its result");
    assert_serves(&pool, worker).await;
}

#[tokio::test]
async fn a_task_that_returns_when_its_time_is_over_keeps_its_worker_alive() {
    // scenario 59
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let task = pool.task(cooperate, gate.port()).timeout(Duration::from_millis(100));
    let handle = in_time(task.submit()).await.unwrap();
    let worker = gate.arrival().await.pid;
    assert_eq!(in_time(handle).await.unwrap(), worker);
    assert_serves(&pool, worker).await;
}

#[tokio::test]
async fn a_thread_of_the_task_sees_that_it_is_asked() {
    // scenario 59
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let handle = pool.submit(cooperate_in_a_thread, gate.port()).await.unwrap();
    let worker = gate.arrival().await.pid;
    handle.abort();
    assert_eq!(in_time(handle).await.unwrap(), worker);
    assert_serves(&pool, worker).await;
}

#[tokio::test]
async fn an_async_task_sees_that_it_is_asked() {
    // scenario 59
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let handle = pool.submit(cooperate_asynchronously, gate.port()).await.unwrap();
    let worker = gate.arrival().await.pid;
    handle.abort();
    assert_eq!(in_time(handle).await.unwrap(), worker);
    assert_serves(&pool, worker).await;
}

#[tokio::test]
async fn dropping_a_run_asks_its_task_first() {
    // scenarios 59, 64
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let (running, port) = (pool.clone(), gate.port());
    let run = tokio::spawn(async move { running.run(cooperate, port).await });
    let mut held = gate.arrival().await;
    run.abort();
    held.gone().await;
    assert_serves(&pool, held.pid).await;
}

#[tokio::test]
async fn a_shutdown_asks_when_its_time_is_over() {
    // scenario 59
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let handle = pool.submit(cooperate, gate.port()).await.unwrap();
    let worker = gate.arrival().await.pid;
    let report = in_time(pool.shutdown_with(Shutdown::new().within(Duration::ZERO))).await;
    assert_eq!((report.finished, report.killed), (1, 0), "{report:?}");
    assert_eq!(in_time(handle).await.unwrap(), worker);
}

#[tokio::test]
async fn a_task_that_has_never_looked_is_not_waited_for() {
    let (pool, gate) = (patient_pool(), Gate::new().await);
    let handle = pool.submit(never_look, gate.port()).await.unwrap();
    let mut held = gate.arrival().await;
    handle.abort();
    let error = in_time(handle).await.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    held.gone().await;
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
}

#[tokio::test]
async fn a_task_that_looks_once_and_never_again_is_ended_all_the_same() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder.grace_period(Duration::from_millis(200)).build().unwrap();
    let gate = Gate::new().await;
    let handle = pool.submit(look_once, gate.port()).await.unwrap();
    let worker = gate.arrival().await.pid;
    handle.abort();
    let error = in_time(handle).await.unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert!(process_gone(worker));
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}
