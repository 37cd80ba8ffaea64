//! What may be seen of it all.

use super::Scheduler;
use super::action::Time;
use super::task::Tenant;
use super::worker::WorkerStage;
use crate::base::{TaskId, WorkerId};

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
}

/// What may be seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerView {
    pub(crate) stage: WorkerStage,
    pub(crate) busy: bool,
    /// Since when its running task counts as running.
    pub(crate) running_since: Option<Time>,
    pub(crate) tasks_completed: u64,
    /// It does nothing any more.
    pub(crate) is_stuck: bool,
    /// Tasks can be taken back from it.
    pub(crate) recallable: bool,
}

impl Scheduler {
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Tasks that wait to begin, those sent ahead included.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + self.workers.tally().ahead as usize
    }

    /// The least and the most workers that there may be.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.least_workers(), self.config.max_workers)
    }

    pub(crate) fn running(&self) -> usize {
        self.workers.tally().busy as usize
    }

    pub(crate) fn worker(&self, id: WorkerId) -> Option<WorkerView> {
        let worker = self.workers.get(id)?;
        Some(WorkerView {
            stage: worker.stage,
            busy: worker.head().is_some(),
            running_since: worker.head().map(|_| worker.since),
            tasks_completed: worker.tasks_completed,
            is_stuck: worker.is_stuck(),
            recallable: worker.recallable,
        })
    }

    /// The tasks in a worker's hands, the running one first.
    pub(crate) fn pipeline(&self, id: WorkerId) -> impl DoubleEndedIterator<Item = TaskId> {
        let worker = self.workers.get(id);
        worker.into_iter().flat_map(|worker| worker.pipeline.iter().map(|sent| sent.task.id))
    }

    /// For whom the running task of a worker is.
    pub(crate) fn tenant_of_running(&self, id: WorkerId) -> Option<Tenant> {
        self.workers.get(id)?.head()?.task.wishes().tenant
    }
}
