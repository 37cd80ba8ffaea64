//! What is left to a process in a sandbox.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// What is left to a process in a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxRules {
    /// What may be opened for reading, with all that is below.
    pub(crate) read: Vec<OsString>,
    /// What may be opened for reading and writing, with all that is below.
    pub(crate) write: Vec<OsString>,
    /// Whether it may have sockets of the internet.
    pub(crate) network: bool,
    /// Whether a call that is refused ends it.
    pub(crate) kills: bool,
    /// Whether it does with what this system has.
    pub(crate) best_effort: bool,
}
