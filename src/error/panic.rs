//! A panic in a child.

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;

use super::text::OneLine;
use crate::wire::frame::split_header;
use crate::wire::message::PanicReport;

/// A panic in a task. Its text is one line: line breaks in the message are `\n` there.
#[derive(Clone, Debug)]
pub struct TaskPanic(Arc<PanicReport>);

impl TaskPanic {
    /// As a child reports it.
    pub(super) fn told(report: &[u8]) -> Self {
        let report = split_header(report).map_or_else(unreadable, |(report, _)| report);
        Self(Arc::new(report))
    }

    /// The text that `panic!` was given, with its line breaks. If the payload is not text, a phrase
    /// says so. The text is cut at the end if it would not fit into
    /// [`Builder::max_payload`](crate::Builder::max_payload).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, as `file:line:column`. `None` if the panic hook did not see it: the panic
    /// was resumed from elsewhere, or the task has replaced the hook.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The stack in the worker, as text. Empty where [`location`](Self::location) is `None`; cut as
    /// [`message`](Self::message) is, and after it.
    ///
    /// By default every panic has one. Two variables in the environment of the worker turn it off,
    /// as for [`std::backtrace::Backtrace`]: `RUST_LIB_BACKTRACE`, and `RUST_BACKTRACE` where the
    /// first one is not set. The value that does so is `0`.
    ///
    /// The first panic of a worker takes some tens of milliseconds or more, as the symbols of the
    /// program are read; without a backtrace it does not. The time limits of the task do not count
    /// that: it has panicked, so its error is the panic, and not a timeout. This needs memory that
    /// the worker shares with the pool, as it has on Linux, and half of the
    /// [grace period](crate::Builder::grace_period) has to be enough.
    ///
    /// [`ResourceLimits`](crate::ResourceLimits) do not count it either, if only the error has the
    /// backtrace. They do count one that the worker prints, with `RUST_BACKTRACE=1`, or of a panic
    /// that ends the worker. Such a task may fail by its limit.
    pub fn backtrace(&self) -> &str {
        &self.0.backtrace
    }
}

impl fmt::Display for TaskPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "{}", self.0)
    }
}

impl std::error::Error for TaskPanic {}

fn unreadable(_: io::Error) -> PanicReport {
    PanicReport {
        message: "its report could not be read".to_owned(),
        location: None,
        backtrace: String::new(),
    }
}
