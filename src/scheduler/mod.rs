//! The pure core: which task goes to which worker, and when workers come and go.
//!
//! Ids, policy and a given `now` go in, [`Action`]s come out. There is no I/O here, no clock, no
//! payload and no randomness, so the same history always gives the same actions.
//!
//! The methods of [`Scheduler`] are of four kinds:
//!
//! * *commands* of the user: `open`, `submit`, `cancel`, `abort`, `warm_up`, `resize`, `recycle`,
//!   `shut_down`, `end_workers`, and of the supervisor: `hold`, `release`;
//! * *events* of the workers: `worker_*`, `task_finished`, `asked`, `recalled`, `divided`, of
//!   hosts: `host_*`, of the clock: `timeout`, and of conditions: `decided`;
//! * *outputs*: `poll_action` and `next_timeout`;
//! * *getters*, in `getters`.
//!
//! After each command or event the caller performs all actions until `poll_action` returns `None`,
//! and only then hands in the next. An [`Action::Recall`] is answered at once by `recalled`, an
//! [`Action::Ask`] by `asked`.
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
//! A task with a condition is undecided after an attempt that may have a next one; see `retries`.
//!
//! The pool's way is `Open ─▶ Draining ─▶ Closed`, with `Broken` in place of `Draining` when
//! workers cannot live; see [`Phase`].

mod absence;
mod action;
mod answers;
#[cfg(test)]
mod changes;
mod crew;
mod dispatch;
mod earliest;
mod ending;
mod fairness;
mod front;
mod getters;
mod holding;
mod homes;
mod hosts;
mod lanes;
mod leaving;
mod losses;
mod numbers;
mod openings;
mod queue;
mod recallable;
mod restarts;
mod retries;
mod run_times;
mod shutdown;
mod standing;
mod succession;
mod sums;
mod task;
mod tempo;
mod tenure;
#[cfg(test)]
mod tests;
mod turnaround;
pub(crate) mod view;
mod worker;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

pub(crate) use self::action::{
    Action, Config, End, Failure, Force, HostConfig, KillReason, Prospect, RefuseReason,
    StartFailureKind, Time, Verdict,
};
pub use self::action::{LeaveReason, OnWorkerDeath};
#[cfg(test)]
use self::changes::Change;
use self::crew::Crew;
use self::queue::Queue;
use self::recallable::Recallable;
use self::task::{Key, Undecided};
pub(crate) use self::task::{Task, TenantKey, Wishes};
use self::tempo::Tempo;
#[cfg(test)]
use self::tenure::Tenure;
use self::view::Counts;
pub(crate) use self::worker::WorkerStage;
use self::worker::{Recall, Sentence, Worker};
use crate::base::maps::TaskMap;
use crate::base::{TaskId, WorkerId};

/// A shutdown that takes so long says what it waits for.
const LONG_SHUTDOWN: Duration = Duration::from_secs(10);
/// Memory for so many actions is kept.
const FEW_ACTIONS: usize = 1_024;

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

#[derive(Clone, Debug)]
pub(crate) struct Scheduler {
    config: Config,
    phase: Phase,
    queue: Queue,
    workers: Crew,
    tempo: Tempo,
    /// The worker that was sent a task last, not counting those that were waited for.
    latest: Option<WorkerId>,
    /// In whose hands tasks are.
    sent: TaskMap<WorkerId>,
    /// Recalls without an answer that comes before the next event; nothing is sent until then.
    unanswered: usize,
    /// When tasks that are not over must have begun, or be over.
    deadlines: BTreeSet<(Time, TaskId)>,
    /// Tasks that have ended, and are perhaps to be begun again.
    undecided: TaskMap<Undecided>,
    /// At least one worker is wanted, even without a task.
    warm_up: bool,
    /// There are more workers than there may be, and all of them are busy.
    surplus: bool,
    shutdown_limit: Option<Time>,
    /// When it is said what a shutdown waits for.
    reminder: Option<Time>,
    /// Workers that were lost with their hosts, and that are the homes of keys until it is sure
    /// that their tasks have ended.
    lost_homes: BTreeSet<(Time, WorkerId)>,
    /// When all that runs on hosts that were lost so far has ended. Further attempts of items wait
    /// for it, as nobody says here where the last one ran.
    safe_at: Time,
    /// How long the last start took. Who loses a worker pays for that of another one.
    start_took: Duration,
    /// Workers that have ended, were not too many, and have not been replaced.
    vacancies: u64,
    next_worker: u64,
    counts: Counts,
    actions: VecDeque<Action>,
    /// So many have been polled.
    #[cfg(test)]
    polled: u64,
    #[cfg(test)]
    changes: VecDeque<Change>,
}

impl Scheduler {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            phase: Phase::Open,
            queue: Queue::default(),
            workers: Crew::new(&config),
            tempo: Tempo::new(config.brief_row),
            config,
            latest: None,
            sent: TaskMap::default(),
            unanswered: 0,
            deadlines: BTreeSet::new(),
            undecided: TaskMap::default(),
            warm_up: false,
            surplus: false,
            shutdown_limit: None,
            reminder: None,
            lost_homes: BTreeSet::new(),
            safe_at: Time::ZERO,
            start_took: Duration::ZERO,
            vacancies: 0,
            next_worker: 1,
            counts: Counts::default(),
            actions: VecDeque::new(),
            #[cfg(test)]
            polled: 0,
            #[cfg(test)]
            changes: VecDeque::new(),
        }
    }

    // ----- commands -----

    /// Brings up the workers that are wanted even without a task.
    pub(crate) fn open(&mut self, now: Time) {
        self.dispatch(now);
    }

    pub(crate) fn submit(&mut self, now: Time, mut task: Task) {
        self.accept(&task);
        if self.config.max_workers == 1 {
            task.trust(); // there is no worker to spare, and an order to keep
        }
        match self.phase {
            _ if self.repeats(&task) => self.postpone(now, task, self.safe_at),
            Phase::Open => self.queue.push(task),
            Phase::Broken { .. } => self.fail(&task, Failure::Broken),
            Phase::Draining { .. } | Phase::Closed => self.fail(&task, Failure::ShutDown),
        }
        self.advance(now);
    }

    /// The task has been cancelled before it began, wherever it was; it will never begin.
    pub(crate) fn cancel(&mut self, now: Time, task: TaskId) {
        if let Some(task) = self.queue.remove(task) {
            self.fail(&task, Failure::Cancelled);
        } else if let Some((id, position)) = self.find_sent(task) {
            self.cancel_sent(now, id, position);
        } else {
            self.abort_undecided(task); // its worker has sent a result, though it was revoked
        }
        self.advance(now);
    }

    /// Ends a task even if it runs.
    pub(crate) fn abort(&mut self, now: Time, task: TaskId) {
        if let Some(task) = self.queue.remove(task) {
            self.fail(&task, Failure::Cancelled);
        } else if let Some((id, position)) = self.find_sent(task) {
            self.sentence(now, id, position, Sentence::Abort);
        } else {
            self.abort_undecided(task);
        }
        self.advance(now);
    }

    /// Makes sure that the least number of workers, and at least one, comes up without waiting for
    /// a task.
    pub(crate) fn warm_up(&mut self, now: Time) {
        if self.is_warm() {
            self.actions.push_back(Action::Warm);
        } else if self.phase == Phase::Open {
            self.warm_up = true;
        }
        self.advance(now);
    }

    /// Changes the most workers that there may be. If there are more, those without tasks leave,
    /// and of the others those that run dry first.
    pub(crate) fn resize(&mut self, now: Time, max_workers: usize) {
        self.config.follows_hosts = false;
        self.set_most(now, max_workers);
        self.advance(now);
    }

    fn set_most(&mut self, now: Time, max_workers: usize) {
        self.config.max_workers = max_workers;
        self.workers.hosts_mut().resize(max_workers);
        self.dismiss_surplus(now);
        if self.warm_up {
            self.tell_if_warm(); // fewer may be enough now
        }
    }

    /// Every worker of now is replaced; what still runs on it after `limit` is ended.
    pub(crate) fn recycle(&mut self, now: Time, limit: Option<Duration>) {
        self.retire_all(now, limit);
        self.advance(now);
    }

    /// Accepts no more tasks and runs the others to their end, or cancels them. What is left after
    /// `limit` is ended. Later calls can only tighten earlier ones.
    pub(crate) fn shut_down(&mut self, now: Time, cancel_futures: bool, limit: Option<Duration>) {
        self.begin_shutdown(cancel_futures);
        let limit = limit.map(|limit| now.saturating_add(limit));
        self.shutdown_limit = self.shutdown_limit.into_iter().chain(limit).min();
        let waits = matches!(self.phase, Phase::Draining { .. }) && self.shutdown_limit.is_none();
        self.reminder = waits.then(|| now.saturating_add(LONG_SHUTDOWN));
        self.advance(now);
    }

    /// Accepts no more tasks, cancels those that have not begun, and ends all workers whatever they
    /// do.
    pub(crate) fn end_workers(&mut self, now: Time, force: Force) {
        self.begin_shutdown(true);
        self.shutdown_limit = None;
        self.force_out(now, force);
        self.advance(now);
    }

    /// Accepts no more tasks, fails all there are, and ends all workers: the pool is broken because
    /// its user says so.
    pub(crate) fn break_pool(&mut self, now: Time) {
        self.break_down();
        self.begin_shutdown(false);
        self.shutdown_limit = None;
        self.advance(now);
    }

    // ----- events -----

    /// A worker is initialized. `recallable` says whether tasks can be taken back from it.
    pub(crate) fn worker_ready(&mut self, now: Time, id: WorkerId, recallable: Recallable) {
        let is_starting = |worker: &&Worker| matches!(worker.stage, WorkerStage::Starting { .. });
        let Some(worker) = self.workers.get(id).filter(is_starting) else {
            return; // it was told to leave in the meantime
        };
        let host = worker.host;
        self.start_took = now.saturating_sub(worker.since);
        self.update(id, |worker| worker.be_ready(now, recallable));
        self.workers.hosts_mut().worker_ready(host);
        self.tell_if_warm();
        self.advance(now);
    }

    /// A worker sent the result of a task, which has run so long. It may also come from a worker
    /// that is being ended.
    pub(crate) fn task_finished(
        &mut self,
        now: Time,
        id: WorkerId,
        task: TaskId,
        run_time: Duration,
    ) -> Verdict {
        let worker = self.workers.get(id).filter(|worker| !worker.is_at_fault());
        let running = worker.and_then(|worker| Some((worker.head()?, worker.since, worker.host)));
        let Some((head, since, host)) = running.filter(|(head, ..)| head.task.id == task) else {
            self.misbehaved(now, id);
            return Verdict::Discard;
        };
        let is_undecided = self.is_conditional(now, head);
        if !head.task.wishes().divisible {
            self.tempo.record(run_time);
        }
        self.queue.account(&head.task, Some(now.saturating_sub(since)));
        self.workers.hosts_mut().task_finished(host);
        let batch = self.tempo.batch();
        let done = self.update(id, |worker| worker.complete_head(now, run_time, batch));
        let (head, next) = done.unwrap_or_default();
        self.sent.remove(task);
        match head {
            Some(head) if is_undecided => self.leave_undecided(head.task, None, now),
            Some(head) => self.count_end(&head.task, None),
            None => {}
        }
        self.head_dropped(now, id, next);
        self.retire_if_nearly_used_up(now, id);
        self.relieve_between_tasks(now, id);
        self.advance(now);
        if is_undecided { Verdict::Undecided } else { Verdict::Deliver }
    }

    /// A worker sent results of its running chunk, but not the last one.
    pub(crate) fn item_finished(&mut self, now: Time, id: WorkerId) {
        self.update(id, |worker| worker.item_finished(now));
    }

    /// A worker takes more memory than it may, and will not begin another task.
    pub(crate) fn worker_over_memory(&mut self, now: Time, id: WorkerId) {
        // It says so after a task only; one that says so at once would be replaced again and again.
        if self.workers.get(id).is_some_and(|worker| worker.tasks_completed == 0) {
            return self.misbehaved(now, id);
        }
        self.dismiss(now, id, LeaveReason::Memory);
        self.advance(now);
    }

    /// A worker broke the protocol; nothing it says can be relied on any more.
    pub(crate) fn misbehaved(&mut self, now: Time, id: WorkerId) {
        self.end_now(id, KillReason::Misbehaved);
        self.advance(now);
    }

    /// A worker's pipe is full.
    pub(crate) fn worker_blocked(&mut self, id: WorkerId) {
        self.update(id, |worker| worker.blocked = true);
    }

    /// A worker's pipe is drained.
    pub(crate) fn worker_unblocked(&mut self, now: Time, id: WorkerId) {
        self.update(id, |worker| worker.blocked = false);
        self.advance(now);
    }

    /// A worker's process is gone and has been reaped; it will send no more events.
    pub(crate) fn worker_ended(&mut self, now: Time, id: WorkerId, end: End) {
        let taken = match end {
            End::Died { taken } | End::HostLost { taken } => taken,
            End::Left | End::StartFailed(_) => 0,
        };
        let Some(mut worker) = self.remove(id) else { return };
        let lost = matches!(end, End::HostLost { .. }).then(|| worker.safe_at(now));
        // A lost host is nobody's fault, so no tenant pays for the start of another worker.
        let start = if lost.is_some() { Duration::ZERO } else { self.start_took };
        let mut cost = now.saturating_sub(worker.since).saturating_add(start);
        // It may have begun, whatever its worker has said of it.
        let head = worker.head().map(|head| head.task.id);
        let unbegun = worker.take_back(now, taken);
        self.forget_home(now, id, lost.map(|safe_at| (safe_at, worker.keys())));
        for sent in unbegun {
            self.sent.remove(sent.task.id);
            self.queue.account(&sent.task, (Some(sent.task.id) == head).then_some(cost));
            self.requeue(now, sent);
        }
        self.workers.hosts_mut().worker_ended(worker.host);
        self.mourn(now, &worker, end);
        self.vacancies += u64::from(worker.leaves_a_vacancy());
        for sent in worker.pipeline {
            self.sent.remove(sent.task.id);
            self.queue.account(&sent.task, Some(std::mem::take(&mut cost)));
            self.end_sent(now, sent, lost);
        }
        self.advance(now);
    }

    /// The time that [`Self::next_timeout`] named has come.
    pub(crate) fn timeout(&mut self, now: Time) {
        self.expire(now);
        self.release_due(now); // a suspect may need who has been idle for too long
        for id in self.workers.due(now) {
            self.worker_timeout(now, id);
        }
        self.dismiss_idle(now);
        if self.reminder.is_some_and(|at| at <= now) {
            self.reminder = None;
            self.actions.push_back(Action::Remind);
        }
        if self.shutdown_limit.is_some_and(|limit| limit <= now) {
            self.shutdown_limit = None;
            self.cut_short(now);
        }
        self.advance(now);
    }

    // ----- outputs -----

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        #[cfg(test)]
        (self.polled += u64::from(action.is_some()));
        if action.is_none() && self.actions.capacity() > FEW_ACTIONS {
            self.actions.shrink_to(FEW_ACTIONS); // all that waited may have ended at once
        }
        action
    }

    /// When [`Self::timeout`] must be called, if nothing else happens before.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let mut next = self.workers.next_timeout().unwrap_or(Time::MAX);
        let mut consider = |at: Option<Time>| {
            if let Some(at) = at {
                next = next.min(at);
            }
        };
        consider(self.queue.next_due());
        consider(self.deadlines.first().map(|(at, _)| *at));
        consider(self.idle_until());
        consider(self.help_at());
        consider(self.shutdown_limit);
        consider(self.reminder);
        consider(self.lost_homes.first().map(|(at, _)| *at));
        self.start_times().into_iter().for_each(consider);
        (next < Time::MAX).then_some(next)
    }

    // ----- policy -----

    fn accept(&mut self, task: &Task) {
        self.counts.submitted += 1;
        let deadlines = task.deadlines().into_iter().flatten();
        self.deadlines.extend(deadlines.map(|deadline| (deadline, task.id)));
    }

    fn worker_ids(&self, which: impl Fn(&Worker) -> bool) -> Vec<WorkerId> {
        self.workers.iter().filter(|(_, worker)| which(worker)).map(|(id, _)| id).collect()
    }

    /// Brings everything forward that the last event made possible.
    fn advance(&mut self, now: Time) {
        self.dispatch(now);
        self.finish_shutdown(now);
    }

    /// The one way to change a worker.
    fn update<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> Option<R> {
        let outgoing = self.workers.tenures().outgoing();
        let result = self.workers.update(id, &self.config, self.surplus, change)?;
        self.updated(id, outgoing);
        Some(result)
    }

    /// What follows on each change. It stands apart, so that the compiler has it only once.
    fn updated(&mut self, id: WorkerId, outgoing: usize) {
        self.queue.call(id);
        #[cfg(test)]
        self.note_change(id);
        if self.workers.tenures().outgoing() < outgoing
            && let Some(host) = self.host_of(id)
            && self.succeed(host)
        {
            self.update(id, Worker::give_place);
        }
    }

    fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let outgoing = self.workers.tenures().outgoing();
        let mut worker = self.workers.remove(id)?;
        // Nobody answers for it any more.
        self.unanswered -= usize::from(worker.recall == Recall::Asked && !worker.is_late());
        if self.workers.tenures().outgoing() < outgoing && self.succeed(worker.host) {
            worker.give_place();
        }
        Some(worker)
    }

    /// A worker is gone. If it was lost, tasks of these keys may run on until that time, and others
    /// of the same keys wait for that.
    fn forget_home(&mut self, now: Time, id: WorkerId, lost: Option<(Time, Vec<Key>)>) {
        match lost.filter(|(safe_at, keys)| *safe_at > now && !keys.is_empty()) {
            Some((safe_at, keys)) => {
                self.queue.forget(id, &keys);
                self.lost_homes.insert((safe_at, id));
            }
            None => self.queue.forget(id, &[]),
        }
    }

    /// Lets go what had to wait until now.
    fn release_due(&mut self, now: Time) {
        while let Some(&(at, id)) = self.lost_homes.first()
            && at <= now
        {
            self.lost_homes.pop_first();
            self.queue.forget(id, &[]);
        }
        self.queue.release_due(now);
    }

    /// Whether all that is kept to save a search is what the search would give.
    #[cfg(test)]
    fn counts_true(&self) -> bool {
        let is_called = |(id, worker): (WorkerId, &Worker)| {
            let calls = worker.standing.load.is_some() && self.queue.awaits(id);
            !calls || self.queue.is_caller(id)
        };
        let in_hands = |(id, worker): (WorkerId, &Worker)| {
            worker.pipeline.iter().all(|sent| self.sent.get(sent.task.id) == Some(&id))
        };
        let lengths = self.workers.iter().map(|(_, worker)| worker.pipeline.len());
        self.workers.is_true(&self.config, self.surplus)
            && self.workers.iter().all(in_hands)
            && self.sent.len() == lengths.sum::<usize>()
            && self.queue.is_true()
            && self.workers.iter().all(is_called)
    }
}
