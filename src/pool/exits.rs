//! The exit hook, and what it returned in the workers that have left.

use std::any::{TypeId, type_name};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::base::WorkerId;
use crate::codec::decode;
use crate::error::{Cause, ErrorReport, Subject, TaskError};
use crate::function::Call;
use crate::memory::Payload;
use crate::parent::message::ExitReply;

/// A pool may live for long and replace its workers often; this many results are for its user to
/// add up, and more would be a leak.
const KEPT: usize = 10_000;
/// The bytes that they may have together, if they are more than one.
const KEPT_BYTES: usize = 64 << 20;

/// What each worker runs after its last task.
#[derive(Debug)]
pub(crate) struct ExitHook {
    pub(crate) call: Call,
    result: TypeId,
    result_name: &'static str,
}

impl ExitHook {
    pub(crate) fn new<R: 'static>(call: Call) -> Self {
        Self { call, result: TypeId::of::<R>(), result_name: type_name::<R>() }
    }
}

/// What the exit hook came to in one worker; see
/// [`ShutdownReport::exit_results`](crate::ShutdownReport::exit_results).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExitResult<R> {
    /// The worker that left.
    pub worker: WorkerId,
    /// The process id it had.
    pub pid: u32,
    /// What the hook returned, or why there is nothing: it panicked, or its arguments or its result
    /// could not be decoded or encoded.
    pub result: Result<R, TaskError>,
}

/// The exit hook returns another type than the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the exit hook of this pool returns `{actual}`, not `{wanted}`")]
#[non_exhaustive]
pub struct ExitTypeError {
    /// The type that was asked for.
    pub wanted: &'static str,
    /// The type that the hook returns.
    pub actual: &'static str,
}

/// The exit results of a pool's workers, in the order in which they left.
#[derive(Default)]
pub(crate) struct Exits {
    hook: Option<Arc<ExitHook>>,
    left: VecDeque<HookResult>,
    /// The sum of their sizes.
    bytes: usize,
}

struct HookResult {
    worker: WorkerId,
    pid: u32,
    /// As it came, in bytes.
    size: usize,
    result: Result<Payload, TaskError>,
}

impl Exits {
    pub(crate) fn new(hook: Option<Arc<ExitHook>>) -> Self {
        Self { hook, left: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn push(
        &mut self,
        worker: WorkerId,
        pid: u32,
        reply: ExitReply,
        max_payload: usize,
    ) {
        let ExitReply { outcome, payload } = reply;
        let size = payload.len();
        self.bytes = self.bytes.saturating_add(size);
        while (self.left.len() >= KEPT || self.bytes > KEPT_BYTES)
            && let Some(oldest) = self.left.pop_front()
        {
            self.bytes -= oldest.size;
        }
        let result = match Cause::told(outcome, &payload, max_payload) {
            None => Ok(payload),
            Some(cause) => Err(self.error(worker, cause)),
        };
        self.left.push_back(HookResult { worker, pid, size, result });
    }

    pub(crate) fn decode<R>(&self) -> Result<Vec<ExitResult<R>>, ExitTypeError>
    where
        R: DeserializeOwned + 'static,
    {
        if let Some(hook) = self.hook.as_ref().filter(|hook| hook.result != TypeId::of::<R>()) {
            return Err(ExitTypeError { wanted: type_name::<R>(), actual: hook.result_name });
        }
        let results = self.left.iter().map(|exit| {
            let HookResult { worker, pid, result, .. } = exit;
            let result = result.clone().and_then(|bytes| {
                let decoded = decode(&bytes);
                decoded
                    .map_err(|error| self.error(*worker, Cause::decoding(self.function(), error)))
            });
            ExitResult { worker: *worker, pid: *pid, result }
        });
        Ok(results.collect())
    }

    fn function(&self) -> &'static str {
        self.hook.as_ref().map_or("", |hook| hook.call.name)
    }

    fn error(&self, worker: WorkerId, cause: Cause) -> TaskError {
        let subject = Subject::ExitHook(self.function());
        TaskError::new(ErrorReport {
            subject,
            label: None,
            worker: Some(worker),
            attempt: 1,
            cause,
        })
    }
}

impl PartialEq for Exits {
    fn eq(&self, other: &Self) -> bool {
        self.left == other.left
    }
}

impl Eq for Exits {}

impl PartialEq for HookResult {
    fn eq(&self, other: &Self) -> bool {
        let same_result = match (&self.result, &other.result) {
            (Ok(mine), Ok(theirs)) => **mine == **theirs,
            (Err(mine), Err(theirs)) => mine.to_string() == theirs.to_string(),
            _ => false,
        };
        (self.worker, self.pid) == (other.worker, other.pid) && same_result
    }
}

impl Eq for HookResult {}

impl fmt::Debug for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} results", self.left.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Choice;
    use crate::wire::message::Outcome;

    fn exits() -> Exits {
        let call = Call { name: "hook", function: 0, arguments: Payload::default() };
        Exits::new(Some(Arc::new(ExitHook::new::<u32>(call))))
    }

    fn reply(outcome: Outcome, value: u32) -> ExitReply {
        ExitReply {
            outcome,
            payload: Payload::encode(&value, usize::MAX, &Choice::of::<u64>()).unwrap(),
        }
    }

    #[test]
    fn the_latest_results_are_kept() {
        let mut exits = exits();
        for number in 0..KEPT as u64 + 2 {
            exits.push(WorkerId(number), 1, reply(Outcome::Returned, 7), 100);
        }
        let results = exits.decode::<u32>().unwrap();
        assert_eq!(results.len(), KEPT);
        assert_eq!(results[0].worker, WorkerId(2));
    }

    #[test]
    fn large_results_are_kept_as_long_as_there_is_room() {
        let mut exits = exits();
        let large = KEPT_BYTES / 4 + 1;
        let sizes = [1, large, large, large, large, 2 * KEPT_BYTES, 1];
        let kept: Vec<_> = (0..)
            .zip(sizes)
            .map(|(number, size)| {
                let payload = bytes::Bytes::from(vec![0; size]).into();
                let reply = ExitReply { outcome: Outcome::Returned, payload };
                exits.push(WorkerId(number), 1, reply, usize::MAX);
                exits.left.len()
            })
            .collect();
        assert_eq!(kept, [1, 2, 3, 4, 3, 1, 1]);
        assert_eq!(exits.bytes, 1);
    }

    #[test]
    fn rubbish_from_a_worker_is_an_error_of_its_own_result() {
        let mut exits = exits();
        for outcome in [Outcome::Panicked, Outcome::UnencodableResult, Outcome::ResultTooLarge] {
            exits.push(WorkerId(1), 1, reply(outcome, 300), 100);
        }
        let payload = Payload::default();
        exits.push(WorkerId(1), 1, ExitReply { outcome: Outcome::Returned, payload }, 100);
        let results = exits.decode::<u32>().unwrap();
        assert!(results.iter().all(|exit| exit.result.is_err()), "{results:?}");
        let last = results[3].result.clone().unwrap_err();
        assert!(last.is_codec() && last.function() == "hook" && last.task_id().is_none(), "{last}");
        assert!(
            last.to_string().starts_with("the exit hook `hook` failed in worker 1: "),
            "{last}"
        );
    }
}
