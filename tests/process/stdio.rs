//! Where the standard streams of a process lead.

use std::io::Read;
use std::time::Duration;

use procpool::{Process, ProcessStdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::common::{fixture, in_time};

/// Sends its input back in capitals.
fn shout() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.to_uppercase()); // not flushed
}

fn print_both(count: usize) {
    for number in 0..count {
        println!("out {number}");
        eprintln!("err {number}");
    }
}

/// The numbers of the descriptors that are open, and where the first three lead.
fn descriptors() -> (Vec<u32>, [String; 3]) {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap());
    let numbers: Vec<u32> = numbers.collect();
    let target = |number: u32| {
        let target = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        target.to_str().unwrap().to_owned()
    };
    (numbers, [target(0), target(1), target(2)])
}

fn print_by_a_command() {
    let status = std::process::Command::new("sh").args(["-c", "cat; echo done"]).status();
    assert!(status.unwrap().success());
}

fn close_input_and_wait() {
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

procpool::register!(shout, print_both, descriptors, print_by_a_command, close_input_and_wait);

#[tokio::test]
async fn piped_streams_carry_what_is_written_and_nothing_else() {
    let builder = Process::builder(shout, ());
    let process = builder.stdin(ProcessStdio::Piped).stdout(ProcessStdio::Piped).build();
    assert!(process.take_stdin().is_none() && process.take_stdout().is_none());
    in_time(process.start()).await.unwrap();
    let mut stdin = process.take_stdin().unwrap();
    let mut stdout = process.take_stdout().unwrap();
    assert!(process.take_stdin().is_none() && process.take_stdout().is_none());
    assert!(process.take_stderr().is_none(), "it is inherited");
    in_time(stdin.write_all(b"hello")).await.unwrap();
    drop(stdin);
    let mut text = String::new();
    in_time(stdout.read_to_string(&mut text)).await.unwrap();
    // In particular not what the test harness has to say.
    assert_eq!(text, "HELLO");
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn the_input_of_a_command_that_it_runs_is_its_own() {
    let builder = Process::builder(print_by_a_command, ());
    let process = builder.stdin(ProcessStdio::Piped).stdout(ProcessStdio::Piped).build();
    in_time(process.start()).await.unwrap();
    in_time(process.take_stdin().unwrap().write_all(b"by cat, ")).await.unwrap();
    let mut text = String::new();
    in_time(process.take_stdout().unwrap().read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "by cat, done\n");
}

#[tokio::test]
async fn output_can_be_read_after_the_end() {
    let builder = Process::builder(print_both, 2);
    let process = builder.stdout(ProcessStdio::Piped).stderr(ProcessStdio::Piped).build();
    in_time(process.start()).await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
    let (mut out, mut err) = (String::new(), String::new());
    in_time(process.take_stdout().unwrap().read_to_string(&mut out)).await.unwrap();
    in_time(process.take_stderr().unwrap().read_to_string(&mut err)).await.unwrap();
    assert_eq!((&*out, &*err), ("out 0\nout 1\n", "err 0\nerr 1\n"));
}

#[tokio::test]
async fn a_join_closes_the_input_that_nobody_has_taken() {
    let process = Process::builder(close_input_and_wait, ()).stdin(ProcessStdio::Piped).build();
    in_time(process.start()).await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
    let builder = Process::builder(close_input_and_wait, ()).stdin(ProcessStdio::Piped);
    in_time(builder.spawn()).await.unwrap();
}

#[tokio::test]
async fn by_default_it_has_no_input_and_only_one_descriptor_more() {
    let (numbers, [stdin, stdout, stderr]) =
        in_time(Process::spawn(descriptors, ())).await.unwrap();
    assert_eq!(stdin, "/dev/null");
    let own = |number: u32| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
    assert_eq!((stdout, stderr), (own(1).display().to_string(), own(2).display().to_string()));
    let shell = std::process::Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let inherited = String::from_utf8(shell.stdout).unwrap();
    let inherited: Vec<u32> = inherited.lines().map(|line| line.parse().unwrap()).collect();
    let more: Vec<_> =
        numbers.iter().filter(|number| **number > 2 && !inherited.contains(number)).collect();
    // Its socket (twice: for reading and for writing), the end of its parent, and the directory.
    assert!(more.len() <= 4, "{more:?}");
}

#[tokio::test]
async fn null_streams_lead_nowhere() {
    let builder = Process::builder(descriptors, ());
    let null = ProcessStdio::Null;
    let (_, targets) = in_time(builder.stdout(null).stderr(null).spawn()).await.unwrap();
    assert_eq!(targets, ["/dev/null"; 3].map(str::to_owned));
}

/// What the program prints that has a process with inherited streams, and is given this to read.
async fn program(what: &str, input: &[u8]) -> std::process::Output {
    let mut command = Command::new(fixture("family"));
    command.arg(what).stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    in_time(child.stdin.take().unwrap().write_all(input)).await.unwrap();
    in_time(child.wait_with_output()).await.unwrap()
}

#[tokio::test]
async fn inherited_streams_are_those_of_the_parent() {
    let output = program("cat", b"through three\n").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through three\nexit code 0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "own group: false\n");
}

#[tokio::test]
async fn without_input_it_has_a_group_of_its_own() {
    let output = program("group", b"").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "exit code 0\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "own group: true\n");
}

#[tokio::test]
async fn much_that_is_printed_waits_to_be_read() {
    const COUNT: usize = 20_000;
    let builder = Process::builder(print_both, COUNT);
    let process = builder.stdout(ProcessStdio::Piped).stderr(ProcessStdio::Null).build();
    in_time(process.start()).await.unwrap();
    let mut text = String::new();
    in_time(process.take_stdout().unwrap().read_to_string(&mut text)).await.unwrap();
    assert_eq!(text.lines().count(), COUNT);
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn joining_a_process_that_is_still_starting_closes_its_input() {
    let builder = Process::builder(close_input_and_wait, ());
    let handle = builder.stdin(ProcessStdio::Piped).spawn();
    assert_eq!(in_time(handle.process().join()).await.unwrap(), 0);
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn only_looking_leaves_the_input_open() {
    let builder = Process::builder(shout, ());
    let process = builder.stdin(ProcessStdio::Piped).stdout(ProcessStdio::Piped).build();
    in_time(process.start()).await.unwrap();
    assert_eq!(process.join_within(Duration::ZERO).await.unwrap(), None);
    let mut stdin = process.take_stdin().expect("it is still there");
    in_time(stdin.write_all(b"hello")).await.unwrap();
    drop(stdin);
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_process_that_is_wanted_for_its_result_has_its_pipes_once_it_has_started() {
    let builder = Process::builder(shout, ());
    let handle = builder.stdin(ProcessStdio::Piped).stdout(ProcessStdio::Piped).spawn();
    in_time(handle.started()).await.unwrap();
    let mut stdin = handle.process().take_stdin().unwrap();
    let mut stdout = handle.process().take_stdout().unwrap();
    in_time(stdin.write_all(b"hello")).await.unwrap();
    drop(stdin);
    let mut text = String::new();
    in_time(stdout.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "HELLO");
    in_time(handle.started()).await.unwrap();
    in_time(handle).await.unwrap();
}

#[tokio::test]
async fn waiting_for_a_start_that_fails_tells_why() {
    let handle = Process::builder(shout, ()).current_dir("/nowhere").spawn();
    let error = in_time(handle.started()).await.unwrap_err();
    assert!(error.is_start_failure() && error.to_string().contains("/nowhere"), "{error}");
    assert_eq!(in_time(handle).await.unwrap_err().to_string(), error.to_string());
}
