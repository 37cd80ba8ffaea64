//! The way of the results: parts that have come, decoded one item after the other.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use serde::de::DeserializeOwned;

use crate::base::maps::IdHasher;
use crate::base::{TaskId, WorkerId};
use crate::codec::{Fault, decode};
use crate::error::{Cause, ErrorReport, Subject, TaskError};
use crate::pool::task::{Content, Part};
use crate::wire::item::split_entry;
use crate::wire::message::Outcome;

/// By the numbers of items.
type ByItem<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

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
    /// Results that were decoded before.
    decoded: ByItem<R>,
}

enum Waiting {
    /// By their first items.
    InOrder(ByItem<Part>),
    AsCompleted(VecDeque<Part>),
}

impl<R> Yields<R> {
    pub(super) fn new(function: &'static str, max_payload: usize) -> Self {
        let waiting = Waiting::InOrder(HashMap::default());
        Self {
            function,
            max_payload,
            current: None,
            position: 0,
            waiting,
            next: 0,
            decoded: HashMap::default(),
        }
    }

    pub(super) fn set_unordered(&mut self) {
        self.waiting.set_unordered();
    }

    /// Keeps a result that is decoded, and whose part is to come.
    pub(super) fn keep(&mut self, number: u64, value: R) {
        self.decoded.insert(number, value);
    }

    pub(super) fn add(&mut self, part: Part) {
        self.waiting.add(part);
    }
}

/// Nothing of this depends on the type of the results, so users' crates do not compile it.
impl Waiting {
    fn set_unordered(&mut self) {
        let parts = match std::mem::replace(self, Self::AsCompleted(VecDeque::new())) {
            Self::InOrder(parts) => parts.into_values().collect(),
            Self::AsCompleted(parts) => parts,
        };
        *self = Self::AsCompleted(parts);
    }

    fn add(&mut self, part: Part) {
        match self {
            Self::InOrder(parts) => drop(parts.insert(part.first, part)),
            Self::AsCompleted(parts) => parts.push_back(part),
        }
    }

    /// The part that begins with the item of this number, or any.
    fn take(&mut self, next: u64) -> Option<Part> {
        match self {
            Self::InOrder(parts) => parts.remove(&next),
            Self::AsCompleted(parts) => parts.pop_front(),
        }
    }
}

/// Where the entries begin whose results have not come before.
fn begin(part: &Part) -> usize {
    let Content::Entries { bytes, skip, .. } = &part.content else { return 0 };
    (0..*skip).fold(0, |position, _| {
        let rest = bytes.get(position..).unwrap_or_default();
        let left = split_entry(rest).map_or(0, |(_, _, left)| left.len());
        bytes.len() - left
    })
}

impl<R: DeserializeOwned> Yields<R> {
    /// The first item of the next part that may be yielded, if there is one. Nothing may be left of
    /// the one before.
    pub(super) fn pop_next_part(&mut self) -> Option<(u64, Result<R, TaskError>)> {
        self.current = self.waiting.take(self.next);
        self.position = self.current.as_ref().map_or(0, begin);
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
fn decoded<R>(decoded: &mut ByItem<R>, number: u64) -> Option<R> {
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
