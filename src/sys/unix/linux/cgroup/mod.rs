//! Control groups (cgroups): what the one of this process says of memory, and others for children.

mod delegation;
mod files;
mod memory;
mod own;

pub(crate) use self::memory::MemoryCgroup;
pub(crate) use self::own::OwnCgroup;
