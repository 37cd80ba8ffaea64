//! Tasks that print, and tasks that mistreat what every process has.

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procpool::{ProcessPoolExecutor, WorkerOutput};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::common::{Gate, fixture, hold, in_time, pid, process_gone, wait_until};

/// About a megabyte, at 64 bytes each.
const LINES: u32 = 16_000;

fn line(number: u32) -> String {
    format!("{number:063}")
}

fn print_by_println() -> u32 {
    (0..LINES).for_each(|number| println!("{}", line(number)));
    LINES
}

fn print_by_eprintln() -> u32 {
    (0..LINES).for_each(|number| eprintln!("{}", line(number)));
    LINES
}

fn print_by_printf() -> u32 {
    for number in 0..LINES {
        // SAFETY: the format takes one unsigned int, and gets one; it ends with a zero byte.
        #[expect(unsafe_code, reason = "C code prints")]
        unsafe {
            libc::printf(c"%063u\n".as_ptr(), number)
        };
    }
    // SAFETY: a null pointer means all streams.
    #[expect(unsafe_code, reason = "C code prints")]
    unsafe {
        libc::fflush(std::ptr::null_mut())
    };
    LINES
}

fn print_by_write() -> u32 {
    for number in 0..LINES {
        let line = line(number) + "\n";
        assert_eq!(rustix::io::write(rustix::stdio::stdout(), line.as_bytes()), Ok(64));
    }
    LINES
}

fn print_by_a_child() -> u32 {
    let script = format!("seq -f %063.0f 0 {}", LINES - 1);
    let status = std::process::Command::new("sh").args(["-c", &script]).status();
    assert!(status.unwrap().success());
    LINES
}

fn print_both_ways(count: u32) {
    for number in (0..count).step_by(2) {
        println!("{number}");
        eprintln!("{}", number + 1);
    }
}

fn print_and_exit() {
    print!("the last words ");
    // SAFETY: the format takes no arguments; it ends with a zero byte.
    #[expect(unsafe_code, reason = "C code prints")]
    unsafe {
        libc::printf(c"and those of C".as_ptr())
    };
    std::process::exit(0)
}

procpool::register!(print_by_println, print_by_eprintln, print_by_printf, print_by_write);
procpool::register!(print_by_a_child, print_both_ways, print_and_exit);

/// A pool of one worker, and the lines that it prints.
fn pool_with_lines() -> (ProcessPoolExecutor, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let output = WorkerOutput::lines(move |line| sink.lock().unwrap().push(line.text.to_owned()));
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_output(output);
    (builder.build().unwrap(), lines)
}

/// Runs one of the tasks above and finds that everything has arrived, in order.
macro_rules! assert_printed {
    ($task:path) => {{
        // scenario 80
        let (pool, lines) = pool_with_lines();
        let worker = in_time(pool.run(pid, ())).await.unwrap();
        assert_eq!(in_time(pool.run($task, ())).await.unwrap(), LINES);
        wait_until("all lines arrive", || lines.lock().unwrap().len() >= LINES as usize).await;
        assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
        in_time(pool.shutdown()).await;
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), LINES as usize);
        assert!((0..).zip(&*lines).all(|(number, text)| *text == line(number)));
    }};
}

#[tokio::test]
async fn a_megabyte_by_println_arrives() {
    assert_printed!(print_by_println);
}

#[tokio::test]
async fn a_megabyte_by_eprintln_arrives() {
    assert_printed!(print_by_eprintln);
}

#[tokio::test]
async fn a_megabyte_by_printf_arrives() {
    assert_printed!(print_by_printf);
}

#[tokio::test]
async fn a_megabyte_by_write_arrives() {
    assert_printed!(print_by_write);
}

#[tokio::test]
async fn a_megabyte_by_a_child_arrives() {
    assert_printed!(print_by_a_child);
}

#[tokio::test]
async fn the_order_between_stdout_and_stderr_is_kept() {
    // scenario 80
    let (pool, lines) = pool_with_lines();
    in_time(pool.run(print_both_ways, 1000)).await.unwrap();
    wait_until("all lines arrive", || lines.lock().unwrap().len() == 1000).await;
    let lines = lines.lock().unwrap();
    assert!((0..).zip(&*lines).all(|(number, text)| *text == number.to_string()), "{lines:?}");
}

#[tokio::test]
async fn a_line_says_which_worker_has_printed_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let output =
        WorkerOutput::lines(move |line| sink.lock().unwrap().push((line.pid, line.worker)));
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_output(output);
    let pool = builder.build().unwrap();
    in_time(pool.run(print_both_ways, 2)).await.unwrap();
    wait_until("both lines arrive", || seen.lock().unwrap().len() == 2).await;
    let worker = &pool.workers()[0];
    assert_eq!(*seen.lock().unwrap(), [(worker.pid, worker.id); 2]);
}

#[tokio::test]
async fn an_exit_flushes_what_was_printed() {
    let (pool, lines) = pool_with_lines();
    let error = in_time(pool.run(print_and_exit, ())).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!(death.exit_code(), Some(0));
    for words in ["the last words ", "and those of C"] {
        assert!(death.stderr_tail().contains(words), "{error}");
    }
    wait_until("the lines arrive", || !lines.lock().unwrap().is_empty()).await;
    assert!(lines.lock().unwrap().concat().contains("the last words "));
}

/// The fixture prints by its tasks, a megabyte; what arrives at its own standard output and error?
async fn output_of_parent(stream: &str) -> [String; 2] {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    parent.args(["print", stream]).kill_on_drop(true);
    let parent = parent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = in_time(parent.wait_with_output()).await.unwrap();
    assert!(output.status.success());
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
}

/// What the fixture says itself.
const OWN: &str = "others ran\nprinted 16000\n";

fn all_lines() -> String {
    (0..LINES).map(|number| line(number) + "\n").collect()
}

#[tokio::test]
async fn inherited_output_arrives_at_the_parents_stderr() {
    // scenario 80
    let [stdout, stderr] = output_of_parent("2").await;
    assert_eq!(stderr.len(), all_lines().len());
    assert!(stderr == all_lines());
    assert_eq!(stdout, OWN);
}

#[tokio::test]
async fn output_that_is_to_arrive_at_the_parents_stdout_comes_by_whole_lines() {
    let [stdout, stderr] = output_of_parent("1").await;
    assert_eq!(stderr, "");
    let is_own = |line: &&str| OWN.lines().any(|own| own == *line);
    let (own, printed): (Vec<_>, Vec<_>) = stdout.lines().partition(is_own);
    assert_eq!(own, OWN.lines().collect::<Vec<_>>());
    assert!(printed == all_lines().lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn null_output_is_dropped() {
    // scenario 80
    assert_eq!(output_of_parent("0").await, [OWN, ""]);
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_holds_up_nobody_but_those_who_print() {
    // scenario 81
    let mut parent = tokio::process::Command::new(fixture("parent"));
    parent.args(["print", "2"]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut parent = parent.spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    // A megabyte does not fit into the pipe, so its task is still at it.
    assert_eq!(in_time(lines.next_line()).await.unwrap().unwrap(), "others ran");
    let mut text = Vec::new();
    in_time(parent.stderr.take().unwrap().read_to_end(&mut text)).await.unwrap();
    assert_eq!(in_time(lines.next_line()).await.unwrap().unwrap(), "printed 16000");
    assert!(in_time(parent.wait()).await.unwrap().success());
}

// ----- mistreatment -----

/// Closes all descriptors below a number.
fn close_descriptors(end: i32) -> u32 {
    for fd in 0..end {
        // SAFETY: this breaks whoever owns the descriptor, which is what the test is about; it is
        // no memory error.
        #[expect(unsafe_code, reason = "a task may do so")]
        unsafe {
            libc::close(fd)
        };
    }
    std::process::id()
}

/// Blocks every signal, and ignores what can be ignored.
fn block_signals() {
    // SAFETY: the set is initialized by `sigfillset` before it is read; SIG_IGN is a valid
    // disposition for each of these signals.
    #[expect(unsafe_code, reason = "a task may do so")]
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD, libc::SIGINT] {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

fn read_stdin() -> usize {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
}

procpool::register!(close_descriptors, block_signals, read_stdin);

fn pool_of_one() -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    builder.grace_period(Duration::from_millis(100)).build().unwrap()
}

#[tokio::test]
async fn a_task_may_close_the_standard_descriptors() {
    let pool = pool_of_one();
    let worker = in_time(pool.run(close_descriptors, 3)).await.unwrap();
    assert_eq!(in_time(pool.run(print_into_the_void, ())).await.unwrap(), worker);
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
}

/// Prints where nothing may be open any more.
fn print_into_the_void() -> u32 {
    println!("into the void");
    let _ = rustix::io::write(rustix::stdio::stdout(), b"into the void\n");
    std::process::id()
}

procpool::register!(print_into_the_void);

#[tokio::test]
async fn a_task_that_closes_too_many_descriptors_dies_or_returns_but_never_hangs() {
    for end in [64, 1100] {
        let pool = pool_of_one();
        for _ in 0..2 {
            match in_time(pool.run(close_descriptors, end)).await {
                Ok(worker) => assert!(pool.workers().iter().any(|alive| alive.pid == worker)),
                Err(error) => assert!(error.is_worker_death(), "{error}"),
            }
        }
        // A worker that is crippled but alive may still die of the next task.
        let mut last = in_time(pool.run(pid, ())).await;
        if last.as_ref().is_err_and(procpool::RunError::is_worker_death) {
            last = in_time(pool.run(pid, ())).await;
        }
        last.unwrap();
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn a_task_that_blocks_all_signals_can_still_be_ended() {
    let (pool, gate) = (pool_of_one(), Gate::new().await);
    in_time(pool.run(block_signals, ())).await.unwrap();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    handle.abort();
    assert!(in_time(handle).await.unwrap_err().is_cancelled());
    assert!(process_gone(held.pid));
    in_time(pool.run(block_signals, ())).await.unwrap();
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_task_that_reads_standard_input_finds_it_empty() {
    let pool = pool_of_one();
    for _ in 0..2 {
        assert_eq!(in_time(pool.run(read_stdin, ())).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_parent_without_anybody_to_complain_to_goes_on() {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let parent = parent.arg("complain").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut parent = parent.kill_on_drop(true).spawn().unwrap();
    drop(parent.stderr.take()); // as if it was piped into a program that has gone
    let output = in_time(parent.wait_with_output()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "same worker: Ok(true)\n");
}
