//! The examples do what they say.
//!
//! A binary of its own: it is no worker, and starts programs that have their own.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

/// The examples that are tested here.
const NAMES: [&str; 15] = [
    "quickstart",
    "wordcount",
    "primes",
    "pi",
    "factors",
    "risky",
    "model",
    "restart",
    "progress",
    "partial",
    "squares",
    "process",
    "throwaway",
    "forkserver",
    "shared",
];

/// The path of an example, built from the sources as they are now: cargo itself builds examples for
/// a full `cargo test` only, and would leave old ones in place for `cargo test --test examples`.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet"]).args(NAMES.map(|name| format!("--example={name}")));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        build.args(profile.ends_with("release").then_some("--release"));
        build.args(cfg!(feature = "tracing").then_some("--features=tracing"));
        assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        profile.join("examples")
    });
    folder.join(name)
}

fn run<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Output {
    Command::new(example(name)).args(args).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap()
}

/// The lines of the quickstart that tell of a number, as the number and its factors.
fn factored(text: &str) -> Vec<(u64, Vec<u64>)> {
    let results = text.lines().filter_map(|line| {
        let (left, factors) = line.split_once(" = ")?;
        let (worker, n) = left.trim().split_once(":  ")?;
        assert!(worker.starts_with("worker ") && worker.contains("(pid "), "{line}");
        let factors = factors.split(" × ").map(|factor| factor.parse().unwrap());
        Some((n.parse().unwrap(), factors.collect()))
    });
    results.collect()
}

#[test]
fn the_quickstart_goes_on_after_a_panic_and_a_crash() {
    let output = run::<&str>("quickstart", []);
    let text = stdout(&output);
    let results = factored(text);
    assert_eq!(results.len(), 12, "{text}");
    for (n, factors) in results {
        assert_eq!(factors.iter().product::<u64>(), n, "{text}");
    }
    assert!(text.contains(" = 4294967279 × 4294967291\n"), "{text}");
    assert!(
        text.contains("panicked: 13 is an unlucky number (at examples/quickstart.rs:"),
        "{text}"
    );
    assert!(text.contains("was killed by signal 6 (SIGABRT)"), "{text}");
    assert!(text.contains("\n14 tasks in "), "{text}");
    assert!(text.contains("\n  13 returned or panicked, 1 lost their worker\n"), "{text}");
    assert!(text.ends_with(" workers were started, 1 died\n"), "{text}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_quickstart_finds_the_prime_factors_of_any_number() {
    let known: [(u64, &[u64]); 12] = [
        (2, &[2]),
        (4, &[2, 2]),
        (1369, &[37, 37]),
        (1681, &[41, 41]),
        (68_921, &[41, 41, 41]),
        (1_373_653, &[829, 1657]), // passes for prime with the bases 2 and 3
        (3_215_031_751, &[151, 751, 28_351]), // with 2, 3, 5 and 7
        (3_825_123_056_546_413_051, &[149_491, 747_451, 34_233_211]), // with those up to 23
        (18_446_744_030_759_878_681, &[4_294_967_291, 4_294_967_291]),
        (9_223_372_036_854_775_808, &[2; 63]),
        (18_446_744_073_709_551_557, &[18_446_744_073_709_551_557]),
        (18_446_744_073_709_551_615, &[3, 5, 17, 257, 641, 65_537, 6_700_417]),
    ];
    let output = run("quickstart", known.map(|(n, _)| n.to_string()));
    let mut results = factored(stdout(&output));
    results.sort();
    let mut known = known.map(|(n, factors)| (n, factors.to_vec()));
    known.sort();
    assert_eq!(results, known);
}

#[test]
fn the_quickstart_explains_wrong_arguments() {
    for wrong in ["1", "-5", "18446744073709551616", "ten"] {
        let output = run("quickstart", ["35", wrong]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let message = format!("`{wrong}` is not a whole number from 2 to 18446744073709551615\n");
        let text = str::from_utf8(&output.stderr).unwrap();
        assert!(text.starts_with(&message) && text.contains("\nusage: "), "{text}");
    }
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("procpool-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("deeper")).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left in the temporary directory hurts nobody
    }
}

#[test]
fn the_word_count_counts_and_leaves_out_what_is_no_text() {
    let scratch = Scratch::new("wordcount");
    fs::write(scratch.0.join("a.txt"), "The cat, the dog.\nTHE END").unwrap();
    fs::write(scratch.0.join("deeper/b.txt"), "the cat").unwrap();
    fs::write(scratch.0.join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    let missing = scratch.0.join("missing");
    let output = run("wordcount", [&scratch.0, &missing]);
    let text = stdout(&output);
    let counts: Vec<_> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(counts, ["        4  the", "        2  cat", "        1  dog", "        1  end"]);
    assert!(text.contains("\n8 words in 2 files of 32 bytes\n"), "{text}");
    assert!(text.contains("binary: stream did not contain valid UTF-8\n"), "{text}");
    assert!(text.contains(&format!("left out {}: No such file", missing.display())), "{text}");
    let progress = str::from_utf8(&output.stderr).unwrap();
    assert!(
        progress.contains("1 of 4 files\n") && progress.ends_with("4 of 4 files\n"),
        "{progress}"
    );
}

#[test]
fn the_word_count_finds_texts_of_its_own() {
    let output = run::<&str>("wordcount", []);
    let text = stdout(&output);
    assert_eq!(text.lines().filter(|line| line.starts_with("  ")).count(), 20, "{text}");
    assert!(text.contains("  the\n"), "{text}");
}

#[test]
fn the_word_count_fails_if_there_is_nothing_to_count() {
    let output = run("wordcount", ["/nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"), "{output:?}");
}

/// The number before `word` in a text.
#[track_caller]
fn number_before(text: &str, word: &str) -> u64 {
    let (left, _) = text.split_once(word).expect(text);
    left.split_whitespace().next_back().unwrap().parse().expect(text)
}

#[test]
fn the_examples_explain_wrong_arguments() {
    // The word count takes any text for a path, and the quickstart says more.
    for name in &NAMES[2..] {
        let output = run(name, ["-1"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let usage = format!("usage: {name} [");
        assert!(str::from_utf8(&output.stderr).unwrap().starts_with(&usage), "{output:?}");
    }
}

#[test]
fn the_primes_are_as_many_in_ranges_as_one_after_the_other() {
    let output = run("primes", ["100000"]);
    let lines: Vec<_> = stdout(&output).lines().collect();
    assert!(lines[0].starts_with("9592 primes below 100000, counted one after the"), "{lines:?}");
    assert!(lines[1].starts_with("9592 primes below 100000, counted by "), "{lines:?}");
    assert!(lines[2].starts_with("speed-up "), "{lines:?}");
}

#[test]
fn the_estimate_of_pi_is_the_same_in_every_run() {
    let [first, second] = [(); 2].map(|()| run("pi", ["20", "10000"]));
    let [first, second] = [stdout(&first), stdout(&second)];
    assert!(first.starts_with("pi is about 3.1"), "{first}");
    assert_eq!(first.lines().next(), second.lines().next());
    let (left, _) = first.split_once(" standard errors\n").unwrap();
    let errors: f64 = left.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(errors < 3.0, "{first}");
}

#[test]
fn the_smallest_factors_are_shown_once_each() {
    let output = run("factors", ["62710561", "10403", "97", "18446744073709551614", "2"]);
    let text = stdout(&output);
    let mut found = Vec::new();
    for (line, rank) in text.lines().skip(1).zip(1..=5) {
        let (columns, result) = line.rsplit_once("   ").expect(text);
        let columns: Vec<_> = columns.split_whitespace().collect();
        assert_eq!(columns[1], format!("{rank}."), "{text}");
        found.push((columns[0].to_owned(), result.to_owned()));
    }
    found.sort();
    let known = [
        ("1.", "62710561 = 7919 × 7919"),
        ("2.", "10403 = 101 × 103"),
        ("3.", "97 is prime"),
        ("4.", "18446744073709551614 = 2 × 9223372036854775807"),
        ("5.", "2 is prime"),
    ];
    assert_eq!(found, known.map(|(place, result)| (place.to_owned(), result.to_owned())));
}

#[test]
fn the_risky_tasks_fail_each_in_its_own_way_and_alone() {
    let output = run("risky", ["10"]);
    let text = stdout(&output);
    for (task, result) in
        [(1, "1"), (3, "9"), (6, "36"), (8, "64"), (9, "81 at attempt 2"), (10, "100")]
    {
        assert!(text.contains(&format!("task {task} returned {result}\n")), "{text}");
    }
    let failure = |task| {
        let start = format!("task {task} (`risky::risky`) failed");
        let (_, rest) = text.split_once(&start).expect(text);
        rest.split("\ntask ").next().unwrap()
    };
    assert!(failure(2).contains("is_panic: \"2 is not to my taste\" at Some(\"examples/risky.rs:"));
    assert!(failure(4).contains("has overflowed its stack\n"), "{text}");
    assert!(failure(4).contains(", signal Some(6), exit code None"), "{text}");
    assert!(failure(5).contains("it ran longer than 10s\n    is_timeout: at attempt 1"), "{text}");
    assert!(failure(7).contains("memory allocation of "), "{text}");
    assert!(failure(7).contains("is_worker_death: pid "), "{text}");
    assert!(text.ends_with(" workers were started, 3 died\n"), "{text}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_model_is_loaded_once_in_each_worker() {
    let output = run("model", ["2000", "300"]);
    let text = stdout(&output);
    assert!(number_before(text, " of 300 points were") > 240, "{text}");
    let workers: Vec<_> = text.lines().filter(|line| line.starts_with("pid ")).collect();
    assert!(!workers.is_empty() && workers.iter().all(|line| line.contains(": loaded 1 time,")));
    let uses: u64 = workers.iter().map(|line| number_before(line, " times")).sum();
    assert_eq!(uses, 300, "{text}");
}

#[test]
fn the_restarting_pool_has_new_workers_after_a_hundred_tasks() {
    let output = run("restart", ["250"]);
    let text = stdout(&output);
    let workers = text.lines().filter(|line| line.starts_with("pid "));
    let tasks: Vec<_> = workers.map(|line| number_before(line, " tasks,")).collect();
    assert!(tasks.len() >= 3 && tasks.iter().all(|count| *count <= 100), "{text}");
    assert_eq!(tasks.iter().sum::<u64>(), 250, "{text}");
    assert!(number_before(text, " workers were started") >= tasks.len() as u64, "{text}");
    assert!(text.contains("\n62 MiB were leaked in 250 tasks, but no worker had more"), "{text}");
}

#[test]
fn the_search_shows_how_far_it_is() {
    let output = run("progress", ["100000"]);
    let text = stdout(&output);
    assert!(text.starts_with("below 100000, 77031 takes most steps: 350 ("), "{text}");
    let progress = str::from_utf8(&output.stderr).unwrap();
    assert!(progress.contains(" %  ") && progress.contains(" takes "), "{progress}");
}

#[test]
fn the_search_says_what_it_has_found_when_it_is_interrupted() {
    let mut search = Command::new(example("progress"));
    let mut search =
        search.arg("1000000000000").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(search.stderr.take().unwrap());
    assert!(progress.skip_until(b'\n').unwrap() > 0); // the task has reported, so it runs
    kill_process(Pid::from_child(&search), Signal::INT).unwrap();
    let rest = thread::spawn(move || progress.read_to_end(&mut Vec::new()));
    let output = search.wait_with_output().unwrap();
    rest.join().unwrap().unwrap();
    let text = stdout(&output);
    assert!(text.starts_with("interrupted\nbelow "), "{text}");
    assert!(text.contains(" takes most steps: "), "{text}");
}

#[test]
fn a_picture_comes_line_by_line() {
    let output = run("partial", ["40"]);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[16]), (17, "16 of 16 lines"), "{text}");
    assert!(lines[8].contains("#########") && lines[0].trim().is_empty(), "{text}");
    let output = run("partial", ["40", "3"]);
    let text = stdout(&output);
    let (few, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(few, lines[..3].join("\n"));
    // It has computed no more than could wait, and what was on its way.
    let wanted = last.strip_suffix(" of 16 lines").unwrap().parse::<u32>().unwrap();
    assert!((3..=7).contains(&wanted), "{text}");
}

#[test]
fn the_squares_are_the_same_by_all_ways() {
    let output = run("squares", ["30"]);
    let text = stdout(&output);
    assert!(text.contains("\nsquare_by_looking, 30 numbers "), "{text}");
    assert!(text.contains("\nsquare, 300 numbers "), "{text}");
    assert_eq!(text.matches("  chunks of 1000  ").count(), 2, "{text}");
    assert!(text.ends_with("all results were those of the loop\n"), "{text}");
}

#[test]
fn processes_have_names_exit_codes_and_early_ends() {
    let output = run::<&str>("process", []);
    let expected = "\
hello Bob, this is Process-1
  my parent is MainProcess
hello Eve, this is night shift
  my parent is MainProcess
Process-3: alive false, exit code None
Process-3: alive true, exit code None
Process-3: alive false, exit code Some(-15)
Process-4: alive false, exit code Some(8)
Process-5: alive false, exit code Some(1)
";
    assert_eq!(stdout(&output), expected);
    let errors = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(errors, "procpool: process `Process-5` failed: there is nothing to be done\n");
}

#[test]
fn a_process_that_is_thrown_away_costs_only_its_result() {
    let output = run::<&str>("throwaway", []);
    let expected = "\
a text: 6 characters
crash: it ended with -6
hang: no answer within 3s
panic: it panicked: I do not like it
another text: 12 characters
";
    assert_eq!(stdout(&output), expected);
}

#[test]
#[cfg(target_os = "linux")]
fn workers_have_no_table_of_their_own() {
    let output = run("shared", ["20", "20"]);
    let text = stdout(&output);
    assert!(text.contains("\nall results were those of this process\n"), "{text}");
    let own = text.lines().filter_map(|line| line.strip_prefix("  worker ")?.rsplit_once(", "));
    let own: Vec<u64> = own.map(|(_, own)| number_before(own, " MiB its own")).collect();
    assert!(!own.is_empty() && own.iter().all(|megabytes| *megabytes < 10), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn forked_workers_share_the_table() {
    let output = run("forkserver", ["5000000"]);
    let text = stdout(&output);
    assert!(text.contains(": a table of 20.0 MB\n"), "{text}");
    assert!(text.contains("\n20000 of 20000 numbers were factored correctly in "), "{text}");
    let workers: Vec<_> = text.lines().filter(|line| line.starts_with("pid ")).collect();
    assert_eq!(workers.len(), 4, "{text}");
    let answers: u64 = workers.iter().map(|line| number_before(line, " answers,")).sum();
    assert_eq!(answers, 20_000, "{text}");
    for worker in workers {
        let (_, own) = worker.split_once(" MB, of which ").expect(text);
        let own: f64 = own.strip_suffix(" MB are its own").expect(text).parse().unwrap();
        assert!(own < 10.0, "{text}");
    }
}
