//! What a link was told of the end of its worker.

use crate::parent::message::Why;

/// Once any of it is so, nobody waits for the worker to be ready.
#[derive(Default)]
pub(super) struct Told {
    /// It is to leave.
    pub(super) stopping: bool,
    /// It is asked to end, or its supervisor has gone.
    pub(super) terminated: bool,
    /// Why the supervisor had it killed.
    pub(super) killed: Option<Why>,
}

impl Told {
    /// Whether somebody waits for it to be ready.
    pub(super) fn is_wanted(&self) -> bool {
        !self.stopping && !self.terminated && self.killed.is_none()
    }
}
