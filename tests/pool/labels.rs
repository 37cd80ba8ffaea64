//! What tasks are called.

use std::time::Duration;

use futures::StreamExt;
use procpool::{PoolEvent, ProcessPoolExecutor, TaskOutcome};

use crate::common::{Gate, exit_now, fill, hold, in_time, panic_now, pid};

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

/// Takes some milliseconds, and fails for a third of the numbers.
fn check(number: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(3));
    assert!(!number.is_multiple_of(3), "it is {number}");
    number
}

procpool::register!(check);

#[tokio::test]
async fn the_label_of_a_task_is_in_its_error() {
    let pool = pool_of(1);
    let panicked = in_time(pool.task(panic_now, ()).label("resize").run()).await.unwrap_err();
    assert_eq!(panicked.label(), Some("resize"));
    let text = panicked.to_string();
    assert!(text.starts_with("task 1 \"resize\" (`pool::common::panic_now`) failed in "), "{text}");

    // Whatever it is, one line stays one line.
    let died = pool.task(exit_now, ()).label(String::from("a\nb")).submit().await.unwrap();
    assert!(format!("{died:?}").contains("label: Some(\"a\\nb\")"), "{died:?}");
    let died = in_time(died).await.unwrap_err();
    assert_eq!(died.label(), Some("a\nb"));
    assert!(died.to_string().starts_with("task 2 \"a\\nb\" (`"), "{died}");

    let unnamed = in_time(pool.run(panic_now, ())).await.unwrap_err();
    assert_eq!(unnamed.label(), None);
    assert!(unnamed.to_string().starts_with("task 3 (`pool::common::panic_now`) failed"));
}

#[tokio::test]
async fn the_label_of_a_task_that_is_refused_is_in_the_error() {
    let gate = Gate::new().await;
    let pool = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1).build().unwrap();
    let _held = fill(&pool, &gate, 1).await;
    let waiting = pool.try_submit(pid, ()).unwrap();
    let full = pool.task(pid, ()).label("resize").try_submit().unwrap_err();
    assert!(full.is_queue_full() && full.label() == Some("resize"), "{full}");
    let text = "failed to submit \"resize\" (`pool::common::pid`): the pool's queue is full";
    assert!(full.to_string().starts_with(text), "{full}");
    in_time(pool.kill_workers()).await;
    assert_eq!(in_time(waiting).await.unwrap_err().label(), None);
    let late = in_time(pool.task(pid, ()).label("late").submit()).await.unwrap_err();
    assert!(late.is_shut_down() && late.label() == Some("late"), "{late}");
}

#[tokio::test]
async fn workers_say_what_they_run() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let named = pool.task(hold, gate.port()).label("resize").submit().await.unwrap();
    let first = gate.arrival().await;
    let unnamed = pool.submit(hold, gate.port()).await.unwrap();
    let second = gate.arrival().await;
    let seen = |pid: u32| {
        let workers = pool.workers();
        let worker = workers.into_iter().find(|worker| worker.pid == pid).unwrap();
        (worker.task, worker.label.map(|label| label.to_string()))
    };
    assert_eq!(seen(first.pid), (Some(named.id()), Some("resize".to_owned())));
    assert_eq!(seen(second.pid), (Some(unnamed.id()), None));
    let pids = (first.pid, second.pid);
    drop((first, second));
    in_time(named).await.unwrap();
    in_time(unnamed).await.unwrap();
    assert_eq!((seen(pids.0), seen(pids.1)), ((None, None), (None, None)));
}

#[tokio::test]
async fn events_of_tasks_have_their_labels() {
    let pool = pool_of(1);
    let events = pool.events();
    in_time(pool.task(pid, ()).label("resize").run()).await.unwrap();
    in_time(pool.run(pid, ())).await.unwrap();
    pool.shutdown().await;
    let (mut queued, mut finished) = (Vec::new(), Vec::new());
    for event in in_time(events.collect::<Vec<_>>()).await {
        match event {
            PoolEvent::TaskQueued { task, label, .. } => queued.push((task, label)),
            PoolEvent::TaskFinished { task, label, outcome, .. } => {
                assert_eq!(outcome, TaskOutcome::Returned);
                finished.push((task, label));
            }
            _ => {}
        }
    }
    let labels: Vec<_> = queued.iter().map(|(_, label)| label.as_deref()).collect();
    assert_eq!(labels, [Some("resize"), None]);
    assert_eq!(finished, queued);
}

#[tokio::test]
async fn the_items_of_a_map_and_all_parts_of_its_chunks_have_its_label() {
    let pool = pool_of(2);
    let events = pool.events();
    // One chunk, which is divided, as it takes long.
    let checked = pool.map(check, 0..60).chunksize(60).label("sums");
    let results: Vec<_> = in_time(checked.collect()).await;
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(result) => assert_eq!(result, number),
            Err(error) => {
                assert!(number.is_multiple_of(3), "{error}");
                assert_eq!(error.label(), Some("sums"));
                assert!(error.to_string().contains(" \"sums\" (`pool::labels::check`)"), "{error}");
            }
        }
    }
    let died: Vec<_> = in_time(pool.map(exit_now, [()]).label("exit").collect()).await;
    assert_eq!(died[0].as_ref().unwrap_err().label(), Some("exit"));
    pool.shutdown().await;
    let late: Vec<_> = in_time(pool.map(pid, [()]).label("late").collect()).await;
    let error = late[0].as_ref().unwrap_err();
    assert!(error.is_shut_down() && error.label() == Some("late"), "{error}");
    let mut chunks = 0;
    for event in in_time(events.collect::<Vec<_>>()).await {
        if let PoolEvent::TaskQueued { label, .. } = event {
            assert!(matches!(label.as_deref(), Some("sums" | "exit")), "{label:?}");
            chunks += 1;
        }
    }
    assert!(chunks > 2, "it was divided: {chunks}");
}

#[tokio::test]
async fn an_item_that_is_too_late_has_the_label_of_its_map() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let held = pool.map(hold, [gate.port(); 3]).label("held").within(Duration::from_millis(50));
    let results: Vec<_> = in_time(held.collect()).await;
    assert_eq!(results.len(), 3);
    for result in results {
        let error = result.unwrap_err();
        assert!(error.is_deadline() && error.label() == Some("held"), "{error}");
    }
}
