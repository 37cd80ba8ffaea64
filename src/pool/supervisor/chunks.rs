//! Chunks of maps: tasks whose items have results of their own, and that can be divided.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use crate::base::{TaskId, WorkerId, nanos};
use crate::memory::Payload;
use crate::memory::page::{Claim, Entries, Revocation, Stopped, record};
use crate::pool::task::harvest::{Harvest, ItemLimits, Receipt};
use crate::pool::task::ledger::Entry;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Scheduler, Task, Time, Verdict, Wishes};
use crate::wire::far::FarPage;
use crate::wire::message::{ChunkReplyHeader, Outcome};

impl Supervisor {
    pub(super) fn on_chunk_reply(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        header: &ChunkReplyHeader,
        entries: Payload,
    ) {
        let running = self.running_chunk(&view.scheduler, worker);
        let Some((_, harvest)) = running.filter(|(task, _)| *task == header.task) else {
            return view.scheduler.misbehaved(now, worker);
        };
        // Its agent may have stopped it, and what says so come later than this.
        let may_be_stopped = self.is_far(worker);
        let receipt = harvest.receive(worker, header, entries, may_be_stopped);
        view.observer.items_ended(worker, harvest.function(), &harvest.take_counts());
        if let Receipt::Short { .. } = receipt {
            self.cut_off(view, (now, worker), header.task, &harvest, 0);
        }
        self.regulate(view, now, &harvest);
        self.ripe.push(harvest);
        match receipt {
            Receipt::Partial => view.scheduler.item_finished(now, worker),
            Receipt::Done { run_time } | Receipt::Short { run_time } => {
                let (task, ran) = (header.task, Duration::from_nanos(run_time));
                if view.scheduler.task_finished(now, worker, task, ran) == Verdict::Deliver {
                    view.observer.task_replied(worker, run_time);
                    view.observer.chunk_replied(worker);
                    let nothing = (Outcome::Returned, Payload::default());
                    self.deliver(&mut view.observer, header.task, run_time, nothing);
                }
            }
            Receipt::Lie => view.scheduler.misbehaved(now, worker),
        }
    }

    /// Holds back what has not begun of a map whose results take too much, or lets some of it go if
    /// there is room.
    pub(super) fn regulate(&mut self, view: &mut View, now: Time, harvest: &Harvest) {
        if !view.scheduler.may_hold() {
            return;
        }
        let mut excess = harvest.excess();
        excess.retain(|task| {
            let entry = self.ledger.get(*task); // or it is still to be submitted
            entry.is_some_and(|entry| entry.cell().revoke() != Revocation::Begun)
        });
        if !excess.is_empty() {
            harvest.withhold(&excess);
            view.scheduler.hold(now, &excess);
            self.perform(view, now);
        }
        let released = harvest.release();
        if !released.is_empty() {
            view.scheduler.release(now, &released);
            self.perform(view, now);
        }
    }

    /// Gives what has not begun of a worker's running chunk to others, and delivers what is done.
    pub(super) fn divide(&mut self, view: &mut View, now: Time, worker: WorkerId) {
        let Some((task, harvest)) = self.running_chunk(&view.scheduler, worker) else { return };
        let claim = self.ledger.get(task).and_then(|entry| entry.cell().claim());
        let Some(claim) = claim.filter(Claim::has_begun) else { return };
        let stopped = claim.stop();
        let record = record::read(&claim);
        match stopped {
            Stopped::After(begun) => self.cut_off_running(view, (now, worker), record, begun),
            Stopped::Never => {
                if let Some(record) = record {
                    Self::receive_record(view, worker, task, &harvest, record);
                }
                self.ripe.push(harvest);
            }
        }
    }

    /// The running chunk of a worker was stopped after so many items had begun. Delivers what is
    /// done of it, and gives the rest to others.
    pub(super) fn cut_off_running(
        &mut self,
        view: &mut View,
        (now, worker): (Time, WorkerId),
        record: Option<Entries>,
        begun: u32,
    ) {
        let Some((task, harvest)) = self.running_chunk(&view.scheduler, worker) else { return };
        if let Some(record) = record {
            Self::receive_record(view, worker, task, &harvest, record);
        }
        // More results than items have begun: what the worker has announced was overwritten.
        let begun = if harvest.done(task) > begun { u32::MAX } else { begun };
        self.cut_off(view, (now, worker), task, &harvest, begun);
        self.ripe.push(harvest);
    }

    fn receive_record(
        view: &mut View,
        worker: WorkerId,
        task: TaskId,
        harvest: &Harvest,
        record: Entries,
    ) {
        harvest.receive_record(worker, task, record);
        view.observer.items_ended(worker, harvest.function(), &harvest.take_counts());
    }

    /// As [`Self::divide`], for a worker that has died. If the chunk had begun, then afterwards it
    /// consists of what has results, and of what may have begun and fails with the worker.
    pub(super) fn divide_last(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        (is_heard, page): (bool, Option<&FarPage>),
    ) {
        let Some((task, harvest)) = self.running_chunk(&view.scheduler, worker) else { return };
        if self.ledger.get(task).is_some_and(|entry| entry.cell().claim().is_some()) {
            self.divide(view, now, worker);
        } else if let Some(page) = page {
            // Each result is recorded before the next item begins. If some that were sent before
            // were not heard, more items may have begun than can be seen.
            let record = self.last_record(&view.scheduler, worker, page);
            let done = harvest.done(task);
            let is_whole = is_heard && record.as_ref().is_none_or(|record| record.base <= done);
            if let Some(record) = record {
                Self::receive_record(view, worker, task, &harvest, record);
            }
            if is_whole {
                let begun = harvest.done(task).saturating_add(1);
                self.cut_off(view, (now, worker), task, &harvest, begun);
            }
            self.ripe.push(harvest);
        } else if is_heard {
            // Without claims each result is written before the next item begins. What is not heard
            // may have been written all the same, and then every item may have begun.
            let begun = harvest.done(task).saturating_add(1);
            self.cut_off(view, (now, worker), task, &harvest, begun);
        }
    }

    /// The running chunk of a worker that has ended is done if all of its items have results,
    /// though the worker has not said so. There is nothing left of it to begin again.
    pub(super) fn finish_done(&mut self, view: &mut View, now: Time, worker: WorkerId) {
        let Some((task, harvest)) = self.running_chunk(&view.scheduler, worker) else { return };
        if !harvest.is_done(task) {
            return;
        }
        let ran = Self::ran(&view.scheduler, now, worker);
        if view.scheduler.task_finished(now, worker, task, ran) == Verdict::Deliver {
            let nothing = (Outcome::Returned, Payload::default());
            self.deliver(&mut view.observer, task, nanos(ran), nothing);
        }
        self.ripe.push(harvest);
    }

    fn running_chunk(
        &self,
        scheduler: &Scheduler,
        worker: WorkerId,
    ) -> Option<(TaskId, Arc<Harvest>)> {
        let task = scheduler.pipeline(worker).next()?;
        Some((task, Arc::clone(self.ledger.get(task)?.harvest()?)))
    }

    /// Leaves a chunk the items that have begun, and queues the others again.
    fn cut_off(
        &mut self,
        view: &mut View,
        (now, worker): (Time, WorkerId),
        task: TaskId,
        harvest: &Arc<Harvest>,
        begun: u32,
    ) {
        let keep = begun.max(harvest.done(task));
        for division in harvest.divide(task, keep) {
            let (part, count) = (division.task, division.end - division.begin);
            view.observer.task_queued(&division.cell);
            self.ledger.insert(Entry::chunk(division.cell, harvest));
            view.scheduler.divided(now, worker, Task::chunk(part, count, harvest.limits()));
            if harvest.withholds(part) {
                view.scheduler.hold_queued(part);
            }
        }
    }
}

impl Task {
    /// A chunk of so many items.
    pub(crate) fn chunk(id: TaskId, count: u32, limits: ItemLimits) -> Self {
        Self::with(id, Wishes { divisible: count > 1, ..limits.wishes() })
    }

    /// An item that was begun before.
    pub(crate) fn repeated_item(id: TaskId, attempt: u32, limits: ItemLimits) -> Self {
        Self::with(id, Wishes { attempt, ..limits.wishes() })
    }
}

impl ItemLimits {
    fn wishes(self) -> Wishes {
        let Self { timeout, retries, tenant, delays } = self;
        Wishes { tenant, retries, delays, timeout, ..Wishes::default() }
    }
}
