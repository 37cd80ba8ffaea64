//! The pure core: which task goes to which worker, and when workers come and go.
//!
//! Ids, policy and a given `now` go in, [`Action`]s come out. There is no I/O here, no clock, no
//! payload and no randomness, so the same history always gives the same actions.
//!
//! The methods of [`Scheduler`] are of four kinds:
//!
//! * *commands* of the user: `submit`, `cancel`, `abort`, `warm_up`, `shut_down`;
//! * *events* of the workers: `worker_*`, `task_finished`, `recalled`, and of the clock: `timeout`;
//! * *outputs*: `poll_action` and `next_timeout`;
//! * *getters*.
//!
//! After each command or event the caller performs all actions until `poll_action` returns `None`,
//! and only then hands in the next. An [`Action::Recall`] is answered at once by `recalled`.
//!
//! A task's way:
//!
//! ```text
//!            send                   it is the front one       task_finished
//! queued ───────────▶ sent ahead ───────────────────▶ running ─────────────▶ (resolved)
//!   ▲  │                │  │                            │  │  died, timed out, aborted
//!   │  └─ cancel ─▶     │  └─ cancel ─▶ (resolved)      │  └──────▶ (resolved)
//!   └───────────────────┘                               │
//!   ▲     recalled, or its worker died before it began  │ ... and retries are left
//!   └───────────────────────────────────────────────────┘
//! ```
//!
//! The pool's way is `Open ─▶ Draining ─▶ Closed`, with `Broken` in place of `Draining` when
//! workers cannot live; see [`Phase`].

mod queue;
mod restarts;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::queue::Queue;
pub(crate) use self::queue::Task;
use self::restarts::{Restarts, delay};
pub(crate) use self::worker::Stage;
use self::worker::{Recall, Sent, Sentence, Worker};
use crate::builder::OnWorkerDeath;
use crate::id::{TaskId, WorkerId};

/// Time since the pool began.
pub(crate) type Time = Duration;

/// What the scheduler must know before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) max_workers: usize,
    pub(crate) on_worker_death: OnWorkerDeath,
    /// How long a worker may take from its spawning to the end of its initializer.
    pub(crate) start_timeout: Duration,
    /// How long a worker that was told to end has before it is killed.
    pub(crate) grace_period: Duration,
    /// The most tasks that may be in the hands of one worker, running one included.
    pub(crate) max_pipeline: usize,
}

/// What the supervisor has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Spawn a worker.
    Start(WorkerId),
    /// Hand a task to a worker.
    Send { worker: WorkerId, task: TaskId, attempt: u32 },
    /// The task is its worker's running one now: it no longer counts as waiting.
    Begin(TaskId),
    /// Take back what was sent ahead to a worker, the last first, until one has begun; answer with
    /// [`Scheduler::recalled`].
    Recall(WorkerId),
    /// The task is back in the queue and can be cancelled there.
    Withdraw(TaskId),
    /// The task is over without a result.
    Fail(TaskId, Failure),
    /// Ask a worker without tasks to leave.
    Stop(WorkerId),
    /// Send a worker SIGTERM.
    Terminate(WorkerId),
    /// Send a worker SIGKILL.
    Kill(WorkerId, KillReason),
    /// A worker is up and initialised.
    Warm,
    /// No more tasks are accepted.
    Refuse(Refusal),
    /// Nothing is left to do, and nothing will be.
    Close,
}

/// Why a task ends without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its worker died while it ran.
    Died,
    TimedOut,
    Cancelled,
    Broken,
    ShutDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// It was not initialised in time.
    StartTimeout,
    /// It broke the protocol.
    Misbehaved,
    /// It was told to end and did not.
    GraceOver,
    /// The pool is broken.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    ShutDown,
    Broken,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It said goodbye.
    Left,
    /// It was ready, and ended without a goodbye. Of the tasks in its hands the last `taken` had
    /// provably not begun.
    Died { taken: usize },
    /// It never became ready. A fatal cause would meet every other worker too.
    StartFailed { fatal: bool },
}

/// Whether a result may be delivered.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    /// The worker cannot have run that task.
    Discard,
}

/// The stages of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accepts tasks.
    Open,
    /// Shut down; runs what it still holds, or cancels what has not begun.
    Draining { cancel: bool },
    /// Every task fails. Ends like a drained pool once it is shut down.
    Broken { shut_down: bool },
    /// All over.
    Closed,
}

/// Counts of what happened so far and of how things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Tasks whose workers were made to end by a shutdown's time limit.
    pub(crate) killed: u64,
    pub(crate) worker_starts: u64,
    pub(crate) worker_deaths: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    config: Config,
    phase: Phase,
    queue: Queue,
    workers: BTreeMap<WorkerId, Worker>,
    /// Workers with room for one more task, by load. The least loaded one comes first.
    open: BTreeSet<(usize, WorkerId)>,
    /// Tasks sent ahead, over all workers.
    ahead: usize,
    /// At least one worker is wanted, even without a task.
    warm_up: bool,
    shutdown_limit: Option<Time>,
    restarts: Restarts,
    next_worker: u64,
    counts: Counts,
    actions: VecDeque<Action>,
}

impl Scheduler {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Open,
            queue: Queue::default(),
            workers: BTreeMap::new(),
            open: BTreeSet::new(),
            ahead: 0,
            warm_up: false,
            shutdown_limit: None,
            restarts: Restarts::default(),
            next_worker: 1,
            counts: Counts::default(),
            actions: VecDeque::new(),
        }
    }

    // ----- commands -----

    pub(crate) fn submit(&mut self, now: Time, task: Task) {
        self.counts.submitted += 1;
        match self.phase {
            Phase::Open => self.queue.push(task),
            Phase::Broken { .. } => self.fail(task.id, Failure::Broken),
            Phase::Draining { .. } | Phase::Closed => self.fail(task.id, Failure::ShutDown),
        }
        self.dispatch(now);
    }

    /// The task has been cancelled before it began, wherever it was; it will never begin.
    pub(crate) fn cancel(&mut self, now: Time, task: TaskId) {
        if self.queue.remove(task).is_some() {
            self.fail(task, Failure::Cancelled);
        } else if let Some((id, position)) = self.find_sent(task) {
            self.fail(task, Failure::Cancelled);
            self.drop_sent(now, id, position);
        }
        self.advance(now);
    }

    /// Ends a task even if it runs.
    pub(crate) fn abort(&mut self, now: Time, task: TaskId) {
        if self.queue.remove(task).is_some() {
            self.fail(task, Failure::Cancelled);
        } else if let Some((id, position)) = self.find_sent(task) {
            self.sentence(now, id, position, Sentence::Abort);
        }
        self.advance(now);
    }

    /// Makes sure that one worker comes up without waiting for a task.
    pub(crate) fn warm_up(&mut self, now: Time) {
        if self.workers.values().any(Worker::is_ready) {
            self.actions.push_back(Action::Warm);
        } else if self.phase == Phase::Open {
            self.warm_up = true;
        }
        self.dispatch(now);
    }

    /// Accepts no more tasks and runs the others to their end, or cancels them. What is left after
    /// `limit` is ended. Later calls can only tighten earlier ones.
    pub(crate) fn shut_down(&mut self, now: Time, cancel_futures: bool, limit: Option<Duration>) {
        self.phase = match self.phase {
            Phase::Open => {
                self.actions.push_back(Action::Refuse(Refusal::ShutDown));
                Phase::Draining { cancel: cancel_futures }
            }
            Phase::Draining { cancel } => Phase::Draining { cancel: cancel || cancel_futures },
            Phase::Broken { .. } => Phase::Broken { shut_down: true },
            Phase::Closed => Phase::Closed,
        };
        self.warm_up = false;
        let limit = limit.map(|limit| now.saturating_add(limit));
        self.shutdown_limit = self.shutdown_limit.into_iter().chain(limit).min();
        if self.cancels_waiting() {
            self.cancel_waiting();
        }
        self.advance(now);
    }

    // ----- events -----

    /// A worker is initialised. `recallable` says whether tasks can be taken back from it.
    pub(crate) fn worker_ready(&mut self, now: Time, id: WorkerId, recallable: bool) {
        let is_starting = |worker: &Worker| matches!(worker.stage, Stage::Starting { .. });
        if !self.workers.get(&id).is_some_and(is_starting) {
            return; // it was told to leave in the meantime
        }
        self.update(id, |worker| {
            worker.stage = Stage::Ready;
            worker.recallable = recallable;
        });
        self.restarts.worker_ready();
        self.warm_up = false;
        self.actions.push_back(Action::Warm);
        self.advance(now);
    }

    /// A worker sent the result of a task. It may also come from a worker that is being ended.
    pub(crate) fn task_finished(&mut self, now: Time, id: WorkerId, task: TaskId) -> Verdict {
        let worker = self.workers.get(&id).filter(|worker| !worker.is_at_fault());
        let head = worker.and_then(Worker::head);
        if head.is_none_or(|head| head.task.id != task) {
            self.misbehaved(id);
            return Verdict::Discard;
        }
        self.counts.completed += 1;
        self.restarts.task_finished();
        self.update(id, |worker| worker.complete_head(now));
        self.drop_head(now, id);
        self.advance(now);
        Verdict::Deliver
    }

    /// A worker broke the protocol; nothing it says can be relied on any more.
    pub(crate) fn misbehaved(&mut self, id: WorkerId) {
        self.end_now(id, KillReason::Misbehaved);
    }

    /// Answers [`Action::Recall`]: the last `taken` tasks in the worker's hands will not begin.
    pub(crate) fn recalled(&mut self, now: Time, id: WorkerId, taken: usize) {
        let tasks = self.update(id, |worker| {
            worker.recall = Recall::Answered;
            worker.take_back(taken)
        });
        for sent in tasks.into_iter().flatten() {
            self.requeue(now, sent);
        }
        self.execute_sentence(now, id);
        self.advance(now);
    }

    /// A worker's pipe is full.
    pub(crate) fn worker_blocked(&mut self, id: WorkerId) {
        self.update(id, |worker| worker.blocked = true);
    }

    /// A worker's pipe is drained.
    pub(crate) fn worker_unblocked(&mut self, now: Time, id: WorkerId) {
        self.update(id, |worker| worker.blocked = false);
        self.dispatch(now);
    }

    /// A worker's process is gone and has been reaped; it will send no more events.
    pub(crate) fn worker_ended(&mut self, now: Time, id: WorkerId, end: End) {
        let taken = if let End::Died { taken } = end { taken } else { 0 };
        let Some(mut worker) = self.remove(id) else { return };
        let unbegun = worker.take_back(taken);
        let begun = std::mem::take(&mut worker.pipeline);
        for sent in unbegun {
            self.requeue(now, sent);
        }
        self.mourn(now, &worker, end);
        for sent in begun {
            self.end_sent(now, sent);
        }
        self.advance(now);
    }

    /// The time that [`Self::next_timeout`] named has come.
    pub(crate) fn timeout(&mut self, now: Time) {
        let due: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.next_timeout().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.worker_timeout(now, id);
        }
        if self.shutdown_limit.is_some_and(|limit| limit <= now) {
            self.shutdown_limit = None;
            self.cut_short(now);
        }
        self.advance(now);
    }

    // ----- outputs -----

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::timeout`] must be called, if nothing else happens before.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let workers = self.workers.values().filter_map(Worker::next_timeout);
        let restart = self.wants_worker().then(|| self.restarts.not_before());
        workers.chain(self.queue.next_due()).chain(self.shutdown_limit).chain(restart).min()
    }

    // ----- getters -----

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Tasks that wait to begin, those sent ahead included.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + self.ahead
    }

    pub(crate) fn running(&self) -> usize {
        self.workers.values().filter(|worker| worker.head().is_some()).count()
    }

    pub(crate) fn worker(&self, id: WorkerId) -> Option<WorkerView> {
        let worker = self.workers.get(&id)?;
        Some(WorkerView {
            stage: worker.stage,
            busy: worker.head().is_some(),
            tasks_completed: worker.tasks_completed,
        })
    }

    /// The tasks in a worker's hands, the running one first.
    pub(crate) fn pipeline(&self, id: WorkerId) -> impl DoubleEndedIterator<Item = TaskId> {
        let worker = self.workers.get(&id);
        worker.into_iter().flat_map(|worker| worker.pipeline.iter().map(|sent| sent.task.id))
    }

    // ----- policy -----

    /// Brings everything forward that the last event made possible.
    fn advance(&mut self, now: Time) {
        self.dispatch(now);
        self.finish_shutdown(now);
    }

    /// Hands out what waits: first to idle workers, then to new ones, and what is left is sent
    /// ahead to busy ones that are quick.
    fn dispatch(&mut self, now: Time) {
        self.queue.release_due(now);
        while let Some(&(0, id)) = self.open.first()
            && self.send_oldest(now, id)
        {}
        self.start_workers(now);
        while let Some(&(_, id)) = self.open.first()
            && self.send_oldest(now, id)
        {}
        self.rebalance();
    }

    /// Sends the oldest waiting task to a worker with room; false if none waits.
    fn send_oldest(&mut self, now: Time, id: WorkerId) -> bool {
        let Some(task) = self.queue.pop() else { return false };
        let action = Action::Send { worker: id, task: task.id, attempt: task.attempt };
        self.actions.push_back(action);
        let load = self.update(id, |worker| {
            worker.recall = Recall::Possible;
            worker.pipeline.push_back(Sent { task, sentence: None });
            worker.pipeline.len()
        });
        if load == Some(1) {
            self.begin_head(now, id);
        }
        true
    }

    fn start_workers(&mut self, now: Time) {
        while self.wants_worker() && self.restarts.may_start(now) {
            let id = WorkerId(self.next_worker);
            self.next_worker += 1;
            self.counts.worker_starts += 1;
            let deadline = now.saturating_add(self.config.start_timeout);
            self.workers.insert(id, Worker::starting(deadline));
            self.actions.push_back(Action::Start(id));
        }
    }

    /// Whether a further worker would have something to do and may exist.
    fn wants_worker(&self) -> bool {
        if !matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            return false;
        }
        let is_starting = |worker: &&Worker| matches!(worker.stage, Stage::Starting { .. });
        let wanted = self.queue.ready().max(usize::from(self.warm_up));
        wanted > 0
            && self.workers.len() < self.config.max_workers
            && self.workers.values().filter(is_starting).count() < wanted
    }

    /// An idle worker with nothing left in the queue gets what was sent ahead to a busy one.
    fn rebalance(&mut self) {
        let idle = self.open.first().is_some_and(|(load, _)| *load == 0);
        if self.ahead == 0 || !idle {
            return;
        }
        let candidates = self.workers.iter().filter(|(_, worker)| worker.can_recall());
        if let Some((&id, _)) = candidates.max_by_key(|(_, worker)| worker.ahead()) {
            self.recall(id);
        }
    }

    fn recall(&mut self, id: WorkerId) {
        self.update(id, |worker| worker.recall = Recall::Asked);
        self.actions.push_back(Action::Recall(id));
    }

    /// The front task of a pipeline counts as running from now on.
    fn begin_head(&mut self, now: Time, id: WorkerId) {
        let head = self.workers.get(&id).and_then(Worker::head);
        if let Some(head) = head {
            self.actions.push_back(Action::Begin(head.task.id));
            self.update(id, |worker| worker.head_since = now);
        }
    }

    /// Takes the front task out; the next one becomes the running one.
    fn drop_head(&mut self, now: Time, id: WorkerId) {
        self.update(id, |worker| worker.pipeline.pop_front());
        self.begin_head(now, id);
        self.execute_sentence(now, id);
    }

    /// Takes a cancelled task out of the pipeline it was sent to.
    fn drop_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        if position == 0 {
            self.drop_head(now, id);
        } else {
            self.update(id, |worker| worker.pipeline.remove(position));
        }
    }

    fn find_sent(&self, task: TaskId) -> Option<(WorkerId, usize)> {
        self.workers.iter().find_map(|(id, worker)| {
            let position = worker.pipeline.iter().position(|sent| sent.task.id == task)?;
            Some((*id, position))
        })
    }

    /// Marks a sent task as one to be ended; that happens as soon as it is the running one.
    fn sentence(&mut self, now: Time, id: WorkerId, position: usize, sentence: Sentence) {
        self.update(id, |worker| {
            if let Some(sent) = worker.pipeline.get_mut(position) {
                sent.sentence = sent.sentence.max(Some(sentence));
            }
        });
        if position == 0 {
            self.execute_sentence(now, id);
        }
    }

    /// Ends the worker of a sentenced running task, but only once nobody else can be hurt: what
    /// was sent ahead is recalled first, and if a part of it has begun, then the sentenced task
    /// has ended by itself and its result is on the way.
    fn execute_sentence(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|w| w.is_ready() && w.is_sentenced())
        else {
            return;
        };
        if worker.ahead() == 0 {
            let kill_at = Some(now.saturating_add(self.config.grace_period));
            self.update(id, |worker| worker.stage = Stage::Ending { kill_at, fault: false });
            self.actions.push_back(Action::Terminate(id));
        } else if worker.can_recall() {
            self.recall(id);
        }
    }

    fn worker_timeout(&mut self, now: Time, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        match worker.stage {
            Stage::Starting { .. } => self.end_now(id, KillReason::StartTimeout),
            Stage::Stopping { .. } | Stage::Ending { .. } => {
                self.end_now(id, KillReason::GraceOver);
            }
            Stage::Ready if worker.timeout_at().is_some_and(|at| at <= now) => {
                self.sentence(now, id, 0, Sentence::Timeout);
            }
            Stage::Ready => {
                self.update(id, |worker| worker.lose_patience(now));
                self.recall(id);
            }
        }
    }

    fn end_now(&mut self, id: WorkerId, reason: KillReason) {
        let killed = |worker: &Worker| matches!(worker.stage, Stage::Ending { kill_at: None, .. });
        if self.workers.get(&id).is_none_or(killed) {
            return;
        }
        let fault = matches!(reason, KillReason::Misbehaved | KillReason::StartTimeout);
        self.update(id, |worker| worker.stage = Stage::Ending { kill_at: None, fault });
        self.actions.push_back(Action::Kill(id, reason));
    }

    /// Draws the conclusions from the end of a worker, other than for its tasks.
    fn mourn(&mut self, now: Time, worker: &Worker, end: End) {
        match (worker.stage, end) {
            // It was told to.
            (Stage::Stopping { .. } | Stage::Ending { fault: false, .. }, _) => {}
            (stage, End::StartFailed { fatal }) => {
                self.restarts.start_failed(now);
                let in_time = matches!(stage, Stage::Starting { .. });
                let alone = !self.workers.values().any(Worker::is_ready);
                if fatal || !in_time || (alone && self.restarts.is_hopeless()) {
                    self.break_down();
                }
            }
            (_, End::Died { .. } | End::Left) => {
                self.counts.worker_deaths += 1;
                self.restarts.worker_died(now);
                if self.config.on_worker_death == OnWorkerDeath::Break {
                    self.break_down();
                }
            }
        }
    }

    /// Decides about a task that came back from a worker, and that may have begun or was to be
    /// ended.
    fn end_sent(&mut self, now: Time, sent: Sent) {
        let Sent { mut task, sentence } = sent;
        let failure = match sentence {
            _ if matches!(self.phase, Phase::Broken { .. }) => Failure::Broken,
            Some(Sentence::CutShort) => {
                self.counts.killed += 1;
                return self.fail(task.id, Failure::Cancelled);
            }
            Some(Sentence::Abort) => return self.fail(task.id, Failure::Cancelled),
            Some(Sentence::Timeout) => Failure::TimedOut,
            None => Failure::Died,
        };
        if task.retries == 0 || failure == Failure::Broken || self.cancels_waiting() {
            return self.fail(task.id, failure);
        }
        task.retries -= 1;
        self.actions.push_back(Action::Withdraw(task.id));
        let due = now + delay(task.attempt);
        task.attempt += 1;
        self.queue.push_delayed(due, task);
    }

    /// Puts a task that has not begun back in its place, unless it is to be ended or nothing may
    /// begin any more.
    fn requeue(&mut self, now: Time, sent: Sent) {
        if matches!(sent.sentence, Some(Sentence::Timeout | Sentence::Abort)) {
            return self.end_sent(now, sent);
        }
        let task = sent.task;
        match self.phase {
            Phase::Open | Phase::Draining { cancel: false } => {
                self.actions.push_back(Action::Withdraw(task.id));
                self.queue.push(task);
            }
            Phase::Draining { cancel: true } | Phase::Closed => {
                self.fail(task.id, Failure::Cancelled);
            }
            Phase::Broken { .. } => self.fail(task.id, Failure::Broken),
        }
    }

    fn fail(&mut self, task: TaskId, failure: Failure) {
        match failure {
            Failure::Cancelled => self.counts.cancelled += 1,
            _ => self.counts.failed += 1,
        }
        self.actions.push_back(Action::Fail(task, failure));
    }

    // ----- the end of the pool -----

    /// Every task fails and every worker goes.
    fn break_down(&mut self) {
        let shut_down = match self.phase {
            Phase::Open => false,
            Phase::Draining { .. } => true,
            Phase::Broken { .. } | Phase::Closed => return,
        };
        self.phase = Phase::Broken { shut_down };
        self.actions.push_back(Action::Refuse(Refusal::Broken));
        for task in self.queue.drain() {
            self.fail(task, Failure::Broken);
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            self.end_now(id, KillReason::Broken);
        }
    }

    fn cancels_waiting(&self) -> bool {
        self.phase == Phase::Draining { cancel: true }
    }

    /// Cancels what has not begun, and recalls what was sent ahead so that it is cancelled too.
    fn cancel_waiting(&mut self) {
        for task in self.queue.drain() {
            self.fail(task, Failure::Cancelled);
        }
        let ahead =
            self.workers.iter().filter(|(_, worker)| worker.is_ready() && worker.can_recall());
        let ids: Vec<WorkerId> = ahead.map(|(id, _)| *id).collect();
        for id in ids {
            self.recall(id);
        }
    }

    /// A shutdown's time is up: what waits is cancelled, what runs is ended.
    fn cut_short(&mut self, now: Time) {
        if let Phase::Draining { cancel } = &mut self.phase {
            *cancel = true;
        }
        self.cancel_waiting();
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(worker) = self.workers.get(&id) else { continue };
            let tasks = worker.pipeline.len();
            if tasks == 0 {
                self.end_now(id, KillReason::GraceOver);
            }
            // The front one may have finished already, so those behind it may run.
            for position in 0..tasks {
                self.sentence(now, id, position, Sentence::CutShort);
            }
        }
    }

    /// Sends workers home once a shut down pool has run dry, and closes after the last.
    fn finish_shutdown(&mut self, now: Time) {
        match self.phase {
            Phase::Draining { .. } => {
                let dry =
                    self.queue.len() == 0 && self.workers.values().all(|w| w.head().is_none());
                if dry {
                    self.stop_workers(now);
                }
                if dry && self.workers.is_empty() {
                    self.close();
                }
            }
            Phase::Broken { shut_down: true } if self.workers.is_empty() => self.close(),
            _ => {}
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.actions.push_back(Action::Close);
    }

    fn stop_workers(&mut self, now: Time) {
        let deadline = now.saturating_add(self.config.grace_period);
        let stays = |worker: &Worker| matches!(worker.stage, Stage::Ready | Stage::Starting { .. });
        let staying = self.workers.iter().filter(|(_, worker)| stays(worker));
        let ids: Vec<WorkerId> = staying.map(|(id, _)| *id).collect();
        for id in ids {
            self.update(id, |worker| worker.stage = Stage::Stopping { deadline });
            self.actions.push_back(Action::Stop(id));
        }
    }

    // ----- the index of open workers -----

    /// The one way to change a worker: keeps `open` and `ahead` true.
    fn update<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let worker = self.workers.get_mut(&id)?;
        self.open.remove(&(worker.pipeline.len(), id));
        self.ahead -= worker.ahead();
        let result = change(worker);
        self.ahead += worker.ahead();
        if worker.has_room(self.config.max_pipeline) {
            self.open.insert((worker.pipeline.len(), id));
        }
        Some(result)
    }

    fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.open.remove(&(worker.pipeline.len(), id));
        self.ahead -= worker.ahead();
        Some(worker)
    }
}

/// What may be seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerView {
    pub(crate) stage: Stage,
    pub(crate) busy: bool,
    pub(crate) tasks_completed: u64,
}
