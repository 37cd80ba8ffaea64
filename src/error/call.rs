//! What can go wrong with one call, whoever makes it.

use super::panic::TaskPanic;
use crate::codec::{CodecError, Fault};
use crate::wire::message::Outcome;

/// Why a call that a child was to make has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallFailure {
    #[error("{problem}: {reason}")]
    Codec { problem: String, reason: String },
    #[error("{what} more than {limit} bytes; the limit is `{builder}::max_payload`")]
    TooLarge { what: &'static str, limit: usize, builder: &'static str },
    #[error("{0}")]
    Panicked(TaskPanic),
    #[error("{0}")]
    UnsupportedLimit(String),
}

/// How messages speak of a child, and of what has set its limits.
#[derive(Clone, Copy)]
pub(crate) struct Callee {
    place: &'static str,
    builder: &'static str,
}

impl CallFailure {
    pub(crate) const WORKER: Callee = Callee { place: "the worker", builder: "Builder" };
    pub(crate) const PROCESS: Callee = Callee { place: "it", builder: "ProcessBuilder" };

    /// The arguments of this function could not be encoded here.
    pub(crate) fn encoding(of: Callee, function: &'static str, error: CodecError) -> Self {
        if let Fault::TooLarge { limit } = *error.fault() {
            return Self::TooLarge { what: "the arguments take", limit, builder: of.builder };
        }
        let reason = error.of(function).to_string();
        Self::codec("the arguments cannot be encoded".to_owned(), reason)
    }

    /// The context of a task could not be encoded here.
    pub(crate) fn encoding_context(error: &CodecError) -> Self {
        if let Fault::TooLarge { limit } = *error.fault() {
            let builder = Self::WORKER.builder;
            return Self::TooLarge { what: "the context takes", limit, builder };
        }
        Self::codec("the context cannot be encoded".to_owned(), error.to_string())
    }

    /// The result of this function could not be decoded here.
    pub(crate) fn decoding(function: &'static str, error: CodecError) -> Self {
        Self::codec("the result cannot be decoded".to_owned(), error.of(function).to_string())
    }

    /// What a child says of a call; `None` if the payload is its result.
    pub(crate) fn told(by: Callee, outcome: Outcome, payload: &[u8], limit: usize) -> Option<Self> {
        let Callee { place, builder } = by;
        let text = || String::from_utf8_lossy(payload).into_owned();
        Some(match outcome {
            Outcome::Returned => return None,
            Outcome::Panicked => Self::Panicked(TaskPanic::told(payload)),
            Outcome::UndecodableArguments => {
                Self::codec(format!("the arguments cannot be decoded in {place}"), text())
            }
            Outcome::UnencodableResult => {
                Self::codec(format!("the result cannot be encoded in {place}"), text())
            }
            Outcome::ResultTooLarge => Self::TooLarge { what: "the result takes", limit, builder },
            Outcome::UnsupportedLimit => {
                Self::UnsupportedLimit(format!("its limits cannot be set in {place}: {}", text()))
            }
        })
    }

    fn codec(problem: String, reason: String) -> Self {
        Self::Codec { problem, reason }
    }
}
