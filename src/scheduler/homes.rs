//! Which worker the tasks of a key go to.

use std::collections::BTreeMap;

use super::task::Key;
use crate::base::WorkerId;
use crate::base::maps::SortedMap;

/// So many keys are remembered; of more, those that were used last.
const REMEMBERED: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Homes {
    /// The number of each key's worker. This and the two below are of one type on purpose, which
    /// the compiler has to translate only once.
    workers: BTreeMap<Key, u64>,
    /// When each of the same keys was used last.
    last: BTreeMap<Key, u64>,
    /// Keys by their last use.
    uses: BTreeMap<u64, Key>,
    /// How many keys each worker is the home of.
    counts: SortedMap<WorkerId, usize>,
    /// Counts uses.
    clock: u64,
}

impl Homes {
    pub(super) fn find(&self, key: Key) -> Option<WorkerId> {
        self.workers.get(&key).copied().map(WorkerId)
    }

    /// The worker has got a task of that key.
    pub(super) fn settle(&mut self, key: Key, worker: WorkerId) {
        self.clock += 1;
        self.remove(key);
        self.workers.insert(key, worker.0);
        self.last.insert(key, self.clock);
        self.uses.insert(self.clock, key);
        *self.counts.or_default(&worker) += 1;
        if self.workers.len() > REMEMBERED
            && let Some((_, oldest)) = self.uses.first_key_value()
        {
            self.remove(*oldest);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(worker) = self.workers.remove(&key) else { return };
        if let Some(last) = self.last.remove(&key) {
            self.uses.remove(&last);
        }
        if let Some(count) = self.counts.get_mut(&WorkerId(worker)) {
            *count -= 1;
        }
    }

    /// How many keys have their home there.
    pub(super) fn count(&self, worker: WorkerId) -> usize {
        self.counts.get(&worker).copied().unwrap_or_default()
    }

    /// Forgets the keys of a worker, but not those that are `kept`.
    pub(super) fn forget(&mut self, worker: WorkerId, kept: &[Key]) {
        if self.count(worker) > 0 {
            let keys = self.workers.iter().filter(|(_, home)| **home == worker.0);
            let keys: Vec<Key> = keys.map(|(key, _)| *key).collect();
            keys.into_iter().filter(|key| !kept.contains(key)).for_each(|key| self.remove(key));
        }
        if self.count(worker) == 0 {
            self.counts.remove(&worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_where_it_was_last_used() {
        let mut homes = Homes::default();
        homes.settle(1, WorkerId(1));
        homes.settle(2, WorkerId(2));
        homes.settle(1, WorkerId(3));
        assert_eq!((homes.find(1), homes.find(2)), (Some(WorkerId(3)), Some(WorkerId(2))));
        homes.forget(WorkerId(3), &[]);
        assert_eq!((homes.find(1), homes.find(2)), (None, Some(WorkerId(2))));
        assert_eq!(homes.uses.len(), 1);
        assert_eq!((homes.count(WorkerId(3)), homes.count(WorkerId(2))), (0, 1));
    }

    #[test]
    fn the_keys_that_were_not_used_for_longest_are_forgotten() {
        let mut homes = Homes::default();
        homes.settle(u64::MAX, WorkerId(1));
        for key in 0..REMEMBERED as u64 {
            homes.settle(key, WorkerId(2));
        }
        assert_eq!(homes.find(u64::MAX), None);
        assert_eq!(homes.find(0), Some(WorkerId(2)));
        assert_eq!((homes.workers.len(), homes.uses.len()), (REMEMBERED, REMEMBERED));
        assert_eq!((homes.count(WorkerId(1)), homes.count(WorkerId(2))), (0, REMEMBERED));
    }
}
