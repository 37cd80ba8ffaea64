//! Whoever has an event handles it, from whatever thread and in whatever state: nothing is lost,
//! nothing hangs.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use procpool::ProcessPoolExecutor;

use crate::common::{Gate, LIMIT, fill, hold, in_time, pid};

fn double(number: u64) -> u64 {
    number * 2
}

procpool::register!(double);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Threads outside of the runtime, tasks of it and links are at it all the time, so each often
/// finds somebody else there. A wake-up that gets lost would leave a caller waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_in_each_others_way_all_get_their_results() {
    const CALLS: u64 = 2_000;
    let pool = pool_of(2);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            let (sender, done) = tokio::sync::oneshot::channel();
            thread::spawn(move || {
                let right = |n| pool.blocking_run(double, n).unwrap() == 2 * n;
                let _ = sender.send((0..CALLS).all(right));
            });
            done
        })
        .collect();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for n in 0..CALLS {
                    assert_eq!(pool.run(double, n).await.unwrap(), 2 * n);
                }
            })
        })
        .collect();
    for task in tasks {
        in_time(task).await.unwrap();
    }
    for done in threads {
        assert!(in_time(done).await.unwrap());
    }
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.completed), (6 * CALLS, 6 * CALLS));
}

/// A callback runs while the pool's state is in somebody's hands.
#[tokio::test]
async fn a_callback_can_use_the_pool() {
    let pool = pool_of(1);
    let handle = pool.submit(double, 1).await.unwrap();
    let (sender, result) = tokio::sync::oneshot::channel();
    let (own, runtime) = (pool.clone(), tokio::runtime::Handle::current());
    handle.add_done_callback(move |_| {
        let mut call = Box::pin(async move { own.run(double, 21).await });
        // The first poll is here, and hands the task in.
        let first = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(first.is_pending());
        runtime.spawn(async move { drop(sender.send(call.await)) });
    });
    assert_eq!(in_time(handle).await.unwrap(), 2);
    assert_eq!(in_time(result).await.unwrap().unwrap(), 42);
}

/// Results are told in the order in which they came, one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_of_two_workers_never_run_at_the_same_time() {
    const TASKS: u64 = 2_000;
    let pool = pool_of(2);
    let running = Arc::new(Mutex::new(()));
    let (clashes, called) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut handles = Vec::new();
    for n in 0..TASKS {
        let handle = pool.submit(double, n).await.unwrap();
        let (running, clashes, called) = (running.clone(), clashes.clone(), called.clone());
        handle.add_done_callback(move |_| {
            clashes.fetch_add(usize::from(running.try_lock().is_err()), Ordering::Relaxed);
            called.fetch_add(1, Ordering::Relaxed);
        });
        handles.push(handle);
    }
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    in_time(pool.shutdown()).await;
    assert_eq!(called.load(Ordering::Relaxed) as u64, TASKS);
    assert_eq!(clashes.load(Ordering::Relaxed), 0);
}

/// The runtime goes while a callback runs that was called by a link of it.
#[test]
fn a_runtime_that_ends_during_a_callback_ends_the_pool() {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let (called, call) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let (pool, gate, other) = runtime.block_on(async {
        let (pool, gate) = (pool_of(2), Gate::new().await);
        let other = pool.submit(hold, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        let handle = pool.submit(double, 1).await.unwrap();
        handle.add_done_callback(move |_| {
            called.send(()).unwrap();
            let _ = resumed.recv_timeout(LIMIT);
        });
        (pool, (gate, held), other)
    });
    call.recv_timeout(LIMIT).unwrap();
    runtime.shutdown_background();
    resume.send(()).unwrap();
    let (sender, ends) = mpsc::channel();
    thread::spawn(move || {
        sender.send(other.blocking_wait().unwrap_err().is_runtime_gone()).unwrap();
        sender.send(pool.blocking_run(pid, ()).is_err()).unwrap();
    });
    assert!(ends.recv_timeout(LIMIT).unwrap() && ends.recv_timeout(LIMIT).unwrap());
    drop(gate);
}

/// What a caller's own executor does when it is woken is not the pool's fault, but must not hang
/// others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waker_that_panics_hangs_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }

    let (pool, gate) = (pool_of(2), Gate::new().await);
    let mut held = fill(&pool, &gate, 2).await;
    let mut first = pin!(pool.submit(pid, ()).await.unwrap());
    let second = pool.submit(pid, ()).await.unwrap();
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    held.clear();
    // It has a result or it learns that the pool has ended.
    let _ = in_time(second).await;
    in_time(pool.shutdown()).await;
}
