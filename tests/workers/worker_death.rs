//! Workers that die, by their own hand or another's.

#![allow(unsafe_code, reason = "what kills a process is rarely safe")]
#![allow(clippy::needless_pass_by_value, reason = "the arguments of tasks are owned")]

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{
    OnWorkerDeath, ProcessPoolExecutor, RunError, TaskErrorKind, TaskHandle, WorkerDeath,
    WorkerOutput,
};

use crate::common::{
    Gate, LIMIT, hold, in_time, kill, pid, process_exited, process_gone, wait_until,
};

fn builder(workers: usize) -> procpool::Builder {
    ProcessPoolExecutor::builder().max_workers(workers).worker_output(WorkerOutput::Null)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

// ----- ends of all kinds -----

fn exit(code: i32) {
    std::process::exit(code);
}

fn exit_at_once(code: i32) {
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(code) }
}

fn abort() {
    std::process::abort();
}

fn signal_itself(signal: i32) {
    loop {
        // Again, as Rust's own handler for some signals returns after the first one.
        // SAFETY: it has no preconditions.
        unsafe { libc::kill(libc::getpid(), signal) };
    }
}

fn write_to_nowhere() {
    // SAFETY: none: the fault is the purpose. Nothing is ever mapped at this address.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

fn close_descriptors() {
    for fd in 3..2000 {
        // SAFETY: none: that it closes what others use is the purpose.
        unsafe { libc::close(fd) };
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(frame[7] + 1) + std::hint::black_box(frame)[9]
}

fn print_and_exit(text: String, code: i32) {
    print!("{text}");
    std::io::stdout().flush().unwrap();
    std::process::exit(code);
}

procpool::register!(
    exit,
    exit_at_once,
    abort,
    close_descriptors,
    signal_itself,
    write_to_nowhere,
    recurse,
    print_and_exit
);

/// The death in an error, which must be that of the process that the task ran in.
fn death(error: &RunError) -> &WorkerDeath {
    assert!(error.is_worker_death() && !error.is_panic() && !error.is_broken(), "{error}");
    let death = error.worker_death().unwrap();
    assert!(error.to_string().contains(&format!("pid {}", death.pid())), "{error}");
    death
}

/// Runs a task that dies between two that do not; returns its error.
async fn run_deadly<R: std::fmt::Debug>(
    pool: &ProcessPoolExecutor,
    run: impl Future<Output = Result<R, RunError>>,
) -> RunError {
    let before = in_time(pool.run(pid, ())).await.unwrap();
    let error = in_time(run).await.unwrap_err();
    assert_eq!(death(&error).pid(), before);
    assert!(process_gone(before));
    assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), before);
    error
}

#[tokio::test]
async fn a_task_that_exits_fails_with_pid_and_code() {
    // scenario 25
    let pool = pool_of(1);
    for code in [0, 99] {
        let errors = [
            run_deadly(&pool, pool.run(exit, code)).await,
            run_deadly(&pool, pool.run(exit_at_once, code)).await,
        ];
        for error in errors {
            assert_eq!((death(&error).exit_code(), death(&error).signal()), (Some(code), None));
            let text = format!("exited unexpectedly with code {code}");
            assert!(error.to_string().contains(&text), "{error}");
        }
    }
    let stats = pool.stats();
    assert_eq!((stats.failed, stats.worker_deaths, stats.worker_starts), (4, 4, 5));
}

#[track_caller]
fn assert_signal(error: &RunError, number: i32, name: &str) {
    assert_eq!((death(error).exit_code(), death(error).signal()), (None, Some(number)));
    let text = format!("killed by signal {number} ({name})");
    assert!(error.to_string().contains(&text), "{error}");
}

#[tokio::test]
async fn a_task_that_aborts_fails_with_the_signal() {
    // scenarios 25 and 26
    let pool = pool_of(1);
    let error = run_deadly(&pool, pool.run(abort, ())).await;
    assert_signal(&error, libc::SIGABRT, "SIGABRT");
}

#[tokio::test]
async fn a_segfault_fails_with_the_signal() {
    // scenario 26
    let pool = pool_of(1);
    let error = run_deadly(&pool, pool.run(write_to_nowhere, ())).await;
    assert_signal(&error, libc::SIGSEGV, "SIGSEGV");
}

#[tokio::test]
async fn a_stack_overflow_fails_with_the_signal_and_what_was_printed() {
    // scenario 26; Rust's runtime turns the fault into an abort
    let pool = pool_of(1);
    let error = run_deadly(&pool, pool.run(recurse, 0)).await;
    assert_signal(&error, libc::SIGABRT, "SIGABRT");
    assert!(death(&error).stderr_tail().contains("has overflowed its stack"), "{error}");
}

#[tokio::test]
async fn signals_are_named() {
    // scenario 26
    let pool = pool_of(1);
    for (number, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGBUS, "SIGBUS")] {
        let error = run_deadly(&pool, pool.run(signal_itself, number)).await;
        assert_signal(&error, number, name);
        assert!(!error.to_string().contains("memory"), "{error}");
    }
}

#[tokio::test]
async fn a_kill_from_outside_names_the_signal_and_hints_at_memory() {
    // scenarios 26 and 35
    let pool = pool_of(1);
    let gate = Gate::new().await;
    for round in 1..=4 {
        let handle = pool.submit(hold, gate.port()).await.unwrap();
        let held = gate.arrival().await;
        kill(held.pid);
        let error = RunError::from(in_time(handle).await.unwrap_err());
        assert_signal(&error, libc::SIGKILL, "SIGKILL");
        assert_eq!(death(&error).pid(), held.pid);
        assert!(error.to_string().contains("memory"), "{error}");
        assert!(!death(&error).is_out_of_memory(), "{error}");
        // Nobody is started without work to do.
        assert_eq!((pool.stats().worker_deaths, pool.stats().worker_starts), (round, round));
    }
    in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(pool.stats().worker_starts, 5);
}

#[tokio::test]
async fn a_worker_that_has_lost_its_parent_says_so_and_nothing_of_memory() {
    let pool = pool_of(1);
    let error = run_deadly(&pool, pool.run(close_descriptors, ())).await;
    assert_signal(&error, libc::SIGKILL, "SIGKILL");
    let death = death(&error);
    assert_eq!(
        death.to_string(),
        format!(
            "{} (pid {}) was killed by signal 9 (SIGKILL); it ended itself, as it could not talk to \
             its parent any more (Bad file descriptor (os error 9)): has a task closed descriptors \
             that are not its own?",
            death.worker_id(),
            death.pid()
        )
    );
}

#[tokio::test]
async fn the_last_output_of_a_dead_worker_is_kept_and_that_of_the_task_in_its_error() {
    let pool = pool_of(1);
    let text = format!("{}the last line", "a line before\n".repeat(10_000));
    let error = run_deadly(&pool, pool.run(print_and_exit, (text, 7))).await;
    let tail = death(&error).stderr_tail();
    assert!(tail.starts_with("a line before\n") && tail.ends_with("\nthe last line"), "{tail}");
    assert!(tail.len() <= 16 << 10, "{}", tail.len());
    assert!(!death(&error).to_string().contains("line"), "{error}");
    assert_eq!(error.output(), Some(tail));
    assert!(error.to_string().contains("with code 7; its last output was: a line"), "{error}");
    assert!(error.to_string().ends_with("\\nthe last line"), "{error}");
}

#[tokio::test]
async fn what_one_task_prints_is_in_no_error_of_another() {
    for (reaction, kind) in [
        (OnWorkerDeath::Replace, TaskErrorKind::WorkerDeath),
        (OnWorkerDeath::Break, TaskErrorKind::Broken),
    ] {
        let pool = builder(1).on_worker_death(reaction).build().unwrap();
        let print = procpool::task!(|| { eprintln!("the token of alice") });
        in_time(pool.run(print, ())).await.unwrap();
        let of_bob = in_time(pool.run(procpool::task!(|| { std::process::abort() }), ())).await;
        let error = of_bob.unwrap_err();
        assert_eq!(error.kind(), kind);
        let death = error.worker_death().unwrap();
        assert!(death.stderr_tail().contains("alice"), "it is kept for the operator");
        for text in [error.to_string(), format!("{error:?}"), death.to_string()] {
            assert!(text.contains("SIGABRT") && !text.contains("alice"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}

// ----- one task's business -----

#[tokio::test]
async fn only_the_task_that_ran_fails() {
    // scenario 30
    let pool = pool_of(1);
    let gate = Gate::new().await;
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let mut queued = Vec::new();
    for _ in 0..9 {
        queued.push(pool.submit(pid, ()).await.unwrap());
    }
    let held = gate.arrival().await;
    kill(held.pid);
    let error = in_time(running).await.unwrap_err();
    assert_eq!(error.worker_death().unwrap().pid(), held.pid);
    for handle in queued {
        assert_ne!(in_time(handle).await.unwrap(), held.pid);
    }
    let stats = pool.stats();
    assert_eq!((stats.failed, stats.completed, stats.worker_starts), (1, 9, 2));
}

#[tokio::test]
async fn tasks_of_other_workers_are_not_touched() {
    let pool = pool_of(2);
    let gate = Gate::new().await;
    let mut running = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        running.push(pool.submit(hold, gate.port()).await.unwrap());
        held.push(gate.arrival().await);
    }
    kill(held[0].pid);
    let (first, second) = (running.remove(0), running.remove(0));
    assert!(in_time(first).await.unwrap_err().is_worker_death());
    let survivor = held.remove(1);
    let expected = survivor.pid;
    drop(survivor);
    assert_eq!(in_time(second).await.unwrap(), expected);
}

// ----- everybody's business -----

async fn submit_held(
    pool: &ProcessPoolExecutor,
    gate: &Gate,
    count: usize,
) -> Vec<TaskHandle<u32>> {
    let mut handles = Vec::new();
    for _ in 0..count {
        handles.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    handles
}

#[tokio::test]
async fn in_break_mode_a_death_fails_every_task_and_every_submit() {
    // scenario 31
    let pool = builder(2).on_worker_death(OnWorkerDeath::Break).build().unwrap();
    let gate = Gate::new().await;
    let handles = submit_held(&pool, &gate, 6).await;
    let (victim, other) = (gate.arrival().await, gate.arrival().await);
    kill(victim.pid);
    for handle in handles {
        let id = handle.id();
        let error = in_time(handle).await.unwrap_err();
        assert!(error.is_broken() && !error.is_worker_death(), "{error}");
        assert_eq!(error.task_id(), Some(id));
        assert!(error.to_string().contains(&id.to_string()), "{error}");
        assert_eq!(error.worker_death().unwrap().pid(), victim.pid);
        assert!(error.to_string().contains(&format!("pid {}", victim.pid)), "{error}");
        assert!(error.to_string().contains("SIGKILL"), "{error}");
    }
    for _ in 0..3 {
        let error = in_time(pool.submit(pid, ())).await.unwrap_err();
        assert!(error.is_broken() && !error.is_shut_down(), "{error}");
        assert_eq!(error.broken().unwrap().worker_death().unwrap().pid(), victim.pid);
        for error in [
            error.into(),
            pool.try_submit(pid, ()).unwrap_err().into(),
            in_time(pool.ready()).await.unwrap_err().into(),
            in_time(pool.run(pid, ())).await.unwrap_err(),
            in_time(pool.map(pid, [()]).next()).await.unwrap().unwrap_err().into(),
        ] {
            assert!(error.is_broken() && !error.is_shut_down(), "{error}");
            assert_eq!(error.broken().unwrap().pid(), Some(victim.pid));
            assert!(error.to_string().contains(&format!("pid {}", victim.pid)), "{error}");
            assert!(error.to_string().contains("SIGKILL"), "{error}");
        }
    }
    let report = in_time(pool.shutdown()).await;
    assert_eq!((report.finished, report.cancelled, report.killed), (6, 0, 0));
    assert!(process_gone(victim.pid) && process_gone(other.pid));
    assert!(pool.try_submit(pid, ()).unwrap_err().is_broken());
    assert_eq!(pool.stats().worker_starts, 2);
}

#[tokio::test]
async fn in_break_mode_the_death_of_an_idle_worker_breaks_the_pool() {
    // scenario 31
    let pool = builder(1).on_worker_death(OnWorkerDeath::Break).build().unwrap();
    let victim = in_time(pool.run(pid, ())).await.unwrap();
    kill(victim);
    wait_until("the pool has noticed", || pool.try_submit(pid, ()).is_err()).await;
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    let broken = error.broken().unwrap();
    assert_eq!(broken.pid(), Some(victim));
    let last = broken.worker_death().unwrap();
    assert_eq!((last.pid(), last.signal()), (victim, Some(9)));
    assert!(error.source().is_none() && error.to_string().ends_with(&last.to_string()), "{error}");
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_submit_that_waits_for_room_fails_when_the_pool_breaks() {
    // scenario 31
    let pool = builder(1).on_worker_death(OnWorkerDeath::Break).queue_capacity(1).build().unwrap();
    let gate = Gate::new().await;
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let queued = in_time(pool.submit(pid, ())).await.unwrap();
    let mut waiting = std::pin::pin!(pool.submit(pid, ()));
    assert!(futures::poll!(&mut waiting).is_pending());
    kill(held.pid);
    assert!(in_time(waiting).await.unwrap_err().is_broken());
    assert!(in_time(running).await.unwrap_err().is_broken());
    assert!(in_time(queued).await.unwrap_err().is_broken());
}

// ----- nobody's business -----

/// Starts all workers of a pool and leaves them idle.
async fn idle_workers(pool: &ProcessPoolExecutor, count: usize) -> Vec<u32> {
    let gate = Gate::new().await;
    let handles = submit_held(pool, &gate, count).await;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(gate.arrival().await);
    }
    let pids = held.iter().map(|held| held.pid).collect();
    drop(held);
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    pids
}

#[tokio::test]
async fn the_death_of_an_idle_worker_fails_no_task() {
    // scenario 32: the tasks come before, while and after the pool notices
    for at_once in [1, 40] {
        let pool = pool_of(2);
        for round in 1..=5 {
            let victims = idle_workers(&pool, 2).await;
            for &pid in &victims {
                kill(pid);
            }
            if round % 2 == 0 {
                wait_until("they are dead", || victims.iter().all(|&pid| process_exited(pid)))
                    .await;
            }
            for _ in 0..3 {
                let runs = (0..at_once).map(|_| pool.run(pid, ()));
                for result in in_time(futures::future::join_all(runs)).await {
                    // A worker that is killed may still be quick enough to run a task.
                    let served_by = result.unwrap();
                    assert!(round % 2 == 1 || !victims.contains(&served_by));
                }
            }
            assert_eq!(pool.stats().failed, 0);
        }
        in_time(pool.shutdown()).await;
    }
}

/// Its result is written before its process ends; the parent is kept from reading it until then.
fn return_and_die(port: u16, size: usize) -> String {
    let written = bytes_written("/proc/thread-self/io");
    // SAFETY: it has no preconditions.
    let thread = unsafe { libc::gettid() };
    std::thread::spawn(move || {
        // The result itself, not only its beginning.
        while bytes_written(&format!("/proc/self/task/{thread}/io")) < written + size as u64 {
            std::thread::yield_now();
        }
        exit_at_once(5);
    });
    hold(port);
    "r".repeat(size)
}

/// What a thread has written so far.
fn bytes_written(io: &str) -> u64 {
    let counts = std::fs::read_to_string(io).unwrap();
    let written = counts.lines().find_map(|line| line.strip_prefix("wchar: "));
    written.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn a_result_that_was_written_is_delivered_although_its_worker_is_dead() {
    // scenario 33
    let pool = pool_of(1);
    let gate = Gate::new().await;
    for size in [100, 40_000] {
        let handle = pool.submit(return_and_die, (gate.port(), size)).await.unwrap();
        let held = gate.arrival().await;
        let pid = held.pid;
        drop(held);
        // The pool is on this thread, so it sees nothing before the process is dead.
        let began = Instant::now();
        while !process_exited(pid) {
            assert!(began.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(in_time(handle).await.unwrap().len(), size);
    }
    let next = in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(pool.workers()[0].pid, next);
    assert_eq!((pool.stats().completed, pool.stats().failed), (3, 0));
}

/// Leaves a thread behind that ends the process when it is let go.
fn exit_later(port: u16) -> u32 {
    std::thread::spawn(move || {
        hold(port);
        std::process::exit(0);
    });
    pid()
}

procpool::register!(return_and_die, exit_later);

#[tokio::test]
async fn a_worker_that_exits_after_success_costs_nothing() {
    // scenario 34
    let pool = pool_of(1);
    let gate = Gate::new().await;
    for _ in 0..3 {
        let served_by = in_time(pool.run(exit_later, gate.port())).await.unwrap();
        let held = gate.arrival().await;
        assert_eq!(held.pid, served_by);
        drop(held);
        wait_until("it has exited", || process_exited(served_by)).await;
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), served_by);
    }
    assert_eq!(pool.stats().failed, 0);
}

// ----- retries -----

fn exit_with_attempt() {
    exit(i32::try_from(procpool::current().attempt()).unwrap());
}

fn die_twice() -> u32 {
    match procpool::current().attempt() {
        attempt @ 3.. => attempt,
        _ => std::process::abort(),
    }
}

procpool::register!(exit_with_attempt, die_twice);

#[tokio::test]
async fn a_deadly_task_is_begun_as_often_as_its_retries_say() {
    // scenario 36
    let pool = pool_of(1);
    let error = in_time(pool.task(exit_with_attempt, ()).retries(3).run()).await.unwrap_err();
    assert_eq!(error.attempts(), 4);
    assert_eq!(death(&error).exit_code(), Some(4));
    assert!(error.to_string().contains("attempt 4"), "{error}");
    let stats = pool.stats();
    assert_eq!((stats.worker_starts, stats.failed), (4, 1));
}

#[tokio::test]
async fn a_task_that_survives_its_retries_has_a_result() {
    let pool = pool_of(1);
    assert_eq!(in_time(pool.task(die_twice, ()).retries(5).run()).await.unwrap(), 3);
    let error = in_time(pool.run(die_twice, ())).await.unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert_eq!(pool.stats().worker_deaths, 3);
}

/// Leaves a process behind in its group, says its pid, and exits.
fn orphan_a_child(path: String) {
    let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(path, child.id().to_string()).unwrap();
    std::process::exit(3);
}

procpool::register!(orphan_a_child);

#[tokio::test]
async fn what_a_task_has_started_goes_with_a_worker_that_exits() {
    let pool = pool_of(1);
    let path = std::env::temp_dir().join(format!("procpool-orphan-{}", std::process::id()));
    let error = run_deadly(&pool, pool.run(orphan_a_child, path.display().to_string())).await;
    assert_eq!(death(&error).exit_code(), Some(3));
    let child = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    std::fs::remove_file(&path).unwrap();
    wait_until("the child goes", || process_gone(child)).await;
}

// ----- again and again -----

fn hold_and_abort(port: u16) {
    hold(port);
    std::process::abort();
}

procpool::register!(hold_and_abort);

#[tokio::test]
async fn a_function_that_kills_its_workers_again_and_again_leaves_one_to_others() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    for _ in 0..2 {
        let crash = in_time(pool.submit(hold_and_abort, gate.port())).await.unwrap();
        drop(gate.arrival().await);
        assert!(in_time(crash).await.unwrap_err().is_worker_death());
    }
    let mut crashes = Vec::new();
    for _ in 0..3 {
        crashes.push(in_time(pool.submit(hold_and_abort, gate.port())).await.unwrap());
    }
    for crash in crashes {
        let held = gate.arrival().await;
        for _ in 0..10 {
            assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), held.pid, "nobody waits");
        }
        drop(held);
        assert!(in_time(crash).await.unwrap_err().is_worker_death());
    }
    assert_eq!(pool.stats().worker_deaths, 5);
}

#[tokio::test]
async fn a_function_that_kills_no_more_may_have_all_workers() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    for _ in 0..3 {
        let held_task = in_time(pool.submit(hold, gate.port())).await.unwrap();
        let held = gate.arrival().await;
        kill(held.pid);
        assert!(in_time(held_task).await.unwrap_err().is_worker_death());
    }
    let first = in_time(pool.submit(hold, gate.port())).await.unwrap();
    drop(gate.arrival().await);
    in_time(first).await.unwrap();
    let both = [pool.submit(hold, gate.port()).await, pool.submit(hold, gate.port()).await];
    let held = [gate.arrival().await, gate.arrival().await];
    drop(held);
    for task in both {
        in_time(task.unwrap()).await.unwrap();
    }
}
