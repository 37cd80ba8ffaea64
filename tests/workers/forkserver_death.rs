//! Fork servers that are killed, stopped, and left by those who need them.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::os::unix::process::parent_id;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use procpool::{Builder, ProcessPoolExecutor, StartMethod, WorkerOutput};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    Gate, children, hold, in_time, kill, pid, process_exited, process_gone, process_stopped,
    wait_until,
};
use crate::journal::{Journal, hold_with_children, note};

fn builder(workers: usize) -> Builder {
    let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    builder.max_workers(workers).worker_output(WorkerOutput::Null)
}

/// This worker, and the server that has forked it.
fn places() -> (u32, u32) {
    (std::process::id(), parent_id())
}

procpool::register!(places, hold_with_children);

/// Does not mind if it has gone; but nobody else is to get it.
fn signal_child(pid: u32, signal: Signal) {
    if children().contains(&pid) {
        let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
    }
}

/// Returns when it is reaped.
async fn kill_server(server: u32) {
    signal_child(server, Signal::KILL);
    wait_until("the server is reaped", || process_gone(server)).await;
}

// ----- SIGKILL -----

#[tokio::test]
async fn a_server_that_dies_is_replaced_when_it_is_needed() {
    let (pool, gate) = (builder(2).build().unwrap(), Gate::new().await);
    let (worker, server) = in_time(pool.run(places, ())).await.unwrap();
    kill_server(server).await;
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    assert_eq!(held.pid, worker, "its workers live on");
    let (another, other_server) = in_time(pool.run(places, ())).await.unwrap();
    assert!(another != worker && other_server != server);
    assert!(children().contains(&other_server));
    drop(held);
    in_time(first).await.unwrap();
    in_time(pool.shutdown()).await;
    assert_eq!((pool.stats().worker_deaths, pool.stats().worker_starts), (0, 2));
    assert!(process_gone(other_server));
}

#[tokio::test]
async fn tasks_go_on_when_their_server_dies() {
    let (pool, gate) = (builder(2).build().unwrap(), Gate::new().await);
    let (_, server) = in_time(pool.run(places, ())).await.unwrap();
    let handles = [
        pool.submit(hold, gate.port()).await.unwrap(),
        pool.submit(hold, gate.port()).await.unwrap(),
    ];
    let held = [gate.arrival().await, gate.arrival().await];
    kill_server(server).await;
    let mut workers = held.map(|held| held.pid);
    let mut results = join_all(handles.map(in_time)).await.into_iter().map(Result::unwrap);
    let mut results = [results.next().unwrap(), results.next().unwrap()];
    workers.sort_unstable();
    results.sort_unstable();
    assert_eq!(results, workers);
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_deaths, 0);
    assert!(workers.iter().all(|pid| process_exited(*pid)));
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_starts_is_started_again() {
    // More often than starts may fail that nobody from outside has a part in.
    const KILLS: usize = 8;
    let gate = Gate::new().await;
    let pool = builder(2).preload(hold, gate.port()).build().unwrap();
    let handles = [pool.submit(places, ()).await.unwrap(), pool.submit(places, ()).await.unwrap()];
    for _ in 0..KILLS {
        let held = gate.arrival().await;
        kill(held.pid);
    }
    let held = gate.arrival().await;
    let server = held.pid;
    drop(held);
    for handle in handles {
        assert_eq!(in_time(handle).await.unwrap().1, server);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_while_it_replaces_another_is_started_again() {
    let gate = Gate::new().await;
    let pool =
        builder(1).surge(0).max_tasks_per_child(1).preload(hold, gate.port()).build().unwrap();
    for _ in 0..2 {
        let handle = pool.submit(places, ()).await.unwrap();
        let victim = gate.arrival().await;
        kill(victim.pid);
        let held = gate.arrival().await;
        let server = held.pid;
        drop(held);
        assert_eq!(in_time(handle).await.unwrap().1, server);
        kill_server(server).await;
    }
}

#[tokio::test]
async fn servers_that_die_under_load_cost_no_task() {
    const TASKS: u32 = 300;
    let journal = Journal::new();
    let pool = builder(3).max_tasks_per_child(1).build().unwrap();
    let inputs = (0..TASKS).map(|number| (journal.path(), number));
    let mut results = pool.map(note, inputs).unordered();
    let (mut seen, mut killed) = (Vec::new(), 0);
    while let Some(result) = in_time(results.next()).await {
        seen.push(result.unwrap());
        if seen.len() % 10 == 0 {
            let (_, server) = in_time(pool.run(places, ())).await.unwrap();
            signal_child(server, Signal::KILL);
            killed += 1;
        }
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..TASKS));
    assert!(killed > 20);
    assert!(journal.counts().values().all(|count| *count == 1));
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_worker_that_outlives_its_server_and_dies_costs_its_task() {
    let (pool, gate) = (builder(1).build().unwrap(), Gate::new().await);
    let (_, server) = in_time(pool.run(places, ())).await.unwrap();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    kill_server(server).await;
    kill(held.pid);
    let error = in_time(handle).await.unwrap_err();
    let death = error.worker_death().expect("it has died");
    assert_eq!((death.pid(), death.exit_code(), death.signal()), (held.pid, None, None));
    assert!(error.to_string().contains(&format!("(pid {}) died", held.pid)), "{error}");
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn the_children_of_a_task_go_with_it_though_the_server_has_died() {
    let builder = builder(1).grace_period(Duration::from_millis(100));
    let (pool, gate, journal) = (builder.build().unwrap(), Gate::new().await, Journal::new());
    let (_, server) = in_time(pool.run(places, ())).await.unwrap();
    let handle = pool.submit(hold_with_children, (journal.path(), gate.port())).await.unwrap();
    let _held = gate.arrival().await;
    kill_server(server).await;
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    let children = journal.numbers();
    assert_eq!(children.len(), 2);
    wait_until("its children are gone", || children.iter().all(|pid| process_exited(*pid))).await;
}

#[tokio::test]
async fn a_worker_that_outlives_its_server_can_be_ended() {
    let builder = builder(1).grace_period(Duration::from_millis(100));
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let (_, server) = in_time(pool.run(places, ())).await.unwrap();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    kill_server(server).await;
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    wait_until("it is gone", || process_exited(held.pid)).await;
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    kill_server(server_of(&pool)).await;
    in_time(pool.kill_workers()).await;
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    assert!(process_exited(held.pid));
}

/// The server of a pool that has a worker.
fn server_of(pool: &ProcessPoolExecutor) -> u32 {
    let worker = pool.workers()[0].pid;
    let stat = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// ----- SIGSTOP -----

/// Half of it is the patience with a server that does not answer, which is ten seconds at most.
const START_TIMEOUT: Duration = Duration::from_secs(6);

async fn stop_server(server: u32) {
    signal_child(server, Signal::STOP);
    wait_until("the server is stopped", || process_stopped(server)).await;
}

#[tokio::test]
async fn a_server_that_does_not_fork_in_time_is_replaced() {
    let (pool, gate) =
        (builder(2).start_timeout(START_TIMEOUT).build().unwrap(), Gate::new().await);
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let server = server_of(&pool);
    stop_server(server).await;
    // If the worker's own time were over first the pool would be broken.
    let (_, other) = in_time(pool.run(places, ())).await.unwrap();
    assert_ne!(other, server);
    assert!(process_gone(server));
    drop(held);
    in_time(first).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_reap_in_time_is_replaced() {
    let builder = builder(1).start_timeout(START_TIMEOUT).max_tasks_per_child(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let server = server_of(&pool);
    stop_server(server).await;
    kill(held.pid);
    assert!(in_time(handle).await.unwrap_err().is_worker_death());
    assert_ne!(in_time(pool.run(places, ())).await.unwrap().1, server);
    assert!(process_gone(server));
}

#[tokio::test]
async fn a_server_that_is_stopped_holds_up_no_shutdown() {
    let (pool, _gate) =
        (builder(2).start_timeout(START_TIMEOUT).build().unwrap(), Gate::new().await);
    let (worker, server) = in_time(pool.run(places, ())).await.unwrap();
    stop_server(server).await;
    in_time(pool.shutdown()).await;
    assert!(process_exited(worker) && process_gone(server));
}

// ----- by tasks -----

/// Sends a signal to the server, if that is its parent still.
fn signal_server(server: u32, stop: bool) -> u32 {
    assert_eq!(parent_id(), server);
    let signal = if stop { Signal::STOP } else { Signal::KILL };
    kill_process(Pid::from_raw(server.try_into().unwrap()).unwrap(), signal).unwrap();
    std::process::id()
}

procpool::register!(signal_server);

#[tokio::test]
async fn a_task_may_kill_the_server() {
    let pool = builder(1).surge(0).max_tasks_per_child(2).build().unwrap();
    for _ in 0..5 {
        let (worker, server) = in_time(pool.run(places, ())).await.unwrap();
        let killer = in_time(pool.run(signal_server, (server, false))).await.unwrap();
        assert_eq!(killer, worker);
    }
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn a_task_may_stop_the_server() {
    let builder = builder(1).surge(0).max_tasks_per_child(2);
    let pool = builder.start_timeout(START_TIMEOUT).build().unwrap();
    let (_, server) = in_time(pool.run(places, ())).await.unwrap();
    in_time(pool.run(signal_server, (server, true))).await.unwrap();
    assert_ne!(in_time(pool.run(places, ())).await.unwrap().1, server);
    assert!(process_gone(server));
    in_time(pool.shutdown()).await;
}
