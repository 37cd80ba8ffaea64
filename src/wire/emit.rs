//! What running tasks emit, and how much they may.

use serde::{Deserialize, Serialize};

use crate::base::TaskId;

/// So many values may a task have emitted that nobody has taken, where nothing else is said.
pub(crate) const EMIT_CAPACITY: u32 = 16;

/// It emits nothing more while those that nobody has taken have so many bytes.
pub(crate) const EMIT_BYTES: u64 = 1 << 20;

/// The most bytes of the name of a type that is emitted.
pub(crate) const MAX_TYPE_NAME: usize = 4 << 10;

/// A value that a running task emits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EmitHeader {
    pub(crate) task: TaskId,
    /// The name of its type, unless that is the one of the value before it.
    pub(crate) type_name: Option<String>,
}

/// What a task may emit beside what it could before. With nothing it is a reason to look whether
/// the task is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    pub(crate) task: TaskId,
    pub(crate) values: u32,
    pub(crate) bytes: u64,
    /// Nobody takes anything any more.
    pub(crate) is_closed: bool,
}
