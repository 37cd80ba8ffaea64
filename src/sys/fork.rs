//! Processes that are forked, and what must be before one is.

pub(crate) use super::system::fork::{
    Fork, SingleThreaded, exit_forked, flush_output, has_event_poll, keep_exits, kill_group,
    reap_child, use_huge_pages,
};
pub(crate) use super::system::lifeline::{Lifeline, lifeline};
