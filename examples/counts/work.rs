//! What is counted: tasks that do nothing.

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, SharedBytes, TaskHandle};
use serde_bytes::ByteBuf;

use super::{Gate, pass};

pub(crate) fn noop(x: u64) -> u64 {
    x
}

pub(crate) fn echo(payload: ByteBuf) -> ByteBuf {
    payload
}

#[allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]
pub(crate) fn look(bytes: SharedBytes) -> u8 {
    bytes[bytes.len() / 2]
}

pub(crate) fn count_up(values: u64) {
    for n in 0..values {
        procpool::current().emit(n).expect("a value");
    }
}

procpool::register!(noop, echo, look, count_up);

/// One after the other.
pub(crate) async fn round_trips(pool: &ProcessPoolExecutor, tasks: usize) {
    for n in 0..tasks as u64 {
        assert_eq!(pool.run(noop, n).await.expect("a result"), n);
    }
}

/// Submits one by one, then awaits all.
pub(crate) async fn bulk(pool: &ProcessPoolExecutor, tasks: usize) {
    let mut handles: Vec<TaskHandle<u64>> = Vec::with_capacity(tasks);
    for n in 0..tasks as u64 {
        handles.push(pool.submit(noop, n).await.expect("an open pool"));
    }
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.await.expect("a result"), n);
    }
}

/// As [`bulk`], but no worker begins before all are submitted, so they do not run out of tasks
/// however the machine shares out its CPUs.
pub(crate) async fn bulk_behind_gate(pool: &ProcessPoolExecutor, tasks: usize) {
    let mut gate = Gate::new().expect("a pipe");
    let mut blocked = Vec::new();
    for _ in 0..pool.stats().max_workers {
        blocked.push(pool.submit(pass, gate.address()).await.expect("an open pool"));
    }
    for task in &blocked {
        task.progress().next().await.expect("a report");
    }
    let mut handles: Vec<TaskHandle<u64>> = Vec::with_capacity(tasks);
    for n in 0..tasks as u64 {
        handles.push(pool.submit(noop, n).await.expect("room for it"));
    }
    gate.open(blocked.len()).expect("a pipe");
    for (n, handle) in (0..).zip(handles) {
        assert_eq!(handle.await.expect("a result"), n);
    }
}

/// By one task, to a reader that is as quick as it can be.
pub(crate) async fn emissions(pool: &ProcessPoolExecutor, values: usize, capacity: usize) {
    let task = pool.task(count_up, values as u64).emit_capacity(capacity);
    let handle = task.submit().await.expect("an open pool");
    let mut emitted = handle.emitted::<u64>();
    let mut n = 0;
    while let Some(value) = emitted.next().await {
        assert_eq!(value.expect("a number"), n);
        n += 1;
    }
    assert_eq!(n, values as u64);
    handle.await.expect("a result");
}

pub(crate) async fn map(pool: &ProcessPoolExecutor, items: usize) {
    let mut results = pool.map(noop, 0..items as u64);
    let mut n = 0;
    while let Some(result) = results.next().await {
        assert_eq!(result.expect("a result"), n);
        n += 1;
    }
    assert_eq!(n, items as u64);
}

/// One after the other, so many bytes there and back.
pub(crate) async fn echoes(pool: &ProcessPoolExecutor, tasks: usize, size: usize) {
    for _ in 0..tasks {
        let payload = ByteBuf::from(vec![0xA5; size]);
        assert_eq!(pool.run(echo, payload).await.expect("an echo").len(), size);
    }
}

/// One after the other, each with the same memory.
pub(crate) async fn looks(pool: &ProcessPoolExecutor, tasks: usize, size: usize) {
    let bytes = SharedBytes::with_len(size, |bytes| bytes.fill(7)).expect("memory");
    for _ in 0..tasks {
        assert_eq!(pool.run(look, bytes.clone()).await.expect("a byte"), 7);
    }
}
