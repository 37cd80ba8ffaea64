//! The way of the results: parts that have come, decoded one item after the other.

use std::collections::{BTreeMap, VecDeque};

use serde::de::DeserializeOwned;

use crate::base::{TaskId, WorkerId};
use crate::codec::{Fault, decode};
use crate::error::{Cause, ErrorReport, Subject, TaskError};
use crate::pool::task::{Content, Part};
use crate::wire::item::split_entry;
use crate::wire::message::Outcome;

/// Parts that are to be yielded.
pub(super) struct Yields<R> {
    function: &'static str,
    max_payload: usize,
    /// The one whose items are yielded now; what is left of it.
    current: Option<Part>,
    /// Where its next entry begins.
    position: usize,
    waiting: Waiting,
    /// The number of the next item, in the order of the inputs.
    next: u64,
    /// Results that were decoded before, by their numbers.
    decoded: BTreeMap<u64, R>,
}

enum Waiting {
    /// By their first items.
    InOrder(BTreeMap<u64, Part>),
    AsCompleted(VecDeque<Part>),
}

impl<R> Yields<R> {
    pub(super) fn new(function: &'static str, max_payload: usize) -> Self {
        let waiting = Waiting::InOrder(BTreeMap::new());
        Self {
            function,
            max_payload,
            current: None,
            position: 0,
            waiting,
            next: 0,
            decoded: BTreeMap::new(),
        }
    }

    pub(super) fn set_unordered(&mut self) {
        let parts =
            match std::mem::replace(&mut self.waiting, Waiting::AsCompleted(VecDeque::new())) {
                Waiting::InOrder(parts) => parts.into_values().collect(),
                Waiting::AsCompleted(parts) => parts,
            };
        self.waiting = Waiting::AsCompleted(parts);
    }

    /// Keeps a result that is decoded, and whose part is to come.
    pub(super) fn keep(&mut self, number: u64, value: R) {
        self.decoded.insert(number, value);
    }

    pub(super) fn add(&mut self, part: Part) {
        match &mut self.waiting {
            Waiting::InOrder(parts) => drop(parts.insert(part.first, part)),
            Waiting::AsCompleted(parts) => parts.push_back(part),
        }
    }

    /// Passes over the entries whose results have come before.
    fn skip(&mut self) {
        let Some(Part { content: Content::Entries { bytes, skip, .. }, .. }) = &self.current else {
            return;
        };
        for _ in 0..*skip {
            let rest = bytes.get(self.position..).unwrap_or_default();
            let left = split_entry(rest).map_or(0, |(_, _, left)| left.len());
            self.position = bytes.len() - left;
        }
    }
}

impl<R: DeserializeOwned> Yields<R> {
    /// The first item of the next part that may be yielded, if there is one. Nothing may be left of
    /// the one before.
    pub(super) fn pop_next_part(&mut self) -> Option<(u64, Result<R, TaskError>)> {
        self.current = match &mut self.waiting {
            Waiting::InOrder(parts) => parts.remove(&self.next),
            Waiting::AsCompleted(parts) => parts.pop_front(),
        };
        self.position = 0;
        self.skip();
        self.pop()
    }

    /// The next item of the same part, if there is one.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u64, Result<R, TaskError>)> {
        let part = self.current.as_mut().filter(|part| part.count > 0)?;
        let (number, task, attempt) = (part.first, part.task, part.attempt);
        // Before it is decoded: a `Deserialize` may panic, and that must cost its own item only.
        part.first += 1;
        part.task = TaskId(task.0 + 1);
        part.count -= 1;
        self.next = number + 1;
        let result = match &part.content {
            Content::Entries { worker, bytes, .. } => {
                match split_entry(bytes.get(self.position..).unwrap_or_default()) {
                    Ok((outcome, entry, rest)) => {
                        self.position = bytes.len() - rest.len();
                        let told = || Cause::told(outcome, entry, self.max_payload);
                        let fails =
                            |cause| Err(item_error(self.function, (task, attempt), *worker, cause));
                        match (outcome != Outcome::Returned).then(told).flatten() {
                            None => match decoded(&mut self.decoded, number) {
                                Some(value) => Ok(value),
                                None => decode(entry)
                                    .or_else(|error| fails(Cause::decoding(self.function, error))),
                            },
                            Some(cause) => fails(cause),
                        }
                    }
                    Err(error) => {
                        let error = Fault::Custom(error.to_string()).into();
                        let cause = Cause::decoding(self.function, error);
                        Err(item_error(self.function, (task, attempt), *worker, cause))
                    }
                }
            }
            Content::Failed(error) => Err(error.of(task)),
            Content::Refused(error) => Err(error.clone()),
        };
        if part.count == 0 {
            self.current = None;
        }
        Some((number, result))
    }
}

/// Nothing is decoded before, as a rule.
fn decoded<R>(decoded: &mut BTreeMap<u64, R>, number: u64) -> Option<R> {
    if decoded.is_empty() { None } else { decoded.remove(&number) }
}

#[cold]
pub(super) fn item_error(
    function: &'static str,
    (task, attempt): (TaskId, u32),
    worker: WorkerId,
    cause: Cause,
) -> TaskError {
    let (subject, worker) = (Subject::Task(task, function), Some(worker));
    TaskError::new(ErrorReport { subject, label: None, worker, attempt, cause })
}
