//! The pool as its users hold it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError, oneshot, watch};

use crate::cell::TaskCell;
use crate::ending::Ending;
use crate::error::{BrokenProcessPool, Cause, Report, ResizeError, Subject, SubmitError, Value};
use crate::events::Events;
use crate::handle::TaskHandle;
use crate::harvest::Harvest;
use crate::id::TaskId;
use crate::ledger::Entry;
use crate::payload::Payload;
use crate::pool::allowed_workers;
use crate::registry::{Function, Registry};
use crate::scheduler::{Force, Task, Wishes};
use crate::shutdown::{Shutdown, ShutdownReport};
use crate::snapshot::{PoolStats, WorkerInfo};
use crate::supervisor::{Command, Shared};
use crate::sys::resident_memory;
use crate::task::Options;
use crate::timer::Delay;

/// A pool of worker processes that run ordinary functions; the counterpart of Python's
/// `concurrent.futures.ProcessPoolExecutor`.
///
/// It is a handle: cheap to clone, `Send + Sync`, and usable from any thread and any runtime. The
/// pool itself is a task on the runtime that it was built on. When the last handle is dropped the
/// pool finishes what it has and ends, as after `shutdown` without waiting.
///
/// ```
/// use procpool::ProcessPoolExecutor;
///
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
///
/// procpool::register!(power);
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     procpool::init(); // a worker stops here
///     tokio::runtime::Runtime::new()?.block_on(async {
///         let pool = ProcessPoolExecutor::new()?;
///         assert_eq!(pool.run(power, (2, 8)).await?, 256);
///         pool.shutdown().await;
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone)]
pub struct ProcessPoolExecutor {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    closed: watch::Receiver<Option<ShutdownReport>>,
    next_task: AtomicU64,
    limits: Limits,
}

/// What a pool allows its tasks.
pub(crate) struct Limits {
    /// Changes with [`resize`](ProcessPoolExecutor::resize).
    pub(crate) max_workers: AtomicUsize,
    pub(crate) max_payload: usize,
    pub(crate) queue_capacity: usize,
    pub(crate) default_timeout: Option<Duration>,
    /// Whether it matters how many tasks a worker has run.
    pub(crate) counts_tasks: bool,
}

/// Why a pool accepts no more tasks.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    ShutDown,
    Broken(BrokenProcessPool),
}

impl ProcessPoolExecutor {
    pub(crate) fn from_parts(
        shared: Arc<Shared>,
        closed: watch::Receiver<Option<ShutdownReport>>,
        limits: Limits,
    ) -> Self {
        let next_task = AtomicU64::new(1);
        Self { inner: Arc::new(Inner { shared, closed, next_task, limits }) }
    }

    /// What [`Builder::name`](crate::Builder::name) called it.
    pub fn name(&self) -> &str {
        &self.inner.shared.name
    }

    /// Waits until [`min_workers`](crate::Builder::min_workers) workers are up and initialised, or
    /// one if that is
    /// zero, and starts it. Not needed before submitting; it moves the time that the first workers take,
    /// and the errors that they may meet, to a place of your choice.
    ///
    /// # Errors
    ///
    /// If the pool is broken (the worker cannot be started or initialised) or shut down.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing: the worker still comes up.
    pub async fn ready(&self) -> Result<(), SubmitError> {
        let (waiter, ready) = oneshot::channel();
        self.inner.shared.send(Command::WarmUp(waiter)); // or `waiter` is dropped
        ready.await.map_err(|_| self.refused(Subject::Readiness))
    }

    /// Accepts no more tasks, waits until all that were accepted are over and every worker has left.
    ///
    /// It can be called any number of times, also at the same time.
    ///
    /// # Cancel safety
    ///
    /// A dropped future does not stop the shutdown, it only no longer waits for it.
    pub async fn shutdown(&self) -> ShutdownReport {
        self.shutdown_with(Shutdown::new()).await
    }

    /// As [`shutdown`](Self::shutdown), with a choice of what happens to tasks that are not over.
    ///
    /// The shutdown begins when this is called, not when the future is first polled.
    ///
    /// # Cancel safety
    ///
    /// A dropped future does not stop the shutdown, it only no longer waits for it.
    pub fn shutdown_with(&self, how: Shutdown) -> Ending<ShutdownReport> {
        self.inner.shut_down(how);
        let ending = self.inner.closed.clone();
        Ending::new(async move {
            if how.wait {
                return closed(ending).await;
            }
            ending.borrow().clone().unwrap_or_default()
        })
    }

    /// Ends the pool at once: accepts no more tasks, cancels those that have not begun, and sends SIGTERM to
    /// every worker and what its task has started, and SIGKILL after the
    /// [grace period](crate::Builder::grace_period). Python's method of this name, but it
    /// escalates, and every
    /// task resolves: those that ran as cancelled.
    ///
    /// It begins when this is called, and the future waits for the end. It does no harm to a pool that is
    /// broken, shut down, or was never used, and may be called from a callback.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn terminate_workers(&self) -> Ending<ShutdownReport> {
        self.end_workers(Force::Terminate)
    }

    /// As [`terminate_workers`](Self::terminate_workers), but with SIGKILL from the start.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn kill_workers(&self) -> Ending<ShutdownReport> {
        self.end_workers(Force::Kill)
    }

    fn end_workers(&self, force: Force) -> Ending<ShutdownReport> {
        self.inner.shared.refuse(Refused::ShutDown);
        self.inner.shared.send(Command::EndWorkers(force)); // or it has ended already
        Ending::new(closed(self.inner.closed.clone()))
    }

    /// Changes the most workers that there may be. Of more than that, idle ones leave at once, and busy
    /// ones as soon as their running tasks are over; no task is lost. On a pool that has
    /// ended it does nothing. [`stats`](Self::stats) shows the new number a moment later.
    ///
    /// A number below [`min_workers`](crate::Builder::min_workers) counts instead of that one,
    /// until it is raised
    /// again.
    ///
    /// ```
    /// # fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::ResizeError> {
    /// pool.resize(2)?; // at night
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the number is zero, or too many for the platform; see
    /// [`Builder::max_workers`](crate::Builder::max_workers).
    pub fn resize(&self, max_workers: usize) -> Result<(), ResizeError> {
        let max_workers = allowed_workers(max_workers, cfg!(windows)).map_err(ResizeError)?;
        self.inner.limits.max_workers.store(max_workers, Ordering::Relaxed);
        self.inner.shared.send(Command::Resize(max_workers)); // or the pool has ended
        Ok(())
    }

    /// Replaces every worker: to have them see a new file, or forget what they know. Idle ones leave at once,
    /// busy ones as soon as their running tasks are over; no task is lost. New ones come when there is work
    /// for them, or at once up to [`min_workers`](crate::Builder::min_workers).
    ///
    /// It begins when this is called; the future waits until all workers of that moment are gone.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn recycle(&self) -> Ending<()> {
        let (waiter, gone) = oneshot::channel();
        self.inner.shared.send(Command::Recycle(waiter)); // or `waiter` is dropped
        Ending::new(async {
            let _ = gone.await; // nothing is sent: it is dropped when it is over
        })
    }

    /// The workers that have a process at this moment.
    ///
    /// ```
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// for worker in pool.workers() {
    ///     let megabytes = worker.memory.map(|bytes| bytes >> 20);
    ///     println!("pid {} is {:?} and takes {megabytes:?} MiB", worker.pid, worker.state);
    /// }
    /// # }
    /// ```
    pub fn workers(&self) -> Vec<WorkerInfo> {
        let shared = &self.inner.shared;
        let mut workers = shared.view().workers(shared.now());
        for worker in &mut workers {
            worker.memory = resident_memory(worker.pid);
        }
        workers
    }

    /// Counts and durations of what has happened so far, and how things stand; see [`PoolStats`].
    pub fn stats(&self) -> PoolStats {
        let shared = &self.inner.shared;
        shared.view().stats(shared.now())
    }

    /// What happens in the pool from now on, as a stream: workers that come and go, tasks that begin
    /// and end. Any number of readers can have one; see [`Events`].
    ///
    /// ```
    /// # fn square(x: u64) -> u64 { x * x }
    /// # procpool::register!(square);
    /// use futures::StreamExt;
    /// use procpool::{PoolEvent, ProcessPoolExecutor};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #     procpool::init();
    /// #     tokio::runtime::Runtime::new()?.block_on(run())
    /// # }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = ProcessPoolExecutor::new()?;
    /// let events = pool.events();
    /// pool.run(square, 12).await?;
    /// pool.shutdown().await;
    /// let story: Vec<PoolEvent> = events.collect().await; // it ends with the pool
    /// assert!(matches!(story[0], PoolEvent::TaskQueued { .. }));
    /// assert!(matches!(story.last(), Some(PoolEvent::WorkerLeft { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        self.inner.shared.view().observer.feed.subscribe()
    }

    /// The error for a task that comes to a pool that accepts no more.
    pub(crate) fn refusal(&self, function: &'static str) -> SubmitError {
        self.refused(Subject::Submission(function))
    }

    fn refused(&self, subject: Subject) -> SubmitError {
        let cause = match self.inner.shared.refused.get() {
            Some(Refused::Broken(broken)) => Cause::Broken(broken.clone()),
            Some(Refused::ShutDown) | None => Cause::ShutDown,
        };
        error_of(subject, cause)
    }

    /// Encodes a task's arguments, if it can be accepted at all.
    pub(crate) fn prepare<F: 'static>(
        &self,
        args: &impl Serialize,
    ) -> Result<Prepared, SubmitError> {
        let name = std::any::type_name::<F>();
        let (function, registered) = registered::<F>()?;
        if self.inner.shared.refused.get().is_some() {
            return Err(self.refusal(name));
        }
        let (limit, arena) = (self.inner.limits.max_payload, &self.inner.shared.arena);
        let arguments = Payload::encode_in(args, limit, arena, registered.arguments());
        let arguments = arguments.map_err(|error| {
            submit_error(name, Cause::codec(Value::Arguments, "encoded", error))
        })?;
        Ok(Prepared { name, function, arguments })
    }

    pub(crate) fn max_workers(&self) -> usize {
        self.inner.limits.max_workers.load(Ordering::Relaxed)
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.inner.limits.max_payload
    }

    pub(crate) fn counts_tasks(&self) -> bool {
        self.inner.limits.counts_tasks
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.inner.shared)
    }

    /// The places in the queue.
    pub(crate) fn queue(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.shared.room)
    }

    /// Takes a place in the queue for a task that is [enqueued](Self::enqueue) at once. Waits for it, but no
    /// longer than until a deadline.
    pub(crate) async fn take_place(
        &self,
        name: &'static str,
        deadline: Option<Instant>,
    ) -> Result<(), SubmitError> {
        // Who submits without a pause lets others run now and then, above all the supervisor.
        tokio::task::consume_budget().await;
        let room = &self.inner.shared.room;
        if let Ok(place) = room.try_acquire() {
            place.forget();
            return Ok(());
        }
        let place = match deadline {
            None => room.acquire().await,
            Some(deadline) => {
                let time_is_up = Delay::new(deadline.saturating_duration_since(Instant::now()));
                match select(pin!(room.acquire()), time_is_up).await {
                    Either::Left((place, _)) => place,
                    Either::Right(_) => return Err(submit_error(name, Cause::Expired)),
                }
            }
        };
        place.map(SemaphorePermit::forget).map_err(|_| self.refusal(name))
    }

    pub(crate) fn try_take_place(&self, name: &'static str) -> Result<(), SubmitError> {
        let place = self.inner.shared.room.try_acquire().map(SemaphorePermit::forget);
        place.map_err(|error| match error {
            TryAcquireError::NoPermits => {
                submit_error(name, Cause::QueueFull { capacity: self.inner.limits.queue_capacity })
            }
            TryAcquireError::Closed => self.refusal(name),
        })
    }

    /// What a task is given that asks for nothing.
    pub(crate) fn default_options(&self) -> Options {
        Options { timeout: self.inner.limits.default_timeout, ..Options::default() }
    }

    /// Hands a task to the supervisor; its place in the queue has been taken.
    pub(crate) fn enqueue<R>(
        &self,
        prepared: Prepared,
        options: Options,
        send: fn(&Shared, Command) -> bool,
    ) -> Result<TaskHandle<R>, SubmitError> {
        let Prepared { name, function, arguments } = prepared;
        let id = TaskId(self.inner.next_task.fetch_add(1, Ordering::Relaxed));
        let Options { timeout, retries, deadline, priority, key } = options;
        let began = self.inner.shared.began;
        let deadline = deadline.map(|deadline| deadline.saturating_duration_since(began));
        let wishes = Wishes { priority, key, retries, timeout, deadline, ..Wishes::default() };
        let task = Task::with(id, wishes);
        let cell = TaskCell::new(id, function, arguments, timeout);
        let entry = Entry::new(Arc::clone(&cell));
        if send(&self.inner.shared, Command::Submit(task, entry)) {
            Ok(TaskHandle::new(cell, self.shared()))
        } else {
            Err(self.refusal(name))
        }
    }

    /// Hands items of a map to the supervisor, as one task, whose place in the queue has been taken. They have
    /// consecutive ids, so that each part can become a task of its own.
    pub(crate) fn enqueue_chunk(
        &self,
        harvest: &Arc<Harvest>,
        (first, count): (u64, u32),
        items: Payload,
    ) {
        let id = TaskId(self.inner.next_task.fetch_add(u64::from(count), Ordering::Relaxed));
        let cell = harvest.add(id, (first, count), items);
        // If it cannot be sent the pool has ended, and the dropped entry says so.
        let entry = Entry::chunk(cell, harvest);
        self.inner.shared.send(Command::Submit(Task::chunk(id, count), entry));
    }
}

/// A task that is ready to be queued.
pub(crate) struct Prepared {
    pub(crate) name: &'static str,
    function: u32,
    arguments: Payload,
}

/// Waits until a pool has ended. An error says that its runtime has gone, and with it the workers.
async fn closed(mut closed: watch::Receiver<Option<ShutdownReport>>) -> ShutdownReport {
    let report = closed.wait_for(Option::is_some).await;
    report.map_or(None, |report| report.clone()).unwrap_or_default()
}

/// A function, and its position, by which tasks name it.
pub(crate) fn registered<F: 'static>() -> Result<(u32, &'static Function), SubmitError> {
    let name = std::any::type_name::<F>();
    let function = Registry::global().lookup::<F>();
    function.ok_or_else(|| submit_error(name, Cause::Unregistered(name)))
}

pub(crate) fn submit_error(function: &'static str, cause: Cause) -> SubmitError {
    error_of(Subject::Submission(function), cause)
}

fn error_of(subject: Subject, cause: Cause) -> SubmitError {
    SubmitError::new(Report { subject, worker: None, attempt: 1, cause })
}

impl Inner {
    fn shut_down(&self, how: Shutdown) {
        self.shared.refuse(Refused::ShutDown);
        let Shutdown { cancel_futures, time_limit, .. } = how;
        // If it cannot be sent the pool has ended already.
        self.shared.send(Command::ShutDown { cancel_futures, limit: time_limit });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut_down(Shutdown::new());
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
