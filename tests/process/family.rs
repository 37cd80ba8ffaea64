//! Parents and children: who ends with whom, and what they know of each other.

#![allow(clippy::needless_pass_by_value, reason = "processes own their arguments")]

use std::process::Stdio;

use procpool::{
    AuthKey, Process, ProcessPoolExecutor, active_children, current_process, parent_process,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::common::{Gate, children, fixture, hold, in_time, pid, process_gone, wait_until};

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// What a process knows of itself and its parent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Papers {
    name: String,
    pid: u32,
    daemon: bool,
    authkey: Vec<u8>,
    parent: Option<(String, u32, bool)>,
    /// The name of a process made there, and whether that is a daemon.
    next: (String, bool),
}

fn papers() -> Papers {
    let this = current_process();
    let parent = parent_process();
    let next = Process::new(pid, ());
    Papers {
        name: this.name().to_owned(),
        pid: this.pid(),
        daemon: this.daemon(),
        authkey: this.authkey().as_bytes().to_owned(),
        parent: parent.map(|it| (it.name().to_owned(), it.pid(), it.is_alive())),
        next: (next.name().to_owned(), next.daemon()),
    }
}

/// The papers of a child and of its child.
async fn two_generations() -> (Papers, Papers) {
    (papers(), Process::spawn(papers, ()).await.unwrap())
}

async fn start_a_child() -> Result<i32, String> {
    let child = Process::new(pid, ());
    child.start().await.map_err(|error| {
        assert!(error.is_daemon_child() && error.is_start_failure());
        error.to_string()
    })?;
    Ok(child.join().await.unwrap())
}

async fn call_in_a_child() -> Result<u32, String> {
    Process::spawn(pid, ()).await.map_err(|error| error.to_string())
}

async fn run_in_a_pool() -> u32 {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    pool.run(pid, ()).await.unwrap()
}

/// Leaves a process behind, and a pid.
async fn leave_a_process_behind(port: u16, daemon: Option<bool>) -> u32 {
    let builder = Process::builder(hold, port);
    let child = match daemon {
        Some(daemon) => builder.daemon(daemon).build(),
        None => builder.build(),
    };
    child.start().await.unwrap();
    child.pid().unwrap()
}

async fn papers_with_another_key(key: Vec<u8>) -> Papers {
    current_process().set_authkey(AuthKey::new(key));
    Process::spawn(papers, ()).await.unwrap()
}

procpool::register!(papers, two_generations, start_a_child, call_in_a_child, run_in_a_pool);
procpool::register!(leave_a_process_behind, papers_with_another_key);

// ----- who is who -----

#[tokio::test]
async fn the_main_process_has_no_parent() {
    let papers = papers();
    assert_eq!((&*papers.name, papers.daemon), ("MainProcess", false));
    assert_eq!((papers.pid, papers.parent), (std::process::id(), None));
    assert!(papers.next.0.starts_with("Process-") && !papers.next.1);
    assert!(format!("{:?}", current_process()).contains("name: \"MainProcess\""));
}

#[tokio::test]
async fn a_child_knows_itself_and_its_parent() {
    let handle = Process::builder(papers, ()).name("chosen").daemon(true).spawn();
    let process = handle.process().clone();
    let papers = in_time(handle).await.unwrap();
    assert_eq!((&*papers.name, papers.daemon), ("chosen", true));
    assert_eq!(Some(papers.pid), process.pid());
    assert_eq!(papers.parent, Some(("MainProcess".to_owned(), std::process::id(), true)));
    assert!(papers.next.1, "a daemon's children are daemons, if it could have any");
}

#[tokio::test]
async fn names_of_grandchildren_have_the_numbers_of_their_parents() {
    let handle = Process::builder(two_generations, ()).name("chosen").spawn();
    let (child, grandchild) = in_time(handle).await.unwrap();
    assert_eq!(child.name, "chosen");
    // The number counts, not the name.
    let path = child.next.0.strip_suffix(":1").unwrap();
    assert!(path.strip_prefix("Process-").unwrap().parse::<u32>().is_ok(), "{path}");
    assert_eq!(grandchild.name, format!("{path}:2"));
    assert_eq!(grandchild.next.0, format!("{path}:2:1"));
    assert_eq!(grandchild.parent, Some(("chosen".to_owned(), child.pid, true)));
    assert_eq!(grandchild.authkey, child.authkey);
    assert!(!child.next.1 && !grandchild.next.1);
}

#[tokio::test]
async fn a_worker_knows_itself_and_its_pool() {
    let pool = ProcessPoolExecutor::builder().name("mill").max_workers(1).build().unwrap();
    let worker = in_time(pool.run(papers, ())).await.unwrap();
    let number = worker.name.strip_prefix("mill-worker-").unwrap();
    assert_eq!(worker.next, (format!("Process-w{number}:1"), true));
    assert!(!worker.daemon, "its tasks may have children");
    assert_eq!(worker.parent, Some(("MainProcess".to_owned(), std::process::id(), true)));
    assert_eq!(worker.authkey, current_process().authkey().as_bytes());
    let (worker, child) = in_time(pool.run(two_generations, ())).await.unwrap();
    assert_eq!(child.parent, Some((worker.name, worker.pid, true)));
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn workers_of_pools_are_no_active_children() {
    let gate = Gate::new().await;
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let task = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let call = Process::spawn(hold, gate.port());
    let called = gate.arrival().await;
    let active: Vec<_> = active_children().iter().filter_map(Process::pid).collect();
    assert!(active.contains(&called.pid) && !active.contains(&held.pid), "{active:?}");
    drop((held, called));
    in_time(call).await.unwrap();
    in_time(task).await.unwrap();
    in_time(pool.shutdown()).await;
}

// ----- daemons -----

#[tokio::test]
async fn a_daemon_may_have_no_children() {
    // scenario 85
    let start = Process::builder(start_a_child, ()).daemon(true).name("strict").spawn();
    let error = in_time(start).await.unwrap().unwrap_err();
    assert!(error.contains("daemons may have no children, and `strict` is one"), "{error}");
    assert!(error.contains("`ProcessBuilder::daemon(false)`"), "{error}");
    let call = Process::builder(call_in_a_child, ()).daemon(true).spawn();
    let error = in_time(call).await.unwrap().unwrap_err();
    assert!(error.contains("daemons may have no children"), "{error}");
}

#[tokio::test]
async fn others_may_have_children_and_a_daemon_may_have_a_pool() {
    // scenario 85
    assert_eq!(in_time(Process::spawn(start_a_child, ())).await.unwrap(), Ok(0));
    in_time(Process::spawn(call_in_a_child, ())).await.unwrap().unwrap();
    let pool = Process::builder(run_in_a_pool, ()).daemon(true).spawn();
    in_time(pool).await.unwrap();
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    assert_eq!(in_time(pool.run(start_a_child, ())).await.unwrap(), Ok(0));
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn what_is_no_daemon_outlives_its_handle_and_its_parent() {
    // scenario 85
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    drop(process);
    let parent = Process::spawn(leave_a_process_behind, (gate.port(), Some(false)));
    let left = in_time(parent).await.unwrap();
    let orphan = gate.arrival().await;
    assert_eq!(orphan.pid, left);
    for held in [held, orphan] {
        let id = held.pid;
        assert!(!process_gone(id));
        drop(held);
        wait_until("it is gone, once it is let go", || process_gone(id)).await;
    }
}

#[tokio::test]
async fn a_daemon_ends_with_its_parent_and_so_does_what_a_task_has_started() {
    // scenario 85
    let gate = Gate::new().await;
    let parent = Process::spawn(leave_a_process_behind, (gate.port(), Some(true)));
    let left = in_time(parent).await.unwrap();
    wait_until("the daemon is gone", || process_gone(left)).await;

    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let left = in_time(pool.run(leave_a_process_behind, (gate.port(), None))).await.unwrap();
    let mut held = gate.arrival().await;
    while held.pid != left {
        held = gate.arrival().await; // the first one may have got as far as that
    }
    assert!(!process_gone(left), "its worker lives");
    in_time(pool.shutdown()).await;
    wait_until("it is gone with its worker", || process_gone(left)).await;
}

// ----- parents that end -----

/// The fixture, and what it prints.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(what: &str, gate: &Gate) -> Self {
        let mut command = Command::new(fixture("family"));
        command.args([what, &gate.port().to_string()]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        in_time(self.lines.next_line()).await.unwrap().expect("it prints one more line")
    }

    fn pid(&self) -> Pid {
        to_pid(self.child.id().unwrap())
    }
}

#[tokio::test]
async fn of_a_killed_parent_only_those_are_left_that_are_no_daemons() {
    // scenario 85
    for signal in [Signal::KILL, Signal::TERM] {
        let gate = Gate::new().await;
        let mut program = Program::start("family", &gate);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(gate.arrival().await);
        }
        let (mut go, mut stay) = (Vec::new(), 0);
        for _ in 0..4 {
            let line = program.line().await;
            let (what, id) = line.split_once(' ').unwrap();
            match what {
                "other" => stay = id.parse().unwrap(),
                "child" | "daemon" | "pool" => go.push(id.parse::<u32>().unwrap()),
                _ => panic!("{line}"),
            }
        }
        go.extend(held.iter().map(|held| held.pid).filter(|id| *id != stay));
        assert!(go.iter().all(|id| !process_gone(*id)));
        kill_process(program.pid(), signal).unwrap();
        in_time(program.child.wait()).await.unwrap();
        wait_until("the others are gone", || go.iter().all(|id| process_gone(*id))).await;
        assert!(!process_gone(stay));
        drop(held);
        wait_until("it is gone, once it is let go", || process_gone(stay)).await;
    }
}

#[tokio::test]
async fn a_grandchild_sees_the_end_of_its_parent() {
    // scenario 86
    let gate = Gate::new().await;
    let mut program = Program::start("generations", &gate);
    // Each arrives with its pid; the grandchild writes once more.
    let (grandchild, child) = {
        let (one, other) = (gate.accept().await, gate.accept().await);
        if parent_of(one.0) == Some(other.0) { (one, other) } else { (other, one) }
    };
    let (mut stream, child_pid) = (grandchild.1, child.0);
    drop(child.1);
    assert_eq!(program.line().await, "exit code 0");
    assert_eq!(in_time(stream.read_u32()).await.unwrap(), child_pid, "it has seen the end of it");
    assert!(in_time(program.child.wait()).await.unwrap().success());
}

/// The parent of a process.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn an_interrupt_of_the_foreground_group_reaches_the_parent_only() {
    let gate = Gate::new().await;
    let mut program = Program::start("interrupt", &gate);
    assert_eq!(program.line().await, "ready");
    let held = gate.arrival().await;
    kill_process_group(program.pid(), Signal::INT).unwrap();
    assert_eq!(program.line().await, "interrupted");
    drop(held);
    assert_eq!(program.line().await, "exit code 0");
}

#[tokio::test]
async fn a_forgotten_init_is_told() {
    let mut command = Command::new(fixture("forgotten_process_init"));
    let output = in_time(command.output()).await.unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    // The child tells it, too, if that is faster than its parent is in ending it.
    assert!(matches!(stderr.lines().count(), 1..=2), "{stderr}");
    for line in stderr.lines() {
        assert!(line.starts_with("failed (true): process `Process-1`"), "{stderr}");
        assert!(line.contains("`procpool::init()`"), "{stderr}");
    }
}

#[tokio::test]
async fn a_child_that_ends_without_a_word_is_told_with_a_hint() {
    let mut command = Command::new(fixture("forgotten_process_init"));
    let output = in_time(command.env("LEAVE", "1").output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("failed (false): process `Process-1`"), "{stderr}");
    assert!(stderr.contains("exited with code 0; it did not get as far as"), "{stderr}");
}

// ----- runtimes that end -----

#[test]
fn a_process_outlives_its_runtime_and_is_reaped_and_told_of() {
    for daemon in [false, true] {
        let (first, second) = (runtime(), runtime());
        let gate = second.block_on(Gate::new());
        let process = Process::builder(hold, gate.port()).daemon(daemon).build();
        first.block_on(async { in_time(process.start()).await.unwrap() });
        let held = second.block_on(gate.arrival());
        drop(first);
        assert!(process.is_alive() && !process_gone(held.pid));
        second.block_on(async {
            let id = held.pid;
            drop(held);
            assert_eq!(in_time(process.join()).await.unwrap(), 0);
            assert!(process_gone(id) && !children().contains(&id));
        });
    }
}

#[test]
fn a_typed_call_ends_with_its_runtime() {
    let (first, second) = (runtime(), runtime());
    let (call, held) = first.block_on(async {
        let gate = Gate::new().await;
        (Process::spawn(hold, gate.port()), gate.arrival().await)
    });
    drop(first);
    let process = call.process().clone();
    let error = second.block_on(in_time(call)).unwrap_err();
    assert!(error.is_runtime_gone() && !error.is_start_failure(), "{error}");
    assert_eq!((process.exitcode(), process.is_alive()), (Some(-9), false));
    assert!(process_gone(held.pid));
}

#[test]
fn a_runtime_that_ends_during_a_start_leaves_nothing_behind() {
    for turns in 0..50 {
        let runtime = runtime();
        let process = Process::new(pid, ());
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = process.start() => {}
                () = yield_often(turns * 20) => {}
            }
        });
        drop(runtime);
        let joined = self::runtime().block_on(in_time(process.join()));
        assert!(joined.is_ok() || joined.unwrap_err().is_runtime_gone());
        assert!(process.pid().is_none_or(process_gone));
        assert!(!process.is_alive());
    }
}

async fn yield_often(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// ----- the key -----

#[tokio::test]
async fn the_key_is_inherited_and_can_be_chosen_before_the_start() {
    // scenario 88
    let own = current_process().authkey();
    assert_eq!(own.as_bytes().len(), 32);
    assert_ne!(own.as_bytes(), [0; 32]);
    assert_eq!(Process::new(pid, ()).authkey(), own);
    assert_eq!(in_time(Process::spawn(papers, ())).await.unwrap().authkey, own.as_bytes());

    let chosen = Process::builder(papers, ()).authkey(AuthKey::new("built with it")).spawn();
    assert_eq!(chosen.process().authkey(), AuthKey::new("built with it"));
    assert!(chosen.process().set_authkey(own.clone()).unwrap_err().is_already_started());
    assert_eq!(in_time(chosen).await.unwrap().authkey, b"built with it");

    let later = Process::new(check_key, b"set later".to_vec());
    later.set_authkey(AuthKey::new("set later")).unwrap();
    in_time(later.start()).await.unwrap();
    assert_eq!(in_time(later.join()).await.unwrap(), 0);

    let call = Process::spawn(papers_with_another_key, b"changed in the child".to_vec());
    assert_eq!(in_time(call).await.unwrap().authkey, b"changed in the child");
    assert_eq!(current_process().authkey(), own, "it is the child's business");
}

fn check_key(key: Vec<u8>) {
    assert_eq!(current_process().authkey().as_bytes(), key);
}

procpool::register!(check_key);

#[tokio::test]
async fn the_key_is_nowhere_to_be_seen() {
    // scenario 88
    let gate = Gate::new().await;
    let process = Process::builder(hold, gate.port()).authkey(AuthKey::new("Sesame")).build();
    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    for file in ["cmdline", "environ"] {
        let content = std::fs::read(format!("/proc/{}/{file}", held.pid)).unwrap();
        assert!(!content.is_empty());
        assert!(!content.windows(6).any(|window| window == b"Sesame"), "{file}");
    }
    for text in [format!("{process:?}"), format!("{:?}", process.authkey())] {
        assert!(!text.contains("Sesame") && !text.contains("[83"), "{text}");
    }
    drop(held);
    in_time(process.join()).await.unwrap();
}
