//! What owns the workers. It decides nothing: it picks an event, hands it to the scheduler, and
//! performs all actions before it picks the next. Who has it do so is up to the
//! [helm](crate::pool::helm).

mod actions;
mod chunks;
mod emitted;
mod events;
mod far;
mod hosts;
#[cfg(test)]
mod leftovers;
mod numbers;
mod retries;
mod suspects;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use self::numbers::Numbers;
use self::suspects::DeathStreaks;
use crate::base::maps::{SortedMap, TaskMap};
use crate::base::{TaskId, WorkerId};
use crate::error::{BrokenCause, BrokenProcessPool, Cause};
use crate::memory::page::ClaimBoard;
use crate::parent::Outlet;
use crate::parent::birth::HostSite;
use crate::parent::message::{Listener, Message, Order, ProgressMessage, Report};
use crate::pool::commons::{Command, Commons};
use crate::pool::exits::{ExitHook, Exits};
use crate::pool::helm::Steered;
use crate::pool::places::FreedPlaces;
use crate::pool::shutdown::{CloseReason, ShutdownReport};
use crate::pool::task::cell::{Resolution, TaskCell};
use crate::pool::task::harvest::Harvest;
use crate::pool::task::ledger::{Entry, Ledger};
use crate::pool::watch::events::News;
use crate::scheduler::Time;

/// How the supervisor reaches a worker.
struct WorkerChannel {
    orders: mpsc::UnboundedSender<Order>,
    /// Set once it is ready.
    outlet: Option<Outlet>,
    claims: Option<ClaimBoard>,
    /// In place of claims, if it is on another host.
    numbers: Option<Numbers>,
}

/// A task that is over, and what becomes of it once the view is unlocked: waking is quick, but
/// callbacks are user code and may look at the view themselves.
type Resolved = (Entry, Resolution);

pub(crate) struct Supervisor {
    commons: Arc<Commons>,
    /// Who may hear what a worker says; it is what this belongs to.
    listener: Arc<dyn Listener>,
    runtime: Handle,
    /// Where the processes of workers come into being, by host.
    sites: Vec<HostSite>,
    max_payload: usize,
    ledger: Ledger,
    workers: SortedMap<WorkerId, WorkerChannel>,
    /// Tasks that have reported, with readers that are woken as those of `resolved`, and before
    /// them.
    reported: Vec<(Arc<TaskCell>, ProgressMessage)>,
    resolved: Vec<Resolved>,
    /// What has come of tasks that may be begun again, until that is decided.
    undecided: TaskMap<Resolution>,
    /// Those of them whose users have not been asked.
    questions: Vec<TaskId>,
    /// Who waits for tasks that are about to begin, or for what they emit.
    wakers: Vec<Waker>,
    /// What is told before them.
    news: News,
    /// Maps whose streams have results to look at.
    ripe: Vec<Arc<Harvest>>,
    /// Places for tasks that are to be given back.
    freed: FreedPlaces,
    /// Workers into whose outlets something was put; one may be named again.
    unwritten: Vec<WorkerId>,
    /// Who waits for a worker.
    warming: Vec<oneshot::Sender<()>>,
    /// Who waits for workers to be replaced, and for the end of which one and all before it.
    recycling: Vec<(WorkerId, oneshot::Sender<()>)>,
    /// The end of a worker that is being dealt with.
    death: Option<BrokenCause>,
    death_streaks: DeathStreaks,
    /// It has been said that starts fail.
    has_warned: bool,
    /// Set once the pool is broken.
    broken: Option<BrokenProcessPool>,
    /// It has just broken, which is still to be told.
    is_over: bool,
    reports: mpsc::Sender<(WorkerId, Report)>,
    /// What workers said when they left.
    exits: Exits,
    /// When it is next asked what shared memory is not needed.
    next_trim: Time,
    /// Set once nothing is left to do.
    report: Option<ShutdownReport>,
}

/// Shared memory that was not used for so long is given back. To make ten megabytes anew takes some
/// milliseconds, so this costs little even if they are needed just then.
const TRIM_PERIOD: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(crate) fn new(
        commons: Arc<Commons>,
        listener: Arc<dyn Listener>,
        sites: Vec<HostSite>,
        hook: Option<Arc<ExitHook>>,
        runtime: Handle,
        reports: mpsc::Sender<(WorkerId, Report)>,
    ) -> Self {
        Self {
            commons,
            listener,
            runtime,
            exits: Exits::new(hook),
            max_payload: sites.first().map_or(0, |site| site.launch.max_payload),
            sites,
            ledger: Ledger::default(),
            workers: SortedMap::new(),
            reported: Vec::new(),
            resolved: Vec::new(),
            undecided: TaskMap::default(),
            questions: Vec::new(),
            wakers: Vec::new(),
            news: News::default(),
            ripe: Vec::new(),
            freed: FreedPlaces::default(),
            unwritten: Vec::new(),
            warming: Vec::new(),
            recycling: Vec::new(),
            death: None,
            death_streaks: DeathStreaks::default(),
            has_warned: false,
            broken: None,
            is_over: false,
            reports,
            next_trim: TRIM_PERIOD,
            report: None,
        }
    }

    /// Brings up the first workers, if they are wanted without a task; returns when the scheduler
    /// wants to be called.
    pub(crate) fn open(&mut self) -> Option<Time> {
        let commons = Arc::clone(&self.commons);
        let view = &mut *commons.view();
        let now = commons.now();
        view.scheduler.open(now);
        self.perform(view, now);
        view.scheduler.next_timeout()
    }

    /// Why the pool accepts no more.
    fn close_reason(&self) -> CloseReason {
        let broken = self.broken.clone().map(CloseReason::Broken);
        broken.or_else(|| self.commons.closed.get().cloned()).unwrap_or(CloseReason::ShutDown)
    }

    /// Tells those who look on and those who wait for tasks.
    fn resolve(&mut self) {
        // Each is looked at first: to drain nothing is a call of its own, and most turns have
        // little to tell.
        if !self.reported.is_empty() {
            for (cell, ProgressMessage { done, total, text, .. }) in self.reported.drain(..) {
                cell.report_progress(done, total, text);
            }
        }
        std::mem::take(&mut self.news).send();
        if !self.wakers.is_empty() {
            self.wakers.drain(..).for_each(Waker::wake);
        }
        if !self.resolved.is_empty() {
            for (entry, resolution) in self.resolved.drain(..) {
                entry.cell().resolve(resolution);
            }
        }
        if !self.ripe.is_empty() {
            self.ripe.drain(..).for_each(|harvest| harvest.wake());
        }
        if !self.questions.is_empty() {
            self.ask_users();
        }
        if std::mem::take(&mut self.is_over) {
            self.commons.end(self.close_reason());
        }
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
        let mut guard = commons.view();
        let view = &mut *guard;
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
        self.news = view.observer.feed.take_news();
        drop(guard); // whoever is told may look at the pool
        self.freed.give_back(&commons.places);
        self.resolve();
        next_timeout
    }

    fn would_begin(&self) -> bool {
        self.commons.view().scheduler.would_begin()
    }

    fn is_over(&self) -> bool {
        self.report.is_some()
    }

    fn end(&mut self) -> Option<ShutdownReport> {
        self.report.take()
    }

    fn abandon(&mut self) {
        // The places of tasks that go with it are not given back, and nobody must wait for one.
        self.commons.close(CloseReason::RuntimeGone);
        let left: Vec<_> = self.ledger.take_all().collect();
        self.commons.view().abandon(&left);
        for entry in left {
            entry.give_up(Cause::RuntimeGone);
        }
    }

    fn refuse(&mut self, command: Command) {
        if let Command::Submit(_, entry) = command {
            entry.give_up(Cause::RuntimeGone);
        }
    }
}

impl Drop for Supervisor {
    /// Also when the runtime ends, and after a panic.
    fn drop(&mut self) {
        self.commons.close(CloseReason::ShutDown);
        self.commons.arena.close();
        let end = self.commons.view().observer.feed.close();
        drop(end);
        drop(std::mem::take(&mut self.ledger)); // resolves what is in it, before it is said to be
        self.commons.end(self.close_reason());
    }
}
