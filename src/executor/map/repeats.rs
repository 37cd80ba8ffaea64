//! Items that are begun again, as the user decides when their outcomes have come.
//!
//! They are decoded here, and the values kept for the yields.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;

use super::yields::{Yields, item_error};
use crate::base::{TaskId, log};
use crate::codec::decode;
use crate::error::{Cause, TaskError};
use crate::memory::Payload;
use crate::pool::task::{Content, Part, RepeatedItem, judge_outcome};
use crate::wire::item::{split_entry, split_item};
use crate::wire::message::Outcome;

/// Whether a further attempt is wanted; if not, then perhaps the decoded result.
type Judge<R> = dyn Fn(Result<&[u8], &TaskError>) -> (bool, Option<R>) + Send + Sync;

pub(super) struct Repeats<R> {
    judge: Box<Judge<R>>,
    function: &'static str,
    max_payload: usize,
    /// Those that are to be queued as soon as the attempt before is over.
    pub(super) waiting: Vec<RepeatedItem>,
}

/// Items that follow each other, and that are yielded.
struct Run {
    /// As counted in the part.
    first: u32,
    count: u32,
    /// Where their entries are.
    begin: usize,
    end: usize,
}

impl<R> Repeats<R> {
    pub(super) fn new<P>(predicate: P, function: &'static str, max_payload: usize) -> Self
    where
        P: Fn(Result<&R, &TaskError>) -> bool + Send + Sync + 'static,
        R: DeserializeOwned + 'static,
    {
        let judge = move |outcome: Result<&[u8], &TaskError>| {
            judge_outcome(outcome.map(|bytes| decode(bytes).ok()), &predicate)
        };
        Self { judge: Box::new(judge), function, max_payload, waiting: Vec::new() }
    }

    fn wants_retry(&self, outcome: Result<&[u8], &TaskError>) -> (bool, Option<R>) {
        catch_unwind(AssertUnwindSafe(|| (self.judge)(outcome))).unwrap_or_else(|panic| {
            std::mem::forget(panic); // its drop is user code that may panic, too
            log::error!("the `retry_if` of a map of `{}` panicked", self.function);
            (false, None)
        })
    }

    /// Keeps the items of a part that are to be begun again, and has the others yielded.
    pub(super) fn divide(&mut self, part: Part, yields: &mut Yields<R>) {
        let Some(items) = part.items.clone() else { return yields.add(part) };
        let (mut rest, mut position) = (&items[..], 0);
        let mut runs: Vec<Run> = Vec::new();
        for n in 0..part.count {
            let start = items.len() - rest.len();
            rest = split_item(rest).map_or(&[], |(_, rest)| rest);
            let range = start..items.len() - rest.len();
            let (number, task) = (part.first + u64::from(n), TaskId(part.task.0 + u64::from(n)));
            let (end, (wants_retry, value)) = self.judge_entry(&part, n, position);
            let begin = std::mem::replace(&mut position, end);
            if wants_retry {
                let attempt = part.attempt + 1;
                let items = items.slice(range);
                self.waiting.push(RepeatedItem { number, task, attempt, items });
                continue;
            }
            if let Some(value) = value {
                yields.keep(number, value);
            }
            match runs.last_mut().filter(|run| run.first + run.count == n) {
                Some(run) => (run.count, run.end) = (run.count + 1, end),
                None => runs.push(Run { first: n, count: 1, begin, end }),
            }
        }
        add_runs(part, &runs, yields);
    }

    /// What is wanted for the `n`-th item, and where its entry ends that begins at `position`, or
    /// behind those that are skipped.
    fn judge_entry(&self, part: &Part, n: u32, position: usize) -> (usize, (bool, Option<R>)) {
        let task = TaskId(part.task.0 + u64::from(n));
        match &part.content {
            Content::Failed(error) => (0, self.wants_retry(Err(&error.of(task)))),
            Content::Refused(_) => (0, (false, None)),
            Content::Entries { worker, bytes, skip, .. } => {
                let mut left = bytes.get(position..).unwrap_or_default();
                for _ in 0..if n == 0 { *skip } else { 0 } {
                    left = split_entry(left).map_or(&[], |(_, _, rest)| rest);
                }
                // What makes no sense is told when it is yielded.
                let Ok((outcome, entry, rest)) = split_entry(left) else {
                    return (bytes.len(), (false, None));
                };
                let told = || Cause::told(outcome, entry, self.max_payload);
                let cause = (outcome != Outcome::Returned).then(told).flatten();
                let error = cause
                    .map(|cause| item_error(self.function, (task, part.attempt), *worker, cause));
                let judged = self.wants_retry(error.as_ref().map_or(Ok(entry), Err));
                (bytes.len() - rest.len(), judged)
            }
        }
    }
}

/// Has the runs yielded that a part consists of.
fn add_runs<R>(part: Part, runs: &[Run], yields: &mut Yields<R>) {
    let Part { first, task, attempt, mut content, .. } = part;
    for (n, run) in runs.iter().enumerate() {
        let is_last = n + 1 == runs.len();
        let content = match &mut content {
            Content::Failed(error) => Content::Failed(error.clone()),
            Content::Refused(error) => Content::Refused(error.clone()),
            Content::Entries { worker, bytes, skip, held, .. } => Content::Entries {
                worker: *worker,
                bytes: slice(bytes, run),
                skip: if run.begin == 0 { *skip } else { 0 },
                nanos: None,
                held: held.take_if(|_| is_last),
            },
        };
        let (first, task) = (first + u64::from(run.first), TaskId(task.0 + u64::from(run.first)));
        yields.add(Part { first, task, count: run.count, attempt, items: None, content });
    }
}

fn slice(bytes: &Payload, run: &Run) -> Payload {
    bytes.slice(run.begin..run.end)
}
