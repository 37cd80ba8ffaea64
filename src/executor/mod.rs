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

pub use self::builder::{Builder, WorkerCommand};
pub use self::completion::{AsCompleted, AsCompletedWithin, Completed, Unfinished, as_completed};
pub use self::ending::Ending;
pub use self::handle::{AbortOnDrop, TaskHandle};
pub use self::pool::ProcessPoolExecutor;
pub use self::progress::ProgressStream;
pub use self::task::{Deadline, TaskBuilder};
pub use self::task_set::TaskSet;
pub use self::wait::{ReturnWhen, wait};
