//! Only the process that was given a task answers it: a task that forks may let its copy come back,
//! too, which has the same pipe and the same memory.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::base::log::print;
use crate::sys::fork::{Original, end_copy};

static ORIGINAL: OnceLock<Original> = OnceLock::new();

/// Says nothing.
static UNKNOWN: AtomicU8 = AtomicU8::new(0);

thread_local! {
    /// As long as it is not zero this process is no copy. It is looked at for each item of a map,
    /// so it is where that costs next to nothing.
    static MARK: Cell<&'static AtomicU8> = const { Cell::new(&UNKNOWN) };
}

/// What a copy ends with.
const CAME_BACK: i32 = 1;

/// From now on copies of this process are told from it.
pub(super) fn be_original() {
    ORIGINAL.get_or_init(Original::new);
}

/// Ends this process if it is a copy. To be called before anything is changed that its original
/// sees, too.
#[inline]
pub(super) fn end_if_copy() {
    if MARK.get().load(Ordering::Relaxed) == 0 {
        look();
    }
}

#[cold]
fn look() {
    let Some(original) = ORIGINAL.get() else { return };
    if !original.is_here() {
        end();
    }
    if let Some(mark) = original.mark() {
        MARK.set(mark);
    }
}

/// Runs what only this process is to come back from, and which comes before that is known by
/// [`be_original`], as copies that are made on purpose come later.
pub(super) fn alone<T>(run: impl FnOnce() -> T) -> T {
    let original = Original::new();
    let result = run();
    if !original.is_here() {
        end();
    }
    result
}

#[cold]
fn end() -> ! {
    let pid = std::process::id();
    print(format_args!(
        "process {pid} is a copy that a function has forked, and ends, as it came back from there: \
         only its parent may"
    ));
    end_copy(CAME_BACK)
}
