//! One call of a function, and what is told of it.

use std::io;

use super::limits::CallLimits;
use super::original::end_if_copy;
use super::panic::{CaughtPanic, catch};
use crate::codec::{Fault, Sink};
use crate::function::{CallError, EncodedArguments, Function, TaskCall};
use crate::memory::Encoded;
use crate::memory::shared::why_not_lend;
use crate::wire::frame::set_length;
use crate::wire::message::{InitFailure, Outcome, PanicReport};

/// Calls a function and leaves a frame with what came of it in `out`, which is empty; but the
/// result may be in the sink instead.
pub(super) fn call(
    function: &Function,
    payload: EncodedArguments<'_>,
    out: &mut Vec<u8>,
    limit: usize,
    sink: Option<&mut dyn Sink>,
    limits: &CallLimits,
    put_header: impl Fn(&mut Vec<u8>, Outcome, usize) -> io::Result<()>,
) -> io::Result<(Outcome, Encoded)> {
    put_header(out, Outcome::Returned, 0)?;
    let Some(call) = function.task() else { return Err(io::ErrorKind::InvalidData.into()) };
    let attempted = attempt(call, payload, out, limit, sink, limits);
    end_if_copy();
    let FailedCall { outcome, text } = match attempted {
        Ok(encoded) => {
            set_length(out)?;
            return Ok((Outcome::Returned, encoded));
        }
        Err(failed) => *failed,
    };
    out.clear();
    put_header(out, outcome, text.len())?;
    out.extend_from_slice(&text);
    Ok((outcome, Encoded::default()))
}

/// Calls a function and appends its result to `out`; or says why there is none, with what the reply
/// has to tell of that. What a panic leaves in `out` is for the caller to take off. Says whether
/// the result is in the sink instead. The limits hold until it returns. They count what the hook
/// prints of a panic, but not the report of it. It is for the caller to [end a copy](end_if_copy)
/// of this process that comes back from it.
#[inline]
pub(super) fn attempt(
    call: &TaskCall,
    mut args: EncodedArguments<'_>,
    out: &mut Vec<u8>,
    limit: usize,
    mut sink: Option<&mut dyn Sink>,
    limits: &CallLimits,
) -> Result<Encoded, Box<FailedCall>> {
    let imposed = limits.impose().map_err(|error| Box::new(FailedCall::limits(&error, limit)))?;
    // All by reference, also what it returns: `catch` would move it from place to place, and that
    // takes longer than a small task.
    let mut called = None;
    let mut run = || {
        let sink = sink.as_mut().map(|sink| &mut **sink as &mut dyn Sink);
        called = Some(call(&mut args, out, limit, sink));
    };
    let caught = catch(&mut run);
    match called {
        Some(Ok(encoded)) => match why_not_lend(&encoded.kept) {
            None => Ok(encoded),
            Some(reason) => Err(Box::new(FailedCall::lending(reason))),
        },
        Some(Err(error)) => Err(Box::new(FailedCall::call(&error, limit))),
        None => {
            drop(imposed); // what the report takes is not the task's
            let _ = limits.restart();
            let report = caught.map_or_else(CaughtPanic::report, |()| PanicReport::default());
            Err(Box::new(FailedCall::panic(report, limit)))
        }
    }
}

/// What a result goes to that is encoded while the call is not over. Only the process that was
/// given the task writes there.
pub(super) struct OriginalSink<'a>(pub(super) &'a mut dyn Sink);

impl Sink for OriginalSink<'_> {
    fn write(&mut self, first: &[u8], second: &[u8]) -> bool {
        end_if_copy();
        self.0.write(first, second)
    }

    fn take_back(&mut self, buffer: &mut Vec<u8>) {
        self.0.take_back(buffer);
    }
}

/// Why there is no result.
pub(super) struct FailedCall {
    pub(super) outcome: Outcome,
    /// What the reply tells of it.
    pub(super) text: Vec<u8>,
}

impl FailedCall {
    #[cold]
    fn call(error: &CallError, limit: usize) -> Self {
        let (outcome, text) = match error {
            CallError::Arguments(error) => {
                (Outcome::UndecodableArguments, encode_reason(error, limit))
            }
            CallError::Result { error, returned } => match (error.fault(), returned) {
                (Fault::TooLarge { .. }, _) => (Outcome::ResultTooLarge, Vec::new()),
                (_, None) => (Outcome::UnencodableResult, encode_reason(error, limit)),
                (_, Some(returned)) => {
                    let reason = format!(
                        "the function returned the error {returned}, which cannot be sent: {error}"
                    );
                    (Outcome::UnencodableResult, encode_reason(&reason, limit))
                }
            },
        };
        Self { outcome, text }
    }

    #[cold]
    fn limits(error: &io::Error, limit: usize) -> Self {
        Self { outcome: Outcome::UnsupportedLimit, text: encode_reason(error, limit) }
    }

    #[cold]
    fn lending(reason: &str) -> Self {
        Self { outcome: Outcome::UnencodableResult, text: reason.as_bytes().to_vec() }
    }

    #[cold]
    fn panic(report: PanicReport, limit: usize) -> Self {
        Self { outcome: Outcome::Panicked, text: encode_report(report, limit) }
    }
}

fn encode_reason(error: &impl ToString, limit: usize) -> Vec<u8> {
    let mut reason = error.to_string();
    truncate(&mut reason, room_for_text(limit));
    reason.into_bytes()
}

pub(super) fn encode_report(report: PanicReport, limit: usize) -> Vec<u8> {
    postcard::to_stdvec(&cut(report, room_for_text(limit))).unwrap_or_default()
}

fn cut(mut report: PanicReport, room: usize) -> PanicReport {
    truncate(&mut report.message, room);
    truncate(&mut report.backtrace, room - report.message.len());
    report
}

/// The message of a panic or an error may be longer than a payload may be.
fn room_for_text(limit: usize) -> usize {
    const OVERHEAD: usize = 1024;
    limit.max(2 * OVERHEAD) - OVERHEAD
}

fn truncate(text: &mut String, room: usize) {
    text.truncate(text.floor_char_boundary(room));
}

/// Makes it fit into a frame whose payload may have so many bytes.
pub(super) fn cut_failure(failure: InitFailure, limit: usize) -> InitFailure {
    let room = room_for_text(limit);
    let cut_text = |mut text| {
        truncate(&mut text, room);
        text
    };
    match failure {
        InitFailure::Panicked(report) => InitFailure::Panicked(cut(report, room)),
        InitFailure::Failed(text) => InitFailure::Failed(cut_text(text)),
        InitFailure::CannotFork(text) => InitFailure::CannotFork(cut_text(text)),
        InitFailure::NoSandbox(text) => InitFailure::NoSandbox(cut_text(text)),
    }
}
