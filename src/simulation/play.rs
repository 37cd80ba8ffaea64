//! Plays a history: makes one decision happen after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::base::{HostId, WorkerId};
use crate::executor::ProcessPoolExecutor;
use crate::parent::birth::HostSite;
use crate::parent::message::HostListener;
use crate::parent::{Launch, WorkerOutput};
use crate::pool::{Engine, Shutdown};
use crate::scheduler::{Force, WorkerStage};
use crate::testing::{Check, Operation, ensure};

use super::gate::Gate;
use super::history::{Birth, Deed, Event, History};
use super::lie::Lie;
use super::map::MapTicket;
use super::process::{Births, Process};
use super::record::{Record, Trace};
use super::user::{Office, Ticket, Waiter};
use super::worker::{Manners, Say, Stage, Worker};
use super::{clock, runs};

/// More alarms at one moment are too many.
const ALARMS: usize = 50;

#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub(super) struct Play<'a> {
    pub(super) history: &'a History,
    pub(super) pool: Option<ProcessPoolExecutor>,
    pub(super) engine: Arc<Engine>,
    pub(super) driver: JoinHandle<()>,
    gate: Gate,
    /// At which event it is opened again.
    opens: usize,
    pub(super) births: Births,
    /// Those that were no processes.
    pub(super) failed_births: u64,
    /// So many hosts were lost.
    pub(super) losses: usize,
    pub(super) workers: Vec<Worker>,
    pub(super) record: Record,
    pub(super) office: Office,
    pub(super) tickets: Vec<Ticket>,
    pub(super) maps: Vec<MapTicket>,
    pub(super) waiters: Vec<Waiter>,
    /// Who only waits until the pool is over, by itself or broken.
    pub(super) end: Waiter,
    pub(super) was_abandoned: bool,
    /// Tasks that wait may have been cancelled by the pool.
    pub(super) was_cut_short: bool,
    /// Workers had to be replaced within a time.
    pub(super) was_hurried: bool,
    /// It had ended before it was shut down at the end of the history.
    pub(super) had_ended: bool,
}

impl<'a> Play<'a> {
    /// To be called in a runtime.
    pub(super) fn open(history: &'a History, trace: Trace) -> Self {
        let (config, births) = (history.config.clone(), Births::default());
        let mut builder = ProcessPoolExecutor::builder()
            .name("simulated")
            .queue_capacity(history.queue_capacity)
            .queue_bytes(history.queue_bytes)
            .worker_output(WorkerOutput::Null)
            .start_timeout(config.start_timeout)
            .shared_memory(0);
        if let Some(tasks) = config.max_tasks {
            builder = builder.max_tasks_per_child(tasks);
        }
        let (runtime, all, count) = (Handle::current(), births.clone(), config.hosts.len());
        let sites = move |launch: &Arc<Launch>, _: &Arc<_>| {
            let site = |n| {
                let host = Some(format!("host {n}").into());
                let launch = Launch { host, is_far: true, ..Launch::clone(launch) };
                HostSite { start: Arc::new(all.on(HostId(n))), launch: Arc::new(launch) }
            };
            (0..u32::try_from(count).unwrap()).map(site).collect()
        };
        let settings = builder.into_settings();
        let (pool, work) = settings.open(config, &runtime, clock::SIMULATED, sites).unwrap();
        let pool = ProcessPoolExecutor::of(pool);
        let end = pool.closed();
        let end = Waiter::new("the end of the pool", Box::pin(async { drop(end.await) }));
        let gate = Gate::default();
        Self {
            history,
            engine: Arc::clone(&pool.pool().engine),
            pool: Some(pool),
            driver: runtime.spawn(gate.clone().guard(work)),
            gate,
            opens: 0,
            births,
            failed_births: 0,
            losses: 0,
            workers: Vec::new(),
            record: Record::new(trace),
            office: Office::default(),
            tickets: Vec::new(),
            maps: Vec::new(),
            waiters: Vec::new(),
            end,
            was_abandoned: false,
            was_cut_short: false,
            was_hurried: false,
            had_ended: false,
        }
    }

    pub(super) fn close(self) -> Record {
        self.record
    }

    pub(super) async fn run(&mut self) -> Check {
        for (n, step) in self.history.steps.iter().enumerate() {
            self.record.event = n + 1;
            if n >= self.opens {
                self.gate.open();
            }
            let at = |broken| format!("event {n}: {broken}");
            self.event(step.event).await.map_err(at)?;
            for _ in 0..step.turns {
                self.turn().await.map_err(at)?;
            }
        }
        self.record.event += 1;
        self.gate.open();
        clock::ring();
        self.end().await
    }

    /// The runtime does what can be done, and so do the users.
    pub(super) async fn turn(&mut self) -> Result<bool, String> {
        tokio::task::yield_now().await;
        let mut is_busy = false;
        for ticket in &mut self.tickets {
            if ticket.poll_if_woken(&self.office) {
                is_busy = true;
                if let Some(outcome) = &ticket.outcome {
                    let number = ticket.number;
                    self.record.trace.note(format_args!("call {number} is over: {outcome:?}"));
                }
            }
        }
        for waiter in self.waiters.iter_mut().chain([&mut self.end]) {
            is_busy |= waiter.poll_if_woken();
        }
        for worker in &mut self.workers {
            worker.get_ready(&mut self.record);
        }
        if self.engine.commons.view().scheduler.holds_some() {
            self.record.see("a chunk that is held back");
        }
        let children = self.office.take_children();
        is_busy |= !children.is_empty();
        self.tickets.extend(children);
        Ok(is_busy)
    }

    async fn event(&mut self, event: Event) -> Check {
        self.record.trace.note(format_args!("{:?}: {event:?}", clock::passed()));
        match event {
            Event::Submit(submission) => {
                let ticket = self.pool.as_ref();
                let ticket = ticket.map(|pool| Ticket::new(pool, submission, &self.office));
                let repeats = ticket.iter().filter(|ticket| ticket.submission.is_conditional());
                self.record.repeats.extend(repeats.map(|ticket| ticket.number));
                self.tickets.extend(ticket);
            }
            Event::Map(shape) => {
                if let Some(pool) = &self.pool {
                    let first = self.office.numbers(shape.count);
                    self.record.add_map(first, shape.count);
                    if shape.retries > 0 {
                        self.record.repeats.extend(first..first + shape.count);
                    }
                    self.maps.push(MapTicket::new(pool, shape, first));
                }
            }
            Event::Cancel { ticket } => return self.cancel(ticket),
            Event::Abort { ticket } => self.ticket(ticket).into_iter().for_each(Ticket::abort),
            Event::Forget { ticket } => self.ticket(ticket).into_iter().for_each(Ticket::forget),
            Event::Pull { map, items } => {
                self.map(map).map_or(Ok(false), |map| map.pull(items))?;
            }
            Event::ForgetMap { map } => self.map(map).into_iter().for_each(MapTicket::forget),
            Event::Operation(operation) => self.operate(operation),
            Event::Birth { n, birth, count } => {
                (0..count).try_for_each(|_| self.give_birth(n, birth))?;
            }
            Event::Worker { n, deed } => return self.work(n, deed),
            Event::LoseHost { n, safe_in } => self.lose_host(n, safe_in),
            Event::Wait(time) => return self.wait(time).await,
            Event::Oversleep(time) => clock::pass(time),
            Event::Abandon => {
                self.was_abandoned = true;
                self.driver.abort();
            }
            Event::Doze { events } => {
                self.gate.close();
                self.opens = self.record.event + events;
            }
            Event::DropPool => self.pool = None,
        }
        Ok(())
    }

    /// What whoever runs the service does.
    fn operate(&mut self, operation: Operation) {
        let Some(pool) = self.pool.clone() else { return };
        let (what, end): (_, futures::future::BoxFuture<'static, ()>) = match operation {
            Operation::WarmUp => ("readiness", Box::pin(async move { drop(pool.ready().await) })),
            Operation::Resize { max_workers } => return pool.resize(max_workers).unwrap(),
            Operation::Recycle { limit: None } => ("new workers", Box::pin(pool.recycle())),
            Operation::Recycle { limit: Some(limit) } => {
                self.was_hurried = true;
                ("new workers in time", Box::pin(pool.recycle_within(limit)))
            }
            Operation::ShutDown { cancel, limit } => {
                self.was_cut_short |= cancel || limit.is_some();
                let mut how = Shutdown::new().cancel_futures(cancel);
                if let Some(limit) = limit {
                    how = how.within(limit);
                }
                let end = pool.shutdown_with(how);
                ("a shutdown", Box::pin(async move { drop(end.await) }))
            }
            Operation::EndWorkers(force) => {
                self.was_cut_short = true;
                let end = match force {
                    Force::Terminate => pool.terminate_workers(),
                    Force::Kill => pool.kill_workers(),
                };
                ("the end of all workers", Box::pin(async move { drop(end.await) }))
            }
            Operation::Break => {
                self.was_cut_short = true;
                let end = pool.abort("it was to be");
                ("the end of a broken pool", Box::pin(async move { drop(end.await) }))
            }
        };
        self.waiters.push(Waiter::new(what, end));
    }

    fn ticket(&mut self, n: usize) -> Option<&mut Ticket> {
        let count = self.tickets.len();
        (count > 0).then(|| &mut self.tickets[n % count])
    }

    fn map(&mut self, n: usize) -> Option<&mut MapTicket> {
        let count = self.maps.len();
        (count > 0).then(|| &mut self.maps[n % count])
    }

    fn cancel(&mut self, n: usize) -> Check {
        let event = self.record.event;
        let Some(ticket) = self.ticket(n) else { return Ok(()) };
        let (number, was_running) = (ticket.number, ticket.is_running());
        let answer = ticket.cancel(event);
        ensure!(!(was_running && answer == Some(true)), "call {number} runs and is cancelled");
        self.record.trace.note(format_args!("call {number} is cancelled: {answer:?}"));
        Ok(())
    }

    // ----- workers -----

    pub(super) fn give_birth(&mut self, n: usize, birth: Birth) -> Check {
        let Some(newborn) = self.births.take(n) else { return Ok(()) };
        let (id, host) = (newborn.worker, newborn.host);
        if let Some(first) = self.workers.iter().rfind(|worker| worker.id == id) {
            first.check_second_start(&newborn)?;
            self.record.see("a worker that is started once more");
        }
        match birth {
            Birth::Fails(kind) => {
                self.failed_births += 1;
                Process::fail_to_start(newborn, kind);
            }
            Birth::Up { is_narrow, paging, is_stubborn, is_quick, looks, no_page } => {
                let process = Process::start(newborn, is_narrow, paging).unwrap();
                let manners = Manners { is_stubborn, is_quick, no_page, looks };
                self.workers.push(Worker::new((id, host), process, manners));
            }
        }
        self.record.trace.note(format_args!("{id} is born"));
        Ok(())
    }

    /// Whoever has the connection says so first; then the links hear of nobody there any more.
    fn lose_host(&mut self, n: usize, safe_in: Duration) {
        let host = HostId(u32::try_from(n % self.history.config.hosts.len()).unwrap());
        self.losses += 1;
        self.record.see("a host that is lost");
        self.engine.host_lost(host, safe_in);
        let until = clock::passed() + safe_in;
        let there = |worker: &&mut Worker| worker.host == host && worker.is_alive();
        for worker in self.workers.iter_mut().filter(there) {
            worker.lose(until, &mut self.record);
        }
        for birth in self.births.take_all(host) {
            self.failed_births += 1;
            Process::cannot_be_reached(birth);
        }
    }

    /// Whether its pool waits for a worker to be ready.
    fn awaits(&self, id: WorkerId) -> bool {
        let view = self.engine.commons.view();
        let stage = view.scheduler.worker(id).map(|worker| worker.stage);
        !self.driver.is_finished() && matches!(stage, Some(WorkerStage::Starting { .. }))
    }

    fn work(&mut self, n: usize, deed: Deed) -> Check {
        let alive = (0..self.workers.len()).filter(|n| self.workers[*n].is_alive());
        let alive: Vec<_> = alive.collect();
        let Some(n) = (!alive.is_empty()).then(|| alive[n % alive.len()]) else { return Ok(()) };
        self.workers[n].is_awaited = self.awaits(self.workers[n].id);
        let (worker, record) = (&mut self.workers[n], &mut self.record);
        match deed {
            Deed::Greet { no_page } => {
                worker.read(1 << 16);
                worker.greet(no_page, Vec::new());
            }
            Deed::Differ => worker.greet(Some(0), vec!["it has another function".to_owned()]),
            Deed::Ready => worker.ready(record),
            Deed::Read { most } => drop(worker.read(most)),
            Deed::Work { steps, result, say, reads } => {
                if reads {
                    worker.read(1 << 16);
                }
                for _ in 0..steps {
                    if worker.is_alive() {
                        worker.step(result, say, record)?;
                    }
                }
            }
            Deed::Flush => worker.write_all(record),
            Deed::Half { bytes } => {
                if !worker.pen.is_empty() {
                    worker.pen.write(&worker.process, Some(bytes), record);
                }
            }
            Deed::Die { raw_status } => worker.exit(raw_status, record),
            Deed::DieWriting { result, bytes, raw_status } => {
                worker.step(result, Say::Keep, record)?;
                if !worker.pen.is_empty() {
                    worker.pen.show(record);
                    worker.pen.write(&worker.process, Some(bytes), record);
                }
                if worker.is_alive() {
                    worker.exit(raw_status, record);
                }
            }
            Deed::CloseOutput => {
                record.liars.insert(worker.id); // it cannot be heard, and is ended for that
                worker.process.close_output();
            }
            Deed::Look => {
                let is_asked = worker.look(record);
                record.trace.note(format_args!("{} is asked: {is_asked}", worker.id));
            }
            Deed::Reply => {
                let has_replied = worker.process.fate.reply();
                record
                    .trace
                    .note(format_args!("the agent of {} replies: {has_replied}", worker.id));
                if has_replied {
                    record.see("an answer of an agent");
                }
            }
            Deed::Report => worker.report_progress(record),
            Deed::Bloat => worker.bloat(record),
            Deed::IsAskedToEnd => worker.be_asked_to_end(record),
            Deed::Lie(lie) => {
                worker.lie(lie, record);
                record.is_blurred |= !matches!(lie, Lie::Progress);
            }
        }
        Ok(())
    }

    /// The worker does the next thing it should; false if there is none.
    pub(super) fn tend(&mut self, n: usize, result: runs::Result) -> Result<bool, String> {
        self.workers[n].is_awaited = self.awaits(self.workers[n].id);
        let (worker, record) = (&mut self.workers[n], &mut self.record);
        let fate = &worker.process.fate;
        if fate.is_killed() {
            worker.exit(9, record);
        } else if fate.is_terminated() && !worker.manners.is_stubborn {
            worker.exit(15, record);
        } else if worker.is_liar || worker.process.is_mute() {
            worker.exit(1 << 8, record);
        } else {
            let has_replied = worker.process.fate.reply();
            let has_read = worker.read(1 << 16) || has_replied;
            match worker.stage {
                _ if worker.pen.is_writing() => worker.write_all(record),
                Stage::Started => {
                    worker.greet(worker.manners.no_page, Vec::new());
                    return Ok(has_read || worker.stage != Stage::Started);
                }
                Stage::Initializing => worker.ready(record),
                Stage::Serving if worker.is_idle() || worker.waits_for_reader() => {
                    return Ok(has_read);
                }
                Stage::Serving => worker.step(result, Say::Write, record)?,
            }
        }
        Ok(true)
    }

    // ----- the clock -----

    async fn wait(&mut self, time: Duration) -> Check {
        if self.record.event <= self.opens {
            clock::pass(time); // nobody hears an alarm
            return Ok(());
        }
        let mut left = time;
        let mut alarms = 0;
        while let Some(next) = clock::next_alarm().filter(|next| *next <= left) {
            alarms = if next.is_zero() { alarms + 1 } else { 0 };
            ensure!(alarms <= ALARMS, "the alarm does not stop");
            clock::pass(next);
            left -= next;
            clock::ring();
            self.turn().await?;
            self.turn().await?;
        }
        clock::pass(left);
        Ok(())
    }
}
