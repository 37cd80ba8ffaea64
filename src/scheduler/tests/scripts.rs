//! One behavior each.

mod absence;
mod deaths;
mod dispatch;
mod ending_tasks;
mod hosts;
mod late;
mod leaving;
mod retries;
mod shutdown;
mod starts;
mod succession;
mod suspects;
