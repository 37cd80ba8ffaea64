//! What a process has besides memory, as far as it matters to one that is to be forked.

use super::descriptor::RawDescriptor;

/// A thread other than the one that asks.
#[derive(Clone, Debug)]
pub(crate) struct OtherThread {
    pub(crate) name: String,
    /// It waits for something.
    pub(crate) is_asleep: bool,
    /// The one that the process began with.
    pub(crate) is_first: bool,
}

/// Something open that copies of a process would share in a way that its user may not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldOpen {
    /// By which a runtime waits for its events. What one process registers, the other is told of.
    EventPoll(RawDescriptor),
    /// What one process reads, the other misses. With whom it is, if that has a name.
    Connection(RawDescriptor, Option<String>),
    /// On this file. It keeps no copy out.
    Lock(RawDescriptor, String),
}

impl HeldOpen {
    pub(crate) fn descriptor(&self) -> RawDescriptor {
        match self {
            Self::EventPoll(fd) | Self::Connection(fd, _) | Self::Lock(fd, _) => *fd,
        }
    }
}
