//! A pool as its users hold it.

mod backoff;
mod blocking;
mod builder;
mod command;
pub(crate) mod completion;
mod deadline;
mod emitted;
mod ending;
pub(crate) mod fork_server;
mod handle;
mod hooks;
pub(crate) mod map;
mod pool;
mod progress;
pub(crate) mod settings;
mod started;
mod submit;
mod task;
mod task_set;
mod units;
mod wait;

pub use self::backoff::Backoff;
pub use self::builder::Builder;
pub use self::command::WorkerCommand;
pub use self::deadline::Deadline;
pub use self::emitted::{EmittedError, EmittedStream};
pub use self::ending::Ending;
pub use self::handle::TaskHandle;
pub use self::pool::ProcessPoolExecutor;
pub use self::progress::ProgressStream;
pub use self::started::Started;
pub use self::task::TaskBuilder;
pub use self::task_set::TaskSet;
pub use self::wait::{ReturnWhen, wait};
