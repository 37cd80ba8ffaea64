//! Which task goes to which worker, and when a worker is started.

use super::worker::{Recall, Sent, Stage, Worker};
use super::{Action, Failure, Phase, Scheduler, Time};
use crate::id::{TaskId, WorkerId};

impl Scheduler {
    /// Hands out what waits: first to idle workers, then to new ones, and what is left is sent
    /// ahead to busy ones that are quick.
    pub(super) fn dispatch(&mut self, now: Time) {
        self.queue.release_due(now);
        self.expire(now);
        self.review_surplus();
        if self.unanswered > 0 {
            return;
        }
        self.hand_out(now, 0);
        self.start_workers(now);
        self.hand_out(now, usize::MAX);
        self.rebalance(now);
    }

    /// Sends tasks to workers with room that have at most `load`, the least loaded one first.
    fn hand_out(&mut self, now: Time, load: usize) {
        for id in self.queue.awaited() {
            let has_room = |worker: &Worker| worker.listed.is_some_and(|listed| listed <= load);
            while self.queue.awaits(id)
                && self.workers.get(&id).is_some_and(has_room)
                && self.send_first(now, id)
            {}
        }
        while let Some(id) = self.next_open(load)
            && self.send_first(now, id)
        {}
    }

    /// The least loaded worker with room that has at most `load`; for a new key, of several idle ones
    /// that with the fewest keys.
    fn next_open(&self, load: usize) -> Option<WorkerId> {
        let &(least, first) = self.open.first().filter(|(least, _)| *least <= load)?;
        if least > 0 || !self.queue.settles() {
            return Some(first);
        }
        let idle = self.open.iter().take_while(|(load, _)| *load == 0);
        idle.map(|(_, id)| *id).min_by_key(|id| self.queue.keys_of(*id))
    }

    /// Sends a worker with room the first of the tasks that it may take; false if none waits.
    fn send_first(&mut self, now: Time, id: WorkerId) -> bool {
        let Some(task) = self.queue.pop_for(id) else { return false };
        let action = Action::Send { worker: id, task: task.id, attempt: task.attempt };
        self.actions.push_back(action);
        let load = self.update(id, |worker| {
            worker.pipeline.push_back(Sent { task, sentence: None });
            worker.pipeline.len()
        });
        if load == Some(1) {
            self.begin_head(now, id);
        }
        true
    }

    pub(super) fn start_workers(&mut self, now: Time) {
        while self.wants_worker() && self.restarts.may_start(now) {
            let id = WorkerId(self.next_worker);
            self.next_worker += 1;
            self.counts.worker_starts += 1;
            if self.vacancies > 0 {
                self.vacancies -= 1;
                self.counts.worker_restarts += 1;
            }
            let deadline = now.saturating_add(self.config.start_timeout);
            self.workers.insert(id, Worker::starting(deadline));
            self.actions.push_back(Action::Start(id));
        }
    }

    /// Whether a further worker would have something to do and may exist.
    pub(super) fn wants_worker(&self) -> bool {
        if !matches!(self.phase, Phase::Open | Phase::Draining { .. }) {
            return false;
        }
        if self.workers.len() >= self.config.max_workers {
            return false;
        }
        let is_starting = |worker: &&Worker| matches!(worker.stage, Stage::Starting { .. });
        let wanted = self.queue.wanted().max(usize::from(self.warm_up));
        let too_few = self.phase == Phase::Open && self.serving() < self.least_workers();
        too_few || self.workers.values().filter(is_starting).count() < wanted
    }

    /// Whether as many workers are up as are wanted without a task, or one at least.
    pub(super) fn is_warm(&self) -> bool {
        let up = |worker: &&Worker| worker.is_ready() && worker.serves();
        self.workers.values().filter(up).count() >= self.least_workers().max(1)
    }

    pub(super) fn tell_if_warm(&mut self) {
        if self.is_warm() {
            self.warm_up = false;
            self.actions.push_back(Action::Warm);
        }
    }

    /// An idle worker with nothing left in the queue gets what was sent ahead to a busy one, or a part of
    /// what that one runs.
    fn rebalance(&mut self, now: Time) {
        if !self.has_idle() {
            return;
        }
        let helpable = |worker: &Worker| {
            let divides = worker.divides_at().is_some_and(|at| at <= now);
            divides || (worker.can_recall() && worker.movable() > 0)
        };
        let candidates = self.workers.iter().filter(|(_, worker)| helpable(worker));
        if let Some((&id, _)) = candidates.max_by_key(|(_, worker)| worker.movable()) {
            self.recall(id);
        }
    }

    fn has_idle(&self) -> bool {
        self.open.first().is_some_and(|(load, _)| *load == 0)
    }

    /// When a busy worker is next to be helped by an idle one.
    pub(super) fn help_at(&self) -> Option<Time> {
        let helped = || self.workers.values().filter_map(Worker::divides_at).min();
        self.has_idle().then(helped).flatten()
    }

    pub(super) fn recall(&mut self, id: WorkerId) {
        let all = self.update(id, |worker| {
            worker.recall = Recall::Asked;
            worker.gives_all_back()
        });
        if let Some(all) = all {
            self.unanswered += 1;
            self.actions.push_back(Action::Recall { worker: id, all });
        }
    }

    /// The front task of a pipeline, if there is one, counts as running from now on.
    pub(super) fn begin_head(&mut self, now: Time, id: WorkerId) {
        let head = self.update(id, |worker| worker.begin_head(now));
        self.actions.extend(head.flatten().map(Action::Begin));
    }

    /// Takes the front task out; the next one becomes the running one.
    pub(super) fn drop_head(&mut self, now: Time, id: WorkerId) {
        self.update(id, Worker::drop_head);
        self.release_keys(id);
        self.begin_head(now, id);
        self.execute_sentence(now, id);
        self.end_if_spent(id);
        self.leave_if_due(now, id);
    }

    /// Takes a cancelled task out of the pipeline it was sent to.
    pub(super) fn cancel_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        let sent = self.workers.get(&id).and_then(|worker| worker.pipeline.get(position));
        if let Some(task) = sent.map(|sent| sent.task.clone()) {
            self.fail(&task, Failure::Cancelled);
        }
        if position == 0 {
            self.drop_head(now, id);
        } else {
            self.update(id, |worker| worker.remove(position));
            self.release_keys(id);
        }
    }

    pub(super) fn find_sent(&self, task: TaskId) -> Option<(WorkerId, usize)> {
        self.workers.iter().find_map(|(id, worker)| {
            let position = worker.pipeline.iter().position(|sent| sent.task.id == task)?;
            Some((*id, position))
        })
    }
}
