//! The names that tasks and workers go by.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};

/// Names a task within its pool, in the order of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TaskId(pub(crate) u64);

/// Names a worker within its pool, in the order of starting. Never used twice, unlike a pid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct WorkerId(pub(crate) u64);

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

/// Ids are counted up by this process, so nobody can choose them to collide; spreading them is
/// enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = id.wrapping_mul(GOLDEN_RATIO).rotate_left(26);
    }
}
