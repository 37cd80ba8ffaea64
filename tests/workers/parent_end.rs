//! The end of the pool's process, or of its runtime, in every form: workers, what tasks have
//! started, the fork server and all shared memory are gone within a second, whatever was going on.

#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::common::{Gate, Held, fixture, in_time, process_gone, processes_with_env, wait_until};

const MARK: &str = "PROCPOOL_ENDING";
const METHODS: [&str; 2] = ["spawn", "forkserver"];

/// The fixture, whose workers are all busy but one.
struct Parent {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its tasks, which would end if this were dropped.
    held: Vec<Held>,
    mark: String,
}

impl Parent {
    async fn start(method: &str, way: &str) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (mark, gate) = (format!("{}-{number}", std::process::id()), Gate::new().await);
        let mut command = Command::new(fixture("ending"));
        command.args([method, way, &mark, &gate.port().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(gate.arrival().await);
        }
        let mut parent = Self { child, stdin, lines, held, mark };
        assert_eq!(parent.line().await, "ready");
        // Three busy workers, two children of theirs, one idle worker or the next busy one.
        let least = if method == "spawn" { 6 } else { 7 };
        let (mark, count) = (&parent.mark, || processes_with_env(MARK, &parent.mark).len());
        assert!(count() >= least, "{} processes of {mark}", count());
        parent
    }

    async fn line(&mut self) -> String {
        in_time(self.lines.next_line()).await.unwrap().expect("it prints one more line")
    }

    async fn go(&mut self) {
        self.stdin.write_all(b"go\n").await.unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap().cast_signed();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits until none of its workers, their children and its fork server is left.
    async fn all_gone(&self) {
        wait_until("all are gone", || processes_with_env(MARK, &self.mark).is_empty()).await;
    }
}

/// On a busy machine an attempt may be late for reasons of the machine's; one of three must be in
/// time.
async fn within_a_second<F: Future<Output = Duration>>(attempt: impl Fn(&'static str) -> F) {
    for method in METHODS {
        let mut times = Vec::new();
        while times.iter().all(|time| *time >= Duration::from_secs(1)) {
            assert!(times.len() < 3, "{method}: it took {times:?}");
            times.push(attempt(method).await);
        }
    }
}

/// The process ends after this was done.
async fn assert_process_ends(way: &'static str, end: impl AsyncFn(&mut Parent)) {
    within_a_second(async |method| {
        let mut parent = Parent::start(method, way).await;
        let since = Instant::now();
        end(&mut parent).await;
        in_time(parent.child.wait()).await.unwrap();
        parent.all_gone().await;
        since.elapsed()
    })
    .await;
}

#[tokio::test]
async fn return_from_main() {
    assert_process_ends("return", Parent::go).await;
}

#[tokio::test]
async fn panic() {
    assert_process_ends("panic", Parent::go).await;
}

#[tokio::test]
async fn exit() {
    assert_process_ends("exit", Parent::go).await;
}

#[tokio::test]
async fn exit_in_a_task_of_the_runtime() {
    assert_process_ends("exit-in-task", Parent::go).await;
}

#[tokio::test]
async fn abort() {
    assert_process_ends("abort", Parent::go).await;
}

#[tokio::test]
async fn signals() {
    // Others may be ignored, as by `nohup`, and a program inherits that.
    for signal in [Signal::KILL, Signal::TERM] {
        assert_process_ends("signal", async |parent| parent.signal(signal)).await;
    }
}

/// The process goes on, and says when it has nothing of the pool any more.
async fn assert_pool_ends(way: &'static str) {
    within_a_second(async |method| {
        let mut parent = Parent::start(method, way).await;
        let since = Instant::now();
        parent.go().await;
        let line = parent.line().await;
        assert!(line.starts_with("gone after "), "{line}");
        parent.all_gone().await;
        let time = since.elapsed();
        assert!(parent.child.try_wait().unwrap().is_none(), "it lives on");
        parent.go().await;
        assert!(in_time(parent.child.wait()).await.unwrap().success());
        time
    })
    .await;
}

#[tokio::test]
async fn runtime_dropped() {
    assert_pool_ends("drop-runtime").await;
}

#[tokio::test]
async fn runtime_shut_down_with_a_timeout() {
    assert_pool_ends("shut-down-runtime").await;
}

#[tokio::test]
async fn runtime_shut_down_in_the_background() {
    assert_pool_ends("abandon-runtime").await;
}

#[tokio::test]
async fn pool_dropped_with_a_task_of_the_runtime() {
    assert_pool_ends("pool-in-task").await;
}

#[tokio::test]
async fn pool_dropped_in_a_task_of_the_runtime() {
    assert_pool_ends("drop-pool").await;
}

// ----- copies of the parent -----

#[tokio::test]
async fn a_forked_copy_of_the_parent_that_lives_on() {
    within_a_second(async |method| {
        let mut parent = Parent::start(method, "fork").await;
        let line = parent.line().await;
        let copy: u32 = line.strip_prefix("copy ").unwrap().parse().unwrap();
        assert!(!process_gone(copy));
        let since = Instant::now();
        parent.signal(Signal::KILL);
        in_time(parent.child.wait()).await.unwrap();
        parent.all_gone().await;
        let time = since.elapsed();
        assert!(!process_gone(copy), "it had no part in that");
        kill_process(Pid::from_raw(copy.cast_signed()).unwrap(), Signal::KILL).unwrap();
        time
    })
    .await;
}

#[tokio::test]
async fn a_forked_copy_of_the_parent_that_ends_does_not_disturb_the_pool() {
    for method in METHODS {
        let mut parent = Parent::start(method, "fork-exits").await;
        assert_eq!(parent.line().await, "still works");
        assert!(parent.held.iter().all(|held| !process_gone(held.pid)));
        parent.go().await;
        assert!(in_time(parent.child.wait()).await.unwrap().success());
        parent.all_gone().await;
    }
}
