//! What workers, or those who look after their claims, answer to actions.

use super::Scheduler;
use super::action::{Failure, Time};
use super::task::Task;
use super::worker::{Recall, Sentence, Worker};
use crate::base::WorkerId;

impl Scheduler {
    /// Answers [`Action::Recall`]: the last `taken` tasks in the worker's hands will not begin.
    pub(crate) fn recalled(&mut self, now: Time, id: WorkerId, taken: usize) {
        let (is_late, had_tasks) = match self.workers.get(id) {
            Some(worker) if worker.recall != Recall::Asked => return, // a host can say anything
            Some(worker) => (worker.is_late(), worker.head().is_some()),
            None => return, // it has ended before the answer came
        };
        self.unanswered -= usize::from(!is_late);
        let tasks = self.update(id, |worker| worker.recalled(now, taken));
        self.release_keys(id);
        for sent in tasks.into_iter().flatten() {
            self.sent.remove(sent.task.id);
            self.queue.account(&sent.task, None);
            self.requeue(now, sent);
        }
        self.execute_sentence(now, id);
        if is_late && had_tasks {
            // In the meantime it may have been told to end, or found to have to leave.
            self.end_if_spent(id);
            self.recall_front(id);
        }
        self.leave_if_due(now, id);
        self.advance(now);
    }

    /// Asks a worker also for the front task, if that has come to be wanted since it was asked for
    /// the others.
    fn recall_front(&mut self, id: WorkerId) {
        let wants_front = |worker: &Worker| {
            let is_kept = worker.head().is_some() && !worker.recalled_all;
            is_kept && worker.is_ready() && worker.gives_all_back()
        };
        if self.workers.get(id).is_some_and(wants_front) {
            self.recall(id);
        }
    }

    /// A part of a running task will not begin with it, and has become a task of its own.
    pub(crate) fn divided(&mut self, now: Time, id: WorkerId, part: Task) {
        self.accept(&part);
        self.update(id, |worker| worker.front.divided(now));
        let sentence = self.workers.get(id).and_then(Worker::head).and_then(|head| head.sentence);
        if sentence == Some(Sentence::Abort) {
            self.fail(&part, Failure::Cancelled);
        } else {
            self.put_back(part);
        }
    }

    /// Answers [`Action::Look`]: whether the front task of a worker has begun.
    pub(crate) fn looked(&mut self, now: Time, id: WorkerId, has_begun: bool) {
        self.conclude(now, id, has_begun);
        self.advance(now);
    }
}
