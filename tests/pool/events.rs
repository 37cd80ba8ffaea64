//! What happens in a pool, as a stream.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake};
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Builder, Events, PoolEvent, ProcessPoolExecutor, Shutdown, TaskHandle, TaskId, TaskOutcome,
    WorkerId,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::common::{
    Gate, LIMIT, exit_at_first_attempt, exit_now, hold, in_time, panic_now, pid, wait_until,
};

fn fail_to_start() -> Result<(), String> {
    Err("not today".to_owned())
}

procpool::register!(panic_now, exit_now, exit_at_first_attempt, fail_to_start);

fn builder(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(workers).grace_period(LIMIT)
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder(workers).build().unwrap()
}

/// An event in a few words, without what differs from run to run.
fn words(event: &PoolEvent) -> String {
    match event {
        PoolEvent::WorkerStarted { worker, .. } => format!("{worker} started"),
        PoolEvent::WorkerReady { worker, .. } => format!("{worker} ready"),
        PoolEvent::WorkerLeft { worker, .. } => format!("{worker} left"),
        PoolEvent::WorkerDied { death, .. } => format!("{} died", death.worker_id()),
        PoolEvent::WorkerKilled { death, task, reason, .. } => {
            let task = task.map(|task| format!("{task}, ")).unwrap_or_default();
            format!("{} killed ({task}{reason})", death.worker_id())
        }
        PoolEvent::WorkerNotStarted { worker, .. } => format!("{worker} not started"),
        PoolEvent::TaskQueued { task, .. } => format!("{task} queued"),
        PoolEvent::TaskStarted { task, worker, attempt, .. } => {
            format!("{task} started in {worker} at attempt {attempt}")
        }
        PoolEvent::TaskRetried { task, attempt, .. } => format!("{task} retried: {attempt}"),
        PoolEvent::TaskFinished { task, outcome, .. } => format!("{task} finished: {outcome:?}"),
        PoolEvent::PoolBroken { .. } => "broken".to_owned(),
        PoolEvent::PoolShutDown { .. } => "shut down".to_owned(),
        PoolEvent::Missed(count) => format!("{count} missed"),
        other => panic!("{other:?}"),
    }
}

/// Shuts the pool down, and tells all that has happened.
async fn story(pool: &ProcessPoolExecutor, events: Events) -> Vec<String> {
    in_time(pool.shutdown()).await;
    in_time(events.map(|event| words(&event)).collect()).await
}

#[tokio::test]
async fn the_story_of_one_task() {
    let pool = pool_of(1);
    let events = pool.events();
    in_time(pool.run(pid, ())).await.unwrap();
    let expected = [
        "task 1 queued",
        "worker 1 started",
        "worker 1 ready",
        "task 1 started in worker 1 at attempt 1",
        "task 1 finished: Returned",
        "shut down",
        "worker 1 left",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

#[tokio::test]
async fn events_name_the_function_and_the_process() {
    let pool = pool_of(1);
    let mut events = pool.events();
    let worker_pid = in_time(pool.run(pid, ())).await.unwrap();
    let first = in_time(events.next()).await.unwrap();
    let PoolEvent::TaskQueued { function, .. } = first else { panic!("{first:?}") };
    assert_eq!(function, "pool::common::pid");
    let second = in_time(events.next()).await.unwrap();
    let PoolEvent::WorkerStarted { pid, .. } = second else { panic!("{second:?}") };
    assert_eq!(pid, worker_pid);
}

#[tokio::test]
async fn the_story_of_a_death_and_a_replacement() {
    let pool = pool_of(1);
    let events = pool.events();
    in_time(pool.run(exit_now, ())).await.unwrap_err();
    in_time(pool.run(panic_now, ())).await.unwrap_err();
    let expected = [
        "task 1 queued",
        "worker 1 started",
        "worker 1 ready",
        "task 1 started in worker 1 at attempt 1",
        "worker 1 died",
        "task 1 finished: WorkerDied",
        "task 2 queued",
        "worker 2 started",
        "worker 2 ready",
        "task 2 started in worker 2 at attempt 1",
        "task 2 finished: Panicked",
        "shut down",
        "worker 2 left",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

#[tokio::test]
async fn the_death_of_an_idle_worker_is_told_with_its_signal() {
    let pool = pool_of(1);
    let mut events = pool.events();
    let victim = in_time(pool.run(pid, ())).await.unwrap();
    kill_process(Pid::from_raw(victim.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let death = loop {
        if let PoolEvent::WorkerDied { death, .. } = in_time(events.next()).await.unwrap() {
            break death;
        }
    };
    assert_eq!((death.pid(), death.signal()), (victim, Some(9)));
    assert_eq!(pool.stats().worker_deaths, 1);
}

#[tokio::test]
async fn the_story_of_a_retried_task() {
    // scenario 36
    let pool = pool_of(1);
    let events = pool.events();
    in_time(pool.task(exit_at_first_attempt, ()).retries(3).run()).await.unwrap();
    let expected = [
        "task 1 queued",
        "worker 1 started",
        "worker 1 ready",
        "task 1 started in worker 1 at attempt 1",
        "worker 1 died",
        "worker 2 started",
        "worker 2 ready",
        "task 1 retried: 2",
        "task 1 started in worker 2 at attempt 2",
        "task 1 finished: Returned",
        "shut down",
        "worker 2 left",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

#[tokio::test]
async fn the_story_of_an_aborted_task() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let events = pool.events();
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    handle.abort();
    in_time(handle).await.unwrap_err();
    let expected = [
        "task 1 queued",
        "worker 1 started",
        "worker 1 ready",
        "task 1 started in worker 1 at attempt 1",
        "worker 1 killed (task 1, its task was aborted)",
        "task 1 finished: Cancelled",
        "shut down",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

#[tokio::test]
async fn a_task_that_runs_too_long_is_told_as_such() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let events = pool.events();
    let timed = pool.task(hold, gate.port()).timeout(Duration::from_millis(10));
    in_time(timed.run()).await.unwrap_err();
    let story = story(&pool, events).await;
    let end = [
        "worker 1 killed (task 1, its task ran longer than 10ms)",
        "task 1 finished: TimedOut",
        "shut down",
    ];
    assert!(story.ends_with(&end.map(str::to_owned)), "{story:?}");
}

#[tokio::test]
async fn a_worker_that_is_ended_with_its_pool_or_by_a_deadline_is_told_as_such() {
    for (deadline, reason) in [
        (None, "its task still ran when all workers were to end"),
        (Some(Duration::from_millis(500)), "the deadline of its task had passed"),
    ] {
        let (pool, gate) = (pool_of(1), Gate::new().await);
        let events = pool.events();
        in_time(pool.ready()).await.unwrap(); // so a deadline does not count the start
        let task = pool.task(hold, gate.port()).deadline(deadline);
        let handle = task.submit().await.unwrap();
        let _held = gate.arrival().await;
        if deadline.is_none() {
            in_time(pool.shutdown_with(Shutdown::new().within(Duration::ZERO))).await;
        }
        in_time(handle).await.unwrap_err();
        let story = story(&pool, events).await;
        let expected = format!("worker 1 killed (task 1, {reason})");
        assert!(story.contains(&expected), "{story:?}");
    }
}

#[tokio::test]
async fn a_task_that_is_cancelled_while_it_waits_is_never_started() {
    // scenario 50
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let first = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let events = pool.events();
    let second = pool.submit(pid, ()).await.unwrap();
    assert!(second.cancel());
    wait_until("the pool knows", || pool.stats().cancelled == 1).await;
    drop(held);
    in_time(first).await.unwrap();
    let expected = [
        "task 2 queued",
        "task 2 finished: Cancelled",
        "task 1 finished: Returned",
        "shut down",
        "worker 1 left",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

#[tokio::test]
async fn the_story_of_a_pool_that_breaks() {
    // scenario 40
    let pool = builder(1).initializer(fail_to_start, ()).build().unwrap();
    let mut events = pool.events();
    in_time(pool.run(pid, ())).await.unwrap_err();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = in_time(events.next()).await.unwrap();
        if let PoolEvent::WorkerNotStarted { reason, .. } = &event {
            assert!(reason.contains("not today"), "{reason}");
        }
        if let PoolEvent::PoolBroken { error, .. } = &event {
            assert!(error.is_initializer_failure() && error.to_string().contains("not today"));
        }
        seen.push(words(&event));
    }
    let expected = [
        "task 1 queued",
        "worker 1 started",
        "worker 1 not started",
        "broken",
        "task 1 finished: Broken",
    ];
    assert_eq!(seen, expected);
    assert_eq!(story(&pool, events).await, [""; 0], "it was over already");
}

#[tokio::test]
async fn a_worker_without_a_process_is_told_too() {
    // scenario 37
    let pool = builder(1).worker_command("/nowhere/to/be/found").build().unwrap();
    let events = pool.events();
    in_time(pool.ready()).await.unwrap_err();
    assert_eq!(story(&pool, events).await, ["worker 1 not started", "broken"]);
}

/// Each task's and each worker's events are in order, also if tasks are sent ahead.
#[tokio::test]
async fn events_come_in_the_order_of_things() {
    const TASKS: usize = 300;
    let pool = pool_of(2);
    let events = pool.events();
    let mut handles = Vec::new();
    for _ in 0..TASKS {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    in_time(futures::future::join_all(handles)).await;
    in_time(pool.shutdown()).await;
    let (mut stages, mut running) =
        (BTreeMap::<TaskId, u32>::new(), BTreeMap::<WorkerId, TaskId>::new());
    for event in in_time(events.collect::<Vec<_>>()).await {
        match event {
            PoolEvent::TaskQueued { task, .. } => assert_eq!(stages.insert(task, 1), None),
            PoolEvent::TaskStarted { task, worker, .. } => {
                assert_eq!(stages.insert(task, 2), Some(1));
                let other = running.insert(worker, task);
                assert_eq!(other, None, "{worker} runs one at a time");
            }
            PoolEvent::TaskFinished { task, outcome, .. } => {
                assert_eq!(outcome, TaskOutcome::Returned);
                assert_eq!(stages.insert(task, 3), Some(2));
                running.retain(|_, runs| *runs != task);
            }
            PoolEvent::Missed(_) => panic!("they fit"),
            _ => {}
        }
    }
    assert_eq!(stages.len(), TASKS);
    assert!(stages.values().all(|stage| *stage == 3), "{stages:?}");
}

#[tokio::test]
async fn a_reader_that_lags_misses_the_oldest_and_goes_on() {
    const TASKS: usize = 1_000;
    let pool = pool_of(2);
    let events = pool.events();
    for _ in 0..TASKS {
        drop(pool.submit(pid, ()).await.unwrap());
    }
    in_time(pool.shutdown()).await;
    let events: Vec<PoolEvent> = in_time(events.collect()).await;
    let (first, rest) = events.split_first().unwrap();
    let PoolEvent::Missed(missed) = first else { panic!("{first:?}") };
    assert!(rest.iter().all(|event| !matches!(event, PoolEvent::Missed(_))));
    let starts = usize::try_from(pool.stats().worker_starts).unwrap();
    let total = 3 * TASKS + 3 * starts + 1; // three for each task and each worker, and the shutdown
    assert_eq!(usize::try_from(*missed).unwrap() + rest.len(), total);
    assert!(matches!(rest.last(), Some(PoolEvent::WorkerLeft { .. })));
}

#[tokio::test]
async fn the_stream_ends_with_the_pool_though_handles_exist() {
    let pool = pool_of(1);
    let (events, mut others) = (pool.events(), pool.clone().events());
    in_time(pool.shutdown()).await;
    assert_eq!(in_time(events.count()).await, 1, "the shutdown");
    assert!(in_time(others.next()).await.is_some());
    for _ in 0..3 {
        assert!(in_time(others.next()).await.is_none(), "and stays at its end");
    }
    assert_eq!(in_time(pool.events().count()).await, 0);
}

#[tokio::test]
async fn a_stream_does_not_keep_a_pool_alive() {
    // scenario 73
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    let events = pool.events();
    drop(pool);
    let events: Vec<String> = in_time(events.map(|event| words(&event)).collect()).await;
    assert_eq!(events, ["shut down", "worker 1 left"]);
}

#[test]
fn the_stream_ends_with_the_runtime_of_the_pool() {
    // scenario 74
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let pool = first.block_on(async { pool_of(1) });
    first.block_on(in_time(pool.run(pid, ()))).unwrap();
    let events = pool.events();
    drop(first);
    second.block_on(in_time(events.count()));
    assert_eq!(second.block_on(in_time(pool.events().count())), 0);
}

#[test]
fn the_stream_ends_with_a_runtime_that_never_ran() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let idle = builder.enable_all().build().unwrap();
    let pool = {
        let _entered = idle.enter();
        pool_of(1)
    };
    let events = pool.events();
    drop(idle);
    let runtime = builder.build().unwrap();
    assert_eq!(runtime.block_on(in_time(events.count())), 0);
}

#[tokio::test]
async fn every_reader_sees_everything() {
    let pool = pool_of(2);
    let (first, second) = (pool.events(), pool.events());
    let handles: Vec<TaskHandle<u32>> =
        (0..20).map(|_| pool.try_submit(pid, ()).unwrap()).collect();
    in_time(futures::future::join_all(handles)).await;
    let first = story(&pool, first).await;
    assert_eq!(first, story(&pool, second).await);
    assert!(first.len() > 60, "{first:?}");
}

#[tokio::test]
async fn readers_may_come_and_go() {
    let pool = pool_of(1);
    in_time(pool.run(pid, ())).await.unwrap();
    drop(pool.events());
    in_time(pool.run(pid, ())).await.unwrap();
    let events = pool.events();
    in_time(pool.run(pid, ())).await.unwrap();
    let expected = [
        "task 3 queued",
        "task 3 started in worker 1 at attempt 1",
        "task 3 finished: Returned",
        "shut down",
        "worker 1 left",
    ];
    assert_eq!(story(&pool, events).await, expected);
}

/// Looks at the pool when it is woken.
struct Looker(ProcessPoolExecutor, mpsc::Sender<usize>);

impl Wake for Looker {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.0.stats().running + self.0.workers().len());
    }
}

#[tokio::test]
async fn a_waker_may_look_at_the_pool() {
    let (sender, looks) = mpsc::channel();
    let pool = pool_of(1);
    let mut events = pool.events();
    let waker = Arc::new(Looker(pool.clone(), sender)).into();
    assert!(events.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    in_time(pool.run(pid, ())).await.unwrap();
    assert!(looks.try_recv().is_ok(), "it was woken, and before the task's handle");
    assert!(events.poll_next_unpin(&mut Context::from_waker(&waker)).is_ready());
    while events.poll_next_unpin(&mut Context::from_waker(&waker)).is_ready() {}
    in_time(pool.shutdown()).await;
    drop(waker);
    wait_until("the end wakes it, too", || looks.try_iter().count() > 0).await;
}

#[test]
fn a_stream_can_be_moved_anywhere() {
    fn is_movable<T: Send + Unpin + 'static>() {}
    is_movable::<Events>();
}
