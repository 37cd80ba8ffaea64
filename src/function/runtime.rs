//! A runtime for `async` tasks, built when the first one comes.

use std::cell::Cell;
use std::future::Future;

use tokio::runtime::{Builder, Runtime};

thread_local! {
    static USED: Cell<bool> = const { Cell::new(false) };
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("failed to build a tokio runtime for an async task");
}

/// Runs a future to its end. What it has spawned goes on whenever a later `async` task runs.
///
/// # Panics
///
/// If no runtime can be built; the worker reports that as the task's panic.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    USED.set(true);
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Whether something was awaited on this thread.
pub(crate) fn was_used() -> bool {
    USED.get()
}
