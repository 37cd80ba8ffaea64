//! When a worker may be started again: back-off as data.
//!
//! What counts are ends that say that workers cannot live: starts that fail, and deaths without a
//! task. A death by a task is that task's business; nobody else waits for it.

use std::time::Duration;

use super::action::{StartFailureKind, Time};

/// So many ends in a row are answered at once; a single crash costs no waiting.
const FREE: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// The weight of failed starts in a row at which the pool gives up: five that failed by themselves,
/// or fifty that were killed, which with the delays between them takes a while.
const HOPELESS: u32 = 50;

/// Counts ends in a row, so that a worker that cannot live is not started in a storm.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    /// Failed starts, and deaths without a task, since a task last finished.
    ends: u32,
    /// Failed starts since a worker last became ready, weighted.
    failed_starts: u32,
    not_before: Time,
}

impl Restarts {
    pub(super) fn task_finished(&mut self) {
        if self.ends > 0 {
            self.ends = 0;
            self.not_before = Time::ZERO;
        }
    }

    pub(super) fn worker_ready(&mut self) {
        self.failed_starts = 0;
    }

    /// A worker has died, and no task of its was to blame.
    pub(super) fn died_idle(&mut self, now: Time) {
        self.ends = self.ends.saturating_add(1);
        self.not_before = now + delay(self.ends);
    }

    pub(super) fn start_failed(&mut self, now: Time, failure: StartFailureKind) {
        self.failed_starts = self.failed_starts.saturating_add(weight(failure));
        self.died_idle(now);
    }

    /// Whether starting has failed so often that trying on is pointless.
    pub(super) fn is_hopeless(&self) -> bool {
        self.failed_starts >= HOPELESS
    }

    pub(super) fn may_start(&self, now: Time) -> bool {
        self.not_before <= now
    }

    pub(super) fn not_before(&self) -> Time {
        self.not_before
    }
}

fn weight(failure: StartFailureKind) -> u32 {
    match failure {
        StartFailureKind::Fatal | StartFailureKind::Own => 10,
        StartFailureKind::Killed => 1,
    }
}

/// How long to wait after the `ends`-th end in a row; also between the attempts of a task.
pub(super) fn delay(ends: u32) -> Duration {
    match ends.checked_sub(FREE) {
        None | Some(0) => Duration::ZERO,
        Some(late) => (FIRST_DELAY * 2_u32.pow((late - 1).min(10))).min(LONGEST_DELAY),
    }
}
