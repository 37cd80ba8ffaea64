//! What is counted over all hosts.

use std::ops::{AddAssign, SubAssign};

/// Workers that start on hosts that rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trials {
    pub(super) all: usize,
    /// Those of them that replace nobody.
    pub(super) serving: usize,
}

/// What one host adds to the sums over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) trials: Trials,
    /// Hosts with workers that lack successors.
    pub(super) lacking: usize,
    /// Hosts with more successors than workers that they could replace.
    pub(super) extra: usize,
    /// Hosts on which a successor is ready for one more worker.
    pub(super) relieved: usize,
    /// Successors that are seated.
    pub(super) seated: usize,
    /// Hosts with more of them than workers that they could replace.
    pub(super) forlorn: usize,
    /// Hosts that have a ready worker, or may have one.
    pub(super) hopeful: usize,
    /// Workers that may be started when all come that were requested.
    pub(super) promised: usize,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.trials.all += other.trials.all;
        self.trials.serving += other.trials.serving;
        self.lacking += other.lacking;
        self.extra += other.extra;
        self.relieved += other.relieved;
        self.seated += other.seated;
        self.forlorn += other.forlorn;
        self.hopeful += other.hopeful;
        self.promised += other.promised;
    }
}

impl SubAssign for Sums {
    fn sub_assign(&mut self, other: Self) {
        self.trials.all -= other.trials.all;
        self.trials.serving -= other.trials.serving;
        self.lacking -= other.lacking;
        self.extra -= other.extra;
        self.relieved -= other.relieved;
        self.seated -= other.seated;
        self.forlorn -= other.forlorn;
        self.hopeful -= other.hopeful;
        self.promised -= other.promised;
    }
}
