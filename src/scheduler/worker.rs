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
//!
//! A ready worker whose task is to be ended is first asked, and if that task is known to look for
//! it, has [`Mercy`] before it is being ended. A ready worker with a reason to
//! [leave](Departure::Leaving) takes no more tasks, and stops when it has none left.

use std::collections::VecDeque;
use std::time::Duration;

use super::action::{Config, Failure, LeaveReason, Time};
use super::front::Front;
use super::recallable::Recallable;
use super::run_times::RunTimes;
use super::standing::{Standing, Tally};
use super::task::{Key, Task};
use super::tenure::{Departure, LeaveBy, Seat};
use super::turnaround::Turnaround;
use crate::base::{HostId, TaskId};

/// A task that has run no longer than this may still be brief.
const FRESH: Duration = Duration::from_micros(50);
/// A task that runs longer than this gives back what was sent ahead behind it.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);
/// The same for a divisible task while nobody else is idle. It holds many quick parts that together
/// take nearly that long, and on a loaded machine much longer; dividing it too early would gain
/// nothing.
pub(super) const LONG_PATIENCE: Duration = Duration::from_millis(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerStage {
    /// Spawned, not yet initialized; its time is up at `deadline`.
    Starting { deadline: Time },
    /// Runs what it is sent.
    Ready,
    /// Told to leave, has no tasks; its time is up at `deadline`.
    Stopping { deadline: Time, reason: LeaveReason },
    /// Being ended by signals; `kill_at` is `None` once SIGKILL is sent. `fault` tells a worker
    /// that has itself to blame from one that ends because of its task or of the pool.
    Ending { kill_at: Option<Time>, fault: bool },
}

/// Why a running task is being ended. One further down outweighs those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sentence {
    /// A shutdown's time limit.
    CutShort,
    /// The time limit of its worker's replacement.
    Replaced,
    Timeout,
    Deadline,
    Abort,
}

impl Sentence {
    /// What becomes of the task, which may run for so long.
    pub(super) fn failure(self, limit: Option<Duration>) -> Failure {
        match self {
            Self::CutShort | Self::Abort => Failure::Cancelled,
            Self::Replaced => Failure::Replaced,
            Self::Deadline => Failure::Expired,
            Self::Timeout => Failure::TimedOut(limit.unwrap_or_default()),
        }
    }
}

/// Whether a sentenced running task has been asked to end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mercy {
    /// It is not even known whether it has begun.
    Unheard,
    NotAsked,
    Asked,
    /// It is known to look whether it is asked, so it has until `ends`; and until `kill_at` to die.
    Granted {
        ends: Time,
        kill_at: Time,
    },
}

/// Whether what has not begun was asked back, parts of the running task included, since that one
/// began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    None,
    /// Nothing may be sent before the answer.
    Asked,
    Answered,
}

/// A task that was sent to a worker.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) task: Task,
    pub(super) sentence: Option<Sentence>,
}

impl Sent {
    fn has_key(&self) -> bool {
        self.task.wishes().key.is_some()
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.task.wishes().suspect
    }
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) stage: WorkerStage,
    pub(super) host: HostId,
    /// Its host was lost; what runs there has ended by then.
    lost: Option<Time>,
    /// The same, and nobody had told it to end before.
    is_lost: bool,
    /// The front one runs (or is about to); those behind it were sent ahead and can be recalled.
    pub(super) pipeline: VecDeque<Sent>,
    /// Its pipe is full: nothing more is sent until it is drained.
    pub(super) blocked: bool,
    /// What was sent to it can be taken back until it begins.
    pub(super) recallable: Recallable,
    /// How long a task is under way, there and back.
    turnaround: Turnaround,
    pub(super) recall: Recall,
    /// The last time also the front one was.
    pub(super) recalled_all: bool,
    /// So many tasks at the front were not given back when they were asked for last: they have
    /// begun.
    begun: usize,
    pub(super) mercy: Mercy,
    /// Why it is to go, if it is.
    pub(super) departure: Option<Departure>,
    pub(super) seat: Seat,
    /// It is replaced within a time.
    pub(super) leave_by: Option<LeaveBy>,
    /// When it became ready.
    pub(super) up_since: Time,
    /// When it is too old.
    aged_at: Time,
    /// Since when the front of the pipeline counts as running, or since when there is none; of a
    /// worker that is not ready since when it starts.
    pub(super) since: Time,
    pub(super) front: Front,
    pub(super) tasks_completed: u64,
    /// How long the running task may take before what can be taken back is.
    patience: Duration,
    /// With less than so many tasks that could be sent to idle ones it needs no help; at least one.
    batch: usize,
    run_times: RunTimes,
    /// How many of its tasks have a key.
    keyed: usize,
    /// As it was when it was last looked at by the [`Crew`](super::crew::Crew).
    pub(super) standing: Standing,
}

impl Worker {
    pub(super) fn starting(now: Time, host: HostId, config: &Config) -> Self {
        let deadline = now.saturating_add(config.start_timeout);
        Self {
            stage: WorkerStage::Starting { deadline },
            host,
            lost: None,
            is_lost: false,
            pipeline: VecDeque::new(),
            blocked: false,
            recallable: Recallable::Never,
            turnaround: Turnaround::default(),
            recall: Recall::None,
            recalled_all: false,
            begun: 0,
            mercy: Mercy::Unheard,
            departure: None,
            seat: Seat::Own,
            leave_by: None,
            up_since: now,
            aged_at: config.max_age.map_or(Time::MAX, |age| now.saturating_add(age)),
            since: now,
            front: Front::new(now),
            tasks_completed: 0,
            patience: PATIENCE,
            batch: 1,
            run_times: RunTimes::default(),
            keyed: 0,
            standing: Standing::NONE,
        }
    }

    /// It becomes ready.
    pub(super) fn be_ready(&mut self, now: Time, recallable: Recallable) {
        (self.stage, self.recallable) = (WorkerStage::Ready, recallable);
        (self.up_since, self.since) = (now, now);
    }

    /// What was sent to it can be taken back until it begins.
    pub(super) fn is_recallable(&self) -> bool {
        self.recallable != Recallable::Never
    }

    /// It is far away, so what is asked of it is answered later.
    pub(super) fn is_late(&self) -> bool {
        self.recallable == Recallable::Late
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == WorkerStage::Ready
    }

    /// It is up, or comes up, and may be sent tasks.
    pub(super) fn serves(&self) -> bool {
        matches!(self.stage, WorkerStage::Starting { .. } | WorkerStage::Ready)
            && self.leaving().is_none()
            && !self.is_successor()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_ready() && self.pipeline.is_empty()
    }

    /// It was given up, as it did nothing.
    pub(super) fn is_stuck(&self) -> bool {
        self.leaving() == Some(LeaveReason::Stuck)
    }

    /// Whether one less is there after its end than should be. One that is stuck does not count any
    /// more before that.
    pub(super) fn leaves_a_vacancy(&self) -> bool {
        self.is_missed() && !self.is_stuck() && !self.is_successor() && !self.is_succeeded()
    }

    /// It does not leave because nobody needs it.
    pub(super) fn is_missed(&self) -> bool {
        use LeaveReason::{Idle, ShutDown, Surplus};

        !matches!(self.stage, WorkerStage::Stopping { reason: Idle | ShutDown | Surplus, .. })
    }

    /// It is being ended because it broke the protocol or was too late.
    pub(super) fn is_at_fault(&self) -> bool {
        matches!(self.stage, WorkerStage::Ending { fault: true, .. })
    }

    /// Its host is lost. It takes nothing more, and there is nobody to signal; its end follows.
    pub(super) fn lose(&mut self, safe_at: Time) {
        self.lost = self.lost.max(Some(safe_at));
        if matches!(self.stage, WorkerStage::Starting { .. } | WorkerStage::Ready) {
            self.stage = WorkerStage::Ending { kill_at: None, fault: false };
            self.is_lost = true;
        }
    }

    /// Its host was lost, and nobody had told it to end before.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// When what it had in hands has ended for sure, as it was lost.
    pub(super) fn safe_at(&self, now: Time) -> Time {
        self.lost.unwrap_or(now)
    }

    pub(super) fn head(&self) -> Option<&Sent> {
        self.pipeline.front()
    }

    /// The keys of the tasks in its hands.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.pipeline.iter().filter_map(|sent| sent.task.wishes().key).collect()
    }

    /// Whether it has not been asked for a part yet.
    fn is_whole(&self) -> bool {
        self.is_divisible() && self.recall == Recall::None
    }

    /// How many tasks were sent ahead, behind the running one.
    pub(super) fn ahead(&self) -> usize {
        self.pipeline.len().saturating_sub(1)
    }

    /// How many of those could be sent to another worker.
    pub(super) fn movable(&self) -> usize {
        let begun = self.begun.max(1);
        if self.keyed == 0 {
            return self.pipeline.len().saturating_sub(begun);
        }
        self.pipeline.iter().skip(begun).filter(|sent| !sent.has_key()).count()
    }

    /// Whether one more task may be sent now. While there are too many workers nothing is sent
    /// ahead, so that some of them run dry.
    fn has_room(&self, config: &Config, surplus: bool) -> bool {
        let limit = if surplus { 1 } else { config.max_pipeline };
        self.pipeline.len() < self.credit(limit) && self.takes_more(config)
    }

    fn takes_more(&self, config: &Config) -> bool {
        self.is_ready()
            && self.leaving().is_none()
            && !self.is_successor()
            && !self.blocked
            && !self.is_sentenced()
            && self.recall != Recall::Asked
            && !self.is_used_up(self.pipeline.len(), config)
    }

    /// Whether one more task may be sent although others are idle: so many brief ones may be in its
    /// hands, but not behind one that is not brief itself.
    pub(super) fn may_batch(&self, now: Time, batch: usize, config: &Config) -> bool {
        self.is_recallable()
            && (1..batch).contains(&self.pipeline.len())
            && self.recall == Recall::None
            && !self.is_divisible()
            && now.saturating_sub(self.since) <= FRESH.saturating_add(self.turnaround.get())
            && self.takes_more(config)
    }

    /// Whether it has run as many tasks as it may, those in its hands counted as given.
    pub(super) fn is_used_up(&self, in_hands: usize, config: &Config) -> bool {
        let given = self.tasks_completed.saturating_add(in_hands as u64);
        config.max_tasks.is_some_and(|most| given >= most)
    }

    /// Whether to ask back even the front task: the worker leaves, or that task is not wanted any
    /// more. One that ran too long has begun.
    pub(super) fn gives_all_back(&self) -> bool {
        let sentence = self.head().and_then(|head| head.sentence);
        self.leaving().is_some() || sentence.is_some_and(|sentence| sentence != Sentence::Timeout)
    }

    /// Whether the running task is to be ended.
    pub(super) fn is_sentenced(&self) -> bool {
        self.head().is_some_and(|head| head.sentence.is_some())
    }

    /// Whether there is something to ask back that has not been asked for: what was sent ahead, or
    /// a part of the running task.
    pub(super) fn can_recall(&self) -> bool {
        let ahead = self.pipeline.len() > self.begun.max(1);
        self.recall != Recall::Asked && (ahead || self.is_whole())
    }

    /// Whether it has more than the running task, and either gets rid of that one soon or runs out
    /// of patience.
    fn is_brisk(&self) -> bool {
        self.is_ready() && self.recall == Recall::None && !self.is_divisible() && self.can_recall()
    }

    /// Whether a part of the running task can be taken back.
    fn is_divisible(&self) -> bool {
        self.is_recallable() && self.head().is_some_and(|head| head.task.wishes().divisible)
    }

    fn credit(&self, limit: usize) -> usize {
        // What waits behind a divisible task never waits for long: that one runs out of patience.
        let least = if self.is_whole() { 2 } else { 1 };
        if self.is_recallable() {
            self.run_times.tasks_in_window().max(least).min(limit)
        } else {
            1
        }
    }

    /// The running task is done, and the next one counts as running; returns both, if there are.
    /// It has run for `run_time`, as its worker says. Idle workers do not help the next one while
    /// less than `batch` tasks could be sent to them.
    pub(super) fn complete_head(
        &mut self,
        now: Time,
        run_time: Duration,
        batch: usize,
    ) -> (Option<Sent>, Option<TaskId>) {
        self.tasks_completed += 1;
        self.batch = batch;
        let took = now.saturating_sub(self.since);
        if self.is_late() {
            // Results come together that were not made together, and the other way round.
            self.turnaround.task_finished(took.saturating_sub(run_time));
            self.run_times.record(run_time, self.turnaround.get());
        } else {
            self.run_times.record(took, Duration::ZERO);
        }
        self.drop_head(now)
    }

    /// When the running task must end, or of a chunk the running item; `None` without a timeout or
    /// once it is being ended. Which item runs is known when the others have been taken back, which
    /// takes no longer than its patience.
    #[inline]
    pub(super) fn timeout_at(&self) -> Option<Time> {
        let is_known = !self.is_divisible() || self.front.is_item_known();
        let is_known = is_known && !self.is_looked_at();
        let head = self.head().filter(|head| head.sentence.is_none() && is_known)?;
        Some(self.front.timeout_at(head.task.wishes().timeout?))
    }

    /// Whether it has to be looked whether the front task has begun.
    pub(super) fn is_to_be_looked_at(&self, now: Time) -> bool {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let looks = self.is_recallable() && !self.front.has_begun() && !self.is_looked_at();
        looks && (is_due(self.timeout_at()) || is_due(self.must_begin_at()))
    }

    /// It is being looked whether the front task has begun.
    fn is_looked_at(&self) -> bool {
        self.is_late() && self.front.is_asked_about()
    }

    /// Until when it must show that it does anything.
    pub(super) fn must_begin_at(&self) -> Option<Time> {
        // Nobody knows how long a task is under way to one that is far away.
        let is_sure = self.recallable != Recallable::AtOnce || self.leaving().is_some();
        let waits = self.head().is_some_and(|head| head.sentence.is_none()) && !is_sure;
        self.front.must_begin_at().filter(|_| waits)
    }

    /// An item of the running chunk has ended, and the next one has begun.
    pub(super) fn item_finished(&mut self, now: Time) {
        // What is told of one that could be divided may be old.
        self.front.item_finished(now, !self.is_recallable());
    }

    /// When the running task has lasted so long that those behind it, or its own other parts, must
    /// not wait any more.
    pub(super) fn patience_ends_at(&self) -> Option<Time> {
        let recalls = self.can_recall() || (self.is_divisible() && self.recall != Recall::Asked);
        recalls.then(|| self.since.saturating_add(self.patience))
    }

    /// When others that are idle may take a part of the running task.
    pub(super) fn divides_at(&self) -> Option<Time> {
        let divides = self.is_ready() && self.is_whole();
        let patience = PATIENCE.saturating_add(self.turnaround.get());
        divides.then(|| self.since.saturating_add(patience))
    }

    /// The front task, if there is one, counts as running from now on.
    fn begin_head(&mut self, now: Time) -> Option<TaskId> {
        self.since = now;
        self.front = Front::new(now);
        self.mercy = Mercy::Unheard;
        if self.recall == Recall::Answered {
            self.recall = Recall::None;
        }
        let patience = if self.is_divisible() { LONG_PATIENCE } else { PATIENCE };
        self.patience = patience.saturating_add(self.turnaround.get());
        Some(self.head()?.task.id)
    }

    /// When a running task that was asked to end by itself must have done so.
    pub(super) fn mercy_ends_at(&self) -> Option<Time> {
        match self.mercy {
            Mercy::Granted { ends, .. } => Some(ends),
            Mercy::Unheard | Mercy::NotAsked | Mercy::Asked => None,
        }
    }

    /// The running task turned out to be long: believe that of the next ones too.
    pub(super) fn lose_patience(&mut self, now: Time) {
        self.patience = self.patience.saturating_mul(2);
        self.batch = 1;
        self.run_times = RunTimes::default();
        self.run_times.record(now.saturating_sub(self.since).max(PATIENCE), Duration::ZERO);
    }

    /// It was sent a task, which counts as running from now on if it has no other. For `batch`, see
    /// [`Self::complete_head`].
    pub(super) fn push(&mut self, now: Time, task: Task, batch: usize) -> Option<TaskId> {
        self.batch = batch;
        let sent = Sent { task, sentence: None };
        self.keyed += usize::from(sent.has_key());
        self.pipeline.push_back(sent);
        if self.pipeline.len() > 1 {
            return None;
        }
        self.turnaround.sent_alone();
        self.begin_head(now)
    }

    /// Takes the front task out, and the next one counts as running. Returns both, if there are.
    pub(super) fn drop_head(&mut self, now: Time) -> (Option<Sent>, Option<TaskId>) {
        let head = self.pipeline.pop_front();
        self.turnaround.head_dropped();
        self.keyed -= usize::from(head.as_ref().is_some_and(Sent::has_key));
        self.begun = self.begun.saturating_sub(1);
        (head, self.begin_head(now))
    }

    /// Takes out one of those that were sent ahead.
    pub(super) fn remove(&mut self, position: usize) -> Option<Sent> {
        let sent = self.pipeline.remove(position);
        self.keyed -= usize::from(sent.as_ref().is_some_and(Sent::has_key));
        self.begun -= usize::from(position < self.begun);
        sent
    }

    /// The last `count` tasks have not begun and come back, the others have begun.
    pub(super) fn recalled(&mut self, now: Time, count: usize) -> VecDeque<Sent> {
        self.recall = Recall::Answered;
        if self.is_divisible() {
            self.front.recalled(now);
        }
        let taken = self.take_back(now, count);
        self.begun = self.pipeline.len();
        taken
    }

    /// Takes back the `count` tasks that were sent last.
    pub(super) fn take_back(&mut self, now: Time, count: usize) -> VecDeque<Sent> {
        let kept = self.pipeline.len().saturating_sub(count);
        if kept == 0 && count > 0 {
            self.since = now;
        }
        let taken = self.pipeline.split_off(kept);
        self.keyed -= taken.iter().filter(|sent| sent.has_key()).count();
        taken
    }

    /// Whether it may be idle for too long.
    fn may_idle_out(&self) -> bool {
        self.is_idle() && self.serves() && self.departure.is_none()
    }

    /// When it is too old, unless it is to be replaced already.
    pub(super) fn aged_at(&self) -> Option<Time> {
        Some(self.aged_at).filter(|at| *at < Time::MAX && self.serves() && self.departure.is_none())
    }

    /// When it has to be hurried, as it is replaced within a time.
    pub(super) fn must_leave_at(&self) -> Option<Time> {
        self.leave_by.map(LeaveBy::next)
    }

    /// How it stands among the others.
    pub(super) fn stand(&self, config: &Config, surplus: bool) -> Standing {
        let (is_ready, busy, serves) = (self.is_ready(), self.head().is_some(), self.serves());
        let can_recall = self.can_recall();
        let idle_until = |limit| self.since.saturating_add(limit);
        let idle = config.idle_timeout.filter(|_| self.may_idle_out()).map(idle_until);
        Standing {
            load: self.has_room(config, surplus).then_some(self.pipeline.len()),
            tenure: self.tenure(),
            tally: Tally {
                ahead: u32::try_from(self.ahead()).unwrap_or(u32::MAX),
                busy: u32::from(busy),
                starting: u32::from(matches!(self.stage, WorkerStage::Starting { .. })),
                ready: u32::from(is_ready),
                serving: u32::from(serves),
                stuck: u32::from(self.is_stuck()),
                up: u32::from(serves && is_ready),
                brisk: u32::from(can_recall && self.is_brisk()),
                risky: u32::from(self.head().is_some_and(Sent::is_suspect)),
                helpable: u32::from(can_recall && self.movable() >= self.batch),
                asked: u32::from(is_ready && self.is_late() && self.recall == Recall::Asked),
            },
            timeout: self.next_timeout(),
            divides: if busy { self.divides_at().unwrap_or(Time::MAX) } else { Time::MAX },
            idle: idle.unwrap_or(Time::MAX),
        }
    }

    /// Whether its keys are counted right.
    #[cfg(test)]
    pub(super) fn is_true(&self) -> bool {
        self.keyed == self.keys().len()
    }

    /// [`Time::MAX`] if it need not be looked at.
    fn next_timeout(&self) -> Time {
        let or_never = |at: Option<Time>| at.unwrap_or(Time::MAX);
        match self.stage {
            WorkerStage::Starting { deadline } | WorkerStage::Stopping { deadline, .. } => deadline,
            WorkerStage::Ready => or_never(self.timeout_at())
                .min(or_never(self.patience_ends_at()))
                .min(or_never(self.mercy_ends_at()))
                .min(or_never(self.must_begin_at()))
                .min(or_never(self.must_leave_at()))
                .min(or_never(self.aged_at())),
            WorkerStage::Ending { kill_at, .. } => or_never(kill_at),
        }
    }
}
