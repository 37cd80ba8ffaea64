//! Where workers may be started, and what the loss of a host forbids.

use super::Trial;
use crate::base::{HostId, WorkerId};
use crate::scheduler::tests::model::{Entry, Place, Presence};
use crate::testing::{Check, ensure};

impl Trial<'_> {
    pub(super) fn start(&self, worker: WorkerId, host: HostId) -> Check {
        let model = self.model;
        ensure!(worker == model.next_worker(), "{worker} skips a number");
        ensure!(model.may_exist(), "{worker} is one process too many");
        ensure!(model.hosts().any(|known| known == host), "{host:?} is unknown");
        ensure!(model.presence(host) == Presence::There, "{host:?} is not there for {worker}");
        ensure!(model.may_exist_on(host), "{worker} is one process too many on {host:?}");
        let succeeds = model.may_need_successor(self.now);
        ensure!(succeeds || model.lacks_workers(self.now), "{worker} is one too many");
        let suspects = model.ready_tasks(self.now).any(Entry::is_suspect) && model.idle() == 1;
        let mut idle = model.live().filter(|desk| desk.is_idle() && !model.lacks_reserve());
        let idle = idle.find(|_| !succeeds && !suspects);
        ensure!(idle.is_none(), "{worker} is not needed beside {idle:?}");
        ensure!(model.not_before(host) <= self.now, "{worker} comes too early");
        ensure!(!model.waits_for_one(host), "another one is tried on {host:?} before {worker}");
        if succeeds {
            return Ok(()); // it may come for the place of another one
        }
        ensure!(model.may_have_one(host), "{worker} has no place on {host:?}");
        let can_have =
            |host: &HostId| model.may_have_one(*host) && model.not_before(*host) <= self.now;
        let best =
            model.hosts().filter(can_have).min_by_key(|host| (model.reluctance(*host), *host));
        ensure!(best == Some(host), "{worker} is better off on {best:?}");
        Ok(())
    }

    /// A host has to come.
    pub(super) fn request(&self, host: HostId) -> Check {
        let model = self.model;
        ensure!(model.hosts().any(|known| known == host), "{host:?} is unknown");
        ensure!(model.presence(host) == Presence::Away, "{host:?} is requested twice");
        ensure!(model.not_before(host) <= self.now, "{host:?} is requested too early");
        ensure!(model.wants_host(self.now) && model.has_room(host), "{host:?} is not wanted");
        let missing = model.start_at(self.now).is_some_and(|at| at <= self.now);
        ensure!(!missing, "a host that is there could do it in place of {host:?}");
        Ok(())
    }

    /// What was begun on a host that is lost may still run there.
    pub(super) fn send_after_loss(&self, entry: &Entry) -> Check {
        let (id, key) = (entry.id, entry.wishes.key);
        ensure!(entry.runs_until <= self.now, "{id} may still run on a host that was lost");
        let runs = |other: &&Entry| other.runs_until > self.now && other.wishes.key == key;
        let rival = self.model.tasks.iter().filter(|_| key.is_some()).find(runs);
        ensure!(rival.is_none(), "{rival:?} has the same key as {id}, and may still run");
        Ok(())
    }

    /// Whether it is with a worker that has gone with its host.
    pub(super) fn has_vanished(&self, entry: &Entry) -> bool {
        let Place::Sent(worker) = entry.place else { return false };
        self.model.desk(worker).is_some_and(|desk| desk.has_vanished)
    }
}
