//! The names that tasks, workers and hosts go by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names a task within its pool, in the order of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId(pub(crate) u64);

/// Names a worker within its pool, in the order of starting. Never used twice, unlike a pid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WorkerId(pub(crate) u64);

/// Names a host of a pool, by its position among them. Each pool has one at least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct HostId(pub(crate) u32);

impl HostId {
    pub(crate) fn position(self) -> usize {
        self.0 as usize
    }
}

impl TaskId {
    /// The number behind the name.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl WorkerId {
    /// The number behind the name.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}
