//! Workers that run in a sandbox of the system, into which a command takes them. Where this user
//! may not make one, a test says so and passes.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use procpool::{ProcessPoolExecutor, StartMethod};

use crate::common::{in_time, process_gone, wait_until};

const NOBODY: &str = "65534";
const LARGE: usize = 1 << 20;

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn environment_of(pid: u32) -> Result<Vec<u8>, String> {
    std::fs::read(format!("/proc/{pid}/environ")).map_err(|error| error.to_string())
}

fn processes() -> usize {
    let is_process =
        |name: std::ffi::OsString| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter(|entry| is_process(entry.as_ref().unwrap().file_name())).count()
}

fn interfaces() -> String {
    std::fs::read_to_string("/proc/net/dev").unwrap()
}

fn turn(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn zeros(length: usize) -> Vec<u8> {
    vec![0; length]
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

procpool::register!(user, environment_of, processes, interfaces, turn, zeros, spin);

/// This program, where everybody may run it, for as long as this lives.
struct Program(PathBuf);

impl Program {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("procpool-{name}-{}", std::process::id()));
        // By a child: one that another test starts meanwhile would have the file open for writing.
        let program = std::env::current_exe().unwrap();
        assert!(Command::new("cp").arg(program).arg(&path).status().unwrap().success());
        Self(path)
    }

    /// It as a worker, by way of a command; `None` if that cannot be.
    fn by(&self, words: &[&str]) -> Option<Command> {
        const AS_WORKER: [&str; 5] =
            ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];
        let (wrapper, args) = words.split_first()?;
        let tried = Command::new(wrapper).args(args).arg("true").output();
        if !tried.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: this user cannot run {words:?}");
            return None;
        }
        let mut command = Command::new(wrapper);
        command.args(args).arg(&self.0).args(AS_WORKER).current_dir("/");
        Some(command)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn pool(command: Command, method: StartMethod) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    builder.worker_command(command).grace_period(Duration::from_millis(100)).build().unwrap()
}

/// Whatever else a sandbox does, tasks run in it, and can be ended.
async fn assert_serves(pool: &ProcessPoolExecutor) {
    for length in [10, LARGE, LARGE] {
        assert_eq!(in_time(pool.run(turn, vec![7; length])).await.unwrap().len(), length);
    }
    let pid = pool.workers()[0].pid;
    let spinning = pool.task(spin, ()).timeout(Duration::from_millis(50));
    assert!(in_time(spinning.run()).await.unwrap_err().is_timeout());
    in_time(pool.run(turn, Vec::new())).await.unwrap();
    wait_until("the worker is gone", || process_gone(pid)).await;
}

#[tokio::test]
async fn a_worker_that_is_another_user_serves_and_does_not_see_the_service() {
    let program = Program::new("another-user");
    let (user_id, group_id) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let words = ["setpriv", &user_id, &group_id, "--clear-groups", "--no-new-privs"];
    let Some(command) = program.by(&words) else { return };
    let pool = pool(command, StartMethod::Spawn);
    assert_eq!(in_time(pool.run(user, ())).await.unwrap().to_string(), NOBODY);
    let seen = in_time(pool.run(environment_of, std::process::id())).await.unwrap();
    assert!(seen.unwrap_err().contains("Permission denied"));
    assert_serves(&pool).await;
    in_time(pool.shutdown()).await;
}

/// It has no page for claims, so nothing is sent ahead to it, and it says itself when its results
/// take too much.
#[tokio::test]
async fn a_map_by_a_worker_that_is_another_user_holds_no_more_than_by_any_other() {
    const COUNT: usize = 60;
    let program = Program::new("another-user-maps");
    let user_id = format!("--reuid={NOBODY}");
    let Some(command) = program.by(&["setpriv", &user_id, "--no-new-privs"]) else { return };
    let pool = pool(command, StartMethod::Spawn);
    let mut results = pool.map(zeros, [2 * LARGE; COUNT]).chunksize(7);
    in_time(results.next()).await.unwrap().unwrap();
    in_time(pool.run(user, ())).await.unwrap(); // behind all that is not held back
    wait_until("the pool is idle", || pool.stats().running == 0).await;
    let mut held = 0;
    while let Some(result) = results.next().now_or_never() {
        assert_eq!(result.unwrap().unwrap().len(), 2 * LARGE);
        held += 1;
    }
    assert!((1..=10).contains(&held), "{held} results are held");
    assert_eq!(in_time(results.count()).await, COUNT - 1 - held);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_fork_server_that_is_another_user_says_that_it_cannot_be_one() {
    let program = Program::new("another-user-forks");
    let (user_id, group_id) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let words = ["setpriv", &user_id, &group_id, "--clear-groups", "--no-new-privs"];
    let Some(command) = program.by(&words) else { return };
    let pool = pool(command, StartMethod::ForkServer);
    let error = in_time(pool.run(user, ())).await.unwrap_err();
    assert!(error.broken().unwrap().is_preload_failure(), "{error}");
    let text = "cannot fork workers: it cannot be tied to the pool's process: Permission denied";
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn a_worker_in_namespaces_of_its_own_serves_and_sees_nobody() {
    let program = Program::new("namespaces");
    let options = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let words = [&["unshare"], &options[..]].concat();
    let Some(command) = program.by(&words) else { return };
    let pool = pool(command, StartMethod::Spawn);
    assert_eq!(in_time(pool.run(processes, ())).await.unwrap(), 1);
    let interfaces = in_time(pool.run(interfaces, ())).await.unwrap();
    assert_eq!(interfaces.lines().filter(|line| line.contains(": ")).count(), 1, "{interfaces}");
    assert_serves(&pool).await;
    in_time(pool.shutdown()).await;
}
