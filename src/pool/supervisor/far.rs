//! What is taken back from a worker on another host, and what is asked there: by numbers, and the
//! answers come later.

use super::Supervisor;
use super::numbers::{Numbers, is_from};
use crate::base::{TaskId, WorkerId};
use crate::memory::page::Entries;
use crate::parent::message::Order;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Prospect, Scheduler, Time};
use crate::wire::far::{FarAnswer, FarPage, FarQuestion, FarRecord, StoppedChunk};

impl Supervisor {
    fn numbers(&self, worker: WorkerId) -> Option<&Numbers> {
        self.workers.get(&worker)?.numbers.as_ref()
    }

    fn numbers_mut(&mut self, worker: WorkerId) -> Option<&mut Numbers> {
        self.workers.get_mut(&worker)?.numbers.as_mut()
    }

    /// Whether it is far away, and answers later.
    pub(super) fn is_far(&self, worker: WorkerId) -> bool {
        self.numbers(worker).is_some()
    }

    fn number_of_front(&self, scheduler: &Scheduler, worker: WorkerId) -> Option<u32> {
        self.numbers(worker)?.of(scheduler.pipeline(worker).next()?)
    }

    /// Asks for what a worker has not begun, but for the first ones that it is to `keep`, and for
    /// the rest of a chunk that runs.
    pub(super) fn ask_back(&self, scheduler: &Scheduler, worker: WorkerId, keep: usize) {
        let Some(numbers) = self.numbers(worker) else { return };
        // What is cancelled has no number. Numbers behind the last one were taken back before.
        let first = scheduler.pipeline(worker).skip(keep).find_map(|task| numbers.of(task));
        let last = || scheduler.pipeline(worker).rev().find_map(|task| numbers.of(task));
        let first = first.or_else(|| Some(last()?.wrapping_add(1))).unwrap_or(numbers.next);
        let chunk = |task: TaskId| self.ledger.get(task).is_some_and(|it| it.harvest().is_some());
        let stops = scheduler.pipeline(worker).any(chunk);
        let count = numbers.next.wrapping_sub(first);
        self.order(worker, Order::Ask(FarQuestion::TakeBack { first, count, stops }));
    }

    /// Asks whether the front task of a worker has begun.
    pub(super) fn ask_for_begin(&self, scheduler: &Scheduler, worker: WorkerId) {
        if let Some(number) = self.number_of_front(scheduler, worker) {
            self.order(worker, Order::Ask(FarQuestion::Look(number)));
        }
    }

    /// Has the running task of a worker asked to end.
    pub(super) fn ask_to_end(&self, scheduler: &Scheduler, worker: WorkerId) {
        if let Some(number) = self.number_of_front(scheduler, worker) {
            self.order(worker, Order::Ask(FarQuestion::Ask(number)));
        }
    }

    /// What is not about the front task any more needs no answer.
    pub(super) fn on_answer(
        &mut self,
        view: &mut View,
        now: Time,
        id: WorkerId,
        answer: FarAnswer,
    ) {
        self.skip_cancelled(view, now, id, None); // they have no numbers
        let front = self.number_of_front(&view.scheduler, id);
        match answer {
            FarAnswer::TakenBack { from, stopped } => {
                if let Some(numbers) = self.numbers_mut(id) {
                    numbers.stopped = stopped;
                }
                self.divide_if_stopped(view, now, id);
                let taken = self.count_last(&view.scheduler, id, |number| is_from(number, from));
                if let Some(numbers) = self.numbers_mut(id) {
                    numbers.taken_back(from);
                }
                view.scheduler.recalled(now, id, taken);
            }
            FarAnswer::Looked { number, has_begun } if Some(number) == front => {
                view.scheduler.looked(now, id, has_begun);
            }
            FarAnswer::Asked { number, is_cooperative } if Some(number) == front => {
                self.nudge(&view.scheduler, id);
                let running = view.scheduler.pipeline(id).next();
                let entry = running.and_then(|task| self.ledger.get(task));
                let is_chunk = entry.is_some_and(|entry| entry.harvest().is_some());
                let quick = is_chunk.then_some(Prospect::Quick);
                let prospect = if is_cooperative { Some(Prospect::Looks) } else { quick };
                view.scheduler.asked(now, id, prospect);
            }
            FarAnswer::Looked { .. } | FarAnswer::Asked { .. } => {}
        }
        self.perform(view, now);
    }

    /// How many of the last tasks of a worker have such numbers.
    fn count_last(
        &self,
        scheduler: &Scheduler,
        worker: WorkerId,
        is_such: impl Fn(u32) -> bool,
    ) -> usize {
        let Some(numbers) = self.numbers(worker) else { return 0 };
        let is_such = |task: &TaskId| numbers.of(*task).is_some_and(&is_such);
        scheduler.pipeline(worker).rev().take_while(is_such).count()
    }

    /// How many of the last tasks of a worker that has ended have not begun.
    pub(super) fn count_unbegun(
        &self,
        scheduler: &Scheduler,
        worker: WorkerId,
        page: &FarPage,
    ) -> usize {
        self.count_last(scheduler, worker, |number| !page.has_begun(number))
    }

    /// If the agent has stopped the running chunk of a worker, delivers what is done of it, and
    /// gives to others what has not begun.
    pub(super) fn divide_if_stopped(&mut self, view: &mut View, now: Time, worker: WorkerId) {
        let front = self.number_of_front(&view.scheduler, worker);
        let Some(numbers) = self.numbers_mut(worker) else { return };
        let stopped = numbers.stopped.take_if(|stopped| Some(stopped.number) == front);
        if let Some(StoppedChunk { begun, record, .. }) = stopped {
            let record = record.map(Entries::from);
            self.cut_off_running(view, (now, worker), record, begun);
        }
    }

    /// The record of the chunk that a worker has run which has ended.
    pub(super) fn last_record(
        &self,
        scheduler: &Scheduler,
        worker: WorkerId,
        page: &FarPage,
    ) -> Option<Entries> {
        let number = self.number_of_front(scheduler, worker)?;
        page.record_of(number).cloned().map(Entries::from)
    }
}

impl From<FarRecord> for Entries {
    fn from(FarRecord { base, bytes }: FarRecord) -> Self {
        Self { base, bytes }
    }
}
