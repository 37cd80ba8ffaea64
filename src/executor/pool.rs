//! The pool as its users hold it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::build::ResizeError;
use crate::error::{Subject, SubmitError};
use crate::executor::ending::Ending;
use crate::parent::birth::resident_memory;
use crate::pool::watch::{Events, FunctionStats, Health, PoolStats, WorkerInfo};
use crate::pool::{CloseReason, Force, Pool, Shutdown, ShutdownReport, allowed_workers};

/// A pool of worker processes that run ordinary functions; the counterpart of Python's
/// `concurrent.futures.ProcessPoolExecutor`.
///
/// It is a handle: cheap to clone, `Send + Sync`, and usable from any thread and any runtime. The
/// pool itself is a task on the runtime that it was built on, and ends with that runtime. When the
/// last handle is dropped, the pool finishes what it has and ends.
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

    /// The name that [`Builder::name`](crate::Builder::name) gave it.
    pub fn name(&self) -> &str {
        &self.pool.commons.name
    }

    /// Waits until [`min_workers`](crate::Builder::min_workers) workers are up and initialized. If
    /// that number is zero, it starts one worker and waits for it. You need not call it before the
    /// first task. Call it to see the errors of a start early, and so that the first task need not
    /// wait for a start.
    ///
    /// # Errors
    ///
    /// If the pool is broken because a worker cannot be started or initialized, was shut down, or
    /// has lost its runtime.
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
    /// It waits for a task that never ends. After ten seconds the log says which task that is. If
    /// that may happen, set a limit: a [time limit](Shutdown::within) of the shutdown, a
    /// [timeout](crate::Builder::default_timeout) of tasks, or a timeout of the
    /// [items](crate::Map::timeout) of a map.
    ///
    /// It begins when this is called, and the [`Ending`] waits for it. It can be called several
    /// times, even at the same time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait. The shutdown goes on.
    pub fn shutdown(&self) -> Ending<ShutdownReport> {
        self.shutdown_with(Shutdown::new())
    }

    /// As [`shutdown`](Self::shutdown), with a choice of what happens to tasks that are not over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait. The shutdown goes on.
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

    /// Ends the pool at once. It accepts no more tasks, and cancels those that have not begun.
    /// Every worker, and what its task has started, gets SIGTERM, and SIGKILL after the [grace
    /// period](crate::Builder::grace_period). Tasks that ran resolve as cancelled. Python has a
    /// method of this name, which never sends SIGKILL.
    ///
    /// It begins when this is called; the future waits for the end. It does no harm to a pool that
    /// is broken, shut down, or was never used. It may be called from a callback.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn terminate_workers(&self) -> Ending<ShutdownReport> {
        self.end_workers(Force::Terminate)
    }

    /// As [`terminate_workers`](Self::terminate_workers), but with SIGKILL from the start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn kill_workers(&self) -> Ending<ShutdownReport> {
        self.end_workers(Force::Kill)
    }

    fn end_workers(&self, force: Force) -> Ending<ShutdownReport> {
        self.pool.end_workers(force);
        Ending::new(self.pool.ended())
    }

    /// Breaks the pool at once, for a reason of your own: a text, or an error. All tasks that are
    /// not over, and all that come later, fail with [`is_broken`](crate::TaskError::is_broken) and
    /// with the reason. Tasks that run get SIGKILL, and so does what they have started; there is no
    /// grace period. It is the `abort` of Python's `Barrier`, for a pool.
    ///
    /// It begins when this is called; the future waits until all workers are gone. The first reason
    /// counts: a pool that is broken already keeps its own. A pool that is shut down still refuses
    /// tasks as shut down, but the tasks that it has fail with this reason.
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
    /// Dropping the future only ends the wait.
    pub fn abort(&self, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Ending<ShutdownReport> {
        self.pool.abort(reason.into());
        Ending::new(self.pool.ended())
    }

    /// Waits until the pool is over, whoever has ended it, and returns why. A pool that was shut
    /// down is over when its tasks are over and its workers are gone. A broken pool is over at
    /// once: all of its tasks have failed or are about to.
    ///
    /// It ends nothing, like [`closed`](tokio::sync::mpsc::Sender::closed) of tokio's channels. It
    /// does not keep the pool alive either: if the last handle is dropped, the pool finishes what
    /// it has and ends, and this returns.
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
    ///         reason => eprintln!("{reason}"), // its runtime has ended
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn closed(&self) -> Ending<CloseReason> {
        Ending::new(self.pool.commons.over())
    }

    /// Changes the most workers that there may be. If there are more, idle ones leave at once, and
    /// busy ones when their running tasks are over. No task is lost. [`stats`](Self::stats) shows
    /// the new number a moment later. On a pool that has ended it does nothing. A pool with hosts
    /// has no more workers than its hosts may have together, also if the number is larger.
    ///
    /// If the number is below [`min_workers`](crate::Builder::min_workers), it lowers that minimum
    /// until the next larger resize.
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

    /// Replaces every worker, for example to have them load a new file. A worker goes on with tasks
    /// until its successor is ready, and leaves when its running task is over. As many are replaced
    /// at a time as [`surge`](crate::Builder::surge) allows. No task is lost, and none waits for a
    /// start.
    ///
    /// With a surge of zero, idle workers leave at once, and busy ones when their running tasks are
    /// over. New ones are started when there is work for them; up to
    /// [`min_workers`](crate::Builder::min_workers) are started at once.
    ///
    /// It begins when this is called; the future waits until all workers of that moment are gone. A
    /// task that never ends keeps its worker; [`recycle_within`](Self::recycle_within) ends it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the wait.
    pub fn recycle(&self) -> Ending<()> {
        self.recycle_all(None)
    }

    /// As [`recycle`](Self::recycle), with a limit. After half of the limit, an old worker without
    /// a successor begins no more tasks. At the end of the limit, tasks that still run on old
    /// workers are [aborted](crate::TaskHandle::abort), as by
    /// [`Shutdown::within`](crate::Shutdown::within). Such a task fails as
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
    /// Dropping the future only ends the wait.
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
            #[cfg(feature = "hosts")]
            if worker.host.as_ref().is_some_and(|host| self.pool.far_hosts.contains(host)) {
                continue; // its pid is somebody else's here
            }
            worker.memory = resident_memory(worker.pid);
        }
        workers
    }

    /// Counts and durations of what has happened so far, and how the pool stands; see
    /// [`PoolStats`].
    pub fn stats(&self) -> PoolStats {
        let commons = &self.pool.commons;
        let view = commons.view();
        view.stats(commons.now(), commons.health(&view))
    }

    /// Counts and durations of each function that has had tasks so far, in the order of their
    /// names. For single tasks there are [`events`](Self::events).
    ///
    /// ```
    /// # fn example(pool: procpool::ProcessPoolExecutor) {
    /// for function in pool.functions() {
    ///     let (name, items) = (function.name, function.items);
    ///     println!("{name}: {} calls are over, {} panicked", items.total(), items.panicked);
    /// }
    /// # }
    /// ```
    ///
    /// A chunk of a [`map`](Self::map) counts as one task, as in [`stats`](Self::stats);
    /// [`items`](FunctionStats::items) counts each of its inputs.
    pub fn functions(&self) -> Vec<FunctionStats> {
        self.pool.commons.view().functions()
    }

    /// Whether the pool serves, and if not, why: for the probes of a service. See [`Health`]. It
    /// only looks: it starts no worker, runs no task and never waits. It works in any thread, and
    /// also when the pool or its runtime has ended.
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
    /// ended. Tasks that were accepted before may still run. It only looks, like
    /// [`is_closed`](tokio::sync::mpsc::Sender::is_closed) of tokio's channels.
    pub fn is_closed(&self) -> bool {
        self.pool.commons.closed.get().is_some()
    }

    /// Whether the pool is broken: all of its tasks fail, and it accepts no more.
    /// [`health`](Self::health) and [`closed`](Self::closed) say why. It only looks.
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
