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

mod dispatch;
mod ending;
mod queue;
mod restarts;
mod shutdown;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::queue::Queue;
pub(crate) use self::queue::Task;
use self::restarts::Restarts;
pub(crate) use self::worker::Stage;
use self::worker::{Recall, Sentence, Worker};
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
    /// It never became ready.
    StartFailed(StartFailure),
}

/// What it says of other workers that one did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFailure {
    /// The cause would meet every other one too.
    Fatal,
    /// Another one may fare better, but not many will be tried.
    Own,
    /// It was killed from outside. That may happen to anybody, so it counts little.
    Killed,
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

    // ----- the index of open workers -----

    /// The one way to change a worker: keeps `open` and `ahead` true.
    fn update<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let worker = self.workers.get_mut(&id)?;
        self.ahead -= worker.ahead();
        let result = change(worker);
        self.ahead += worker.ahead();
        let load = worker.has_room(self.config.max_pipeline).then_some(worker.pipeline.len());
        if load != worker.listed {
            if let Some(listed) = worker.listed {
                self.open.remove(&(listed, id));
            }
            self.open.extend(load.map(|load| (load, id)));
            worker.listed = load;
        }
        Some(result)
    }

    fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        if let Some(listed) = worker.listed {
            self.open.remove(&(listed, id));
        }
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
