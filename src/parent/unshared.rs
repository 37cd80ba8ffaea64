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
    /// The worker could not open it; its system may have given no reason.
    NotOpened { error: Option<io::Error>, was_sent: bool },
}

impl Unshared {
    /// For this reason of its system's, or zero.
    pub(super) fn not_opened(errno: i32, was_sent: bool) -> Self {
        let error = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
        Self::NotOpened { error, was_sent }
    }

    /// Whether another start may help by which the page is sent to the worker: it may not open what
    /// is another's, or has found something else by that name.
    pub(super) fn may_be_sent(&self) -> bool {
        let Self::NotOpened { error, was_sent: false } = self else { return false };
        error.as_ref().is_none_or(is_refusal)
    }

    /// For people to read. `None` where the system has no such memory.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::NotMade(error) if error.kind() == io::ErrorKind::Unsupported => None,
            Self::NotMade(error) => Some(format!(
                "memory to share cannot be made: {error}; a seccomp filter has to allow \
                 `memfd_create`"
            )),
            Self::NotOpened { error, was_sent } => {
                let why = error.as_ref().map_or_else(
                    || "what it finds by that name is something else".to_owned(),
                    io::Error::to_string,
                );
                let cure = "; that is sent over its standard input, which its `worker_command` has \
                            to hand on as it is";
                let cure = if *was_sent { cure } else { "" };
                Some(format!("the worker cannot open what is shared with it: {why}{cure}"))
            }
        }
    }
}
