//! A pool as its users hold it.

pub(crate) mod blocking;
pub(crate) mod builder;
pub(crate) mod completion;
pub(crate) mod ending;
pub(crate) mod handle;
pub(crate) mod map;
pub(crate) mod pool;
pub(crate) mod progress;
pub(crate) mod task;
pub(crate) mod task_set;
pub(crate) mod wait;
