//! The pool as its users hold it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{ResizeError, Subject, SubmitError};
use crate::executor::ending::Ending;
use crate::parent::birth::resident_memory;
use crate::pool::watch::{Events, FunctionStats, Health, PoolStats, WorkerInfo};
use crate::pool::{CloseReason, Force, Pool, Shutdown, ShutdownReport, allowed_workers};

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
#[must_use = "dropping the last handle shuts the pool down"]
pub struct ProcessPoolExecutor {
    pool: Arc<Pool>,
}

impl ProcessPoolExecutor {
    pub(crate) fn of(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// What all handles of it share.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What [`Builder::name`](crate::Builder::name) called it.
    pub fn name(&self) -> &str {
        &self.pool.commons.name
    }

    /// Waits until [`min_workers`](crate::Builder::min_workers) workers are up and initialised, or
    /// one if that is zero, and starts it. Not needed before submitting; it moves the time that the
    /// first workers take, and the errors that they may meet, to a place of your choice.
    ///
    /// # Errors
    ///
    /// If the pool is broken (the worker cannot be started or initialised), was shut down, or has
    /// lost its runtime.
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing: the worker still comes up.
    pub async fn ready(&self) -> Result<(), SubmitError> {
        self.pool.warm_up().await.map_err(|_| self.pool.refused(Subject::Readiness))
    }

    /// Accepts no more tasks, waits until all that were accepted are over and every worker has
    /// left.
    ///
    /// A task that never ends keeps it waiting for ever, and after ten seconds the log says for
    /// which one it waits. What limits it: a [time limit](Shutdown::time_limit) of the shutdown,
    /// the [timeout](crate::Builder::default_timeout) of tasks, or that of the
    /// [items](crate::Map::item_timeout) of a map.
    ///
    /// It begins when this is called, and the [`Ending`] waits for it. It can be called any number
    /// of times, also at the same time.
    ///
    /// # Cancel safety
    ///
    /// A dropped future does not stop the shutdown, it only no longer waits for it.
    pub fn shutdown(&self) -> Ending<ShutdownReport> {
        self.shutdown_with(Shutdown::new())
    }

    /// As [`shutdown`](Self::shutdown), with a choice of what happens to tasks that are not over.
    ///
    /// # Cancel safety
    ///
    /// A dropped future does not stop the shutdown, it only no longer waits for it.
    pub fn shutdown_with(&self, how: Shutdown) -> Ending<ShutdownReport> {
        self.pool.shut_down(how);
        let (ended, closed) = (self.pool.ended(), self.pool.closed.clone());
        Ending::new(async move {
            if how.wait {
                return ended.await;
            }
            closed.borrow().clone().unwrap_or_default()
        })
    }

    /// Ends the pool at once: accepts no more tasks, cancels those that have not begun, and sends
    /// SIGTERM to every worker and what its task has started, and SIGKILL after the [grace
    /// period](crate::Builder::grace_period). Python's method of this name, but it escalates, and
    /// every task resolves: those that ran as cancelled.
    ///
    /// It begins when this is called, and the future waits for the end. It does no harm to a pool
    /// that is broken, shut down, or was never used, and may be called from a callback.
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
        self.pool.end_workers(force);
        Ending::new(self.pool.ended())
    }

    /// Breaks the pool at once, for a reason of your own: a text, or an error. All tasks that are
    /// not over, and all that come later, fail with [`is_broken`](crate::TaskError::is_broken) and
    /// with the reason. Tasks that run are ended with SIGKILL, with what they have started: there
    /// is no grace period. It is the `abort` of Python's `Barrier`, for a pool.
    ///
    /// It begins when this is called; the future waits until all workers are gone. The first reason
    /// counts: a pool that is broken keeps its own. One that is shut down goes on to refuse tasks
    /// as shut down, but those that it still has fail with this reason.
    ///
    /// ```
    /// # fn sign(document: String) -> String { document }
    /// # procpool::register!(sign);
    /// use procpool::ProcessPoolExecutor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #     procpool::init();
    /// #     tokio::runtime::Runtime::new()?.block_on(run())
    /// # }
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = ProcessPoolExecutor::new()?;
    /// pool.abort("the key was withdrawn").await;
    /// let error = pool.run(sign, "a will".to_owned()).await.unwrap_err();
    /// assert!(error.is_broken() && error.to_string().contains("the key was withdrawn"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn abort(&self, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Ending<ShutdownReport> {
        self.pool.abort(reason.into());
        Ending::new(self.pool.ended())
    }

    /// Waits until the pool is over, whoever has ended it, and returns why. A pool that was shut
    /// down is over when all of its tasks are, and its workers are gone. A broken one is over at
    /// once: all of its tasks have failed or are about to.
    ///
    /// As [`closed`](tokio::sync::mpsc::Sender::closed) of tokio's channels it ends nothing. Nor
    /// does it keep the pool: if the last handle is dropped the pool drains, ends, and this
    /// returns.
    ///
    /// ```
    /// # fn example(pool: procpool::ProcessPoolExecutor) {
    /// use procpool::CloseReason;
    ///
    /// let closed = pool.closed();
    /// tokio::spawn(async {
    ///     match closed.await {
    ///         CloseReason::Broken(error) => eprintln!("{error}"), // time for another pool
    ///         CloseReason::ShutDown => println!("the pool has done its work"),
    ///         reason => eprintln!("{reason:?}"), // its runtime has ended
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn closed(&self) -> Ending<CloseReason> {
        Ending::new(self.pool.commons.over())
    }

    /// Changes the most workers that there may be. Of more than that, idle ones leave at once, and
    /// busy ones as soon as their running tasks are over; no task is lost. On a pool that has ended
    /// it does nothing. [`stats`](Self::stats) shows the new number a moment later.
    ///
    /// A number below [`min_workers`](crate::Builder::min_workers) counts instead of that one,
    /// until it is raised again.
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
        self.pool.resize(max_workers);
        Ok(())
    }

    /// Replaces every worker: to have them see a new file, or forget what they know. They go on
    /// with tasks until their successors are ready, so many at a time as
    /// [`surge`](crate::Builder::surge) allows, and leave after their running tasks; no task is
    /// lost, and none waits for a start. With a surge of zero idle ones leave at once, busy ones as
    /// soon as their running tasks are over, and new ones come when there is work for them, or at
    /// once up to [`min_workers`](crate::Builder::min_workers).
    ///
    /// It begins when this is called; the future waits until all workers of that moment are gone.
    /// A task that never ends keeps its worker: for that there is
    /// [`recycle_within`](Self::recycle_within).
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn recycle(&self) -> Ending<()> {
        self.recycle_all(None)
    }

    /// As [`recycle`](Self::recycle), with a limit. After half of it, old workers that have no
    /// successor yet begin nothing more. At its end, what still runs on old workers is
    /// [aborted](crate::TaskHandle::abort), as by
    /// [`Shutdown::time_limit`](crate::Shutdown::time_limit): such a task fails as
    /// [cancelled](crate::TaskError::is_cancelled), or is begun again if it has
    /// [retries](crate::TaskBuilder::retries).
    ///
    /// ```
    /// # async fn example(pool: procpool::ProcessPoolExecutor) {
    /// use std::time::Duration;
    ///
    /// pool.recycle_within(Duration::from_secs(30)).await; // there is a new model
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped future changes nothing but that nobody waits.
    pub fn recycle_within(&self, limit: Duration) -> Ending<()> {
        self.recycle_all(Some(limit))
    }

    fn recycle_all(&self, limit: Option<Duration>) -> Ending<()> {
        let gone = self.pool.recycle(limit);
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
        let commons = &self.pool.commons;
        let mut workers = commons.view().workers(commons.now());
        for worker in &mut workers {
            worker.memory = resident_memory(worker.pid);
        }
        workers
    }

    /// Counts and durations of what has happened so far, and how things stand; see [`PoolStats`].
    pub fn stats(&self) -> PoolStats {
        let commons = &self.pool.commons;
        let view = commons.view();
        view.stats(commons.now(), commons.health(&view))
    }

    /// Counts and durations by function, of those that have had tasks so far, in the order of their
    /// names. The [`events`](Self::events) tell of single tasks.
    ///
    /// ```
    /// # fn example(pool: procpool::ProcessPoolExecutor) {
    /// for function in pool.functions() {
    ///     let (name, panicked) = (function.name, function.outcomes.panicked);
    ///     println!("{name}: {} begun, {panicked} panicked", function.begun);
    /// }
    /// # }
    /// ```
    ///
    /// A chunk of a [`map`](Self::map) counts as one task, as in [`stats`](Self::stats).
    pub fn functions(&self) -> Vec<FunctionStats> {
        self.pool.commons.view().functions()
    }

    /// Whether the pool serves, and if not, why: for the probes of a service. It looks only: no
    /// worker is started, no task is run, nobody waits. It works in any thread, and also when the
    /// pool or its runtime has ended. See [`Health`].
    ///
    /// ```
    /// # fn example(pool: procpool::ProcessPoolExecutor) {
    /// let health = pool.health();
    /// let status = if health.is_ready() { 200 } else { 503 };
    /// println!("{status} {health}"); // 200 ready
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let commons = &self.pool.commons;
        commons.health(&commons.view())
    }

    /// Whether the pool accepts no more tasks: it was shut down, it is broken, or its runtime has
    /// ended. Tasks that were accepted before may still run. As
    /// [`is_closed`](tokio::sync::mpsc::Sender::is_closed) of tokio's channels it looks only.
    pub fn is_closed(&self) -> bool {
        self.pool.commons.closed.get().is_some()
    }

    /// Whether the pool is broken: all of its tasks fail, and it accepts no more. Why, say
    /// [`health`](Self::health) and [`closed`](Self::closed). It looks only.
    pub fn is_broken(&self) -> bool {
        matches!(self.health(), Health::Broken { .. })
    }

    /// What happens in the pool from now on, as a stream: workers that come and go, tasks that
    /// begin and end. Any number of readers can have one; see [`Events`].
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
        self.pool.commons.view().observer.feed.subscribe()
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workers, waiting, running) = self.pool.commons.view().load();
        f.debug_struct("ProcessPoolExecutor")
            .field("name", &self.name())
            .field("workers", &workers)
            .field("waiting", &waiting)
            .field("running", &running)
            .finish()
    }
}
