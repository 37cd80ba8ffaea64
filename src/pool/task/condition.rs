//! What a user says about further attempts.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::memory::Payload;

/// Decides by the outcome of an attempt whether a task is begun again. It is code of the user's,
/// and so is the end of what it has captured.
pub(crate) struct Condition(Option<Box<Predicate>>);

type Predicate = dyn Fn(&Result<Payload, TaskError>) -> Judgment + Send + Sync;

/// Whether a further attempt is wanted; if not, then perhaps with the decoded result.
type Judgment = (bool, Option<Decoded>);

impl Condition {
    pub(crate) fn new<R, P>(predicate: P) -> Arc<Self>
    where
        R: DeserializeOwned + Send + 'static,
        P: Fn(Result<&R, &TaskError>) -> bool + Send + Sync + 'static,
    {
        Arc::new(Self(Some(Box::new(move |resolution| {
            let outcome = resolution.as_ref().map(|payload| payload.decode::<R>().ok());
            let (wants_retry, value) = judge_outcome(outcome, &predicate);
            (wants_retry, value.map(|value| Decoded(Some(Box::new(value)))))
        }))))
    }

    /// `None` if it panics.
    pub(super) fn judge(&self, outcome: &Result<Payload, TaskError>) -> Option<Judgment> {
        let predicate = self.0.as_ref()?;
        let judged = catch_unwind(AssertUnwindSafe(|| predicate(outcome)));
        // What it panics with is user code when it is dropped, and may panic, too.
        judged.map_err(std::mem::forget).ok()
    }
}

/// Whether a further attempt is wanted; if not, then perhaps with the decoded result. What cannot
/// be decoded is an error of whoever awaits it, and is not repeated.
pub(crate) fn judge_outcome<R>(
    outcome: Result<Option<R>, &TaskError>,
    predicate: impl Fn(Result<&R, &TaskError>) -> bool,
) -> (bool, Option<R>) {
    match outcome {
        Err(error) => (error.may_be_retried() && predicate(Err(error)), None),
        Ok(None) => (false, None),
        Ok(Some(value)) if predicate(Ok(&value)) => (true, None),
        Ok(value) => (false, value),
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition")
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        drop_safely(self.0.take());
    }
}

/// A result that was decoded for a condition, so that it need not be decoded once more.
pub(crate) struct Decoded(Option<Box<dyn Any + Send>>);

impl Decoded {
    pub(super) fn into_value<R: 'static>(mut self) -> Option<R> {
        let value = self.0.take()?;
        value.downcast().ok().map(|value| *value)
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        drop_safely(self.0.take());
    }
}

/// Whoever drops this may be the supervisor, which must not panic.
fn drop_safely<T>(value: Option<T>) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        std::mem::forget(panic);
    }
}
