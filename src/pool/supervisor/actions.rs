//! What the scheduler wants done.

use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::mpsc;

use super::{Supervisor, TRIM_PERIOD, WorkerChannel};
use crate::base::maps::SortedMap;
use crate::base::{HostId, TaskId, WorkerId, log};
use crate::error::{BrokenCause, BrokenProcessPool, Cause};
use crate::memory::Payload;
use crate::memory::page::{Asked, Claim, ClaimBoard, Revocation};
use crate::parent::Outlet;
use crate::parent::birth::HostSite;
use crate::parent::link::{self, Uplink};
use crate::parent::message::{Order, Why};
use crate::pool::shutdown::ShutdownReport;
use crate::pool::task::cell::Resolution;
use crate::pool::task::ledger::Entry;
use crate::pool::watch::metrics::outcome_of;
use crate::pool::watch::observer::Observer;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{Action, Failure, KillReason, Prospect, RefuseReason, Scheduler, Time};
use crate::wire::message::Outcome;

impl Supervisor {
    /// Revokes what was sent to a worker, the last first, until one has begun or `keep` are left.
    pub(super) fn take_back(&self, scheduler: &Scheduler, worker: WorkerId, keep: usize) -> usize {
        let revoked = |task: &TaskId| {
            let entry = self.ledger.get(*task);
            entry.is_none_or(|entry| entry.cell().revoke() != Revocation::Begun)
        };
        let length = scheduler.pipeline(worker).count();
        let recallable = scheduler.pipeline(worker).rev().take(length.saturating_sub(keep));
        recallable.take_while(revoked).count()
    }

    /// Whether the front task of a worker has begun.
    fn has_begun(&self, scheduler: &Scheduler, worker: WorkerId) -> bool {
        let front = scheduler.pipeline(worker).next();
        let claim = front.and_then(|task| self.ledger.get(task)?.cell().claim());
        claim.is_none_or(|claim| claim.has_begun())
    }

    /// Lets a worker's running task know that it should end; says why it may do so, if it may.
    fn ask(&self, scheduler: &Scheduler, worker: WorkerId) -> Option<Prospect> {
        let running = scheduler.pipeline(worker).next()?;
        let entry = self.ledger.get(running)?;
        let is_cooperative = entry.cell().ask() == Asked::Cooperative;
        let quick = entry.harvest().map(|_| Prospect::Quick);
        if is_cooperative { Some(Prospect::Looks) } else { quick }
    }

    pub(super) fn perform(&mut self, view: &mut View, now: Time) {
        while let Some(action) = view.scheduler.poll_action() {
            match action {
                Action::Start { worker, host } => self.start(worker, host),
                Action::Request(host) => self.request(host),
                Action::Send { worker, task, attempt } => {
                    self.send(view, worker, task, attempt);
                }
                Action::Begin(task) => self.begin(&mut view.observer, now, task),
                Action::Recall { worker, all } if self.is_far(worker) => {
                    self.ask_back(&view.scheduler, worker, usize::from(!all));
                }
                Action::Look(worker) if self.is_far(worker) => {
                    self.ask_for_begin(&view.scheduler, worker);
                }
                Action::Ask(worker) if self.is_far(worker) => {
                    self.ask_to_end(&view.scheduler, worker);
                }
                Action::Recall { worker, all } => {
                    let keep = usize::from(!all);
                    let taken = self.take_back(&view.scheduler, worker, keep);
                    if view.scheduler.pipeline(worker).count() == taken + 1 {
                        self.divide(view, now, worker);
                    }
                    view.scheduler.recalled(now, worker, taken);
                }
                Action::Look(worker) => {
                    let has_begun = self.has_begun(&view.scheduler, worker);
                    view.scheduler.looked(now, worker, has_begun);
                }
                Action::Ask(worker) => {
                    // No item of a chunk that is asked begins any more, so they must not count as
                    // its own.
                    self.divide(view, now, worker);
                    let prospect = self.ask(&view.scheduler, worker);
                    self.nudge(&view.scheduler, worker);
                    view.scheduler.asked(now, worker, prospect);
                }
                Action::Withdraw(task) => self.withdraw(task),
                Action::Fail(task, failure) => self.fail(&mut view.observer, task, failure),
                Action::Consult(task, failure) => self.keep_failure(task, failure),
                Action::Deliver(task) => self.deliver_kept(&mut view.observer, task),
                Action::Stop(worker, reason) => {
                    view.observer.worker_stopped(now, worker, reason);
                    self.order(worker, Order::Stop);
                }
                Action::Terminate(worker) => self.order(worker, Order::Terminate),
                Action::Kill(worker, reason) => self.order(worker, Order::Kill(why(reason))),
                Action::Warm => self.warming.drain(..).for_each(|waiter| {
                    let _ = waiter.send(()); // or it has gone
                }),
                Action::Remind => self.remind(view),
                Action::Refuse(refusal) => self.refuse(&mut view.observer, refusal),
                Action::Close => self.close(view),
            }
        }
    }

    fn start(&mut self, worker: WorkerId, host: HostId) {
        let Some(HostSite { start, launch, .. }) = self.sites.get(host.position()).cloned() else {
            return; // not reached: the scheduler knows as many hosts as there are sites
        };
        let (orders, receiver) = mpsc::unbounded_channel();
        let channel = WorkerChannel { orders, outlet: None, claims: None, numbers: None };
        self.workers.insert(worker, channel);
        let uplink = Uplink {
            worker,
            listener: Arc::clone(&self.listener),
            reports: self.reports.clone(),
            clock: self.commons.clock,
            arena: Arc::clone(&self.commons.arena),
        };
        // Whoever has the helm may be no task of the runtime. Boxed, as all that tokio has for one
        // type of future is some thousand lines for the compiler.
        self.runtime.spawn(link::run(start, launch, receiver, uplink).boxed());
    }

    pub(super) fn send(
        &mut self,
        View { observer, scheduler, .. }: &mut View,
        worker: WorkerId,
        task: TaskId,
        attempt: u32,
    ) {
        let (Some(entry), Some(link)) = (self.ledger.get(task), self.workers.get_mut(&worker))
        else {
            return;
        };
        // What was taken back is sent again at the same attempt.
        if attempt > 1 && entry.cell().attempt() < Some(attempt) {
            observer.task_retried(task, attempt);
        }
        let claim = link.claims.as_mut().and_then(ClaimBoard::offer);
        let slot = claim.as_ref().map(Claim::slot);
        let sending = entry.cell().send(worker, attempt, claim);
        if let (Some(sending), Some(outlet)) = (sending, &link.outlet) {
            // Only what is sent is counted: nobody would ever change the word of another number,
            // and the next one that has this word could not begin.
            let front = || scheduler.pipeline(worker).next();
            let number = || Some(link.numbers.as_mut()?.send(task, front()));
            let slot = slot.or_else(number);
            match entry.put(outlet, attempt, slot, sending) {
                Ok(()) if self.unwritten.last() == Some(&worker) => {}
                Ok(()) => self.unwritten.push(worker),
                // Not reached: the header is small and the arguments were measured.
                Err(error) => log::error!("{}: {task} cannot be sent: {error}", self.commons.name),
            }
        }
    }

    fn begin(&mut self, observer: &mut Observer, now: Time, task: TaskId) {
        let Some(entry) = self.ledger.get(task) else { return };
        let in_queue = self.commons.places.are_in_queue();
        let first = if in_queue { entry.cell().give_up_place() } else { entry.cell().begin_once() };
        self.freed.add(in_queue && first);
        if first {
            self.freed.add_bytes(&self.commons.places, entry.cell());
        }
        if entry.cell().is_awaited() {
            self.wakers.extend(entry.cell().take_starters().into_values());
        }
        observer.task_started(now, entry.cell(), first);
    }

    /// Has all written that the last events led to.
    pub(super) fn flush(&mut self, scheduler: &Scheduler) {
        if self.unwritten.len() > 1 {
            self.unwritten.sort_unstable();
            self.unwritten.dedup();
        }
        while let Some(id) = self.unwritten.pop() {
            let Some(worker) = self.workers.get(&id) else { continue };
            let is_first = scheduler.pipeline(id).nth(1).is_none();
            let written = is_first && worker.outlet.as_ref().is_some_and(Outlet::flush);
            if !written {
                self.order(id, Order::Flush);
            }
        }
    }

    /// Has shared memory given back that was not needed lately. There is no timer for that: a pool
    /// that has nothing to do does nothing.
    pub(super) fn trim(&mut self, now: Time) {
        self.next_trim = now + TRIM_PERIOD;
        if self.commons.arena.trim() {
            let ready = self.workers.iter().filter(|(_, worker)| worker.outlet.is_some());
            ready.for_each(|(id, _)| self.order(*id, Order::Trim));
        }
    }

    pub(super) fn order(&self, worker: WorkerId, order: Order) {
        if let Some(worker) = self.workers.get(&worker) {
            let _ = worker.orders.send(order); // or its end is on the way
        }
    }

    pub(super) fn withdraw(&mut self, task: TaskId) {
        if !self.undecided.is_empty() {
            self.undecided.remove(task);
        }
        if let Some(entry) = self.ledger.get(task) {
            entry.cell().requeue();
            if let Some(harvest) = entry.harvest() {
                harvest.requeue(task);
            }
            release(&mut self.workers, entry);
        }
    }

    pub(super) fn take(&mut self, task: TaskId) -> Option<Entry> {
        let entry = self.ledger.remove(task)?;
        release(&mut self.workers, &entry);
        let had_place = entry.cell().give_up_place();
        self.freed.add(had_place);
        if had_place {
            self.freed.add_bytes(&self.commons.places, entry.cell());
        }
        Some(entry)
    }

    pub(super) fn deliver(
        &mut self,
        observer: &mut Observer,
        task: TaskId,
        run_time: u64,
        (outcome, payload): (Outcome, Payload),
    ) {
        if let Some(entry) = self.take(task) {
            let resolution = entry.delivered(outcome, payload, self.max_payload);
            self.finish(observer, entry, resolution, Some(run_time));
        }
    }

    fn fail(&mut self, observer: &mut Observer, task: TaskId, failure: Failure) {
        let Some(entry) = self.take(task) else { return };
        let error = entry.failed(self.cause(failure));
        self.finish(observer, entry, Err(error), None);
    }

    pub(super) fn cause(&self, failure: Failure) -> Cause {
        match failure {
            Failure::Died => match &self.death {
                Some(BrokenCause::WorkerDied(death)) => Cause::WorkerDied(death.clone()),
                _ => Cause::ShutDown, // not reached: only a death fails a task so
            },
            Failure::HostLost => match &self.death {
                Some(BrokenCause::HostLost(loss)) => Cause::HostLost(loss.clone()),
                _ => Cause::ShutDown, // not reached, as above
            },
            Failure::TimedOut(limit) => Cause::TimedOut(limit),
            Failure::Expired => Cause::Expired,
            Failure::NotBegun(limit) => Cause::NotBegun(limit),
            Failure::Cancelled => Cause::Cancelled,
            Failure::Replaced => Cause::Replaced,
            Failure::Broken => self.broken.clone().map_or(Cause::ShutDown, Cause::Broken),
            Failure::ShutDown => Cause::ShutDown,
        }
    }

    /// `ran` is how long, if its worker says so, and that was not told before.
    pub(super) fn finish(
        &mut self,
        observer: &mut Observer,
        entry: Entry,
        resolution: Resolution,
        ran: Option<u64>,
    ) {
        let outcome = outcome_of(&resolution);
        let items = entry.last_items(outcome);
        observer.task_finished(entry.cell(), outcome, items.as_ref(), ran);
        self.resolved.push((entry, resolution));
    }

    fn refuse(&mut self, observer: &mut Observer, refusal: RefuseReason) {
        if refusal == RefuseReason::Broken {
            self.broken = self.death.clone().map(BrokenProcessPool);
        }
        observer.pool_refuses(self.broken.as_ref());
        self.commons.close(self.close_reason());
        self.is_over = self.broken.is_some();
        self.warming.clear(); // only now, as who wakes asks for the reason at once
    }

    /// Says what a shutdown waits for, and how it need not.
    fn remind(&self, view: &View) {
        for worker in self.workers.keys() {
            let running = view.scheduler.pipeline(*worker).next();
            let Some(entry) = running.and_then(|task| self.ledger.get(task)) else { continue };
            log::warning!(
                "{}: the shutdown waits for {}, which runs on {}; `Shutdown::within` limits \
                 how long it waits, and `timeout` how long a task or an item of a map runs",
                self.commons.name,
                entry.cell().title(),
                view.observer.whereabouts(*worker),
            );
        }
    }

    fn close(&mut self, view: &View) {
        let items = view.observer.metrics.sum().items;
        self.report = Some(ShutdownReport {
            finished: items.completed() + items.failed(),
            cancelled: items.cancelled,
            // A chunk can be ended when all of its items have results. It counts all the same, as
            // the scheduler knows no items; but there are never more than were cancelled.
            killed: view.scheduler.counts().killed.min(items.cancelled),
            items,
            exits: Arc::new(std::mem::take(&mut self.exits)),
        });
    }
}

/// Frees the word of a task that is done with its worker.
pub(super) fn release(workers: &mut SortedMap<WorkerId, WorkerChannel>, entry: &Entry) {
    if let Some((worker, slot)) = entry.cell().take_claim()
        && let Some(claims) = workers.get_mut(&worker).and_then(|worker| worker.claims.as_mut())
    {
        claims.release(slot);
    }
}

/// What is said of a worker that was killed for this.
fn why(reason: KillReason) -> Why {
    match reason {
        KillReason::StartTimeout => Why::TooLate,
        KillReason::Misbehaved => Why::Text("it broke the protocol and was killed"),
        KillReason::GraceOver => Why::Text("it was told to end, and killed"),
        KillReason::Wanted => Why::Text("it was killed because all workers were to be"),
        KillReason::HostLost => Why::Text("its host was lost before it was ready"),
        KillReason::Broken => Why::Text("it was killed because the pool is broken"),
    }
}
