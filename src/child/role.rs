//! Whether this process is a worker.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;

use crate::sys::{take_part_in_barriers, write_to_stdin};
use crate::wire::{Kind, PREAMBLE, put_frame};

/// What this program was started as by another procpool process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker of a pool.
    Worker,
    /// The process that forks the workers of a pool.
    ForkServer,
    /// A [`Process`](crate::Process).
    Process,
}

impl Role {
    const ALL: [Self; 3] = [Self::Worker, Self::ForkServer, Self::Process];

    /// The last argument of every such process. A program that does not call [`init`] will most likely
    /// refuse such an option at once, as the standard test harness does; and unlike an environment
    /// variable it is not inherited by the processes that a task starts.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Worker => "--procpool-worker",
            Self::ForkServer => "--procpool-forkserver",
            Self::Process => "--procpool-process",
        }
    }

    /// That of this process; `None` for one that the user has started.
    fn of_this_process() -> Option<Self> {
        let last = std::env::args_os().next_back()?;
        Self::ALL.into_iter().find(|role| last == role.flag())
    }
}

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
        take_part_in_barriers();
        play();
    }
    // It was called inside `async fn main`. A thread of its own lets `async` tasks have a runtime.
    let _ = std::thread::spawn(|| play()).join();
    std::process::abort() // not reached: the thread ends the process
}

fn play() -> ! {
    match Role::of_this_process() {
        // Without a flag it was started by hand, and the worker says so.
        Some(Role::Worker) | None => super::worker::run(),
        Some(Role::ForkServer) => super::forkserver::run(),
        Some(Role::Process) => super::process::run(),
    }
}

/// Whether this process was meant to be a worker but has gone on to user code.
pub(crate) fn is_uninitialised_worker() -> bool {
    Role::of_this_process().is_some() && !INITIALISED.load(Ordering::Acquire)
}

/// Tells the parent, which waits for a hello, what was forgotten.
pub(crate) fn report_missing_init() {
    let mut message = PREAMBLE.to_vec();
    if put_frame(&mut message, Kind::NotInitialised, &(), 0).is_err() {
        return;
    }
    // If the parent cannot be told, it still sees this process end without a hello.
    let _ = match Role::of_this_process() {
        Some(Role::ForkServer | Role::Process) => write_to_stdin(&message),
        Some(Role::Worker) | None => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&message).and_then(|()| stdout.flush())
        }
    };
}
