//! Whether workers may open what this process has, or it has to be sent to them over a socket.

use std::panic::resume_unwind;
use std::thread;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

/// How workers come to the memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// They open it.
    ByName,
    /// This process is not dumpable, so each is started with a socket.
    NotDumpable,
    /// They have fewer rights than it, which the first ones find out: they are started once more.
    Forbidden,
}

impl Access {
    pub(crate) fn of(seed: u64) -> Self {
        match seed / 2 % 3 {
            0 => Self::ByName,
            1 => Self::NotDumpable,
            _ => Self::Forbidden,
        }
    }

    /// Makes it so while this is done, which is told if it could not be made: only root has a right
    /// that it can do without.
    pub(crate) fn with<T: Send>(self, act: impl FnOnce(Self) -> T + Send) -> T {
        let scoped = || {
            let (access, _restored) = self.enter();
            act(access)
        };
        // A thread that has given up a right for its children never has it again.
        thread::scope(|scope| scope.spawn(scoped).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn enter(self) -> (Self, Restored) {
        if self == Self::ByName {
            return (self, Restored);
        }
        let is_taken = remove_capability_from_bounding_set(CapabilitySet::SYS_PTRACE).is_ok();
        if self == Self::NotDumpable {
            set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap();
        }
        let is_had = is_taken || self == Self::NotDumpable; // which is enough for who is not root
        (if is_had { self } else { Self::ByName }, Restored)
    }

    /// Whether what a result names has come before the result, whatever becomes of its worker.
    pub(crate) fn is_sent(self) -> bool {
        self != Self::ByName
    }
}

/// Dumpable as at the start of a program, when this is dropped.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }
}
