//! Where a program becomes a worker.

use tokio::runtime::Handle;

use crate::child::{end_without_thread, run_fork_server, run_process, run_worker};
use crate::function::Registry;
use crate::sys::memory::take_part_in_barriers;
use crate::sys::signal::{leave_terminal, let_signals_through};
use crate::wire::role::{Role, initialize, is_to_begin};

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
/// Call it before an async runtime is built, so not inside an `async fn main`: what comes before it
/// runs in every worker, too. If you forget it, the pool fails with an error that says so. Python
/// has the same rule as `if __name__ == "__main__":`.
///
/// A program with several versions of this crate calls it once for each, because each version
/// serves the workers that it has started. The same holds for libraries that have a copy of the
/// crate of their own.
pub fn init() {
    // A task may call it again, by way of the program's own functions.
    if is_to_begin(Registry::copy_id()) {
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
    initialize();
    let_signals_through(); // before threads are started, which have what this one has
    if Handle::try_current().is_err() {
        take_part_in_barriers();
        play();
    }
    // It was called inside `async fn main`. A thread of its own lets `async` tasks have a runtime.
    match std::thread::Builder::new().spawn(|| play()) {
        Ok(thread) => drop(thread.join()), // does not return: the thread ends the process
        Err(error) => end_without_thread(&error),
    }
    std::process::exit(1)
}

fn play() -> ! {
    match Role::of_this_process() {
        // Without a flag it was started by hand, and the worker says so.
        Some(Role::Worker) | None => {
            leave_terminal();
            run_worker()
        }
        Some(Role::ForkServer) => {
            leave_terminal();
            run_fork_server()
        }
        // Only if it is in no terminal's foreground, which it sees later.
        Some(Role::Process) => run_process(),
        Some(Role::Agent) => {
            leave_terminal();
            #[cfg(feature = "hosts")]
            crate::host::run_agent();
            #[cfg(not(feature = "hosts"))]
            end_without_hosts()
        }
    }
}

/// Its service reads this, as it comes by the standard error of what has started it.
#[cfg(not(feature = "hosts"))]
fn end_without_hosts() -> ! {
    crate::base::log::print(format_args!(
        "this program cannot have workers for another host, as its procpool was built without the \
         feature `hosts`"
    ));
    std::process::exit(1)
}
