//! How things stand.

use super::Scheduler;
use super::action::Failure;
use super::task::TenantKey;
use super::view::{Counts, HostView, WorkerView};
use super::worker::{Sent, Sentence};
use crate::base::{HostId, TaskId, WorkerId};

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

    /// Tasks that run, or have just run and may be begun again.
    pub(crate) fn running(&self) -> usize {
        self.workers.tally().busy as usize + self.undecided.len()
    }

    pub(crate) fn worker(&self, id: WorkerId) -> Option<WorkerView> {
        let worker = self.workers.get(id)?;
        Some(WorkerView {
            stage: worker.stage,
            host: worker.host,
            is_lost: worker.is_lost(),
            busy: worker.head().is_some(),
            running_since: worker.head().map(|_| worker.since),
            tasks_completed: worker.tasks_completed,
            is_stuck: worker.is_stuck(),
            recallable: worker.recallable,
            sentenced: worker.head().and_then(sentenced),
        })
    }

    pub(crate) fn host(&self, id: HostId) -> Option<HostView> {
        self.workers.hosts().view(id)
    }

    /// The tasks in a worker's hands, the running one first.
    pub(crate) fn pipeline(&self, id: WorkerId) -> impl DoubleEndedIterator<Item = TaskId> {
        let worker = self.workers.get(id);
        worker.into_iter().flat_map(|worker| worker.pipeline.iter().map(|sent| sent.task.id))
    }

    /// For whom the running task of a worker is.
    pub(crate) fn tenant_of_running(&self, id: WorkerId) -> Option<TenantKey> {
        self.workers.get(id)?.head()?.task.wishes().tenant
    }
}

fn sentenced(sent: &Sent) -> Option<(TaskId, Failure)> {
    let failure = match sent.sentence? {
        Sentence::CutShort => Failure::ShutDown,
        other => other.failure(sent.task.wishes().timeout),
    };
    Some((sent.task.id, failure))
}
