//! What owns the workers. It decides nothing: it picks an event, hands it to the scheduler, and performs all
//! actions before it picks the next. Who has it do so is up to the [helm](crate::pool::helm).

mod chunks;
#[cfg(test)]
mod leftovers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::nanos;
use crate::base::id::{TaskId, WorkerId};
use crate::base::log;
use crate::error::{BrokenCause, BrokenProcessPool, Cause};
use crate::memory::page::claim::{Asked, Claim, ClaimBoard, Revocation};
use crate::memory::payload::Payload;
use crate::parent::birth::Start;
use crate::parent::launch::Launch;
use crate::parent::link::{self, Uplink};
use crate::parent::message::{Ended, Listener, Message, Order, Progress, Reply, Report, Why};
use crate::parent::outlet::Outlet;
use crate::pool::commons::{Command, Commons, Refused};
use crate::pool::exits::{ExitHook, Exits};
use crate::pool::helm::Steered;
use crate::pool::shutdown::ShutdownReport;
use crate::pool::task::cell::{Resolution, TaskCell};
use crate::pool::task::harvest::Harvest;
use crate::pool::task::ledger::{Entry, Ledger};
use crate::pool::watch::events::News;
use crate::pool::watch::observer::Observer;
use crate::pool::watch::snapshot::View;
use crate::scheduler::{
    Action, End, Failure, KillReason, Refusal, Scheduler, Stage, StartFailure, Time, Verdict,
};
use crate::wire::{ChunkReplyHeader, Kind, Outcome};

/// How the supervisor reaches a worker.
struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    /// Set once it is ready.
    outlet: Option<Outlet>,
    claims: Option<ClaimBoard>,
}

/// A task that is over, and what becomes of it once the view is unlocked: waking is quick, but
/// callbacks are user code and may look at the view themselves.
type Resolved = (Entry, Resolution);

pub(crate) struct Supervisor {
    commons: Arc<Commons>,
    /// Who may hear what a worker says; it is what this belongs to.
    listener: Arc<dyn Listener>,
    runtime: Handle,
    /// Brings the processes of workers into being.
    start: Arc<dyn Start>,
    launch: Arc<Launch>,
    max_payload: usize,
    ledger: Ledger,
    workers: BTreeMap<WorkerId, Worker>,
    /// Tasks that have reported, with readers that are woken as those of `resolved`, and before them.
    reported: Vec<(Arc<TaskCell>, Progress)>,
    resolved: Vec<Resolved>,
    /// What is told before them.
    news: News,
    /// Maps whose streams have results to look at.
    ripe: Vec<Arc<Harvest>>,
    /// Places in the queue that are to be given back.
    places: usize,
    /// Workers into whose outlets something was put; one may be named again.
    unwritten: Vec<WorkerId>,
    /// Who waits for a worker.
    warming: Vec<oneshot::Sender<()>>,
    /// Who waits for workers to be replaced, and for the end of which one and all before it.
    recycling: Vec<(WorkerId, oneshot::Sender<()>)>,
    /// The end of a worker that is being dealt with.
    death: Option<BrokenCause>,
    /// Set once the pool is broken.
    broken: Option<BrokenProcessPool>,
    reports: mpsc::Sender<(WorkerId, Report)>,
    /// What workers said when they left.
    exits: Exits,
    /// When it is next asked what shared memory is not needed.
    next_trim: Time,
    /// Set once nothing is left to do.
    report: Option<ShutdownReport>,
}

/// Shared memory that was not used for so long is given back. To make ten megabytes anew takes some milliseconds, so
/// this costs little even if they are needed just then.
const TRIM_PERIOD: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(crate) fn new(
        commons: Arc<Commons>,
        listener: Arc<dyn Listener>,
        start: Arc<dyn Start>,
        launch: Arc<Launch>,
        hook: Option<Arc<ExitHook>>,
        runtime: Handle,
        reports: mpsc::Sender<(WorkerId, Report)>,
    ) -> Self {
        Self {
            commons,
            listener,
            runtime,
            max_payload: launch.max_payload,
            exits: Exits::new(hook),
            start,
            launch,
            ledger: Ledger::default(),
            workers: BTreeMap::new(),
            reported: Vec::new(),
            resolved: Vec::new(),
            news: News::default(),
            ripe: Vec::new(),
            places: 0,
            unwritten: Vec::new(),
            warming: Vec::new(),
            recycling: Vec::new(),
            death: None,
            broken: None,
            reports,
            next_trim: TRIM_PERIOD,
            report: None,
        }
    }

    /// Brings up the first workers, if they are wanted without a task; returns when the scheduler wants to be
    /// called.
    pub(crate) fn open(&mut self) -> Option<Time> {
        let commons = Arc::clone(&self.commons);
        let view = &mut *commons.view();
        let now = commons.now();
        view.scheduler.open(now);
        self.perform(view, now);
        view.scheduler.next_timeout()
    }

    /// Handles a batch of events; returns when the scheduler wants to be called again.
    fn handle(
        &mut self,
        commons: &Commons,
        reports: &mut Vec<(WorkerId, Report)>,
        brought: Option<(WorkerId, &mut Vec<Message>)>,
        commands: &mut Vec<Command>,
    ) -> Option<Time> {
        let view = &mut *commons.view();
        let now = commons.now();
        for (worker, report) in reports.drain(..) {
            self.on_report(view, now, worker, report);
            self.perform(view, now);
        }
        if let Some((worker, messages)) = brought {
            self.on_messages(view, now, worker, messages);
        }
        for command in commands.drain(..) {
            self.on_command(view, now, command);
            self.perform(view, now);
        }
        let mut next_timeout = view.scheduler.next_timeout();
        if next_timeout.is_some_and(|at| at <= now) {
            view.scheduler.timeout(now);
            self.perform(view, now);
            next_timeout = view.scheduler.next_timeout();
        }
        self.flush(&view.scheduler);
        if now >= self.next_trim {
            self.trim(now);
        }
        if self.places > 0 {
            commons.room.add_permits(std::mem::take(&mut self.places));
        }
        self.news = view.observer.feed.take_news();
        next_timeout
    }

    /// Tells those who look on and those who wait for tasks.
    fn resolve(&mut self) {
        // Each is looked at first: to drain nothing is a call of its own, and most turns have little to tell.
        if !self.reported.is_empty() {
            for (cell, Progress { done, total, text, .. }) in self.reported.drain(..) {
                cell.report_progress(done, total, text);
            }
        }
        std::mem::take(&mut self.news).send();
        if !self.resolved.is_empty() {
            for (entry, resolution) in self.resolved.drain(..) {
                entry.cell().resolve(resolution);
            }
        }
        if !self.ripe.is_empty() {
            self.ripe.drain(..).for_each(|harvest| harvest.wake());
        }
    }

    // ----- events -----

    fn on_command(&mut self, view: &mut View, now: Time, command: Command) {
        match command {
            Command::Submit(task, entry) => {
                entry.cell().accept(nanos(now));
                view.observer.task_queued(entry.cell());
                self.ledger.insert(entry);
                view.scheduler.submit(now, task);
            }
            Command::Cancel(task) => view.scheduler.cancel(now, task),
            Command::Abort(task) => view.scheduler.abort(now, task),
            Command::WarmUp(waiter) => {
                // A waiter that comes too late is dropped, which tells it so.
                if self.commons.refused.get().is_none() {
                    self.warming.push(waiter);
                    view.scheduler.warm_up(now);
                }
            }
            Command::Resize(max_workers) => view.scheduler.resize(now, max_workers),
            Command::Recycle(waiter) => {
                // Without a worker there is nobody to wait for.
                let newest = self.workers.last_key_value().map(|(id, _)| *id);
                self.recycling.extend(newest.map(|id| (id, waiter)));
                view.scheduler.recycle(now);
            }
            Command::ShutDown { cancel_futures, limit } => {
                view.scheduler.shut_down(now, cancel_futures, limit);
            }
            Command::EndWorkers(force) => view.scheduler.end_workers(now, force),
        }
    }

    fn on_report(&mut self, view: &mut View, now: Time, worker: WorkerId, report: Report) {
        match report {
            Report::Spawned { pid } => {
                view.observer.worker_started(now, worker, pid);
            }
            Report::Ready(outlet, page) => {
                let recallable = page.is_some();
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.outlet = Some(outlet);
                    worker.claims = page.map(ClaimBoard::new);
                }
                view.observer.worker_ready(now, worker);
                view.scheduler.worker_ready(now, worker, recallable);
            }
            Report::Messages(mut messages) => self.on_messages(view, now, worker, &mut messages),
            Report::Blocked => view.scheduler.worker_blocked(worker),
            Report::Unblocked => view.scheduler.worker_unblocked(now, worker),
            Report::Ended(ended) => self.on_ended(view, now, worker, ended),
        }
    }

    fn on_messages(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        messages: &mut Vec<Message>,
    ) {
        for message in messages.drain(..) {
            match message {
                Message::Progress(progress) => self.on_progress(view, now, worker, progress),
                Message::Reply(reply) => self.on_reply(view, now, worker, reply),
                Message::OverMemory => {
                    view.scheduler.worker_over_memory(now, worker);
                    self.perform(view, now);
                }
                Message::CannotOpen => self.on_cannot_open(view, now, worker),
            }
        }
    }

    /// Only the running task can report. What comes of another one is not worth a punishment.
    fn on_progress(&mut self, view: &mut View, now: Time, worker: WorkerId, progress: Progress) {
        self.skip_cancelled(view, now, worker, Some(progress.task));
        let running = view.scheduler.pipeline(worker).next();
        let entry = running.filter(|task| *task == progress.task);
        if let Some(entry) = entry.and_then(|task| self.ledger.get(task)) {
            self.reported.push((Arc::clone(entry.cell()), progress));
        }
    }

    /// A worker begins nothing before it is sent once more what it has, by the pipe. To the scheduler nothing
    /// has happened: it is the same worker, and the tasks have the same order.
    fn on_cannot_open(&mut self, view: &mut View, now: Time, worker: WorkerId) {
        self.skip_cancelled(view, now, worker, None);
        let outlet = self.workers.get(&worker).and_then(|worker| worker.outlet.clone());
        let Some(outlet) = outlet.filter(Outlet::stop_opening_segments) else {
            view.scheduler.misbehaved(now, worker); // nothing is where it could not open it
            return self.perform(view, now);
        };
        log::debug!("{}: {worker} cannot open shared memory any more", self.commons.name);
        let taken = self.take_back(&view.scheduler, worker, 0);
        let begun = view.scheduler.pipeline(worker).count() - taken;
        if let Err(error) = outlet.put(Kind::Resume, &(), Payload::default()) {
            log::error!("{}: {worker} cannot be told to go on: {error}", self.commons.name);
        }
        self.unwritten.push(worker);
        let again: Vec<_> = view.scheduler.pipeline(worker).skip(begun).collect();
        for task in again {
            self.withdraw(task);
            let attempt = self.ledger.get(task).and_then(|entry| entry.cell().attempt());
            self.send(&mut view.observer, worker, task, attempt.unwrap_or(1));
        }
    }

    fn on_reply(&mut self, view: &mut View, now: Time, worker: WorkerId, reply: Reply) {
        let (Reply::Task { task, .. } | Reply::Chunk { header: ChunkReplyHeader { task, .. }, .. }) =
            reply;
        self.skip_cancelled(view, now, worker, Some(task));
        let is_chunk = self.ledger.get(task).is_some_and(|entry| entry.harvest().is_some());
        match reply {
            Reply::Task { outcome, run_time, payload, .. } if !is_chunk => {
                let ran = Duration::from_nanos(run_time);
                if view.scheduler.task_finished(now, worker, task, ran) == Verdict::Deliver {
                    view.observer.task_replied(worker, run_time);
                    self.deliver(&mut view.observer, task, outcome, payload);
                }
            }
            Reply::Chunk { header, entries } if is_chunk => {
                self.on_chunk_reply(view, now, worker, &header, entries);
            }
            Reply::Task { .. } | Reply::Chunk { .. } => view.scheduler.misbehaved(now, worker),
        }
        self.perform(view, now);
    }

    /// The worker has passed over the tasks before `next` (over all, without one) that were cancelled
    /// in its hands. It can be that their commands have not been handled yet.
    fn skip_cancelled(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        next: Option<TaskId>,
    ) {
        if next.is_some() && view.scheduler.pipeline(worker).next() == next {
            return; // as it is nearly always
        }
        let passed = view.scheduler.pipeline(worker).take_while(|task| Some(*task) != next);
        let cancelled: Vec<TaskId> = passed.filter(|task| self.is_cancelled(*task)).collect();
        for task in cancelled {
            view.scheduler.cancel(now, task);
            self.perform(view, now);
        }
    }

    fn is_cancelled(&self, task: TaskId) -> bool {
        self.ledger.get(task).is_some_and(|entry| entry.cell().is_cancelled())
    }

    fn on_ended(&mut self, view: &mut View, now: Time, worker: WorkerId, ended: Ended) {
        self.skip_cancelled(view, now, worker, None);
        let seen = view.scheduler.worker(worker);
        let ended = match (ended, view.observer.processes.get(&worker), seen.map(|seen| seen.stage))
        {
            // It had to be killed, whatever it has said after that.
            (Ended::Left(_), Some(process), Some(Stage::Ending { fault: true, .. })) => {
                Ended::disgraced(worker, process.pid)
            }
            (ended, ..) => ended,
        };
        let process = view.observer.worker_ended(now, worker, seen, &ended);
        let end = match ended {
            Ended::Left(exit_reply) => {
                if let (Some(process), Some(reply)) = (process, exit_reply) {
                    self.exits.push(worker, process.pid, reply, self.max_payload);
                }
                End::Left
            }
            Ended::Died { death, is_heard } => {
                self.death = Some(BrokenCause::WorkerDied(death));
                self.divide_last(view, worker, is_heard);
                End::Died { taken: self.take_back(&view.scheduler, worker, 0) }
            }
            Ended::NotStarted(error) => {
                let failure = match &error {
                    error if error.is_fatal() => StartFailure::Fatal,
                    error if error.is_accident() => StartFailure::Killed,
                    _ => StartFailure::Own,
                };
                self.death = Some(BrokenCause::Start(error));
                End::StartFailed(failure)
            }
        };
        view.scheduler.worker_ended(now, worker, end);
        self.perform(view, now);
        self.workers.remove(&worker);
        let oldest = self.workers.first_key_value().map(|(id, _)| *id);
        self.recycling.retain(|(newest, _)| oldest.is_some_and(|oldest| oldest <= *newest));
        self.death = None;
    }

    /// Revokes what was sent to a worker, the last first, until one has begun or `keep` are left.
    fn take_back(&self, scheduler: &Scheduler, worker: WorkerId, keep: usize) -> usize {
        let revoked = |task: &TaskId| {
            let entry = self.ledger.get(*task);
            entry.is_none_or(|entry| entry.cell().revoke() != Revocation::Begun)
        };
        let length = scheduler.pipeline(worker).count();
        let recallable = scheduler.pipeline(worker).rev().take(length.saturating_sub(keep));
        recallable.take_while(revoked).count()
    }

    /// Lets a worker's running task know that it should end; says whether it is known to look.
    fn ask(&self, scheduler: &Scheduler, worker: WorkerId) -> bool {
        let running = scheduler.pipeline(worker).next();
        let entry = running.and_then(|task| self.ledger.get(task));
        entry.is_some_and(|entry| entry.cell().ask() == Asked::Cooperative)
    }

    // ----- actions -----

    fn perform(&mut self, view: &mut View, now: Time) {
        while let Some(action) = view.scheduler.poll_action() {
            match action {
                Action::Start(worker) => self.start(worker),
                Action::Send { worker, task, attempt } => {
                    self.send(&mut view.observer, worker, task, attempt);
                }
                Action::Begin(task) => self.begin(&mut view.observer, now, task),
                Action::Recall { worker, all } => {
                    let keep = usize::from(!all);
                    let taken = self.take_back(&view.scheduler, worker, keep);
                    if view.scheduler.pipeline(worker).count() == taken + 1 {
                        self.divide(view, worker);
                    }
                    view.scheduler.recalled(now, worker, taken);
                }
                Action::Ask(worker) => {
                    // No item of a chunk that is asked begins any more, so they must not count as its own.
                    self.divide(view, worker);
                    let cooperative = self.ask(&view.scheduler, worker);
                    view.scheduler.asked(now, worker, cooperative);
                }
                Action::Withdraw(task) => self.withdraw(task),
                Action::Fail(task, failure) => self.fail(&mut view.observer, task, failure),
                Action::Stop(worker, _) => {
                    view.observer.worker_stopped(now, worker);
                    self.order(worker, Order::Stop);
                }
                Action::Terminate(worker) => self.order(worker, Order::Terminate),
                Action::Kill(worker, reason) => self.order(worker, Order::Kill(why(reason))),
                Action::Warm => self.warming.drain(..).for_each(|waiter| {
                    let _ = waiter.send(()); // or it has gone
                }),
                Action::Refuse(refusal) => self.refuse(&mut view.observer, refusal),
                Action::Close => self.close(&view.scheduler),
            }
        }
    }

    fn start(&mut self, worker: WorkerId) {
        let (orders, receiver) = mpsc::unbounded_channel();
        self.workers.insert(worker, Worker { orders, outlet: None, claims: None });
        let uplink = Uplink {
            worker,
            listener: Arc::clone(&self.listener),
            reports: self.reports.clone(),
            clock: self.commons.clock,
            arena: Arc::clone(&self.commons.arena),
        };
        // Whoever has the helm may be no task of the runtime.
        let (start, launch) = (Arc::clone(&self.start), Arc::clone(&self.launch));
        self.runtime.spawn(link::run(start, launch, receiver, uplink));
    }

    fn send(&mut self, observer: &mut Observer, worker: WorkerId, task: TaskId, attempt: u32) {
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
        let arguments = entry.cell().send(worker, attempt, claim);
        if let (Some(arguments), Some(outlet)) = (arguments, &link.outlet) {
            match entry.put(outlet, attempt, slot, arguments) {
                Ok(()) if self.unwritten.last() == Some(&worker) => {}
                Ok(()) => self.unwritten.push(worker),
                // Not reached: the header is small and the arguments were measured.
                Err(error) => log::error!("{}: {task} cannot be sent: {error}", self.commons.name),
            }
        }
    }

    fn begin(&mut self, observer: &mut Observer, now: Time, task: TaskId) {
        let Some(entry) = self.ledger.get(task) else { return };
        let first = entry.cell().give_up_place();
        self.places += usize::from(first);
        observer.task_started(now, entry.cell(), first);
    }

    /// Has all written that the last events led to.
    fn flush(&mut self, scheduler: &Scheduler) {
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

    /// Has shared memory given back that was not needed lately. There is no timer for that: a pool that has
    /// nothing to do does nothing.
    fn trim(&mut self, now: Time) {
        self.next_trim = now + TRIM_PERIOD;
        if self.commons.arena.trim() {
            let ready = self.workers.iter().filter(|(_, worker)| worker.outlet.is_some());
            ready.for_each(|(id, _)| self.order(*id, Order::Trim));
        }
    }

    fn order(&self, worker: WorkerId, order: Order) {
        if let Some(worker) = self.workers.get(&worker) {
            let _ = worker.orders.send(order); // or its end is on the way
        }
    }

    fn withdraw(&mut self, task: TaskId) {
        if let Some(entry) = self.ledger.get(task) {
            entry.cell().requeue();
            release(&mut self.workers, entry);
        }
    }

    fn take(&mut self, task: TaskId) -> Option<Entry> {
        let entry = self.ledger.remove(task)?;
        release(&mut self.workers, &entry);
        self.places += usize::from(entry.cell().give_up_place());
        Some(entry)
    }

    fn deliver(
        &mut self,
        observer: &mut Observer,
        task: TaskId,
        outcome: Outcome,
        payload: Payload,
    ) {
        if let Some(entry) = self.take(task) {
            let resolution = entry.delivered(outcome, payload, self.max_payload);
            self.finish(observer, entry, resolution);
        }
    }

    fn fail(&mut self, observer: &mut Observer, task: TaskId, failure: Failure) {
        let Some(entry) = self.take(task) else { return };
        let cause = match failure {
            Failure::Died => match &self.death {
                Some(BrokenCause::WorkerDied(death)) => Cause::WorkerDied(death.clone()),
                _ => Cause::ShutDown, // not reached: only a death fails a task so
            },
            Failure::TimedOut => Cause::TimedOut(entry.cell().timeout().unwrap_or_default()),
            Failure::Expired => Cause::Expired,
            Failure::Cancelled => Cause::Cancelled,
            Failure::Broken => self.broken.clone().map_or(Cause::ShutDown, Cause::Broken),
            Failure::ShutDown => Cause::ShutDown,
        };
        let error = entry.failed(cause);
        self.finish(observer, entry, Err(error));
    }

    fn finish(&mut self, observer: &mut Observer, entry: Entry, resolution: Resolution) {
        observer.task_finished(entry.cell(), &resolution);
        self.resolved.push((entry, resolution));
    }

    fn refuse(&mut self, observer: &mut Observer, refusal: Refusal) {
        if refusal == Refusal::Broken {
            self.broken = self.death.clone().map(BrokenProcessPool);
        }
        observer.pool_refuses(self.broken.as_ref());
        self.commons.refuse(self.broken.clone().map_or(Refused::ShutDown, Refused::Broken));
        self.warming.clear(); // only now, as who wakes asks for the reason at once
    }

    fn close(&mut self, scheduler: &Scheduler) {
        let counts = scheduler.counts();
        self.report = Some(ShutdownReport {
            finished: counts.completed + counts.failed,
            cancelled: counts.cancelled,
            killed: counts.killed,
            exits: Arc::new(std::mem::take(&mut self.exits)),
        });
    }
}

impl Steered for Supervisor {
    fn turn(
        &mut self,
        commons: &Commons,
        reports: &mut Vec<(WorkerId, Report)>,
        brought: Option<(WorkerId, &mut Vec<Message>)>,
        commands: &mut Vec<Command>,
    ) -> Option<Time> {
        let next_timeout = self.handle(commons, reports, brought, commands);
        self.resolve();
        next_timeout
    }

    /// Whether the next task would begin at once.
    fn would_begin(&self) -> bool {
        self.commons.view().scheduler.would_begin()
    }

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        self.report.is_some()
    }

    /// What is to be said of the pool at its end.
    fn end(&mut self) -> Option<ShutdownReport> {
        self.report.take()
    }
}

impl Drop for Supervisor {
    /// Also when the runtime ends.
    fn drop(&mut self) {
        // The places of tasks that go with it are not given back, and nobody must wait for one.
        self.commons.refuse(Refused::ShutDown);
        self.commons.arena.close();
        let end = self.commons.view().observer.feed.close();
        drop(end);
    }
}

/// Frees the word of a task that is done with its worker.
fn release(workers: &mut BTreeMap<WorkerId, Worker>, entry: &Entry) {
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
        KillReason::Broken => Why::Text("it was killed because the pool is broken"),
    }
}
