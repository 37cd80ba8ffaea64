//! What the pool says of itself.

pub(super) mod events;
pub(super) mod health;
mod histogram;
mod hosts;
pub(super) mod metrics;
pub(super) mod observer;
mod serial;
pub(super) mod snapshot;

pub use self::events::{Events, PoolEvent};
pub use self::health::Health;
pub use self::histogram::DurationHistogram;
pub use self::hosts::{HostState, HostStats};
pub use self::metrics::TaskOutcomes;
pub use self::snapshot::{FunctionStats, PoolStats, WorkerInfo, WorkerState};
