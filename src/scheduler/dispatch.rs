//! Which task goes to which worker, and when a worker is started.

use super::worker::{Recall, Sent, Stage, Worker};
use super::{Action, Phase, Scheduler, Time};
use crate::id::{TaskId, WorkerId};

impl Scheduler {
    /// Hands out what waits: first to idle workers, then to new ones, and what is left is sent
    /// ahead to busy ones that are quick.
    pub(super) fn dispatch(&mut self, now: Time) {
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
    pub(super) fn send_oldest(&mut self, now: Time, id: WorkerId) -> bool {
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

    pub(super) fn start_workers(&mut self, now: Time) {
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
    pub(super) fn wants_worker(&self) -> bool {
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
    pub(super) fn rebalance(&mut self) {
        let idle = self.open.first().is_some_and(|(load, _)| *load == 0);
        if self.ahead == 0 || !idle {
            return;
        }
        let candidates = self.workers.iter().filter(|(_, worker)| worker.can_recall());
        if let Some((&id, _)) = candidates.max_by_key(|(_, worker)| worker.ahead()) {
            self.recall(id);
        }
    }

    pub(super) fn recall(&mut self, id: WorkerId) {
        self.update(id, |worker| worker.recall = Recall::Asked);
        self.actions.push_back(Action::Recall(id));
    }

    /// The front task of a pipeline counts as running from now on.
    pub(super) fn begin_head(&mut self, now: Time, id: WorkerId) {
        let head = self.workers.get(&id).and_then(Worker::head);
        if let Some(head) = head {
            self.actions.push_back(Action::Begin(head.task.id));
            self.update(id, |worker| worker.head_since = now);
        }
    }

    /// Takes the front task out; the next one becomes the running one.
    pub(super) fn drop_head(&mut self, now: Time, id: WorkerId) {
        self.update(id, |worker| worker.pipeline.pop_front());
        self.begin_head(now, id);
        self.execute_sentence(now, id);
        self.end_if_spent(id);
    }

    /// Takes a cancelled task out of the pipeline it was sent to.
    pub(super) fn drop_sent(&mut self, now: Time, id: WorkerId, position: usize) {
        if position == 0 {
            self.drop_head(now, id);
        } else {
            self.update(id, |worker| worker.pipeline.remove(position));
        }
    }

    pub(super) fn find_sent(&self, task: TaskId) -> Option<(WorkerId, usize)> {
        self.workers.iter().find_map(|(id, worker)| {
            let position = worker.pipeline.iter().position(|sent| sent.task.id == task)?;
            Some((*id, position))
        })
    }
}
