//! Times of workers, and the first of them.

use super::action::Time;

/// A tournament: it costs a few comparisons to change a time, and none to see the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Earliest {
    /// The root is at one, those below `n` are at `2 * n` and `2 * n + 1`, and each is the earlier
    /// one of those below it. The lowest ones are the times themselves, [`Time::MAX`] for none.
    tree: Vec<Time>,
}

impl Default for Earliest {
    fn default() -> Self {
        Self::of([].into_iter())
    }
}

impl Earliest {
    pub(super) fn of(times: impl ExactSizeIterator<Item = Time>) -> Self {
        let leaves = times.len().next_power_of_two();
        let mut tree = vec![Time::MAX; leaves];
        tree.extend(times);
        tree.resize(2 * leaves, Time::MAX);
        for node in (1..leaves).rev() {
            tree[node] = tree[2 * node].min(tree[2 * node + 1]);
        }
        Self { tree }
    }

    /// So many times have a place.
    pub(super) fn room(&self) -> usize {
        self.tree.len() / 2
    }

    pub(super) fn set(&mut self, place: usize, time: Time) {
        let mut node = self.room() + place;
        let mut earliest = time;
        while self.tree[node] != earliest {
            self.tree[node] = earliest;
            if node == 1 {
                return;
            }
            earliest = earliest.min(self.tree[node ^ 1]);
            node /= 2;
        }
    }

    pub(super) fn at(&self, place: usize) -> Time {
        self.tree[self.room() + place]
    }

    pub(super) fn first(&self) -> Option<Time> {
        Some(self.tree[1]).filter(|time| *time < Time::MAX)
    }

    /// The places of all times that have come, in their order.
    pub(super) fn due(&self, now: Time) -> impl Iterator<Item = usize> {
        let is_due = move |node: usize| self.tree[node] <= now && self.tree[node] < Time::MAX;
        let mut nodes = vec![1_usize];
        std::iter::from_fn(move || {
            while let Some(node) = nodes.pop() {
                match node.checked_sub(self.room()) {
                    _ if !is_due(node) => {}
                    None => nodes.extend([2 * node + 1, 2 * node]),
                    place => return place,
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn the_first_one_is_known_whatever_is_changed() {
        let mut random = Random::seeded(1);
        for places in 1..20 {
            let mut times = vec![Time::MAX; places];
            let mut earliest = Earliest::of(times.iter().copied());
            for _ in 0..200 {
                let place = random.below(places);
                let time = Time::from_nanos(random.below(50) as u64);
                times[place] = if random.one_in(3) { Time::MAX } else { time };
                earliest.set(place, times[place]);
                let first = times.iter().copied().min().filter(|time| *time < Time::MAX);
                assert_eq!(earliest.first(), first);
                let now = Time::from_nanos(random.below(50) as u64);
                let due = (0..places).filter(|place| times[*place] <= now);
                assert!(due.eq(earliest.due(now)));
                assert_eq!(earliest, Earliest::of(times.iter().copied()));
            }
        }
    }

    #[test]
    fn what_never_comes_is_never_due() {
        let none = Earliest::of([Time::MAX, Time::MAX].into_iter());
        assert_eq!((none.first(), none.due(Time::MAX).next()), (None, None));
        assert_eq!(Earliest::default().first(), None);
    }
}
