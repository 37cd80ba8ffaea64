//! How much memory a map may take for what has come and was not yielded, and for what is to go.
//!
//! Nobody knows how large a result will be. So a chunk has a credit: when its results take so many
//! bytes its worker begins no further item of it. And when results take their part of the budget,
//! what has not begun is held back until the reader has made room. What comes then is, for each
//! worker, one credit and one result, and once more if a chunk had begun before it was held back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of arguments and results that may be held, unless the workers would run dry.
pub(crate) const HOLD: u64 = 16 << 20;
/// How many chunks are in the hands of a worker as a rule: one runs and one waits for it.
const CHUNKS_PER_WORKER: usize = 2;

/// What a map may hold, and with how many workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    bytes: u64,
    workers: usize,
}

impl Budget {
    pub(crate) fn new(bytes: u64, workers: usize) -> Self {
        Self { bytes, workers: workers.max(1) }
    }

    /// A chunk ends early when its results take so many bytes. A quarter of the budget is for all
    /// chunks in the hands of workers.
    pub(super) fn credit(self) -> u64 {
        let chunks = self.workers.saturating_mul(4 * CHUNKS_PER_WORKER);
        (self.bytes / chunks as u64).max(1)
    }

    /// So many bytes of arguments are enough, unless workers would run dry.
    pub(super) fn arguments(self) -> u64 {
        self.bytes / 2
    }

    /// From so many bytes of results on nothing more shall begin: a quarter is for arguments, and
    /// more of it if they take more.
    pub(super) fn results(self, arguments: u64) -> u64 {
        (self.bytes - self.bytes / 4 - arguments.min(self.bytes / 2)).max(1)
    }

    /// How many chunks may be out while others are held back, if `held` bytes of results are there.
    pub(super) fn chunks_out(self, held: u64, arguments: u64, is_large: bool) -> usize {
        let per_worker = if is_large { 1 } else { CHUNKS_PER_WORKER };
        let has_room = held < self.results(arguments).div_ceil(2);
        if has_room { self.workers.saturating_mul(per_worker) } else { 0 }
    }

    pub(super) fn workers(self) -> usize {
        self.workers
    }
}

/// A sum of bytes.
#[derive(Debug, Default)]
pub(super) struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub(super) fn sum(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds so many bytes for as long as what is returned lives.
    pub(super) fn hold(&self, bytes: usize) -> Portion {
        let bytes = bytes as u64;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Portion { sum: Arc::clone(&self.0), bytes }
    }
}

/// Bytes that are held.
#[derive(Debug)]
pub(crate) struct Portion {
    sum: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
