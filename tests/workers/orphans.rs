//! Nothing is left behind when the parent goes, and nothing is taken along into a worker.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use procpool::ProcessPoolExecutor;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::common::{Gate, fixture, hold, in_time, process_gone, process_stopped, wait_until};

/// The fixture, and what it prints.
struct Parent {
    child: Child,
    pid: Pid,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Parent {
    /// In a process group of its own, as a shell would start it.
    fn start(what: &str, number: u16) -> Self {
        let mut command = Command::new(fixture("parent"));
        command.args([what, &number.to_string()]).stdout(Stdio::piped()).process_group(0);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, pid, lines }
    }

    async fn line(&mut self) -> String {
        in_time(self.lines.next_line()).await.unwrap().expect("it prints one more line")
    }

    /// The number that follows `word` in the next line.
    async fn number(&mut self, word: &str) -> u32 {
        let line = self.line().await;
        let number = line.strip_prefix(word).unwrap_or_else(|| panic!("{word} expected: {line}"));
        number.trim().parse().unwrap()
    }
}

/// A parent with one worker that holds and has a child, one that spins, and one that is idle, and
/// the pids of those four.
async fn working_parent() -> (Parent, Vec<u32>, Vec<crate::common::Held>) {
    let gate = Gate::new().await;
    let mut parent = Parent::start("work", gate.port());
    let held = vec![gate.arrival().await, gate.arrival().await];
    let mut pids: Vec<u32> = held.iter().map(|held| held.pid).collect();
    for _ in 0..2 {
        let line = parent.line().await;
        let (what, pid) = line.split_once(' ').unwrap();
        assert!(matches!(what, "child" | "idle"), "{line}");
        pids.push(pid.parse().unwrap());
    }
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(pids.iter().all(|pid| !process_gone(*pid)));
    (parent, pids, held)
}

async fn assert_all_go(pids: &[u32]) {
    let since = Instant::now();
    wait_until("all are gone", || pids.iter().all(|pid| process_gone(*pid))).await;
    assert!(since.elapsed() < Duration::from_secs(10), "it took {:?}", since.elapsed());
}

#[tokio::test]
async fn when_the_parent_is_killed_its_workers_and_their_children_go() {
    // scenario 77
    let (mut parent, pids, _held) = working_parent().await;
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&pids).await;
}

#[tokio::test]
async fn when_the_parent_is_terminated_its_workers_and_their_children_go() {
    // scenario 77
    let (mut parent, pids, _held) = working_parent().await;
    kill_process(parent.pid, Signal::TERM).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&pids).await;
}

/// A parent with workers that a server has forked: as in [`working_parent`], and one that has
/// joined the parent's group. The pids of all of them, and of the server.
async fn forking_parent() -> (Parent, Vec<u32>, Vec<crate::common::Held>) {
    let gate = Gate::new().await;
    let mut parent = Parent::start("forked-work", gate.port());
    let held = vec![gate.arrival().await, gate.arrival().await, gate.arrival().await];
    let mut pids: Vec<u32> = held.iter().map(|held| held.pid).collect();
    for _ in 0..4 {
        let line = parent.line().await;
        let (what, number) = line.split_once(' ').unwrap();
        match what {
            "threads" => assert_eq!(number, "1", "a server has one thread"),
            "child" | "idle" | "server" => pids.push(number.parse().unwrap()),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 6);
    assert!(pids.iter().all(|pid| !process_gone(*pid)));
    (parent, pids, held)
}

#[tokio::test]
async fn when_the_parent_is_killed_its_fork_server_and_forked_workers_go() {
    let (mut parent, pids, _held) = forking_parent().await;
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&pids).await;
}

#[tokio::test]
async fn forked_workers_go_with_the_parent_though_their_server_has_died_before() {
    let (mut parent, pids, _held) = forking_parent().await;
    let outside = |pid: &&u32| group(**pid) == u32::try_from(parent.pid.as_raw_pid()).unwrap();
    assert_eq!(pids.iter().filter(outside).count(), 1);
    let server = *pids.iter().find(|pid| parent_of(**pid) == parent.child.id()).unwrap();
    kill_process(Pid::from_raw(server.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_until("the server is reaped", || process_gone(server)).await;
    assert!(pids.iter().all(|pid| *pid == server || !process_gone(*pid)));
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&pids).await;
}

#[tokio::test]
async fn a_forked_worker_that_has_closed_all_its_descriptors_goes_with_the_parent() {
    let gate = Gate::new().await;
    let mut parent = Parent::start("forked-closed", gate.port());
    let held = gate.arrival().await;
    assert_eq!(parent.line().await, "closed");
    let server = parent_of(held.pid).unwrap();
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&[held.pid, server]).await;
}

#[tokio::test]
async fn a_fork_server_that_is_stopped_goes_with_the_parent() {
    let (mut parent, pids, _held) = forking_parent().await;
    let server = *pids.iter().find(|pid| parent_of(**pid) == parent.child.id()).unwrap();
    kill_process(Pid::from_raw(server.try_into().unwrap()).unwrap(), Signal::STOP).unwrap();
    wait_until("the server is stopped", || process_stopped(server)).await;
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&pids).await;
}

#[tokio::test]
async fn when_the_parent_is_killed_a_fork_server_in_its_preload_goes() {
    let gate = Gate::new().await;
    let mut parent = Parent::start("preload", gate.port());
    let (held, child) = (gate.arrival().await, parent.number("child").await);
    assert!(!process_gone(held.pid) && !process_gone(child));
    kill_process(parent.pid, Signal::KILL).unwrap();
    in_time(parent.child.wait()).await.unwrap();
    assert_all_go(&[held.pid, child]).await;
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// The process group of a process.
fn group(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_interrupt_of_the_foreground_group_reaches_the_parent_only() {
    // scenario 78
    assert_not_interrupted("interrupt").await;
}

#[tokio::test]
async fn an_interrupt_of_the_foreground_group_reaches_no_fork_server() {
    assert_not_interrupted("forked-interrupt").await;
}

async fn assert_not_interrupted(what: &str) {
    let gate = Gate::new().await;
    let mut parent = Parent::start(what, gate.port());
    let held = gate.arrival().await;
    let (busy, idle) = (held.pid, parent.number("idle").await);
    for worker in [busy, idle] {
        assert_eq!(group(worker), worker, "a worker leads a group of its own");
    }
    kill_process_group(parent.pid, Signal::INT).unwrap();
    assert_eq!(parent.line().await, "interrupted");
    assert!(!process_gone(busy) && !process_gone(idle));
    let server = parent_of(busy).filter(|pid| Some(*pid) != parent.child.id());
    assert!(server.is_none_or(|pid| !process_gone(pid) && group(pid) == pid));
    assert_eq!(server.is_some(), what == "forked-interrupt");
    drop(held);
    assert_eq!(parent.number("busy").await, busy, "the task was not disturbed");
    assert!(in_time(parent.child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn pools_leave_no_descriptors_threads_or_children_behind() {
    // scenario 79
    assert_nothing_leaks("pools").await;
}

#[tokio::test]
async fn fork_servers_leave_no_descriptors_threads_or_children_behind() {
    assert_nothing_leaks("forked-pools").await;
}

#[tokio::test]
async fn workers_that_wait_for_the_preload_take_no_descriptors() {
    let gate = Gate::new().await;
    let mut parent = Parent::start("forked-many", gate.port());
    drop(gate.arrival().await);
    assert_eq!(parent.line().await, "150 starts");
    assert!(in_time(parent.child.wait()).await.unwrap().success());
}

async fn assert_nothing_leaks(what: &str) {
    let count = if cfg!(debug_assertions) { 200 } else { 1000 };
    let mut parent = Parent::start(what, count);
    let mut lines = Vec::new();
    // Not `in_time`: it may take its time.
    while let Some(line) = parent.lines.next_line().await.unwrap() {
        lines.push(line);
    }
    assert!(parent.child.wait().await.unwrap().success());
    assert_eq!(lines, ["nothing leaked"]);
}

/// What this process has open, as (number, target).
fn open_descriptors() -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        // The directory itself has gone when it is asked for.
        let target = std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned();
        let listing = target.ends_with("/fd");
        (!listing).then_some((entry.file_name().to_str()?.parse().ok()?, target))
    });
    named.collect()
}

procpool::register!(open_descriptors);

/// What every child of this process inherits from whoever started it.
fn inherited_descriptors() -> BTreeSet<u32> {
    let listed = std::process::Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_worker_inherits_nothing_but_its_frame_pipes() {
    // scenario 79
    let _sockets = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixStream::pair().unwrap());
    let _files = [std::fs::File::open("/proc/self/exe"), std::fs::File::open("/dev/null")];
    let _pipes: Vec<_> = (0..10).map(|_| std::io::pipe().unwrap()).collect();
    let gate = Gate::new().await;
    let siblings = ProcessPoolExecutor::builder().max_workers(4).build().unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        drop(siblings.submit(hold, gate.port()).await.unwrap());
        held.push(gate.arrival().await);
    }
    let (open, inherited) =
        (in_time(siblings.run(open_descriptors, ())).await.unwrap(), inherited_descriptors());
    let (standard, others): (Vec<_>, Vec<_>) = open.iter().partition(|(fd, _)| *fd <= 2);
    let target = |fd| &standard.iter().find(|(number, _)| *number == fd).unwrap().1;
    assert_eq!(target(0), "/dev/null");
    assert_eq!(target(1), target(2), "what is printed goes one way");
    let is_own = |(fd, target): &(u32, String)| {
        inherited.contains(fd) || target == "anon_inode:[pidfd]" // it has opened that to see its parent end
    };
    let others: Vec<_> = others.into_iter().filter(|other| !is_own(other)).collect();
    // Two for frames, and one to see how much is printed.
    assert_eq!(others.len(), 3, "{others:?}");
    assert!(others.iter().all(|(_, target)| target.starts_with("pipe:")), "{others:?}");
}
