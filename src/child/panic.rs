//! Catching a panic with all that is known about it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind, set_hook, take_hook};

use super::context::{Current, try_current};
use crate::wire::message::PanicReport;

thread_local! {
    /// Whether this thread runs tasks: what panics on others is not a task's panic.
    static RUNS_TASKS: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<CaughtPanic>> = const { RefCell::new(None) };
}

/// A panic, and from where it came: as addresses, whose names are not known yet. To find the names
/// takes the first time a tenth of a second or more, as the symbols of the whole program are read.
#[derive(Debug)]
pub(super) struct CaughtPanic {
    message: String,
    location: Option<String>,
    backtrace: Option<Backtrace>,
}

impl CaughtPanic {
    /// With the names. The task has ended before, so a limit of its time does not count this.
    pub(super) fn report(self) -> PanicReport {
        let Self { message, location, backtrace } = self;
        let _patience = Patience::ask();
        let backtrace = backtrace.map(|backtrace| backtrace.to_string()).unwrap_or_default();
        PanicReport { message, location, backtrace }
    }
}

/// While it lives a task whose time is up is not ended by force, for half of the grace period: what
/// takes the time is not the task itself.
struct Patience(Option<Current>);

impl Patience {
    fn ask() -> Self {
        let is_new =
            |current: &Current| current.claim.is_some_and(|claim| claim.ask_for_patience());
        Self(try_current().filter(is_new))
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some(claim) = self.0.and_then(|current| current.claim) {
            claim.need_no_patience();
        }
    }
}

/// From now on panics on this thread are recorded, besides being printed as usual. One that ends
/// this process is told at once, as nobody will catch it.
pub(super) fn record_panics(tell: fn(PanicReport)) {
    if RUNS_TASKS.replace(true) {
        return; // in the process that this one was forked from
    }
    let print = take_hook();
    set_hook(Box::new(move |info| {
        // `try_*`: the hook must not panic, whatever state the thread is in.
        if !RUNS_TASKS.try_with(Cell::get).unwrap_or(false) {
            return print(info);
        }
        let last = record(info);
        let _patience = Patience::ask(); // it may print the names, too
        print(info);
        if let Some(last) = last {
            tell(last.report());
        }
    }));
}

/// Returns what is to be told if nobody will catch it.
fn record(info: &PanicHookInfo<'_>) -> Option<CaughtPanic> {
    if is_end(info) {
        return LAST.try_with(|last| last.try_borrow_mut().ok()?.take()).ok()?;
    }
    let panic = CaughtPanic {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: wants_backtrace().then(Backtrace::force_capture),
    };
    if cfg!(panic = "abort") {
        return Some(panic);
    }
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(panic)));
    None
}

/// By default yes. As in `std`, the second variable counts only if the first one is not set.
fn wants_backtrace() -> bool {
    let value = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"].into_iter().find_map(std::env::var_os);
    value.is_none_or(|value| value != "0")
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
pub(super) fn catch<R>(run: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    catch_unwind(AssertUnwindSafe(run)).map_err(caught)
}

#[cold]
fn caught(payload: Box<dyn Any + Send>) -> CaughtPanic {
    let message = message(&*payload);
    // The last panic on this thread may be one that user code caught, before this one came from
    // elsewhere (another thread's panic, resumed here).
    let recorded = LAST.take().filter(|last| last.message == message);
    let panic = recorded.unwrap_or_else(|| CaughtPanic {
        message,
        location: None, // it did not meet the hook
        backtrace: None,
    });
    // The drop of anything but text is user code that may panic again, and nobody would catch that.
    if !(payload.is::<&str>() || payload.is::<String>()) {
        std::mem::forget(payload);
    }
    panic
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
    use std::sync::Arc;

    use super::super::context::set_current;
    use super::*;
    use crate::base::{TaskId, WorkerId};
    use crate::memory::page::{Asked, Claim, ClaimBoard, begin};
    use crate::sys::counting::memory_for;
    use crate::sys::memory::SharedPage;

    thread_local! {
        /// What the parent is told that asks the task to end while its panic is printed.
        static ASKED_WHILE_PRINTED: Cell<Option<Asked>> = const { Cell::new(None) };
        static CLAIM: RefCell<Option<Claim>> = const { RefCell::new(None) };
    }

    /// Has this thread run a task, and returns how the parent sees that.
    fn begin_task() -> Claim {
        let page = Arc::new(SharedPage::create().unwrap().0);
        let claim = ClaimBoard::new(Arc::clone(&page)).offer().unwrap();
        let page: &'static SharedPage = Box::leak(Box::new(page));
        set_current(Some(Current {
            task: TaskId(1),
            worker: WorkerId(1),
            attempt: 1,
            claim: begin(page, claim.slot()),
            reporter: None,
            run: 1,
            is_item: false,
            allowance: None,
            has_context: false,
        }));
        claim
    }

    #[test]
    fn the_parent_is_patient_while_a_panic_is_printed_and_reported() {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            let asked = CLAIM.with_borrow(|claim| claim.as_ref().map(Claim::ask));
            ASKED_WHILE_PRINTED.set(asked);
            print(info);
        }));
        record_panics(|_| unreachable!("it is caught"));
        CLAIM.set(Some(begin_task()));
        assert!(catch(|| panic!("as it has to")).is_err());
        assert_eq!(ASKED_WHILE_PRINTED.take(), Some(Asked::Cooperative));

        let claim = begin_task();
        CLAIM.set(None);
        assert!(catch(|| panic!("as it has to")).is_err());
        assert_eq!(ASKED_WHILE_PRINTED.take(), None);
        let patience = Patience::ask();
        assert_eq!(claim.ask(), Asked::Cooperative);
        drop(patience);

        let claim = begin_task();
        assert!(catch(|| panic!("as it has to")).unwrap_err().report().backtrace.contains("panic"));
        assert_eq!(claim.ask(), Asked::Unaware, "the next item is as it was");
        set_current(None);
    }

    #[test]
    fn the_text_of_a_panic_takes_no_memory_for_ever() {
        const LENGTH: usize = 1 << 20;
        let memory = memory_for(|| {
            for _ in 0..10 {
                let caught = catch(|| resume_unwind(Box::new("x".repeat(LENGTH)))).map(|()| 0);
                assert_eq!(caught.map_err(|panic| panic.message.len()), Err(LENGTH));
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
