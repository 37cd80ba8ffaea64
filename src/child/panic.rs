//! Catching a panic with all that is known about it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind, set_hook, take_hook};

use crate::wire::message::PanicReport;

thread_local! {
    /// Whether this thread runs tasks: what panics on others is not a task's panic.
    static RUNS_TASKS: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// From now on panics on this thread are recorded, besides being printed as usual. One that ends
/// this process is told at once, as nobody will catch it.
pub(super) fn record_panics(tell: fn(PanicReport)) {
    if RUNS_TASKS.replace(true) {
        return; // in the process that this one was forked from
    }
    let print = take_hook();
    set_hook(Box::new(move |info| {
        let last = record(info);
        print(info);
        if let Some(report) = last {
            tell(report);
        }
    }));
}

/// Returns what is to be told if nobody will catch it.
fn record(info: &PanicHookInfo<'_>) -> Option<PanicReport> {
    // `try_*`: the hook must not panic, whatever state the thread is in.
    if !RUNS_TASKS.try_with(Cell::get).unwrap_or(false) {
        return None;
    }
    if is_end(info) {
        return LAST.try_with(|last| last.try_borrow_mut().ok()?.take()).ok()?;
    }
    let report = PanicReport {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Backtrace::force_capture().to_string(),
    };
    if cfg!(panic = "abort") {
        return Some(report);
    }
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(report)));
    None
}

/// Whether the last panic has come to where none may: out of a function that C calls, or out of a
/// destructor that another panic has called. Rust says so by one more panic, and aborts.
fn is_end(info: &PanicHookInfo<'_>) -> bool {
    const TEXTS: [&str; 2] =
        ["panic in a function that cannot unwind", "panic in a destructor during cleanup"];
    let is_of_rust = |place: &Location<'_>| place.file().ends_with("core/src/panicking.rs");
    info.location().is_some_and(is_of_rust) && TEXTS.contains(&&*message(info.payload()))
}

/// Runs user code.
#[inline]
pub(super) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, PanicReport> {
    catch_unwind(AssertUnwindSafe(run)).map_err(report)
}

#[cold]
fn report(payload: Box<dyn Any + Send>) -> PanicReport {
    let message = message(&*payload);
    // The last panic on this thread may be one that user code caught, before this one came from
    // elsewhere (another thread's panic, resumed here).
    let recorded = LAST.take().filter(|report| report.message == message);
    let report = recorded.unwrap_or_else(|| PanicReport {
        message,
        location: None, // it did not meet the hook
        backtrace: String::new(),
    });
    // The drop of anything but text is user code that may panic again, and nobody would catch that.
    if !(payload.is::<&str>() || payload.is::<String>()) {
        std::mem::forget(payload);
    }
    report
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is not text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use super::*;
    use crate::sys::counting::memory_for;

    #[test]
    fn the_text_of_a_panic_takes_no_memory_for_ever() {
        const LENGTH: usize = 1 << 20;
        let memory = memory_for(|| {
            for _ in 0..10 {
                let report = catch(|| resume_unwind(Box::new("x".repeat(LENGTH)))).map(|()| 0);
                assert_eq!(report.map_err(|report| report.message.len()), Err(LENGTH));
            }
        });
        assert!(memory < 4 * LENGTH, "{memory}");
    }

    #[test]
    fn what_would_panic_again_when_it_is_dropped_is_left_alone() {
        struct Trap;

        impl Drop for Trap {
            fn drop(&mut self) {
                panic!("again");
            }
        }

        let report = catch(|| resume_unwind(Box::new(Trap))).map(|()| 0);
        assert_eq!(report.unwrap_err().message, "a payload that is not text");
    }
}
