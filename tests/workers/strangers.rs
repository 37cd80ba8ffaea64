//! SIGTERM from somebody else than the pool, as a supervisor sends it to all of a service: tasks
//! that run end well, and those that wait are run by others.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use procpool::{Events, LeaveReason, PoolEvent, ProcessPoolExecutor, StartMethod};
use tokio::signal::unix::{SignalKind, signal};

use crate::common::{Gate, LIMIT, fill, hold, in_time, pid, wait_until};
use crate::journal::{Journal, note};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];
const WORKERS: usize = 3;

fn pool(method: StartMethod, workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().start_method(method).max_workers(workers);
    // Whoever waits for it here waits for the limit of all tests.
    builder.grace_period(2 * LIMIT).build().unwrap()
}

/// As another process does it; it has got there when this returns.
async fn ask_to_end(pids: &[u32]) {
    let pids_as_text = pids.iter().map(u32::to_string);
    assert!(Command::new("kill").arg("-TERM").args(pids_as_text).status().unwrap().success());
    for pid in pids {
        wait_until("the signal has been handled", || !is_pending(*pid)).await;
    }
}

fn is_pending(pid: u32) -> bool {
    const TERM: u64 = 1 << 14;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending.is_some_and(|set| u64::from_str_radix(set.trim(), 16).unwrap() & TERM != 0)
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Why the next workers have left.
async fn reasons(events: &mut Events, count: usize) -> Vec<LeaveReason> {
    let mut reasons = Vec::new();
    while reasons.len() < count {
        match in_time(events.next()).await.unwrap() {
            PoolEvent::WorkerLeft { reason, .. } => reasons.push(reason),
            PoolEvent::WorkerDied { death, .. } => panic!("{death}"),
            _ => {}
        }
    }
    reasons
}

#[tokio::test]
async fn no_task_fails_if_all_of_a_service_is_asked_to_end_and_then_shuts_down() {
    for method in METHODS {
        let (gate, pool) = (Gate::new().await, pool(method, WORKERS));
        let mut running = Vec::new();
        for _ in 0..WORKERS {
            running.push(pool.submit(hold, gate.port()).await.unwrap());
        }
        let mut held = Vec::new();
        for _ in 0..WORKERS {
            held.push(gate.arrival().await);
        }
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(pool.submit(pid, ()).await.unwrap());
        }
        let mut events = pool.events();
        let mut pids: Vec<u32> = held.iter().map(|held| held.pid).collect();
        if method == StartMethod::ForkServer {
            pids.push(parent_of(pids[0]));
        }
        ask_to_end(&pids).await;
        let shutdown = tokio::spawn(async move { in_time(pool.shutdown()).await });
        drop(held);
        for task in running {
            let ran_on = in_time(task).await.unwrap();
            assert!(pids.contains(&ran_on));
        }
        for task in waiting {
            let ran_on = in_time(task).await.unwrap();
            assert!(!pids.contains(&ran_on), "nothing begins on who is asked to end");
        }
        // The last ones may be told so by the shutdown before they are heard.
        let is_expected = |reason: &LeaveReason| {
            matches!(reason, LeaveReason::Terminated | LeaveReason::ShutDown)
        };
        assert!(reasons(&mut events, WORKERS).await.iter().all(is_expected));
        let report = shutdown.await.unwrap();
        assert_eq!((report.finished, report.killed), (WORKERS as u64 + 20, 0), "{method:?}");
    }
}

#[tokio::test]
async fn an_idle_worker_leaves_at_once_and_that_is_no_death() {
    for method in METHODS {
        let pool = pool(method, 1);
        let first = in_time(pool.run(pid, ())).await.unwrap();
        let mut events = pool.events();
        ask_to_end(&[first]).await;
        assert_eq!(reasons(&mut events, 1).await, [LeaveReason::Terminated]);
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), first);
        let stats = pool.stats();
        assert_eq!((stats.worker_deaths, stats.failed), (0, 0), "{method:?}");
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn who_is_asked_twice_ends_at_once() {
    for method in METHODS {
        let (gate, pool) = (Gate::new().await, pool(method, 1));
        let task = pool.submit(hold, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        ask_to_end(&[held.pid]).await;
        ask_to_end(&[held.pid]).await;
        let error = in_time(task).await.unwrap_err();
        assert!(error.to_string().contains("killed by signal 15 (SIGTERM)"), "{error}");
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn the_pool_ends_a_task_at_once_whoever_has_asked_before() {
    for method in METHODS {
        let (gate, pool) = (Gate::new().await, pool(method, 1));
        let task = pool.submit(hold, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        ask_to_end(&[held.pid]).await;
        task.abort();
        assert!(in_time(task).await.unwrap_err().is_cancelled());
        in_time(pool.shutdown()).await;
    }
}

/// A task that sends itself the signal means it.
fn end_itself() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::TERM).unwrap();
    loop {
        std::thread::park();
    }
}

/// Tells by the gate, and goes on when it has got the signal.
async fn wait_for_signal(port: u16) -> u32 {
    let mut asked = signal(SignalKind::terminate()).unwrap();
    drop(std::thread::spawn(move || hold(port)));
    asked.recv().await.unwrap();
    std::process::id()
}

#[tokio::test]
async fn a_task_that_ends_itself_dies_and_one_that_handles_the_signal_gets_it() {
    for method in METHODS {
        let (gate, pool) = (Gate::new().await, pool(method, 1));
        let error = in_time(pool.run(end_itself, ())).await.unwrap_err();
        assert!(error.to_string().contains("killed by signal 15 (SIGTERM)"), "{error}");
        let task = pool.submit(wait_for_signal, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        ask_to_end(&[held.pid]).await;
        assert_eq!(in_time(task).await.unwrap(), held.pid);
        // It is left to whoever handles it what comes of it.
        assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), held.pid, "{method:?}");
        in_time(pool.shutdown()).await;
    }
}

fn initialize(port: u16) {
    hold(port);
}

#[tokio::test]
async fn who_is_asked_in_its_initializer_leaves_when_it_is_ready() {
    for method in METHODS {
        let gate = Gate::new().await;
        let builder = ProcessPoolExecutor::builder().start_method(method).max_workers(1);
        let pool = builder.initializer(initialize, gate.port()).build().unwrap();
        let mut events = pool.events();
        let task = pool.submit(pid, ()).await.unwrap();
        let first = gate.arrival().await;
        ask_to_end(&[first.pid]).await;
        drop(first);
        assert_eq!(reasons(&mut events, 1).await, [LeaveReason::Terminated]);
        drop(gate.arrival().await);
        in_time(task).await.unwrap();
        assert_eq!(pool.stats().start_failures, 0);
        in_time(pool.shutdown()).await;
    }
}

fn note_slowly((journal, number): (String, u32)) -> u32 {
    std::thread::sleep(Duration::from_micros(100));
    note(journal, number)
}

#[tokio::test]
async fn each_item_of_a_map_runs_once_while_workers_are_asked_to_end_again_and_again() {
    const ITEMS: u32 = 4_000;
    for method in METHODS {
        let (journal, pool) = (Journal::new(), pool(method, WORKERS));
        let path = journal.path();
        let mut map = pool.map(note_slowly, (0..ITEMS).map(|number| (path.clone(), number)));
        let mut results = Vec::new();
        while let Some(result) = in_time(map.next()).await {
            results.push(result.unwrap());
            if results.len() % 500 == 1 {
                let pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
                let _ = Command::new("kill").args(pids.iter().map(u32::to_string)).status();
            }
        }
        assert_eq!(results, (0..ITEMS).collect::<Vec<_>>());
        let mut ran = journal.numbers();
        ran.sort_unstable();
        assert_eq!(ran, results, "{method:?}");
        in_time(pool.shutdown()).await;
    }
}

/// Asked while nothing else goes on, and by way of a group of its own, as a terminal would.
#[tokio::test]
async fn a_worker_is_in_a_group_of_its_own_and_gets_no_ctrl_c() {
    let (gate, pool) = (Gate::new().await, pool(StartMethod::Spawn, 1));
    let held = fill(&pool, &gate, 1).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", held[0].pid)).unwrap();
    let group: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(group, held[0].pid);
    drop(held);
    in_time(pool.shutdown()).await;
}

procpool::register!(end_itself, wait_for_signal, initialize, note_slowly);
