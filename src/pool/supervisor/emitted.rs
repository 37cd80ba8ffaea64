//! What tasks emit, on the way between their workers and those who take it.

use super::Supervisor;
use crate::base::{TaskId, WorkerId, log};
use crate::memory::Payload;
use crate::parent::message::EmitMessage;
use crate::pool::task::emissions::Emitted;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Scheduler, Time};
use crate::wire::emit::Credit;
use crate::wire::message::Kind;

impl Supervisor {
    /// Only the running task can emit, and no more than it may.
    pub(super) fn on_emit(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        message: EmitMessage,
    ) {
        let EmitMessage { task, type_name, payload } = message;
        self.skip_cancelled(view, now, worker, Some(task));
        let is_running = view.scheduler.pipeline(worker).next() == Some(task);
        let entry = self.ledger.get(task).filter(|entry| is_running && entry.harvest().is_none());
        match entry.map_or(Emitted::Lie, |entry| entry.cell().receive(type_name, payload)) {
            Emitted::Kept(readers) => self.wakers.extend(readers.into_values()),
            Emitted::Dropped => {}
            Emitted::Lie => {
                view.scheduler.misbehaved(now, worker);
                return self.perform(view, now);
            }
        }
        self.give_credit(task);
    }

    /// Tells the worker what it may emit, if that is due.
    pub(super) fn give_credit(&mut self, task: TaskId) {
        let credit = self.ledger.get(task).and_then(|entry| entry.cell().credit());
        if let Some((worker, credit)) = credit {
            self.tell(worker, &credit);
        }
    }

    /// Has a task that waits for credit look whether it is asked to end. It may wait although
    /// nothing of what it has emitted has come yet.
    pub(super) fn nudge(&mut self, scheduler: &Scheduler, worker: WorkerId) {
        let running = scheduler.pipeline(worker).next();
        let entry = running.and_then(|task| self.ledger.get(task));
        if let Some(entry) = entry.filter(|entry| entry.harvest().is_none()) {
            let task = entry.cell().id();
            self.tell(worker, &Credit { task, values: 0, bytes: 0, is_closed: false });
        }
    }

    fn tell(&mut self, worker: WorkerId, credit: &Credit) {
        let outlet = self.workers.get(&worker).and_then(|worker| worker.outlet.as_ref());
        let put = outlet.map(|outlet| outlet.put(Kind::Credit, credit, Payload::default()));
        match put {
            Some(Ok(())) => self.unwritten.push(worker),
            // Not reached: it is small.
            Some(Err(error)) => log::error!("{}: {worker}: {error}", self.commons.name),
            None => {}
        }
    }
}
