//! What may be seen of it all.

use super::action::{Failure, Time};
pub(crate) use super::recallable::Recallable;
use super::worker::WorkerStage;
use crate::base::{HostId, TaskId};

/// Counts of what happened so far and of how things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Tasks whose workers were made to end by a shutdown's time limit, or by an end of all
    /// workers.
    pub(crate) killed: u64,
    pub(crate) worker_starts: u64,
    /// Those of the starts that took the place of a worker that had ended.
    pub(crate) worker_restarts: u64,
    pub(crate) worker_deaths: u64,
    pub(crate) start_failures: u64,
    /// Workers that were lost with their hosts.
    pub(crate) workers_lost: u64,
}

/// What may be seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerView {
    pub(crate) stage: WorkerStage,
    pub(crate) host: HostId,
    /// Its host was lost.
    pub(crate) is_lost: bool,
    pub(crate) busy: bool,
    /// Since when its running task counts as running.
    pub(crate) running_since: Option<Time>,
    pub(crate) tasks_completed: u64,
    /// It does nothing any more.
    pub(crate) is_stuck: bool,
    pub(crate) recallable: Recallable,
    /// Which task it is ended for, and what becomes of that; of one that is ended with all workers
    /// it is that the pool is shut down.
    pub(crate) sentenced: Option<(TaskId, Failure)>,
}

/// What may be seen of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostView {
    /// The most workers that it may have now, but for successors.
    pub(crate) max_workers: usize,
    pub(crate) workers: usize,
    pub(crate) workers_ready: usize,
    /// Nothing counts on it.
    pub(crate) rests: bool,
    /// It has to be requested, or was requested and has not come.
    pub(crate) is_away: bool,
}
