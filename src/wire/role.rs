//! What a process of this program is to another one.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frame::{PREAMBLE, put_frame};
use super::message::Kind;
use crate::sys::socket::write_to_stdin;

/// With this code a child exits that could not begin because the machine was short of something
/// (`EX_TEMPFAIL`).
pub(crate) const TRY_AGAIN: i32 = 75;

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

    /// The last argument of every such process. A program that does not call [`init`](crate::init)
    /// will most likely refuse such an option at once, as the standard test harness does; and
    /// unlike an environment variable it is not inherited by the processes that a task starts.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Worker => "--procpool-worker",
            Self::ForkServer => "--procpool-forkserver",
            Self::Process => "--procpool-process",
        }
    }

    /// That of this process; `None` for one that the user has started.
    pub(crate) fn of_this_process() -> Option<Self> {
        let last = std::env::args_os().next_back()?;
        Self::ALL.into_iter().find(|role| last == role.flag())
    }
}

/// A program that is a worker has said so.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// This process goes on as what it was started as.
pub(crate) fn initialise() {
    INITIALISED.store(true, Ordering::Release);
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
