//! What is known of workers that did not come up, or died without a task.

use std::time::Duration;

use crate::scheduler::restarts::{delay, pause};
use crate::scheduler::{StartFailureKind, Time};

/// Those of one host.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// Deaths without a task since a task last finished, and until when they hold up starts.
    idle_deaths: u32,
    no_death_before: Time,
    /// Since a worker last became ready, those last that failed last.
    failed: Vec<FailedStart>,
    has_been_ready: bool,
}

#[derive(Clone, Copy, Debug)]
struct FailedStart {
    kind: StartFailureKind,
    at: Time,
    /// It was longer than a second on its way.
    slow: bool,
    /// A worker has ended since.
    others_ended: bool,
}

impl Starts {
    pub(super) fn worker_ready(&mut self) {
        self.failed.clear();
        self.has_been_ready = true;
    }

    pub(super) fn task_finished(&mut self) {
        self.idle_deaths = 0;
        self.no_death_before = Time::ZERO;
    }

    pub(super) fn worker_ended(&mut self) {
        self.failed.iter_mut().for_each(|start| start.others_ended = true);
    }

    pub(super) fn died_idle(&mut self, now: Time) {
        self.idle_deaths += 1;
        self.no_death_before = now + delay(self.idle_deaths);
    }

    /// One connection has failed for all that waited for it.
    pub(super) fn is_known(&self, now: Time, kind: StartFailureKind, took: Duration) -> bool {
        use StartFailureKind::Unreachable;

        let began = now.saturating_sub(took);
        let is_same = |one: &FailedStart| one.kind == Unreachable && one.at > began;
        kind == Unreachable && self.failed.iter().any(is_same)
    }

    /// Whether it is hopeless to go on, if nobody else is ready.
    pub(super) fn failed(
        &mut self,
        now: Time,
        kind: StartFailureKind,
        took: Duration,
        initializer_retries: u32,
    ) -> bool {
        use StartFailureKind::{Accident, Crashed, Initializer, Killed, Unreachable};

        let slow = took >= Duration::from_secs(1);
        if !self.is_known(now, kind, took) {
            self.failed.push(FailedStart { kind, at: now, slow, others_ended: false });
        }
        let count = |is: fn(&FailedStart) -> bool| self.failed.iter().filter(|one| is(one)).count();
        if kind == Initializer {
            let tries = count(|start| start.kind == Initializer);
            return !self.has_been_ready || tries > initializer_retries as usize;
        }
        let slow = count(|start| matches!(start.kind, Crashed | Unreachable) && start.slow);
        let quick = count(|start| matches!(start.kind, Crashed | Unreachable) && !start.slow);
        let others = count(|start| matches!(start.kind, Killed | Accident));
        slow * 25 + quick * 10 + others >= 50
    }

    /// Something was missing: one worker is started at a time until one is ready.
    pub(super) fn is_short(&self) -> bool {
        self.failed.last().is_some_and(|start| start.kind == StartFailureKind::Accident)
    }

    /// Until then no worker is started.
    pub(super) fn not_before(&self) -> Time {
        let Some(last) = self.failed.last() else { return self.no_death_before };
        let like_it = self.failed.iter().filter(|start| start.kind == last.kind);
        let wait = match last.kind {
            StartFailureKind::Accident if last.others_ended => Duration::ZERO,
            StartFailureKind::Initializer => pause(u32::try_from(like_it.count()).unwrap()),
            _ => delay(u32::try_from(self.failed.len()).unwrap()),
        };
        self.no_death_before.max(last.at + wait)
    }
}
