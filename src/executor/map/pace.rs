//! How many items make a chunk, and how many inputs are taken ahead.

use crate::memory::page::MAX_ITEMS;
use crate::pool::task::HOLD;

/// In nanoseconds. The work that a chunk shall hold: much more than a task costs beside its work,
/// and a little less than the scheduler has patience for before it divides the chunk.
const WORK: u64 = 700_000;
/// A chunk is full when its arguments take so many bytes: more would save nothing.
pub(super) const FULL: usize = 1 << 20;
/// The bytes that an automatic chunk shall have at most, results included.
const SMALL: u64 = 48 << 10;
/// So many times as many items as the last one that was measured may a chunk have.
const GROWTH: u64 = 16;
/// So many chunks are under way for each worker: one runs, one waits for it, one comes, one goes.
const CHUNKS_PER_WORKER: usize = 4;
/// The least number of inputs that are taken ahead.
const LOOK_AHEAD: usize = 256;
/// The most inputs that are taken ahead of automatic chunks.
const FAR_AHEAD: usize = 1 << 16;

/// What has been seen of the items.
#[derive(Debug)]
pub(super) struct Pace {
    workers: usize,
    /// As the user wants it.
    chunk_size: Option<usize>,
    /// The same.
    buffer_size: Option<usize>,
    work: Mean,
    arguments: Peak,
    results: Peak,
    /// The items of the last chunk that was measured.
    measured: u64,
    /// How many items make a chunk.
    size: u32,
    look_ahead: u64,
}

/// The average per item in a chunk; the highest counts, and is forgotten as others follow. In units
/// of 1/1024.
#[derive(Clone, Copy, Debug, Default)]
struct Peak(u64);

impl Peak {
    const UNIT: u64 = 1024;

    fn record(&mut self, sum: u64, items: u32) {
        let average = sum.saturating_mul(Self::UNIT) / u64::from(items.max(1));
        self.0 = average.max(self.0 - self.0 / 4);
    }

    /// How many items come to `sum`.
    fn fit(self, sum: u64) -> u64 {
        sum * Self::UNIT / self.0.max(1)
    }
}

/// The average per item in the last chunks. A slow item does not have to make a large impression:
/// its chunk is divided. And on a loaded machine every tenth chunk is slow for reasons of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: u64,
    /// In units of 1/1024.
    items: u64,
}

impl Mean {
    /// Far more than a chunk can take, and far from overflowing: an hour, in nanoseconds.
    const MOST: u64 = 3_600_000_000_000;
    const UNIT: u64 = 1024;

    fn record(&mut self, sum: u64, items: u32) {
        self.sum = self.sum - self.sum / 8 + sum.min(Self::MOST);
        self.items = self.items - self.items / 8 + u64::from(items) * Self::UNIT;
    }

    /// How many items come to `sum`.
    fn fit(self, sum: u64) -> u64 {
        sum.saturating_mul(self.items) / Self::UNIT / self.sum.max(1)
    }
}

impl Pace {
    pub(super) fn new(workers: usize) -> Self {
        let peak = Peak::default();
        let mut pace = Self {
            workers: workers.max(1),
            chunk_size: None,
            buffer_size: None,
            work: Mean::default(),
            arguments: peak,
            results: peak,
            measured: 0,
            size: 1,
            look_ahead: 1,
        };
        pace.adapt();
        pace
    }

    pub(super) fn set_chunk_size(&mut self, items: Option<usize>) {
        self.chunk_size = items;
        self.adapt();
    }

    pub(super) fn set_buffer_size(&mut self, items: Option<usize>) {
        self.buffer_size = items;
        self.adapt();
    }

    /// The items of a full chunk.
    pub(super) fn chunk_size(&self) -> u32 {
        self.size
    }

    /// How many inputs may have been taken beyond the results that have been yielded.
    pub(super) fn look_ahead(&self) -> u64 {
        self.look_ahead
    }

    /// A chunk was made whose arguments take so many bytes.
    pub(super) fn made(&mut self, items: u32, bytes: usize) {
        self.arguments.record(bytes as u64, items);
        self.adapt();
    }

    /// Results have come, after so much work.
    pub(super) fn done(&mut self, items: u32, bytes: usize, nanos: u64) {
        self.results.record(bytes as u64, items);
        self.work.record(nanos, items);
        self.measured = u64::from(items);
        self.adapt();
    }

    fn adapt(&mut self) {
        let chunks = self.workers.saturating_mul(CHUNKS_PER_WORKER);
        let most = self.buffer_size.unwrap_or(FAR_AHEAD).max(1);
        let size = self.chunk_size.unwrap_or_else(|| {
            let work = self.work.fit(WORK).min(self.measured * GROWTH);
            let size = work.min(self.results.fit(SMALL)).min(self.arguments.fit(SMALL));
            usize::try_from(size).unwrap_or(usize::MAX).min(most / chunks)
        });
        let size = size.clamp(1, self.buffer_size.unwrap_or(usize::MAX));
        self.size = u32::try_from(size).unwrap_or(u32::MAX).min(MAX_ITEMS);
        let wanted = self.buffer_size.unwrap_or_else(|| {
            let held = Peak(self.arguments.0.saturating_add(self.results.0)).fit(HOLD);
            let held = usize::try_from(held).unwrap_or(usize::MAX);
            let enough = LOOK_AHEAD.max(size.saturating_mul(chunks));
            enough.min(held).max(self.workers.saturating_mul(2))
        });
        self.look_ahead = wanted as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_quick_items_and_shrink_with_slow_ones() {
        let mut pace = Pace::new(2);
        assert_eq!(pace.chunk_size(), 1);
        for _ in 0..10 {
            let size = pace.chunk_size();
            pace.made(size, size as usize * 5);
            pace.done(size, size as usize * 6, u64::from(size) * 50);
        }
        let size = pace.chunk_size();
        assert!((8000..=8192).contains(&size), "{size}");
        pace.done(size, 100, u64::from(size) * 1_000_000);
        assert!(pace.chunk_size() < 20, "{}", pace.chunk_size());
        for _ in 0..50 {
            let size = pace.chunk_size();
            pace.done(size, 100, u64::from(size) * 1_000_000);
        }
        assert_eq!(pace.chunk_size(), 1);
        assert_eq!(pace.look_ahead(), 256);
    }

    #[test]
    fn slow_items_stay_alone() {
        let mut pace = Pace::new(2);
        for _ in 0..10 {
            pace.made(1, 5);
            pace.done(1, 6, 500_000);
            assert_eq!(pace.chunk_size(), 1);
        }
    }

    #[test]
    fn what_the_user_says_counts() {
        let mut pace = Pace::new(2);
        pace.set_chunk_size(Some(50));
        assert_eq!((pace.chunk_size(), pace.look_ahead()), (50, 400));
        pace.done(50, 100, 1 << 40);
        assert_eq!(pace.chunk_size(), 50);
        pace.set_buffer_size(Some(7));
        assert_eq!((pace.chunk_size(), pace.look_ahead()), (7, 7));
        pace.set_chunk_size(Some(usize::MAX));
        pace.set_buffer_size(Some(usize::MAX));
        assert_eq!(pace.chunk_size(), MAX_ITEMS);
        pace.set_chunk_size(None);
        pace.set_buffer_size(None);
        assert_eq!(pace.look_ahead(), Pace::new(2).look_ahead());
    }

    #[test]
    fn large_values_bound_what_is_held() {
        let mut pace = Pace::new(2);
        pace.made(1, 1 << 20);
        assert_eq!(pace.look_ahead(), 16);
        pace.done(1, 100 << 20, 50);
        assert_eq!((pace.chunk_size(), pace.look_ahead()), (1, 4));
    }
}
