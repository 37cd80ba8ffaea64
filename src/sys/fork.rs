//! Processes that are forked, and what must be before one is.

pub(crate) use super::system::ending::end_copy;
pub(crate) use super::system::fork::{
    Fork, Original, SingleThreaded, exit_forked, flush_output, keep_exits, kill_group, lifeline,
    reap_child,
};
pub(crate) use super::system::survey::{HeldOpen, OtherThread};
pub(crate) use super::system::{
    Lifeline, count_threads, has_loaded, held, inherited_thread_name, use_huge_pages,
};
