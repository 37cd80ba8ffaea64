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

/// So many of those that have gone do no harm.
const FEW_GONE: usize = 64;
/// So many are compared to see who is to give something to an idle one.
const COMPARED: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Crew {
    /// In ascending order. Those that have gone are here, too, until they are half of all, so that
    /// the others seldom get other places.
    ids: Vec<WorkerId>,
    /// In the same order; none for those that have gone.
    workers: Vec<Option<Worker>>,
    /// So many are there.
    count: usize,
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
    /// Workers that wait for the places of others.
    successors: NumberSet,
    /// Workers that have something to give to another one.
    helpable: NumberSet,
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
        let [idle_outgoing, successors, helpable] = [(); 3].map(|()| NumberSet::default());
        let open = ByLoad::new(max_pipeline);
        Self { tally, tenures, open, idle_outgoing, successors, helpable, timeouts, divides, idle }
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
        self.sort(id, before, after);
        self.timeouts.set(place, after.timeout);
        self.divides.set(place, after.divides);
        self.idle.set(place, after.idle);
    }

    /// Puts a worker into the sets to which it belongs.
    fn sort(&mut self, id: WorkerId, before: &Standing, after: &Standing) {
        let sort = |set: &mut NumberSet, belongs: fn(&Standing) -> bool| {
            match (belongs(before), belongs(after)) {
                (false, true) => set.insert(id.0),
                (true, false) => set.remove(id.0),
                _ => true,
            };
        };
        sort(&mut self.idle_outgoing, Standing::is_idle_outgoing);
        sort(&mut self.successors, Standing::is_successor);
        sort(&mut self.helpable, Standing::is_helpable);
    }

    /// A worker has gone.
    fn remove(&mut self, place: usize, id: WorkerId, standing: &Standing) {
        self.open.change(id, standing.load, None);
        self.tally -= standing.tally;
        self.tenures.remove(standing.tenure);
        self.sort(id, standing, &Standing::NONE);
        for times in [&mut self.timeouts, &mut self.divides, &mut self.idle] {
            times.set(place, Time::MAX);
        }
    }

    /// Every worker may have another place than before.
    fn place(&mut self, workers: &[Option<Worker>]) {
        let standing = |worker: &'_ Option<Worker>| {
            worker.as_ref().map_or(Standing::NONE, |worker| worker.standing)
        };
        let standings = || workers.iter().map(standing);
        self.timeouts = Earliest::of(standings().map(|standing| standing.timeout));
        self.divides = Earliest::of(standings().map(|standing| standing.divides));
        self.idle = Earliest::of(standings().map(|standing| standing.idle));
    }
}

impl Crew {
    pub(super) fn new(config: &Config) -> Self {
        let (summary, hosts) = (Summary::new(config.max_pipeline), HostTable::new(config));
        Self { ids: Vec::new(), workers: Vec::new(), count: 0, summary, hosts }
    }

    // ----- one of them -----

    /// Where a worker stands, or stood. Ids are counted up, so while none has gone, or as long as
    /// the oldest ones stay together, that is known without a search.
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
        self.workers[self.find(id)?].as_ref()
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
        let result = change(self.workers[place].as_mut()?);
        self.updated(place, config, surplus);
        Some(result)
    }

    /// What follows on each change. It stands apart, so that the compiler has it only once.
    fn updated(&mut self, place: usize, config: &Config, surplus: bool) {
        let Some(worker) = &mut self.workers[place] else { return };
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
        self.hosts.add(worker.host, id, &worker.standing);
        self.workers.push(Some(worker));
        self.count += 1;
        if self.ids.len() > self.summary.timeouts.room() {
            self.summary.place(&self.workers);
        }
        self.update(id, config, surplus, |_| ());
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let place = self.find(id)?;
        let worker = self.workers[place].take()?;
        self.count -= 1;
        self.summary.remove(place, id, &worker.standing);
        self.hosts.remove(worker.host, id, &worker.standing);
        if self.ids.len() > 2 * self.count + FEW_GONE {
            self.close_ranks();
        }
        Some(worker)
    }

    /// Forgets those that have gone.
    fn close_ranks(&mut self) {
        let mut workers = self.workers.iter();
        self.ids.retain(|_| workers.next().is_some_and(Option::is_some));
        self.workers.retain(Option::is_some);
        self.ids.shrink_to(2 * self.count);
        self.workers.shrink_to(2 * self.count);
        self.summary.place(&self.workers);
    }

    // ----- all of them -----

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let all = self.ids.iter().zip(&self.workers);
        all.filter_map(|(id, worker)| Some((*id, worker.as_ref()?)))
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

    /// The workers that wait for the places of others, in the order of their ids.
    pub(super) fn successors(&self) -> impl Iterator<Item = WorkerId> {
        self.summary.successors.iter().map(WorkerId)
    }

    /// The youngest of those that have nothing to do.
    pub(super) fn last_idle(&self) -> Option<WorkerId> {
        self.summary.open.workers.first()?.last().map(WorkerId)
    }

    /// The first ones that could give others a part of what they run, or if it `helps` what they
    /// were sent ahead.
    pub(super) fn to_be_helped(&self, now: Time, helps: bool) -> impl Iterator<Item = WorkerId> {
        let helpable = self.summary.helpable.iter().take(if helps { COMPARED } else { 0 });
        let dividing = self.summary.divides.due(now).take(COMPARED);
        helpable.map(WorkerId).chain(dividing.map(|place| self.ids[place]))
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

    fn ids_of(&self, places: impl Iterator<Item = usize>) -> Vec<WorkerId> {
        places.map(|place| self.ids[place]).collect()
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
            counted.sort(id, &Standing::NONE, &worker.standing);
        }
        let stands = |(_, worker): (_, &Worker)| {
            worker.is_true() && worker.standing == worker.stand(config, surplus)
        };
        let standings = self.iter().map(|(id, worker)| (worker.host, id, &worker.standing));
        self.hosts.is_true(standings)
            && counted == self.summary
            && self.iter().all(stands)
            && self.ids.is_sorted()
            && self.count == self.iter().count()
            && self.ids.len() == self.workers.len()
            && self.ids.len() <= 2 * self.count + FEW_GONE
    }
}
