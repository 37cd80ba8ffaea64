//! One worker as the scheduler sees it: its stage, what was sent to it, and how fast it is.
//!
//! ```text
//!            worker_ready                 stop                     worker_ended
//! Starting ───────────────▶ Ready ───────────────▶ Stopping ─────────────────────▶ (gone)
//!    │  │                     │ abort, timeout         │ grace is over                ▲
//!    │  │ stop                ▼                        ▼                              │
//!    │  └──────▶ Stopping   Ending: SIGTERM, then SIGKILL after the grace period ─────┤
//!    │ start timeout          ▲                                                       │
//!    └────────────────────────┘     (from every stage the process may also just die) ─┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::Time;
use super::queue::Task;

/// In nanoseconds. The work that may lie behind a worker's running task: it hides the round trip of
/// the pipe, and bounds how far a task can be passed by younger ones.
const WINDOW: u64 = 500_000;
/// A task that runs longer than this gives back what was sent ahead behind it.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Spawned, not yet initialised; its time is up at `deadline`.
    Starting { deadline: Time },
    /// Runs what it is sent.
    Ready,
    /// Told to leave, has no tasks; its time is up at `deadline`.
    Stopping { deadline: Time },
    /// Being ended by signals; `kill_at` is `None` once SIGKILL is sent. `fault` tells a worker that
    /// has itself to blame from one that ends because of its task or of the pool.
    Ending { kill_at: Option<Time>, fault: bool },
}

/// Why a running task is being ended. One further down outweighs those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sentence {
    /// A shutdown's time limit.
    CutShort,
    Timeout,
    Abort,
}

/// Whether asking back what was sent ahead makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    Possible,
    /// Nothing may be sent before the answer.
    Asked,
    /// What is left has begun; asking again is pointless until more is sent.
    Answered,
}

/// A task that was sent to a worker.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) task: Task,
    pub(super) sentence: Option<Sentence>,
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) stage: Stage,
    /// The front one runs (or is about to); those behind it were sent ahead and can be recalled.
    pub(super) pipeline: VecDeque<Sent>,
    /// Its pipe is full: nothing more is sent until it is drained.
    pub(super) blocked: bool,
    /// What was sent to it can be taken back until it begins.
    pub(super) recallable: bool,
    pub(super) recall: Recall,
    /// Since when the front of the pipeline counts as running.
    pub(super) head_since: Time,
    pub(super) tasks_completed: u64,
    /// The load by which it stands in the index of open workers.
    pub(super) listed: Option<usize>,
    pace: Pace,
}

impl Worker {
    pub(super) fn starting(deadline: Time) -> Self {
        Self {
            stage: Stage::Starting { deadline },
            pipeline: VecDeque::new(),
            blocked: false,
            recallable: false,
            recall: Recall::Possible,
            head_since: Time::ZERO,
            tasks_completed: 0,
            listed: None,
            pace: Pace::default(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// It is being ended because it broke the protocol or was too late.
    pub(super) fn is_at_fault(&self) -> bool {
        matches!(self.stage, Stage::Ending { fault: true, .. })
    }

    pub(super) fn head(&self) -> Option<&Sent> {
        self.pipeline.front()
    }

    /// How many tasks were sent ahead, behind the running one.
    pub(super) fn ahead(&self) -> usize {
        self.pipeline.len().saturating_sub(1)
    }

    /// Whether one more task may be sent now; `limit` bounds the pipeline.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.is_ready()
            && !self.blocked
            && !self.is_sentenced()
            && self.recall != Recall::Asked
            && self.pipeline.len() < self.credit(limit)
    }

    /// Whether the running task is to be ended.
    pub(super) fn is_sentenced(&self) -> bool {
        self.head().is_some_and(|head| head.sentence.is_some())
    }

    /// Whether there is something to ask back that has not been asked for.
    pub(super) fn can_recall(&self) -> bool {
        self.ahead() > 0 && self.recall == Recall::Possible
    }

    fn credit(&self, limit: usize) -> usize {
        if self.recallable { self.pace.tasks_in_window.clamp(1, limit) } else { 1 }
    }

    /// Notes that the running task is done, and how long it took.
    pub(super) fn complete_head(&mut self, now: Time) {
        self.tasks_completed += 1;
        self.pace.record(now.saturating_sub(self.head_since));
    }

    /// When the running task must end; `None` without a timeout or once it is being ended.
    pub(super) fn timeout_at(&self) -> Option<Time> {
        let head = self.head().filter(|head| head.sentence.is_none())?;
        Some(self.head_since.saturating_add(head.task.timeout?))
    }

    /// When the running task has lasted so long that those behind it must not wait any more.
    pub(super) fn patience_ends_at(&self) -> Option<Time> {
        self.can_recall().then(|| self.head_since + PATIENCE)
    }

    /// The running task turned out to be long: believe that of the next ones too.
    pub(super) fn lose_patience(&mut self, now: Time) {
        self.pace = Pace::default();
        self.pace.record(now.saturating_sub(self.head_since).max(PATIENCE));
    }

    /// Takes back the `count` tasks that were sent last.
    pub(super) fn take_back(&mut self, count: usize) -> VecDeque<Sent> {
        let kept = self.pipeline.len().saturating_sub(count);
        self.pipeline.split_off(kept)
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        match self.stage {
            Stage::Starting { deadline } | Stage::Stopping { deadline } => Some(deadline),
            Stage::Ready => self.timeout_at().into_iter().chain(self.patience_ends_at()).min(),
            Stage::Ending { kill_at, .. } => kill_at,
        }
    }
}

/// How long tasks take on a worker: decaying sums, so that results that arrive together (the first
/// with all the time, the others with none) count right.
#[derive(Clone, Debug, Default)]
struct Pace {
    /// Nanoseconds, decayed.
    busy: u64,
    /// Tasks, decayed, in units of 1/1024.
    tasks: u64,
    /// How many tasks fit into [`WINDOW`]; zero while nothing is known.
    tasks_in_window: usize,
}

impl Pace {
    const UNIT: u64 = 1024;
    /// An hour, in nanoseconds: far more than a window, and far from overflowing.
    const LONGEST: u64 = 3_600_000_000_000;

    fn record(&mut self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(Self::LONGEST);
        self.busy = self.busy - self.busy / 32 + took;
        self.tasks = self.tasks - self.tasks / 32 + Self::UNIT;
        let fit = WINDOW * self.tasks / (self.busy * Self::UNIT).max(1);
        self.tasks_in_window = usize::try_from(fit).unwrap_or(usize::MAX);
    }
}
