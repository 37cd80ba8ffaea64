//! A runtime for `async` tasks, built when the first one comes.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};

thread_local! {
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
    RUNTIME.with(|runtime| runtime.block_on(future))
}
