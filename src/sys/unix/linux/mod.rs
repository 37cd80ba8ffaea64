//! What only Linux has.

mod mapping;

pub(crate) use self::mapping::{Mapping, MemoryFile, wait_for_change, wake_all};
