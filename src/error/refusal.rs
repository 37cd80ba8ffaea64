//! Why a child cannot serve its parent.

use crate::wire::message::{HookFailure, InitFailure};

/// Why a child cannot serve its parent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "a child process reached user code instead of `procpool::init()`: make `procpool::init()` the \
         first statement of `main`, and put `procpool::test_support!();` into test binaries"
    )]
    NotInitialized,
    /// As above, of a program that was named.
    #[error(
        "the program of `worker_command` went on to its own code: have it call \
         `procpool::worker_main()`, or `procpool::init()`, before that"
    )]
    NoWorker,
    #[error("its program speaks version {theirs} of the protocol, this process version {ours}")]
    Version { ours: u32, theirs: u32 },
    #[error("its program was built with other functions: {}", .0.join("; "))]
    Functions(Vec<String>),
    /// Its initializer has failed.
    #[error("its initializer has failed")]
    Initializer(InitFailure),
    /// What was to be built before its initializer has failed.
    #[error("its preload has failed")]
    Preload(InitFailure),
    /// A hook around a fork has failed.
    #[error("its hook has failed")]
    Hook(HookFailure),
}
