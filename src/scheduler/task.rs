//! A task as far as policy is concerned.

use std::cmp::Reverse;
use std::time::Duration;

use super::action::{Failure, Time};
use crate::base::{Delays, TaskId};

/// Tasks of one key go to one worker.
pub(crate) type Key = u64;

/// Whoever shares the workers fairly with others.
pub(crate) type TenantKey = u64;

/// It moves whole between queue and pipeline, and is small: most tasks wish nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// `None` for one that wishes nothing.
    pub(super) wishes: Option<Box<Wishes>>,
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Higher ones come first.
    pub(crate) priority: i32,
    /// Tasks of the same key go to the same worker while it lives.
    pub(crate) key: Option<Key>,
    /// For whom it is. Those without one are a tenant of their own.
    pub(crate) tenant: Option<TenantKey>,
    /// Counts from one; a task that had not begun when its worker died keeps its number.
    pub(crate) attempt: u32,
    /// How often it may still be begun again: after a death or a timeout, or as it is decided.
    pub(crate) retries: u32,
    /// Whether it is begun again is decided after each attempt, by its user.
    pub(crate) conditional: bool,
    /// How long it waits before that; `None` for what is usual.
    pub(crate) delays: Option<Delays>,
    /// Running time that it may take.
    pub(crate) timeout: Option<Duration>,
    /// When it must be over.
    pub(crate) deadline: Option<Time>,
    /// When it must have begun, and after which wait that is.
    pub(crate) begin: Option<(Time, Duration)>,
    /// A part of it can be taken back while it runs.
    pub(crate) divisible: bool,
    /// It will probably kill its worker: the last tasks of its kind did.
    pub(crate) suspect: bool,
}

impl Wishes {
    const NONE: Self = Self {
        priority: 0,
        key: None,
        tenant: None,
        attempt: 1,
        retries: 0,
        conditional: false,
        delays: None,
        timeout: None,
        deadline: None,
        begin: None,
        divisible: false,
        suspect: false,
    };

    pub(super) fn flow(&self) -> FlowKey {
        FlowKey { priority: Reverse(self.priority), tenant: self.tenant }
    }
}

impl Default for Wishes {
    fn default() -> Self {
        Self::NONE
    }
}

impl Task {
    /// A task without any wishes.
    pub(crate) fn new(id: TaskId) -> Self {
        Self { id, wishes: None }
    }

    pub(crate) fn with(id: TaskId, wishes: Wishes) -> Self {
        if wishes == Wishes::NONE {
            return Self::new(id);
        }
        Self { id, wishes: Some(Box::new(wishes)) }
    }

    pub(crate) fn wishes(&self) -> &Wishes {
        self.wishes.as_deref().unwrap_or(const { &Wishes::NONE })
    }

    /// When it is looked at whether it is too late: to end, and to begin.
    pub(super) fn deadlines(&self) -> [Option<Time>; 2] {
        let Wishes { deadline, begin, .. } = self.wishes();
        [*deadline, begin.map(|(at, _)| at)]
    }

    /// Why it may not begin any more, if it is too late.
    pub(super) fn lateness(&self, now: Time) -> Option<Failure> {
        let Wishes { deadline, begin, .. } = *self.wishes();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Failure::Expired);
        }
        begin.filter(|(at, _)| *at <= now).map(|(_, limit)| Failure::NotBegun(limit))
    }

    /// Uses up one of its retries. It has begun.
    pub(super) fn retry(&mut self) {
        let wishes = self.wishes.get_or_insert_default();
        wishes.begin = None;
        wishes.retries -= 1;
        wishes.attempt += 1;
    }

    /// The last tasks of its kind have killed their workers. Of what can be divided a part does.
    pub(crate) fn suspect(&mut self) {
        if !self.wishes().divisible {
            self.wishes.get_or_insert_default().suspect = true;
        }
    }

    /// It is a task like others.
    pub(super) fn trust(&mut self) {
        if let Some(wishes) = &mut self.wishes {
            wishes.suspect = false;
        }
    }

    pub(super) fn flow(&self) -> FlowKey {
        self.wishes().flow()
    }
}

/// A task whose last attempt has ended, and that may be begun again.
#[derive(Clone, Debug)]
pub(super) struct Undecided {
    pub(super) task: Task,
    /// `None` if it has a result.
    pub(super) failure: Option<Failure>,
    /// Its last attempt may run on until then, on a host that was lost.
    pub(super) not_before: Time,
    /// Nobody wants a further attempt.
    pub(super) is_aborted: bool,
}

/// Waiting tasks that are sent in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowKey {
    pub(super) priority: Reverse<i32>,
    pub(super) tenant: Option<TenantKey>,
}

impl FlowKey {
    /// That of most tasks.
    pub(super) const USUAL: Self = Self { priority: Reverse(0), tenant: None };
}
