//! All means of control at the same time, in no order.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::time::Duration;

use futures::future::join_all;
use procpool::ProcessPoolExecutor;

use crate::common::{in_time, process_gone};
use crate::journal::{Journal, note};

/// Notes that it ran, works for a while, and leaves some memory behind.
fn note_and_work(path: String, number: u32, micros: u64, bytes: usize) -> u32 {
    note(path, number);
    std::thread::sleep(Duration::from_micros(micros));
    std::mem::forget(vec![1_u8; bytes]);
    number
}

procpool::register!(note_and_work);

/// Numbers without a pattern, the same ones each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[tokio::test]
async fn every_task_resolves_once_and_runs_at_most_once() {
    // scenarios 43, 45, 47, 48, 49, 67
    const TASKS: u32 = 3_000;
    let (journal, mut dice) = (Journal::new(), Dice(5));
    let builder = ProcessPoolExecutor::builder().max_workers(3).min_workers(1);
    let builder = builder.max_tasks_per_child(150).max_memory_per_child(64 << 20);
    let builder = builder.idle_timeout(Duration::from_millis(1)).queue_capacity(200);
    let pool = builder.grace_period(Duration::from_millis(100)).build().unwrap();
    let (mut handles, mut recycled) = (Vec::new(), Vec::new());
    let mut pids = Vec::new();
    for number in 0..TASKS {
        let micros = if dice.below(50) == 0 { 3_000 } else { 0 };
        let bytes = if dice.below(150) == 0 { 70 << 20 } else { 0 };
        let mut task = pool.task(note_and_work, (journal.path(), number, micros, bytes));
        task = task.priority(i32::try_from(dice.below(3)).unwrap());
        if dice.below(3) == 0 {
            task = task.sticky(dice.below(5));
        }
        if dice.below(20) == 0 {
            task = task.deadline(Duration::from_micros(u64::from(dice.below(20_000))));
        }
        if let Ok(handle) = in_time(task.submit()).await {
            handles.push((number, handle)); // or its deadline passed while it waited for room
        }
        match dice.below(400) {
            0..=2 => pool.resize(1 + usize::try_from(dice.below(4)).unwrap()).unwrap(),
            3 => recycled.push(pool.recycle()),
            4..=5 => handles.iter().rev().take(5).for_each(|(_, handle)| handle.abort()),
            6..=9 => tokio::time::sleep(Duration::from_millis(3)).await,
            _ => {}
        }
        if number % 100 == 0 {
            pids.extend(pool.workers().iter().map(|worker| worker.pid));
        }
    }
    let submitted = handles.len() as u64;
    let (mut returned, mut ended) = (Vec::new(), 0);
    for (number, handle) in handles {
        match in_time(handle).await {
            Ok(result) => {
                assert_eq!(result, number);
                returned.push(number);
            }
            Err(error) => {
                assert!(
                    error.is_timeout() || error.is_deadline() || error.is_cancelled(),
                    "{error}"
                );
                ended += 1;
            }
        }
    }
    in_time(join_all(recycled)).await;
    let report = in_time(pool.shutdown()).await;
    let stats = pool.stats();
    assert_eq!(report.finished + report.cancelled, submitted);
    assert_eq!((stats.submitted, stats.worker_deaths), (submitted, 0));
    assert_eq!(returned.len() as u64 + ended, submitted);
    let counts = journal.counts();
    assert!(counts.values().all(|times| *times == 1), "none ran twice");
    assert!(returned.iter().all(|number| counts.contains_key(number)));
    assert!(pids.into_iter().all(process_gone));
}
