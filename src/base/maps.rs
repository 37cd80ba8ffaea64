//! Maps of few entries, and of what goes by ids.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use super::id::TaskId;

/// What is kept of some tasks, to be looked up only: its order reaches nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskMap<V>(HashMap<TaskId, V, BuildHasherDefault<IdHasher>>);

impl<V> Default for TaskMap<V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<V> TaskMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<&V> {
        self.0.get(&task)
    }

    pub(crate) fn get_mut(&mut self, task: TaskId) -> Option<&mut V> {
        self.0.get_mut(&task)
    }

    pub(crate) fn insert(&mut self, task: TaskId, value: V) {
        self.0.insert(task, value);
    }

    pub(crate) fn remove(&mut self, task: TaskId) -> Option<V> {
        /// Room for so many is always kept.
        const KEPT: usize = 1_000;
        let removed = self.0.remove(&task);
        let (left, room) = (self.0.len(), self.0.capacity());
        if room > 2 * KEPT && left < room / 8 {
            self.0.shrink_to(KEPT.max(2 * left));
        }
        removed
    }

    /// The tasks, in their order.
    pub(crate) fn into_tasks(self) -> Vec<TaskId> {
        let mut tasks: Vec<_> = self.0.into_keys().collect();
        tasks.sort_unstable();
        tasks
    }
}

#[cfg(test)]
impl<V> FromIterator<(TaskId, V)> for TaskMap<V> {
    fn from_iter<I: IntoIterator<Item = (TaskId, V)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A map in the order of its keys: one vector of keys, and one of values. What is inserted or
/// removed moves all that is behind it, so it is for at most some thousand entries, and small ones
/// if they come and go. Each type of `BTreeMap` is some thousand lines for the compiler; this is
/// few.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SortedMap<K, V> {
    keys: Vec<K>,
    /// In the same order.
    values: Vec<V>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> SortedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn keys(&self) -> std::slice::Iter<'_, K> {
        self.keys.iter()
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, V> {
        self.values.iter()
    }

    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    pub(crate) fn into_values(self) -> std::vec::IntoIter<V> {
        self.values.into_iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.keys.iter().zip(&self.values)
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&mut V) -> bool) {
        let mut kept = 0;
        for place in 0..self.keys.len() {
            if is_kept(&mut self.values[place]) {
                self.keys.swap(kept, place);
                self.values.swap(kept, place);
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.values.truncate(kept);
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where a key is, or else where it belongs. A new key is most often above all others, so that
    /// is looked at first.
    fn find(&self, key: &K) -> Result<usize, usize> {
        match self.keys.last() {
            Some(last) if last >= key => self.keys.binary_search(key),
            _ => Err(self.keys.len()),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        Some(&self.values[self.find(key).ok()?])
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key).ok()?;
        Some(&mut self.values[place])
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// Returns the value that is replaced.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.values[place], value)),
            Err(place) => {
                self.keys.insert(place, key);
                self.values.insert(place, value);
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.find(key).ok()?;
        self.keys.remove(place);
        Some(self.values.remove(place))
    }
}

impl<K: Ord + Clone, V: Default> SortedMap<K, V> {
    /// The value of a key, which is there from now on.
    pub(crate) fn or_default(&mut self, key: &K) -> &mut V {
        let place = self.find(key).unwrap_or_else(|place| {
            self.keys.insert(place, key.clone());
            self.values.insert(place, V::default());
            place
        });
        &mut self.values[place]
    }
}

/// Ids are counted up by this process, so nobody can choose them to collide; spreading them is
/// enough.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = id.wrapping_mul(GOLDEN_RATIO).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Random;

    #[test]
    fn it_is_a_map() {
        let mut random = Random::seeded(1);
        let (mut map, mut expected) = (SortedMap::default(), BTreeMap::new());
        for number in 0..3_000 {
            let key = random.below(50);
            match random.below(6) {
                0 | 1 => {
                    map.insert(key, number);
                    expected.insert(key, number);
                }
                2 => assert_eq!(map.remove(&key), expected.remove(&key)),
                3 => {
                    *map.or_default(&key) += 1;
                    *expected.entry(key).or_default() += 1;
                }
                4 if random.one_in(20) => {
                    map.retain(|value| *value % 3 > 0);
                    expected.retain(|_, value| *value % 3 > 0);
                }
                _ => assert_eq!(map.get_mut(&key), expected.get_mut(&key)),
            }
            assert_eq!(map.get(&key), expected.get(&key));
            assert_eq!(map.contains_key(&key), expected.contains_key(&key));
            assert_eq!((map.len(), map.is_empty()), (expected.len(), expected.is_empty()));
            assert!(map.iter().eq(&expected));
        }
        assert!(map.keys().eq(expected.keys()) && map.values().eq(expected.values()));
        assert!(map.values_mut().eq(expected.values_mut()));
    }

    #[test]
    fn room_for_many_tasks_is_given_back() {
        let mut map: TaskMap<u64> = (1..=100_000).map(|id| (TaskId(id), id)).collect();
        for id in 2..=100_000 {
            assert_eq!(map.remove(TaskId(id)), Some(id));
            assert_eq!(map.remove(TaskId(id)), None);
        }
        assert_eq!((map.get(TaskId(1)), map.len()), (Some(&1), 1));
        assert!(map.0.capacity() <= 2_000, "{}", map.0.capacity());
    }
}
