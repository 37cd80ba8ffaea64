//! What no action tells, for tests that have to know.

use super::{Scheduler, Tenure};
use crate::base::WorkerId;

/// A worker has another tenure, or was found stuck, before so many actions were said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    actions: u64,
    pub(super) worker: WorkerId,
    pub(super) tenure: Tenure,
    pub(super) is_stuck: bool,
}

impl Scheduler {
    pub(super) fn note_change(&mut self, worker: WorkerId) {
        let Some(now) = self.workers.get(worker) else { return };
        let (tenure, is_stuck) = (now.tenure(), now.is_stuck());
        let actions = self.polled + self.actions.len() as u64;
        self.changes.push_back(Change { actions, worker, tenure, is_stuck });
    }

    /// The next change that came before so many actions.
    pub(super) fn poll_change(&mut self, actions: u64) -> Option<Change> {
        self.changes.pop_front_if(|change| change.actions <= actions)
    }
}
