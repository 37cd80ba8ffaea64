//! What users do.

use std::time::Duration;

use super::super::model::Place;
use super::super::world::Claim;
use super::Play;
use crate::base::TaskId;
use crate::scheduler::view::Recallable;
use crate::scheduler::{Force, Task, Wishes};
use crate::testing::{Check, Operation, ensure};

impl Play {
    pub(super) fn submit(&mut self, wishes: Wishes, parts: usize) -> Check {
        let deadline = wishes.deadline.map(|limit| self.now + limit);
        let begin = wishes.begin.map(|(_, limit)| (self.now + limit, limit));
        let task = Task::with(self.world.new_task(parts), Wishes { deadline, begin, ..wishes });
        self.model.submit(&task);
        self.scheduler.submit(self.now, task);
        self.settle()
    }

    pub(super) fn cancel(&mut self, n: usize, tell: bool) -> Check {
        let Some(task) = self.model.choose(n) else {
            return Ok(());
        };
        if self.world.is_cancelled(task) || !self.can_cancel(task) {
            return Ok(());
        }
        self.world.cancel(task);
        self.untold.push(task);
        if tell { self.tell(task) } else { Ok(()) }
    }

    /// Whether its user can take the task back before it begins.
    fn can_cancel(&self, task: TaskId) -> bool {
        match self.model.task(task).map(|task| task.place) {
            Some(Place::Sent(worker)) => {
                let desk = self.model.desk(worker);
                desk.is_some_and(|desk| desk.recallable == Recallable::AtOnce)
                    && self.world.claim(task) != Some(Claim::Begun)
            }
            Some(Place::Undecided) => false,
            _ => true,
        }
    }

    pub(super) fn tell_all(&mut self) -> Check {
        for task in self.untold.clone() {
            self.tell(task)?;
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, task: TaskId) -> Check {
        self.untold.retain(|id| *id != task);
        self.model.task_mut(task).cancelled = true;
        self.scheduler.cancel(self.now, task);
        self.settle()?;
        let resolved = self.model.task(task).map(|task| task.place) == Some(Place::Resolved);
        ensure!(resolved, "{task} was cancelled for nothing");
        Ok(())
    }

    pub(super) fn abort(&mut self, n: usize) -> Check {
        let Some(task) = self.model.choose(n) else {
            return Ok(());
        };
        self.model.abort(task);
        self.scheduler.abort(self.now, task);
        self.settle()?;
        let place = self.model.task(task).map(|task| task.place);
        let heard = matches!(place, Some(Place::Resolved | Place::Sent(_) | Place::Undecided));
        ensure!(heard, "{task} was aborted for nothing");
        Ok(())
    }

    /// A user says whether a task is to be begun again.
    pub(super) fn decide(&mut self, n: usize, wants_retry: bool) -> Check {
        let Some(task) = self.model.choose_undecided(n) else {
            return Ok(());
        };
        self.model.decided(task, wants_retry);
        self.scheduler.decided(self.now, task, wants_retry);
        self.settle()?;
        ensure!(!self.model.undecided.contains_key(&task), "{task} was decided for nothing");
        Ok(())
    }

    pub(super) fn operate(&mut self, operation: Operation) -> Check {
        match operation {
            Operation::WarmUp => self.warm_up(),
            Operation::Resize { max_workers } => self.resize(max_workers),
            Operation::Recycle { limit } => self.recycle(limit),
            Operation::ShutDown { cancel, limit } => self.shut_down(cancel, limit),
            Operation::EndWorkers(force) => self.end_workers(force),
            Operation::Break => self.break_pool(),
        }
    }

    fn warm_up(&mut self) -> Check {
        let is_open = !self.model.shut_down && !self.model.broken;
        self.model.wants_warmth |= is_open && !self.model.is_warm();
        self.scheduler.warm_up(self.now);
        self.settle()
    }

    fn resize(&mut self, max_workers: usize) -> Check {
        self.model.config.follows_hosts = false;
        self.model.config.max_workers = max_workers;
        self.model.was_resized = true;
        self.scheduler.resize(self.now, max_workers);
        self.settle()
    }

    fn recycle(&mut self, limit: Option<Duration>) -> Check {
        self.model.recycle(self.now, limit);
        self.scheduler.recycle(self.now, limit);
        self.settle()
    }

    fn end_workers(&mut self, force: Force) -> Check {
        self.model.shut_down(self.now, true, None);
        self.model.limit = None;
        self.model.forced = true;
        self.model.cut_short();
        self.scheduler.end_workers(self.now, force);
        self.settle()
    }

    fn break_pool(&mut self) -> Check {
        self.model.must_break |= !self.model.closed;
        self.model.shut_down(self.now, false, None);
        self.model.limit = None;
        self.scheduler.break_pool(self.now);
        self.settle()
    }

    pub(super) fn shut_down(&mut self, cancel: bool, limit: Option<Duration>) -> Check {
        self.model.shut_down(self.now, cancel, limit);
        self.scheduler.shut_down(self.now, cancel, limit);
        self.settle()
    }
}
