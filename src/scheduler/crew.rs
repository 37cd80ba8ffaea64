//! All workers of a pool, and what must be known of them together. It is kept up to date whenever
//! one of them changes, so that no event has to look at all of them.

use super::action::{Config, Time};
use super::earliest::Earliest;
use super::hosts::HostTable;
use super::numbers::NumberSet;
use super::standing::{Standing, Tally};
use super::tenure::Tenures;
use super::worker::Worker;
use crate::base::WorkerId;

#[derive(Clone, Debug)]
pub(super) struct Crew {
    /// In ascending order.
    ids: Vec<WorkerId>,
    /// In the same order.
    workers: Vec<Worker>,
    summary: Summary,
    hosts: HostTable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    tally: Tally,
    tenures: Tenures,
    open: ByLoad,
    /// Workers that are to be replaced, and have no task.
    idle_outgoing: NumberSet,
    /// The times have the places of their workers.
    timeouts: Earliest,
    divides: Earliest,
    idle: Earliest,
}

/// Workers with room for one more task, by load.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByLoad {
    /// Which loads there are.
    loads: NumberSet,
    /// By load.
    workers: Vec<NumberSet>,
    /// The least load, and the first worker that has no more.
    first: Option<(usize, WorkerId)>,
}

impl ByLoad {
    fn new(max_pipeline: usize) -> Self {
        // Who has room has less than the most.
        let workers = vec![NumberSet::default(); max_pipeline];
        Self { loads: NumberSet::default(), workers, first: None }
    }

    fn change(&mut self, id: WorkerId, before: Option<usize>, after: Option<usize>) {
        if before == after {
            return;
        }
        if let Some(load) = before {
            self.workers[load].remove(id.0);
            if self.workers[load].is_empty() {
                self.loads.remove(load as u64);
            }
        }
        if let Some(load) = after {
            self.workers[load].insert(id.0);
            self.loads.insert(load as u64);
        }
        self.first = self.first_from(0);
    }

    /// The least one that is not below `load`, and the first worker that has no more.
    fn first_from(&self, load: usize) -> Option<(usize, WorkerId)> {
        let load = usize::try_from(self.loads.first_from(load as u64)?).ok()?;
        Some((load, WorkerId(self.workers[load].first()?)))
    }
}

impl Summary {
    fn new(max_pipeline: usize) -> Self {
        let [timeouts, divides, idle] = [(); 3].map(|()| Earliest::default());
        let (tally, tenures) = (Tally::default(), Tenures::default());
        let (open, idle_outgoing) = (ByLoad::new(max_pipeline), NumberSet::default());
        Self { tally, tenures, open, idle_outgoing, timeouts, divides, idle }
    }

    /// A worker's standing changes.
    fn update(&mut self, place: usize, id: WorkerId, before: &Standing, after: &Standing) {
        self.open.change(id, before.load, after.load);
        self.tally += after.tally;
        self.tally -= before.tally;
        if before.tenure != after.tenure {
            self.tenures.add(after.tenure);
            self.tenures.remove(before.tenure);
        }
        self.set_outgoing(id, before.is_idle_outgoing(), after.is_idle_outgoing());
        self.timeouts.set(place, after.timeout);
        self.divides.set(place, after.divides);
        self.idle.set(place, after.idle);
    }

    fn set_outgoing(&mut self, id: WorkerId, before: bool, after: bool) {
        if after && !before {
            self.idle_outgoing.insert(id.0);
        } else if before && !after {
            self.idle_outgoing.remove(id.0);
        }
    }

    /// Every worker may have another place than before.
    fn place(&mut self, workers: &[Worker]) {
        let standings = || workers.iter().map(|worker| &worker.standing);
        self.timeouts = Earliest::of(standings().map(|standing| standing.timeout));
        self.divides = Earliest::of(standings().map(|standing| standing.divides));
        self.idle = Earliest::of(standings().map(|standing| standing.idle));
    }
}

impl Crew {
    pub(super) fn new(config: &Config) -> Self {
        let (summary, hosts) = (Summary::new(config.max_pipeline), HostTable::new(config));
        Self { ids: Vec::new(), workers: Vec::new(), summary, hosts }
    }

    // ----- one of them -----

    /// Where a worker stands. Ids are counted up, so while none has gone, or as long as the oldest
    /// ones stay together, that is known without a search.
    fn find(&self, id: WorkerId) -> Option<usize> {
        let after_first = id.0.checked_sub(self.ids.first()?.0)?;
        let last = self.ids.len() - 1;
        let guess = usize::try_from(after_first).map_or(last, |after| after.min(last));
        if self.ids[guess] == id {
            return Some(guess);
        }
        self.ids[..guess].binary_search(&id).ok()
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        Some(&self.workers[self.find(id)?])
    }

    /// The one way to change a worker. `surplus` says whether there are too many of them.
    pub(super) fn update<R>(
        &mut self,
        id: WorkerId,
        config: &Config,
        surplus: bool,
        change: impl FnOnce(&mut Worker) -> R,
    ) -> Option<R> {
        let place = self.find(id)?;
        let result = change(&mut self.workers[place]);
        self.updated(place, config, surplus);
        Some(result)
    }

    /// What follows on each change. It stands apart, so that the compiler has it only once.
    fn updated(&mut self, place: usize, config: &Config, surplus: bool) {
        let worker = &mut self.workers[place];
        let standing = worker.stand(config, surplus);
        if standing != worker.standing {
            let before = std::mem::replace(&mut worker.standing, standing);
            if before.differs_on_host(&standing) {
                self.hosts.update(worker.host, &before, &standing);
            }
            self.summary.update(place, self.ids[place], &before, &standing);
        }
    }

    /// Its id is above those of all others.
    pub(super) fn push(&mut self, id: WorkerId, worker: Worker, config: &Config, surplus: bool) {
        self.ids.push(id);
        self.summary.tenures.add(worker.standing.tenure);
        self.hosts.add(worker.host, &worker.standing);
        self.workers.push(worker);
        if self.ids.len() > self.summary.timeouts.room() {
            self.summary.place(&self.workers);
        }
        self.update(id, config, surplus, |_| ());
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let place = self.find(id)?;
        self.ids.remove(place);
        let worker = self.workers.remove(place);
        self.summary.open.change(id, worker.standing.load, None);
        self.summary.set_outgoing(id, worker.standing.is_idle_outgoing(), false);
        self.summary.tally -= worker.standing.tally;
        self.summary.tenures.remove(worker.standing.tenure);
        self.hosts.remove(worker.host, &worker.standing);
        self.summary.place(&self.workers);
        Some(worker)
    }

    // ----- all of them -----

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// In the order of their ids.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (WorkerId, &Worker)> {
        self.ids.iter().copied().zip(&self.workers)
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.summary.tally
    }

    pub(super) fn hosts(&self) -> &HostTable {
        &self.hosts
    }

    pub(super) fn hosts_mut(&mut self) -> &mut HostTable {
        &mut self.hosts
    }

    pub(super) fn tenures(&self) -> &Tenures {
        &self.summary.tenures
    }

    /// The least load of a worker with room, and the first worker that has no more.
    pub(super) fn first_open(&self) -> Option<(usize, WorkerId)> {
        self.summary.open.first
    }

    /// The same of those that are not idle.
    pub(super) fn first_busy_open(&self) -> Option<(usize, WorkerId)> {
        self.summary.open.first_from(1)
    }

    /// Whether two workers at least have nothing to do.
    pub(super) fn are_several_idle(&self) -> bool {
        self.open_with(0).nth(1).is_some()
    }

    /// The workers with room that have so many tasks, in the order of their ids.
    pub(super) fn open_with(&self, load: usize) -> impl Iterator<Item = WorkerId> {
        let workers = self.summary.open.workers.get(load);
        workers.into_iter().flat_map(NumberSet::iter).map(WorkerId)
    }

    /// The workers that are to be replaced and have no task, in the order of their ids.
    pub(super) fn idle_outgoing(&self) -> impl Iterator<Item = WorkerId> {
        self.summary.idle_outgoing.iter().map(WorkerId)
    }

    // ----- times -----

    /// When the first of them has to be looked at.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.summary.timeouts.first()
    }

    /// Those that have to be looked at.
    pub(super) fn due(&self, now: Time) -> Vec<WorkerId> {
        self.ids_of(self.summary.timeouts.due(now))
    }

    /// When others that are idle may first take a part of what one runs.
    pub(super) fn divides_at(&self) -> Option<Time> {
        self.summary.divides.first()
    }

    /// When the first one has been idle for too long.
    pub(super) fn idle_until(&self) -> Option<Time> {
        self.summary.idle.first()
    }

    /// Those that have been idle for too long.
    pub(super) fn idle_too_long(&self, now: Time) -> Vec<WorkerId> {
        self.ids_of(self.summary.idle.due(now))
    }

    fn ids_of(&self, places: Vec<usize>) -> Vec<WorkerId> {
        places.into_iter().map(|place| self.ids[place]).collect()
    }

    /// Whether all that is kept is what a count gives.
    #[cfg(test)]
    pub(super) fn is_true(&self, config: &Config, surplus: bool) -> bool {
        let mut counted = Summary::new(config.max_pipeline);
        counted.place(&self.workers);
        for (id, worker) in self.iter() {
            counted.tally += worker.standing.tally;
            counted.tenures.add(worker.standing.tenure);
            counted.open.change(id, None, worker.standing.load);
            counted.set_outgoing(id, false, worker.standing.is_idle_outgoing());
        }
        let stands = |(_, worker): (_, &Worker)| {
            worker.is_true() && worker.standing == worker.stand(config, surplus)
        };
        let standings = self.workers.iter().map(|worker| (worker.host, &worker.standing));
        self.hosts.is_true(standings)
            && counted == self.summary
            && self.iter().all(stands)
            && self.ids.is_sorted()
    }
}
