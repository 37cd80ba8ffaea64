//! The allocator of the system, which counts while somebody wants to know.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Off but for moments, so that it costs a benchmark nothing.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// What was allocated, by all threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocations {
    /// Growing counts as an allocation.
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    /// By how much there is more than before.
    pub(crate) live: i64,
}

impl Allocations {
    /// One at a time.
    pub(crate) async fn during(work: impl Future<Output = ()>) -> Self {
        let before = Self::start();
        work.await;
        let counted = before.so_far();
        IS_COUNTING.store(false, Relaxed);
        counted
    }

    /// Goes on counting until the end of the process, or of [`during`](Self::during).
    pub(crate) fn start() -> Self {
        IS_COUNTING.store(true, Relaxed);
        Self { calls: CALLS.load(Relaxed), bytes: BYTES.load(Relaxed), live: LIVE.load(Relaxed) }
    }

    /// Since the [start](Self::start).
    pub(crate) fn so_far(self) -> Self {
        Self {
            calls: CALLS.load(Relaxed) - self.calls,
            bytes: BYTES.load(Relaxed) - self.bytes,
            live: LIVE.load(Relaxed) - self.live,
        }
    }

    pub(crate) fn stop() {
        IS_COUNTING.store(false, Relaxed);
    }
}

struct Counting;

impl Counting {
    fn note(taken: usize, freed: usize) {
        if !IS_COUNTING.load(Relaxed) {
            return;
        }
        if taken > 0 {
            CALLS.fetch_add(1, Relaxed);
            BYTES.fetch_add(taken as u64, Relaxed);
        }
        // No allocation is larger than `isize::MAX`.
        LIVE.fetch_add(taken.cast_signed() as i64 - freed.cast_signed() as i64, Relaxed);
    }
}

// SAFETY: each call is the same call of the system's allocator.
#[expect(unsafe_code, reason = "an allocator cannot be had otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
