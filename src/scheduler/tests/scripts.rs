//! One behaviour each.

mod deaths;
mod dispatch;
mod ending_tasks;
mod shutdown;
mod starts;
