//! What several test files need: deadlines, gates, processes, and programs to be a worker.

#![allow(dead_code, reason = "each test file uses its own part of this")]

#[cfg(target_os = "linux")]
pub(crate) mod cgroup;
#[cfg(target_os = "linux")]
pub(crate) mod machine;

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use procpool::TaskHandle;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Far more than anything takes, even on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Turns a hang into a failure.
#[track_caller]
pub(crate) fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        let done = within(LIMIT, future).await;
        done.unwrap_or_else(|| panic!("nothing came within {LIMIT:?} at {place}"))
    }
}

/// Waits so long, second by second: if all processes are stopped for a while, as on a machine that
/// is suspended, that takes no more than one of them.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..limit.as_secs() {
        if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut future).await {
            return Some(done);
        }
    }
    None
}

/// For conditions of which no event tells.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "waited {LIMIT:?} in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

// ----- gates: tasks that tell when they run, and run until they are let go -----

/// Where tasks that call [`hold`] arrive.
pub(crate) struct Gate(TcpListener);

impl Gate {
    pub(crate) async fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    /// What [`hold`] is called with.
    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Waits until the next task runs.
    pub(crate) async fn arrival(&self) -> Held {
        let (pid, stream) = self.accept().await;
        Held { pid, stream }
    }

    /// As [`arrival`](Self::arrival), for tasks that have more to say.
    pub(crate) async fn accept(&self) -> (u32, tokio::net::TcpStream) {
        let (mut stream, _) = in_time(self.0.accept()).await.unwrap();
        let pid = in_time(stream.read_u32()).await.unwrap();
        (pid, stream)
    }
}

/// A task that runs until this is dropped.
pub(crate) struct Held {
    pub(crate) pid: u32,
    stream: tokio::net::TcpStream,
}

impl Held {
    /// Waits until the task, or its process, is gone.
    pub(crate) async fn gone(&mut self) {
        let _ = in_time(self.stream.read_u8()).await; // a reset is as good as an end
    }
}

/// Holds a task in each of so many workers.
pub(crate) async fn fill(
    pool: &procpool::ProcessPoolExecutor,
    gate: &Gate,
    workers: usize,
) -> Vec<Held> {
    let mut held = Vec::new();
    for _ in 0..workers {
        drop(pool.submit(hold, gate.port()).await.unwrap());
        held.push(gate.arrival().await);
    }
    held
}

/// A task that arrives at a gate, waits there until it is let go, and returns its worker's pid.
pub(crate) fn hold(port: u16) -> u32 {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(&std::process::id().to_be_bytes()).unwrap();
    let _ = stream.read(&mut [0]); // returns when the other end is dropped
    std::process::id()
}

/// A task that returns its worker's pid.
pub(crate) fn pid() -> u32 {
    std::process::id()
}

/// The pipe that this worker writes its frames to: that with the highest number of those to which
/// nothing is printed.
pub(crate) fn frame_pipe() -> PathBuf {
    let printed = std::fs::read_link("/proc/self/fd/2").unwrap();
    let is_write_end = |fd: &u32| {
        let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        let is_pipe = target.to_string_lossy().starts_with("pipe:");
        is_pipe && target != printed && flags.ends_with('1')
    };
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    let fds = fds.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let fd = fds.filter(is_write_end).max().unwrap();
    format!("/proc/self/fd/{fd}").into()
}

pub(crate) fn panic_now() {
    panic!("now");
}

pub(crate) fn exit_now() {
    std::process::exit(3);
}

pub(crate) fn exit_at_first_attempt() -> u32 {
    match procpool::current().attempt() {
        1 => std::process::exit(3),
        attempt => attempt,
    }
}

procpool::register!(hold, pid);

// ----- processes -----

/// Kills a process from outside.
#[track_caller]
pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Whether a process is gone; a child of this one only when it is reaped, too.
pub(crate) fn process_gone(pid: u32) -> bool {
    match state_and_parent(pid) {
        None => true,
        Some((state, parent)) => "ZX".contains(state) && parent != std::process::id(),
    }
}

/// Whether a process has exited, be it reaped or not.
pub(crate) fn process_exited(pid: u32) -> bool {
    state_and_parent(pid).is_none_or(|(state, _)| "ZX".contains(state))
}

/// Whether a process is stopped by a signal.
pub(crate) fn process_stopped(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state == 'T')
}

/// The children of this process, those that nobody has reaped included.
pub(crate) fn children() -> Vec<u32> {
    processes().filter(|&pid| parent(pid) == Some(std::process::id())).collect()
}

/// Whether the system says how a process has ended that others have waited for.
pub(crate) fn tells_of_the_reaped() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// The processes that have `name=value` in the environment that they were started with. Zombies
/// have no environment.
pub(crate) fn processes_with_env(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}").into_bytes();
    let has_it = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted))
    };
    processes().filter(has_it).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    state_and_parent(pid).map(|(_, parent)| parent)
}

fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the name before it may contain anything
    let mut fields = fields.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

// ----- programs -----

/// The program `tests/fixtures/NAME.rs`, which `Cargo.toml` names as the example `fixture_NAME`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    example(&format!("fixture_{name}"))
}

/// What a program prints that ends well.
pub(crate) async fn printed(mut command: tokio::process::Command) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(3 * LIMIT, command.output()).await.unwrap().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// A copy of a program where every user may start it, removed when this is dropped.
pub(crate) struct ProgramCopy(pub(crate) PathBuf);

impl ProgramCopy {
    /// By a child: one that another test starts meanwhile would have the copy open for writing, and
    /// what is open so cannot be started.
    pub(crate) fn new(program: &Path, name: &str) -> Self {
        let name = format!("procpool-{name}-{}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        assert!(Command::new("cp").args([program, &copy.0]).status().unwrap().success());
        copy
    }
}

impl Drop for ProgramCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // or the test has done so
    }
}

/// An example program. `cargo test` builds all of them, `cargo test --test X` does not; so it is
/// built here if it is missing or older than its sources.
pub(crate) fn example(name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    if !is_fresh(&program) {
        build_example(name, profile);
    }
    program
}

fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let Ok(dependencies) = std::fs::read_to_string(program.with_extension("d")) else {
        return false;
    };
    let (Some(built), Some((_, sources))) = (modified(program), dependencies.split_once(": "))
    else {
        return false;
    };
    sources.split_whitespace().all(|source| modified(source.as_ref()).is_some_and(|at| at <= built))
}

fn build_example(example: &str, profile: &Path) {
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--example", example, "--profile", name, "--target-dir"])
        .arg(profile.parent().unwrap())
        .status();
    assert!(built.unwrap().success(), "failed to build {example}");
}

/// What has returned of these, and how many were cancelled; nothing else may have become of them.
pub(crate) async fn finished_and_cancelled<T>(handles: Vec<TaskHandle<T>>) -> (Vec<T>, u64)
where
    T: serde::de::DeserializeOwned,
{
    let (mut finished, mut cancelled) = (Vec::new(), 0);
    for handle in handles {
        match in_time(handle).await {
            Ok(result) => finished.push(result),
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                cancelled += 1;
            }
        }
    }
    (finished, cancelled)
}
