//! A task, from when it is let in to when its result is taken.

pub(crate) mod cell;
pub(crate) mod harvest;
pub(crate) mod ledger;
pub(crate) mod progress;
