//! What happens: commands of users, and what workers say and how they end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Supervisor;
use super::numbers::Numbers;
use crate::base::{TaskId, WorkerId, log, nanos};
use crate::error::BrokenCause;
use crate::memory::Payload;
use crate::memory::page::ClaimBoard;
use crate::parent::Outlet;
use crate::parent::message::{Claims, Ended, Message, ProgressMessage, Reply, Report};
use crate::pool::commons::Command;
use crate::pool::task::harvest::Harvest;
use crate::pool::task::ledger::Entry;
use crate::pool::watch::snapshot::View;
use crate::scheduler::view::Recallable;
use crate::scheduler::{End, Scheduler, StartFailureKind, Time, Verdict, WorkerStage};
use crate::wire::far::FarPage;
use crate::wire::message::{ChunkReplyHeader, Kind, ReplyHeader};

impl Supervisor {
    pub(super) fn on_command(&mut self, view: &mut View, now: Time, command: Command) {
        match command {
            Command::Submit(mut task, entry) => {
                entry.cell().accept(nanos(now));
                let tenant = task.wishes().tenant;
                if self.death_streaks.is_suspect(entry.cell().function(), tenant) {
                    task.suspect();
                }
                view.observer.task_queued(entry.cell());
                let is_first = task.wishes().attempt == 1;
                let withholds = |harvest: &Arc<Harvest>| harvest.withholds(task.id);
                let is_held = is_first && entry.harvest().is_some_and(withholds);
                if let Some(harvest) = entry.harvest().filter(|_| is_held) {
                    self.ripe.push(Arc::clone(harvest)); // as it may be all that it waits for
                }
                self.ledger.insert(entry);
                if is_held {
                    view.scheduler.submit_held(now, task);
                } else {
                    view.scheduler.submit(now, task);
                }
            }
            Command::Regulate(harvest) => self.regulate(view, now, &harvest),
            Command::Cancel(task) => view.scheduler.cancel(now, task),
            Command::Credit(task) => self.give_credit(task),
            Command::Decided { task, wants_retry } => {
                view.scheduler.decided(now, task, wants_retry);
            }
            Command::Abort(task) => view.scheduler.abort(now, task),
            Command::WarmUp(waiter) => {
                // A waiter that comes too late is dropped, which tells it so.
                if self.commons.closed.get().is_none() {
                    self.warming.push(waiter);
                    view.scheduler.warm_up(now);
                }
            }
            Command::Resize(max_workers) => {
                self.resize(view, |scheduler| scheduler.resize(now, max_workers));
            }
            Command::HostHas(host, workers) => {
                self.resize(view, |scheduler| scheduler.host_has(now, host, workers));
            }
            Command::Recycle(waiter, limit) => {
                // Without a worker there is nobody to wait for.
                let newest = self.workers.keys().last().copied();
                self.recycling.extend(newest.map(|id| (id, waiter)));
                view.scheduler.recycle(now, limit);
            }
            Command::ShutDown { cancel_futures, limit } => {
                view.scheduler.shut_down(now, cancel_futures, limit);
            }
            Command::HostNews => self.learn_of_hosts(view, now),
            Command::EndWorkers(force) => view.scheduler.end_workers(now, force),
            Command::Break(cause) => {
                self.death = Some(*cause);
                view.scheduler.break_pool(now);
                self.perform(view, now);
                self.death = None;
            }
        }
    }

    pub(super) fn on_report(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        report: Report,
    ) {
        match report {
            Report::Spawned { pid } => {
                let host = self.host_name(&view.scheduler, worker);
                view.observer.worker_started(now, worker, pid, host);
            }
            Report::Ready { outlet, claims, unshared } => {
                let recallable = match claims {
                    Claims::None => Recallable::Never,
                    Claims::Shared(_) => Recallable::AtOnce,
                    Claims::Numbered => Recallable::Late,
                };
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.outlet = Some(outlet);
                    match claims {
                        Claims::None => {}
                        Claims::Shared(page) => worker.claims = Some(ClaimBoard::new(page)),
                        Claims::Numbered => worker.numbers = Some(Numbers::default()),
                    }
                }
                self.has_warned = false;
                view.observer.worker_ready(now, worker);
                if let Some(reason) = unshared {
                    view.observer.worker_unshared(worker, reason);
                }
                view.scheduler.worker_ready(now, worker, recallable);
            }
            Report::Messages(mut messages) => self.on_messages(view, now, worker, &mut messages),
            Report::Answer(answer) => self.on_answer(view, now, worker, answer),
            Report::Blocked => view.scheduler.worker_blocked(worker),
            Report::Unblocked => view.scheduler.worker_unblocked(now, worker),
            Report::Ended(ended) => self.on_ended(view, now, worker, ended),
        }
    }

    pub(super) fn on_messages(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        messages: &mut Vec<Message>,
    ) {
        for message in messages.drain(..) {
            match message {
                Message::Progress(progress) => self.on_progress(view, now, worker, progress),
                Message::Emit(emitted) => self.on_emit(view, now, worker, emitted),
                Message::Reply(reply) => self.on_reply(view, now, worker, reply),
                Message::OverMemory => {
                    view.scheduler.worker_over_memory(now, worker);
                    self.perform(view, now);
                }
                Message::AskedToEnd => {
                    let worker_there = view.observer.whereabouts(worker);
                    let pool = &self.commons.name;
                    log::debug!("{pool}: {worker_there} was asked to end by somebody");
                    view.scheduler.worker_asked_to_end(now, worker);
                    self.perform(view, now);
                }
                Message::CannotOpen => self.on_cannot_open(view, now, worker),
            }
        }
    }

    /// Only the running task can report. What comes of another one is not worth a punishment.
    fn on_progress(
        &mut self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        progress: ProgressMessage,
    ) {
        self.skip_cancelled(view, now, worker, Some(progress.task));
        let running = view.scheduler.pipeline(worker).next();
        let entry = running.filter(|task| *task == progress.task);
        if let Some(entry) = entry.and_then(|task| self.ledger.get(task)) {
            self.reported.push((Arc::clone(entry.cell()), progress));
        }
    }

    /// A worker begins nothing before it is sent once more what it has, by the pipe. To the
    /// scheduler nothing has happened: it is the same worker, and the tasks have the same order.
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
            self.send(view, worker, task, attempt.unwrap_or(1));
        }
    }

    fn on_reply(&mut self, view: &mut View, now: Time, worker: WorkerId, reply: Reply) {
        let (Reply::Task { header: ReplyHeader { task, .. }, .. }
        | Reply::Chunk { header: ChunkReplyHeader { task, .. }, .. }) = reply;
        self.skip_cancelled(view, now, worker, Some(task));
        let is_chunk = self.ledger.get(task).is_some_and(|entry| entry.harvest().is_some());
        self.clear_of_suspicion(&view.scheduler, worker, task);
        match reply {
            Reply::Task { header: ReplyHeader { run_time, outcome, .. }, payload } if !is_chunk => {
                let ran = Duration::from_nanos(run_time);
                let (verdict, result) =
                    (view.scheduler.task_finished(now, worker, task, ran), (outcome, payload));
                let observer = &mut view.observer;
                if verdict != Verdict::Discard {
                    observer.task_replied(worker, run_time);
                }
                match verdict {
                    Verdict::Deliver => self.deliver(observer, task, run_time, result),
                    Verdict::Undecided => self.keep_result(observer, task, run_time, result),
                    Verdict::Discard => {}
                }
            }
            Reply::Chunk { header, entries } if is_chunk => {
                self.on_chunk_reply(view, now, worker, &header, entries);
            }
            Reply::Task { .. } | Reply::Chunk { .. } => view.scheduler.misbehaved(now, worker),
        }
        self.perform(view, now);
        if self.is_far(worker) {
            self.divide_if_stopped(view, now, worker);
            self.perform(view, now);
        }
    }

    /// The worker has passed over the tasks before `next` (over all, without one) that were
    /// cancelled in its hands. It can be that their commands have not been handled yet.
    pub(super) fn skip_cancelled(
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

    /// Another number of workers is possible after that.
    fn resize(&mut self, view: &mut View, change: impl FnOnce(&mut Scheduler)) {
        let (_, before) = view.scheduler.size();
        change(&mut view.scheduler);
        let (_, after) = view.scheduler.size();
        self.freed.resize(&self.commons.places, (before, after));
        self.commons.max_workers.store(after, Ordering::Relaxed);
    }

    fn on_ended(&mut self, view: &mut View, now: Time, worker: WorkerId, mut ended: Ended) {
        self.skip_cancelled(view, now, worker, None);
        self.learn_of_hosts(view, now); // first, whichever channel was quicker
        if let Ended::Died { death, .. } = &mut ended {
            let front = view.scheduler.pipeline(worker).next();
            let running = front.and_then(|task| self.ledger.get(task));
            if let Some(limits) = running.and_then(|entry| entry.cell().running_limits()) {
                death.in_task(limits);
            }
        }
        let seen = view.scheduler.worker(worker);
        let ended = match (ended, view.observer.processes.get(&worker), seen.map(|seen| seen.stage))
        {
            // It had to be killed, whatever it has said after that.
            (Ended::Left(_), Some(process), Some(WorkerStage::Ending { fault: true, .. })) => {
                Ended::disgraced(worker, process.pid)
            }
            (ended, ..) => ended,
        };
        let host = self.host_name(&view.scheduler, worker);
        let ended = match &host {
            Some(host) => ended.on_host(host),
            None => ended,
        };
        let process = view.observer.worker_ended(now, worker, seen, host.as_ref(), &ended);
        let end = match ended {
            Ended::Left(exit_reply) => {
                if let (Some(process), Some(reply)) = (process, exit_reply) {
                    self.exits.push(worker, process.pid, reply, self.max_payload);
                }
                End::Left
            }
            Ended::Died { death, is_heard, page } => {
                self.death = Some(BrokenCause::WorkerDied(death));
                self.divide_last(view, now, worker, (is_heard, page.as_deref()));
                self.finish_done(view, now, worker);
                let taken = self.lose_running(view, now, worker, page.as_deref());
                self.blame_function(&view.scheduler, worker, taken);
                End::Died { taken }
            }
            Ended::HostLost(loss) => {
                self.death = Some(BrokenCause::HostLost(loss));
                // What it has said last may not have come.
                self.divide_last(view, now, worker, (false, None));
                self.finish_done(view, now, worker);
                End::HostLost { taken: self.lose_running(view, now, worker, None) }
            }
            Ended::NotStarted(error) => {
                let failure = match &error {
                    error if error.is_of_host() => StartFailureKind::Unreachable,
                    error if error.is_fatal() => StartFailureKind::Fatal,
                    error if error.is_initialization() => StartFailureKind::Initializer,
                    error if error.is_killing() => StartFailureKind::Killed,
                    error if error.is_accident() => StartFailureKind::Accident,
                    _ => StartFailureKind::Crashed,
                };
                self.death = Some(BrokenCause::Start(error));
                End::StartFailed(failure)
            }
        };
        view.scheduler.worker_ended(now, worker, end);
        self.perform(view, now);
        if seen.is_some_and(|seen| !matches!(seen.stage, WorkerStage::Stopping { .. })) {
            self.warn_of_failed_start(worker);
        }
        self.workers.remove(&worker);
        let oldest = self.workers.keys().next().copied();
        self.recycling.retain(|(newest, _)| oldest.is_some_and(|oldest| oldest <= *newest));
        self.death = None;
    }

    /// What the host of a worker is called, if the pool was built with hosts.
    fn host_name(&self, scheduler: &Scheduler, worker: WorkerId) -> Option<Arc<str>> {
        let host = scheduler.worker(worker)?.host;
        self.sites.get(host.position())?.launch.host.clone()
    }

    /// How long the running task of a worker has run.
    pub(super) fn ran(scheduler: &Scheduler, now: Time, worker: WorkerId) -> Duration {
        let since = scheduler.worker(worker).and_then(|seen| seen.running_since);
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// A worker has ended. Takes back what it has not begun, and says how much that is. What ran is
    /// counted as lost. One on another host has left that `page`.
    fn lose_running(
        &self,
        view: &mut View,
        now: Time,
        worker: WorkerId,
        page: Option<&FarPage>,
    ) -> usize {
        let taken = match page {
            Some(page) => self.count_unbegun(&view.scheduler, worker, page),
            None => self.take_back(&view.scheduler, worker, 0),
        };
        if let Some(front) = self.front_entry(&view.scheduler, worker, taken) {
            let ran = Self::ran(&view.scheduler, now, worker);
            view.observer.task_lost(front.cell().function(), ran);
        }
        taken
    }

    /// The task that runs in a worker, of whose tasks the last `taken` have not begun.
    fn front_entry(&self, scheduler: &Scheduler, worker: WorkerId, taken: usize) -> Option<&Entry> {
        let front = scheduler.pipeline(worker).rev().skip(taken).last();
        front.and_then(|task| self.ledger.get(task))
    }

    /// A worker has died, and the last `taken` of its tasks had not begun. Of a map only one item
    /// of many is to blame.
    fn blame_function(&mut self, scheduler: &Scheduler, worker: WorkerId, taken: usize) {
        let entry = self.front_entry(scheduler, worker, taken);
        if let Some(entry) = entry.filter(|entry| entry.harvest().is_none()) {
            let (function, tenant) = (entry.cell().function(), scheduler.tenant_of_running(worker));
            self.death_streaks.died(function, tenant);
        }
    }

    /// A worker sends a result of its running task, so that has not killed it.
    fn clear_of_suspicion(&mut self, scheduler: &Scheduler, worker: WorkerId, task: TaskId) {
        if self.death_streaks.is_empty() || scheduler.pipeline(worker).next() != Some(task) {
            return;
        }
        if let Some(entry) = self.ledger.get(task) {
            let (function, tenant) = (entry.cell().function(), scheduler.tenant_of_running(worker));
            self.death_streaks.survived(function, tenant);
        }
    }

    /// Says once that a start has failed and is tried again, until one succeeds.
    fn warn_of_failed_start(&mut self, worker: WorkerId) {
        if let Some(BrokenCause::Start(error)) = &self.death
            && self.broken.is_none()
            && !std::mem::replace(&mut self.has_warned, true)
        {
            log::warning!("{}: {worker} was not started: {error}", self.commons.name);
        }
    }
}
