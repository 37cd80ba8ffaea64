//! What becomes of a task that hangs when whoever waits for it is dropped: the rows of the table in
//! the guide's chapter on conventions. The one of processes is tested with them.

#![allow(clippy::async_yields_async, reason = "what is yielded is dropped, not awaited")]

use std::pin::Pin;

use futures::{StreamExt, poll};
use procpool::{
    PoolEvent, ProcessPoolExecutor, ReturnWhen, TaskHandle, TaskSet, as_completed, wait,
};

use crate::common::{self, Gate, in_time, pid};

/// As the common one. But if it was asked to end, its worker is gone, however quickly it ends.
fn hold(port: u16) -> u32 {
    let worker = common::hold(port);
    if procpool::current().is_cancelled() {
        std::process::exit(3);
    }
    worker
}

procpool::register!(hold);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drops {
    Abort,
    Detach,
}

use Drops::{Abort, Detach};

/// Drops what `begin` returns, while its task holds the only worker at the gate of this port.
async fn check<T>(expected: Drops, begin: impl AsyncFnOnce(ProcessPoolExecutor, u16) -> T) {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let owner = begin(pool.clone(), gate.port()).await;
    let mut held = gate.arrival().await;
    let mut events = pool.events();
    drop(owner);
    let next = pool.submit(pid, ()).await.unwrap();
    let id = next.id();
    let is_next = |event| matches!(event, PoolEvent::TaskQueued { task, .. } if task == id);
    while !is_next(in_time(events.next()).await.unwrap()) {} // an abort is heard of before it is
    if expected == Abort {
        in_time(held.gone()).await; // nobody has opened the gate
    }
    let worker = held.pid;
    drop(held);
    let other = in_time(next).await.unwrap() != worker;
    assert_eq!(other, expected == Abort, "a task that is detached leaves its worker to the next");
}

async fn polled<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll!(&mut future).is_pending());
    future
}

async fn submit(pool: &ProcessPoolExecutor, port: u16) -> TaskHandle<u32> {
    pool.submit(hold, port).await.unwrap()
}

#[tokio::test]
async fn of_a_future_of_run() {
    let run = async |pool: ProcessPoolExecutor, port| {
        polled(async move { pool.run(hold, port).await }).await
    };
    let try_run = async |pool: ProcessPoolExecutor, port| {
        polled(async move { pool.try_run(hold, port).await }).await
    };
    let patient = async |pool: ProcessPoolExecutor, port| {
        polled(async move { pool.task(hold, port).abort_on_drop(false).run().await }).await
    };
    check(Abort, run).await;
    check(Abort, try_run).await;
    check(Detach, patient).await;
}

#[tokio::test]
async fn of_a_handle() {
    check(Detach, async |pool, port| submit(&pool, port).await).await;
    check(Abort, async |pool, port| submit(&pool, port).await.abort_on_drop(true)).await;
    let builder = async |pool: ProcessPoolExecutor, port| {
        let task = pool.task(hold, port).abort_on_drop(true);
        task.submit().await.unwrap()
    };
    check(Abort, builder).await;
    let taken_back = async |pool: ProcessPoolExecutor, port| {
        let task = pool.task(hold, port).abort_on_drop(true);
        task.try_submit().unwrap().abort_on_drop(false)
    };
    check(Detach, taken_back).await;
}

#[tokio::test]
async fn of_what_a_wait_owns() {
    for (expected, abort) in [(Detach, false), (Abort, true)] {
        let wait = async |pool: ProcessPoolExecutor, port| {
            let handle = submit(&pool, port).await.abort_on_drop(abort);
            polled(wait([handle], ReturnWhen::AllCompleted, None)).await
        };
        check(expected, wait).await;
    }
}

#[tokio::test]
async fn of_a_set() {
    check(Abort, async |pool, port| {
        let handle = submit(&pool, port).await;
        TaskSet::from_iter([handle])
    })
    .await;
    check(Detach, async |pool, port| {
        let mut set = TaskSet::new();
        set.insert(submit(&pool, port).await.abort_on_drop(true)); // the set counts
        set.abort_on_drop(false)
    })
    .await;
    check(Detach, async |pool, port| {
        let mut set = TaskSet::new().abort_on_drop(false);
        set.submit(&pool, hold, port).await.unwrap();
        set
    })
    .await;
    check(Detach, async |pool, port| {
        let mut set = TaskSet::from_iter([submit(&pool, port).await]);
        set.detach_all();
        set
    })
    .await;
}

#[tokio::test]
async fn of_a_stream_of_those_that_end() {
    check(Detach, async |pool, port| as_completed([submit(&pool, port).await])).await;
    check(Abort, async |pool, port| as_completed([submit(&pool, port).await]).abort_on_drop(true))
        .await;
    check(Abort, async |pool, port| as_completed([submit(&pool, port).await.abort_on_drop(true)]))
        .await;
    check(Detach, async |pool, port| {
        let handle = submit(&pool, port).await.abort_on_drop(true);
        let left = as_completed([handle]).abort_on_drop(true).into_unfinished();
        as_completed(left).abort_on_drop(false)
    })
    .await;
}

#[tokio::test]
async fn of_a_map() {
    check(Abort, async |pool, port| {
        let mut map = pool.map(hold, [port]);
        assert!(poll!(map.next()).is_pending());
        map
    })
    .await;
    check(Detach, async |pool, port| {
        let mut map = pool.map(hold, [port]).abort_on_drop(false);
        assert!(poll!(map.next()).is_pending());
        map
    })
    .await;
}

/// The service's point of view: a client that goes away takes no worker with it.
#[tokio::test]
async fn a_map_whose_items_hang_leaves_all_workers_to_others() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let mut map = pool.map(hold, [gate.port(); 8]);
    assert!(poll!(map.next()).is_pending());
    let _held = [gate.arrival().await, gate.arrival().await];
    drop(map);
    in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.shutdown()).await;
}

/// Items that are over within a moment cost no worker, though they are aborted.
#[tokio::test]
async fn a_map_of_quick_items_costs_no_worker() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let mut worker = in_time(pool.run(pid, ())).await.unwrap();
    let mut lost = 0;
    for _ in 0..20 {
        let mut map = pool.map(common::hold, [gate.port()]);
        assert!(poll!(map.next()).is_pending());
        let held = gate.arrival().await;
        drop((map, held)); // and now it ends
        let now = in_time(pool.run(pid, ())).await.unwrap();
        lost += u32::from(std::mem::replace(&mut worker, now) != now);
    }
    assert!(lost <= 5, "{lost} workers of 20 were lost"); // on a busy machine one may be late
}
