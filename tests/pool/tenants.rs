//! Tenants share the workers fairly.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use futures::StreamExt;
use futures::future::join_all;
use procpool::ProcessPoolExecutor;

use crate::common::{Gate, Held, hold, in_time, pid};
use crate::journal::{Journal, note};

const QUIET: u32 = 1_000;

/// Kills its worker.
fn die(path: String, number: u32) {
    note(path, number);
    std::process::abort();
}

/// Kills its worker, or runs until it is let go, or does nothing.
fn die_or_hold(port: Option<u16>, dies: bool) {
    if dies {
        std::process::abort();
    }
    if let Some(port) = port {
        hold(port);
    }
}

procpool::register!(die, die_or_hold);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Lets go whoever arrives until `awaited` is there; how many that were.
async fn let_go_until(gate: &Gate, awaited: impl Future<Output = ()>) -> usize {
    let mut awaited = std::pin::pin!(in_time(awaited));
    let mut count = 0;
    loop {
        tokio::select! {
            () = &mut awaited => return count,
            held = gate.arrival() => drop(held),
        }
        count += 1;
    }
}

#[tokio::test]
async fn forty_poisonous_tasks_delay_another_tenant_by_at_most_one() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.task(hold, gate.port()).tenant("noisy").submit().await.unwrap();
    let held = gate.arrival().await;
    let poison = (0..40).map(|n| pool.task(die, (journal.path(), n)).tenant("noisy").submit());
    let poison: Vec<_> = join_all(poison).await.into_iter().map(Result::unwrap).collect();
    let quiet = pool.task(note, (journal.path(), QUIET)).tenant("quiet").submit().await.unwrap();
    drop(held);
    in_time(quiet).await.unwrap();
    let numbers = journal.numbers();
    assert!([[QUIET].as_slice(), &[0, QUIET]].iter().any(|begin| numbers.starts_with(begin)));
    in_time(running).await.unwrap();
    drop(poison);
    in_time(pool.kill_workers()).await;
}

#[tokio::test]
async fn tasks_of_one_tenant_run_in_order_and_those_of_none_share_like_one() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let held = hold_one(&pool, &gate).await;
    let mut handles = Vec::new();
    for number in 0..40 {
        let task = pool.task(note, (journal.path(), number));
        let task = if number < 20 { task } else { task.tenant(7) };
        handles.push(task.submit().await.unwrap());
    }
    drop(held);
    in_time(join_all(handles)).await;
    let of = |which: fn(&u32) -> bool| journal.numbers().into_iter().filter(which);
    assert!(of(|number| *number < 20).eq(0..20));
    assert!(of(|number| *number >= 20).eq(20..40));
}

/// A task of nobody that runs until it is let go.
async fn hold_one(pool: &ProcessPoolExecutor, gate: &Gate) -> Held {
    let task = pool.task(hold, gate.port()).submit().await.unwrap();
    tokio::spawn(task);
    gate.arrival().await
}

#[tokio::test]
async fn a_priority_comes_before_any_share() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let held = hold_one(&pool, &gate).await;
    let mut handles = Vec::new();
    for (number, (priority, tenant)) in (0..).zip([(0, "a"), (-1, "b"), (1, "a"), (0, "b")]) {
        let task = pool.task(note, (journal.path(), number)).priority(priority).tenant(tenant);
        handles.push(task.submit().await.unwrap());
    }
    drop(held);
    in_time(join_all(handles)).await;
    let numbers = journal.numbers();
    assert!(
        [[2, 0, 3, 1], [2, 3, 0, 1]].contains(&[numbers[0], numbers[1], numbers[2], numbers[3]])
    );
}

#[tokio::test]
async fn a_map_does_not_hold_up_other_tenants() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let map = pool.map(hold, vec![gate.port(); 20]).chunksize(1).tenant("map");
    let map = tokio::spawn(map.collect::<Vec<_>>());
    let first = gate.arrival().await;
    let quiet = pool.task(pid, ()).tenant("quiet").submit().await.unwrap();
    drop(first);
    let quiet = async { quiet.await.map(drop).unwrap() };
    assert!(let_go_until(&gate, quiet).await <= 1);
    let rest = async { map.await.map(drop).unwrap() };
    let_go_until(&gate, rest).await;
}

#[tokio::test]
async fn what_is_deadly_for_one_tenant_is_no_suspect_for_another() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    for _ in 0..2 {
        let death = pool.task(die_or_hold, (None, true)).tenant("noisy").run();
        assert!(in_time(death).await.is_err());
    }
    // As a suspect it leaves one worker to others, and takes the other one.
    let suspect = pool.task(die_or_hold, (Some(gate.port()), false)).tenant("noisy");
    let suspect = suspect.submit().await.unwrap();
    let held = gate.arrival().await;
    in_time(pool.task(die_or_hold, (None, false)).tenant("quiet").run()).await.unwrap();
    drop(held);
    in_time(suspect).await.unwrap();
}
