//! A task, from when it is let in to when its result is taken.

mod budget;
pub(super) mod cell;
mod condition;
pub(super) mod emissions;
mod extras;
pub(super) mod harvest;
pub(super) mod ledger;
mod place;
mod progress;
mod waiters;

pub(crate) use self::budget::{Budget, HOLD};
pub use self::cell::TaskStatus;
pub(crate) use self::cell::{Cancellation, Resolution, TaskCell};
pub(crate) use self::condition::{Condition, judge_outcome};
pub(crate) use self::emissions::EmittedValue;
pub(crate) use self::extras::{Extras, TaskContext};
#[cfg(test)]
pub(crate) use self::harvest::Receipt;
pub(crate) use self::harvest::{Content, Harvest, ItemLimits, Part, RepeatedItem, UnfinishedChunk};
pub(crate) use self::place::TaskPlace;
pub use self::progress::Progress;
