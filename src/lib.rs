//! procpool
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("procpool supports Linux and other Unix systems; Windows is not supported yet");

mod builder;
mod callable;
mod child;
mod claim;
mod codec;
mod completion;
mod error;
mod executor;
mod handle;
mod id;
mod ledger;
mod link;
mod log;
mod map;
mod output;
mod probe;
mod registry;
mod scheduler;
mod supervisor;
mod sys;
mod task;
mod testing;
mod wire;

pub use crate::builder::{Builder, OnWorkerDeath, WorkerCommand};
pub use crate::callable::{Callable, TaskFn, marker};
pub use crate::child::{Current, StateError, current, init, try_current, worker_main};
pub use crate::completion::{AsCompleted, AsCompletedWithin, Completed, Unfinished, as_completed};
pub use crate::error::{
    BrokenProcessPool, BuildError, RunError, SubmitError, TaskError, TaskPanic, WorkerDeath,
};
pub use crate::executor::{
    PoolStats, ProcessPoolExecutor, Shutdown, ShutdownReport, WorkerInfo, WorkerState,
};
pub use crate::handle::{AbortOnDrop, TaskHandle, TaskStatus};
pub use crate::id::{TaskId, WorkerId};
pub use crate::map::Map;
pub use crate::output::{OutputLine, WorkerOutput};
pub use crate::task::TaskBuilder;

/// For the macros only.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::probe::{Probe, probes};
    pub use crate::registry::{Function, Registration, TestWorker};
}
