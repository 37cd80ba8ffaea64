//! Workers that share no memory with their parent: why, and what helps.
//!
//! Everything works without, but slower: small tasks are not sent ahead as many, the items of a map
//! not as many at a time, and large values go through pipes.

use std::io;

use crate::sys::resources::is_refusal;

/// Why there is no page that both have open.
#[derive(Debug)]
pub(super) enum Unshared {
    /// None could be made.
    NotMade(io::Error),
    /// The worker could not open it.
    NotOpened { error: io::Error, was_sent: bool },
    /// It is in use, and looked after elsewhere.
    Over,
}

impl Unshared {
    /// For this reason of its system's.
    pub(super) fn not_opened(errno: i32, was_sent: bool) -> Self {
        Self::NotOpened { error: io::Error::from_raw_os_error(errno), was_sent }
    }

    /// Whether another start may help by which the page is sent to the worker.
    pub(super) fn may_be_sent(&self) -> bool {
        matches!(self, Self::NotOpened { error, was_sent: false } if is_refusal(error))
    }

    /// For people to read. `None` where the system has no such memory.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Over => None,
            Self::NotMade(error) if error.kind() == io::ErrorKind::Unsupported => None,
            Self::NotMade(error) => Some(format!(
                "memory to share cannot be made: {error}; a seccomp filter has to allow \
                 `memfd_create`"
            )),
            Self::NotOpened { error, was_sent: true } => Some(format!(
                "the worker cannot open what is shared with it: {error}; that is sent over its \
                 standard input, which its `worker_command` has to hand on as it is"
            )),
            Self::NotOpened { error, was_sent: false } => {
                Some(format!("the worker cannot open what is shared with it: {error}"))
            }
        }
    }
}
