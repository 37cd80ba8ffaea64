//! Handing tasks to a pool, and what comes back.

mod common;

procpool::test_support!();

use procpool::ProcessPoolExecutor;

use common::{Gate, hold};

#[tokio::test]
async fn many_blocked_tasks_take_exactly_the_workers_there_may_be() {
    // scenario 15
    const WORKERS: usize = 3;
    let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().unwrap();
    let gate = Gate::new().await;
    let mut handles = Vec::new();
    for _ in 0..15 * WORKERS {
        handles.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..WORKERS {
        held.push(gate.arrival().await);
    }
    assert_eq!(pool.stats().running, WORKERS);
    assert_eq!(pool.workers().len(), WORKERS);
    drop(held);
    for _ in 0..14 * WORKERS {
        drop(gate.arrival().await);
    }
    for handle in handles {
        handle.await.unwrap();
    }
    assert_eq!(pool.stats().worker_starts, WORKERS as u64);
}
