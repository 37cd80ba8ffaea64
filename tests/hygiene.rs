//! What workers and processes get from their parent, and what they do not.
//!
//! A binary of its own: it makes descriptors that every child of its process inherits.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

mod common;

procpool::test_support!();

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procpool::{Builder, Process, ProcessPoolExecutor, StartMethod, current_process};
use rustix::io::FdFlags;

use common::{Gate, hold, in_time, pid, wait_until};

/// The descriptors of this process, with what they are.
fn descriptors() -> BTreeMap<i32, String> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = all.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let numbers: Vec<i32> = numbers.collect();
    let target = |fd: &i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let found = numbers.into_iter().filter_map(|fd| Some((fd, target(&fd)?)));
    found.map(|(fd, target)| (fd, target.to_string_lossy().into_owned())).collect()
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// What went wrong, or nothing.
fn write(fd: i32, text: String) -> Result<(), String> {
    let written = std::fs::write(format!("/proc/self/fd/{fd}"), text);
    written.map_err(|error| format!("{error}: {:?}", descriptors()))
}

fn write_and_hold(fd: i32, port: u16) {
    write(fd, "it is there".to_owned()).unwrap();
    hold(port);
}

procpool::register!(descriptors, environment, write, write_and_hold);

/// How a test binary becomes a worker.
const AS_WORKER: [&str; 5] =
    ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];

fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(AS_WORKER);
    command
}

/// A pool of one worker for each way to start it.
fn builders() -> [Builder; 4] {
    let builder = || ProcessPoolExecutor::builder().max_workers(1);
    let forked = || builder().start_method(StartMethod::ForkServer);
    [builder(), forked(), builder().worker_command(command()), forked().worker_command(command())]
}

/// A pipe whose writing end every child inherits.
fn inheritable_pipe() -> (File, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    let copy = rustix::io::dup(&writer).unwrap(); // not to be closed on exec
    (OwnedFd::from(reader).into(), copy)
}

// ----- descriptors -----

/// By which a process sees its parent end.
const PIDFD: &str = "anon_inode:[pidfd]";

/// Those that there have to be, and no others. A forked worker has three more: the end of the pipe
/// by which it notices that the pool's process is gone, and two that have the system tell it. Any
/// other one has opened its parent for that.
#[track_caller]
fn assert_only_needed(descriptors: &BTreeMap<i32, String>, frames: usize, lifelines: usize) {
    assert_eq!(descriptors[&0], "/dev/null", "{descriptors:?}");
    assert_eq!(descriptors[&1], descriptors[&2], "{descriptors:?}");
    let (parents, others): (Vec<&String>, Vec<&String>) =
        descriptors.range(3..).map(|(_, target)| target).partition(|target| *target == PIDFD);
    assert_eq!(parents.len(), usize::from(lifelines == 0), "{descriptors:?}");
    let pipes = others.iter().filter(|target| target.starts_with("pipe:")).count();
    assert_eq!((others.len(), pipes), (frames + lifelines, frames + lifelines), "{descriptors:?}");
}

#[tokio::test]
async fn a_worker_has_the_descriptors_that_it_needs_and_no_others() {
    let (mut reader, writer) = inheritable_pipe();
    let others = builders().map(|builder| builder.max_workers(2).min_workers(2).build().unwrap());
    for other in &others {
        in_time(other.ready()).await.unwrap();
    }
    let mut pools = Vec::new();
    for (builder, lifelines) in builders().into_iter().zip([0, 3, 0, 3]) {
        let pool = builder.max_workers(2).min_workers(2).build().unwrap();
        in_time(pool.ready()).await.unwrap();
        let found = in_time(pool.run(descriptors, ())).await.unwrap();
        // Two for frames, and one to see how much is printed.
        let printed = found[&2].clone();
        assert_eq!(found.values().filter(|target| **target == printed).count(), 3, "{found:?}");
        assert_only_needed(&found, 3, lifelines);
        pools.push(pool);
    }
    drop(writer);
    // All of the workers are there, and none has the other end.
    let end = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
    assert_eq!(in_time(end).await.unwrap().unwrap(), 0);
    for pool in pools.iter().chain(&others) {
        in_time(pool.run(pid, ())).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_has_the_descriptors_that_it_needs_and_no_others() {
    let (_reader, _writer) = inheritable_pipe();
    let found = in_time(Process::spawn(descriptors, ())).await.unwrap();
    let (parents, others): (Vec<&String>, Vec<&String>) =
        found.range(3..).map(|(_, target)| target).partition(|target| *target == PIDFD);
    assert_eq!(parents.len(), 1, "{found:?}");
    assert!(others.iter().all(|target| target.starts_with("socket:")), "{found:?}");
    assert_eq!(others.len(), 2, "{found:?}"); // to read from, and to write to
}

#[tokio::test]
async fn what_is_passed_on_is_there_under_its_number() {
    let (mut reader, writer) = inheritable_pipe();
    let (_other_reader, other) = inheritable_pipe();
    let (fd, writer) = (writer.as_raw_fd(), Arc::new(writer));
    // By what it is: any descriptor of a worker's own may have its number.
    let unwanted = descriptors()[&other.as_raw_fd()].clone();
    let mut expected = String::new();
    for (number, builder) in (0..).zip(builders()) {
        let pool = builder.pass_fds([Arc::clone(&writer)]).build().unwrap();
        let text = format!("worker {number}\n");
        assert_eq!(in_time(pool.run(write, (fd, text.clone()))).await.unwrap(), Ok(()));
        let found = in_time(pool.run(descriptors, ())).await.unwrap();
        let is_closed = found.values().all(|target| *target != unwanted);
        assert!(is_closed, "worker {number} has {unwanted}: {found:?}");
        expected += &text;
    }
    let process = Process::builder(write, (fd, "process\n".to_owned()));
    let process = process.pass_fds([Arc::clone(&writer)]);
    assert_eq!(in_time(process.spawn()).await.unwrap(), Ok(()));
    expected += "process\n";
    drop(writer);
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(in_time(read).await.unwrap().unwrap(), expected);
}

/// Starts other children meanwhile, and looks what they have; returns how many there were.
fn start_others(unwanted: &str, fd: BorrowedFd<'_>, done: &AtomicBool) -> u32 {
    let mut children = 0;
    while !done.load(Ordering::Relaxed) || children == 0 {
        let mut child = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        child.stdout.retain(u8::is_ascii);
        let found = String::from_utf8(child.stdout).unwrap();
        assert!(!found.contains(unwanted), "{found}");
        // There are moments between two of them.
        for _ in 0..10_000 {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
        children += 1;
    }
    children
}

#[tokio::test]
async fn what_is_passed_on_stays_closed_on_exec_for_all_others() {
    let (reader, writer) = std::io::pipe().unwrap();
    let fd = writer.as_raw_fd();
    let (pipe, done) = (descriptors()[&fd].clone(), Arc::new(AtomicBool::new(false)));
    let writer = Arc::new(OwnedFd::from(writer));
    let others = {
        let (writer, done) = (Arc::clone(&writer), Arc::clone(&done));
        std::thread::spawn(move || start_others(&pipe, writer.as_fd(), &done))
    };
    let mut expected = String::new();
    for (number, builder) in (0..).zip(builders()) {
        let pool = builder.pass_fds([Arc::clone(&writer)]).build().unwrap();
        for text in [format!("worker {number}\n"), format!("its successor {number}\n")] {
            assert_eq!(in_time(pool.run(write, (fd, text.clone()))).await.unwrap(), Ok(()));
            in_time(pool.recycle()).await;
            expected += &text;
        }
    }
    let process = Process::builder(write, (fd, "process\n".to_owned()));
    let process = process.pass_fds([Arc::clone(&writer)]);
    assert_eq!(in_time(process.spawn()).await.unwrap(), Ok(()));
    expected += "process\n";
    done.store(true, Ordering::Relaxed);
    let children = tokio::task::spawn_blocking(move || others.join());
    assert!(in_time(children).await.unwrap().unwrap() > 0);
    drop(writer);
    let read = tokio::task::spawn_blocking(move || std::io::read_to_string(reader));
    assert_eq!(in_time(read).await.unwrap().unwrap(), expected);
}

/// What comes through the pipe until all of its other ends are closed.
async fn read(reader: impl Read + Send + 'static) -> String {
    let read = tokio::task::spawn_blocking(move || std::io::read_to_string(reader));
    in_time(read).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_passed_on_is_open_as_long_as_a_pool_may_start_workers() {
    for (number, builder) in (0..).zip(builders()) {
        let (reader, writer) = std::io::pipe().unwrap();
        let (fd, mut expected) = (writer.as_raw_fd(), String::new());
        let pool = builder.pass_fds([OwnedFd::from(writer)]).build().unwrap();
        for text in [format!("worker {number}\n"), format!("its successor {number}\n")] {
            assert_eq!(in_time(pool.run(write, (fd, text.clone()))).await.unwrap(), Ok(()));
            in_time(pool.recycle()).await;
            expected += &text;
        }
        in_time(pool.shutdown()).await;
        assert_eq!(read(reader).await, expected, "nobody has the other end any more");
        drop(pool);
    }
}

#[tokio::test]
async fn what_is_passed_on_is_closed_here_once_the_process_has_it() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (fd, pipe) = (writer.as_raw_fd(), descriptors()[&writer.as_raw_fd()].clone());
    let is_here = |name: &str| descriptors().iter().any(|(n, t)| t == name && *n == fd);
    let gate = Gate::new().await;
    let args = (fd, gate.port());
    let builder = Process::builder(write_and_hold, args).pass_fds([OwnedFd::from(writer)]);
    assert!(is_here(&pipe), "it is kept for the process");
    let process = builder.spawn();
    let held = gate.arrival().await;
    wait_until("it is closed", || !is_here(&pipe)).await;
    drop(held);
    in_time(process).await.unwrap();
    assert_eq!(read(reader).await, "it is there");
}

#[tokio::test]
async fn what_is_shared_is_closed_by_its_last_owner() {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = Arc::new(OwnedFd::from(writer));
    let fd = writer.as_raw_fd();
    let first = Process::builder(write, (fd, "first ".to_owned())).pass_fds([Arc::clone(&writer)]);
    let second = Process::builder(write, (fd, "second".to_owned())).pass_fds([writer]);
    assert_eq!(in_time(first.clone().spawn()).await.unwrap(), Ok(()));
    assert_eq!(in_time(second.spawn()).await.unwrap(), Ok(()));
    assert_eq!(in_time(first.spawn()).await.unwrap(), Ok(()), "a builder keeps it");
    assert_eq!(read(reader).await, "first secondfirst ");
}

// ----- secrets -----

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// What everybody may read of a process, or at least everybody of the same user.
#[track_caller]
fn assert_no_secret(pid: u32, secret: &[u8]) {
    for file in ["environ", "cmdline", "comm"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        assert!(file == "environ" || !bytes.is_empty());
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{file}");
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!text.contains(&hex(secret)), "{file}");
    }
}

fn authkey() -> (u32, Vec<u8>, u32) {
    let parent = std::os::unix::process::parent_id();
    (std::process::id(), current_process().authkey().as_bytes().to_vec(), parent)
}

procpool::register!(authkey);

#[tokio::test]
async fn the_key_is_known_to_relatives_and_nowhere_to_be_read() {
    let own = current_process().authkey();
    for builder in builders() {
        let pool = builder.build().unwrap();
        let (worker, key, parent) = in_time(pool.run(authkey, ())).await.unwrap();
        assert_eq!(key, own.as_bytes());
        assert_no_secret(worker, &key);
        assert_no_secret(parent, &key); // the fork server, or this process
    }
    let (stdin, input) = (procpool::ProcessStdio::Piped, Gate::new().await);
    let process = Process::builder(hold, input.port()).stdin(stdin).build();
    process.start().await.unwrap();
    let held = input.arrival().await;
    assert_no_secret(held.pid, own.as_bytes());
    drop(held);
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

// ----- the environment -----

fn only(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_cleared_environment_has_what_is_set_afterwards_and_nothing_else() {
    assert!(!environment().is_empty());
    for builder in builders() {
        let builder = builder.env("BEFORE", "1").env_clear().env("AFTER", "2");
        let pool = builder.build().unwrap();
        assert_eq!(in_time(pool.run(environment, ())).await.unwrap(), only(&[("AFTER", "2")]));
    }
    let process = Process::builder(environment, ()).env("BEFORE", "1").env_clear();
    let found = in_time(process.env("AFTER", "2").spawn()).await.unwrap();
    assert_eq!(found, only(&[("AFTER", "2")]));
}

#[tokio::test]
async fn a_variable_can_be_removed() {
    let without = |name: &str| {
        let mut expected = environment();
        assert!(expected.remove(name).is_some(), "{name} is not set");
        expected
    };
    for builder in builders() {
        let pool = builder.env("NEW", "1").env_remove("NEW").env_remove("PATH").build().unwrap();
        let found = in_time(pool.run(environment, ())).await.unwrap();
        assert_eq!(found, without("PATH"));
    }
    let process = Process::builder(environment, ()).env_remove("PATH");
    assert_eq!(in_time(process.spawn()).await.unwrap(), without("PATH"));
}

#[tokio::test]
async fn what_a_command_removes_from_its_environment_is_removed() {
    let mut command = command();
    command.env_remove("PATH").env("OF_THE_COMMAND", "1");
    let pool = ProcessPoolExecutor::builder().worker_command(command).build().unwrap();
    let found = in_time(pool.run(environment, ())).await.unwrap();
    assert_eq!(found.get("PATH"), None);
    assert_eq!(found["OF_THE_COMMAND"], "1");
}
