//! The memory that pending tasks take.

use std::io;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, Shutdown, TaskHandle};

use super::{Allocations, Gate, noop, pass};

/// Bytes of memory for each trivial task that waits, in the process of its pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    /// With the [`TaskHandle`] and the place in a `Vec` where it is kept.
    pub(crate) with_handle: f64,
    /// Of a task whose handle was dropped.
    pub(crate) detached: f64,
}

impl Pending {
    /// Has so many tasks wait behind a worker that is busy.
    ///
    /// # Errors
    ///
    /// If there can be no pipe.
    pub(crate) async fn measure(tasks: usize) -> io::Result<Self> {
        let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(tasks + 1);
        let pool = builder.build().expect("a pool");
        let mut gate = Gate::new()?;
        let blocked = pool.submit(pass, gate.address()).await.expect("an open pool");
        blocked.progress().next().await.expect("a report");

        let before = Allocations::start();
        let mut handles: Vec<TaskHandle<u64>> = Vec::with_capacity(tasks);
        for n in 0..tasks as u64 {
            handles.push(pool.submit(noop, n).await.expect("room for it"));
        }
        // The pool's own task has to take them in.
        while pool.stats().waiting < tasks {
            tokio::task::yield_now().await;
        }
        let with_handle = before.so_far();
        drop(handles);
        let detached = before.so_far();
        Allocations::stop();

        gate.open(1)?;
        pool.shutdown_with(Shutdown::new().cancel_futures(true)).await;
        let per_task = |allocations: Allocations| allocations.live as f64 / tasks as f64;
        Ok(Self { with_handle: per_task(with_handle), detached: per_task(detached) })
    }
}
