//! `batch`: whenever it ends, and by whatever, it goes on where it was. No line is lost, and none
//! comes twice.

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::send;

const PROGRAM: &str = env!("CARGO_BIN_EXE_batch");

/// Two files in a directory that goes when this is dropped.
struct Files(PathBuf);

impl Files {
    /// The input has lines with these numbers.
    fn new(name: &str, numbers: impl IntoIterator<Item = u128>) -> Self {
        let name = format!("procpool-batch-{name}-{}", std::process::id());
        let files = Self(std::env::temp_dir().join(name));
        fs::create_dir(&files.0).unwrap();
        fs::write(files.input(), lines(numbers)).unwrap();
        files
    }

    fn input(&self) -> PathBuf {
        self.0.join("input")
    }

    fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    fn results(&self) -> String {
        fs::read_to_string(self.output()).unwrap()
    }

    fn command(&self, seconds: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg(self.input()).arg(self.output()).arg(seconds);
        command
    }

    /// All of it, unless it hangs.
    fn run(&self, seconds: &str) -> Output {
        let command = self.command(seconds);
        let mut limited = Command::new("timeout");
        limited.arg("60").arg(command.get_program()).args(command.get_args());
        limited.output().unwrap()
    }

    /// Begins with lines that may take as long as they like.
    fn start(&self) -> (Child, Lines<BufReader<ChildStderr>>) {
        let mut child = self.command("1e6").stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        (child, lines)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What comes of these numbers, by another way.
fn expected(numbers: impl IntoIterator<Item = u128>) -> String {
    fn steps(n: u128) -> u32 {
        match n {
            1 => 0,
            _ => 1 + steps(if n & 1 == 0 { n / 2 } else { 3 * n + 1 }),
        }
    }
    lines(numbers.into_iter().map(steps))
}

fn lines<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect::<Vec<_>>().concat()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Waits for a line of its log.
fn wait_for(log: &mut Lines<BufReader<ChildStderr>>, wanted: &str) {
    let found = log.by_ref().map(|line| line.unwrap()).any(|line| line.contains(wanted));
    assert!(found, "it has ended without {wanted:?}");
}

/// Each kill hits a batch that works, and has got further than the one before.
#[test]
fn a_batch_that_is_killed_goes_on_where_it_was() {
    let files = Files::new("killed", 1..=100_000);
    let all = expected(1..=100_000);
    let mut results = String::new();
    for _ in 0..3 {
        let (mut child, mut log) = files.start();
        let is_progress = |line: String| line.ends_with(" of 100000 lines");
        assert!(log.any(|line| is_progress(line.unwrap())), "it has ended");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
        let before = results.len();
        results = files.results();
        assert!(before < results.len() && results.len() < all.len(), "{before}, {results}");
        assert!(all.starts_with(&results), "{results}");
    }
    // As a write that was cut off may leave it.
    results.truncate(results.len() - 1);
    fs::write(files.output(), results).unwrap();

    let output = files.run("60");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"100000 lines, of which 0 failed\n");
    assert!(files.results() == all);
    // There is nothing left to do.
    assert_eq!(files.run("60").stdout, output.stdout);
    assert!(files.results() == all);
}

#[test]
fn sigterm_ends_it_as_ctrl_c_does_with_a_code_of_its_own() {
    let files = Files::new("terminated", (1..=1_000).chain([0]).chain(1..=999));
    let (mut child, mut log) = files.start();
    wait_for(&mut log, "1000 of 2000 lines");
    send(child.id(), Signal::TERM);
    wait_for(&mut log, "interrupted after 1000 of 2000 lines; run it again to go on");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// Zero never ends, so the batch waits there with all results before it written.
#[test]
fn ctrl_c_ends_it_in_good_order_even_if_a_line_hangs() {
    let numbers = || (1..=1_000).chain([0]).chain(1..=999);
    let files = Files::new("interrupted", numbers());
    let (mut child, mut log) = files.start();
    wait_for(&mut log, "1000 of 2000 lines");
    assert_eq!(files.results(), expected(1..=1_000));

    let second = files.run("1");
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(stderr(&second).contains("is being written by another batch"), "{second:?}");

    send(child.id(), Signal::INT);
    wait_for(&mut log, "interrupted after 1000 of 2000 lines; run it again to go on");
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let output = files.run("2");
    assert_eq!(output.stdout, b"2000 lines, of which 1 failed\n", "{output:?}");
    assert!(stderr(&output).contains("1000 of 2000 lines are done already\n"), "{output:?}");
    assert!(stderr(&output).contains("line 1001: "), "{output:?}");
    let results = files.results();
    let poison = results.lines().nth(1_000).unwrap();
    assert!(poison.starts_with("error: ") && poison.contains("it ran longer than 2s"), "{poison}");
    assert_eq!(results.replace(&format!("{poison}\n"), ""), expected((1..=1_000).chain(1..=999)));
}

/// Each costs its own line, which is reported with its number.
#[test]
fn poison_lines_are_reported_in_their_places() {
    let files = Files::new("poison", []);
    let huge = u128::MAX;
    let input = [b"27\n7 dwarfs\n", format!("{huge}\n").as_bytes(), b"\xff\n6"].concat();
    fs::write(files.input(), input).unwrap();
    let output = files.run("60");
    assert_eq!(output.stdout, b"5 lines, of which 3 failed\n", "{output:?}");
    let wanted = [
        "111",
        "error: \"7 dwarfs\": ",
        "panicked: the number gets too large",
        "error: \"\u{fffd}\": ",
        "8",
    ];
    for ((number, line), wanted) in (1..).zip(files.results().lines()).zip(wanted) {
        assert!(line.contains(wanted), "{number}: {line}");
        let is_failure = line.starts_with("error: ");
        let reported = stderr(&output).contains(&format!("line {number}: "));
        assert_eq!(reported, is_failure, "{number}: {line}, {output:?}");
    }
}

#[test]
fn a_terminal_shows_a_bar() {
    let files = Files::new("bar", 1..=500);
    let line = format!("{PROGRAM} {} {}", files.input().display(), files.output().display());
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `script`, which makes a terminal");
        return;
    }
    let mut limited = Command::new("timeout");
    limited.args(["60", "script", "-qec", &line, "/dev/null"]).env("TERM", "xterm");
    let output = limited.output().unwrap();
    let shown = str::from_utf8(&output.stdout).unwrap();
    assert!(shown.contains("█") && shown.contains("500 of 500, "), "{shown:?}");
    assert!(!shown.contains("500 of 500 lines"), "{shown:?}");
}

/// It is counted at first, and read while it is worked on.
#[test]
fn a_file_that_is_cut_off_meanwhile_is_an_error() {
    let files = Files::new("cut", [1, 0].into_iter().chain(2..=100_000));
    let mut command = files.command("1");
    let mut batch = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while !fs::read(files.output()).unwrap_or_default().starts_with(b"0\n") {
        assert_eq!(batch.try_wait().unwrap(), None, "it has ended");
        thread::sleep(Duration::from_millis(2));
    }
    fs::write(files.input(), "1\n0\n").unwrap(); // while zero keeps it busy
    let output = batch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains(" of 100001 lines could be read again"), "{output:?}");
}

#[test]
fn wrong_arguments_are_explained() {
    for args in [&["input"][..], &["input", "output", "soon"], &["input", "output", "-1"]] {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).starts_with("usage: batch "), "{output:?}");
    }
    let files = Files::new("wrong", [1]);
    fs::write(files.output(), "0\n1\nno line of a batch").unwrap();
    let output = files.run("1");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("2 results of 1 lines"), "{output:?}");
    let kept = fs::read_to_string(files.output()).unwrap();
    assert!(kept.ends_with("no line of a batch"), "the file of somebody else was cut");
    fs::remove_file(files.output()).unwrap();
    for input in [files.0.as_path(), Path::new("/dev/stdin")] {
        let input = input.to_str().unwrap();
        let mut limited = Command::new("timeout");
        limited.args(["60", PROGRAM, input]).arg(files.output()).stdin(Stdio::piped());
        let output = limited.output().unwrap();
        let wanted = format!("{input}: it is no file");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(&wanted), "{output:?}");
    }
    fs::remove_file(files.input()).unwrap();
    let output = files.run("1");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("input: No such file"), "{output:?}");
}
