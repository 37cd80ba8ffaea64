//! A scheduler in a simulated world, watched by the model.

mod hosts;
mod users;
mod workers;

use std::time::Duration;

use super::check::{self, Trial};
use super::history::{Deed, Event, History};
use super::model::{Desk, Model, Place, Presence};
use super::sabotage::Saboteur;
use super::world::{Claim, World};
use crate::base::{TaskId, WorkerId};
use crate::scheduler::view::Recallable;
use crate::scheduler::{
    Action, End, Failure, LeaveReason, RefuseReason, Scheduler, Task, Time, Verdict, Wishes,
};
use crate::testing::{Check, Sights, ensure};

/// Timers that are due at the same moment may follow from each other, but not for ever.
const ALARMS: usize = 20;
/// One event has no more consequences than this.
const ACTIONS: usize = 1_000;
/// A fair world needs no more rounds than this, be it that workers age while tasks sit out their
/// back-off.
const ROUNDS: usize = 6_000;

pub(super) struct Play {
    scheduler: Scheduler,
    pub(super) model: Model,
    world: World,
    now: Time,
    /// The front task of a pipeline is never recalled, even if it has not begun.
    keeps_front: bool,
    /// Most tasks say that they were brief.
    is_brief: bool,
    /// Cancelled by their users; the scheduler has not heard of it.
    untold: Vec<TaskId>,
    saboteur: Option<Saboteur>,
    pub(super) sights: Sights,
}

impl Play {
    pub(super) fn new(history: &History, saboteur: Option<Saboteur>) -> Self {
        Self {
            scheduler: Scheduler::new(history.config.clone()),
            model: Model::new(history.config.clone()),
            keeps_front: history.keeps_front,
            is_brief: history.is_brief,
            world: World::default(),
            now: Time::ZERO,
            untold: Vec::new(),
            saboteur,
            sights: Sights::default(),
        }
    }

    // ----- what happens -----

    pub(super) fn run(&mut self, events: &[Event]) -> Check {
        self.scheduler.open(self.now);
        self.settle()?;
        for (n, event) in events.iter().enumerate() {
            self.event(*event).map_err(|broken| format!("event {n}: {broken}"))?;
        }
        self.fair_end()
    }

    fn event(&mut self, event: Event) -> Check {
        match event {
            Event::Submit(wishes, parts) => self.submit(wishes, parts),
            Event::Cancel { task, tell } => self.cancel(task, tell),
            Event::Tell => self.tell_all(),
            Event::Abort { task } => self.abort(task),
            Event::Decide { n, wants_retry } => self.decide(n, wants_retry),
            Event::Operation(operation) => self.operate(operation),
            Event::LoseHost { n, safe_in } => self.lose_host(n, safe_in),
            Event::ReachHost { n, workers } => self.reach_host(n, workers),
            Event::Host { n, deed } => self.host_deed(n, deed),
            Event::Wait(time) => self.wait(time),
            Event::Oversleep(time) => {
                self.now += time;
                Ok(())
            }
            Event::Worker { n, deed } => match self.world.choose(n) {
                Some(worker) => self.deed(worker, deed),
                None => Ok(()),
            },
        }
    }

    fn deed(&mut self, worker: WorkerId, deed: Deed) -> Check {
        let is_up = self.process(worker).up;
        match deed {
            Deed::Ready { recallable, stubborn, looks } if !is_up => {
                self.process(worker).stubborn = stubborn;
                self.process(worker).looks = looks;
                self.ready(worker, recallable)
            }
            Deed::Bloat if is_up => self.bloat(worker),
            Deed::IsAskedToEnd if is_up => self.ask_to_end(worker),
            Deed::FailToStart { failure } if !is_up => self.end(worker, End::StartFailed(failure)),
            Deed::Work { steps } => self.work(worker, steps),
            Deed::Answer { results } => self.read(worker, results),
            Deed::Reply => self.reply(worker),
            Deed::Die => self.die(worker),
            Deed::Vanish if self.is_lost(worker) => self.vanish(worker),
            Deed::LeaveReason if is_up => self.leave(worker),
            Deed::Misbehave(how) => self.misbehave(worker, how),
            Deed::Block if is_up => self.set_blocked(worker, true),
            Deed::Unblock if is_up => self.set_blocked(worker, false),
            _ => Ok(()),
        }
    }

    // ----- the clock -----

    fn alarm(&self) -> Option<Time> {
        let deaf = self.saboteur.as_ref().is_some_and(Saboteur::is_deaf);
        self.scheduler.next_timeout().filter(|_| !deaf)
    }

    fn wait(&mut self, time: Duration) -> Check {
        let target = self.now + time;
        let mut alarms = 0;
        while let Some(at) = self.alarm().filter(|at| *at <= target) {
            alarms = if at > self.now { 0 } else { alarms + 1 };
            ensure!(alarms <= ALARMS, "the alarm does not stop");
            self.now = self.now.max(at);
            self.timeout()?;
        }
        self.now = target;
        Ok(())
    }

    fn timeout(&mut self) -> Check {
        let world = &self.world;
        self.model.timeout(self.now, |task| world.claim(task) == Some(Claim::Begun));
        self.scheduler.timeout(self.now);
        self.settle()?;
        check::nobody_is_stuck(&self.model, &self.world, self.now)
    }

    // ----- actions -----

    fn settle(&mut self) -> Check {
        self.perform_all()?;
        self.model.release(self.now);
        self.model.expire(self.now);
        check::staffed(&self.model, self.now)?;
        check::nobody_is_late(&self.model, &self.world, self.now)?;
        check::settled(&self.model, &self.world, &self.scheduler, self.now)
    }

    /// After something that changes nothing for others: the scheduler has not looked at the clock.
    fn settle_quietly(&mut self) -> Check {
        self.perform_all()?;
        check::settled(&self.model, &self.world, &self.scheduler, self.now)
    }

    fn perform_all(&mut self) -> Check {
        use Action::{Recall, Request, Send, Start};

        let (mut actions, mut recalls) = (0, 0);
        loop {
            let polled = self.scheduler.polled;
            let Some(batch) = self.next_actions() else { break };
            for (n, action) in (polled..).zip(batch) {
                actions += 1;
                ensure!(actions <= ACTIONS, "{action:?}: no end of actions");
                self.observe(n)?;
                if matches!(action, Send { .. } | Recall { .. } | Start { .. } | Request(_)) {
                    self.model.release(self.now);
                }
                recalls += usize::from(matches!(action, Recall { .. }));
                if recalls > 1 {
                    self.model.blur_turns();
                }
                self.perform(action)?;
            }
        }
        self.observe(u64::MAX)
    }

    /// The next action, or for a saboteur as many as there are.
    fn next_actions(&mut self) -> Option<Vec<Action>> {
        let mut batch = vec![self.scheduler.poll_action()?];
        if let Some(saboteur) = &mut self.saboteur {
            while let Some(action) = self.scheduler.poll_action() {
                batch.push(action);
            }
            saboteur.spoil(&mut batch);
        }
        Some(batch)
    }

    fn overrule(&self, verdict: Verdict) -> Verdict {
        match &self.saboteur {
            Some(saboteur) => saboteur.overrule(verdict),
            None => verdict,
        }
    }

    fn perform(&mut self, action: Action) -> Check {
        let trial = Trial { model: &self.model, world: &self.world, now: self.now };
        trial.action(action).map_err(|broken| format!("{action:?}: {broken}"))?;
        if let Some(sight) = sight(action) {
            self.sights.see(sight);
        }
        if matches!(action, Action::Send { .. }) && self.model.is_shared() {
            self.sights.see("tenants that take turns");
        }
        if self.spares_an_idle_one(action) {
            self.sights.see("an idle worker that is spared");
        }
        self.carry_out(action);
        Ok(())
    }

    /// Whether a task is sent to a busy worker although an idle one could take it.
    fn spares_an_idle_one(&self, action: Action) -> bool {
        let Action::Send { worker, task, .. } = action else { return false };
        let is_busy = self.model.desk(worker).is_some_and(|desk| !desk.pipeline.is_empty());
        let is_free = self.model.task(task).is_some_and(|task| self.model.home(task).is_none());
        is_busy && is_free && self.model.live().any(Desk::is_idle)
    }

    fn carry_out(&mut self, action: Action) {
        if let Action::Recall { worker, .. } | Action::Look(worker) | Action::Ask(worker) = action
            && self.model.desk(worker).is_some_and(Desk::is_late)
        {
            return self.model.desk_mut(worker).questions.push_back(action);
        }
        self.carry_out_at_once(action);
    }

    fn carry_out_at_once(&mut self, action: Action) {
        match action {
            Action::Start { host, .. } => {
                self.world.start();
                self.model.start(self.now, host);
            }
            Action::Request(host) => self.model.moves(host, Presence::Requested),
            Action::Send { worker, task, attempt } => {
                self.model.send(worker, task);
                self.world.send(worker, task, attempt);
            }
            Action::Begin(task) => self.model.begin(self.now, task),
            Action::Recall { worker, all } => self.recall(worker, all),
            Action::Look(worker) => {
                let front = self.scheduler.pipeline(worker).next();
                let claim = front.and_then(|task| self.world.claim(task));
                let has_begun = claim == Some(Claim::Begun);
                if let Some(head) = front.filter(|_| self.process(worker).is_late()) {
                    self.model.looked(self.now, worker, head, has_begun);
                }
                self.scheduler.looked(self.now, worker, has_begun);
            }
            Action::Ask(worker) => {
                let notices = self.world.ask(worker);
                if notices {
                    self.sights.see("a task that can end by itself");
                }
                let prospect = self.world.prospect(worker, notices);
                self.model.asked(self.now, worker, prospect);
                self.scheduler.asked(self.now, worker, prospect);
            }
            Action::Withdraw(task) => self.withdraw(task),
            Action::Fail(task, failure) => {
                let unbegun = self.world.claim(task) == Some(Claim::Revoked);
                self.model.fail(self.now, task, failure, unbegun);
            }
            Action::Consult(task, failure) => {
                let unbegun = self.world.claim(task) == Some(Claim::Revoked);
                self.model.consult(self.now, task, failure, unbegun);
            }
            Action::Deliver(task) => self.model.delivered(task),
            Action::Stop(worker, reason) => {
                self.process(worker).asked_to_leave = true;
                self.model.told_to_leave(self.now, worker, reason);
            }
            Action::Terminate(worker) => {
                self.process(worker).terminated = true;
                let runs = self.scheduler.pipeline(worker).next().is_some();
                self.model.told_to_end(self.now, worker, runs);
            }
            Action::Kill(worker, reason) => {
                self.process(worker).killed = true;
                self.model.killed(worker, reason);
            }
            Action::Warm => self.model.wants_warmth = false,
            Action::Remind => {}
            Action::Refuse(RefuseReason::ShutDown) => self.model.refused = true,
            Action::Refuse(RefuseReason::Broken) => self.model.broken = true,
            Action::Close => self.model.closed = true,
        }
    }

    fn recall(&mut self, worker: WorkerId, all: bool) {
        let pipeline: Vec<TaskId> = self.scheduler.pipeline(worker).collect();
        if let Some(&first) = pipeline.first() {
            self.model.recalled(self.now, worker, first);
            self.divide(worker, first);
        }
        let keep = usize::from(self.keeps_front && !all);
        let keep = keep.min(pipeline.len());
        let taken = self.world.take_back(worker, &pipeline, keep);
        let taken = match &self.saboteur {
            Some(saboteur) => saboteur.miscount_recalled(taken),
            None => taken,
        };
        self.scheduler.recalled(self.now, worker, taken);
    }

    /// What the scheduler had decided about workers before it said so many actions.
    fn observe(&mut self, actions: u64) -> Check {
        while let Some(change) = self.scheduler.poll_change(actions) {
            let desk = self.model.desk_mut(change.worker);
            desk.tenure = change.tenure;
            if change.is_stuck && !desk.stuck {
                check::stuck(&self.model, &self.world, change.worker, self.now)?;
                self.model.given_up(change.worker);
            }
        }
        Ok(())
    }

    /// What a task of several parts has not begun becomes a task of its own.
    fn divide(&mut self, worker: WorkerId, whole: TaskId) {
        let Some(parts) = self.world.divide(whole) else { return };
        self.sights.see("a task that is divided");
        let entry = self.model.task(whole).unwrap().clone();
        let Wishes { priority, tenant, deadline, timeout, retries, .. } = entry.wishes;
        let divisible = parts > 1;
        let wishes =
            Wishes { priority, tenant, retries, timeout, deadline, divisible, ..Wishes::default() };
        let part = Task::with(self.world.new_task(parts), wishes);
        self.model.submit_part(&part, entry.aborted);
        self.model.divided(self.now, whole);
        self.scheduler.divided(self.now, worker, part);
    }

    fn withdraw(&mut self, task: TaskId) {
        let entry = self.model.task(task).unwrap();
        let Place::Sent(worker) = entry.place else {
            self.sights.see("a retry that was wanted");
            return self.model.retry(self.now, None, task);
        };
        let unbegun = self.world.claim(task) == Some(Claim::Revoked);
        if unbegun && !entry.timed_out {
            self.model.withdraw(self.now, worker, task);
        } else {
            self.sights.see("a retry");
            self.model.retry(self.now, Some((worker, unbegun)), task);
        }
    }

    // ----- the end -----

    /// From here on nothing goes wrong: every task and then the pool must come to an end.
    fn fair_end(&mut self) -> Check {
        self.fair_rounds(|model| !model.has_unresolved() && !model.is_replacing())?;
        self.shut_down(false, None)?;
        self.fair_rounds(|model| model.closed)?;
        let left = self.world.alive().next();
        ensure!(left.is_none(), "{left:?} is an orphan");
        Ok(())
    }

    fn fair_rounds(&mut self, is_over: impl Fn(&Model) -> bool) -> Check {
        for _ in 0..ROUNDS {
            self.tell_all()?;
            while let Some(task) = self.model.choose_undecided(0) {
                self.decide(0, task.get().is_multiple_of(2))?;
            }
            let workers: Vec<WorkerId> = self.world.alive().collect();
            let mut busy = self.all_come()?;
            for worker in workers {
                busy |= self.fair_step(worker)?;
            }
            if busy {
                continue;
            }
            if is_over(&self.model) {
                return Ok(());
            }
            let Some(at) = self.alarm() else {
                return Err("everything waits for nothing".to_owned());
            };
            self.now = self.now.max(at);
            self.timeout()?;
        }
        Err("no end in sight".to_owned())
    }

    /// The worker does the next thing it should; false if there is none.
    fn fair_step(&mut self, worker: WorkerId) -> Result<bool, String> {
        if self.is_lost(worker) {
            return self.vanish(worker).map(|()| true);
        }
        let process = self.process(worker);
        let obeys = !process.stubborn && (process.terminated || process.asked_to_leave);
        if process.killed || (obeys && process.terminated) {
            self.die(worker)?;
        } else if obeys && process.up {
            self.leave(worker)?;
        } else if !process.up {
            self.ready(worker, Recallable::AtOnce)?;
        } else if process.blocked {
            self.set_blocked(worker, false)?;
        } else if process.has_results() {
            self.read(worker, 1)?;
        } else if self.model.desk(worker).is_some_and(|desk| !desk.questions.is_empty()) {
            self.reply(worker)?;
        } else if !self.world.is_idle(worker) {
            self.work(worker, 1)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// What can be seen in an action.
fn sight(action: Action) -> Option<&'static str> {
    Some(match action {
        Action::Send { .. } => "a task that is sent",
        Action::Recall { .. } => "a recall",
        Action::Request(_) => "a host that is requested",
        Action::Ask(_) => "a task that is asked to end",
        Action::Withdraw(_) => "a task that is queued again",
        Action::Consult(..) => "a failure that is asked about",
        Action::Deliver(_) => "a task that is not to be begun again",
        Action::Fail(_, failure) => match failure {
            Failure::Died => "a death with a task",
            Failure::TimedOut(_) => "a task that times out",
            Failure::Expired => "a task that is too late",
            Failure::NotBegun(_) => "a task that did not begin in time",
            Failure::Cancelled => "a task that is cancelled",
            Failure::HostLost => "a task whose host is lost",
            Failure::Replaced => "a task whose worker is replaced in time",
            Failure::Broken => "a task in a broken pool",
            Failure::ShutDown => "a task for a closed pool",
        },
        Action::Stop(_, why) => match why {
            LeaveReason::Idle => "a worker that has nothing to do",
            LeaveReason::UsedUp => "a worker that is used up",
            LeaveReason::Memory => "a memory limit",
            LeaveReason::Terminated => "a worker that others have asked to end",
            LeaveReason::Age => "a worker that is too old",
            LeaveReason::Recycled => "a recycled worker",
            LeaveReason::Stuck => "a worker that is stuck",
            LeaveReason::Surplus => "a surplus worker",
            LeaveReason::ShutDown => "a worker that is not needed at the end",
        },
        Action::Terminate(_) => "a termination",
        Action::Kill(..) => "a kill",
        Action::Refuse(RefuseReason::Broken) => "a broken pool",
        _ => return None,
    })
}
