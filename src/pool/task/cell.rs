//! What is kept of one task, from its submission until nobody asks for it any more.

mod decision;
mod emitted;
mod place;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Poll, Waker};

use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::base::maps::SortedMap;
use crate::base::sync::Mutex;
use crate::base::{ResourceLimits, TaskId, WorkerId};
use crate::error::{Cause, ErrorReport, Subject, TaskError};
use crate::function::Registry;
use crate::memory::Payload;
use crate::memory::page::{Asked, Claim, Revocation};
use crate::pool::task::condition::Decoded;
use crate::pool::task::emissions::Emissions;
use crate::pool::task::extras::{Extras, ExtrasFrame};
use crate::pool::task::progress::{Progress, Reports};
use crate::pool::task::waiters::Waiters;
use crate::wire::message::Slot;

/// An encoded result, or why there is none.
pub(crate) type Resolution = Result<Payload, TaskError>;

type Callback = Box<dyn FnOnce(&Resolution) + Send>;

/// Where a task stands, in Python's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It has not begun; it can still be cancelled.
    Pending,
    /// It has begun in a worker.
    Running,
    /// It has a result or an error.
    Finished,
    /// It was cancelled.
    Cancelled,
}

/// What the handle of a task and the supervisor share; one allocation for each task, so it is
/// small, and what few tasks have is elsewhere.
///
/// ```text
///         send                 resolve
/// Queued ──────▶ Sent ─────────────────────▶ Done
///   │  ▲          │ │ cancel, if its claim     ▲
///   │  └──────────┘ └ can be revoked ──────────┤
///   │    requeue                               │
///   └──────────────────────── cancel, resolve ─┘
/// ```
pub(crate) struct TaskCell {
    id: TaskId,
    /// When the supervisor took it over, in nanoseconds.
    accepted: AtomicU64,
    /// The function's position in the registry.
    function: u32,
    /// [`LABELLED`], [`ABORTED_ON_DROP`], [`BEGUN`]: one more `bool` would make it larger.
    traits: AtomicU8,
    /// It has a place in the bounded queue, or that of a worker. Only the supervisor changes that.
    has_place: AtomicBool,
    /// As the stage says, for those who need not know it to the nanosecond.
    is_over: AtomicBool,
    /// Somebody waits for its begin. Changed and looked at while the pool's view is locked.
    is_awaited: AtomicBool,
    state: Mutex<CellState>,
}

/// It has a label, which few have, so it is elsewhere.
const LABELLED: u8 = 1;
/// It is aborted when its handle is dropped.
const ABORTED_ON_DROP: u8 = 2;
/// It has begun, and has its place still.
const BEGUN: u8 = 4;

struct CellState {
    /// What becomes of the task; until that is known its arguments.
    content: Resolution,
    waker: Option<Waker>,
    /// What was agreed with the worker that has it, if that one takes part in claims.
    claim: Option<Claim>,
    watchers: Option<Box<Watchers>>,
    /// The last worker it was sent to; zero if it was never sent.
    worker: WorkerId,
    /// At which attempt that was; of an item that is begun again and was not sent yet, the attempt
    /// before; zero if it was never begun.
    attempt: u32,
    stage: TaskStage,
    /// The supervisor has been asked to end it.
    aborted: bool,
    /// There is a handle that may ask for what it emits.
    is_held: bool,
}

/// Those who want to know more of a task than its result.
#[derive(Default)]
struct Watchers {
    callbacks: Vec<Callback>,
    reports: Reports,
    /// Who waits for its begin.
    starters: Waiters,
    extras: Extras,
    /// Until it begins, if that is counted: what its arguments take of the bytes that may wait.
    bytes: Option<OwnedSemaphorePermit>,
    /// The result, if it has been decoded.
    decoded: Option<Decoded>,
    /// Once it has emitted something, or somebody has asked for that.
    emissions: Option<Box<Emissions>>,
}

/// What its worker is sent of a task.
pub(crate) struct Sending {
    pub(crate) arguments: Payload,
    /// Somebody may take what it emits.
    pub(crate) is_heard: bool,
    pub(crate) extras: Option<Box<ExtrasFrame>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TaskStage {
    Queued,
    /// In the hands of a worker. Without a claim it counts as begun.
    Sent,
    /// Kept until the last handle is gone, so it can be looked at more than once.
    Done,
}

impl CellState {
    fn watchers(&mut self) -> &mut Watchers {
        self.watchers.get_or_insert_default()
    }

    fn label(&self) -> Option<Arc<str>> {
        self.watchers.as_ref()?.extras.label.clone()
    }

    fn is_done(&self) -> bool {
        self.stage == TaskStage::Done
    }

    /// The claim of a task that is in the hands of a worker.
    fn sent_claim(&self) -> Option<&Claim> {
        self.claim.as_ref().filter(|_| self.stage == TaskStage::Sent)
    }

    fn status(&self) -> TaskStatus {
        match (self.stage, &self.claim) {
            (TaskStage::Queued, _) => TaskStatus::Pending,
            (TaskStage::Sent, Some(claim)) if !claim.has_begun() => TaskStatus::Pending,
            (TaskStage::Sent, _) => TaskStatus::Running,
            (TaskStage::Done, _) if self.is_cancelled() => TaskStatus::Cancelled,
            (TaskStage::Done, _) => TaskStatus::Finished,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_done() && self.content.as_ref().is_err_and(TaskError::is_cancelled)
    }
}

impl TaskCell {
    /// All tasks have a place but chunks that were cut off another one, and items that are begun
    /// again.
    pub(crate) fn new(
        id: TaskId,
        function: u32,
        arguments: Payload,
        has_place: bool,
        extras: Extras,
    ) -> Arc<Self> {
        let is_held = extras.is_held;
        let traits = if extras.label.is_some() { LABELLED } else { 0 };
        let watchers =
            (!extras.is_empty()).then(|| Box::new(Watchers { extras, ..Watchers::default() }));
        let state = CellState {
            content: Ok(arguments),
            waker: None,
            claim: None,
            watchers,
            worker: WorkerId(0),
            attempt: 0,
            stage: TaskStage::Queued,
            aborted: false,
            is_held,
        };
        Arc::new(Self {
            id,
            accepted: AtomicU64::new(0),
            function,
            traits: AtomicU8::new(traits),
            has_place: AtomicBool::new(has_place),
            is_over: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    /// The name of its function.
    pub(crate) fn name(&self) -> &'static str {
        Registry::global().path(self.function)
    }

    /// What the user calls it.
    pub(crate) fn label(&self) -> Option<Arc<str>> {
        if self.has(LABELLED) { self.state.lock().label() } else { None }
    }

    fn has(&self, what: u8) -> bool {
        self.traits.load(Ordering::Relaxed) & what != 0
    }

    /// Whether it has to be aborted now that its handle is dropped. It has not if it is over.
    pub(crate) fn is_aborted_on_drop(&self) -> bool {
        self.has(ABORTED_ON_DROP) && !self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn set_aborted_on_drop(&self, aborted: bool) {
        if aborted {
            self.traits.fetch_or(ABORTED_ON_DROP, Ordering::Relaxed);
        } else {
            self.traits.fetch_and(!ABORTED_ON_DROP, Ordering::Relaxed);
        }
    }

    /// Its name and that of its function, for people to read.
    pub(crate) fn title(&self) -> String {
        match self.label() {
            Some(label) => format!("{} {label:?} ({})", self.id, self.name()),
            None => format!("{} ({})", self.id, self.name()),
        }
    }

    /// The position of its function.
    pub(crate) fn function(&self) -> u32 {
        self.function
    }

    // ----- the supervisor's side -----

    /// The supervisor has taken it over.
    pub(crate) fn accept(&self, now: u64) {
        self.accepted.store(now, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The limits that it has for itself, if it runs.
    pub(crate) fn running_limits(&self) -> Option<Arc<ResourceLimits>> {
        let state = self.state.lock();
        let watchers = state.watchers.as_ref().filter(|_| state.status() == TaskStatus::Running);
        watchers?.extras.limits.clone()
    }

    /// What it has beside its arguments.
    pub(crate) fn extras(&self) -> Extras {
        let state = self.state.lock();
        state.watchers.as_ref().map(|watchers| watchers.extras.clone()).unwrap_or_default()
    }

    /// The supervisor sends the task; returns what is sent, unless it has been cancelled in the
    /// meantime. The claim is kept until it is [taken](Self::take_claim).
    pub(crate) fn send(
        &self,
        worker: WorkerId,
        attempt: u32,
        claim: Option<Claim>,
    ) -> Option<Sending> {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.claim, claim);
        let arguments = match &state.content {
            Ok(arguments) if state.stage == TaskStage::Queued => Some(arguments.clone()),
            _ => None,
        };
        state.worker = worker;
        let sending = arguments.map(|arguments| {
            state.stage = TaskStage::Sent;
            state.attempt = attempt;
            let (is_heard, allowance) = state.begin_to_emit(attempt);
            let watchers = state.watchers.as_ref();
            let extras = watchers.and_then(|watchers| watchers.extras.frame(self.id, allowance));
            Sending { arguments, is_heard, extras }
        });
        drop((state, before));
        sending
    }

    /// The worker in whose hands the task is, and at which attempt.
    pub(crate) fn holder(&self) -> Option<(WorkerId, u32)> {
        let state = self.state.lock();
        (state.stage == TaskStage::Sent).then_some((state.worker, state.attempt))
    }

    /// It is an item that was begun so often before, in other cells.
    pub(super) fn set_attempts_before(&self, attempts: u32) {
        self.state.lock().attempt = attempts;
    }

    /// The last attempt at which it was sent to a worker.
    pub(crate) fn attempt(&self) -> Option<u32> {
        Some(self.state.lock().attempt).filter(|attempt| *attempt > 0)
    }

    /// The supervisor has taken the task back.
    pub(crate) fn requeue(&self) {
        let mut state = self.state.lock();
        if state.stage == TaskStage::Sent {
            state.stage = TaskStage::Queued;
        }
    }

    /// Takes what was agreed with the last worker that it was sent to.
    pub(crate) fn take_claim(&self) -> Option<(WorkerId, Slot)> {
        let mut state = self.state.lock();
        let claim = state.claim.take()?;
        let worker = state.worker;
        drop(state);
        Some((worker, claim.slot()))
    }

    /// The supervisor wants the task back.
    pub(crate) fn revoke(&self) -> Revocation {
        let state = self.state.lock();
        match (state.stage, &state.claim) {
            (TaskStage::Sent, Some(claim)) => claim.revoke(),
            (TaskStage::Sent, None) => Revocation::Begun,
            (TaskStage::Queued | TaskStage::Done, _) => Revocation::AlreadyRevoked,
        }
    }

    /// What was agreed with the worker that has the task, if it is in the hands of one that takes
    /// part in claims.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.state.lock().sent_claim().cloned()
    }

    /// What it is called with, if it is not over.
    pub(crate) fn arguments(&self) -> Payload {
        let state = self.state.lock();
        match &state.content {
            Ok(arguments) if !state.is_done() => arguments.clone(),
            _ => Payload::default(),
        }
    }

    /// Whether somebody waits for its begin. The pool's view is locked.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }

    /// Whom to wake as it is about to begin. The pool's view is locked.
    pub(crate) fn take_starters(&self) -> SortedMap<u64, Waker> {
        self.is_awaited.store(false, Ordering::Relaxed);
        self.state.lock().watchers().starters.take()
    }

    /// It is to be called with these, if it is not over.
    pub(crate) fn set_arguments(&self, arguments: Payload) {
        let mut state = self.state.lock();
        if !state.is_done() {
            state.content = Ok(arguments);
        }
    }

    /// The supervisor asks the running task to end.
    pub(crate) fn ask(&self) -> Asked {
        self.state.lock().sent_claim().map_or(Asked::Impossible, Claim::ask)
    }

    /// Whether the user has cancelled the task.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_over.load(Ordering::Acquire) && self.state.lock().is_cancelled()
    }

    /// The task has reported how far it has come: `done` of `total`, and a message.
    pub(crate) fn report_progress(&self, done: u64, total: u64, message: String) {
        let mut state = self.state.lock();
        if state.is_done() {
            return;
        }
        let attempt = state.attempt.max(1);
        let waiting = state.watchers().reports.put(Progress { done, total, message, attempt });
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Sets what became of the task. The first one counts.
    pub(crate) fn resolve(&self, resolution: Resolution) {
        self.finish(self.state.lock(), resolution);
    }

    /// Nobody is left who could resolve it otherwise.
    pub(crate) fn give_up(&self, cause: Cause) {
        if self.is_over.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        if !state.is_done() {
            let error = self.report(&state, cause);
            let claim = state.claim.take(); // a handle that is kept must not keep the worker's page
            self.finish(state, Err(error));
            drop(claim);
        }
    }

    fn finish(&self, mut state: MutexGuard<'_, CellState>, resolution: Resolution) {
        if state.is_done() {
            return;
        }
        let (mut callbacks, mut waiting) = (Vec::new(), Vec::new());
        if let Some(watchers) = &mut state.watchers {
            callbacks = std::mem::take(&mut watchers.callbacks);
            waiting.extend(watchers.reports.readers.take().into_values());
            waiting.extend(watchers.starters.take().into_values());
            if let Some(emissions) = &mut watchers.emissions {
                waiting.extend(emissions.readers.take().into_values());
            }
        }
        let for_callbacks = (!callbacks.is_empty()).then(|| resolution.clone());
        let arguments = std::mem::replace(&mut state.content, resolution);
        state.stage = TaskStage::Done;
        self.is_over.store(true, Ordering::Release);
        let waker = state.waker.take();
        drop(arguments); // before anybody sees the result: what it keeps may be wanted then
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        waiting.into_iter().for_each(Waker::wake);
        if let Some(resolution) = for_callbacks {
            for callback in callbacks {
                self.call(callback, &resolution);
            }
        }
    }

    fn call(&self, callback: Callback, resolution: &Resolution) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(resolution))) {
            std::mem::forget(panic); // its drop is user code that may panic, too
            crate::base::log::error!("a done callback of {} panicked", self.title());
        }
    }

    /// An error of this task.
    pub(crate) fn error(&self, cause: Cause) -> TaskError {
        self.report(&self.state.lock(), cause)
    }

    fn report(&self, state: &CellState, cause: Cause) -> TaskError {
        let subject = Subject::Task(self.id, self.name());
        let worker = Some(state.worker).filter(|worker| *worker != WorkerId(0));
        let (label, attempt) = (state.label(), state.attempt.max(1));
        TaskError::new(ErrorReport { subject, label, worker, attempt, cause })
    }

    // ----- the handle's side -----

    pub(crate) fn status(&self) -> TaskStatus {
        self.state.lock().status()
    }

    /// Cancels the task unless it has begun.
    pub(crate) fn cancel(&self) -> Cancellation {
        let state = self.state.lock();
        match (state.stage, &state.claim) {
            (TaskStage::Done, _) if state.is_cancelled() => Cancellation::Already,
            (TaskStage::Done, _) | (TaskStage::Sent, None) => Cancellation::TooLate,
            (TaskStage::Sent, Some(claim)) if claim.revoke() == Revocation::Begun => {
                Cancellation::TooLate
            }
            (TaskStage::Sent, Some(_)) | (TaskStage::Queued, _) => {
                let error = self.report(&state, Cause::Cancelled);
                self.finish(state, Err(error));
                Cancellation::Now
            }
        }
    }

    /// Whether the supervisor has to be asked to end the task.
    pub(crate) fn abort(&self) -> bool {
        let mut state = self.state.lock();
        let asked = std::mem::replace(&mut state.aborted, true);
        !asked && !state.is_done()
    }

    /// What became of it; and whether the supervisor has to be told that nobody takes what it
    /// emits.
    pub(crate) fn poll(&self, waker: &Waker) -> (Poll<Resolution>, bool) {
        let mut state = self.state.lock();
        if state.is_done() {
            return (Poll::Ready(state.content.clone()), false);
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        let (asks, left) = state.close_if_forsaken();
        drop(state);
        drop(left); // only now that the cell is unlocked
        (Poll::Pending, asks)
    }

    pub(crate) fn add_callback(&self, callback: Callback) {
        let mut state = self.state.lock();
        if state.is_done() {
            let resolution = state.content.clone();
            drop(state);
            self.call(callback, &resolution);
        } else {
            state.watchers().callbacks.push(callback);
        }
    }

    /// Where it stands once it has begun or is over. Until then the waker is kept, and woken when
    /// it is about to begin, or over. The pool's view must be locked.
    pub(crate) fn poll_started(
        &self,
        place: &mut Option<u64>,
        waker: &Waker,
    ) -> (Poll<TaskStatus>, Option<Waker>) {
        let mut state = self.state.lock();
        let status = state.status();
        if status != TaskStatus::Pending {
            return (Poll::Ready(status), None);
        }
        let starters = &mut state.watchers().starters;
        let place = *place.get_or_insert_with(|| starters.add());
        let replaced = starters.wait(place, waker);
        self.is_awaited.store(true, Ordering::Relaxed);
        (Poll::Pending, replaced)
    }

    pub(crate) fn remove_starter(&self, place: u64) {
        let waker = self.state.lock().watchers().starters.remove(place);
        drop(waker); // only now that the cell is unlocked
    }

    pub(crate) fn add_reader(&self) -> u64 {
        self.state.lock().watchers().reports.readers.add()
    }

    pub(crate) fn remove_reader(&self, reader: u64) {
        let waker = self.state.lock().watchers().reports.readers.remove(reader);
        drop(waker); // only now that the cell is unlocked
    }

    /// The latest report and its number, unless it was seen; `None` if no more will come.
    pub(crate) fn poll_progress(
        &self,
        reader: u64,
        seen: u64,
        waker: &Waker,
    ) -> Poll<Option<(u64, Progress)>> {
        let mut state = self.state.lock();
        let unseen = state.watchers().reports.unseen(seen);
        if unseen.is_some() || state.is_done() {
            return Poll::Ready(unseen);
        }
        let replaced = state.watchers().reports.readers.wait(reader, waker);
        drop(state);
        drop(replaced); // only now that the cell is unlocked
        Poll::Pending
    }
}

/// What came of an attempt to cancel a task.
pub(crate) enum Cancellation {
    Now,
    Already,
    TooLate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_one_small_allocation() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<TaskCell>() + counts <= 128, "{}", size_of::<TaskCell>());
    }
}
