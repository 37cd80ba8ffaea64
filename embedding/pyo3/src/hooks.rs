//! What Python does where it forks, or ends, by itself.

use std::cell::Cell;

use pyo3::ffi;
use pyo3::prelude::*;

procpool::register!(end_python, before_fork, after_fork_in_parent, after_fork);

/// Does what the end of the interpreter would: a worker ends by `exit`, and without it.
pub(crate) fn end_python() -> Result<(), String> {
    Python::attach(|py| {
        py.import("threading")?.call_method0("_shutdown")?;
        py.import("atexit")?.call_method0("_run_exitfuncs")?;
        py.import("sys")?.getattr("stdout")?.call_method0("flush").map(drop)
    })
    .map_err(|error: PyErr| error.to_string())
}

thread_local! {
    /// Whether the thread that forks had the interpreter's lock before.
    static LOCKED: Cell<Option<ffi::PyGILState_STATE>> = const { Cell::new(None) };
}

/// Has Python call what was registered by `os.register_at_fork`, and hold its locks.
pub(crate) fn before_fork() {
    // SAFETY: the interpreter runs in this process, as it has loaded this library; the lock is
    // taken before anything else is called, and given back by whichever of the other two follows.
    #[expect(unsafe_code, reason = "is offered by Python's C interface only")]
    unsafe {
        LOCKED.set(Some(ffi::PyGILState_Ensure()));
        ffi::PyOS_BeforeFork();
    }
}

pub(crate) fn after_fork_in_parent() {
    // SAFETY: `before_fork` was called in this thread, which has the lock since.
    #[expect(unsafe_code, reason = "is offered by Python's C interface only")]
    unsafe {
        ffi::PyOS_AfterFork_Parent();
    }
    unlock();
}

/// In the worker. Without it, random numbers of all workers would be the same.
pub(crate) fn after_fork() {
    // SAFETY: as in the parent; this is the copy of the thread that has forked.
    #[expect(unsafe_code, reason = "is offered by Python's C interface only")]
    unsafe {
        ffi::PyOS_AfterFork_Child();
    }
    unlock();
}

fn unlock() {
    let Some(state) = LOCKED.take() else { return };
    // SAFETY: it is what taking the lock has returned in this thread.
    #[expect(unsafe_code, reason = "is offered by Python's C interface only")]
    unsafe {
        ffi::PyGILState_Release(state);
    }
}
