//! Where one more worker may be started, and where it is best off.

use std::collections::BTreeSet;

use super::action::Time;
use super::earliest::Earliest;
use crate::base::HostId;

/// How little a host is wanted for one more worker: one that rests less than any other, and then
/// the one that has more of what it may have.
pub(super) type Reluctance = (bool, u64);

/// Hosts on which a worker may be started, now or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Openings {
    /// When, by position; [`Time::MAX`] for not at all.
    times: Earliest,
    /// By position, of those where one may be started at some time.
    ranks: Vec<Option<Reluctance>>,
    /// The same, the one where a worker is best off first, and of several such ones the first.
    order: BTreeSet<(Reluctance, usize)>,
}

impl Openings {
    pub(super) fn of(hosts: usize) -> Self {
        let times = Earliest::of(std::iter::repeat_n(Time::MAX, hosts));
        Self { times, ranks: vec![None; hosts], order: BTreeSet::new() }
    }

    pub(super) fn set(&mut self, position: usize, time: Time, reluctance: Reluctance) {
        self.times.set(position, time);
        let rank = (time < Time::MAX).then_some(reluctance);
        let before = std::mem::replace(&mut self.ranks[position], rank);
        if before == rank {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, position));
        }
        if let Some(rank) = rank {
            self.order.insert((rank, position));
        }
    }

    /// When a worker may first be started anywhere.
    pub(super) fn first(&self) -> Option<Time> {
        self.times.first()
    }

    /// Where a worker is to be started now, if anywhere. The only hosts that are looked at in vain
    /// are those whose time has not come yet.
    pub(super) fn best(&self, now: Time) -> Option<HostId> {
        self.first().filter(|at| *at <= now)?;
        let mut order = self.order.iter().map(|(_, position)| *position);
        let position = order.find(|position| self.times.at(*position) <= now)?;
        u32::try_from(position).ok().map(HostId)
    }
}
