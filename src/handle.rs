//! Awaiting, asking and cancelling one task.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use serde::de::DeserializeOwned;

use crate::blocking::block_on;
use crate::claim::{Asked, Claim, Revocation};
use crate::codec::decode;
use crate::error::{Cause, Report, Subject, TaskError, Value};
use crate::id::{TaskId, WorkerId};
use crate::payload::Payload;
use crate::progress::{Progress, ProgressStream, Reports};
use crate::supervisor::{Command, Commands};

/// Where a task stands, in Python's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// An encoded result, or why there is none.
pub(crate) type Resolution = Result<Payload, TaskError>;

pub(crate) type Callback = Box<dyn FnOnce(&Resolution) + Send>;

/// What the handle of a task and the supervisor share.
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
    function: &'static str,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// The last worker it was sent to, and at which attempt.
    sent: Option<(WorkerId, u32)>,
    /// The supervisor has been asked to end it.
    aborted: bool,
    waker: Option<Waker>,
    callbacks: Vec<Callback>,
    /// Most tasks have none.
    reports: Option<Box<Reports>>,
}

impl State {
    fn reports(&mut self) -> &mut Reports {
        self.reports.get_or_insert_default()
    }
}

enum Stage {
    Queued,
    /// In the hands of a worker. Without a claim it counts as begun.
    Sent(Option<Claim>),
    /// Kept until the last handle is gone, so it can be looked at more than once.
    Done(Resolution),
}

impl TaskCell {
    pub(crate) fn new(id: TaskId, function: &'static str) -> Arc<Self> {
        let state = State {
            stage: Stage::Queued,
            sent: None,
            aborted: false,
            waker: None,
            callbacks: Vec::new(),
            reports: None,
        };
        Arc::new(Self { id, function, state: Mutex::new(state) })
    }

    pub(crate) fn id(&self) -> TaskId {
        self.id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held, so it is never really poisoned.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor sends the task; false if it has been cancelled in the meantime.
    pub(crate) fn send(&self, worker: WorkerId, attempt: u32, claim: Option<Claim>) -> bool {
        let mut state = self.lock();
        let queued = matches!(state.stage, Stage::Queued);
        if queued {
            state.stage = Stage::Sent(claim);
            state.sent = Some((worker, attempt));
        }
        queued
    }

    pub(crate) fn function(&self) -> &'static str {
        self.function
    }

    /// The worker in whose hands the task is, and at which attempt.
    pub(crate) fn holder(&self) -> Option<(WorkerId, u32)> {
        let state = self.lock();
        state.sent.filter(|_| matches!(state.stage, Stage::Sent(_)))
    }

    /// The last attempt at which it was sent to a worker.
    pub(crate) fn attempt(&self) -> Option<u32> {
        self.lock().sent.map(|(_, attempt)| attempt)
    }

    /// The supervisor has taken the task back.
    pub(crate) fn requeue(&self) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Sent(_)) {
            state.stage = Stage::Queued;
        }
    }

    /// The supervisor wants the task back.
    pub(crate) fn revoke(&self) -> Revocation {
        match &self.lock().stage {
            Stage::Sent(Some(claim)) => claim.revoke(),
            Stage::Sent(None) => Revocation::Begun,
            Stage::Queued | Stage::Done(_) => Revocation::AlreadyRevoked,
        }
    }

    /// What was agreed with the worker that has the task, if it is in the hands of one that takes part
    /// in claims.
    pub(crate) fn claim(&self) -> Option<Claim> {
        match &self.lock().stage {
            Stage::Sent(claim) => claim.clone(),
            Stage::Queued | Stage::Done(_) => None,
        }
    }

    /// The supervisor asks the running task to end.
    pub(crate) fn ask(&self) -> Asked {
        match &self.lock().stage {
            Stage::Sent(Some(claim)) => claim.ask(),
            Stage::Sent(None) | Stage::Queued | Stage::Done(_) => Asked::Impossible,
        }
    }

    /// Whether the user has cancelled the task.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.status() == TaskStatus::Cancelled
    }

    /// The task has reported how far it has come: `done` of `total`, and a message.
    pub(crate) fn report_progress(&self, done: u64, total: u64, message: String) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Done(_)) {
            return;
        }
        let attempt = state.sent.map_or(1, |(_, attempt)| attempt);
        let waiting = state.reports().put(Progress { done, total, message, attempt });
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    pub(crate) fn add_reader(&self) -> u64 {
        self.lock().reports().add_reader()
    }

    pub(crate) fn remove_reader(&self, reader: u64) {
        let waker = self.lock().reports().remove_reader(reader);
        drop(waker); // only now that the cell is unlocked
    }

    /// The latest report and its number, unless it was seen; `None` if no more will come.
    pub(crate) fn poll_progress(
        &self,
        reader: u64,
        seen: u64,
        waker: &Waker,
    ) -> Poll<Option<(u64, Progress)>> {
        let mut state = self.lock();
        let unseen = state.reports().unseen(seen);
        if unseen.is_some() || matches!(state.stage, Stage::Done(_)) {
            return Poll::Ready(unseen);
        }
        let replaced = state.reports().wait(reader, waker);
        drop(state);
        drop(replaced); // only now that the cell is unlocked
        Poll::Pending
    }

    /// Sets what became of the task. The first one counts.
    pub(crate) fn resolve(&self, resolution: Resolution) {
        self.finish(self.lock(), resolution);
    }

    /// Nobody is left who could resolve it otherwise.
    pub(crate) fn give_up(&self) {
        let state = self.lock();
        if !matches!(state.stage, Stage::Done(_)) {
            let error = self.report(&state, Cause::ShutDown);
            self.finish(state, Err(error));
        }
    }

    fn finish(&self, mut state: MutexGuard<'_, State>, resolution: Resolution) {
        if matches!(state.stage, Stage::Done(_)) {
            return;
        }
        let callbacks = std::mem::take(&mut state.callbacks);
        let for_callbacks = (!callbacks.is_empty()).then(|| resolution.clone());
        state.stage = Stage::Done(resolution);
        let waker = state.waker.take();
        let readers = state.reports.as_mut().map(|reports| reports.take_waiting());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        readers.into_iter().flat_map(BTreeMap::into_values).for_each(Waker::wake);
        if let Some(resolution) = for_callbacks {
            for callback in callbacks {
                self.call(callback, &resolution);
            }
        }
    }

    fn call(&self, callback: Callback, resolution: &Resolution) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| callback(resolution))) {
            std::mem::forget(panic); // its drop is user code that may panic, too
            crate::log::error!("a done callback of {} ({}) panicked", self.id, self.function);
        }
    }

    fn status(&self) -> TaskStatus {
        match &self.lock().stage {
            Stage::Queued => TaskStatus::Pending,
            Stage::Sent(Some(claim)) if !claim.has_begun() => TaskStatus::Pending,
            Stage::Sent(_) => TaskStatus::Running,
            Stage::Done(Err(error)) if error.is_cancelled() => TaskStatus::Cancelled,
            Stage::Done(_) => TaskStatus::Finished,
        }
    }

    /// Cancels the task unless it has begun.
    fn cancel(&self) -> Cancellation {
        let state = self.lock();
        match &state.stage {
            Stage::Done(Err(error)) if error.is_cancelled() => Cancellation::Already,
            Stage::Done(_) | Stage::Sent(None) => Cancellation::TooLate,
            Stage::Sent(Some(claim)) if claim.revoke() == Revocation::Begun => {
                Cancellation::TooLate
            }
            Stage::Sent(Some(_)) | Stage::Queued => {
                let error = self.report(&state, Cause::Cancelled);
                self.finish(state, Err(error));
                Cancellation::Now
            }
        }
    }

    /// Whether the supervisor has to be asked to end the task.
    fn abort(&self) -> bool {
        let mut state = self.lock();
        let asked = std::mem::replace(&mut state.aborted, true);
        !asked && !matches!(state.stage, Stage::Done(_))
    }

    /// An error of this task.
    pub(crate) fn error(&self, cause: Cause) -> TaskError {
        self.report(&self.lock(), cause)
    }

    fn report(&self, state: &State, cause: Cause) -> TaskError {
        let subject = Subject::Task(self.id, self.function);
        let worker = state.sent.map(|(worker, _)| worker);
        let attempt = state.sent.map_or(1, |(_, attempt)| attempt);
        TaskError::new(Report { subject, worker, attempt, cause })
    }

    fn poll(&self, waker: &Waker) -> Poll<Resolution> {
        let mut state = self.lock();
        if let Stage::Done(resolution) = &state.stage {
            return Poll::Ready(resolution.clone());
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }

    pub(crate) fn add_callback(&self, callback: Callback) {
        let mut state = self.lock();
        if let Stage::Done(resolution) = &state.stage {
            let resolution = resolution.clone();
            drop(state);
            self.call(callback, &resolution);
        } else {
            state.callbacks.push(callback);
        }
    }

    /// What the awaiting side makes of the result's bytes.
    fn decode<R: DeserializeOwned>(&self, resolution: &Resolution) -> Result<R, TaskError> {
        match resolution {
            Ok(bytes) => decode(bytes)
                .map_err(|error| self.error(Cause::codec(Value::Result, "decoded", error))),
            Err(error) => Err(error.clone()),
        }
    }
}

enum Cancellation {
    Now,
    Already,
    TooLate,
}

/// Owned permission to await, observe and cancel one task; what
/// [`submit`](crate::ProcessPoolExecutor::submit) returns.
///
/// It is a future of the task's result. As with [`tokio::task::JoinHandle`], dropping it detaches
/// the task, which goes on; see [`abort_on_drop`](Self::abort_on_drop) for the opposite.
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = pool.submit(square, 12).await?;
/// println!("{} is {:?}", handle.id(), handle.status());
/// assert_eq!(handle.await?, 144);
/// # Ok(())
/// # }
/// ```
///
/// Several parties can await one result by `shared` of the `futures` crate, if it is `Clone`; all errors
/// are:
///
/// ```
/// # fn square(x: u64) -> u64 { x * x }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::FutureExt;
///
/// let result = pool.submit(square, 12).await?.shared();
/// let other = tokio::spawn(result.clone());
/// assert_eq!(result.await?, 144);
/// assert_eq!(other.await??, 144);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting `&mut handle` is cancel safe: if another branch of a `select!` is faster, the result is
/// still there for the next await. A handle may even be awaited again after it was ready; each
/// time the result is decoded anew.
#[must_use = "dropping the handle detaches the task; its result is lost"]
pub struct TaskHandle<R> {
    cell: Arc<TaskCell>,
    commands: Commands,
    result: PhantomData<fn() -> R>,
}

impl<R> TaskHandle<R> {
    pub(crate) fn new(cell: Arc<TaskCell>, commands: Commands) -> Self {
        Self { cell, commands, result: PhantomData }
    }

    /// The task's id, unique in its pool.
    pub fn id(&self) -> TaskId {
        self.cell.id
    }

    /// Where the task stands at this moment.
    pub fn status(&self) -> TaskStatus {
        self.cell.status()
    }

    /// Whether the task is over: finished or cancelled.
    pub fn is_done(&self) -> bool {
        matches!(self.status(), TaskStatus::Finished | TaskStatus::Cancelled)
    }

    /// What the task [reports](crate::Current::progress) of itself, as a stream that ends when the
    /// task is over. There may be several; each sees the latest report.
    ///
    /// ```
    /// # fn convert(file: String) -> usize { file.len() }
    /// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures::StreamExt;
    ///
    /// let handle = pool.submit(convert, "film.mkv".to_owned()).await?;
    /// let mut progress = handle.progress();
    /// while let Some(report) = progress.next().await {
    ///     println!("{} of {}: {}", report.done, report.total, report.message);
    /// }
    /// let size = handle.await?;
    /// # let _: usize = size;
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(Arc::clone(&self.cell))
    }

    /// Cancels the task if it has not begun: it will never begin, also if it was already sent ahead
    /// to a busy worker. Returns false if it runs or has finished, and true if it is cancelled now
    /// or was before. This is the `cancel` of Python's futures.
    pub fn cancel(&self) -> bool {
        match self.cell.cancel() {
            Cancellation::Now => {
                let _ = self.commands.send(Command::Cancel(self.cell.id)); // or the pool is gone
                true
            }
            Cancellation::Already => true,
            Cancellation::TooLate => false,
        }
    }

    /// Ends the task even if it runs, as Python's pools cannot. A task that looks whether it
    /// [is cancelled](crate::Current::is_cancelled) is asked first; if it returns, the handle
    /// resolves with its result, and its worker lives on. Otherwise its worker and what the task has
    /// started get SIGTERM, and SIGKILL after the [grace period](crate::Builder::grace_period). The
    /// worker is replaced; nobody else's task is touched. The handle resolves, as cancelled, once
    /// the worker is gone, or with the result if that was faster.
    pub fn abort(&self) {
        if !self.cancel() && self.cell.abort() {
            let _ = self.commands.send(Command::Abort(self.cell.id)); // or the pool is gone
        }
    }

    /// Turns the handle into one that [aborts](Self::abort) the task when it is dropped.
    pub fn abort_on_drop(self) -> AbortOnDrop<R> {
        AbortOnDrop(self)
    }

    /// Ready once the task is over. Its result is not decoded.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<Result<(), TaskError>> {
        self.cell.poll(cx.waker()).map(|resolution| resolution.map(drop))
    }
}

impl<R: DeserializeOwned> TaskHandle<R> {
    /// Blocks this thread until the task is over; for threads outside of the runtime, which cannot
    /// await the handle. The runtime of the pool must be driven meanwhile by another thread.
    ///
    /// # Errors
    ///
    /// As awaiting the handle.
    ///
    /// # Panics
    ///
    /// Within an asynchronous execution context, as
    /// [`blocking_recv`](tokio::sync::oneshot::Receiver::blocking_recv) of tokio's channels. Threads of
    /// [`spawn_blocking`](tokio::task::spawn_blocking) may call it.
    #[track_caller]
    pub fn blocking_wait(self) -> Result<R, TaskError> {
        block_on(self)
    }

    /// Calls `callback` with the result once the task is over, at once if it is already.
    ///
    /// Callbacks are called in the order in which they were added, on the pool's supervisor or on
    /// the thread that cancels; so they must be quick and must not block. They may submit, cancel
    /// and add further callbacks. One that panics is logged, and the next is called, as in Python.
    /// The result is decoded for each callback.
    pub fn add_done_callback<F>(&self, callback: F)
    where
        F: FnOnce(Result<R, TaskError>) + Send + 'static,
    {
        // The cell holds itself, but only until the task is over, and every task ends.
        let cell = Arc::clone(&self.cell);
        self.cell.add_callback(Box::new(move |resolution| callback(cell.decode(resolution))));
    }
}

impl<R: DeserializeOwned> Future for TaskHandle<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll(cx.waker()).map(|resolution| self.cell.decode(&resolution))
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.cell.id)
            .field("function", &self.cell.function)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A [`TaskHandle`] that aborts its task when it is dropped; what
/// [`abort_on_drop`](TaskHandle::abort_on_drop) returns.
///
/// ```
/// # fn search(text: String) -> usize { text.len() }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
/// let task = pool.submit(search, "needle".to_owned()).await?.abort_on_drop();
/// println!("{} is {:?}", task.handle().id(), task.handle().status());
/// let found = task.await?; // if this future is dropped here, the search ends
/// # let _: usize = found;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting it by reference is cancel safe, as with [`TaskHandle`]; dropping it ends the task.
#[must_use = "dropping it aborts the task"]
#[derive(Debug)]
pub struct AbortOnDrop<R>(TaskHandle<R>);

impl<R> AbortOnDrop<R> {
    /// The handle inside, for all it can be asked.
    pub fn handle(&self) -> &TaskHandle<R> {
        &self.0
    }
}

impl<R: DeserializeOwned> Future for AbortOnDrop<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<R> Drop for AbortOnDrop<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
