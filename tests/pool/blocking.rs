//! Threads outside of the runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use procpool::{ProcessPoolExecutor, Shutdown};

use crate::common::{Gate, LIMIT, hold, in_time, pid, wait_until};

fn double(number: u32) -> u32 {
    number * 2
}

fn fail() -> u32 {
    panic!("on purpose");
}

fn stranger() {}

procpool::register!(double, fail);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// What a thread of its own makes of it.
async fn on_a_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = tokio::sync::oneshot::channel();
    thread::spawn(move || drop(sender.send(body())));
    in_time(result).await.expect("the thread panicked")
}

#[tokio::test]
async fn a_plain_thread_can_submit_wait_and_run() {
    let pool = pool_of(2);
    let results = on_a_thread(move || {
        let handle = pool.blocking_submit(double, 4).unwrap();
        let other = pool.task(double, 5).retries(1).blocking_submit().unwrap();
        let run = pool.blocking_run(double, 6).unwrap();
        let last = pool.task(double, 7).retries(1).blocking_run().unwrap();
        [handle.blocking_wait().unwrap(), other.blocking_wait().unwrap(), run, last]
    });
    assert_eq!(results.await, [8, 10, 12, 14]);
}

#[tokio::test]
async fn a_thread_of_spawn_blocking_can_submit_and_wait() {
    let pool = pool_of(1);
    let blocking = tokio::task::spawn_blocking(move || {
        let handle = pool.blocking_submit(double, 4).unwrap();
        (handle.blocking_wait().unwrap(), pool.blocking_run(double, 5).unwrap())
    });
    assert_eq!(in_time(blocking).await.unwrap(), (8, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_blocks_in_place_can_submit_and_wait() {
    let pool = pool_of(1);
    let result = tokio::task::block_in_place(|| pool.blocking_run(double, 4));
    assert_eq!(result.unwrap(), 8);
}

#[test]
fn the_thread_that_drove_the_runtime_can_wait_between_two_block_ons() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let pool = runtime.block_on(async { pool_of(1) });
    assert_eq!(pool.blocking_run(double, 4).unwrap(), 8);
    runtime.block_on(pool.shutdown());
}

#[tokio::test]
async fn waiting_blocks_until_the_task_is_over() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let (sender, result) = mpsc::channel();
    let thread = thread::spawn(move || sender.send(handle.blocking_wait()).unwrap());
    in_time(pool.ready()).await.unwrap();
    assert!(result.try_recv().is_err() && !thread.is_finished());
    let worker = held.pid;
    drop(held);
    wait_until("it returns", || thread.is_finished()).await;
    assert_eq!(result.try_recv().unwrap().unwrap(), worker);
}

#[tokio::test]
async fn waiting_for_what_is_over_does_not_need_the_runtime() {
    let pool = pool_of(1);
    let mut handle = pool.submit(pid, ()).await.unwrap();
    let worker = in_time(&mut handle).await.unwrap();
    // This thread drives the runtime, and waits for the other.
    let waited = thread::spawn(|| handle.blocking_wait()).join().unwrap();
    assert_eq!(waited.unwrap(), worker);
}

#[tokio::test]
async fn a_full_queue_is_waited_for() {
    // scenario 65
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let queued = pool.try_submit(double, 1).unwrap();
    assert!(pool.try_submit(double, 2).unwrap_err().is_queue_full());
    let (sender, begun) = mpsc::channel();
    let other = pool.clone();
    let thread = thread::spawn(move || {
        sender.send(()).unwrap();
        other.blocking_submit(double, 3).unwrap().blocking_wait()
    });
    begun.recv_timeout(LIMIT).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!thread.is_finished());
    assert_eq!(pool.stats().submitted, 2, "it is not in the queue");
    drop(held);
    in_time(running).await.unwrap();
    assert_eq!(in_time(queued).await.unwrap(), 2);
    wait_until("it returns", || thread.is_finished()).await;
    assert_eq!(thread.join().unwrap().unwrap(), 6);
}

#[tokio::test]
async fn errors_are_those_of_the_async_calls() {
    let pool = pool_of(1);
    let other = pool.clone();
    on_a_thread(move || {
        assert!(other.blocking_submit(stranger, ()).unwrap_err().is_unregistered());
        assert!(other.blocking_run(stranger, ()).unwrap_err().is_unregistered());
        assert!(other.blocking_run(fail, ()).unwrap_err().is_panic());
        let failed = other.blocking_submit(fail, ()).unwrap().blocking_wait().unwrap_err();
        assert_eq!(failed.panic().unwrap().message(), "on purpose");
    })
    .await;
    in_time(pool.shutdown()).await;
    on_a_thread(move || {
        assert!(pool.blocking_submit(double, 1).unwrap_err().is_shut_down());
        assert!(pool.blocking_run(double, 1).unwrap_err().is_shut_down());
    })
    .await;
}

#[tokio::test]
async fn a_thread_that_waits_for_room_is_told_of_a_shutdown() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let _running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let _queued = pool.try_submit(double, 1).unwrap();
    let other = pool.clone();
    let refused = thread::spawn(move || other.blocking_submit(double, 2).unwrap_err());
    let shutdown = pool.shutdown_with(Shutdown::new());
    drop(held);
    in_time(shutdown).await;
    wait_until("it returns", || refused.is_finished()).await;
    assert!(refused.join().unwrap().is_shut_down());
}

#[tokio::test]
async fn a_thread_that_waits_is_woken_when_the_runtime_of_the_pool_goes() {
    let (sender, handle) = mpsc::channel();
    let gate = Gate::new().await;
    let port = gate.port();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.spawn(async move {
        let pool = pool_of(1);
        sender.send(pool.submit(hold, port).await.unwrap()).unwrap();
        std::future::pending::<()>().await;
    });
    let _held = gate.arrival().await;
    let handle = handle.recv_timeout(LIMIT).unwrap();
    let waiting = thread::spawn(|| handle.blocking_wait());
    runtime.shutdown_background();
    wait_until("it returns", || waiting.is_finished()).await;
    assert!(waiting.join().unwrap().unwrap_err().is_runtime_gone());
}

/// The message of a panic, and that it is blamed on this file.
fn blocked<T>(call: impl FnOnce() -> T) -> String {
    thread_local! {
        static PLACE: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
    }
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        // Other tests of this binary do not notice: it calls the former one.
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map_or(String::new(), |place| place.file().to_owned()));
            former(info);
        }));
    });
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { panic!("it was allowed") };
    assert_eq!(PLACE.take(), file!());
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| {
        panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned())
    })
}

async fn assert_that_blocking_is_forbidden() {
    let pool = pool_of(1);
    let mut over = pool.submit(double, 1).await.unwrap();
    in_time(&mut over).await.unwrap();
    let messages = [
        blocked(|| pool.blocking_submit(double, 1)),
        blocked(|| pool.blocking_run(double, 1)),
        blocked(|| pool.task(double, 1).blocking_submit()),
        blocked(|| pool.task(double, 1).blocking_run()),
        blocked(|| over.blocking_wait()), // though there is nothing to wait for
    ];
    for message in messages {
        assert!(message.contains("Cannot block the current thread"), "{message}");
    }
    assert_eq!(pool.stats().submitted, 1);
}

#[tokio::test]
async fn blocking_in_an_async_context_panics_on_a_current_thread_runtime() {
    assert_that_blocking_is_forbidden().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_in_an_async_context_panics_on_a_multi_threaded_runtime() {
    assert_that_blocking_is_forbidden().await;
    in_time(tokio::spawn(assert_that_blocking_is_forbidden())).await.unwrap();
}
