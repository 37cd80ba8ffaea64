//! What becomes of a pool when the machine runs short of something.
//!
//! The programs that run short are processes of their own, `tests/fixtures/exhausted.rs`. Where a
//! shortage cannot be had, as that takes rights which the test lacks, it says so and passes.
//!
//! A binary of its own: it is no worker, and starts programs that have their own.

#![cfg(target_os = "linux")]

mod common;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use common::{LIMIT, ProgramCopy, fixture, in_time, processes_with_env, wait_until};

/// Runs a command that ends up as the fixture, to its end, which must leave no process behind.
async fn run(mut command: Command) -> String {
    const MARK: &str = "PROCPOOL_TEST_MARK";
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let value = format!("exhaustion {} {number}", std::process::id());
    command.env(MARK, &value).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(2 * LIMIT, command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    wait_until("all are gone", || processes_with_env(MARK, &value).is_empty()).await;
    stdout
}

/// The fixture, after a script that ends with `exec "$@"`.
fn after(script: &str, of_what: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(fixture("exhausted")).arg(of_what);
    command
}

/// As [`after`], where it may mount what it likes; `None` if nobody may.
fn with_own_mounts(script: &str, of_what: &str) -> Option<Command> {
    let unshare = |args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(args);
        command
    };
    for args in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let tried = unshare(args).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if tried.is_ok_and(|output| output.status.success()) {
            let mut command = unshare(args);
            command.args(["sh", "-e", "-c", script, "sh"]);
            command.arg(fixture("exhausted")).arg(of_what);
            return Some(command.into());
        }
    }
    eprintln!("skipped: this user may not mount anything");
    None
}

/// A file of this test's alone, in a directory that everybody may enter.
fn place(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("procpool-{name}-{}", std::process::id()))
}

// ----- descriptors -----

#[tokio::test]
async fn with_few_descriptors_there_are_fewer_workers_and_everything_is_done() {
    let stdout = run(after("ulimit -n 40; exec \"$@\"", "few-descriptors")).await;
    let expected = "done: 205, deaths: 0\nshort of descriptors: true\n";
    assert_eq!(stdout, expected.repeat(2));
}

#[tokio::test]
async fn a_pool_survives_a_time_without_descriptors() {
    let stdout = run(after("ulimit -n 64; exec \"$@\"", "no-descriptors")).await;
    assert_eq!(stdout, "done: true\n".repeat(2));
}

#[tokio::test]
async fn no_start_takes_the_last_descriptors() {
    let stdout = run(after("ulimit -n 64; exec \"$@\"", "last-descriptors")).await;
    assert_eq!(stdout, "done: true\n".repeat(2));
}

#[tokio::test]
async fn a_program_opens_files_while_no_worker_can_be_started() {
    let stdout = run(after("ulimit -n 64; exec \"$@\"", "busy-descriptors")).await;
    let expected = "opens failed: 0\nfailures: true, few: true\n";
    assert_eq!(stdout, expected.repeat(2));
}

// ----- processes -----

/// The fixture, as a user who may be limited in this.
async fn run_as_somebody(of_what: &str) -> String {
    const NOBODY: u32 = 65534;
    let copy = ProgramCopy::new(&fixture("exhausted"), of_what);
    let mut command = std::process::Command::new(&copy.0);
    command.arg(of_what).arg(place(&format!("{of_what}-file"))).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    run(command.into()).await
}

#[tokio::test]
async fn a_pool_survives_a_time_without_processes() {
    match &*run_as_somebody("no-processes").await {
        "unlimited\n" => eprintln!("skipped: the number of processes is not limited"),
        stdout => assert_eq!(stdout, "done: true\n".repeat(2)),
    }
}

#[tokio::test]
async fn a_pool_survives_a_time_without_threads_in_its_workers() {
    match &*run_as_somebody("no-threads").await {
        "unlimited\n" => eprintln!("skipped: the number of processes is not limited"),
        stdout => assert_eq!(stdout, "done: true\n"),
    }
}

#[tokio::test]
async fn no_task_is_lost_where_a_fork_fails_now_and_then() {
    match &*run_as_somebody("few-processes").await {
        "unlimited\n" => eprintln!("skipped: the number of processes is not limited"),
        stdout => assert_eq!(stdout, "done: 50, deaths: 0\n".repeat(2)),
    }
}

// ----- file systems -----

#[tokio::test]
async fn without_proc_a_program_has_to_be_named() {
    let script = "mount -t tmpfs none /proc; exec \"$@\" \"$1\"";
    let Some(command) = with_own_mounts(script, "no-proc") else { return };
    let stdout = run(command).await;
    let lines: Vec<_> = stdout.lines().collect();
    let starts = |start: &str, text: &str| {
        lines.iter().any(|line| line.starts_with(start) && line.contains(text))
    };
    assert!(starts("own program: ", "mount `/proc`"), "{stdout}");
    assert!(starts("own program: ", "Builder::worker_command"), "{stdout}");
    assert!(starts("by its path: 1048576", ""), "{stdout}");
    assert!(starts("fork server: ", "is `/proc` mounted?"), "{stdout}");
}

/// Each of the two pools has started no more than its two workers.
const ALL_WELL: &str = "starts: 2\nstarts: 2\n";

#[tokio::test]
async fn a_full_dev_shm_is_no_concern() {
    let script = "mount -t tmpfs -o size=4k none /dev/shm; \
                  head -c 4096 /dev/zero > /dev/shm/full; \
                  ! head -c 1 /dev/zero 2> /dev/null > /dev/shm/more; exec \"$@\"";
    let Some(command) = with_own_mounts(script, "large") else { return };
    assert_eq!(run(command).await, ALL_WELL);
}

#[tokio::test]
async fn nothing_is_written_to_the_working_directory() {
    let script = "mount -t tmpfs -o ro none /mnt; cd /mnt; ! touch file 2> /dev/null; exec \"$@\"";
    let Some(command) = with_own_mounts(script, "large") else { return };
    assert_eq!(run(command).await, ALL_WELL);
}

#[tokio::test]
async fn a_working_directory_that_is_gone_is_no_concern() {
    let mut command = std::process::Command::new(fixture("exhausted"));
    command.arg("gone-directory").arg(place("gone-directory"));
    assert_eq!(run(command.into()).await, ALL_WELL);
}

#[tokio::test]
async fn where_no_file_may_be_written_large_arguments_go_through_pipes() {
    for blocks in [0, 1, 200, 5000] {
        let script = format!("ulimit -f {blocks}; exec \"$@\"");
        assert_eq!(run(after(&script, "large")).await, ALL_WELL, "{blocks} blocks");
    }
}

// ----- the program -----

/// A fixture that is told when to start new workers.
struct Running {
    child: tokio::process::Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        in_time(self.lines.next_line()).await.unwrap().expect("it prints one more line")
    }

    /// What becomes of the workers that it starts from now on.
    async fn go_on(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
        self.line().await
    }
}

#[tokio::test]
async fn a_program_that_was_replaced_or_deleted_goes_on_as_the_same_build() {
    for deleted in [false, true] {
        let copy = ProgramCopy::new(&fixture("exhausted"), &format!("replaced-{deleted}"));
        let mut command = Command::new(&copy.0);
        command.arg("replaced");
        let mut running = Running::start(command);
        for method in 0..2 {
            assert_eq!(running.line().await, "ready");
            if deleted {
                drop(std::fs::remove_file(&copy.0)); // or it is gone since the first time
            } else {
                replace(&copy.0, Path::new("/bin/false"), method);
            }
            assert_eq!(running.go_on().await, "new: true, same: true");
        }
    }
}

/// As an installer does: at one blow.
fn replace(path: &Path, by: &Path, number: u32) {
    let new = path.with_extension(number.to_string());
    std::fs::copy(by, &new).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_worker_program_that_is_another_build_now_is_refused() {
    let copy = ProgramCopy::new(&fixture("exhausted"), "replaced-command");
    let mut command = Command::new(fixture("exhausted"));
    command.arg("replaced-command").arg(&copy.0);
    let mut running = Running::start(command);
    assert_eq!(running.line().await, "ready");
    replace(&copy.0, &fixture("bare_worker"), 0);
    let refused = running.go_on().await;
    assert!(refused.starts_with("refused: "), "{refused}");
    assert!(refused.contains("its program was built with other functions"), "{refused}");
}

#[tokio::test]
async fn a_worker_program_that_is_gone_is_named() {
    let copy = ProgramCopy::new(&fixture("exhausted"), "deleted-command");
    let mut command = Command::new(fixture("exhausted"));
    command.arg("replaced-command").arg(&copy.0);
    let mut running = Running::start(command);
    assert_eq!(running.line().await, "ready");
    std::fs::remove_file(&copy.0).unwrap();
    let refused = running.go_on().await;
    let name = copy.0.display().to_string();
    assert!(refused.contains(&name) && refused.contains("No such file"), "{refused}");
}
