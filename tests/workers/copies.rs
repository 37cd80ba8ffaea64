//! A function that forks, and whose copy comes back as well, is answered once: by the process that
//! was asked.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use procpool::{Process, ProcessPoolExecutor, StartMethod, WorkerOutput};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::common::in_time;

/// Comes back twice, from a copy of this process with nines, or with a panic. The original waits
/// for the end of that, and says how it has ended.
fn come_back_twice(panics: bool, length: usize) -> (Option<i32>, Vec<u8>) {
    // SAFETY: the copy has what this thread has, and uses the allocator, which is made for that.
    #[expect(unsafe_code, reason = "forks")]
    let copy = unsafe { libc::fork() };
    match Pid::from_raw(copy) {
        None if panics => panic!("in the copy"),
        None => (None, vec![9; length]),
        copy => {
            let (_, status) = waitpid(copy, WaitOptions::empty()).unwrap().unwrap();
            (status.exit_status(), vec![7; length])
        }
    }
}

/// As [`come_back_twice`], but nobody waits for anybody.
fn come_back_at_any_time(number: u32) -> u32 {
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "forks")]
    let copy = unsafe { libc::fork() };
    if copy == 0 { number + 1000 } else { number }
}

fn double(number: u32) -> u32 {
    2 * number
}

fn preload_twice() {
    come_back_twice(false, 0);
}

procpool::register!(come_back_twice, come_back_at_any_time, double, preload_twice);

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

type Printed = Arc<Mutex<Vec<String>>>;

/// A pool with one worker, and what that prints.
fn pool(method: StartMethod) -> (ProcessPoolExecutor, Printed) {
    let printed = Printed::default();
    let sink = Arc::clone(&printed);
    let output = WorkerOutput::lines(move |line| sink.lock().unwrap().push(line.text.to_owned()));
    let builder = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    (builder.worker_output(output).build().unwrap(), printed)
}

/// How many copies have said that they end.
fn ended(printed: &Printed) -> usize {
    let lines = printed.lock().unwrap();
    let ended = lines.iter().filter(|line| {
        line.starts_with("procpool: process ")
            && line.ends_with(
                " is a copy that a function has forked, and ends, as it came back from there: \
                 only its parent may",
            )
    });
    ended.count()
}

#[tokio::test]
async fn a_copy_that_comes_back_from_a_task_does_not_answer_for_it() {
    for method in METHODS {
        let (pool, printed) = pool(method);
        for panics in [false, true] {
            for length in [10, 1 << 20, 1 << 20] {
                let task = pool.submit(come_back_twice, (panics, length)).await.unwrap();
                let others: Vec<_> =
                    (0..200).map(|number| pool.try_submit(double, number).unwrap()).collect();
                assert_eq!(in_time(task).await.unwrap(), (Some(1), vec![7; length]));
                for (number, other) in (0..).zip(others) {
                    assert_eq!(in_time(other).await.unwrap(), 2 * number);
                }
            }
        }
        in_time(pool.shutdown()).await;
        assert_eq!(ended(&printed), 6, "{printed:?}");
        assert_eq!(pool.stats().worker_starts, 1);
    }
}

#[tokio::test]
async fn copies_that_come_back_at_any_time_harm_nobody() {
    for method in METHODS {
        let (pool, printed) = pool(method);
        let results = pool.map(come_back_at_any_time, 0..300).chunksize(10);
        let results: Vec<_> = in_time(results.map(Result::unwrap).collect()).await;
        assert_eq!(results, (0..300).collect::<Vec<_>>());
        let tasks = (0..100).map(|number| pool.try_submit(come_back_at_any_time, number).unwrap());
        for (number, task) in (0..).zip(tasks.collect::<Vec<_>>()) {
            assert_eq!(in_time(task).await.unwrap(), number);
        }
        in_time(pool.shutdown()).await;
        assert_eq!(pool.stats().worker_starts, 1, "{printed:?}");
    }
}

#[tokio::test]
async fn a_copy_of_a_fork_server_does_not_fork() {
    for method in METHODS {
        let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method);
        let pool = builder.preload(preload_twice, ()).build().unwrap();
        let results = pool.map(double, 0..100).chunksize(1);
        let results: Vec<_> = in_time(results.map(Result::unwrap).collect()).await;
        assert_eq!(results, (0..100).map(double).collect::<Vec<_>>());
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn a_copy_of_a_process_does_not_answer_for_it() {
    for panics in [false, true] {
        let result = in_time(Process::spawn(come_back_twice, (panics, 10))).await.unwrap();
        assert_eq!(result, (Some(1), vec![7; 10]));
    }
}
