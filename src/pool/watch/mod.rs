//! What the pool says of itself.

pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod observer;
pub(crate) mod snapshot;

pub use self::events::{Events, PoolEvent};
pub use self::metrics::{DurationHistogram, TaskOutcome, TaskOutcomes};
pub use self::snapshot::{PoolStats, WorkerInfo, WorkerState};
