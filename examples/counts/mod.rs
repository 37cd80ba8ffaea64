//! Counts what tasks cost, for an example, a benchmark and tests: calls of the kernel, wake-ups,
//! copied bytes, allocations. On a loaded machine they are hardly others than on a quiet one, as
//! times are.
#![allow(dead_code, unused_imports, reason = "each of its users needs a part of it")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod allocations;
mod gate;
mod pending;
mod usage;
mod work;

use std::io;

use procpool::ProcessPoolExecutor;

pub(crate) use allocations::Allocations;
pub(crate) use gate::{Gate, pass};
pub(crate) use pending::Pending;
pub(crate) use usage::Usage;
pub(crate) use work::{
    bulk, bulk_behind_gate, echo, echoes, emissions, looks, map, noop, round_trips,
};

/// What a piece of work has taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Here; what the workers allocate is not known.
    pub(crate) allocations: Allocations,
    pub(crate) parent: Usage,
    /// All workers together.
    pub(crate) workers: Usage,
}

impl Counts {
    /// What `work` takes, here and in the workers of `pool`, which must stay the same.
    ///
    /// # Errors
    ///
    /// If the system does not tell what a process takes.
    pub(crate) async fn measure(
        pool: &ProcessPoolExecutor,
        work: impl Future<Output = ()>,
    ) -> io::Result<Self> {
        let workers: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        let look = || Ok::<_, io::Error>((Usage::of(&workers)?, Usage::of(&[std::process::id()])?));
        let (_, first) = look()?;
        let (workers_before, before) = look()?;
        let allocations = Allocations::during(work).await;
        let (workers_after, after) = look()?;
        // To look takes calls of the kernel too.
        let looking = before - first;
        let parent = after - before - looking;
        Ok(Self { allocations, parent, workers: workers_after - workers_before })
    }

    /// The calls that read or write, on both sides.
    pub(crate) fn calls(&self) -> u64 {
        self.parent.reads + self.parent.writes + self.workers.reads + self.workers.writes
    }

    /// The bytes that the kernel has copied for these calls.
    pub(crate) fn copied(&self) -> u64 {
        let bytes = |usage: Usage| usage.bytes_read + usage.bytes_written;
        bytes(self.parent) + bytes(self.workers)
    }

    pub(crate) fn wake_ups(&self) -> u64 {
        self.parent.wake_ups + self.workers.wake_ups
    }
}
