//! What a task takes of the queue.

use tokio::sync::OwnedSemaphorePermit;

/// A place in the queue, which the supervisor gives back, and what the task's arguments take of the
/// bytes that may wait, if these are counted. Dropping the permit gives them back.
#[must_use]
#[derive(Debug)]
pub(crate) struct TaskPlace(pub(crate) Option<OwnedSemaphorePermit>);
