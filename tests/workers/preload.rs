//! What is built once for all workers, before they are forked.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "prints by C")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::parent_id;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use procpool::{
    BrokenProcessPool, Builder, ProcessPoolExecutor, RunError, StartMethod, WorkerOutput,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::common::{Gate, exit_now, fixture, in_time, panic_now, pid, process_gone, wait_until};
use crate::journal::{Journal, note_line};

fn builder(method: StartMethod) -> Builder {
    // A backtrace would push out what the tests look for.
    let builder = ProcessPoolExecutor::builder().start_method(method).env("RUST_BACKTRACE", "0");
    builder.max_workers(2).worker_output(WorkerOutput::Null)
}

fn forked() -> Builder {
    builder(StartMethod::ForkServer)
}

const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

// ----- what it returns -----

/// No serde type, and not even `Sync`.
struct Dictionary {
    words: Vec<String>,
    lookups: std::cell::Cell<u32>,
}

/// Notes where it runs.
fn load(path: String, words: Vec<String>) -> Dictionary {
    note_line(&path, &std::process::id().to_string());
    Dictionary { words, lookups: std::cell::Cell::new(0) }
}

/// A word, and how many were looked up in this process before.
fn look_up(place: usize) -> (String, u32) {
    let dictionary: &Dictionary = procpool::preloaded().unwrap();
    let before = dictionary.lookups.replace(dictionary.lookups.get() + 1);
    (dictionary.words[place].clone(), before)
}

/// As a state.
fn first_word() -> String {
    look_up(0).0
}

fn state_and_last_word() -> (String, String) {
    (procpool::state::<String>().unwrap().clone(), look_up(1).0)
}

procpool::register!(load, look_up, first_word, state_and_last_word, parent_id);

fn words() -> Vec<String> {
    vec!["zero".to_owned(), "one".to_owned()]
}

#[tokio::test]
async fn it_runs_once_for_all_workers_that_a_server_forks() {
    let journal = Journal::new();
    let builder = forked().max_tasks_per_child(1).preload(load, (journal.path(), words()));
    let pool = builder.build().unwrap();
    let server = in_time(pool.run(parent_id, ())).await.unwrap();
    for _ in 0..10 {
        let found = in_time(pool.run(look_up, 1)).await.unwrap();
        assert_eq!(found, ("one".to_owned(), 0), "each worker has what was built, untouched");
    }
    assert_eq!(journal.numbers(), [server]);
}

#[tokio::test]
async fn it_runs_in_each_worker_that_is_spawned() {
    let journal = Journal::new();
    let builder = builder(StartMethod::Spawn).max_workers(1).max_tasks_per_child(2);
    let pool = builder.preload(load, (journal.path(), words())).build().unwrap();
    let mut workers = Vec::new();
    for _ in 0..3 {
        assert_eq!(in_time(pool.run(look_up, 0)).await.unwrap(), ("zero".to_owned(), 0));
        workers.push(in_time(pool.run(pid, ())).await.unwrap());
    }
    assert_eq!(journal.numbers(), workers);
}

#[tokio::test]
async fn initializer_tasks_and_exit_hook_find_what_was_preloaded() {
    for method in METHODS {
        let journal = Journal::new();
        let builder = builder(method).max_workers(1).preload(load, (journal.path(), words()));
        let builder = builder.initializer(first_word, ()).exit_hook(state_and_last_word, ());
        let pool = builder.build().unwrap();
        assert_eq!(in_time(pool.run(look_up, 1)).await.unwrap(), ("one".to_owned(), 1));
        let report = in_time(pool.shutdown()).await;
        let results = report.exit_results::<(String, String)>().unwrap();
        assert_eq!(results.len(), 1);
        assert_eq!(*results[0].result.as_ref().unwrap(), ("zero".to_owned(), "one".to_owned()));
    }
}

#[tokio::test]
async fn its_arguments_may_be_large() {
    const LENGTH: usize = 20 << 20;
    for method in METHODS {
        let builder = builder(method).max_workers(1).max_payload(1000);
        let pool = builder.preload(count_bytes, vec![7_u8; LENGTH]).build().unwrap();
        assert_eq!(in_time(pool.run(bytes_counted, ())).await.unwrap(), LENGTH);
    }
}

fn count_bytes(data: Vec<u8>) -> usize {
    data.len()
}

fn bytes_counted() -> usize {
    *procpool::preloaded::<usize>().unwrap()
}

fn fallible(number: u32) -> Result<u32, String> {
    if number < 10 { Ok(number) } else { Err(format!("{number} is too much")) }
}

fn number() -> Result<u32, String> {
    procpool::preloaded::<u32>().copied().map_err(|error| error.to_string())
}

fn number_elsewhere() -> Result<u32, String> {
    std::thread::spawn(number).join().unwrap()
}

procpool::register!(count_bytes, bytes_counted, fallible, number, number_elsewhere);

#[tokio::test]
async fn a_result_is_unwrapped() {
    for method in METHODS {
        let pool = builder(method).preload(fallible, 7).build().unwrap();
        assert_eq!(in_time(pool.run(number, ())).await.unwrap(), Ok(7));
    }
}

#[tokio::test]
async fn asking_for_what_is_not_there_says_why() {
    for method in METHODS {
        let pool = builder(method).build().unwrap();
        let error = in_time(pool.run(number, ())).await.unwrap().unwrap_err();
        assert!(error.contains("without a preload"), "{error}");
        let pool = builder(method).preload(bytes_for_nobody, ()).build().unwrap();
        let error = in_time(pool.run(number, ())).await.unwrap().unwrap_err();
        assert_eq!(error, "the preload of this pool did not return a `u32`");
        let pool = builder(method).preload(fallible, 7).build().unwrap();
        let error = in_time(pool.run(number_elsewhere, ())).await.unwrap().unwrap_err();
        assert!(error.contains("another one"), "{error}");
    }
}

fn bytes_for_nobody() -> Vec<u8> {
    vec![1]
}

fn unregistered() {}

procpool::register!(bytes_for_nobody);

#[tokio::test]
async fn a_preload_must_be_registered() {
    let error = forked().preload(unregistered, ()).build().unwrap_err();
    assert!(error.to_string().contains("workers::preload::unregistered"), "{error}");
}

// ----- memory -----

const MEGABYTE: u64 = 1 << 20;
const TABLE: u64 = 64 * MEGABYTE;

fn build_table() -> Vec<u8> {
    vec![1; usize::try_from(TABLE).unwrap()]
}

/// The private memory of this worker after it has read the whole table, which it has but for that.
fn private_memory() -> u64 {
    let table: &Vec<u8> = procpool::preloaded().unwrap();
    assert_eq!(table.iter().map(|byte| u64::from(*byte)).sum::<u64>(), TABLE);
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kilobytes = |name| -> u64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    assert!(kilobytes("Rss:") << 10 > TABLE);
    (kilobytes("Private_Dirty:") + kilobytes("Private_Clean:")) << 10
}

fn grow(bytes: u64) -> u32 {
    std::mem::forget(vec![1_u8; usize::try_from(bytes).unwrap()]);
    std::process::id()
}

procpool::register!(build_table, private_memory, grow);

#[tokio::test]
async fn what_was_preloaded_takes_memory_once() {
    let (gate, pool) = (Gate::new().await, forked().preload(build_table, ()).build().unwrap());
    let busy = pool.submit(crate::common::hold, gate.port()).await.unwrap();
    let held = gate.arrival().await; // so that there are two
    let private = in_time(pool.run(private_memory, ())).await.unwrap();
    assert!(private < 8 * MEGABYTE, "{private}");
    drop(held);
    in_time(busy).await.unwrap();
}

#[tokio::test]
async fn inherited_memory_is_nobodys_growth() {
    let builder = forked().max_workers(1).preload(build_table, ());
    let pool = builder.max_memory_per_child(TABLE / 2).build().unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    in_time(pool.run(private_memory, ())).await.unwrap();
    assert_eq!(in_time(pool.run(grow, TABLE / 8)).await.unwrap(), first);
    assert_eq!(in_time(pool.run(grow, TABLE)).await.unwrap(), first);
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), first, "it has grown itself");
}

// ----- failures -----

/// What every error of a pool says whose preload fails, which runs but once with a fork server.
async fn failure(builder: Builder) -> BrokenProcessPool {
    let pool = builder.build().unwrap();
    let waiting = [pool.submit(pid, ()).await.unwrap(), pool.submit(pid, ()).await.unwrap()];
    let mut texts = BTreeSet::new();
    for error in join_all(waiting.map(in_time)).await {
        let error: RunError = error.unwrap_err().into();
        assert!(error.is_broken(), "{error}");
        texts.insert(error.broken().unwrap().to_string());
    }
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    let broken = error.broken().unwrap().clone();
    texts.insert(broken.to_string());
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(in_time(pool.ready()).await.unwrap_err().is_broken());
    in_time(pool.shutdown()).await;
    if let Some(pid) = broken.pid() {
        assert!(process_gone(pid));
        assert!(broken.to_string().contains(&format!("(pid {pid})")), "{broken}");
    }
    broken
}

/// As [`failure`] of a preload, which is named, and what has failed in which process.
async fn preload_failure(builder: Builder, method: StartMethod, function: &str) -> String {
    let broken = failure(builder).await;
    assert!(broken.is_preload_failure() && !broken.is_initializer_failure(), "{broken}");
    assert!(broken.worker_death().is_none() && broken.pid().is_some());
    let text = broken.to_string();
    assert!(text.contains(&format!("the preload `workers::{function}` ")), "{text}");
    let forked = method == StartMethod::ForkServer;
    let place = if forked { "in the fork server (pid " } else { "in a worker (pid " };
    assert!(text.contains(place), "{text}");
    text
}

fn hang() {
    loop {
        std::thread::park();
    }
}

fn fail_at_length() -> Result<u8, String> {
    Err("at length ".repeat(2 << 20))
}

fn panic_at_length() {
    panic!("{}", "at length ".repeat(2 << 20));
}

struct Undecodable;

impl Serialize for Undecodable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nobody can read this"))
    }
}

fn take_undecodable(_: Undecodable) {}

async fn load_later() -> u32 {
    tokio::task::yield_now().await;
    7
}

procpool::register!(hang, fail_at_length, panic_at_length, take_undecodable, load_later);
procpool::register!(panic_now, exit_now);

#[tokio::test]
async fn a_preload_that_panics_breaks_the_pool() {
    for method in METHODS {
        let builder = builder(method).preload(panic_now, ());
        let text = preload_failure(builder, method, "common::panic_now").await;
        assert!(text.contains("panicked: now (at "), "{text}");
    }
}

#[tokio::test]
async fn a_preload_that_returns_an_error_breaks_the_pool() {
    for method in METHODS {
        let text =
            preload_failure(builder(method).preload(fallible, 12), method, "preload::fallible")
                .await;
        assert!(text.contains("12 is too much"), "{text}");
    }
}

#[tokio::test]
async fn a_preload_may_fail_with_any_length_of_text() {
    for method in METHODS {
        for max_payload in [1000, 64 << 20] {
            let builder = || builder(method).max_payload(max_payload);
            let failing = builder().preload(fail_at_length, ());
            let text = preload_failure(failing, method, "preload::fail_at_length").await;
            assert!(text.contains("at length at length"));
            let panicking = builder().preload(panic_at_length, ());
            let text = preload_failure(panicking, method, "preload::panic_at_length").await;
            assert!(text.contains("at length at length"));
        }
    }
}

#[tokio::test]
async fn a_preload_that_hangs_breaks_the_pool() {
    for method in METHODS {
        let builder = builder(method).start_timeout(Duration::from_secs(3));
        let text = preload_failure(builder.preload(hang, ()), method, "preload::hang").await;
        assert!(text.contains("did not end within 3s"), "{text}");
    }
}

#[tokio::test]
async fn a_preload_whose_arguments_cannot_be_decoded_breaks_the_pool() {
    for method in METHODS {
        let builder = builder(method).preload(take_undecodable, Undecodable);
        let text = preload_failure(builder, method, "preload::take_undecodable").await;
        assert!(text.contains("nobody can read this"), "{text}");
    }
}

#[tokio::test]
async fn an_async_preload_is_refused_wherever_it_runs() {
    for method in METHODS {
        let builder = builder(method).preload(load_later, ());
        let text = preload_failure(builder, method, "preload::load_later").await;
        assert!(text.contains("it is `async`, and no runtime can be forked"), "{text}");
    }
}

#[tokio::test]
async fn a_preload_that_exits_breaks_the_pool() {
    let broken = failure(forked().preload(exit_now, ())).await;
    let death = broken.worker_death().expect("a death");
    assert_eq!((death.exit_code(), death.signal()), (Some(3), None));
    let text = broken.to_string();
    let expected = format!("the fork server (pid {}) exited unexpectedly with code 3", death.pid());
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("told to end") && !text.contains("procpool::init"), "{text}");
}

fn print_and_abort() {
    println!("the last words");
    std::process::abort();
}

procpool::register!(print_and_abort);

#[tokio::test]
async fn a_preload_that_aborts_breaks_the_pool() {
    let broken = failure(forked().preload(print_and_abort, ())).await;
    let death = broken.worker_death().expect("a death");
    assert_eq!((death.exit_code(), death.signal()), (None, Some(6)));
    assert!(death.stderr_tail().contains("the last words"), "{broken}");
    assert!(broken.to_string().contains("the last words"), "{broken}");
}

// ----- what cannot be forked -----

/// Panics if the pool can work; returns why it cannot.
async fn refusal(builder: Builder) -> String {
    let broken = failure(builder).await;
    assert!(broken.is_preload_failure(), "{broken}");
    let text = broken.to_string();
    assert!(text.contains("the fork server (pid "), "{text}");
    assert!(text.contains(" cannot fork workers: "), "{text}");
    text
}

fn leave_threads(count: u32) {
    for number in 0..count {
        std::thread::Builder::new().name(format!("flusher {number}")).spawn(hang).unwrap();
    }
}

/// Is busy, unlike [`hang`].
fn leave_a_busy_thread() {
    std::thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
}

fn join_threads(count: u32) -> u32 {
    let threads: Vec<_> = (0..count).map(|number| std::thread::spawn(move || number)).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
}

static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();

fn leave_a_runtime() {
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    });
}

fn leave_a_multi_threaded_runtime() {
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap());
}

fn use_a_runtime() -> u32 {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        tokio::spawn(async { tokio::time::sleep(Duration::from_millis(1)).await }).await.unwrap();
        7
    })
}

procpool::register!(leave_threads, leave_a_busy_thread, join_threads, use_a_runtime);
procpool::register!(leave_a_runtime, leave_a_multi_threaded_runtime);

#[tokio::test]
async fn threads_that_are_left_behind_are_refused() {
    for count in [1, 3] {
        let text = refusal(forked().preload(leave_threads, count)).await;
        let expected = format!("the preload has left threads behind ({count})");
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains("start them in the initializer"), "{text}");
        assert!(text.contains("there are `flusher 0`"), "{text}");
    }
    let text = refusal(forked().preload(leave_a_busy_thread, ())).await;
    assert!(text.contains("the preload has left threads behind (1)"), "{text}");
    assert!(text.contains("1 without a name of their own; rayon's global pool"), "{text}");
}

#[tokio::test]
async fn a_runtime_that_is_left_behind_is_refused() {
    let text = refusal(forked().preload(leave_a_runtime, ())).await;
    assert!(text.contains("the preload has left a runtime behind"), "{text}");
    let text = refusal(forked().preload(leave_a_multi_threaded_runtime, ())).await;
    assert!(text.contains("the preload has left a runtime behind"), "{text}");
}

#[tokio::test]
async fn threads_and_runtimes_that_have_ended_do_no_harm() {
    let pool = forked().preload(join_threads, 8).build().unwrap();
    assert_eq!(in_time(pool.run(number, ())).await.unwrap(), Ok(7));
    let pool = forked().preload(use_a_runtime, ()).build().unwrap();
    assert_eq!(in_time(pool.run(number, ())).await.unwrap(), Ok(7));
}

/// What follows this in what a fixture has printed.
fn after<'a>(text: &'a str, words: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.split_once(words)).map(|(_, rest)| rest);
    line.unwrap_or_else(|| panic!("{words:?} is not in {text}"))
}

#[tokio::test]
async fn connections_and_locks_that_are_left_behind_are_told() {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let output = in_time(parent.arg("leave-open").kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let said = String::from_utf8(output.stdout).unwrap();
    let (server, path) = (after(&said, "the server is "), after(&said, "the lock was on "));
    let address = after(&text, "connected with ");
    let (preload, end) = ("fixture_parent::leave_open", "make it in the initializer");
    let begin = format!(
        "procpool: library: the preload `{preload}` has left behind, in the fork server (pid {server}), "
    );
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with(&format!("a connection with {address} (descriptor ")), "{text}");
    assert!(lines[1].starts_with(&format!("a lock on `{path}` (descriptor ")), "{text}");
    assert!(lines.iter().all(|line| line.contains(end)), "{text}");
}

/// By which tokio hands on signals, and which all workers share.
#[tokio::test]
async fn what_a_runtime_leaves_behind_that_was_dropped_is_told() {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let output = in_time(parent.arg("drop-a-runtime").kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    let told = "a connection with an unnamed socket, as runtimes and handlers of signals have";
    assert_eq!(text.matches(told).count(), 2, "{text}");
}

// ----- where it is -----

/// The name of the process, the pid of its parent, and the key that they share.
type Whereabouts = (String, Option<u32>, Vec<u8>);

fn whereabouts() -> Whereabouts {
    let (this, parent) = (procpool::current_process(), procpool::parent_process());
    let key = this.authkey().as_bytes().to_vec();
    (this.name().to_owned(), parent.map(procpool::ParentProcess::pid), key)
}

fn preloaded_whereabouts() -> Whereabouts {
    procpool::preloaded::<Whereabouts>().unwrap().clone()
}

procpool::register!(whereabouts, preloaded_whereabouts);

#[tokio::test]
async fn it_knows_its_relatives_as_a_worker_does() {
    for method in METHODS {
        let pool = builder(method).name("family").preload(whereabouts, ()).build().unwrap();
        let (name, parent, key) = in_time(pool.run(preloaded_whereabouts, ())).await.unwrap();
        assert!(name.starts_with("family-worker-"), "{name}");
        assert_eq!(parent, Some(std::process::id()));
        assert_eq!(key, procpool::current_process().authkey().as_bytes());
    }
}

/// Gives up root.
fn become_nobody() {
    let nobody = rustix::process::Uid::from_raw(65534);
    rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

procpool::register!(become_nobody, user);

#[tokio::test]
async fn it_may_change_the_user() {
    if user() != 0 {
        return println!("skipped: only root may become somebody else");
    }
    let pool = forked().preload(become_nobody, ()).max_tasks_per_child(2).build().unwrap();
    for _ in 0..6 {
        assert_eq!(in_time(pool.run(user, ())).await.unwrap(), 65534);
    }
    in_time(pool.shutdown()).await;
}

// ----- what it leaves to be done at the exit -----

static TIDIED: OnceLock<String> = OnceLock::new();

extern "C" fn tidy_up() {
    note_line(TIDIED.get().unwrap(), "tidied up");
}

/// Has something done at the exit of its process.
fn load_with_exit_handler(path: String) {
    TIDIED.set(path).unwrap();
    // SAFETY: the handler is a function that lives as long as the process, and does not unwind.
    assert_eq!(unsafe { libc::atexit(tidy_up) }, 0);
}

procpool::register!(load_with_exit_handler);

#[tokio::test]
async fn what_it_leaves_to_the_exit_is_not_done_at_the_exit_of_each_worker() {
    let journal = Journal::new();
    let pool = forked().preload(load_with_exit_handler, journal.path()).max_tasks_per_child(1);
    let pool = pool.build().unwrap();
    for _ in 0..3 {
        in_time(pool.run(pid, ())).await.unwrap();
    }
    in_time(pool.shutdown()).await;
    assert_eq!(journal.lines(), [""; 0]);
}

// ----- what it prints -----

/// Leaves unfinished lines in the buffers of Rust and C.
fn print_unfinished() -> u32 {
    println!("a line");
    print!("of Rust ");
    // SAFETY: both are strings that end with a zero, and the second says that there is one.
    unsafe { libc::printf(c"%s".as_ptr(), c"of C ".as_ptr()) };
    1
}

/// Writes what the buffers of this worker hold.
fn flush() {
    std::io::stdout().flush().unwrap();
    // SAFETY: without an argument it flushes all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

procpool::register!(print_unfinished, flush);

#[tokio::test]
async fn what_it_prints_appears_once() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let output = WorkerOutput::lines(move |line| {
        sink.lock().unwrap().push((line.pid, line.text.to_owned()));
    });
    let builder = forked().worker_output(output).max_tasks_per_child(1);
    let pool = builder.preload(print_unfinished, ()).build().unwrap();
    for _ in 0..5 {
        in_time(pool.run(flush, ())).await.unwrap();
    }
    let server = in_time(pool.run(parent_id, ())).await.unwrap();
    in_time(pool.shutdown()).await;
    wait_until("all is there", || lines.lock().unwrap().len() >= 2).await;
    let lines = lines.lock().unwrap();
    assert!(lines.iter().all(|(pid, _)| *pid == server), "{lines:?}");
    let text: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(text[0], "a line");
    let mut rest: Vec<_> = text[1..].iter().flat_map(|text| text.split_inclusive(' ')).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["C ", "Rust ", "of ", "of "]);
}
