//! How long tasks take on a worker, and how many may lie behind its running one.

use std::time::Duration;

use crate::base::nanos;

/// In nanoseconds. The work that may lie behind a worker's running task: it hides the round trip of
/// the pipe, and bounds how far a task can be passed by younger ones.
const WINDOW: u64 = 500_000;
/// An hour, in nanoseconds: no running time counts for more, so that no sum can overflow.
pub(super) const LONGEST: u64 = 3_600_000_000_000;

/// Decaying sums, so that results that arrive together (the first with all the time, the others
/// with none) count right. Of a worker that is far away it counts what it says itself.
#[derive(Clone, Debug, Default)]
pub(super) struct RunTimes {
    /// Nanoseconds, decayed.
    busy: u64,
    /// Tasks, decayed, in units of 1/1024.
    tasks: u64,
    /// How many tasks fit into [`WINDOW`] and the way there and back; zero while nothing is known.
    tasks_in_window: usize,
}

impl RunTimes {
    const UNIT: u64 = 1024;

    /// One has taken so long, and so long it is under way.
    pub(super) fn record(&mut self, took: Duration, turnaround: Duration) {
        let took = nanos(took).min(LONGEST);
        self.busy = self.busy - self.busy / 32 + took;
        self.tasks = self.tasks - self.tasks / 32 + Self::UNIT;
        let window = WINDOW + nanos(turnaround);
        let fit = window * self.tasks / (self.busy * Self::UNIT).max(1);
        self.tasks_in_window = usize::try_from(fit).unwrap_or(usize::MAX);
    }

    /// How many tasks fit into the time that may lie behind a running one.
    pub(super) fn tasks_in_window(&self) -> usize {
        self.tasks_in_window
    }
}
