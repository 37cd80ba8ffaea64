//! Pools that cannot be built, and workers that do not come up.
//!
//! A binary of its own: what is looked at are all children of its process, so the tests take turns.

mod common;

use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Builder, PoolEvent, ProcessPoolExecutor, StartMethod, SubmitError, TaskHandle, WorkerOutput,
};
use tokio::sync::Mutex;

use common::{LIMIT, children, fixture, in_time, pid, processes_with_env, wait_until};

procpool::test_support!();

static TURN: Mutex<()> = Mutex::const_new(());

/// More starts than this are a storm.
const MOST_STARTS: u64 = 8;

fn builder() -> Builder {
    ProcessPoolExecutor::builder().max_workers(2).worker_output(WorkerOutput::Null)
}

/// A command that is not disturbed by the argument that every worker gets.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Checks that the pool breaks, for waiting tasks and new ones, and leaves nothing behind.
async fn broken(builder: Builder) -> SubmitError {
    broken_after(builder, 1..=MOST_STARTS).await
}

/// As [`broken`], after so many starts.
async fn broken_after(builder: Builder, expected: RangeInclusive<u64>) -> SubmitError {
    let pool = builder.build().unwrap();
    let queued: Vec<_> = (0..3).map(|_| pool.try_submit(pid, ()).unwrap()).collect();
    let error = in_time(pool.ready()).await.unwrap_err();
    assert!(error.is_broken() && !error.is_shut_down(), "{error}");
    for handle in queued {
        let id = handle.id();
        let failed = in_time(handle).await.unwrap_err();
        assert!(failed.is_broken() && failed.task_id() == Some(id), "{failed}");
        assert_eq!(failed.broken().unwrap().to_string(), error.broken().unwrap().to_string());
    }
    assert!(in_time(pool.submit(pid, ())).await.unwrap_err().is_broken());
    let starts = pool.stats().worker_starts;
    assert!(expected.contains(&starts), "{starts} starts");
    in_time(pool.shutdown()).await;
    assert_eq!(children(), [0; 0]);
    assert_eq!((pool.stats().worker_starts, pool.stats().workers), (starts, 0));
    error
}

#[track_caller]
fn assert_says(error: &SubmitError, texts: &[&str]) {
    let error = error.to_string();
    for text in texts {
        assert!(error.contains(text), "{text:?} is not in {error:?}");
    }
}

/// What a pool says to a task at the moment when its waker is woken.
struct Asks {
    pool: ProcessPoolExecutor,
    answer: std::sync::Mutex<Option<Result<TaskHandle<u32>, SubmitError>>>,
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        self.answer.lock().unwrap().get_or_insert_with(|| self.pool.try_submit(pid, ()));
    }
}

#[tokio::test]
async fn who_waits_for_readiness_is_woken_only_when_the_reason_is_known() {
    // scenario 37
    let _turn = TURN.lock().await;
    let pool = builder().worker_command("/no/such/program").build().unwrap();
    let asks = Arc::new(Asks { pool: pool.clone(), answer: std::sync::Mutex::default() });
    let waker = Waker::from(Arc::clone(&asks));
    {
        let mut ready = pin!(pool.ready());
        assert!(ready.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        wait_until("the waker is woken", || asks.answer.lock().unwrap().is_some()).await;
    }
    let answer = asks.answer.lock().unwrap().take().unwrap();
    assert!(answer.unwrap_err().is_broken());
    in_time(pool.shutdown()).await;
}

// ----- programs that cannot be started -----

#[tokio::test]
async fn a_program_that_is_missing() {
    // scenario 37
    let _turn = TURN.lock().await;
    let error = broken(builder().worker_command("/no/such/program")).await;
    assert_says(&error, &["`/no/such/program`", "No such file"]);
    assert_eq!(error.broken().unwrap().pid(), None);
}

fn file_with_mode(name: &str, content: &str, mode: u32) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[tokio::test]
async fn a_program_that_is_not_executable() {
    // scenario 37
    let _turn = TURN.lock().await;
    let program = file_with_mode("not_executable", "#!/bin/sh\n", 0o644);
    let error = broken(builder().worker_command(program)).await;
    assert_says(&error, &["not_executable`", "Permission denied"]);
}

#[tokio::test]
async fn a_program_of_another_format() {
    // scenario 37
    let _turn = TURN.lock().await;
    let program = file_with_mode("another_format", "\u{1}no program\n", 0o755);
    let error = broken(builder().worker_command(program)).await;
    assert_says(&error, &["another_format`", "Exec format error"]);
}

// ----- programs that are no workers -----

/// Says from where it was started.
fn teller(name: &str) -> std::path::PathBuf {
    file_with_mode(name, "#!/bin/sh\necho \"started in $(pwd)\" >&2\nexit 3\n", 0o755)
}

#[tokio::test]
async fn a_program_is_looked_for_from_here_whatever_directory_workers_start_in() {
    let _turn = TURN.lock().await;
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let program = teller("teller").canonicalize().unwrap();
    // Only from here there is such a beginning.
    let program = Path::new("src/..").join(up).join(program.strip_prefix("/").unwrap());
    let error = broken(builder().worker_command(&*program).current_dir("/")).await;
    assert_says(&error, &["exited unexpectedly with code 3; its last output was: started in /"]);
    let mut command = Command::new(&program);
    command.current_dir("/");
    let error = broken(builder().worker_command(command)).await;
    assert_says(&error, &["its last output was: started in /"]);
}

#[tokio::test]
async fn a_directory_that_is_missing_or_none() {
    let _turn = TURN.lock().await;
    let missing = "/no/such/directory";
    let error = broken(builder().current_dir(missing)).await;
    assert_says(&error, &["its directory `/no/such/directory` cannot be entered: No such file"]);
    let file = file_with_mode("no_directory", "", 0o755);
    let error = broken(builder().current_dir(&file)).await;
    assert_says(&error, &["no_directory` cannot be entered: Not a directory"]);
}

#[tokio::test]
async fn a_program_that_exits_at_once() {
    // scenario 37
    let _turn = TURN.lock().await;
    for (program, code) in [("true", 0), ("false", 1)] {
        let error = broken(builder().worker_command(program)).await;
        let code_text = format!("exited unexpectedly with code {code}");
        assert_says(&error, &[&code_text, "does it call `procpool::worker_main()`?"]);
        assert_eq!(error.worker_death().unwrap().exit_code(), Some(code));
    }
}

#[tokio::test]
async fn a_program_that_says_why_it_exits() {
    let _turn = TURN.lock().await;
    let error = broken(builder().worker_command(shell("echo no license >&2; exit 4"))).await;
    let death = error.worker_death().unwrap();
    let (worker, pid) = (death.worker_id(), death.pid());
    let wanted = format!("{worker} (pid {pid}) exited unexpectedly with code 4");
    assert_eq!(death.to_string(), wanted);
    // No task has run there, so what it has said is nobody else's.
    let wanted = format!("broken: {wanted}; its last output was: no license");
    assert!(error.to_string().ends_with(&wanted), "{error}");
}

#[tokio::test]
async fn what_every_worker_says_before_it_fails_is_printed_once_for_each_pool() {
    let _turn = TURN.lock().await;
    for method in ["spawn", "fork"] {
        let mut command = tokio::process::Command::new(fixture("failing_workers"));
        let output = in_time(command.arg(method).kill_on_drop(true).output()).await.unwrap();
        let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
        assert_eq!(String::from_utf8(stdout).unwrap(), "5 starts\n".repeat(2), "{stderr}");
        // The other one is in what is logged of the first failure.
        assert!(stderr.contains("was not started: "), "{stderr}");
        assert_eq!(stderr.matches("no module named numpy").count(), 2 * 2, "{stderr}");
    }
}

#[tokio::test]
async fn a_program_that_prints_rubbish() {
    // scenario 37
    let _turn = TURN.lock().await;
    let error = broken(builder().worker_command(shell("exec yes rubbish"))).await;
    assert_says(&error, &["a megabyte without a hello", "rubbish"]);
}

#[tokio::test]
async fn a_program_that_echoes_what_it_is_told() {
    // scenario 37
    let _turn = TURN.lock().await;
    let error = broken(builder().worker_command(shell("exec cat"))).await;
    assert_says(&error, &["Hello frame at the wrong time"]);
}

#[tokio::test]
async fn a_program_that_says_nothing() {
    // scenario 37
    let _turn = TURN.lock().await;
    let silent = builder().worker_command(shell("exec sleep 1000"));
    let error = broken(silent.start_timeout(Duration::from_millis(100))).await;
    assert_says(&error, &["was not ready within 100ms"]);
}

#[tokio::test]
async fn a_program_that_says_nothing_and_ignores_sigterm() {
    let _turn = TURN.lock().await;
    let silent = builder().worker_command(shell("trap '' TERM; sleep 1000; sleep 1000"));
    let error = broken(silent.start_timeout(Duration::from_millis(100))).await;
    assert_says(&error, &["was not ready within 100ms"]);
}

#[tokio::test]
async fn a_program_that_closes_its_output_but_lives_on() {
    let _turn = TURN.lock().await;
    let silent = builder().worker_command(shell("exec >&-; exec sleep 1000"));
    let error = broken(silent).await;
    assert_says(&error, &["it closed its output and lived on"]);
    assert!(!error.to_string().contains("memory"), "{error}");
}

// ----- programs that are no fork servers -----

/// The first words of a child; then its end of the socket is its standard output.
const PREAMBLE: &str = r"exec >&0; printf '\365\000procpool\300\001\376\033\000\377'";
/// That a server is ready to fork. Behind the `\020` stands the version of the protocol.
const READY: &str = r"printf '\005\000\000\000\020\012\001\000\000\003\000\000\000\021\000\000'";

fn server(script: &str) -> Builder {
    let command = shell(&format!("{PREAMBLE}; {script}"));
    builder().start_method(StartMethod::ForkServer).worker_command(command)
}

#[tokio::test]
async fn a_server_that_refuses_and_goes_on_talking() {
    let _turn = TURN.lock().await;
    let error = broken(server(r"printf '\001\000\000\000\025'; exec yes rubbish")).await;
    assert_says(&error, &["the program of `worker_command` went on to its own code"]);
}

#[tokio::test]
async fn a_server_that_claims_to_have_forked_somebody_elses_process() {
    let _turn = TURN.lock().await;
    let mut command = Command::new("sleep");
    command.arg("1000").process_group(0);
    let mut other = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let id = other.id().unwrap();
    let answer: String = id.to_le_bytes().map(|byte| format!("\\{byte:03o}")).concat();
    let script = format!(r"{READY}; printf '{answer}\001\000\000\000'; exec sleep 1000");
    // By it the server is given up, which has nothing to say any more.
    let quick = server(&script).start_timeout(Duration::from_secs(2));
    let pool = quick.max_workers(1).min_workers(1).build().unwrap();
    let reason = first_failure(&pool).await;
    assert!(reason.contains("it is no child of the fork server"), "{reason}");
    in_time(pool.kill_workers()).await;
    assert_eq!(other.try_wait().unwrap(), None, "it was signalled");
    other.kill().await.unwrap();
}

/// Why a worker was not started. Of pools that have done nothing before.
async fn first_failure(pool: &ProcessPoolExecutor) -> String {
    let mut events = pool.events();
    loop {
        let event = in_time(events.next()).await.unwrap();
        if let PoolEvent::WorkerNotStarted { reason, .. } = event {
            return reason;
        }
    }
}

/// Leaves room for two descriptors.
fn take_all_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let lowest = std::fs::File::open("/dev/null").unwrap();
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(u64::try_from(lowest.as_raw_fd()).unwrap() + 2);
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn forbid_processes() {
    use rustix::process::{Resource, Rlimit, Uid, setrlimit};

    let nobody = Uid::from_raw(65534); // root is not limited
    let _ = rustix::thread::set_thread_res_uid(nobody, nobody, nobody); // or this is not root
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
}

procpool::register!(take_all_descriptors, forbid_processes);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_may_not_fork() {
    let _turn = TURN.lock().await;
    // There may be processes again in a moment, so it is tried for longer than what fails for good.
    let forked = builder().start_method(StartMethod::ForkServer).max_workers(1);
    let error = broken_after(forked.preload(forbid_processes, ()), 40..=60).await;
    assert_says(&error, &["Resource temporarily unavailable"]);
}

#[tokio::test]
async fn a_server_that_has_no_room_for_the_pipes_of_a_worker() {
    let _turn = TURN.lock().await;
    let forked = builder().start_method(StartMethod::ForkServer);
    let pool = forked.preload(take_all_descriptors, ()).build().unwrap();
    let handle = pool.try_submit(pid, ()).unwrap();
    let reason = first_failure(&pool).await;
    assert!(reason.contains("Too many open files"), "{reason}");
    handle.cancel();
    in_time(pool.shutdown()).await;
    assert_eq!(children(), [0; 0]);
}

// ----- a forgotten `init` -----

/// Runs a fixture to its end, which must leave no process behind.
async fn run_fixture(name: &'static str, args: &'static [&str]) -> (String, String) {
    const MARK: &str = "PROCPOOL_TEST_MARK";
    let value = format!("{} {name} {args:?}", std::process::id());
    let mut command = tokio::process::Command::new(fixture(name));
    command.args(args).env(MARK, &value).stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = in_time(command.output()).await.unwrap();
    wait_until("all are gone", || processes_with_env(MARK, &value).is_empty()).await;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

#[tokio::test]
async fn a_program_without_init_is_told_what_to_do() {
    let _turn = TURN.lock().await;
    let (stdout, stderr) = run_fixture("forgotten_init", &[]).await;
    assert!(stdout.contains("broken (true)"), "{stdout}\n{stderr}");
    assert!(stdout.contains("make `procpool::init()` the first statement of `main`"), "{stdout}");
    assert!(stdout.contains("worker starts: 1\n"), "{stdout}");
}

#[tokio::test]
async fn a_worker_without_init_may_not_build_a_pool() {
    let _turn = TURN.lock().await;
    let (stdout, stderr) = run_fixture("forgotten_init", &["--procpool-worker"]).await;
    assert!(stderr.contains("refused (true)"), "{stderr}");
    assert!(stderr.contains("`procpool::init()` was not called"), "{stderr}");
    assert!(!stdout.contains("worker starts"), "{stdout}");
}

#[tokio::test]
async fn init_may_be_called_inside_a_runtime() {
    let _turn = TURN.lock().await;
    let (stdout, stderr) = run_fixture("init_in_async_main", &[]).await;
    assert_eq!(stdout, "42 100\n", "{stderr}");
}

// ----- pools that are not built -----

#[test]
fn a_pool_is_not_built_outside_of_a_runtime() {
    let error = ProcessPoolExecutor::new().unwrap_err();
    assert!(error.is_no_runtime(), "{error}");
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
    assert!(builder().build().unwrap_err().is_no_runtime());
}

#[tokio::test]
async fn a_pool_of_no_workers_is_not_built() {
    let error = builder().max_workers(0).build().unwrap_err();
    assert!(error.to_string().contains("max_workers must be at least 1"), "{error}");
    assert!(!error.is_no_runtime());
}

fn stranger() {}

#[tokio::test]
async fn a_pool_with_an_unregistered_initializer_is_not_built() {
    let error = builder().initializer(stranger, ()).build().unwrap_err();
    assert!(error.is_unregistered(), "{error}");
    assert!(error.to_string().contains("register!(crate::stranger)"), "{error}");
}

// ----- runtimes that lack something -----

/// Runs `test` on a thread of its own, as the runtime may have no timer to limit it.
fn on_a_runtime<R: Send + 'static>(
    runtime: tokio::runtime::Runtime,
    test: impl Future<Output = R> + Send + 'static,
) -> R {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(runtime.block_on(test)));
    receiver.recv_timeout(LIMIT).expect("the test neither hangs nor panics")
}

#[test]
fn a_runtime_without_io_breaks_the_pool_with_a_clear_error() {
    let _turn = TURN.blocking_lock();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = on_a_runtime(runtime, async {
        let pool = match builder().build() {
            Ok(pool) => pool,
            Err(error) => return error.to_string(),
        };
        let error = pool.run(pid, ()).await.unwrap_err();
        assert!(error.is_broken(), "{error}");
        assert_eq!(pool.stats().worker_starts, 1);
        pool.shutdown().await;
        error.to_string()
    });
    assert!(text.contains("enable_io"), "{text}");
    let began = std::time::Instant::now();
    while !children().is_empty() {
        assert!(began.elapsed() < LIMIT, "children are left: {:?}", children());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_runtime_without_a_timer_is_enough() {
    let _turn = TURN.blocking_lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let pid = on_a_runtime(runtime, async {
        let pool = builder().build().unwrap();
        let pid = pool.task(pid, ()).timeout(LIMIT).run().await.unwrap();
        pool.shutdown().await;
        pid
    });
    assert_ne!(pid, std::process::id());
}
