//! What the pool says of itself.

pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod observer;
pub(crate) mod snapshot;
