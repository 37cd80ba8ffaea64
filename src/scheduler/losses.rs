//! Hosts that are reached, and lost.

use super::Scheduler;
use super::action::{Action, KillReason, Time};
use super::worker::{Worker, WorkerStage};
use crate::base::HostId;

impl Scheduler {
    /// A host was reached, and so many workers may be there. If more may be there already it stays
    /// at that, as nobody could replace those that are too many.
    pub(crate) fn host_has(&mut self, now: Time, host: HostId, workers: usize) {
        let capacity = self.workers.hosts_mut().raise_limit(host, workers);
        // The CPUs of other machines are for their own workers.
        self.config.cpus = self.config.cpus.max(capacity);
        if self.config.follows_hosts {
            self.set_most(now, capacity);
        }
        self.advance(now);
    }

    /// A host is lost. Its workers take nothing more, and their ends follow. What runs there has
    /// ended at `safe_at`. Nobody is there to be signaled, but for those that have not come up.
    pub(crate) fn host_lost(&mut self, now: Time, host: HostId, safe_at: Time) {
        self.safe_at = self.safe_at.max(safe_at);
        self.workers.hosts_mut().lost(now, host);
        for id in self.workers.hosts().workers(host) {
            let starts = |worker: &Worker| matches!(worker.stage, WorkerStage::Starting { .. });
            let starts = self.workers.get(id).is_some_and(starts);
            self.update(id, |worker| worker.lose(safe_at));
            self.release_keys(id);
            if starts {
                self.actions.push_back(Action::Kill(id, KillReason::HostLost));
            }
        }
        self.advance(now);
    }
}
