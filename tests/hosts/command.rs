//! Hosts that a command reaches: here the agent is simply started on this machine.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Builder, Host, HostState, PoolEvent, ProcessPoolExecutor, SharedSlice, StartMethod,
    TaskErrorKind, TaskHandle, TaskStatus, WorkerOutput,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{
    Gate, ProgramCopy, fill, hold, in_time, kill, pid, process_exited, process_gone, wait_until,
};

fn double(n: u64) -> u64 {
    n * 2
}

fn fail(text: String) {
    panic!("{text}");
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn print_and_end(text: String) {
    eprintln!("{text}");
    std::process::exit(7);
}

fn print(text: String) {
    println!("{text}");
}

fn parent() -> (u32, String) {
    let parent = procpool::parent_process().unwrap();
    (parent.pid(), parent.name().to_owned())
}

fn sum(values: SharedSlice<u64>) -> u64 {
    values.iter().sum()
}

procpool::register!(double, fail, echo, print_and_end, print, parent, sum);

/// The program of these tests, as it becomes what it is started as.
fn program() -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    let words = ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];
    std::iter::once(program).chain(words.map(Into::into)).collect()
}

fn agent(workers: usize) -> Host {
    Host::command(program()).workers(workers).name("next door")
}

pub(crate) fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().hosts([agent(workers)])
}

/// The shell runs a script, in which `"$@"` becomes the agent.
fn by_script(script: &str) -> Host {
    let words = ["sh", "-c", script, "sh"].map(OsString::from);
    Host::command(words.into_iter().chain(program())).workers(1).name("scripted")
}

async fn refused(host: Host) -> String {
    let pool = ProcessPoolExecutor::builder().hosts([host]).build().unwrap();
    let error = in_time(pool.run(double, 1)).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn tasks_run_on_a_host_as_they_do_here() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let pool = builder(2).start_method(method).build().unwrap();
        assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
        let error = in_time(pool.run(fail, "on purpose".to_owned())).await.unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("on purpose"), "{error}");
        let large = vec![7; 3 << 20];
        assert_eq!(in_time(pool.run(echo, large.clone())).await.unwrap(), large);
        let doubled: Vec<_> = in_time(pool.map(double, 0..1_000).collect()).await;
        assert!(doubled.into_iter().map(Result::unwrap).eq((0..1_000).map(|n| n * 2)));
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn the_agent_is_the_parent_there() {
    let pool = builder(1).build().unwrap();
    let (parent, name) = in_time(pool.run(parent, ())).await.unwrap();
    assert_ne!(parent, std::process::id());
    assert_eq!(name, "MainProcess");
    in_time(pool.shutdown()).await;
    assert!(process_gone(parent), "the agent is gone when the pool is");
}

#[tokio::test]
async fn a_death_there_is_the_business_of_one_task() {
    let pool = builder(2).build().unwrap();
    let error = pool.run(print_and_end, "last words".to_owned());
    let error = in_time(error).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!(death.exit_code(), Some(7));
    assert!(death.stderr_tail().contains("last words"), "{death:?}");
    let there = in_time(pool.run(pid, ())).await.unwrap();
    assert_ne!(death.pid(), there);
    let gate = Gate::new().await;
    let task = pool.submit(hold, gate.port()).await.unwrap();
    kill(gate.arrival().await.pid);
    let death = in_time(task).await.unwrap_err().worker_death().cloned().unwrap();
    assert_eq!(death.signal(), Some(9));
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_task_there_can_be_ended() {
    let grace = Duration::from_millis(20);
    let pool = builder(1).grace_period(grace).build().unwrap();
    let gate = Gate::new().await;
    let task = pool.submit(hold, gate.port()).await.unwrap();
    let mut held = gate.arrival().await;
    task.abort();
    assert!(in_time(task).await.unwrap_err().is_cancelled());
    in_time(held.gone()).await;
    let task = pool.task(hold, gate.port()).timeout(Duration::from_millis(1)).submit().await;
    assert!(in_time(task.unwrap()).await.unwrap_err().is_timeout());
    assert_eq!(in_time(pool.run(double, 1)).await.unwrap(), 2);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_host_has_as_many_workers_as_it_has_cpus_unless_it_is_said() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let hosts = [Host::command(program()).name("next door")];
    let builder = ProcessPoolExecutor::builder().hosts(hosts).min_workers(1_000);
    let pool = builder.build().unwrap();
    assert_eq!(pool.stats().max_workers, 1);
    wait_until("all are up", || pool.stats().workers_idle == cpus).await;
    assert_eq!((pool.stats().max_workers, pool.workers().len()), (cpus, cpus));
    let stats = pool.stats();
    let [host] = &stats.hosts[..] else { panic!("{:?}", stats.hosts) };
    assert_eq!(
        (&*host.name, host.state, host.max_workers),
        ("next door", HostState::Serving, cpus)
    );
    assert_eq!((host.workers, host.workers_ready), (cpus, cpus));
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn what_is_printed_there_is_seen_here_and_says_where_it_was() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let output = WorkerOutput::lines(move |line| {
        let whose = (line.host.map(str::to_owned), line.pid);
        seen.lock().unwrap().push((whose, line.text.to_owned()));
    });
    let builder = ProcessPoolExecutor::builder().min_workers(2).worker_output(output);
    let builder = builder.initializer(print, "here I am".to_owned());
    let hosts = [agent(1), Host::local().workers(1).name("at home")];
    let pool = builder.hosts(hosts).build().unwrap();
    in_time(pool.ready()).await.unwrap();
    for number in 0..50 {
        in_time(pool.run(print, format!("line {number}"))).await.unwrap();
    }
    let workers = pool.workers();
    in_time(pool.shutdown()).await;
    let lines = lines.lock().unwrap();
    let whose = |text: &str| -> Vec<_> {
        lines.iter().filter(|line| line.1 == text).map(|line| line.0.clone()).collect()
    };
    let names = workers.iter().map(|worker| worker.host.as_deref().map(str::to_owned));
    let all: BTreeSet<_> = names.zip(workers.iter().map(|worker| worker.pid)).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(BTreeSet::from_iter(whose("here I am")), all);
    for number in 0..50 {
        let printed = whose(&format!("line {number}"));
        assert!(printed.len() == 1 && all.contains(&printed[0]), "{printed:?}");
    }
}

/// Submits `double(4)`, and returns when it waits in the pool: what was sent ahead, behind a task
/// that then turned out to be long, was taken back.
async fn submit_behind(pool: &ProcessPoolExecutor) -> TaskHandle<u64> {
    let mut events = pool.events();
    let task = pool.submit(double, 4).await.unwrap();
    let id = task.id();
    let is_it = |event| matches!(event, PoolEvent::TaskQueued { task, .. } if task == id);
    while !is_it(in_time(events.next()).await.unwrap()) {} // from here on it is sent, if at all
    wait_until("it waits", || task.status() == TaskStatus::Pending).await;
    task
}

#[tokio::test]
async fn a_host_that_is_lost_fails_what_runs_there_and_nothing_else() {
    let pool = builder(1).build().unwrap();
    let (agent, _) = in_time(pool.run(parent, ())).await.unwrap();
    let gate = Gate::new().await;
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let mut held = gate.arrival().await;
    let waiting = submit_behind(&pool).await;
    kill(agent);
    let error = in_time(running).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::HostLost, "{error}");
    let loss = error.host_loss().unwrap();
    assert_eq!((loss.host(), loss.pid()), ("next door", held.pid));
    assert!(loss.reason().contains("was ended by signal 9"), "{loss}");
    assert_eq!(pool.stats().hosts[0].state, HostState::Resting);
    // The agent's end is that of its workers, and a new agent takes its place.
    in_time(held.gone()).await;
    assert_eq!(in_time(waiting).await.unwrap(), 8);
    in_time(pool.shutdown()).await;
}

/// The agent is not what is started, which is ended when the host is lost. It has a session of its
/// own: when the shell ends, the kernel would end and wake what is stopped in the shell's.
fn watched() -> Host {
    by_script("setsid \"$@\"; exit $?").lease(Duration::from_secs(2))
}

#[tokio::test]
async fn a_host_that_is_silent_is_lost_and_its_workers_end_when_it_wakes() {
    let pool = ProcessPoolExecutor::builder().hosts([watched()]).build().unwrap();
    let (agent, _) = in_time(pool.run(parent, ())).await.unwrap();
    let gate = Gate::new().await;
    let task = pool.submit(hold, gate.port()).await.unwrap();
    let mut held = gate.arrival().await;
    let stopped = Stopped::new(agent);
    let error = in_time(task).await.unwrap_err();
    assert!(error.is_host_lost(), "{error}");
    assert!(error.to_string().contains("nothing was heard of it for 2s"), "{error}");
    drop(stopped);
    in_time(held.gone()).await;
    wait_until("the agent is gone", || process_gone(agent)).await;
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_retry_does_not_wait_for_a_host_that_is_stopped() {
    let pool = ProcessPoolExecutor::builder().hosts([watched()]).build().unwrap();
    let (agent, _) = in_time(pool.run(parent, ())).await.unwrap();
    let gate = Gate::new().await;
    let task = pool.task(hold, gate.port()).retries(1).submit().await.unwrap();
    let mut first = gate.arrival().await;
    let stopped = Stopped::new(agent);
    let second = gate.arrival().await;
    assert_ne!(first.pid, second.pid);
    assert!(!process_exited(first.pid), "only its agent is stopped");
    drop(stopped);
    in_time(first.gone()).await;
    drop(second);
    in_time(task).await.unwrap();
    in_time(pool.shutdown()).await;
}

/// A process that is stopped until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT); // it may have ended
    }
}

#[tokio::test]
async fn workers_are_shared_out_among_hosts() {
    let hosts =
        [Host::local().workers(1), agent(1), Host::command(program()).workers(2).name("far")];
    let pool = ProcessPoolExecutor::builder().hosts(hosts).build().unwrap();
    let gate = Gate::new().await;
    let mut tasks = Vec::new();
    let mut held = Vec::new();
    for _ in 0..4 {
        tasks.push(pool.submit(hold, gate.port()).await.unwrap());
        held.push(gate.arrival().await);
    }
    let workers = pool.workers();
    let mut hosts: Vec<_> = workers.iter().map(|worker| worker.host.clone().unwrap()).collect();
    hosts.sort();
    let hosts: Vec<_> = hosts.iter().map(|host| &**host).collect();
    assert_eq!(hosts, ["far", "far", "local", "next door"]);
    assert_eq!(held.iter().map(|held| held.pid).collect::<BTreeSet<_>>().len(), 4);
    drop(held);
    for task in tasks {
        in_time(task).await.unwrap();
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn what_a_login_prints_before_the_agent_does_not_matter() {
    let host = by_script("echo Welcome to this machine; echo and to that; exec \"$@\"");
    let pool = ProcessPoolExecutor::builder().hosts([host]).build().unwrap();
    assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_says_why() {
    let text = refused(by_script("echo no route to host >&2; exit 255")).await;
    assert!(text.contains("the host \"scripted\" cannot be reached"), "{text}");
    assert!(text.contains("`sh` has ended with code 255: no route to host"), "{text}");
    let text = refused(by_script("echo 'This account is not available'; exit 1")).await;
    assert!(text.contains("This account is not available"), "{text}");
    let text = refused(Host::command(["/nowhere/ssh"]).workers(1)).await;
    assert!(text.contains("No such file or directory"), "{text}");
}

#[tokio::test]
async fn another_build_is_refused() {
    let copy = ProgramCopy::new(&std::env::current_exe().unwrap(), "build");
    // By a child, so that no other one that is started meanwhile has it open for writing.
    let mut grow = std::process::Command::new("truncate");
    assert!(grow.args(["-s", "+1"]).arg(&copy.0).status().unwrap().success());
    let words = std::iter::once(copy.0.clone().into_os_string()).chain(program().split_off(1));
    let text = refused(Host::command(words).workers(1)).await;
    assert!(text.contains("its program is another build than this one's"), "{text}");
}

#[tokio::test]
async fn shared_memory_is_not_named_to_another_host() {
    let pool = builder(1).build().unwrap();
    let values = SharedSlice::copy_from_slice(&[1_u64, 2, 3]).unwrap();
    let error = in_time(pool.run(sum, values)).await.unwrap_err();
    assert!(error.to_string().contains("the pool has workers on other hosts"), "{error}");
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn what_cannot_be_had_on_another_host_is_refused() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let fd = std::os::fd::OwnedFd::from(writer);
    let error = builder(1).pass_fds([fd]).build().unwrap_err();
    assert_eq!(error.setting(), Some("pass_fds"));
    let error = ProcessPoolExecutor::builder().hosts([agent(0)]).build().unwrap_err();
    assert!(error.to_string().contains("the host \"next door\" must have at least 1 worker"));
}

#[tokio::test]
async fn many_workers_of_one_host_come_and_go_at_once() {
    let pool = builder(32).build().unwrap();
    let gate = Gate::new().await;
    drop(fill(&pool, &gate, 32).await);
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().workers_lost, 0);
}
