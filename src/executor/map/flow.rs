//! The way of a map's items from the inputs to the results.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Sleep;
use tokio_util::sync::PollSemaphore;

use super::intake::{Intake, Sealed};
use super::pace::Pace;
use super::repeats::Repeats;
use super::yields::Yields;
use crate::base::ResourceLimits;
use crate::error::{Cause, ErrorReport, Subject, SubmitError, TaskError};
use crate::executor::handle::TaskHandle;
use crate::function::{Function, Registry};
use crate::pool::task::{
    Budget, Content, Extras, HOLD, Harvest, ItemLimits, Part, RepeatedItem, TaskContext,
    UnfinishedChunk,
};
use crate::pool::{Command, Pool, submit_error};

/// So many inputs are taken before the stream looks at something else.
const INPUTS_AT_A_TIME: usize = 1024;
/// After so many results in a row other tasks of the runtime have a turn.
const RESULTS_AT_A_TIME: u64 = 8192;

/// The inside of a [`Map`](super::Map).
pub(super) struct Flow<R, S> {
    pool: Arc<Pool>,
    name: &'static str,
    extras: Extras,
    function: Result<&'static Function, SubmitError>,
    /// Why its context cannot be sent.
    context_fault: Option<SubmitError>,
    /// Why it cannot have the limits that it has.
    limits_fault: Option<SubmitError>,
    /// `None` after the last one.
    inputs: Option<S>,
    intake: Intake,
    /// A chunk that waits for room in the queue, with the number of its first item.
    sealed: Option<(u64, Sealed)>,
    room: PollSemaphore,
    pace: Pace,
    harvest: Arc<Harvest>,
    /// What is on its way from the harvest to the yields.
    parts: Vec<Part>,
    yields: Yields<R>,
    /// How many inputs were taken.
    taken: u64,
    /// How many results were yielded.
    yielded: u64,
    /// How many results had been yielded when other tasks had their last turn.
    rested: u64,
    limit: Option<Limit>,
    expiry: Expiry,
    aborts_on_drop: bool,
    /// How often an item may be begun again.
    retries: u32,
    /// Decides whether it is, if the user does.
    repeats: Option<Repeats<R>>,
}

/// A result with the number of its input.
type Item<R> = (u64, Result<R, TaskError>);

/// Whether the time is up.
enum Expiry {
    No,
    /// It is, and no item says so; this comes after the last one.
    LastWords(TaskError),
    /// It was, and that has been said.
    Over,
}

/// The time that everything may take.
struct Limit {
    duration: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl<R, S> Flow<R, S> {
    pub(super) fn new<F: 'static>(pool: Arc<Pool>, inputs: S) -> Self {
        let name = std::any::type_name::<F>();
        let function = Registry::global().lookup::<F>();
        let function = function.ok_or_else(|| submit_error(name, Cause::Unregistered(name)));
        let budget = Budget::new(HOLD, pool.max_workers());
        let position = function.as_ref().map_or(0, |(position, _)| *position);
        let harvest = Harvest::new(position, budget);
        let timeout = pool.default_wishes().timeout;
        harvest.set_limits(|limits| limits.timeout = timeout);
        let pace = Pace::new(pool.max_workers());
        let mut flow = Self {
            name,
            extras: Extras::default(),
            function: function.map(|(_, function)| function),
            context_fault: None,
            limits_fault: None,
            inputs: Some(inputs),
            intake: Intake::default(),
            sealed: None,
            room: PollSemaphore::new(pool.places()),
            pace,
            harvest,
            parts: Vec::new(),
            yields: Yields::new(name, pool.max_payload),
            taken: 0,
            yielded: 0,
            rested: 0,
            limit: None,
            expiry: Expiry::No,
            aborts_on_drop: true,
            retries: 0,
            repeats: None,
            pool,
        };
        flow.set_chunk_size(None);
        flow
    }

    /// `None`: as many as is good, but one if each task counts for its worker.
    pub(super) fn set_chunk_size(&mut self, items: Option<usize>) {
        self.pace.set_chunk_size(items.or(self.pool.counts_tasks.then_some(1)));
    }

    pub(super) fn set_buffer_size(&mut self, items: Option<usize>) {
        self.pace.set_buffer_size(items);
        self.set_budget(items.map_or(HOLD, |_| u64::MAX));
    }

    /// How many bytes of arguments and results may be held.
    pub(super) fn set_budget(&mut self, bytes: u64) {
        self.harvest.set_budget(Budget::new(bytes, self.pool.max_workers()));
    }

    pub(super) fn set_unordered(&mut self) {
        self.yields.set_unordered();
    }

    pub(super) fn set_item_limits(&mut self, change: impl FnOnce(&mut ItemLimits)) {
        self.harvest.set_limits(change);
    }

    pub(super) fn set_retries(&mut self, retries: u32) {
        self.retries = retries;
        // If the user decides the scheduler does not.
        let own = if self.repeats.is_none() { retries } else { 0 };
        self.harvest.set_limits(|limits| limits.retries = own);
    }

    pub(super) fn set_condition<P>(&mut self, predicate: P)
    where
        P: Fn(Result<&R, &TaskError>) -> bool + Send + Sync + 'static,
        R: DeserializeOwned + 'static,
    {
        self.repeats = Some(Repeats::new(predicate, self.name, self.pool.max_payload));
        self.harvest.set_repeats();
        self.set_retries(self.retries);
    }

    pub(super) fn set_label(&mut self, label: Arc<str>) {
        self.extras.label = Some(label);
        self.harvest.set_extras(self.extras.clone());
    }

    pub(super) fn set_context<C>(&mut self, context: &C)
    where
        C: Serialize + DeserializeOwned + 'static,
    {
        #[cfg(feature = "hosts")]
        let _far = self.pool.going_far();
        let context = TaskContext::new(context, self.pool.max_payload);
        let fault = context.as_ref().err().cloned();
        self.context_fault = fault.map(|cause| submit_error(self.name, cause));
        self.extras.context = context.ok();
        self.harvest.set_extras(self.extras.clone());
    }

    pub(super) fn set_resource_limits(&mut self, limits: Option<ResourceLimits>) {
        self.extras.set_limits(limits);
        self.limits_fault = self.extras.fault().map(|cause| submit_error(self.name, cause));
        self.harvest.set_extras(self.extras.clone());
    }

    pub(super) fn set_abort_on_drop(&mut self, abort: bool) {
        self.aborts_on_drop = abort;
    }

    #[track_caller]
    pub(super) fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = None;
        if let Some(duration) = limit {
            // Not in a closure: the place of a panic is the caller's.
            self.limit = Some(Limit { duration, sleep: Box::pin(tokio::time::sleep(duration)) });
        }
    }

    pub(super) fn poll_next<A>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(u64, Result<R, TaskError>)>>
    where
        A: Serialize,
        S: Stream<Item = A> + Unpin,
        R: DeserializeOwned,
    {
        let sated = self.take_inputs(cx);
        if let Some(item) = self.pop(Yields::pop) {
            return Poll::Ready(Some(item));
        }
        // From here on not for each item, but for each part.
        if self.poll_limit(cx).is_ready() {
            self.expire();
        }
        if self.yielded - self.rested >= RESULTS_AT_A_TIME {
            self.rested = self.yielded;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ask_for_more(false);
        loop {
            if let Some(item) = self.pop(Yields::pop_next_part) {
                return Poll::Ready(Some(item));
            }
            if self.harvest.poll_parts(cx, &mut self.parts).is_pending() {
                break;
            }
            self.bring_in();
        }
        self.repeat(); // perhaps for the next time: who is not over now wakes this
        if self.is_over() {
            let error =
                self.take_last_words().map(|error| error.labelled(self.extras.label.as_ref()));
            return Poll::Ready(error.map(|error| (self.taken, Err(error))));
        }
        self.rested = self.yielded;
        if sated {
            // What was taken must not wait for more, which may never come.
            self.send(cx);
            self.ask_for_more(true);
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    #[inline]
    fn pop(&mut self, pop: impl Fn(&mut Yields<R>) -> Option<Item<R>>) -> Option<Item<R>> {
        self.yielded += 1; // counts even if the item's `Deserialize` panics
        let Some((number, result)) = pop(&mut self.yields) else {
            self.yielded -= 1;
            return None;
        };
        if self.sealed.is_some() {
            // Nobody polls the stream while the result is looked at; a place that it was given
            // meanwhile would be missing to others.
            self.room = PollSemaphore::new(self.pool.places());
        }
        Some((number, result.map_err(|error| error.labelled(self.extras.label.as_ref()))))
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>)
    where
        S: Stream,
    {
        let under_way = usize::try_from(self.taken - self.yielded).unwrap_or(usize::MAX);
        let inputs = self.inputs.as_ref().map_or((0, Some(0)), S::size_hint);
        let least = under_way.saturating_add(inputs.0);
        let most = inputs.1.and_then(|most| most.checked_add(under_way));
        match self.limit {
            // What is last may be an error that belongs to no input.
            Some(_) => (0, most.and_then(|most| most.checked_add(1))),
            None => (least, most),
        }
    }

    // ----- inputs -----

    /// Takes inputs until enough are under way, and sends full chunks; false if it has only paused.
    fn take_inputs<A>(&mut self, cx: &mut Context<'_>) -> bool
    where
        A: Serialize,
        S: Stream<Item = A> + Unpin,
    {
        for _ in 0..INPUTS_AT_A_TIME {
            let full = self.intake.count() >= self.pace.chunk_size() || self.intake.is_full();
            if (full || self.sealed.is_some()) && !self.send(cx) {
                return true;
            }
            if self.taken - self.yielded >= self.pace.look_ahead()
                || (self.intake.count() == 0 && self.has_enough())
            {
                return true;
            }
            let Some(inputs) = &mut self.inputs else { return true };
            match Pin::new(inputs).poll_next(cx) {
                Poll::Ready(Some(args)) => self.take(&args),
                Poll::Ready(None) => {
                    self.inputs = None;
                    self.send(cx);
                    return true;
                }
                Poll::Pending => return true,
            }
        }
        false
    }

    /// Whether no further chunk shall be put together now. That is not asked for each item.
    fn has_enough(&self) -> bool {
        self.harvest.is_paused() || self.harvest.has_enough()
    }

    fn take(&mut self, args: &impl Serialize) {
        let added =
            match (&self.function, self.context_fault.as_ref().or(self.limits_fault.as_ref())) {
                (Ok(function), None) => {
                    #[cfg(feature = "hosts")]
                    let _far = self.pool.going_far();
                    let added = self.intake.add(args, self.pool.max_payload, function.arguments());
                    added
                        .map_err(|error| submit_error(self.name, Cause::encoding(self.name, error)))
                }
                (Err(error), _) | (_, Some(error)) => Err(error.clone()),
            };
        if let Err(error) = added {
            self.seal();
            self.refuse(self.taken, 1, error);
        }
        self.taken += 1;
    }

    fn refuse(&mut self, first: u64, count: u32, error: SubmitError) {
        self.yields.add(Part::refused(first, count, error.into()));
    }

    /// Ends the chunk that is being put together, unless one is waiting already.
    fn seal(&mut self) {
        if self.intake.count() > 0 && self.sealed.is_none() {
            let first = self.taken - u64::from(self.intake.count());
            let sealed = self.intake.seal();
            self.pace.made(sealed.count, sealed.items.len());
            self.sealed = Some((first, sealed));
        }
    }

    /// Sends what has been taken; false if it has to wait for room in the queue.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        self.seal();
        if self.sealed.is_none() {
            return true;
        }
        let Poll::Ready(room) = self.room.poll_acquire(cx) else { return false };
        let Some((first, chunk)) = self.sealed.take() else { return true };
        match room {
            Some(room) => {
                let Sealed { items, count } = chunk;
                room.forget();
                self.pool.enqueue_chunk(&self.harvest, (first, count), items);
            }
            None => self.refuse(first, chunk.count, self.pool.refusal(self.name)),
        }
        true
    }

    // ----- results -----

    fn bring_in(&mut self) {
        for part in self.parts.drain(..) {
            if let Content::Entries { bytes, skip, nanos: Some(nanos), .. } = &part.content {
                self.pace.done(part.count + skip, bytes.len(), *nanos);
            }
            let is_last = part.attempt > self.retries || self.pool.commons.closed.get().is_some();
            match &mut self.repeats {
                Some(repeats) if !is_last => repeats.divide(part, &mut self.yields),
                _ => self.yields.add(part),
            }
        }
        self.repeat();
    }

    /// Queues what is to be begun again, as far as its attempt before is over.
    fn repeat(&mut self) {
        if let Some(repeats) = &mut self.repeats {
            repeats.waiting.retain(|item| !self.pool.repeat_item(&self.harvest, item));
        }
    }

    /// What is held back may be sent if there is room, or if the stream waits for that alone.
    fn ask_for_more(&self, waits: bool) {
        if self.harvest.asks(waits) {
            self.pool.commons.send(Command::Regulate(Arc::clone(&self.harvest)));
        }
    }

    fn is_over(&self) -> bool {
        self.inputs.is_none() && self.taken == self.yielded
    }

    fn take_last_words(&mut self) -> Option<TaskError> {
        let Expiry::LastWords(error) = std::mem::replace(&mut self.expiry, Expiry::Over) else {
            return None;
        };
        Some(error)
    }

    // ----- the limit -----

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.limit {
            Some(limit) if matches!(self.expiry, Expiry::No) => limit.sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Keeps what has come, and ends everything else: each input that was taken has a result or an
    /// error.
    fn expire(&mut self) {
        let unfinished = self.close(true);
        let repeats = self.repeats.take();
        for item in repeats.into_iter().flat_map(|repeats| repeats.waiting) {
            let RepeatedItem { number: first, task, attempt, .. } = item;
            let error = self.too_late(Subject::Task(task, self.name), attempt - 1);
            let content = Content::Failed(error);
            self.yields.add(Part { first, task, count: 1, attempt, items: None, content });
        }
        self.bring_in();
        let is_said = !unfinished.is_empty();
        for UnfinishedChunk { first, task, count, cell } in unfinished {
            let attempt = cell.attempt().unwrap_or(1);
            let content = Content::Failed(self.too_late(Subject::Task(task, self.name), attempt));
            self.yields.add(Part { first, task, count, attempt, items: None, content });
        }
        let error = self.too_late(Subject::Submission(self.name), 1);
        let building = self.taken - u64::from(self.intake.seal().count);
        let unsent = self.sealed.take().map_or(building, |(first, _)| first);
        let count = u32::try_from(self.taken - unsent).unwrap_or(u32::MAX);
        if count > 0 {
            self.yields.add(Part::refused(unsent, count, error.clone()));
        }
        let all_taken = self.inputs.take().is_none();
        let is_said = is_said || count > 0 || all_taken;
        self.expiry = if is_said { Expiry::Over } else { Expiry::LastWords(error) };
    }

    #[cold]
    fn too_late(&self, subject: Subject, attempt: u32) -> TaskError {
        let limit = self.limit.as_ref().map(|limit| limit.duration);
        let cause = Cause::MapExpired(limit.unwrap_or_default());
        TaskError::new(ErrorReport { subject, label: None, worker: None, attempt, cause })
    }

    /// Cancels all items that have not begun, and aborts the others if `abort` says so. Parts that
    /// have come are kept.
    fn close(&mut self, abort: bool) -> Vec<UnfinishedChunk> {
        let chunks = self.harvest.close(&mut self.parts);
        for chunk in &chunks {
            let handle = TaskHandle::<()>::new(chunk.cell.clone(), Arc::clone(&self.pool.commons));
            if handle.cancel() {
                continue;
            }
            if let Some(claim) = chunk.cell.claim() {
                let _ = claim.stop();
            }
            if abort {
                handle.abort();
            }
        }
        chunks
    }
}

impl<R, S> Drop for Flow<R, S> {
    fn drop(&mut self) {
        self.close(self.aborts_on_drop);
    }
}

impl<R, S> fmt::Debug for Flow<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("function", &self.name)
            .field("taken", &self.taken)
            .field("yielded", &self.yielded)
            .finish_non_exhaustive()
    }
}
