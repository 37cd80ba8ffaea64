//! Signals: what they are called, and which of them get to a process.

pub(crate) use super::system::inherited::{
    SIGCHLD, SIGINT, SIGTERM, is_ignored, leave_terminal, let_signals_through, shares_group_with,
};
pub(crate) use super::system::signal::{SIGABRT, SIGXCPU, SIGXFSZ, signal_hint, signal_name};
pub(crate) use super::system::stranger::outlive_strangers;
