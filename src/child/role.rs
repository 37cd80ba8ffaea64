//! Whether this process is a worker.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use crate::wire::{Kind, PREAMBLE, put_frame};

/// The last argument of every worker. A program that does not call [`init`] will most likely refuse
/// such an option at once, as the standard test harness does; and unlike an environment variable it
/// is not inherited by the processes that a task starts.
pub(crate) const WORKER_FLAG: &str = "--procpool-worker";

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Makes this program able to be its own worker: call it as the first statement of `main`.
///
/// Workers are further processes of the same program. In one of them this function serves the
/// pool and never returns; in every other process it does nothing.
///
/// ```no_run
/// fn main() -> std::io::Result<()> {
///     procpool::init();
///     tokio::runtime::Runtime::new()?.block_on(async {
///         // … use pools …
///         Ok(())
///     })
/// }
/// ```
///
/// It is best called before an async runtime is built, so not inside an `async fn main`: what comes
/// before it runs in every worker, too. If it is forgotten, the pool fails with an error that says
/// so. Python has the same rule as `if __name__ == "__main__":`.
pub fn init() {
    // A task may call it again, by way of the program's own functions.
    if is_uninitialised_worker() {
        worker_main();
    }
}

/// The `main` of a separate worker program, named by
/// [`Builder::worker_command`](crate::Builder::worker_command).
///
/// The program must have registered the same functions as the parent, best by sharing a library
/// crate with it. They are compared by name and signature when the worker starts.
///
/// ```no_run
/// # mod tasks { pub fn square(x: u64) -> u64 { x * x } }
/// procpool::register!(tasks::square); // or a `use` of the crate that registers them
///
/// fn main() {
///     procpool::worker_main()
/// }
/// ```
pub fn worker_main() -> ! {
    INITIALISED.store(true, Ordering::Release);
    if Handle::try_current().is_err() {
        super::worker::run();
    }
    // It was called inside `async fn main`. A thread of its own lets `async` tasks have a runtime.
    let _ = std::thread::spawn(|| super::worker::run()).join();
    std::process::abort() // not reached: the thread ends the process
}

fn is_worker() -> bool {
    std::env::args_os().next_back().is_some_and(|last| last == WORKER_FLAG)
}

/// Whether this process was meant to be a worker but has gone on to user code.
pub(crate) fn is_uninitialised_worker() -> bool {
    is_worker() && !INITIALISED.load(Ordering::Acquire)
}

/// Tells the parent, which waits at the other end of standard output, what was forgotten.
pub(crate) fn report_missing_init() {
    let mut message = PREAMBLE.to_vec();
    if put_frame(&mut message, Kind::NotInitialised, &(), 0).is_ok() {
        let mut stdout = std::io::stdout().lock();
        // If the parent cannot be told, it still sees this process end without a hello.
        let _ = stdout.write_all(&message).and_then(|()| stdout.flush());
    }
}
