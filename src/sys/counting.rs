//! Counts the memory that tests take.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// How many bytes this thread has taken and not given back, and the most that this ever was.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// How much memory something takes at a time, on this thread.
pub(crate) fn memory_for(run: impl FnOnce()) -> usize {
    let before = TAKEN.get();
    MOST.set(before);
    run();
    (MOST.get() - before).unsigned_abs()
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(difference: isize) {
    // A thread that ends may have no counters any more.
    let _ = TAKEN.try_with(|taken| {
        taken.set(taken.get() + difference);
        let _ = MOST.try_with(|most| most.set(most.get().max(taken.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator as it came.
#[expect(unsafe_code, reason = "counts what the allocator is asked for")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_at_a_time_is_counted() {
        let memory = memory_for(|| {
            for _ in 0..10 {
                drop(std::hint::black_box(vec![0_u8; 1 << 20]));
            }
        });
        assert!((1 << 20..2 << 20).contains(&memory), "{memory}");
    }
}
