//! What a process is to do.

use std::time::Duration;

use super::error::ProcessFailure;
use super::stdio::Streams;
use crate::function::Call;
use crate::parent::Program;

/// How a process is started, and what it runs.
pub(super) struct Plan {
    pub(super) function: &'static str,
    /// What it runs, or why it cannot.
    pub(super) call: Result<Call, ProcessFailure>,
    /// Whether the result is wanted, not just an exit code.
    pub(super) typed: bool,
    /// The numbers that it is known by.
    pub(super) path: String,
    pub(super) streams: Streams,
    pub(super) program: Program,
    pub(super) start_timeout: Duration,
    pub(super) max_payload: usize,
}
