//! What a worker is in the order of [succession](super::succession).

use super::action::{LeaveReason, Time};

/// Whether a worker stays, goes, or comes in place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    /// It is nobody's successor, and needs none.
    Stays,
    /// It comes up to take the place of another one.
    StartingSuccessor,
    /// It is up, and waits for that place.
    ReadySuccessor,
    /// It is to be replaced, and is sent tasks until its successor is ready.
    Due,
    /// It is to be replaced, and has its last tasks.
    Going,
    /// It has no more tasks, and another one may take its place before it is gone.
    Stopping,
}

impl Tenure {
    const COUNT: usize = 6;
}

/// How many workers of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tenures([usize; Tenure::COUNT]);

impl Tenures {
    pub(super) fn count(&self, tenure: Tenure) -> usize {
        self.0[tenure as usize]
    }

    pub(super) fn add(&mut self, tenure: Tenure) {
        self.0[tenure as usize] += 1;
    }

    pub(super) fn remove(&mut self, tenure: Tenure) {
        self.0[tenure as usize] -= 1;
    }

    pub(super) fn all(&self) -> usize {
        self.0.iter().sum()
    }

    pub(super) fn successors(&self) -> usize {
        self.count(Tenure::StartingSuccessor) + self.count(Tenure::ReadySuccessor)
    }

    /// Workers whose places successors will have.
    pub(super) fn outgoing(&self) -> usize {
        self.count(Tenure::Due) + self.count(Tenure::Going)
    }
}

/// Whether a worker has one of the places, of which there are
/// [`max_workers`](super::Config::max_workers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Own,
    /// It is to have that of another one, and gets no tasks before.
    Awaited,
    /// A successor has it.
    Given,
}

/// Why a worker is to go, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It is sent tasks until a successor is ready.
    Due(LeaveReason),
    /// It takes no more tasks. It stops when it has none left, unless it is stuck.
    Leaving(LeaveReason),
}

/// What is to become of a worker that is replaced within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaveBy {
    /// From then on it gets no more tasks, whether it has a successor or not.
    pub(super) last_task: Time,
    /// Then its tasks are ended.
    pub(super) end: Time,
}

impl LeaveBy {
    pub(super) fn next(self) -> Time {
        self.last_task.min(self.end)
    }
}
