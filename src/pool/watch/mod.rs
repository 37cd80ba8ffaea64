//! What the pool says of itself.

pub(super) mod events;
pub(super) mod health;
mod metrics;
pub(super) mod observer;
pub(super) mod snapshot;

pub use self::events::{Events, PoolEvent};
pub use self::health::Health;
pub use self::metrics::{DurationHistogram, TaskOutcome, TaskOutcomes};
pub use self::snapshot::{PoolStats, WorkerInfo, WorkerState};
