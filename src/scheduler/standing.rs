//! What is known of one worker, and of all together, without a look at them.

use std::ops::{AddAssign, SubAssign};

use super::action::Time;
use super::tenure::Tenure;

/// What one worker adds to the summary of its crew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// How many tasks it has, if it has room for one more.
    pub(super) load: Option<usize>,
    pub(super) tenure: Tenure,
    pub(super) tally: Tally,
    /// When it has to be looked at; [`Time::MAX`] for never, as in the others.
    pub(super) timeout: Time,
    /// When others that are idle may take a part of its running task.
    pub(super) divides: Time,
    /// When it has been idle for too long.
    pub(super) idle: Time,
}

impl Standing {
    /// Of a worker that does not count yet.
    pub(super) const NONE: Self = Self {
        load: None,
        tenure: Tenure::Stays,
        tally: Tally {
            ahead: 0,
            busy: 0,
            starting: 0,
            ready: 0,
            serving: 0,
            stuck: 0,
            up: 0,
            helpable: 0,
            brisk: 0,
            risky: 0,
            asked: 0,
        },
        timeout: Time::MAX,
        divides: Time::MAX,
        idle: Time::MAX,
    };

    /// Whether a worker is to be replaced, and has no task.
    pub(super) fn is_idle_outgoing(&self) -> bool {
        self.tenure == Tenure::Due && self.tally.busy == 0
    }

    /// Whether a worker has something to give to another one.
    pub(super) fn is_helpable(&self) -> bool {
        self.tally.helpable > 0
    }

    /// Whether a worker waits for the place of another one.
    pub(super) fn is_successor(&self) -> bool {
        matches!(self.tenure, Tenure::StartingSuccessor | Tenure::ReadySuccessor)
    }

    /// Whether a worker counts for something else on its host than before.
    pub(super) fn differs_on_host(&self, after: &Self) -> bool {
        let of = |standing: &Self| {
            let Tally { starting, ready, stuck, .. } = standing.tally;
            (standing.tenure, starting, ready, stuck)
        };
        of(self) != of(after)
    }
}

/// Of one worker, or of all. It is copied and compared whenever a worker changes, so it is small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Tasks sent ahead.
    pub(super) ahead: u32,
    /// Workers that have a task.
    pub(super) busy: u32,
    pub(super) starting: u32,
    pub(super) ready: u32,
    /// Those that are up, or come up, and stay.
    pub(super) serving: u32,
    /// Workers that do nothing any more.
    pub(super) stuck: u32,
    /// The ready ones of those.
    pub(super) up: u32,
    /// Workers that have something to give to another one.
    pub(super) helpable: u32,
    /// Workers that have more than one task, of which they get rid soon, or give back what has not
    /// begun.
    pub(super) brisk: u32,
    /// Workers whose running task will probably kill them.
    pub(super) risky: u32,
    /// Ready workers that were asked for what they have not begun, and answer later.
    pub(super) asked: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.ahead += other.ahead;
        self.busy += other.busy;
        self.starting += other.starting;
        self.ready += other.ready;
        self.serving += other.serving;
        self.stuck += other.stuck;
        self.up += other.up;
        self.helpable += other.helpable;
        self.brisk += other.brisk;
        self.risky += other.risky;
        self.asked += other.asked;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.ahead -= other.ahead;
        self.busy -= other.busy;
        self.starting -= other.starting;
        self.ready -= other.ready;
        self.serving -= other.serving;
        self.stuck -= other.stuck;
        self.up -= other.up;
        self.helpable -= other.helpable;
        self.brisk -= other.brisk;
        self.risky -= other.risky;
        self.asked -= other.asked;
    }
}
