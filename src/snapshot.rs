//! A pool and its workers as they can be seen at one moment.

use std::collections::BTreeMap;

use crate::id::WorkerId;
use crate::scheduler::{Scheduler, Stage};

/// What handles may look at. The supervisor alone changes it.
pub(crate) struct View {
    pub(crate) scheduler: Scheduler,
    /// The process ids of the workers that have one.
    pub(crate) pids: BTreeMap<WorkerId, u32>,
}

impl View {
    pub(crate) fn workers(&self) -> Vec<WorkerInfo> {
        let workers = self.pids.iter().filter_map(|(&id, &pid)| {
            let seen = self.scheduler.worker(id)?;
            let state = match seen.stage {
                Stage::Starting { .. } => WorkerState::Starting,
                Stage::Ready if seen.busy => WorkerState::Busy,
                Stage::Ready => WorkerState::Idle,
                Stage::Stopping { .. } | Stage::Ending { .. } => WorkerState::Stopping,
            };
            Some(WorkerInfo { id, pid, state, tasks_completed: seen.tasks_completed })
        });
        workers.collect()
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let counts = self.scheduler.counts();
        PoolStats {
            submitted: counts.submitted,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
            waiting: self.scheduler.waiting(),
            running: self.scheduler.running(),
            workers: self.pids.len(),
            worker_starts: counts.worker_starts,
            worker_deaths: counts.worker_deaths,
        }
    }
}

/// A worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its name in the pool.
    pub id: WorkerId,
    /// Its process id.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// The results it has delivered, errors that left it alive included.
    pub tasks_completed: u64,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It starts or runs its initializer.
    Starting,
    /// It waits for a task.
    Idle,
    /// It runs a task.
    Busy,
    /// It leaves or is being ended.
    Stopping,
}

/// A pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Tasks that were accepted so far.
    pub submitted: u64,
    /// Tasks that ran to their end so far: they returned or panicked, or their values could not be
    /// decoded or encoded in the worker.
    pub completed: u64,
    /// Tasks that failed because of their worker, their timeout or the pool so far.
    pub failed: u64,
    /// Tasks that were cancelled or aborted so far.
    pub cancelled: u64,
    /// Tasks that wait to begin now.
    pub waiting: usize,
    /// Tasks that run now.
    pub running: usize,
    /// Worker processes that exist now.
    pub workers: usize,
    /// Workers that were started so far.
    pub worker_starts: u64,
    /// Workers that died so far without having been told to.
    pub worker_deaths: u64,
}
