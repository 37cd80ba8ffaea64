//! What becomes of hosts.

use std::time::Duration;

use super::super::history::HostDeed;
use super::super::model::Presence;
use super::super::sabotage::Saboteur;
use super::Play;
use crate::base::{HostId, WorkerId};
use crate::scheduler::{End, StartFailureKind};
use crate::testing::Check;

impl Play {
    fn choose_host(&self, n: usize) -> HostId {
        let hosts: Vec<_> = self.model.hosts().collect();
        hosts[n % hosts.len()]
    }

    /// What cannot be done at this moment is left out.
    pub(super) fn host_deed(&mut self, n: usize, deed: HostDeed) -> Check {
        let host = self.choose_host(n);
        match (deed, self.model.presence(host)) {
            (HostDeed::Come, Presence::Away | Presence::Requested) => self.come(host),
            (HostDeed::Refuse, Presence::Away | Presence::Requested) => {
                self.sights.see("a host that is not to be had");
                self.model.host_refused(self.now, host);
                self.scheduler.host_refused(self.now, host);
                self.settle()
            }
            (HostDeed::Go, Presence::There) if self.model.config.hosts[host.position()].is_away => {
                self.sights.see("a host that goes");
                self.model.moves(host, Presence::Away);
                self.scheduler.host_gone(self.now, host);
                self.settle()?;
                // Whoever says so also says that what is there is lost.
                let has_workers = self.model.live().any(|desk| desk.host == host);
                if has_workers { self.lose_host(n, Duration::ZERO) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn come(&mut self, host: HostId) -> Check {
        self.sights.see("a host that comes");
        self.model.moves(host, Presence::There);
        if !self.saboteur.as_ref().is_some_and(Saboteur::overlooks_hosts) {
            self.scheduler.host_came(self.now, host);
        }
        self.settle()
    }

    /// All hosts come that were requested; whether there were any.
    pub(super) fn all_come(&mut self) -> Result<bool, String> {
        let is_requested = |host: &HostId| self.model.presence(*host) == Presence::Requested;
        let requested: Vec<_> = self.model.hosts().filter(is_requested).collect();
        for host in &requested {
            self.come(*host)?;
        }
        Ok(!requested.is_empty())
    }

    pub(super) fn is_lost(&self, worker: WorkerId) -> bool {
        self.model.desk(worker).is_some_and(|desk| desk.lost.is_some())
    }

    pub(super) fn lose_host(&mut self, n: usize, safe_in: Duration) -> Check {
        let host = self.choose_host(n);
        self.sights.see("a host that is lost");
        self.model.host_lost(self.now, host, self.now + safe_in);
        let safe_at = self.now + safe_in;
        let told = match &self.saboteur {
            Some(saboteur) => saboteur.misjudge_loss(self.now, safe_at),
            None => Some(safe_at),
        };
        if let Some(safe_at) = told {
            self.scheduler.host_lost(self.now, host, safe_at);
        }
        self.settle()
    }

    pub(super) fn reach_host(&mut self, n: usize, workers: usize) -> Check {
        let host = self.choose_host(n);
        self.sights.see("a host that says how many workers it may have");
        self.model.host_has(host, workers);
        self.scheduler.host_has(self.now, host, workers);
        self.settle()
    }

    /// It is gone with its host, and may run on there.
    pub(super) fn vanish(&mut self, worker: WorkerId) -> Check {
        self.read_all(worker)?;
        if !self.process(worker).up {
            return self.end(worker, End::StartFailed(StartFailureKind::Unreachable));
        }
        let (pipeline, taken) = self.take_back_all(worker);
        let begun = pipeline.len().saturating_sub(taken);
        if begun > 0 {
            self.sights.see("a task that may run on without its host");
        }
        self.model.vanished(worker, &pipeline[..begun]);
        self.end(worker, End::HostLost { taken })
    }
}
