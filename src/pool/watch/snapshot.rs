//! A pool and its workers as they can be seen at one moment.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::base::{HostId, TaskId, WorkerId};
use crate::error::kind::TaskOutcome;
use crate::function::Registry;
use crate::pool::task::ledger::Entry;
use crate::pool::watch::health::Health;
use crate::pool::watch::histogram::DurationHistogram;
use crate::pool::watch::hosts::{HostState, HostStats};
use crate::pool::watch::metrics::{Figures, TaskOutcomes};
use crate::pool::watch::observer::Observer;
use crate::pool::watch::serial;
use crate::scheduler::view::Recallable;
use crate::scheduler::{Scheduler, Time, WorkerStage};

/// What handles may look at. The supervisor alone changes it.
pub(crate) struct View {
    pub(crate) scheduler: Scheduler,
    pub(crate) observer: Observer,
}

impl View {
    pub(crate) fn new(scheduler: Scheduler, name: String) -> Self {
        Self { scheduler, observer: Observer::new(name) }
    }

    /// The pool's runtime has ended, and with it its workers, and tasks of these functions.
    pub(crate) fn abandon(&mut self, left: &[Entry]) {
        let outcome = TaskOutcome::ShutDown;
        for entry in left {
            let items = entry.last_items(outcome);
            let figures = self.observer.metrics.of(entry.cell().function());
            figures.task_ended(outcome, items.as_ref());
        }
        self.scheduler.abandon(left.len() as u64);
    }

    /// Of a pool that accepts tasks.
    pub(crate) fn health(&self) -> Health {
        let (workers_ready, stuck) = (self.scheduler.up(), self.scheduler.stuck());
        let wants_workers = self.scheduler.wants_workers();
        let has_been_ready = self.observer.has_been_ready;
        let obstacle = match (&self.observer.start_failure, &self.observer.awaited) {
            (Some(reason), _) if wants_workers => format!("a worker did not start: {reason}"),
            _ if stuck > 0 => format!("workers that do nothing with what they were sent: {stuck}"),
            // With a least number of workers it starts until one is ready.
            (_, Some((hosts, message)))
                if wants_workers && (has_been_ready || self.scheduler.size().0 == 0) =>
            {
                format!("{hosts} waits: {message}")
            }
            // Without a least number of workers it was ready before it had one, and stays so.
            _ if wants_workers && !has_been_ready && self.scheduler.size().0 > 0 => {
                return Health::Starting;
            }
            _ => return Health::Ready,
        };
        Health::Degraded { workers_ready, reason: obstacle }
    }

    /// The workers, but for their memory.
    pub(crate) fn workers(&self, now: Time) -> Vec<WorkerInfo> {
        let workers = self.observer.processes.iter().filter_map(|(&id, process)| {
            let seen = self.scheduler.worker(id)?;
            let state = match seen.stage {
                _ if seen.is_stuck => WorkerState::Stuck,
                WorkerStage::Starting { .. } => WorkerState::Starting,
                WorkerStage::Ready if seen.busy => WorkerState::Busy,
                WorkerStage::Ready => WorkerState::Idle,
                WorkerStage::Stopping { .. } | WorkerStage::Ending { .. } => WorkerState::Stopping,
            };
            let task = self.scheduler.pipeline(id).next();
            let label = task.and_then(|task| self.observer.labels.get(&task).cloned());
            Some(WorkerInfo {
                id,
                pid: process.pid,
                host: process.host.clone(),
                state,
                task,
                label,
                tasks_completed: seen.tasks_completed,
                items_completed: seen.tasks_completed - process.chunks + process.chunk_items,
                uptime: now.saturating_sub(process.started),
                memory: None,
                // By that memory what was sent is taken back at once.
                shares_memory: seen.recallable == Recallable::AtOnce,
            })
        });
        workers.collect()
    }

    /// None of a pool that was built without hosts.
    fn hosts(&self) -> Vec<HostStats> {
        let hosts = (0..).map(HostId).zip(&self.observer.hosts);
        let stats = hosts.filter_map(|(id, name)| {
            let seen = self.scheduler.host(id)?;
            let state = match (seen.is_away, seen.rests) {
                (true, _) => HostState::Away,
                (false, true) => HostState::Resting,
                (false, false) => HostState::Serving,
            };
            Some(HostStats {
                name: Arc::clone(name),
                state,
                max_workers: seen.max_workers,
                workers: seen.workers,
                workers_ready: seen.workers_ready,
            })
        });
        stats.collect()
    }

    /// Workers, tasks that wait, and tasks that run.
    pub(crate) fn load(&self) -> (usize, usize, usize) {
        let ids = self.observer.processes.keys();
        let workers = ids.filter(|id| self.scheduler.worker(**id).is_some()).count();
        (workers, self.scheduler.waiting(), self.scheduler.running())
    }

    pub(crate) fn functions(&self) -> Vec<FunctionStats> {
        let of = |(function, figures): (u32, &Figures)| FunctionStats {
            name: Registry::global().path(function),
            begun: figures.begun,
            outcomes: figures.outcomes,
            items: figures.items,
            run_time: figures.run_time.clone(),
            lost_time: figures.lost_time.clone(),
        };
        // By position, and so by name.
        self.observer.metrics.functions().map(of).collect()
    }

    pub(crate) fn stats(&self, now: Time, health: Health) -> PoolStats {
        let counts = self.scheduler.counts();
        let metrics = &self.observer.metrics;
        let figures = metrics.sum();
        let Figures { outcomes, items, run_time, lost_time, .. } = figures;
        let workers = self.workers(now);
        let in_state = |state| workers.iter().filter(|worker| worker.state == state).count();
        let is_unshared = |worker: &&WorkerInfo| {
            matches!(worker.state, WorkerState::Idle | WorkerState::Busy) && !worker.shares_memory
        };
        let unshared = workers.iter().filter(is_unshared).count();
        let running_since = |worker| self.scheduler.worker(worker)?.running_since;
        let (min_workers, max_workers) = self.scheduler.size();
        PoolStats {
            health,
            submitted: counts.submitted,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
            outcomes,
            items,
            retries: metrics.retries,
            waiting: self.scheduler.waiting(),
            running: self.scheduler.running(),
            wait_time: metrics.wait_time.clone(),
            run_time,
            lost_time,
            max_workers,
            min_workers,
            workers: workers.len(),
            workers_starting: in_state(WorkerState::Starting),
            workers_idle: in_state(WorkerState::Idle),
            workers_busy: in_state(WorkerState::Busy),
            workers_stopping: in_state(WorkerState::Stopping),
            workers_stuck: in_state(WorkerState::Stuck),
            workers_unshared: unshared,
            worker_starts: counts.worker_starts,
            worker_restarts: counts.worker_restarts,
            worker_deaths: counts.worker_deaths,
            start_failures: counts.start_failures,
            workers_lost: counts.workers_lost,
            hosts: self.hosts(),
            utilization: metrics.utilization(now, running_since),
        }
    }
}

/// A worker at one moment. What is serialized has durations as numbers of seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id in the pool.
    pub id: WorkerId,
    /// Its process id.
    pub pid: u32,
    /// The name of the host that it is on; `None` in a pool that was built without hosts.
    #[serde(serialize_with = "serial::label")]
    pub host: Option<Arc<str>>,
    /// What it is doing.
    pub state: WorkerState,
    /// The task that it runs, or is about to begin. A chunk of a
    /// [`map`](crate::ProcessPoolExecutor::map) has the id of its first item, or, with
    /// [`retry_if`](crate::Map::retry_if), one of its own.
    pub task: Option<TaskId>,
    /// The [label](crate::TaskBuilder::label) of that task, if it has one.
    #[serde(serialize_with = "serial::label")]
    pub label: Option<Arc<str>>,
    /// The results it has delivered, errors that left it alive included. A chunk of a
    /// [`map`](crate::ProcessPoolExecutor::map) counts as one.
    pub tasks_completed: u64,
    /// As `tasks_completed`, but each item of a chunk counts, and does so when its result has come,
    /// even if its chunk still runs.
    pub items_completed: u64,
    /// How long ago its process was started.
    #[serde(serialize_with = "serial::seconds")]
    pub uptime: Duration,
    /// The bytes of RAM that its process takes, without those of processes that it has started.
    /// They are read when [`workers`](crate::ProcessPoolExecutor::workers) is called. `None` if the
    /// worker has just ended or is on another host, and on systems other than Linux.
    pub memory: Option<u64>,
    /// Whether it shares memory with this process. If it is ready and does not, it is slower; an
    /// [event](crate::PoolEvent::WorkerUnshared) has said why.
    pub shares_memory: bool,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerState {
    /// It starts or runs its initializer.
    Starting,
    /// It waits for a task, or for the place of a worker that it is to
    /// [replace](crate::Builder::surge).
    Idle,
    /// It runs a task.
    Busy,
    /// It leaves or is being ended.
    Stopping,
    /// It was sent a task and has not begun it within a second. Perhaps it was stopped from
    /// outside, or waits in the kernel for a dead disk. Its tasks have gone to others. It is told
    /// to leave, and killed when the [grace period](crate::Builder::grace_period) is over. It does
    /// not count as one of the [`max_workers`](crate::Builder::max_workers) any more.
    Stuck,
}

/// What has happened so far in a pool to the tasks of one function; see
/// [`ProcessPoolExecutor::functions`](crate::ProcessPoolExecutor::functions). As in [`PoolStats`],
/// a chunk of a map is one task, and `items` counts its items.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FunctionStats {
    /// The name of the function, as in errors and [events](crate::PoolEvent::TaskFinished).
    pub name: &'static str,
    /// Tasks that have begun; retries do not count again.
    pub begun: u64,
    /// How tasks ended, including those that never began.
    pub outcomes: TaskOutcomes,
    /// As [`PoolStats::items`]: how the calls of the function ended.
    pub items: TaskOutcomes,
    /// As [`PoolStats::run_time`].
    pub run_time: DurationHistogram,
    /// As [`PoolStats::lost_time`].
    pub lost_time: DurationHistogram,
}

/// A pool at one moment, and what has happened in it so far.
///
/// To the pool a chunk of a [`map`](crate::ProcessPoolExecutor::map) is one task, however many
/// items it has. It is queued, run and counted as one task. If it is divided, its parts count, too.
/// Only `items` counts each item. Use `items` for what your service has done, and the other figures
/// for the load of the pool.
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) {
/// let stats = pool.stats();
/// println!("{} tasks wait, {} workers run", stats.waiting, stats.workers);
/// println!("{} calls have panicked", stats.items.panicked);
/// println!("99 % began within {:?}", stats.wait_time.percentile(99.0));
/// println!("workers are busy {:.0} % of their time", stats.utilization * 100.0);
/// # }
/// ```
///
/// It can be serialized, for example by `axum::Json(pool.stats())`. Then durations are numbers of
/// seconds, and `health` has the word `state`. Each histogram has the fields `count`, `sum`, `min`,
/// `mean`, `p50`, `p90`, `p99`, `max` and `buckets`. A bucket has its bound `le` and a cumulative
/// `count`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PoolStats {
    /// Whether it serves; see [`health`](crate::ProcessPoolExecutor::health).
    pub health: Health,
    /// Tasks that were accepted so far.
    pub submitted: u64,
    /// Tasks that ran to their end so far: they returned or panicked, or their values could not be
    /// decoded or encoded in the worker.
    pub completed: u64,
    /// Tasks that failed so far because of their worker, their timeout or deadline, or the pool.
    pub failed: u64,
    /// Tasks that were cancelled or aborted so far.
    pub cancelled: u64,
    /// How tasks ended: `completed`, `failed` and `cancelled` in detail.
    pub outcomes: TaskOutcomes,
    /// How items ended. Each task that is no chunk is an item, and so is each input of a map that
    /// the pool has accepted. So 200,000 inputs are 200,000 items, whatever chunks they are sent
    /// in. An input that panics counts as panicked, while its chunk returns. An input that is ended
    /// because its map is dropped counts as cancelled. So does one that is ended because
    /// [`within`](crate::Map::within) is over, although its error is one of a deadline.
    ///
    /// Retries do not count again. The exception is [`Map::retry_if`](crate::Map::retry_if): with
    /// it each attempt of an input counts, also one that ended with a death or a timeout.
    pub items: TaskOutcomes,
    /// How often a task was given to a worker again after an attempt that was not the last one, so
    /// far.
    pub retries: u64,
    /// Tasks that wait to begin now.
    pub waiting: usize,
    /// Tasks that run now. So do those of which it is still decided whether they are [begun
    /// again](crate::TaskBuilder::retry_if).
    pub running: usize,
    /// Time from acceptance until the task was next in its worker. One entry per task that has
    /// begun; retries add none.
    pub wait_time: DurationHistogram,
    /// How long `completed` tasks ran, as measured in the worker, with decoding and encoding. Each
    /// attempt that completed counts, also if the task was [begun
    /// again](crate::TaskBuilder::retry_if). Those that did not complete are in `lost_time`.
    pub run_time: DurationHistogram,
    /// How long attempts ran that ended with their worker: it died, or was ended for a timeout, a
    /// deadline or an abort. The time ends when the worker is gone, so the [grace
    /// period](crate::Builder::grace_period) is included. It is not in `run_time`, because a few
    /// timeouts would hide how long ordinary tasks run. Add both for the time that workers have
    /// spent.
    pub lost_time: DurationHistogram,
    /// The most workers that there may be now; see
    /// [`resize`](crate::ProcessPoolExecutor::resize).
    pub max_workers: usize,
    /// The workers that are kept even without tasks; see
    /// [`Builder::min_workers`](crate::Builder::min_workers).
    pub min_workers: usize,
    /// Worker processes that exist now: the sum of the next five.
    pub workers: usize,
    /// Workers that start or run their initializer now.
    pub workers_starting: usize,
    /// Workers that wait for a task now.
    pub workers_idle: usize,
    /// Workers that run a task now.
    pub workers_busy: usize,
    /// Workers that leave or are being ended now.
    pub workers_stopping: usize,
    /// Workers now that were sent a task and [have not begun it](WorkerState::Stuck).
    pub workers_stuck: usize,
    /// Workers that are idle or busy now and [share no memory](WorkerInfo::shares_memory) with this
    /// process.
    pub workers_unshared: usize,
    /// Workers that were started so far.
    pub worker_starts: u64,
    /// How many of these took the place of a worker that had died, was ended with its task, or was
    /// used up.
    pub worker_restarts: u64,
    /// Workers that died so far, although nobody had told them to leave.
    pub worker_deaths: u64,
    /// Workers that did not become ready so far, although nobody had told them to leave. Their
    /// initializer failed, they died before, their host was lost or not reached, or the machine was
    /// short of descriptors, processes or memory. The
    /// [events](crate::PoolEvent::WorkerNotStarted) have the reasons.
    pub start_failures: u64,
    /// Workers that were lost with their hosts so far, so that nobody knows how they ended.
    pub workers_lost: u64,
    /// The hosts, in the order in which the builder got them; none of a pool that was built without
    /// hosts.
    pub hosts: Vec<HostStats>,
    /// The share of their time that workers spent running tasks so far, from 0 to 1. Their time
    /// begins when they are initialized, and ends when they are told to leave or die.
    pub utilization: f64,
}
