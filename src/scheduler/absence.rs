//! Hosts that are not there yet: when they are requested, and what becomes of that.

use super::Scheduler;
use super::action::{Action, Time};
use crate::base::HostId;

impl Scheduler {
    // ----- events -----

    /// A host that was away is there.
    pub(crate) fn host_came(&mut self, now: Time, host: HostId) {
        self.workers.hosts_mut().came(host);
        self.advance(now);
    }

    /// A host is away again. If it has workers it is lost, too, which is told beside this.
    pub(crate) fn host_gone(&mut self, now: Time, host: HostId) {
        self.workers.hosts_mut().gone(host);
        self.advance(now);
    }

    /// A host that was away cannot be had. It is requested again after a while, unless that is
    /// hopeless and no other host is left: then the pool breaks.
    pub(crate) fn host_refused(&mut self, now: Time, host: HostId) {
        let is_hopeless = self.workers.hosts_mut().refused(now, host);
        if is_hopeless && !self.workers.hosts().is_any_other_hopeful(host) {
            self.break_down();
        }
        self.advance(now);
    }

    // ----- policy -----

    /// Requests hosts for workers that are wanted, and that no host takes that is there.
    pub(super) fn request_hosts(&mut self, now: Time) {
        while let Some(host) = self.workers.hosts().requests().best(now)
            && self.wants_host()
        {
            self.workers.hosts_mut().request(host);
            self.actions.push_back(Action::Request(host));
        }
    }

    /// When one is to be requested, if nothing else happens before.
    pub(super) fn request_at(&self) -> Option<Time> {
        self.workers.hosts().requests().first().filter(|_| self.wants_host())
    }

    /// Whether those that were requested are not enough.
    fn wants_host(&self) -> bool {
        self.wants_worker_beside(self.workers.hosts().promised())
    }
}
