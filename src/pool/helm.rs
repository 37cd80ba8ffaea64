//! Who handles the events of a pool: the supervisor's task, or somebody in its place.
//!
//! The supervisor is a state that one at a time can have in hand. Its task takes it for all that
//! comes through channels, and when the time is up. Two others take it if it is free, because for
//! them each switch to that task and back would be a good part of a round trip: a caller who waits
//! for a task that an idle worker can begin at once, and the link whose worker has answered.
//!
//! Nobody waits for the helm. Whoever finds it taken sends the event through a channel, and the
//! task, if it is the one, is woken when the helm is free. Whoever has taken it
//!
//! * handles what came through the channels before, so events have the same order as if the task
//!   did it all;
//! * keeps it until those who wait are woken and callbacks have run, so these have that order, too.
//!   A callback that uses the pool finds the helm taken.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::task::AtomicWaker;
use tokio::sync::mpsc;

use crate::base::{Clock, Sleep, WorkerId};
use crate::parent::message::{Message, Report};
use crate::pool::commons::{Command, Commons};
use crate::pool::shutdown::ShutdownReport;
use crate::scheduler::Time;

/// The most events that are handled before those who wait are woken.
pub(crate) const BATCH: usize = 256;

/// What is steered: the supervisor.
pub(crate) trait Steered {
    /// Handles a batch of events, with what a link has brought itself, and tells those who wait;
    /// returns when it wants to be called again.
    fn turn(
        &mut self,
        commons: &Commons,
        reports: &mut Vec<(WorkerId, Report)>,
        brought: Option<(WorkerId, &mut Vec<Message>)>,
        commands: &mut Vec<Command>,
    ) -> Option<Time>;

    /// Whether the next task would begin at once.
    fn would_begin(&self) -> bool;

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool;

    /// What is to be said of the pool at its end.
    fn end(&mut self) -> Option<ShutdownReport>;

    /// Its runtime has ended, and it will be dropped: tells the tasks that it has.
    fn abandon(&mut self);

    /// What has not reached it before.
    fn refuse(&mut self, command: Command);
}

/// See the [module](self).
pub(crate) struct Helm<S: Steered> {
    /// Never waited for. Empty before the pool begins and after its end.
    state: Mutex<Option<Box<HelmState<S>>>>,
    task: AtomicWaker,
    /// The task was here and found it taken.
    missed: AtomicBool,
    /// The task has gone, and nobody is to go on without it.
    abandoned: AtomicBool,
}

/// What whoever has the helm needs.
struct HelmState<S: Steered> {
    supervisor: S,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::Receiver<(WorkerId, Report)>,
    new_commands: Vec<Command>,
    new_reports: Vec<(WorkerId, Report)>,
    /// When the scheduler wants to be called, and when the task will be there for that.
    next_timeout: Option<Time>,
    alarm: Option<Time>,
}

impl<S: Steered> HelmState<S> {
    /// Takes what the channels have, for somebody who is not to be woken by them.
    fn receive(&mut self) {
        while self.new_reports.len() < BATCH
            && !self.reports.is_empty()
            && let Ok(report) = self.reports.try_recv()
        {
            self.new_reports.push(report);
        }
        while self.new_commands.len() < BATCH
            && !self.commands.is_empty()
            && let Ok(command) = self.commands.try_recv()
        {
            self.new_commands.push(command);
        }
    }

    /// As [`Self::receive`], for the task; whether there was anything.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        // All sources are looked at each time, so none can starve another.
        let reports = self.reports.poll_recv_many(cx, &mut self.new_reports, BATCH);
        let commands = self.commands.poll_recv_many(cx, &mut self.new_commands, BATCH);
        reports.is_ready() || commands.is_ready()
    }

    /// Handles what was received and what a link has brought itself.
    fn turn(&mut self, commons: &Commons, brought: Option<(WorkerId, &mut Vec<Message>)>) {
        let (reports, commands) = (&mut self.new_reports, &mut self.new_commands);
        self.next_timeout = self.supervisor.turn(commons, reports, brought, commands);
    }

    /// The task has gone, and with it the runtime.
    fn abandon(&mut self) {
        self.supervisor.abandon(); // so that what cannot be sent from now on is told the reason
        self.commands.close();
        self.new_commands.drain(..).for_each(|command| self.supervisor.refuse(command));
        while let Ok(command) = self.commands.try_recv() {
            self.supervisor.refuse(command);
        }
    }

    /// Whether the task has something to do that it does not know of.
    fn needs_task(&self) -> bool {
        let is_earlier = |at| self.alarm.is_none_or(|alarm| at < alarm);
        self.supervisor.is_over() || self.next_timeout.is_some_and(is_earlier)
    }
}

/// The helm, in the hands of somebody.
struct Taken<'a, S: Steered> {
    helm: &'a Helm<S>,
    /// Set until it is dropped.
    state: Option<MutexGuard<'a, Option<Box<HelmState<S>>>>>,
    wakes_task: bool,
}

impl<S: Steered> Taken<'_, S> {
    fn state(&mut self) -> Option<&mut HelmState<S>> {
        self.state.as_mut()?.as_deref_mut()
    }

    fn take_out(&mut self) -> Option<Box<HelmState<S>>> {
        self.state.as_mut()?.take()
    }
}

impl<S: Steered> Drop for Taken<'_, S> {
    fn drop(&mut self) {
        drop(self.state.take());
        // Whoever says so from now on finds the helm free; see `Helm::take_or_say_so`.
        fence(Ordering::SeqCst);
        if self.helm.state.is_poisoned() || self.helm.abandoned.load(Ordering::SeqCst) {
            self.helm.discard();
        }
        if self.helm.missed.swap(false, Ordering::SeqCst) || self.wakes_task {
            self.helm.task.wake();
        }
    }
}

impl<S: Steered> Default for Helm<S> {
    fn default() -> Self {
        Self {
            state: Mutex::new(None),
            task: AtomicWaker::new(),
            missed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
        }
    }
}

impl<S: Steered> Helm<S> {
    /// Begins; from now on it has to be [driven](Self::poll) by a task.
    pub(crate) fn begin(
        &self,
        supervisor: S,
        next_timeout: Option<Time>,
        commands: mpsc::UnboundedReceiver<Command>,
        reports: mpsc::Receiver<(WorkerId, Report)>,
    ) {
        let state = HelmState {
            supervisor,
            commands,
            reports,
            new_commands: Vec::with_capacity(BATCH),
            new_reports: Vec::with_capacity(BATCH),
            next_timeout,
            alarm: None,
        };
        if let Some(mut taken) = self.take()
            && let Some(empty) = &mut taken.state
        {
            **empty = Some(Box::new(state));
        }
    }

    /// Takes it if it is free.
    fn take(&self) -> Option<Taken<'_, S>> {
        let state = self.state.try_lock().ok()?;
        Some(Taken { helm: self, state: Some(state), wakes_task: false })
    }

    /// As [`Self::take`], or has the task woken once it is free.
    fn take_or_say_so(&self) -> Option<Taken<'_, S>> {
        self.take().or_else(|| {
            self.missed.store(true, Ordering::SeqCst);
            // Either who has it sees that afterwards, or has left it by now.
            fence(Ordering::SeqCst);
            self.take()
        })
    }

    // ----- in place of the task -----

    /// Handles a command if a task would begin at once, few others wait, and nobody else has the
    /// helm; gives it back otherwise.
    pub(crate) fn hand_in(&self, commons: &Commons, command: Command) -> Result<(), Command> {
        let Some(mut taken) = self.take() else { return Err(command) };
        let is_at_once = |state: &&mut HelmState<S>| {
            state.commands.len() < BATCH && state.supervisor.would_begin()
        };
        let Some(state) = taken.state().filter(is_at_once) else { return Err(command) };
        state.receive();
        state.new_commands.push(command);
        state.turn(commons, None);
        taken.wakes_task = state.needs_task();
        Ok(())
    }

    /// Handles what a worker says, if nobody else has the helm; otherwise it is still there.
    pub(crate) fn bring(&self, commons: &Commons, worker: WorkerId, messages: &mut Vec<Message>) {
        let Some(mut taken) = self.take() else { return };
        let Some(state) = taken.state() else { return };
        state.receive();
        state.turn(commons, Some((worker, messages)));
        taken.wakes_task = state.needs_task();
    }

    // ----- the task -----

    /// Handles events until the pool has ended.
    pub(crate) fn poll(
        &self,
        commons: &Commons,
        cx: &mut Context<'_>,
        timer: &mut HelmTimer,
    ) -> Poll<()> {
        self.task.register(cx.waker());
        let Some(mut taken) = self.take_or_say_so() else { return Poll::Pending };
        let Some(state) = taken.state() else { return Poll::Ready(()) };
        while !state.supervisor.is_over() {
            timer.set(state.next_timeout.and_then(|at| commons.began.checked_add(at)));
            state.alarm = timer.at().map(|at| at.saturating_duration_since(commons.began));
            let elapsed = timer.poll(cx).is_ready();
            if !state.poll_receive(cx) && !elapsed {
                return Poll::Pending;
            }
            state.turn(commons, None);
        }
        Poll::Ready(())
    }

    /// Ends after the last event.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Option<ShutdownReport>> {
        self.task.register(cx.waker());
        let Some(mut taken) = self.take_or_say_so() else { return Poll::Pending };
        let state = taken.take_out();
        drop(taken);
        Poll::Ready(state.and_then(|mut state| state.supervisor.end()))
    }

    /// Looks at the supervisor, if the pool has not ended.
    #[cfg(test)]
    pub(crate) fn look<R>(&self, look: impl FnOnce(&S) -> R) -> Option<R> {
        let mut taken = self.take()?;
        taken.state().map(|state| look(&state.supervisor))
    }
}

impl<S: Steered> Helm<S> {
    /// The task has gone, so the pool ends: now, or as soon as whoever has the helm leaves it.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.discard();
    }

    /// Drops the state, unless somebody has it, who does so then: nobody goes on without the task,
    /// or after a panic.
    fn discard(&self) {
        let (mut state, is_poisoned) = match self.state.try_lock() {
            Ok(state) => (state, false),
            Err(TryLockError::Poisoned(error)) => (error.into_inner(), true),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut discarded = state.take();
        drop(state);
        self.state.clear_poison();
        // Only now, as it wakes those who wait.
        if let Some(discarded) = discarded.as_mut().filter(|_| !is_poisoned) {
            discarded.abandon();
        }
        drop(discarded);
        self.task.wake();
    }
}

/// Wakes the supervisor at a time on its clock.
pub(crate) struct HelmTimer {
    clock: Clock,
    armed: Option<(Instant, Sleep)>,
}

impl HelmTimer {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, armed: None }
    }

    pub(crate) fn at(&self) -> Option<Instant> {
        self.armed.as_ref().map(|(at, _)| *at)
    }

    pub(crate) fn set(&mut self, at: Option<Instant>) {
        match (at, &mut self.armed) {
            (None, armed) => *armed = None,
            // An earlier alarm is left in place: it is cheaper to find nothing to do once than to
            // move the alarm with every task.
            (Some(at), Some((armed_at, _))) if *armed_at <= at => {}
            (Some(at), armed) => {
                let delay = at.saturating_duration_since(self.clock.now());
                *armed = Some((at, self.clock.sleep(delay)));
            }
        }
    }

    /// Pending for ever while the timer is not set.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, delay)) = &mut self.armed else { return Poll::Pending };
        delay.as_mut().poll(cx).map(|()| self.armed = None)
    }
}
