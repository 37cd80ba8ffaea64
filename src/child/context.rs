//! What a task can know about itself.

use std::any::{Any, type_name};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::emit::{EmitError, EmittedBytes, Origin};
use super::extras::ContextError;
use super::progress::Reporter;
use crate::base::{TaskId, WorkerId};
use crate::memory::page::Begun;
use crate::wire::message::ProgressHeader;
use crate::wire::role::Role;

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
    /// How many items of the current chunk came before the one that is running.
    static ITEM: Cell<u32> = const { Cell::new(0) };
    static STATE: Cell<Option<AnyState>> = const { Cell::new(None) };
    static PRELOADED: Cell<Option<AnyState>> = const { Cell::new(None) };
}

/// Whether some thread of this process has a [`STATE`].
static HAS_STATE: AtomicBool = AtomicBool::new(false);

/// The worker's state. It is needed as long as the process lives, so it is never freed.
type AnyState = &'static dyn Any;

/// The task that is running on this thread.
///
/// [`current`] returns a copy, which does not change when the next task begins. Give a copy to each
/// thread that the task starts. Outside of a pool it [does nothing](current).
#[derive(Clone, Copy)]
pub struct Current {
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) attempt: u32,
    /// By which the parent can ask the task to end. `None` where the two share no memory.
    pub(super) claim: Option<Begun<'static>>,
    /// `None` if nobody listens, as it is no task.
    pub(super) reporter: Option<&'static Reporter>,
    /// The task's number among those that this worker has run.
    pub(super) run: u64,
    /// It is one of a chunk.
    pub(super) is_item: bool,
    /// How many values it may emit before somebody takes one, unless nobody would.
    pub(super) allowance: Option<u32>,
    /// A value has come with it.
    pub(super) has_context: bool,
}

impl Current {
    /// What the function of a task finds that is called outside of a pool.
    #[cold]
    #[track_caller]
    fn of_no_task() -> Self {
        let is_of_a_pool = matches!(Role::of_this_process(), Some(Role::Worker | Role::ForkServer));
        assert!(
            !is_of_a_pool,
            "procpool::current() was called where no task runs: give threads that a task starts a \
             copy of its `Current`; an initializer and an exit hook have none"
        );
        Self {
            task: TaskId(0),
            worker: WorkerId(0),
            attempt: 1,
            claim: None,
            reporter: None,
            run: 0,
            is_item: false,
            allowance: None,
            has_context: false,
        }
    }

    /// As it is for a later item, if this is the first one of a chunk.
    fn of_item(self, item: u32) -> Self {
        let claim = self.claim.map(|claim| claim.of_item(item));
        Self { task: TaskId(self.task.0 + u64::from(item)), claim, ..self }
    }

    /// The task's id, the same as [`TaskHandle::id`](crate::TaskHandle::id) in the parent.
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// The id of the worker that runs the task.
    pub fn worker_id(&self) -> WorkerId {
        self.worker
    }

    /// Counts from one; more only for tasks that asked for retries.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the task is asked to end, because it was [aborted](crate::TaskHandle::abort), its
    /// time is up, or the pool is ended. A task that checks this now and then, and returns early,
    /// ends in good order: what it returns is its result, and its worker lives on.
    ///
    /// A task that has never checked gets SIGTERM at once. A task that has checked before is
    /// trusted to check again: it has half of the [grace period](crate::Builder::grace_period) to
    /// return. Then it gets SIGTERM, too. SIGKILL comes at the end of the grace period.
    ///
    /// This is cheap enough for an inner loop, a few nanoseconds, and works on every thread that
    /// has a copy of the `Current`. Once true it stays true while the task runs.
    ///
    /// Where pool and worker share no memory (on systems other than Linux, or where an
    /// [event](crate::PoolEvent::WorkerUnshared) says so) it is always false, and every task is
    /// ended by the signals.
    ///
    /// ```
    /// /// Counts the primes below `limit`; if it is asked to end, those that it has found.
    /// fn count_primes(limit: u64) -> u64 {
    ///     let current = procpool::current();
    ///     let mut count = 0;
    ///     for n in 2..limit {
    ///         if current.is_cancelled() {
    ///             break;
    ///         }
    ///         count += u64::from((2..n).take_while(|d| d * d <= n).all(|d| n % d != 0));
    ///     }
    ///     count
    /// }
    ///
    /// procpool::register!(count_primes);
    /// # fn main() {}
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.claim.is_some_and(|claim| claim.is_asked())
    }

    /// Reports how far the task has come: `done` of `total`, in units of your own, and a text to
    /// show. It arrives in the parent at [`TaskHandle::progress`](crate::TaskHandle::progress).
    ///
    /// Report as often as you like, from any thread that has a copy of the `Current`: a call only
    /// puts the report down, which takes some tens of nanoseconds and never blocks. The first one
    /// is sent at once, then at most one every 50 milliseconds. The latest report is always sent,
    /// even if the task is silent from then on, and the last one arrives before the result. If the
    /// worker dies, a report that was not sent yet is lost.
    ///
    /// A message is cut after 4 KiB. Reports that come from left-over threads after the task has
    /// ended are dropped.
    ///
    /// ```
    /// fn resize(images: Vec<String>) -> usize {
    ///     let (current, total) = (procpool::current(), images.len());
    ///     for (done, image) in images.iter().enumerate() {
    ///         current.progress(done as u64, total as u64, image);
    ///         // …
    ///     }
    ///     total
    /// }
    ///
    /// procpool::register!(resize);
    /// # fn main() {}
    /// ```
    pub fn progress(&self, done: u64, total: u64, message: impl AsRef<str>) {
        if let Some(reporter) = self.reporter {
            let header = ProgressHeader { task: self.task, done, total };
            reporter.report(self.run, header, message.as_ref());
        }
    }

    /// Hands a value to whoever reads [`TaskHandle::emitted`](crate::TaskHandle::emitted), while
    /// the task runs: a partial result, or a message. All that it emits arrives in order, and
    /// before the result. If the task dies later, what it has emitted is still there.
    ///
    /// Returns whether somebody may take it. If nobody does, this returns at once, and nothing is
    /// sent. Nobody takes what these emit:
    ///
    /// - a task that was begun by [`run`](crate::ProcessPoolExecutor::run);
    /// - an item of a [`map`](crate::ProcessPoolExecutor::map);
    /// - a task whose stream was dropped, or whose handle was dropped or is awaited before the
    ///   stream was asked for;
    /// - a function that is called where there is no pool, as in unit tests.
    ///
    /// A slow reader holds the task up. This waits while 16 values, or a megabyte, were emitted and
    /// not taken; see [`TaskBuilder::emit_capacity`](crate::TaskBuilder::emit_capacity).
    /// Otherwise it takes some hundred nanoseconds, and a microsecond or two if the pool has to be
    /// woken. It may be called from any thread that has a copy of the `Current`. In an `async`
    /// function, whose other futures would wait, too, call [`emit_async`](Self::emit_async).
    ///
    /// ```
    /// fn primes(limit: u64) -> Result<u64, String> {
    ///     let mut count = 0;
    ///     for n in 2..limit {
    ///         if (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0) {
    ///             procpool::current().emit(n).map_err(|error| error.to_string())?;
    ///             count += 1;
    ///         }
    ///     }
    ///     Ok(count)
    /// }
    ///
    /// procpool::register!(primes);
    /// # fn main() {
    /// assert_eq!(primes(100), Ok(25)); // as in a unit test: there is no pool
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the task is asked to end, before or while this waits. That counts as a check of
    /// [`is_cancelled`](Self::is_cancelled): a task that returns on this error ends in good order.
    /// Also if the value cannot be encoded, or is too large.
    pub fn emit<T>(&self, value: T) -> Result<bool, EmitError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let encoded = self.encode_emitted(&value)?;
        drop(value); // it may be large, and this may wait
        match encoded {
            Some((reporter, origin, encoded)) => reporter.emit(origin, &encoded),
            None => Ok(false),
        }
    }

    /// As [`emit`](Self::emit), for `async` functions: other futures of the task go on while this
    /// waits. On a runtime that is not tokio's it blocks, as `emit` does.
    ///
    /// ```
    /// async fn pages(addresses: Vec<String>) {
    ///     for address in addresses {
    ///         let page = format!("the page at {address}"); // …
    ///         let _ = procpool::current().emit_async(page).await;
    ///     }
    /// }
    ///
    /// procpool::register!(pages);
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// As [`emit`](Self::emit).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits, the value was not emitted. A thread of the runtime
    /// waits on until the pool next says something to this worker.
    pub async fn emit_async<T>(&self, value: T) -> Result<bool, EmitError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let encoded = self.encode_emitted(&value)?;
        drop(value);
        match encoded {
            Some((reporter, origin, encoded)) => reporter.emit_async(origin, encoded).await,
            None => Ok(false),
        }
    }

    /// The value as bytes, and who emits it; `None` if nobody would take it.
    fn encode_emitted<T>(
        &self,
        value: &T,
    ) -> Result<Option<(&'static Reporter, Origin, EmittedBytes)>, EmitError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        if self.is_cancelled() {
            return Err(EmitError::Cancelled);
        }
        let Some((reporter, origin)) = self.origin() else { return Ok(None) };
        Ok(Some((reporter, origin, reporter.encode(value)?)))
    }

    /// Who emits, if somebody may take it.
    fn origin(&self) -> Option<(&'static Reporter, Origin)> {
        let Self { run, task, claim, .. } = *self;
        Some((self.reporter?, Origin { run, task, allowance: self.allowance?, claim }))
    }

    /// The value that has come with the task by
    /// [`TaskBuilder::context`](crate::TaskBuilder::context), or with each item by
    /// [`Map::context`](crate::Map::context); `None` if none has, and where there is no pool. It is
    /// decoded at each call, on any thread that has a copy of the `Current`.
    ///
    /// ```
    /// fn handle(order: u64) -> String {
    ///     match procpool::current().context::<String>() {
    ///         Ok(Some(tenant)) => format!("order {order} of {tenant}"),
    ///         Ok(None) => format!("order {order}"),
    ///         Err(error) => panic!("{error}"), // the caller sends another type
    ///     }
    /// }
    ///
    /// procpool::register!(handle);
    /// # fn main() {
    /// assert_eq!(handle(7), "order 7"); // as in a unit test: there is no pool
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If it is of another type, if it cannot be decoded, or if the task is over and this is a
    /// thread that it has left behind.
    pub fn context<T: DeserializeOwned + 'static>(&self) -> Result<Option<T>, ContextError> {
        let reporter = self.reporter.filter(|_| self.has_context);
        reporter.map(|reporter| reporter.context.read(self.run)).transpose()
    }

    /// What the [initializer](crate::Builder::initializer) of this worker returned, as from
    /// [`state`].
    ///
    /// ```
    /// struct Model(Vec<f64>);
    ///
    /// fn load(path: String) -> std::io::Result<Model> {
    ///     # drop(path);
    ///     Ok(Model(vec![1.0, 2.0]))
    /// }
    ///
    /// fn score(x: f64) -> f64 {
    ///     let model: &Model = procpool::current().state().expect("the pool has an initializer");
    ///     model.0.iter().map(|weight| weight * x).sum()
    /// }
    ///
    /// procpool::register!(load, score);
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// If the pool has no initializer, if it returned something of another type, or if this is not
    /// the thread that runs the task.
    pub fn state<T: 'static>(&self) -> Result<&'static T, StateError> {
        state()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("task", &self.task)
            .field("worker", &self.worker)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// What the [initializer](crate::Builder::initializer) of this worker returned; for tasks, and for
/// the [exit hook](crate::Builder::exit_hook), which is no task and has no [`current`].
///
/// ```
/// use std::cell::Cell;
///
/// fn open() -> Cell<u64> {
///     Cell::new(0) // any type: it stays in the worker, and only one thread uses it
/// }
///
/// fn count_task() {
///     let count: &Cell<u64> = procpool::state().expect("the pool has an initializer");
///     count.set(count.get() + 1);
/// }
///
/// fn total() -> u64 {
///     procpool::state::<Cell<u64>>().map_or(0, Cell::get)
/// }
///
/// procpool::register!(open, count_task, total);
/// # fn main() {}
/// ```
///
/// # Errors
///
/// If the pool has no initializer, if it returned something of another type, or if this is not the
/// thread that runs the tasks.
pub fn state<T: 'static>() -> Result<&'static T, StateError> {
    let state = STATE.get().ok_or_else(|| missing(StateError::NoInitializer))?;
    state.downcast_ref().ok_or(StateError::OtherType { wanted: type_name::<T>() })
}

/// What the [preload](crate::Builder::preload) of this pool returned; for tasks, for the
/// [initializer](crate::Builder::initializer), and for the [exit hook](crate::Builder::exit_hook).
///
/// With [`StartMethod::ForkServer`](crate::StartMethod::ForkServer) all workers share its memory,
/// as long as they only read it.
///
/// ```
/// fn build_table(size: u32) -> Vec<u32> {
///     (0..size).map(|n| n * n).collect()
/// }
///
/// fn look_up(n: usize) -> u32 {
///     let table: &Vec<u32> = procpool::preloaded().expect("the pool has a preload");
///     table[n]
/// }
///
/// procpool::register!(build_table, look_up);
/// # fn main() {}
/// ```
///
/// # Errors
///
/// If the pool has no preload, if it returned something of another type, or if this is not the
/// thread that runs the tasks.
pub fn preloaded<T: 'static>() -> Result<&'static T, StateError> {
    let value = PRELOADED.get().ok_or_else(|| missing(StateError::NoPreload))?;
    value.downcast_ref().ok_or(StateError::OtherPreload { wanted: type_name::<T>() })
}

/// There is nothing on this thread; perhaps there is on another.
#[cold]
fn missing(otherwise: StateError) -> StateError {
    let is_tasks_thread = STATE.get().is_some() || PRELOADED.get().is_some();
    if HAS_STATE.load(Ordering::Relaxed) && !is_tasks_thread {
        StateError::OtherThread
    } else {
        otherwise
    }
}

/// Why there is no such state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The pool was built without [`Builder::initializer`](crate::Builder::initializer), or this is
    /// no worker.
    #[error("this worker has no state: the pool was built without an initializer")]
    NoInitializer,
    /// This is not the thread that runs the worker's tasks. The state need not be `Sync`, so it is
    /// found there only; threads that a task starts are to be given what they need of it.
    #[error(
        "the state of this worker is on the thread that runs its tasks, and this is another one"
    )]
    OtherThread,
    /// The pool was built without [`Builder::preload`](crate::Builder::preload), or this is no
    /// worker.
    #[error("nothing was preloaded for this worker: the pool was built without a preload")]
    NoPreload,
    /// The preload returned something else. A `Result` is unwrapped before it is kept.
    #[error("the preload of this pool did not return a `{wanted}`")]
    OtherPreload {
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// The initializer returned something else. A `Result` is unwrapped before it becomes the
    /// state, and a future is awaited.
    #[error("the initializer of this pool did not return a `{wanted}`")]
    OtherType {
        /// The type that was asked for.
        wanted: &'static str,
    },
}

/// The task that is running on this thread.
///
/// In a process that is no worker of a pool there is a `Current`, too, so that the function of a
/// task can be called like any other, in its unit tests above all. It does nothing: its ids are 0,
/// which no task and no worker has, its attempt is 1, it is never
/// [cancelled](Current::is_cancelled), it has no [context](Current::context), and what it
/// [reports](Current::progress) and [emits](Current::emit) goes nowhere.
/// [`try_current`] tells the two apart.
///
/// ```
/// fn total(numbers: Vec<u64>) -> u64 {
///     let (current, count) = (procpool::current(), numbers.len() as u64);
///     let mut total = 0;
///     for (done, number) in (1..).zip(numbers) {
///         total += number;
///         current.progress(done, count, "");
///     }
///     total
/// }
///
/// procpool::register!(total);
///
/// # fn main() {
/// assert_eq!(total(vec![1, 2, 3]), 6); // as in a unit test: there is no pool
/// # }
/// ```
///
/// # Panics
///
/// In a worker of a pool, where no task runs on this thread: in the initializer and the exit hook,
/// and on threads that a task has started, which are to be given a copy.
#[track_caller]
pub fn current() -> Current {
    match try_current() {
        Some(current) => current,
        None => Current::of_no_task(),
    }
}

/// As [`current`], but `None` where no task runs on this thread.
pub fn try_current() -> Option<Current> {
    CURRENT.get().map(|current| current.of_item(ITEM.get()))
}

/// A task, or the first item of a chunk.
pub(super) fn set_current(current: Option<Current>) {
    CURRENT.set(current);
    ITEM.set(0);
}

/// Another item of the current chunk. That is set for each item, so it has to cost less than
/// [`set_current`].
pub(super) fn set_current_item(item: u32) {
    ITEM.set(item);
}

pub(super) fn set_preloaded(value: Box<dyn Any>) {
    PRELOADED.set(Some(Box::leak(value)));
    HAS_STATE.store(true, Ordering::Relaxed);
}

pub(super) fn set_state(state: Box<dyn Any>) {
    STATE.set(Some(Box::leak(state)));
    HAS_STATE.store(true, Ordering::Relaxed);
}
