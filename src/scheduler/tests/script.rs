//! A pool under a virtual clock, driven line by line.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use self::words::*;
use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::ending::MOMENT;
use crate::scheduler::view::Recallable;
use crate::scheduler::{
    Action, Config, Counts, End, Force, OnWorkerDeath, Prospect, Scheduler, StartFailureKind, Task,
    Time, Verdict,
};

/// What is not over by then is not quick.
pub(super) const QUICK: Duration = MOMENT;
/// No script has more actions between two looks than this.
const ACTIONS: usize = 1_000;
/// Ids from here on belong to the tasks that the setup runs.
const SETUP: u64 = 1_000;

/// A scheduler and the least of a world around it. Unless a script says otherwise the front task
/// of every worker has begun and those behind it have not.
pub(super) struct Pool {
    scheduler: Scheduler,
    now: Time,
    seen: Vec<Action>,
    has_begun: BTreeMap<TaskId, bool>,
    /// How long it is worth waiting for what is asked to end, on these workers.
    prospects: BTreeMap<WorkerId, Prospect>,
    /// What a worker's running task gives up when it is asked back next.
    parts: BTreeMap<WorkerId, Task>,
    /// What workers say how long tasks have run.
    run_time: Duration,
    /// These answer only when they are told to.
    late: BTreeSet<WorkerId>,
}

impl Pool {
    /// A pool that has not started any worker yet.
    pub(super) fn of(max_workers: usize) -> Self {
        Self::with(config(max_workers))
    }

    pub(super) fn that_breaks(max_workers: usize) -> Self {
        Self::with(Config { on_worker_death: OnWorkerDeath::Break, ..config(max_workers) })
    }

    pub(super) fn with(config: Config) -> Self {
        let mut pool = Self {
            scheduler: Scheduler::new(config),
            now: Time::ZERO,
            seen: Vec::new(),
            has_begun: BTreeMap::new(),
            prospects: BTreeMap::new(),
            parts: BTreeMap::new(),
            run_time: Duration::ZERO,
            late: BTreeSet::new(),
        };
        pool.scheduler.open(pool.now);
        pool.drain();
        pool
    }

    /// All workers are up and idle, and their tasks have taken long so far.
    pub(super) fn slow(max_workers: u64) -> Self {
        Self::of(usize::try_from(max_workers).unwrap()).warmed(max_workers, secs(1))
    }

    /// All workers are up and idle, and their tasks have taken no time so far.
    pub(super) fn quick(max_workers: u64) -> Self {
        Self::of(usize::try_from(max_workers).unwrap()).warmed(max_workers, Duration::ZERO)
    }

    /// All workers are up and idle, and each task takes five microseconds: so four are worth a
    /// worker.
    pub(super) fn brief(max_workers: u64) -> Self {
        let most = usize::try_from(max_workers).unwrap();
        let mut pool = Self::with(Config { brief_row: 2, max_pipeline: 8, ..config(most) });
        pool.run_time = micros(5);
        pool.warmed(max_workers, micros(5))
    }

    pub(super) fn warmed(mut self, workers: u64, task_time: Duration) -> Self {
        for n in 1..=workers {
            self.submit(SETUP + n);
        }
        for n in 1..=workers {
            self.ready(n);
        }
        self.after(task_time);
        for n in 1..=workers {
            self.finishes(n, SETUP + n);
        }
        self.skip();
        self
    }

    // ----- what the script compares -----

    /// These were the actions since the last look, in this order.
    #[track_caller]
    pub(super) fn expect<const N: usize>(&mut self, expected: [Action; N]) {
        assert_eq!(std::mem::take(&mut self.seen), expected);
    }

    /// The same where it does not matter who waits for workers.
    #[track_caller]
    pub(super) fn expect_besides_warmth<const N: usize>(&mut self, expected: [Action; N]) {
        self.seen.retain(|action| *action != Action::Warm);
        self.expect(expected);
    }

    /// Nothing happens before that time is over, and then these actions.
    #[track_caller]
    pub(super) fn expect_after<const N: usize>(&mut self, time: Duration, expected: [Action; N]) {
        self.after(time.saturating_sub(Duration::from_nanos(1)));
        self.expect_nothing();
        self.after(time.min(Duration::from_nanos(1)));
        self.expect(expected);
    }

    #[track_caller]
    pub(super) fn expect_nothing(&mut self) {
        self.expect([]);
    }

    /// What has happened so far is not what the script is about.
    pub(super) fn skip(&mut self) {
        self.seen.clear();
    }

    pub(super) fn counts(&self) -> Counts {
        self.scheduler.counts()
    }

    pub(super) fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }

    pub(super) fn running(&self) -> usize {
        self.scheduler.running()
    }

    pub(super) fn hands_of(&self, worker: u64) -> Vec<u64> {
        let tasks = self.scheduler.pipeline(WorkerId(worker));
        tasks.map(TaskId::get).collect()
    }

    /// How long until the clock is next of interest.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let at = self.scheduler.next_timeout()?;
        Some(at.saturating_sub(self.now))
    }

    // ----- the user -----

    pub(super) fn submit(&mut self, id: u64) {
        self.submit_task(task(id));
    }

    pub(super) fn submit_task(&mut self, task: Task) {
        self.scheduler.submit(self.now, task);
        self.drain();
    }

    /// The task must be over after that time.
    pub(super) fn submit_within(&mut self, limit: Duration, mut task: Task) {
        task.wishes.get_or_insert_default().deadline = Some(self.now + limit);
        self.submit_task(task);
    }

    pub(super) fn cancel(&mut self, id: u64) {
        self.scheduler.cancel(self.now, TaskId(id));
        self.drain();
    }

    pub(super) fn abort(&mut self, id: u64) {
        self.scheduler.abort(self.now, TaskId(id));
        self.drain();
    }

    pub(super) fn warm_up(&mut self) {
        self.scheduler.warm_up(self.now);
        self.drain();
    }

    pub(super) fn resize(&mut self, max_workers: usize) {
        self.scheduler.resize(self.now, max_workers);
        self.drain();
    }

    pub(super) fn recycle(&mut self) {
        self.scheduler.recycle(self.now, None);
        self.drain();
    }

    pub(super) fn recycle_within(&mut self, limit: Duration) {
        self.scheduler.recycle(self.now, Some(limit));
        self.drain();
    }

    pub(super) fn terminate_workers(&mut self) {
        self.scheduler.end_workers(self.now, Force::Terminate);
        self.drain();
    }

    pub(super) fn kill_workers(&mut self) {
        self.scheduler.end_workers(self.now, Force::Kill);
        self.drain();
    }

    pub(super) fn break_pool(&mut self) {
        self.scheduler.break_pool(self.now);
        self.drain();
    }

    pub(super) fn shut_down(&mut self) {
        self.shut_down_with(false, None);
    }

    pub(super) fn shut_down_cancelling(&mut self) {
        self.shut_down_with(true, None);
    }

    pub(super) fn shut_down_within(&mut self, limit: Duration) {
        self.shut_down_with(false, Some(limit));
    }

    fn shut_down_with(&mut self, cancel: bool, limit: Option<Duration>) {
        self.scheduler.shut_down(self.now, cancel, limit);
        self.drain();
    }

    // ----- the workers -----

    pub(super) fn ready(&mut self, worker: u64) {
        self.scheduler.worker_ready(self.now, WorkerId(worker), Recallable::AtOnce);
        self.drain();
    }

    pub(super) fn ready_late(&mut self, worker: u64) {
        self.late.insert(WorkerId(worker));
        self.scheduler.worker_ready(self.now, WorkerId(worker), Recallable::Late);
        self.drain();
    }

    /// It says what it has not begun, now that it has been asked.
    pub(super) fn gives_back(&mut self, worker: u64) {
        let taken = self.unbegun(WorkerId(worker));
        self.scheduler.recalled(self.now, WorkerId(worker), taken);
        self.drain();
    }

    /// The same of the last `taken` tasks.
    pub(super) fn gives_back_last(&mut self, worker: u64, taken: usize) {
        self.scheduler.recalled(self.now, WorkerId(worker), taken);
        self.drain();
    }

    /// It says whether its task will end by itself.
    pub(super) fn says_if_it_ends(&mut self, worker: u64) {
        let prospect = self.prospects.get(&WorkerId(worker)).copied();
        self.scheduler.asked(self.now, WorkerId(worker), prospect);
        self.drain();
    }

    /// It says whether its front task has begun.
    pub(super) fn says_if_it_runs(&mut self, worker: u64, has_begun: bool) {
        self.scheduler.looked(self.now, WorkerId(worker), has_begun);
        self.drain();
    }

    pub(super) fn ready_without_claims(&mut self, worker: u64) {
        self.scheduler.worker_ready(self.now, WorkerId(worker), Recallable::Never);
        self.drain();
    }

    #[track_caller]
    pub(super) fn finishes(&mut self, worker: u64, task: u64) {
        assert_eq!(self.result(worker, task), Verdict::Deliver);
    }

    /// Its result may not be the last one.
    #[track_caller]
    pub(super) fn finishes_undecided(&mut self, worker: u64, task: u64) {
        assert_eq!(self.result(worker, task), Verdict::Undecided);
    }

    /// Its user says whether a task is to be begun again.
    pub(super) fn decides(&mut self, task: u64, wants_retry: bool) {
        self.scheduler.decided(self.now, TaskId(task), wants_retry);
        self.drain();
    }

    /// From now on workers say that tasks have run so long.
    pub(super) fn tasks_run_for(&mut self, time: Duration) {
        self.run_time = time;
    }

    /// The worker sends a result that it cannot have.
    #[track_caller]
    pub(super) fn forges(&mut self, worker: u64, task: u64) {
        assert_eq!(self.result(worker, task), Verdict::Discard);
    }

    fn result(&mut self, worker: u64, task: u64) -> Verdict {
        let (worker, task) = (WorkerId(worker), TaskId(task));
        let verdict = self.scheduler.task_finished(self.now, worker, task, self.run_time);
        self.drain();
        verdict
    }

    pub(super) fn has_begun(&mut self, task: u64) {
        self.has_begun.insert(TaskId(task), true);
    }

    pub(super) fn has_not_begun(&mut self, task: u64) {
        self.has_begun.insert(TaskId(task), false);
    }

    /// Its running task has looked whether it is asked to end.
    pub(super) fn looks(&mut self, worker: u64) {
        self.prospects.insert(WorkerId(worker), Prospect::Looks);
    }

    /// Its running task may be a quick one.
    pub(super) fn may_be_quick(&mut self, worker: u64) {
        self.prospects.insert(WorkerId(worker), Prospect::Quick);
    }

    /// When it is asked for it next, its running task gives up a part of itself.
    pub(super) fn divides(&mut self, worker: u64, part: Task) {
        self.parts.insert(WorkerId(worker), part);
    }

    pub(super) fn is_over_memory(&mut self, worker: u64) {
        self.scheduler.worker_over_memory(self.now, WorkerId(worker));
        self.drain();
    }

    pub(super) fn is_asked_to_end(&mut self, worker: u64) {
        self.scheduler.worker_asked_to_end(self.now, WorkerId(worker));
        self.drain();
    }

    pub(super) fn blocks(&mut self, worker: u64) {
        self.scheduler.worker_blocked(WorkerId(worker));
        self.drain();
    }

    pub(super) fn unblocks(&mut self, worker: u64) {
        self.scheduler.worker_unblocked(self.now, WorkerId(worker));
        self.drain();
    }

    pub(super) fn misbehaves(&mut self, worker: u64) {
        self.scheduler.misbehaved(self.now, WorkerId(worker));
        self.drain();
    }

    pub(super) fn dies(&mut self, worker: u64) {
        let taken = self.unbegun(WorkerId(worker));
        self.ends(worker, End::Died { taken });
    }

    pub(super) fn leaves(&mut self, worker: u64) {
        self.ends(worker, End::Left);
    }

    pub(super) fn fails_to_start(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Crashed));
    }

    pub(super) fn is_not_initialized(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Initializer));
    }

    pub(super) fn meets_an_accident(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Accident));
    }

    /// It was killed from outside while it started.
    pub(super) fn is_killed_at_start(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Killed));
    }

    pub(super) fn fails_to_start_for_good(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Fatal));
    }

    /// What runs there has ended after so long.
    pub(super) fn loses_host(&mut self, host: u32, safe_in: Duration) {
        self.scheduler.host_lost(self.now, HostId(host), self.now + safe_in);
        self.drain();
    }

    /// It was reached, and so many workers may be there.
    pub(super) fn host_has(&mut self, host: u32, workers: usize) {
        self.scheduler.host_has(self.now, HostId(host), workers);
        self.drain();
    }

    /// A host that was away is there.
    pub(super) fn comes(&mut self, host: u32) {
        self.scheduler.host_came(self.now, HostId(host));
        self.drain();
    }

    pub(super) fn goes(&mut self, host: u32) {
        self.scheduler.host_gone(self.now, HostId(host));
        self.drain();
    }

    pub(super) fn is_refused(&mut self, host: u32) {
        self.scheduler.host_refused(self.now, HostId(host));
        self.drain();
    }

    /// It is told that a worker has gone with its host.
    pub(super) fn vanishes(&mut self, worker: u64) {
        let taken = self.unbegun(WorkerId(worker));
        self.ends(worker, End::HostLost { taken });
    }

    pub(super) fn is_unreachable(&mut self, worker: u64) {
        self.ends(worker, End::StartFailed(StartFailureKind::Unreachable));
    }

    fn ends(&mut self, worker: u64, end: End) {
        self.scheduler.worker_ended(self.now, WorkerId(worker), end);
        self.drain();
    }

    // ----- the clock -----

    /// Time passes, and every timer on the way fires when it is due.
    pub(super) fn after(&mut self, time: Duration) {
        let target = self.now + time;
        while let Some(at) = self.scheduler.next_timeout().filter(|at| *at <= target) {
            assert!(at >= self.now, "a timer is due in the past");
            self.now = at;
            self.scheduler.timeout(self.now);
            self.drain();
        }
        self.now = target;
    }

    /// Time passes, and all timers on the way fire at its end.
    pub(super) fn stands_still(&mut self, time: Duration) {
        self.now += time;
        self.stale_timer();
    }

    /// A timer fires too late, when things may have changed.
    pub(super) fn stale_timer(&mut self) {
        self.scheduler.timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            // Looks change nothing, and are answered here.
            if let Action::Look(worker) = action
                && !self.late.contains(&worker)
            {
                let front = self.scheduler.pipeline(worker).next();
                let known = front.and_then(|task| self.has_begun.get(&task).copied());
                self.scheduler.looked(self.now, worker, known.unwrap_or(true));
                continue;
            }
            self.seen.push(action);
            assert!(self.seen.len() < ACTIONS, "no end of actions");
            match action {
                Action::Recall { worker, .. } | Action::Ask(worker)
                    if self.late.contains(&worker) => {}
                Action::Recall { worker, .. } => {
                    if let Some(part) = self.parts.remove(&worker) {
                        self.scheduler.divided(self.now, worker, part);
                    }
                    let taken = self.unbegun(worker);
                    self.scheduler.recalled(self.now, worker, taken);
                }
                Action::Ask(worker) => {
                    let prospect = self.prospects.get(&worker).copied();
                    self.scheduler.asked(self.now, worker, prospect);
                }
                _ => {}
            }
        }
    }

    fn unbegun(&self, worker: WorkerId) -> usize {
        let front = self.scheduler.pipeline(worker).next();
        let behind = self.scheduler.pipeline(worker).rev();
        let begun = |task: &TaskId| {
            let known = self.has_begun.get(task).copied();
            known.unwrap_or(Some(*task) == front)
        };
        behind.take_while(|task| !begun(task)).count()
    }
}
