//! What workers do.

use std::time::Duration;

use super::super::check;
use super::super::history::Misbehavior;
use super::super::model::{Place, Stage};
use super::super::world::Process;
use super::Play;
use crate::base::{TaskId, WorkerId};
use crate::scheduler::view::Recallable;
use crate::scheduler::{Action, End, StartFailureKind, Verdict};
use crate::testing::{Check, ensure};

impl Play {
    pub(super) fn process(&mut self, worker: WorkerId) -> &mut Process {
        self.world.process(worker).unwrap()
    }

    /// It answers what it was asked first, if that is still the question.
    pub(super) fn reply(&mut self, worker: WorkerId) -> Check {
        let question = self.model.desk_mut(worker).questions.pop_front();
        let Some(question) = question else { return Ok(()) };
        let is_idle = self.scheduler.pipeline(worker).next().is_none();
        if is_idle && !matches!(question, Action::Recall { .. }) {
            return Ok(());
        }
        self.sights.see("an answer that comes later");
        self.carry_out_at_once(question);
        self.settle()
    }

    pub(super) fn ready(&mut self, worker: WorkerId, recallable: Recallable) -> Check {
        let process = self.process(worker);
        process.up = true;
        process.recallable = recallable;
        let stage = self.model.desk(worker).map(|desk| desk.stage);
        self.model.worker_ready(self.now, worker, recallable);
        self.scheduler.worker_ready(self.now, worker, recallable);
        match stage {
            Some(Stage::Starting { .. }) => self.settle(),
            _ => self.settle_quietly(),
        }
    }

    pub(super) fn work(&mut self, worker: WorkerId, steps: usize) -> Check {
        for _ in 0..steps {
            if let Some((task, attempt)) = self.world.step(worker) {
                check::beginning(&self.model, &self.world, task, attempt)?;
                self.model.task_mut(task).begun = attempt;
            }
        }
        Ok(())
    }

    /// It says with its last result that it will begin nothing more. Where tasks cannot be taken
    /// back none has been sent by then.
    pub(super) fn bloat(&mut self, worker: WorkerId) -> Check {
        self.read_all(worker)?;
        let is_kept = self.process(worker).recallable == Recallable::Never;
        let lost = is_kept && self.scheduler.pipeline(worker).count() > 0;
        if lost || self.world.running(worker).is_some() {
            return Ok(());
        }
        if self.model.desk(worker).is_none_or(|desk| desk.completed == 0) {
            return self.bloat_at_once(worker);
        }
        self.process(worker).bloated = true;
        self.model.desk_mut(worker).bloated = true;
        self.scheduler.worker_over_memory(self.now, worker);
        self.settle()
    }

    /// Somebody else asks it to, in the middle of anything.
    pub(super) fn ask_to_end(&mut self, worker: WorkerId) -> Check {
        self.read_all(worker)?;
        self.model.asked_to_end(self.now, worker);
        self.scheduler.worker_asked_to_end(self.now, worker);
        self.settle()
    }

    /// Who has run nothing cannot have taken much, and lies.
    fn bloat_at_once(&mut self, worker: WorkerId) -> Check {
        self.model.misbehaved(worker);
        self.scheduler.worker_over_memory(self.now, worker);
        self.settle()?;
        self.expect_kill(worker)
    }

    pub(super) fn read(&mut self, worker: WorkerId, results: usize) -> Check {
        for _ in 0..results {
            if let Some(task) = self.process(worker).read_result() {
                self.tell_before(worker, Some(task))?;
                self.deliver(worker, task)?;
            }
        }
        Ok(())
    }

    /// Nothing that a worker has written is lost when it ends.
    pub(super) fn read_all(&mut self, worker: WorkerId) -> Check {
        while self.process(worker).has_results() {
            self.read(worker, 1)?;
        }
        self.tell_before(worker, None)
    }

    /// A result tells that the tasks before it will not begin: their users cancelled them.
    fn tell_before(&mut self, worker: WorkerId, result: Option<TaskId>) -> Check {
        while let Some(task) = self.untold_before(worker, result) {
            self.tell(task)?;
        }
        Ok(())
    }

    fn untold_before(&self, worker: WorkerId, result: Option<TaskId>) -> Option<TaskId> {
        let pipeline = self.scheduler.pipeline(worker);
        let mut before = pipeline.take_while(|id| Some(*id) != result);
        before.find(|id| self.untold.contains(id))
    }

    fn deliver(&mut self, worker: WorkerId, task: TaskId) -> Check {
        let is_liar = self.model.desk(worker).is_none_or(|desk| desk.misbehaved);
        let run_time = self.run_time(task);
        let verdict = self.scheduler.task_finished(self.now, worker, task, run_time);
        let verdict = self.overrule(verdict);
        ensure!((verdict == Verdict::Discard) == is_liar, "{task} of {worker}: {verdict:?}");
        if verdict != Verdict::Discard {
            let entry = self.model.task(task).ok_or("an unknown task has a result")?;
            ensure!(entry.place == Place::Sent(worker), "{task} is not there");
            let consults = self.model.consults(self.now, entry);
            ensure!((verdict == Verdict::Undecided) == consults, "{task}: {verdict:?}");
            self.sights.see("a result");
            self.model.finished(self.now, worker, task, run_time);
            if consults {
                self.sights.see("a result that is asked about");
                self.model.ask_about(task, None);
            } else {
                self.model.returned(task);
            }
        }
        self.settle()
    }

    /// What the worker says.
    fn run_time(&self, task: TaskId) -> Duration {
        let is_brief = self.is_brief && !task.0.is_multiple_of(7);
        if is_brief { Duration::from_micros(task.0 % 10) } else { Duration::from_millis(1) }
    }

    /// The worker sends a result that it cannot have.
    fn forge(&mut self, worker: WorkerId, task: TaskId) -> Check {
        self.model.misbehaved(worker);
        let verdict = self.scheduler.task_finished(self.now, worker, task, Duration::ZERO);
        let discarded = self.overrule(verdict) == Verdict::Discard;
        ensure!(discarded, "{task} is forged by {worker}");
        self.settle()?;
        self.expect_kill(worker)
    }

    pub(super) fn misbehave(&mut self, worker: WorkerId, how: Misbehavior) -> Check {
        let forged = match how {
            Misbehavior::Garbage => {
                self.model.misbehaved(worker);
                self.scheduler.misbehaved(self.now, worker);
                self.settle()?;
                return self.expect_kill(worker);
            }
            Misbehavior::UnknownResult => Some(TaskId(99_999)),
            Misbehavior::SecondResult => {
                // If it has the task again nobody can tell.
                let front = self.scheduler.pipeline(worker).next();
                self.process(worker).last_result.filter(|task| Some(*task) != front)
            }
            Misbehavior::ResultOutOfOrder => self.scheduler.pipeline(worker).nth(1),
        };
        forged.map_or(Ok(()), |task| self.forge(worker, task))
    }

    fn expect_kill(&self, worker: WorkerId) -> Check {
        let stage = self.model.desk(worker).map(|desk| desk.stage);
        let killed = matches!(stage, Some(Stage::Killed { .. }));
        ensure!(killed, "{worker} gets away with it");
        Ok(())
    }

    pub(super) fn set_blocked(&mut self, worker: WorkerId, blocked: bool) -> Check {
        self.process(worker).blocked = blocked;
        self.model.desk_mut(worker).blocked = blocked;
        if blocked {
            self.scheduler.worker_blocked(worker);
            return self.settle_quietly();
        }
        self.scheduler.worker_unblocked(self.now, worker);
        self.settle()
    }

    pub(super) fn die(&mut self, worker: WorkerId) -> Check {
        self.read_all(worker)?;
        if !self.process(worker).up {
            return self.end(worker, End::StartFailed(StartFailureKind::Crashed));
        }
        let (_, taken) = self.take_back_all(worker);
        self.end(worker, End::Died { taken })
    }

    /// What a worker had in hands when it ended, and how many of those, the last ones, have not
    /// begun.
    pub(super) fn take_back_all(&mut self, worker: WorkerId) -> (Vec<TaskId>, usize) {
        let pipeline: Vec<TaskId> = self.scheduler.pipeline(worker).collect();
        let taken = self.world.take_back(worker, &pipeline, 0);
        let taken = taken + self.rest_of_first(&pipeline, taken);
        let taken = match &self.saboteur {
            Some(saboteur) => saboteur.miscount_spared(taken),
            None => taken,
        };
        (pipeline, taken)
    }

    /// Of a task of several parts only the one that ran dies with the worker: one more is taken
    /// back.
    fn rest_of_first(&mut self, pipeline: &[TaskId], taken: usize) -> usize {
        let Some(&first) = pipeline.first().filter(|_| taken + 1 == pipeline.len()) else {
            return 0;
        };
        let is_left = self.world.lose_first_part(first);
        if is_left {
            self.sights.see("the rest of a task whose worker died");
            self.model.task_mut(first).begun -= 1;
        }
        usize::from(is_left)
    }

    /// The worker says goodbye, asked or not. With tasks in its hands that is a death.
    pub(super) fn leave(&mut self, worker: WorkerId) -> Check {
        if self.world.running(worker).is_some() {
            return Ok(());
        }
        self.read_all(worker)?;
        if self.scheduler.pipeline(worker).next().is_some() {
            return self.die(worker);
        }
        self.end(worker, End::Left)
    }

    pub(super) fn end(&mut self, worker: WorkerId, end: End) -> Check {
        self.process(worker).alive = false;
        self.model.ended(self.now, worker, end);
        self.scheduler.worker_ended(self.now, worker, end);
        self.settle()
    }
}
