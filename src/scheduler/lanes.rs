//! Tasks in the order in which they are sent.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::numbers::NumberSet;
use super::task::Rank;
use crate::base::TaskId;

/// One lane for each priority. Ids grow with submission, so within a lane the order is first in,
/// first out, and a task that comes back takes its old place.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// Those of priority zero.
    usual: NumberSet,
    /// Those of the other priorities. None of the sets is empty.
    others: BTreeMap<Reverse<i32>, NumberSet>,
    len: usize,
}

const USUAL: Reverse<i32> = Reverse(0);

impl Lanes {
    pub(super) fn insert(&mut self, rank: Rank) {
        let lane = if rank.priority == USUAL {
            &mut self.usual
        } else {
            self.others.entry(rank.priority).or_default()
        };
        self.len += usize::from(lane.insert(rank.id.0));
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, rank: Rank) -> bool {
        let was_there = if rank.priority == USUAL {
            self.usual.remove(rank.id.0)
        } else if let Some(lane) = self.others.get_mut(&rank.priority) {
            let was_there = lane.remove(rank.id.0);
            if lane.is_empty() {
                self.others.remove(&rank.priority);
            }
            was_there
        } else {
            false
        };
        self.len -= usize::from(was_there);
        was_there
    }

    pub(super) fn first(&self) -> Option<Rank> {
        let usual = self.usual.first().map(|id| Rank { priority: USUAL, id: TaskId(id) });
        let Some((&priority, lane)) = self.others.first_key_value() else { return usual };
        let other = lane.first().map(|id| Rank { priority, id: TaskId(id) });
        usual.into_iter().chain(other).min()
    }

    pub(super) fn pop_first(&mut self) -> Option<Rank> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Rank> {
        let usual = self.usual.iter().map(|id| (USUAL, id));
        let others = self.others.iter();
        let others = others.flat_map(|(&priority, lane)| lane.iter().map(move |id| (priority, id)));
        usual.chain(others).map(|(priority, id)| Rank { priority, id: TaskId(id) })
    }

    /// How many blocks of numbers are kept.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.others.values().map(NumberSet::blocks).sum::<usize>() + self.usual.blocks()
    }
}
