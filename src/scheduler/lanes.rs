//! Tasks in the order in which they are sent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::fairness::Turn;
use super::numbers::NumberSet;
use super::task::{FlowKey, TenantKey};
use crate::base::TaskId;

/// One lane for each flow. Ids grow with submission, so within a lane the order is first in, first
/// out, and a task that comes back takes its old place. Of several flows of one priority that comes
/// first whose turn it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// That of the usual flow.
    usual: Lane,
    /// Those of the other flows. None of them is empty.
    others: BTreeMap<FlowKey, Lane>,
    /// The other flows, the first one first.
    order: BTreeSet<(Reverse<i32>, Turn, Option<TenantKey>)>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    turn: Turn,
    ids: NumberSet,
}

/// The order in which tasks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i32>,
    pub(super) turn: Turn,
    pub(super) id: TaskId,
    tenant: Option<TenantKey>,
}

impl Rank {
    fn new(FlowKey { priority, tenant }: FlowKey, turn: Turn, id: u64) -> Self {
        Self { priority, turn, id: TaskId(id), tenant }
    }

    pub(super) fn flow(self) -> FlowKey {
        FlowKey { priority: self.priority, tenant: self.tenant }
    }
}

impl Lane {
    fn first(&self, flow: FlowKey) -> Option<Rank> {
        self.ids.first().map(|id| Rank::new(flow, self.turn, id))
    }
}

impl Lanes {
    pub(super) fn insert(&mut self, flow: FlowKey, turn: Turn, id: TaskId) {
        let is_new = if flow == FlowKey::USUAL {
            self.usual.turn = turn;
            self.usual.ids.insert(id.0)
        } else {
            let lane = self.others.entry(flow).or_default();
            if lane.ids.is_empty() {
                lane.turn = turn;
                self.order.insert((flow.priority, turn, flow.tenant));
            }
            lane.ids.insert(id.0)
        };
        self.len += usize::from(is_new);
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, flow: FlowKey, id: TaskId) -> bool {
        let was_there = if flow == FlowKey::USUAL {
            self.usual.ids.remove(id.0)
        } else if let Some(lane) = self.others.get_mut(&flow) {
            let was_there = lane.ids.remove(id.0);
            if lane.ids.is_empty() {
                self.order.remove(&(flow.priority, lane.turn, flow.tenant));
                self.others.remove(&flow);
            }
            was_there
        } else {
            false
        };
        self.len -= usize::from(was_there);
        was_there
    }

    /// A flow has another turn.
    pub(super) fn set_turn(&mut self, flow: FlowKey, turn: Turn) {
        if flow == FlowKey::USUAL {
            self.usual.turn = turn;
        } else if let Some(lane) = self.others.get_mut(&flow) {
            let FlowKey { priority, tenant } = flow;
            self.order.remove(&(priority, lane.turn, tenant));
            self.order.insert((priority, turn, tenant));
            lane.turn = turn;
        }
    }

    /// Whether a task of the flow is there.
    pub(super) fn has(&self, flow: FlowKey) -> bool {
        if flow == FlowKey::USUAL {
            !self.usual.ids.is_empty()
        } else {
            self.others.contains_key(&flow)
        }
    }

    pub(super) fn first(&self) -> Option<Rank> {
        let usual = self.usual.first(FlowKey::USUAL);
        let Some(&(priority, _, tenant)) = self.order.first() else { return usual };
        let flow = FlowKey { priority, tenant };
        let other = self.others.get(&flow).and_then(|lane| lane.first(flow));
        usual.into_iter().chain(other).min()
    }

    pub(super) fn pop_first(&mut self) -> Option<Rank> {
        let first = self.first()?;
        self.remove(first.flow(), first.id);
        Some(first)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Rank> {
        let others = self.others.iter().map(|(flow, lane)| (*flow, lane));
        std::iter::once((FlowKey::USUAL, &self.usual))
            .chain(others)
            .flat_map(|(flow, lane)| lane.ids.iter().map(move |id| Rank::new(flow, lane.turn, id)))
    }

    /// Whether all that is kept to save a search is what the search would give.
    #[cfg(test)]
    pub(super) fn is_true(&self) -> bool {
        let order = self.others.iter().map(|(flow, lane)| (flow.priority, lane.turn, flow.tenant));
        self.order == order.collect()
            && self.iter().count() == self.len
            && self.others.values().all(|lane| !lane.ids.is_empty())
    }

    /// How many blocks of numbers are kept.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        let others = self.others.values().map(|lane| lane.ids.blocks());
        others.sum::<usize>() + self.usual.ids.blocks()
    }
}
