//! The life of a `Process`, as its handles see it.

use std::time::{Duration, Instant};

use futures::FutureExt;
use procpool::{AuthKey, Process, ProcessStdio, active_children};

use crate::common::{Gate, children, fixture, hold, in_time, pid, process_gone};

fn never_registered() {}

fn sum(left: u64, right: u64) {
    assert_eq!(left + right, 3);
}

fn take_bytes(bytes: Vec<u8>) {
    drop(bytes);
}

procpool::register!(sum, take_bytes);

/// A process that holds, started, and its hold.
async fn holding(gate: &Gate) -> (Process, crate::common::Held) {
    let process = Process::new(hold, gate.port());
    in_time(process.start()).await.unwrap();
    (process, gate.arrival().await)
}

fn is_active(process: &Process) -> bool {
    active_children().iter().any(|child| child.name() == process.name())
}

#[tokio::test]
async fn at_each_point_of_its_life_everything_agrees() {
    // scenario 82
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    assert_eq!((process.pid(), process.exitcode(), process.is_alive()), (None, None, false));
    assert!(!is_active(&process));
    for result in [process.join().await, process.join_within(Duration::ZERO).await.map(|_| 0)] {
        assert!(result.unwrap_err().is_not_started());
    }
    for result in [process.terminate(), process.kill(), process.interrupt()] {
        assert!(result.unwrap_err().is_not_started());
    }

    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    assert_eq!(process.pid(), Some(held.pid));
    assert_eq!((process.exitcode(), process.is_alive()), (None, true));
    assert!(is_active(&process));
    assert_eq!(process.join_within(Duration::ZERO).await.unwrap(), None);
    assert_eq!(process.join_within(Duration::from_millis(20)).await.unwrap(), None);

    let id = held.pid;
    drop(held);
    for _ in 0..2 {
        assert_eq!(in_time(process.join()).await.unwrap(), 0);
        assert_eq!((process.pid(), process.exitcode()), (Some(id), Some(0)));
        assert!(!process.is_alive() && !is_active(&process));
        assert_eq!(process.join_within(Duration::ZERO).await.unwrap(), Some(0));
        assert_eq!(process.join_within(Duration::from_secs(60)).await.unwrap(), Some(0));
    }
    assert!(process_gone(id), "it is reaped");
    for result in [process.terminate(), process.kill(), process.interrupt()] {
        result.unwrap(); // nobody is there any more, which is what was wanted
    }
    assert_eq!(process.exitcode(), Some(0));
}

#[tokio::test]
async fn many_may_join_and_a_join_may_be_dropped() {
    // scenario 82
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let others: Vec<_> = (0..10)
        .map(|_| {
            let process = process.clone();
            tokio::spawn(async move { process.join().await })
        })
        .collect();
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = process.join() => panic!("it is held"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(held);
    for other in others {
        assert_eq!(in_time(other).await.unwrap().unwrap(), 0);
    }
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn the_limit_of_a_join_is_real_time() {
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    tokio::time::pause();
    let (began, limit) = (Instant::now(), Duration::from_millis(100));
    assert_eq!(process.join_within(limit).await.unwrap(), None);
    assert!(began.elapsed() >= limit);
    drop(held);
    assert_eq!(process.join().await.unwrap(), 0);
}

#[tokio::test]
async fn several_arguments_are_a_tuple() {
    let process = Process::new(sum, (1, 2));
    in_time(process.start()).await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

// ----- names -----

#[tokio::test]
async fn names_are_counted_up_unless_they_are_chosen() {
    let number = |process: &Process| {
        process.name().strip_prefix("Process-").unwrap().parse::<u32>().unwrap()
    };
    let first = Process::new(pid, ());
    let chosen = Process::builder(pid, ()).name("chosen").build();
    let last = Process::new(pid, ());
    assert_eq!(chosen.name(), "chosen");
    // Other tests count, too; and one whose name is chosen counts.
    assert!(number(&last) >= number(&first) + 2, "{first:?} {last:?}");
}

#[tokio::test]
async fn the_number_belongs_to_the_object_and_not_to_its_start() {
    let (first, second) = (Process::new(pid, ()), Process::new(pid, ()));
    let names = [first.name().to_owned(), second.name().to_owned()];
    in_time(second.start()).await.unwrap();
    in_time(first.start()).await.unwrap();
    assert_eq!([first.name(), second.name()], [&*names[0], &*names[1]]);
    in_time(first.join()).await.unwrap();
    in_time(second.join()).await.unwrap();
}

// ----- starting -----

#[tokio::test]
async fn a_second_start_is_an_error() {
    // scenario 84
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    assert!(process.start().await.unwrap_err().is_already_started());
    drop(held);
    in_time(process.join()).await.unwrap();
    let error = process.start().await.unwrap_err();
    assert!(error.is_already_started() && !error.is_start_failure());
    assert!(error.to_string().contains("can be started only once"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_starts_one_succeeds() {
    // scenario 84
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let process = process.clone();
            tokio::spawn(async move { process.start().await })
        })
        .collect();
    let mut started = 0;
    for start in starts {
        match in_time(start).await.unwrap() {
            Ok(()) => started += 1,
            Err(error) => assert!(error.is_already_started(), "{error}"),
        }
    }
    assert_eq!(started, 1);
    drop(gate.arrival().await);
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

/// Drops the start after its first poll.
async fn begin_to_start(process: &Process) {
    tokio::select! {
        biased;
        _ = process.start() => panic!("it takes longer than one poll"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_start_that_is_dropped_has_started_it() {
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    begin_to_start(&process).await;
    assert!(process.start().await.unwrap_err().is_already_started());
    drop(gate.arrival().await);
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_signal_that_comes_early_is_not_lost() {
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    begin_to_start(&process).await;
    process.kill().unwrap();
    let error = in_time(process.join()).await.unwrap_err();
    assert!(error.is_start_failure(), "{error}");
    assert_eq!((error.exitcode(), process.exitcode()), (Some(-9), Some(-9)));
    assert!(error.to_string().ends_with("was killed by signal 9 (SIGKILL)"), "{error}");
    assert!(process_gone(process.pid().unwrap()));
    assert!(!process.is_alive() && !is_active(&process));
}

#[tokio::test]
async fn an_unregistered_function_is_named_with_the_line_to_add() {
    let process = Process::new(never_registered, ());
    let error = process.start().await.unwrap_err();
    assert!(error.is_unregistered() && error.is_start_failure(), "{error}");
    let text = error.to_string();
    assert!(text.contains("procpool::register!(crate::lifecycle::never_registered);"), "{text}");
    assert!(
        text.starts_with(&format!("process `{}` (`process::lifecycle::never", process.name())),
        "{text}"
    );
    assert!(process.join().await.unwrap_err().is_not_started());
    assert_eq!((process.pid(), process.exitcode()), (None, None));
}

#[tokio::test]
async fn arguments_over_the_limit_are_refused_at_the_start() {
    let process = Process::builder(take_bytes, vec![0; 101]).max_payload(100).build();
    let error = process.start().await.unwrap_err();
    assert!(error.is_too_large(), "{error}");
    assert!(error.to_string().contains("`ProcessBuilder::max_payload`"), "{error}");
}

#[test]
fn without_a_runtime_it_can_be_made_but_not_started() {
    let process = Process::new(pid, ());
    let error = process.start().now_or_never().unwrap().unwrap_err();
    assert!(error.is_no_runtime() && error.is_start_failure(), "{error}");
    // It was not used up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        in_time(process.start()).await.unwrap();
        assert_eq!(in_time(process.join()).await.unwrap(), 0);
    });
}

#[test]
fn without_an_io_driver_it_cannot_be_started() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let process = Process::new(pid, ());
        let error = in_time(process.start()).await.unwrap_err();
        assert!(error.is_start_failure(), "{error}");
        assert!(in_time(process.join()).await.unwrap_err().is_start_failure());
        assert!(in_time(process.start()).await.unwrap_err().is_start_failure());
    });
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named() {
    let process = Process::builder(pid, ()).current_dir("/no/such/directory").build();
    let error = in_time(process.start()).await.unwrap_err();
    assert!(error.to_string().contains("`/no/such/directory`"), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "the text has it");
}

#[tokio::test]
async fn what_does_not_become_ready_is_killed() {
    let mut command = tokio::process::Command::new(fixture("late_init"));
    let output = in_time(command.kill_on_drop(true).output()).await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout, "timeout true, failure true\nSome(-9), alive false\n");
}

// ----- closing -----

#[tokio::test]
async fn it_is_closed_once_it_has_ended_and_then_methods_fail() {
    // scenario 84
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let error = process.close().unwrap_err();
    assert!(error.is_running(), "{error}");
    assert_eq!(process.join_within(Duration::ZERO).await.unwrap(), None, "it is still open");
    drop(held);
    in_time(process.join()).await.unwrap();
    let id = process.pid();
    for _ in 0..2 {
        process.close().unwrap();
        assert!(process.start().await.unwrap_err().is_closed());
        assert!(process.join().await.unwrap_err().is_closed());
        assert!(process.join_within(Duration::ZERO).await.unwrap_err().is_closed());
        assert!(process.sentinel().unwrap_err().is_closed());
        assert!(process.set_authkey(AuthKey::new("key")).unwrap_err().is_closed());
        for result in [process.terminate(), process.kill(), process.interrupt()] {
            assert!(result.unwrap_err().is_closed());
        }
        assert_eq!((process.pid(), process.exitcode(), process.is_alive()), (id, Some(0), false));
        assert!(process.take_stdout().is_none());
    }
}

#[tokio::test]
async fn it_may_be_closed_before_it_is_started() {
    // scenario 84
    let process = Process::new(pid, ());
    process.close().unwrap();
    assert!(process.start().await.unwrap_err().is_closed());
}

// ----- handles and runtimes -----

#[tokio::test]
async fn handles_are_clones_of_one_another() {
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let clone = process.clone();
    assert_eq!(clone.pid(), process.pid());
    drop(process);
    drop(held);
    assert_eq!(in_time(clone.join()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_process_is_joined_from_another_runtime() {
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(process.join())
    });
    drop(held);
    let joined = in_time(tokio::task::spawn_blocking(|| elsewhere.join().unwrap())).await;
    assert_eq!(joined.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn debug_tells_how_it_stands() {
    let process = Process::builder(pid, ()).name("p").daemon(true).build();
    let text = format!("{process:?}");
    assert!(
        text.starts_with("Process { name: \"p\", function: \"process::common::pid\""),
        "{text}"
    );
    assert!(text.contains("pid: None, exitcode: None, daemon: true"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_are_all_reaped() {
    // scenario 87
    let mut joins = Vec::new();
    for number in 0..100 {
        joins.push(tokio::spawn(async move {
            let builder = Process::builder(sum, (1, 2 + number % 2));
            let process = builder.stderr(ProcessStdio::Null).build();
            process.start().await.unwrap();
            let code = process.join().await.unwrap();
            (number, process.pid().unwrap(), code)
        }));
    }
    for join in joins {
        let (number, id, code) = in_time(join).await.unwrap();
        assert_eq!(u64::try_from(code).unwrap(), number % 2);
        assert!(process_gone(id) && !children().contains(&id));
    }
}

#[cfg(target_os = "linux")]
fn hold_for_ever() {
    loop {
        std::thread::park();
    }
}

/// Lets a runtime end while a process runs, at a time when no thread can be started. Returns how
/// the process has ended, as far as somebody who joins it on another runtime is told.
#[cfg(target_os = "linux")]
fn lose_the_runtime_and_all_threads() -> Option<i32> {
    // The number of threads of root is not limited.
    let nobody = rustix::process::Uid::from_raw(65534);
    let _ = rustix::thread::set_thread_res_uid(nobody, nobody, nobody); // or this is not root
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (lost, other) = (runtime(), runtime());
    let process = Process::builder(hold_for_ever, ()).daemon(true).build();
    lost.block_on(process.start()).unwrap();
    let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Nproc, limit).unwrap();
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    drop(lost);
    other.block_on(process.join()).ok()
}

#[cfg(target_os = "linux")]
procpool::register!(hold_for_ever, lose_the_runtime_and_all_threads);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_joins_is_told_of_the_end_even_if_nobody_can_wait_for_it() {
    let handle = Process::spawn(lose_the_runtime_and_all_threads, ()).abort_on_drop(true);
    assert_eq!(in_time(handle).await.unwrap(), Some(-9));
}
