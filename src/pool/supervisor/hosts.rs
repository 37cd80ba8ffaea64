//! What becomes of hosts.

use std::sync::Arc;

use super::Supervisor;
use crate::base::{HostId, log};
use crate::error::{BrokenCause, StartError};
use crate::parent::birth::HostSite;
use crate::parent::message::HostsChange;
use crate::pool::commons::HostNews;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Scheduler, Time};

impl Supervisor {
    pub(super) fn learn_of_hosts(&mut self, view: &mut View, now: Time) {
        for news in self.commons.take_host_news() {
            match news {
                HostNews::Lost(host, safe_at) => {
                    view.scheduler.host_lost(now, host, safe_at);
                    self.perform(view, now);
                }
                HostNews::Changed { hosts, name, change } => {
                    self.hosts_changed(view, now, &hosts, &name, change);
                }
            }
        }
    }

    fn hosts_changed(
        &mut self,
        view: &mut View,
        now: Time,
        hosts: &[HostId],
        name: &Arc<str>,
        change: HostsChange,
    ) {
        view.observer.hosts_changed(name, &change);
        let tell = match &change {
            HostsChange::Awaited(_) => return,
            HostsChange::Came(_) => Scheduler::host_came,
            HostsChange::Gone(_) => Scheduler::host_gone,
            HostsChange::Refused(_) => Scheduler::host_refused,
        };
        if let HostsChange::Refused(reason) = change {
            let reason = reason.into();
            let error = StartError::Unreachable { host: Arc::clone(name), reason };
            log::warning!("{}: {error}", self.commons.name);
            self.death = Some(BrokenCause::Start(error)); // if that breaks the pool
        }
        for host in hosts {
            tell(&mut view.scheduler, now, *host);
            self.perform(view, now);
        }
        self.death = None;
    }

    /// Has a host come that is not there.
    pub(super) fn request(&self, host: HostId) {
        if let Some(HostSite { start, .. }) = self.sites.get(host.position()) {
            start.request(&self.runtime);
        }
    }
}
