//! What the pool's state must be, told from the actions alone.

mod desk;
mod hosts;
mod places;
mod retries;
mod shares;
mod starts;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(super) use self::desk::{Desk, Stage};
use self::hosts::HostModel;
pub(super) use self::hosts::Presence;
use self::retries::Undecided;
use self::shares::Shares;
use super::world::index;
use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::ending::{MOMENT, STANDSTILL};
use crate::scheduler::front::{LOOK_AGAIN, STUCK};
use crate::scheduler::tempo::Tempo;
use crate::scheduler::view::Recallable;
use crate::scheduler::{Action, Config, Counts, Failure, Prospect, Task, Tenure, Time, Wishes};

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Submitted too late.
    Refused,
    Queued,
    /// A retry that waits for its time.
    Delayed(Time),
    Sent(WorkerId),
    /// Its attempt is over, and perhaps there is another one.
    Undecided,
    Resolved,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: TaskId,
    pub(super) wishes: Wishes,
    pub(super) place: Place,
    /// Since when it counts as running.
    pub(super) since: Option<Time>,
    /// Since when the part that runs does, if that is known.
    part_since: Option<Time>,
    /// Its user said so, and the scheduler has heard of it.
    pub(super) cancelled: bool,
    pub(super) aborted: bool,
    pub(super) timed_out: bool,
    pub(super) expired: bool,
    /// A shutdown's limit passed while a worker had it.
    pub(super) cut_short: bool,
    /// The limit of its worker's replacement passed while that had it.
    pub(super) replaced: bool,
    /// The last attempt that has begun in truth.
    pub(super) begun: u32,
    /// On a host that was lost it may run on until then.
    pub(super) runs_until: Time,
}

impl Entry {
    pub(super) fn is_sentenced(&self) -> bool {
        self.aborted || self.timed_out || self.expired || self.cut_short || self.replaced
    }

    /// It waits beside an idle worker, if that is the last one.
    pub(super) fn is_suspect(&self) -> bool {
        self.wishes.suspect && self.wishes.key.is_none()
    }

    /// It should have begun by now, and was not to be ended.
    pub(super) fn is_late(&self, now: Time) -> bool {
        let ends = self.aborted || self.timed_out || self.expired;
        !ends && self.wishes.begin.is_some_and(|(at, _)| at <= now)
    }

    /// It waits, as far as the scheduler knows.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.place, Place::Queued | Place::Sent(_)) && self.since.is_none()
    }

    pub(super) fn is_ready(&self, now: Time) -> bool {
        match self.place {
            Place::Queued => true,
            Place::Delayed(due) => due <= now,
            _ => false,
        }
    }

    pub(super) fn timeout_at(&self) -> Option<Time> {
        let at = self.part_since?.saturating_add(self.wishes.timeout?);
        (!self.is_sentenced()).then_some(at)
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) tasks: Vec<Entry>,
    desks: Vec<Desk>,
    /// How quick tasks were. The scheduler trusts them less, as it also sees which ones take long.
    tempo: Tempo,
    /// Indices of the workers that are not gone.
    live: Vec<usize>,
    /// Where the tasks of each key go.
    homes: BTreeMap<u64, WorkerId>,
    pub(super) refused: bool,
    pub(super) shut_down: bool,
    pub(super) cancels: bool,
    pub(super) limit: Option<Time>,
    pub(super) cut_short: bool,
    /// All workers are ended, whatever they do.
    pub(super) forced: bool,
    pub(super) broken: bool,
    /// So there may be more workers than may be.
    pub(super) was_resized: bool,
    /// Something happened that the pool cannot survive.
    pub(super) must_break: bool,
    pub(super) closed: bool,
    pub(super) wants_warmth: bool,
    hosts: Vec<HostModel>,
    shares: Shares,
    pub(super) counts: Counts,
    pub(super) undecided: BTreeMap<TaskId, Undecided>,
    /// Workers that were wanted, have ended, and were not replaced.
    vacancies: u64,
}

impl Model {
    pub(super) fn new(config: Config) -> Self {
        Self {
            hosts: config.hosts.iter().copied().map(HostModel::new).collect(),
            tempo: Tempo::new(config.brief_row),
            config,
            tasks: Vec::new(),
            desks: Vec::new(),
            live: Vec::new(),
            refused: false,
            shut_down: false,
            cancels: false,
            limit: None,
            cut_short: false,
            forced: false,
            homes: BTreeMap::new(),
            broken: false,
            was_resized: false,
            must_break: false,
            closed: false,
            wants_warmth: false,
            shares: Shares::default(),
            counts: Counts::default(),
            undecided: BTreeMap::new(),
            vacancies: 0,
        }
    }

    // ----- what is where -----

    pub(super) fn task(&self, id: TaskId) -> Option<&Entry> {
        self.tasks.get(index(id.0))
    }

    pub(super) fn task_mut(&mut self, id: TaskId) -> &mut Entry {
        &mut self.tasks[index(id.0)]
    }

    pub(super) fn desk(&self, id: WorkerId) -> Option<&Desk> {
        self.desks.get(index(id.0))
    }

    pub(super) fn desk_mut(&mut self, id: WorkerId) -> &mut Desk {
        &mut self.desks[index(id.0)]
    }

    pub(super) fn is_gone(&self, id: WorkerId) -> bool {
        self.desk(id).is_none_or(|desk| desk.stage == Stage::Gone)
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Desk> {
        self.live.iter().map(|n| &self.desks[*n])
    }

    pub(super) fn next_worker(&self) -> WorkerId {
        WorkerId(self.desks.len() as u64 + 1)
    }

    pub(super) fn ready_tasks(&self, now: Time) -> impl Iterator<Item = &Entry> {
        self.tasks.iter().filter(move |task| task.is_ready(now))
    }

    /// The tasks that a worker may take now.
    pub(super) fn ready_for(&self, worker: WorkerId, now: Time) -> impl Iterator<Item = &Entry> {
        let fits = move |home: Option<WorkerId>| home.is_none_or(|home| home == worker);
        self.ready_tasks(now).filter(move |task| fits(self.home(task)))
    }

    /// The worker that a task has to wait for.
    pub(super) fn home(&self, task: &Entry) -> Option<WorkerId> {
        let home = *self.homes.get(&task.wishes.key?)?;
        let desk = self.desk(home)?;
        let serves = desk.stage == Stage::Ready && desk.serves();
        let has_one = || desk.pipeline.iter().any(|id| self.key(*id) == task.wishes.key);
        let is_lost = || task.wishes.key.is_some_and(|key| desk.kept_keys.contains(&key));
        (serves || (desk.stage != Stage::Gone && has_one()) || is_lost()).then_some(home)
    }

    /// A task of the same key that another worker has.
    pub(super) fn rival(&self, worker: WorkerId, task: &Entry) -> Option<TaskId> {
        let others = self.live().filter(|desk| desk.id != worker);
        let mut sent = others.flat_map(|desk| desk.pipeline.iter().copied());
        sent.find(|id| task.wishes.key.is_some() && self.key(*id) == task.wishes.key)
    }

    pub(super) fn key(&self, id: TaskId) -> Option<u64> {
        self.tasks[index(id.0)].wishes.key
    }

    /// Whether idle workers may be spared what waits: as many as there are CPUs run brief tasks,
    /// and have more.
    pub(super) fn spares_idle_ones(&self) -> bool {
        let is_brisk = |desk: &&Desk| desk.stage == Stage::Ready && desk.pipeline.len() > 1;
        self.tempo.is_brief() && self.live().filter(is_brisk).count() >= self.config.cpus
    }

    pub(super) fn serving(&self) -> usize {
        self.live().filter(|desk| desk.serves()).count()
    }

    pub(super) fn least_workers(&self) -> usize {
        let limits = self.config.hosts.iter().map(|host| host.workers);
        let capacity = limits.map(|limit| limit.unwrap_or(100)).sum();
        self.config.min_workers.min(self.config.max_workers).min(capacity)
    }

    /// When a worker that has nothing to do may go.
    pub(super) fn idle_until(&self, desk: &Desk) -> Option<Time> {
        let stays = desk.serves() && desk.tenure != Tenure::Due;
        let idle = desk.stage == Stage::Ready && stays && desk.pipeline.is_empty();
        let are_waited_for = |task: &Entry| task.place == Place::Queued && task.is_suspect();
        let spare = self.serving() > self.least_workers() && !self.tasks.iter().any(are_waited_for);
        (idle && spare).then_some(desk.idle_since + self.config.idle_timeout?)
    }

    /// Whether workers are left that are to be replaced.
    pub(super) fn is_replacing(&self) -> bool {
        self.live().any(|desk| desk.recycled)
    }

    pub(super) fn has_unresolved(&self) -> bool {
        let unresolved = |task: &Entry| task.place != Place::Resolved;
        self.tasks.iter().any(unresolved)
    }

    /// An unresolved task, the `n`-th or one after it.
    pub(super) fn choose(&self, n: usize) -> Option<TaskId> {
        let count = self.tasks.len();
        let around = (0..count).map(|step| &self.tasks[(n + step) % count]);
        let mut unresolved = around.filter(|task| task.place != Place::Resolved);
        unresolved.next().map(|task| task.id)
    }

    // ----- commands and events -----

    pub(super) fn submit(&mut self, task: &Task) {
        let is_open = !self.shut_down && !self.broken;
        self.enter(task, if is_open { Place::Queued } else { Place::Refused });
        if is_open {
            self.wait(task.id);
        }
    }

    fn enter(&mut self, task: &Task, place: Place) {
        self.counts.submitted += 1;
        self.tasks.push(Entry {
            id: task.id,
            wishes: Wishes {
                suspect: task.wishes().suspect && self.config.max_workers > 1,
                ..*task.wishes()
            },
            place,
            since: None,
            part_since: None,
            cancelled: false,
            aborted: false,
            timed_out: false,
            expired: false,
            cut_short: false,
            replaced: false,
            begun: 0,
            runs_until: Time::ZERO,
        });
    }

    /// A part of a running task was taken back.
    pub(super) fn submit_part(&mut self, part: &Task, aborted: bool) {
        self.enter(part, Place::Queued);
        self.task_mut(part.id).aborted = aborted;
        if !aborted && !self.broken && !self.cancels {
            self.wait(part.id);
        }
    }

    /// A part of a running task was taken back, so another one runs than was thought.
    pub(super) fn divided(&mut self, now: Time, whole: TaskId) {
        self.task_mut(whole).part_since = Some(now);
    }

    pub(super) fn abort(&mut self, id: TaskId) {
        self.task_mut(id).aborted = true;
    }

    pub(super) fn shut_down(&mut self, now: Time, cancel: bool, limit: Option<Time>) {
        self.shut_down = true;
        self.cancels |= cancel;
        self.wants_warmth = false;
        let limit = limit.map(|limit| now + limit);
        self.limit = self.limit.into_iter().chain(limit).min();
    }

    pub(super) fn worker_ready(&mut self, now: Time, id: WorkerId, recallable: Recallable) {
        let desk = self.desk_mut(id);
        if matches!(desk.stage, Stage::Starting { .. }) {
            desk.stage = Stage::Ready;
            desk.recallable = recallable;
            desk.idle_since = now;
            let (host, started) = (desk.host, desk.started);
            self.shares.start_took = now.saturating_sub(started);
            self.hosts[host.position()].worker_ready();
        }
    }

    pub(super) fn recycle(&mut self, now: Time, limit: Option<Duration>) {
        for n in self.live.clone() {
            let desk = &mut self.desks[n];
            desk.recycled |= desk.serves() || desk.is_successor();
            if desk.stage == Stage::Ready && !desk.is_successor() {
                let limit = limit.map(|limit| now + limit);
                desk.leave_by = desk.leave_by.into_iter().chain(limit).min();
            }
        }
    }

    /// Everything that workers have in their hands is to be ended.
    pub(super) fn cut_short(&mut self) {
        let sent = |task: &&mut Entry| matches!(task.place, Place::Sent(_));
        self.tasks.iter_mut().filter(sent).for_each(|task| task.cut_short = true);
    }

    /// What is garbled after SIGKILL says nothing about what came before.
    pub(super) fn misbehaved(&mut self, id: WorkerId) {
        let desk = self.desk_mut(id);
        desk.misbehaved |= !matches!(desk.stage, Stage::Killed { .. });
    }

    pub(super) fn finished(
        &mut self,
        now: Time,
        worker: WorkerId,
        task: TaskId,
        run_time: Duration,
    ) {
        if !self.task_mut(task).wishes.divisible {
            self.tempo.record(run_time);
        }
        self.settle(task, self.running_time(now, task));
        self.take_out(now, worker, task);
        self.desk_mut(worker).completed += 1;
        self.desk_mut(worker).batch = self.tempo.batch();
        let host = self.desk_mut(worker).host;
        self.hosts[host.position()].starts.task_finished();
    }

    /// The scheduler hears the time.
    pub(super) fn timeout(&mut self, now: Time, has_begun: impl Fn(TaskId) -> bool) {
        self.expire(now);
        for n in self.live.clone() {
            let desk = &mut self.desks[n];
            if let Stage::Starting { deadline } = &mut desk.stage
                && *deadline + STANDSTILL <= now
            {
                *deadline = now + self.config.start_timeout;
            }
            if desk.stage == Stage::Ready && desk.leave_by.is_some_and(|at| at <= now) {
                desk.leave_by = None;
                for id in &desk.pipeline {
                    self.tasks[index(id.0)].replaced = true;
                }
            }
            let desk = &self.desks[n];
            if desk.stage == Stage::Ready
                && let Some(&head) = desk.pipeline.front()
            {
                self.look_at_head(now, n, head, has_begun(head));
            }
        }
        if self.limit.is_some_and(|limit| limit <= now) {
            self.limit = None;
            self.cancels = true;
            self.cut_short = true;
            self.cut_short();
        }
    }

    /// The time of the front task may be up, if it has begun.
    fn look_at_head(&mut self, now: Time, n: usize, head: TaskId, has_begun: bool) {
        let (desk, head) = (&mut self.desks[n], &mut self.tasks[index(head.0)]);
        let timed_out = desk.timeout_at(head).is_some_and(|at| at <= now);
        let must_begin = desk.must_begin_at(head).filter(|at| *at <= now);
        if desk.is_sure() {
            head.timed_out |= timed_out;
        } else if desk.is_late() {
            // It is asked first.
        } else if timed_out || must_begin.is_some() {
            desk.has_begun = has_begun;
            if !has_begun {
                head.part_since = Some(now);
                desk.look_at = now + LOOK_AGAIN;
            }
            if must_begin.is_some_and(|at| !has_begun && at + STANDSTILL <= now) {
                desk.must_begin = now + STUCK;
            }
        }
    }

    /// A worker that answers later says whether the front task had begun.
    pub(super) fn looked(&mut self, now: Time, worker: WorkerId, head: TaskId, has_begun: bool) {
        let desk = self.desk_mut(worker);
        desk.has_begun = has_begun;
        if !has_begun {
            desk.look_at = now + LOOK_AGAIN;
            self.task_mut(head).part_since = Some(now);
        }
    }

    /// A worker does nothing with what it was sent.
    pub(super) fn given_up(&mut self, worker: WorkerId) {
        self.vacancies += 1;
        self.desk_mut(worker).stuck = true;
    }

    /// The scheduler looks at the clock at every event.
    pub(super) fn expire(&mut self, now: Time) {
        for task in &mut self.tasks {
            task.expired |= task.wishes.deadline.is_some_and(|at| at <= now);
        }
    }

    // ----- actions -----

    pub(super) fn start(&mut self, now: Time, host: HostId) {
        if self.vacancies > 0 {
            self.vacancies -= 1;
            self.counts.worker_restarts += 1;
        }
        self.counts.worker_starts += 1;
        self.live.push(self.desks.len());
        self.desks.push(Desk {
            id: self.next_worker(),
            host,
            lost: None,
            is_lost: false,
            has_vanished: false,
            kept_keys: Vec::new(),
            stage: Stage::Starting { deadline: now + self.config.start_timeout },
            recallable: Recallable::Never,
            questions: VecDeque::new(),
            blocked: false,
            misbehaved: false,
            recycled: false,
            leave_by: None,
            tenure: Tenure::Stays,
            bloated: false,
            asked_to_end: false,
            asked: None,
            mercy: None,
            recalled: None,
            completed: 0,
            idle_since: now,
            started: now,
            has_begun: false,
            must_begin: now,
            look_at: now,
            stuck: false,
            batch: 1,
            pipeline: VecDeque::new(),
        });
    }

    pub(super) fn send(&mut self, worker: WorkerId, task: TaskId) {
        if let Some(key) = self.task_mut(task).wishes.key {
            self.homes.insert(key, worker);
        }
        self.task_mut(task).place = Place::Sent(worker);
        self.charge(task);
        self.desk_mut(worker).pipeline.push_back(task);
        self.desk_mut(worker).batch = self.tempo.batch();
    }

    pub(super) fn begin(&mut self, now: Time, id: TaskId) {
        let Place::Sent(worker) = self.tasks[index(id.0)].place else { return };
        let desk = self.desk_mut(worker);
        let divides = desk.is_recallable();
        desk.questions.retain(|question| !matches!(question, Action::Look(_) | Action::Ask(_)));
        (desk.has_begun, desk.must_begin, desk.look_at) = (false, now + STUCK, Time::ZERO);
        let entry = self.task_mut(id);
        entry.since = Some(now);
        entry.part_since = (!divides || !entry.wishes.divisible).then_some(now);
    }

    /// What has not begun was taken back from a worker, so it is known what runs.
    pub(super) fn recalled(&mut self, now: Time, worker: WorkerId, first: TaskId) {
        self.desk_mut(worker).recalled = Some(first);
        let entry = self.task_mut(first);
        if entry.wishes.divisible && entry.part_since.is_none() {
            entry.part_since = Some(now);
        }
    }

    pub(super) fn withdraw(&mut self, now: Time, worker: WorkerId, task: TaskId) {
        self.settle(task, self.cost(now, task, true));
        self.take_out(now, worker, task);
        let entry = self.task_mut(task);
        (entry.place, entry.replaced) = (Place::Queued, false);
        self.wait(task);
    }

    pub(super) fn fail(&mut self, now: Time, id: TaskId, failure: Failure, is_unbegun: bool) {
        let entry = self.task_mut(id);
        let other = entry.aborted || entry.timed_out || entry.expired;
        let is_killed = entry.cut_short && !other && !entry.replaced && !is_unbegun;
        self.counts.killed += u64::from(is_killed && failure == Failure::Cancelled);
        if let Place::Sent(worker) = self.task_mut(id).place {
            self.settle(id, self.cost(now, id, is_unbegun));
            self.take_out(now, worker, id);
        }
        self.task_mut(id).place = Place::Resolved;
        self.tidy_shares();
        self.count_failure(failure);
    }

    /// The running task was asked to end, which is worth waiting for so long.
    pub(super) fn asked(&mut self, now: Time, id: WorkerId, prospect: Option<Prospect>) {
        let half = self.config.grace_period / 2;
        let desk = self.desk_mut(id);
        desk.asked = desk.pipeline.front().copied();
        desk.mercy = prospect.map(|prospect| match prospect {
            Prospect::Looks => (now, now + half),
            Prospect::Quick => (now, now + MOMENT.min(half)),
        });
    }

    fn take_out(&mut self, now: Time, worker: WorkerId, task: TaskId) {
        let desk = self.desk_mut(worker);
        if desk.pipeline.front() == Some(&task) {
            desk.mercy = None;
        }
        desk.pipeline.retain(|id| *id != task);
        desk.idle_since = now;
        let entry = self.task_mut(task);
        (entry.since, entry.part_since) = (None, None);
    }
}
