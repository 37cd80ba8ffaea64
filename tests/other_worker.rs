//! Workers that are started by a command.
//!
//! A binary of its own: the example `other_worker` has its name, and so the paths of its functions.

#![forbid(unsafe_code)] // as who registers functions may

mod common;

use std::process::Command;

use procpool::{ProcessPoolExecutor, StartMethod, SubmitError, WorkerOutput};

use common::{example, fixture, in_time};

procpool::test_support!();

fn square(number: u64) -> u64 {
    number.pow(2)
}

fn cube(number: u64) -> u64 {
    number.pow(3)
}

fn fourth(number: u64) -> u64 {
    number.pow(4)
}

fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

fn bytes(length: usize) -> Vec<u8> {
    vec![7; length]
}

procpool::register!(square, cube, fourth, variable, bytes);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Checks that the pool is broken after one start, and says why.
async fn refusal(pool: ProcessPoolExecutor) -> SubmitError {
    let error = in_time(pool.ready()).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    let submitted = in_time(pool.submit(square, 3)).await.unwrap_err();
    assert!(submitted.is_broken(), "{submitted}");
    in_time(pool.shutdown()).await;
    assert_eq!((pool.stats().worker_starts, pool.stats().workers), (1, 0));
    error
}

#[tokio::test]
async fn a_worker_with_other_functions_is_refused_and_what_differs_is_listed() {
    // scenario 37
    for method in METHODS {
        let builder = ProcessPoolExecutor::builder().start_method(method);
        let pool = builder.worker_command(example("other_worker")).build().unwrap();
        let text = refusal(pool).await.to_string();
        assert!(text.contains("was built with other functions"), "{text}");
        assert!(text.contains("`other_worker::fourth` is missing in the worker"), "{text}");
        let mut lines = text.lines();
        let difference = lines.find(|line| line.contains("`other_worker::square` is ")).unwrap();
        assert!(difference.contains("u64") && difference.contains("u32"), "{difference}");
        assert!(!text.contains("::cube"), "{text}");
    }
}

#[tokio::test]
async fn a_program_with_other_functions_is_refused_also_by_init() {
    for method in METHODS {
        let mut command = Command::new(example("other_worker"));
        command.arg("init");
        let builder = ProcessPoolExecutor::builder().start_method(method);
        let text = refusal(builder.worker_command(command).build().unwrap()).await.to_string();
        assert!(text.contains("was built with other functions"), "{text}");
        assert!(text.contains("`other_worker::fourth` is missing in the worker"), "{text}");
    }
}

#[tokio::test]
async fn a_worker_without_functions_is_refused() {
    // scenario 37
    let builder = ProcessPoolExecutor::builder().worker_command(fixture("bare_worker"));
    let text = refusal(builder.build().unwrap()).await.to_string();
    for function in ["square", "cube", "fourth"] {
        let line = format!("`other_worker::{function}` is missing in the worker");
        assert!(text.contains(&line), "{text}");
    }
}

/// How a test binary becomes a worker.
const AS_WORKER: [&str; 5] =
    ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];

#[tokio::test]
async fn a_worker_command_with_the_same_functions_serves() {
    for method in METHODS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(AS_WORKER).env("PROCPOOL_TEST_OF", "the command");
        let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
        let builder = builder.worker_command(command).env("PROCPOOL_TEST_BY", "the pool");
        let pool = builder.build().unwrap();
        assert_eq!(in_time(pool.run(square, 12)).await.unwrap(), 144);
        for (name, value) in [("PROCPOOL_TEST_OF", "the command"), ("PROCPOOL_TEST_BY", "the pool")]
        {
            let found = in_time(pool.run(variable, name.to_owned())).await.unwrap();
            assert_eq!(found.as_deref(), Some(value));
        }
    }
}

#[tokio::test]
async fn a_banner_before_the_hello_does_no_harm() {
    let mut command = Command::new("sh");
    let script = "i=0; while [ $i -lt 1000 ]; do echo \"banner $i\"; i=$((i + 1)); done; \
                  exec \"$PROGRAM\" \"$@\"";
    command.args(["-c", script, "sh"]).args(AS_WORKER);
    command.env("PROGRAM", std::env::current_exe().unwrap());
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_output(WorkerOutput::Null);
    let pool = builder.worker_command(command).build().unwrap();
    assert_eq!(in_time(pool.run(square, 12)).await.unwrap(), 144);
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn the_child_of_a_command_serves_whatever_the_length_of_its_results() {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$PROGRAM\" \"$@\"; exit $?", "sh"]).args(AS_WORKER);
    command.env("PROGRAM", std::env::current_exe().unwrap());
    let builder = ProcessPoolExecutor::builder().max_workers(1).worker_command(command);
    let pool = builder.build().unwrap();
    for length in [10, 1 << 20, 1 << 20, 3 << 20, 1 << 20] {
        assert_eq!(in_time(pool.run(bytes, length)).await.unwrap().len(), length);
    }
    assert_eq!(in_time(pool.run(square, 12)).await.unwrap(), 144);
    assert_eq!(pool.stats().worker_starts, 1);
}

#[test]
fn a_worker_that_is_started_by_hand_does_no_harm_to_the_script_around_it() {
    use std::os::unix::process::CommandExt;

    let mut script = Command::new("sh");
    script.args(["-c", "\"$0\" < /dev/null; echo $?"]).arg(fixture("bare_worker"));
    let output = script.process_group(0).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
}
