//! A fork server that several pools share.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use procpool::{
    Builder, ForkServer, ForkServerBuilder, ProcessPoolExecutor, ResourceLimits, StartMethod,
    WorkerOutput,
};

use crate::common::{
    Gate, children, fill, hold, in_time, kill, panic_now, pid, process_exited, process_gone,
    wait_until,
};
use crate::journal::{Journal, note, note_line};

fn server() -> ForkServerBuilder {
    ForkServer::builder().output(WorkerOutput::Null).env("RUST_BACKTRACE", "0")
}

fn builder(server: &ForkServer) -> Builder {
    let builder = ProcessPoolExecutor::builder().fork_server(server).max_workers(2);
    builder.worker_output(WorkerOutput::Null)
}

/// This worker, and its server.
fn places() -> (u32, u32) {
    (std::process::id(), parent_id())
}

fn load(path: String) -> u32 {
    println!("loading");
    note_line(&path, &std::process::id().to_string());
    7
}

/// What was preloaded, and who asks for it.
fn loaded(who: String) -> (u32, String) {
    (*procpool::preloaded::<u32>().unwrap(), who)
}

fn say(text: String) {
    println!("{text}");
}

fn add_line(path: String, line: String) {
    note_line(&path, &line);
}

fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap()
}

fn name() -> String {
    procpool::current_process().name().to_owned()
}

procpool::register!(places, parent_id, load, loaded, say, add_line, open_files, name);

async fn server_of(pool: &ProcessPoolExecutor) -> u32 {
    in_time(pool.run(parent_id, ())).await.unwrap()
}

// ----- what is shared, and what is not -----

#[tokio::test]
async fn pools_share_the_server_and_its_preload_and_no_worker() {
    let (journal, gate) = (Journal::new(), Gate::new().await);
    let server = server().preload(load, journal.path()).build().unwrap();
    let pools = [builder(&server).build().unwrap(), builder(&server).build().unwrap()];
    let mut workers = BTreeSet::new();
    for (number, pool) in pools.iter().enumerate() {
        let held = fill(pool, &gate, 2).await;
        workers.extend(held.iter().map(|held| held.pid));
        let shown: BTreeSet<_> = pool.workers().iter().map(|worker| worker.pid).collect();
        assert_eq!(shown, held.iter().map(|held| held.pid).collect());
        drop(held);
        let who = format!("pool {number}");
        assert_eq!(in_time(pool.run(loaded, who.clone())).await.unwrap(), (7, who));
    }
    assert_eq!(workers.len(), 4);
    let parent = server_of(&pools[0]).await;
    assert_eq!(server_of(&pools[1]).await, parent);
    assert_eq!(journal.numbers(), [parent]);
    assert!(children().contains(&parent));
}

#[tokio::test]
async fn each_pool_has_its_own_output_names_limits_and_hooks() {
    let (journal, lines) = (Journal::new(), Arc::new(Mutex::new(Vec::new())));
    let output = |pool: &'static str| {
        let lines = Arc::clone(&lines);
        WorkerOutput::lines(move |line| {
            lines.lock().unwrap().push(format!("{pool}: {}", line.text));
        })
    };
    let line = |text: &str| (journal.path(), text.to_owned());
    let limits = |files| ResourceLimits::new().open_files(files);
    let server =
        server().output(output("server")).preload(load, journal.path()).limits(limits(200));
    let server = server.after_fork(add_line, line("server's")).build().unwrap();
    let builder = |name| builder(&server).name(name).max_workers(1).worker_output(output(name));
    let first = builder("first").after_fork(add_line, line("first's")).build().unwrap();
    let second = builder("second").limits(limits(300)).build().unwrap();
    for (pool, name_of_pool, files) in [(&first, "first", 200), (&second, "second", 300)] {
        assert_eq!(in_time(pool.run(name, ())).await.unwrap(), format!("{name_of_pool}-worker-1"));
        assert_eq!(in_time(pool.run(open_files, ())).await.unwrap(), files);
        in_time(pool.run(say, format!("I am {name_of_pool}"))).await.unwrap();
        in_time(pool.shutdown()).await;
    }
    wait_until("all was passed on", || lines.lock().unwrap().len() == 3).await;
    let mut said = lines.lock().unwrap().clone();
    said.sort();
    assert_eq!(said, ["first: I am first", "second: I am second", "server: loading"]);
    let parent = journal.lines()[0].clone();
    assert_eq!(journal.lines(), [&parent, "server's", "first's", "server's"]);
}

#[tokio::test]
async fn both_pools_work_at_once_with_a_process_for_each_task() {
    const TASKS: u32 = 150;
    let journals = [Journal::new(), Journal::new()];
    let server = ForkServer::new().unwrap();
    let pool = || builder(&server).max_tasks_per_child(1).build().unwrap();
    let pools = [pool(), pool()];
    let work = pools.iter().zip(&journals).map(|(pool, journal)| {
        let inputs = (0..TASKS).map(|number| (journal.path(), number));
        pool.map(note, inputs).map(Result::unwrap).collect::<Vec<_>>()
    });
    for results in in_time(join_all(work)).await {
        assert!(results.into_iter().eq(0..TASKS));
    }
    for journal in &journals {
        assert!(journal.counts().values().eq(&vec![1; TASKS as usize]));
    }
    assert!(pools.iter().all(|pool| pool.stats().worker_deaths == 0));
}

// ----- its end -----

#[tokio::test]
async fn it_ends_with_the_last_pool_if_its_handle_was_dropped_first() {
    let server = ForkServer::new().unwrap();
    let [first, second] = [builder(&server).build().unwrap(), builder(&server).build().unwrap()];
    drop(server);
    let parent = server_of(&first).await;
    assert_eq!(server_of(&second).await, parent);
    in_time(first.shutdown()).await;
    assert!(children().contains(&parent), "the other pool needs it");
    assert_eq!(in_time(second.run(parent_id, ())).await.unwrap(), parent);
    in_time(second.recycle()).await;
    assert_eq!(in_time(second.run(parent_id, ())).await.unwrap(), parent, "it forks on");
    in_time(second.shutdown()).await;
    assert!(process_gone(parent));
}

#[tokio::test]
async fn it_lives_without_pools_as_long_as_there_is_a_handle() {
    let server = ForkServer::new().unwrap();
    let pool = builder(&server).build().unwrap();
    let parent = server_of(&pool).await;
    in_time(pool.shutdown()).await;
    let pool = builder(&server).build().unwrap();
    assert_eq!(server_of(&pool).await, parent);
    in_time(pool.shutdown()).await;
    let last = server.clone();
    drop(server);
    assert!(children().contains(&parent));
    drop(last);
    wait_until("it is gone", || process_gone(parent)).await;
}

#[tokio::test]
async fn it_ends_with_pools_that_are_dropped() {
    let server = ForkServer::new().unwrap();
    let pool = builder(&server).build().unwrap();
    let parent = server_of(&pool).await;
    drop((server, pool));
    wait_until("it is gone", || process_gone(parent)).await;
}

#[tokio::test]
async fn it_is_not_started_if_nobody_needs_it() {
    let server = server().env("PROCPOOL_TEST_MARK", "not needed").build().unwrap();
    let pool = builder(&server).build().unwrap();
    in_time(pool.shutdown()).await;
    assert_eq!(crate::common::processes_with_env("PROCPOOL_TEST_MARK", "not needed"), []);
}

#[test]
fn without_its_runtime_pools_elsewhere_say_so() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = first.block_on(async { ForkServer::new().unwrap() });
    let pool = second.block_on(async { builder(&server).build().unwrap() });
    drop(first);
    second.block_on(async {
        let error = in_time(pool.run(pid, ())).await.unwrap_err();
        assert!(error.is_broken(), "{error}");
        let text = error.to_string();
        let expected = "its fork server has ended with the runtime in which it was built";
        assert!(text.contains(expected), "{text}");
        in_time(pool.shutdown()).await;
    });
}

#[test]
fn it_serves_pools_of_other_runtimes() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = first.block_on(async { ForkServer::new().unwrap() });
    let pool = first.block_on(async { builder(&server).build().unwrap() });
    let other = second.block_on(async { builder(&server).build().unwrap() });
    let parent = first.block_on(server_of(&pool));
    assert_eq!(second.block_on(server_of(&other)), parent);
    drop(second);
    first.block_on(async {
        in_time(pool.recycle()).await;
        assert_eq!(server_of(&pool).await, parent);
        drop((server, other));
        in_time(pool.shutdown()).await;
        assert!(process_gone(parent));
    });
}

// ----- its death -----

#[tokio::test]
async fn if_it_dies_each_pool_goes_on_with_another_one() {
    let journal = Journal::new();
    let server = server().preload(load, journal.path()).build().unwrap();
    let pools = [builder(&server).build().unwrap(), builder(&server).build().unwrap()];
    let gate = Gate::new().await;
    let old = server_of(&pools[0]).await;
    let mut busy = Vec::new();
    for pool in &pools {
        let handle = pool.submit(hold, gate.port()).await.unwrap();
        busy.push((gate.arrival().await, handle));
    }
    kill(old);
    wait_until("it is reaped", || process_gone(old)).await;
    let mut servers = BTreeSet::new();
    for pool in &pools {
        let (worker, server) = in_time(pool.run(places, ())).await.unwrap();
        servers.insert(server);
        assert!(busy.iter().all(|(held, _)| held.pid != worker));
    }
    assert_eq!(servers.len(), 1, "one new server for both");
    for (held, handle) in busy {
        drop(held);
        in_time(handle).await.unwrap();
    }
    let new = *servers.first().unwrap();
    assert_eq!(journal.numbers(), [old, new]);
    for pool in &pools {
        in_time(pool.shutdown()).await;
        assert_eq!(pool.stats().worker_deaths, 0);
    }
    assert!(children().contains(&new), "the handle has it");
}

#[tokio::test]
async fn if_it_dies_while_it_starts_all_pools_wait_for_the_next_one() {
    let gate = Gate::new().await;
    let server = server().preload(hold, gate.port()).build().unwrap();
    let pools = [builder(&server).build().unwrap(), builder(&server).build().unwrap()];
    let mut handles = Vec::new();
    for pool in &pools {
        handles.push(pool.submit(places, ()).await.unwrap());
    }
    for _ in 0..3 {
        kill(gate.arrival().await.pid);
    }
    let held = gate.arrival().await;
    let parent = held.pid;
    drop(held);
    for handle in handles {
        assert_eq!(in_time(handle).await.unwrap().1, parent);
    }
}

#[tokio::test]
async fn a_pool_may_end_while_it_waits_for_the_server() {
    let gate = Gate::new().await;
    let server = server().preload(hold, gate.port()).build().unwrap();
    let [first, second] = [builder(&server).build().unwrap(), builder(&server).build().unwrap()];
    let given_up = first.submit(places, ()).await.unwrap();
    let held = gate.arrival().await;
    let waits = second.submit(places, ()).await.unwrap();
    given_up.cancel();
    in_time(first.kill_workers()).await;
    in_time(first.shutdown()).await;
    let parent = held.pid;
    assert!(!process_exited(parent));
    drop(held);
    assert_eq!(in_time(waits).await.unwrap().1, parent);
}

#[tokio::test]
async fn a_preload_that_fails_breaks_each_pool() {
    let server = server().preload(panic_now, ()).build().unwrap();
    for _ in 0..2 {
        let pool = builder(&server).build().unwrap();
        let error = in_time(pool.run(pid, ())).await.unwrap_err();
        assert!(error.broken().unwrap().is_preload_failure(), "{error}");
        let expected = "the preload `workers::common::panic_now` panicked: now";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_start_timeout_that_is_shorter_than_the_servers_is_not_used_up_by_waiting() {
    let gate = Gate::new().await;
    let server = server().preload(hold, gate.port()).build().unwrap();
    let limit = Duration::from_millis(50);
    let pool = builder(&server).start_timeout(limit).build().unwrap();
    let handle = pool.submit(pid, ()).await.unwrap();
    let held = gate.arrival().await;
    // A start that begins later, and may take as long, does not wait for the server.
    let mut silent = std::process::Command::new("sh");
    silent.args(["-c", "cat"]);
    let other = ProcessPoolExecutor::builder().worker_command(silent).start_timeout(limit);
    let other = other.worker_output(WorkerOutput::Null).build().unwrap();
    assert!(in_time(other.run(pid, ())).await.unwrap_err().is_broken());
    assert!(!handle.is_finished());
    drop(held);
    in_time(handle).await.unwrap();
    assert_eq!(pool.stats().start_failures, 0);
}

// ----- what a pool cannot choose -----

#[tokio::test]
async fn what_is_up_to_the_server_is_refused_by_name() {
    let server = ForkServer::new().unwrap();
    let builder = || builder(&server);
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let cases = [
        (builder().preload(pid, ()), "preload"),
        (builder().env("A", "b"), "env"),
        (builder().env_remove("A"), "env"),
        (builder().env_clear(), "env"),
        (builder().inner_threads(1), "inner_threads"),
        (builder().current_dir("/"), "current_dir"),
        (builder().pass_fds([null]), "pass_fds"),
        (builder().oom_score_adj(500), "oom_score_adj"),
        (builder().worker_command("true"), "worker_command"),
        (builder().before_fork(pid, ()), "before_fork"),
        (builder().after_fork_in_parent(pid, ()), "after_fork_in_parent"),
        (builder().start_method(StartMethod::Spawn), "start_method"),
    ];
    for (builder, setting) in cases {
        let error = builder.build().unwrap_err();
        assert!(error.is_of_fork_server(), "{error}");
        let text = error.to_string();
        let expected = format!("`{setting}` is up to the fork server that the pool shares");
        assert!(text.contains(&expected), "{text}");
    }
    let fine = builder().after_fork(pid, ()).limits(ResourceLimits::new()).initializer(pid, ());
    in_time(fine.exit_hook(pid, ()).build().unwrap().run(pid, ())).await.unwrap();
}

fn unregistered() {}

#[test]
fn a_server_is_not_built_outside_of_a_runtime_nor_with_strange_functions() {
    assert!(ForkServer::new().unwrap_err().is_no_runtime());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for builder in [server().preload(unregistered, ()), server().after_fork(unregistered, ())] {
        let error = builder.build().unwrap_err();
        assert!(error.is_unregistered(), "{error}");
    }
    let named = server().name("shared").build().unwrap();
    assert_eq!(format!("{named:?}"), r#"ForkServer { name: "shared", .. }"#);
}
