//! When a worker may be started again, and when that is hopeless: back-off as data.
//!
//! What counts are ends that say that workers cannot live: starts that fail, and deaths without a
//! task. A death by a task is that task's business; nobody else waits for it. Each host has its
//! own.

use std::time::Duration;

use super::action::{StartFailureKind, Time};

/// So many ends in a row are answered at once; a single crash costs no waiting.
const FREE: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// An initializer fails for want of something elsewhere, which takes its time to come back.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The weight of failed starts in a row at which the pool gives up.
const HOPELESS: u32 = 50;
/// Of a start that fails by itself after so long, two in a row are enough.
const SLOW: Duration = Duration::from_secs(1);

/// Counts ends in a row, so that a worker that cannot live is not started in a storm.
#[derive(Clone, Debug, Default)]
pub(super) struct Restarts {
    /// Deaths without a task since a task last finished.
    deaths: u32,
    /// Because of them.
    no_death_before: Time,
    /// Failed starts since a worker last became ready.
    failed: u32,
    /// The same, weighted.
    weight: u32,
    /// Those of them in which the initializer failed.
    uninitialized: u32,
    /// Because of failed starts.
    no_start_before: Time,
    /// The last start failed for want of something that the end of a worker may give back.
    is_short: bool,
    /// When the host was last found to be out of reach, since a worker last became ready.
    unreachable: Option<Time>,
    /// One worker has become ready.
    has_been_ready: bool,
}

impl Restarts {
    /// Whether it matters that a task finishes.
    pub(super) fn has_died(&self) -> bool {
        self.deaths > 0
    }

    pub(super) fn task_finished(&mut self) {
        self.deaths = 0;
        self.no_death_before = Time::ZERO;
    }

    pub(super) fn worker_ready(&mut self) {
        let (deaths, no_death_before) = (self.deaths, self.no_death_before);
        *self = Self { deaths, no_death_before, has_been_ready: true, ..Self::default() };
    }

    /// A worker is gone, whatever the reason.
    pub(super) fn worker_ended(&mut self) {
        if self.is_short {
            self.no_start_before = Time::ZERO;
        }
    }

    /// A worker has died, or was asked to end, and no task of its had to do with it.
    pub(super) fn died_idle(&mut self, now: Time) {
        self.deaths = self.deaths.saturating_add(1);
        self.no_death_before = now + delay(self.deaths);
    }

    /// A start that began `took` ago has failed. Says whether that is news: many wait for one
    /// connection, whose failure is one.
    pub(super) fn start_failed(
        &mut self,
        now: Time,
        failure: StartFailureKind,
        took: Duration,
    ) -> bool {
        if failure == StartFailureKind::Unreachable {
            let began = now.saturating_sub(took);
            if self.unreachable.is_some_and(|at| began < at) {
                return false;
            }
            self.unreachable = Some(now);
        }
        self.failed = self.failed.saturating_add(1);
        self.weight = self.weight.saturating_add(weight(failure, took));
        self.uninitialized += u32::from(failure == StartFailureKind::Initializer);
        self.is_short = failure == StartFailureKind::Accident;
        let pause = match failure {
            StartFailureKind::Initializer => pause(self.uninitialized),
            _ => delay(self.failed),
        };
        self.no_start_before = now + pause;
        true
    }

    /// Whether trying on is pointless after such a failure, if no worker is ready. The first start
    /// tells at once what is wrong with the initializer; later ones are tried so often.
    pub(super) fn is_hopeless(&self, failure: StartFailureKind, initializer_retries: u32) -> bool {
        match failure {
            StartFailureKind::Initializer => {
                !self.has_been_ready || self.uninitialized > initializer_retries
            }
            _ => self.weight >= HOPELESS,
        }
    }

    /// Whether no worker may be started while so many others start. Where something was missing one
    /// is enough to see whether it is there again.
    pub(super) fn waits_for_one(&self, starting: usize) -> bool {
        self.is_short && starting > 0
    }

    pub(super) fn not_before(&self) -> Time {
        self.no_death_before.max(self.no_start_before)
    }
}

/// Five that failed by themselves are hopeless, or fifty that were killed or met an accident, which
/// with the delays between them takes a while.
fn weight(failure: StartFailureKind, took: Duration) -> u32 {
    match failure {
        StartFailureKind::Crashed | StartFailureKind::Unreachable if took >= SLOW => HOPELESS / 2,
        StartFailureKind::Fatal | StartFailureKind::Crashed | StartFailureKind::Unreachable => {
            HOPELESS / 5
        }
        StartFailureKind::Killed | StartFailureKind::Accident => 1,
        StartFailureKind::Initializer => 0,
    }
}

/// How long to wait after the `ends`-th end in a row; also between the attempts of a task.
pub(super) fn delay(ends: u32) -> Duration {
    match ends.checked_sub(FREE) {
        None | Some(0) => Duration::ZERO,
        Some(late) => (FIRST_DELAY * 2_u32.pow((late - 1).min(10))).min(LONGEST_DELAY),
    }
}

/// How long to wait after the initializer has failed so often in a row.
pub(super) fn pause(failures: u32) -> Duration {
    (FIRST_PAUSE * 2_u32.pow(failures.saturating_sub(1).min(10))).min(LONGEST_PAUSE)
}
