//! What waits, and for whom.

use std::time::Duration;

use futures::StreamExt;
use procpool::{Backoff, ProcessPoolExecutor, TaskErrorKind, TaskStatus};

use crate::common::{Gate, Held, exit_at_first_attempt, fill, hold, in_time, pid, wait_until};
use crate::journal::{Journal, note};

fn half(number: u64) -> u64 {
    number / 2
}

fn length(text: String) -> usize {
    text.into_bytes().len()
}

procpool::register!(half, length, exit_at_first_attempt);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Runs quick tasks, after which the pool dares to send ahead.
async fn run_quick_tasks(pool: &ProcessPoolExecutor) {
    let mut handles = Vec::new();
    for _ in 0..300 {
        handles.push(pool.submit(pid, ()).await.unwrap());
    }
    for handle in handles {
        in_time(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_what_cannot_wait() {
    // scenario 65
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(2);
    let (pool, gate, journal) = (builder.build().unwrap(), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let tries: Vec<_> =
        (0..4).map(|number| pool.try_submit(note, (journal.path(), number))).collect();
    assert!(tries[..2].iter().all(Result::is_ok));
    for refused in &tries[2..] {
        let error = refused.as_ref().unwrap_err();
        assert!(error.is_queue_full(), "{error}");
        assert!(error.to_string().contains("its capacity is 2"), "{error}");
    }
    wait_until("the pool has counted them", || pool.stats().waiting == 2).await;
    drop(held);
    in_time(running).await.unwrap();
    in_time(pool.shutdown()).await;
    assert_eq!(journal.numbers(), [0, 1], "the refused ones were not handed over");
}

#[tokio::test]
async fn without_a_queue_a_task_is_accepted_only_for_a_worker() {
    let builder = ProcessPoolExecutor::builder().max_workers(2).queue_capacity(0);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let mut held = Vec::new();
    for _ in 0..2 {
        drop(pool.try_submit(hold, gate.port()).unwrap()); // which detaches it
        held.push(gate.arrival().await);
    }
    let error = pool.try_submit(pid, ()).unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert!(error.to_string().contains("as there may be workers, and the pool has no queue"));
    let error = in_time(pool.try_run(pid, ())).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::QueueFull);

    // Who can wait, waits for the end of a task.
    let mut next = std::pin::pin!(pool.submit(pid, ()));
    assert!(futures::poll!(&mut next).is_pending());
    drop(held.pop());
    in_time(in_time(next).await.unwrap()).await.unwrap();
    assert_eq!(pool.stats().waiting, 0);

    // A place is free as soon as a task is over.
    for _ in 0..20 {
        in_time(pool.try_run(pid, ())).await.unwrap();
    }
}

#[tokio::test]
async fn without_a_queue_there_are_as_many_places_as_workers() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(0);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    drop(pool.try_submit(hold, gate.port()).unwrap());
    let first = gate.arrival().await;
    pool.resize(2).unwrap();
    in_time(pool.run(pid, ())).await.unwrap(); // on the second worker
    drop(pool.try_submit(hold, gate.port()).unwrap());
    let second = gate.arrival().await;
    pool.resize(1).unwrap();
    in_time(pool.ready()).await.unwrap();
    drop(first);
    wait_until("a task has ended", || pool.stats().running == 1).await;
    assert!(pool.try_submit(pid, ()).unwrap_err().is_queue_full());
    drop(second);
    in_time(pool.run(pid, ())).await.unwrap();
}

#[tokio::test]
async fn without_a_queue_maps_and_retries_go_on() {
    let builder = ProcessPoolExecutor::builder().max_workers(2).queue_capacity(0);
    let pool = builder.build().unwrap();
    let results = pool.map(half, 0..1_000).chunksize(7).collect::<Vec<_>>();
    assert!(in_time(results).await.into_iter().all(|result| result.is_ok()));
    let task = pool.task(exit_at_first_attempt, ()).retries(1);
    assert_eq!(in_time(task.run()).await.unwrap(), 2);
    for _ in 0..2 {
        in_time(pool.try_run(pid, ())).await.unwrap();
    }
}

#[tokio::test]
async fn a_cancelled_task_makes_room() {
    // scenario 65
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let _running = pool.submit(hold, gate.port()).await.unwrap();
    let _held = gate.arrival().await;
    let waiting = pool.submit(pid, ()).await.unwrap();
    let mut next = std::pin::pin!(pool.submit(pid, ()));
    assert!(futures::poll!(&mut next).is_pending());
    assert!(waiting.cancel());
    in_time(next).await.unwrap().abort();
}

/// A pool of one worker, which is busy, with room for ten kilobytes of arguments.
async fn pool_of_bytes() -> (ProcessPoolExecutor, Vec<Held>) {
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_bytes(10 << 10);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let held = fill(&pool, &gate, 1).await;
    (pool, held)
}

#[tokio::test]
async fn arguments_that_wait_take_no_more_bytes_than_they_may() {
    let (pool, held) = pool_of_bytes().await;
    let kilobytes = |count: usize| "x".repeat((count << 10) - 8);
    let [first, second] = [(); 2].map(|()| pool.try_submit(length, kilobytes(4)).unwrap());
    let error = pool.try_submit(length, kilobytes(4)).unwrap_err();
    assert!(error.is_queue_full(), "{error}");
    assert!(error.to_string().contains("arguments that wait may take 10240 bytes"), "{error}");
    let small = pool.try_submit(length, kilobytes(1)).unwrap();

    // A task that is cancelled, and one that begins, wait no more.
    let mut next = std::pin::pin!(pool.submit(length, kilobytes(4)));
    assert!(futures::poll!(&mut next).is_pending());
    assert!(first.cancel());
    let next = in_time(next).await.unwrap();
    let mut large = std::pin::pin!(pool.submit(length, kilobytes(100)));
    assert!(futures::poll!(&mut large).is_pending(), "it is accepted when nothing else waits");
    drop(held);
    let large = in_time(large).await.unwrap();
    for (handle, count) in [(second, 4), (small, 1), (next, 4), (large, 100)] {
        assert_eq!(in_time(handle).await.unwrap(), (count << 10) - 8);
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn who_waits_for_bytes_is_told_when_the_time_for_that_or_the_pool_is_over() {
    let (pool, held) = pool_of_bytes().await;
    let _waiting = pool.try_submit(length, "x".repeat(20 << 10)).unwrap();
    let limit = Duration::from_millis(1);
    let late = in_time(pool.task(half, 1).begin_within(limit).submit()).await.unwrap_err();
    assert!(late.is_not_begun(), "{late}");
    let mut next = std::pin::pin!(pool.submit(half, 1));
    assert!(futures::poll!(&mut next).is_pending());
    let shutdown = pool.shutdown();
    assert!(in_time(next).await.unwrap_err().is_shut_down());
    drop(held);
    assert_eq!(in_time(shutdown).await.finished, 2);
}

#[tokio::test]
async fn an_attempt_that_waits_takes_none_of_the_bytes() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_bytes(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let task = pool.task(exit_at_first_attempt, ()).retries(1);
    let task = task.backoff(Backoff::fixed(Duration::from_secs(3_600))).submit().await.unwrap();
    wait_until("it waits for its second attempt", || pool.stats().worker_deaths == 1).await;
    let held = fill(&pool, &gate, 1).await;
    let waiting = pool.try_submit(half, 4).unwrap();
    assert!(pool.try_submit(half, 4).unwrap_err().is_queue_full());
    drop(held);
    assert_eq!(in_time(waiting).await.unwrap(), 2);
    assert!(task.cancel());
}

#[tokio::test]
async fn waiting_submits_go_on_in_order() {
    // scenario 65
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(2);
    let (pool, gate, journal) = (builder.build().unwrap(), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let mut submits = Vec::new();
    for number in 0..10 {
        let (pool, path) = (pool.clone(), journal.path());
        submits.push(tokio::spawn(async move { pool.submit(note, (path, number)).await }));
        tokio::task::yield_now().await; // each has begun to wait before the next
    }
    let accepted = submits.iter().filter(|submit| submit.is_finished()).count();
    assert_eq!(accepted, 2, "there is room for two");
    drop(held);
    for (number, submit) in (0..).zip(submits) {
        assert_eq!(in_time(in_time(submit).await.unwrap().unwrap()).await.unwrap(), number);
    }
    in_time(running).await.unwrap();
    assert_eq!(journal.numbers(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_submit_dropped_while_it_waits_submits_nothing() {
    // scenario 66
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate, journal) = (builder.build().unwrap(), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(note, (journal.path(), 1)).await.unwrap();
    {
        let mut dropped = std::pin::pin!(pool.submit(note, (journal.path(), 2)));
        assert!(futures::poll!(&mut dropped).is_pending());
    }
    let mut next = Box::pin(pool.submit(note, (journal.path(), 3)));
    assert!(futures::poll!(&mut next).is_pending());
    drop(held);
    in_time(running).await.unwrap();
    in_time(waiting).await.unwrap();
    assert_eq!(in_time(in_time(next).await.unwrap()).await.unwrap(), 3);
    let report = in_time(pool.shutdown()).await;
    assert_eq!(report.finished, 3);
    assert_eq!(journal.numbers(), [1, 3]);
}

#[tokio::test]
async fn a_submit_that_waits_when_the_pool_is_shut_down_is_told_so() {
    // scenario 65
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    let _running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let _waiting = pool.submit(pid, ()).await.unwrap();
    let mut late = std::pin::pin!(pool.submit(pid, ()));
    assert!(futures::poll!(&mut late).is_pending());
    let shutdown = pool.shutdown_with(procpool::Shutdown::new());
    let error = in_time(late).await.unwrap_err();
    assert!(error.is_shut_down(), "{error}");
    drop(held);
    assert_eq!(in_time(shutdown).await.finished, 2);
}

#[tokio::test]
async fn a_map_keeps_no_place_while_its_result_is_looked_at() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let pool = builder.build().unwrap();
    let mut pids = pool.map(pid, std::iter::repeat_n((), 10));
    while let Some(found) = in_time(pids.next()).await {
        assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), found.unwrap());
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn short_tasks_never_wait_for_a_long_one() {
    // scenario 68
    for before in [0, 1, 50, 99] {
        let (pool, gate) = (pool_of(2), Gate::new().await);
        run_quick_tasks(&pool).await;
        let mut short = Vec::new();
        for _ in 0..before {
            short.push(pool.submit(pid, ()).await.unwrap());
        }
        let long = pool.submit(hold, gate.port()).await.unwrap();
        for _ in before..100 {
            short.push(pool.submit(pid, ()).await.unwrap());
        }
        // All of them end although the long one does not.
        for handle in short {
            in_time(handle).await.unwrap();
        }
        let held = gate.arrival().await;
        assert_eq!(long.status(), TaskStatus::Running);
        drop(held);
        in_time(long).await.unwrap();
    }
}

#[tokio::test]
async fn short_tasks_never_wait_for_a_long_one_that_was_sent_ahead_to_both_workers() {
    // scenario 68: with one long task less than there are workers
    let (pool, gate) = (pool_of(3), Gate::new().await);
    run_quick_tasks(&pool).await;
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for number in 0..200 {
        if matches!(number, 20 | 21) {
            long.push(pool.submit(hold, gate.port()).await.unwrap());
        }
        short.push(pool.submit(pid, ()).await.unwrap());
    }
    for handle in short {
        in_time(handle).await.unwrap();
    }
    let held = [gate.arrival().await, gate.arrival().await];
    assert!(long.iter().all(|handle| handle.status() == TaskStatus::Running));
    drop(held);
    for handle in long {
        in_time(handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_short_result_arrives_while_the_next_task_is_long() {
    // scenario 69
    let pool = pool_of(1);
    for _ in 0..20 {
        let gate = Gate::new().await;
        run_quick_tasks(&pool).await;
        let short = pool.submit(pid, ()).await.unwrap();
        let long = pool.submit(hold, gate.port()).await.unwrap();
        let worker = in_time(short).await.unwrap();
        let held = gate.arrival().await;
        assert_eq!((held.pid, long.is_finished()), (worker, false));
        drop(held);
        in_time(long).await.unwrap();
    }
}

#[tokio::test]
async fn tasks_that_turn_out_long_among_brief_ones_all_run_at_the_same_time() {
    let workers = std::thread::available_parallelism().map_or(1, usize::from) + 3;
    let pool = ProcessPoolExecutor::builder().max_workers(workers).min_workers(workers).build();
    let (pool, gate) = (pool.unwrap(), Gate::new().await);
    pool.ready().await.unwrap();
    run_quick_tasks(&pool).await;
    let (mut brief, mut long) = (Vec::new(), Vec::new());
    for _ in 1..workers {
        long.push(pool.submit(hold, gate.port()).await.unwrap());
        brief.push(pool.submit(pid, ()).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in &long {
        held.push(in_time(gate.arrival()).await); // none of them waits for another one
    }
    for handle in brief {
        in_time(handle).await.unwrap(); // nor does a brief one
    }
    drop(held);
    for handle in long {
        in_time(handle).await.unwrap();
    }
}

#[tokio::test]
async fn who_tries_to_run_never_waits_for_room() {
    let (pool, gate) = (
        ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1).build().unwrap(),
        Gate::new().await,
    );
    assert!(in_time(pool.try_run(pid, ())).await.is_ok());
    let held = fill(&pool, &gate, 1).await;
    let waiting = pool.try_submit(pid, ()).unwrap();
    let refused = in_time(pool.try_run(pid, ())).await.unwrap_err();
    assert!(refused.is_queue_full(), "{refused}");
    drop(held);
    in_time(waiting).await.unwrap();
}

#[tokio::test]
async fn who_no_longer_waits_for_what_they_tried_to_run_ends_it() {
    let (pool, gate) =
        (ProcessPoolExecutor::builder().max_workers(1).build().unwrap(), Gate::new().await);
    let mut running = Box::pin(pool.try_run(hold, gate.port()));
    assert!(futures::poll!(&mut running).is_pending());
    let mut held = gate.arrival().await;
    drop(running);
    held.gone().await;
}
