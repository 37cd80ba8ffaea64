//! What a scheduler may do, and how it must leave things.

mod hosts;

use super::model::{Desk, Entry, Model, Place, Stage};
use super::world::{Claim, World};
use crate::base::{TaskId, WorkerId};
use crate::scheduler::turnaround::LONGEST as LONGEST_WAY;
use crate::scheduler::worker::{LONG_PATIENCE, PATIENCE};
use crate::scheduler::{
    Action, Failure, KillReason, LeaveReason, RefuseReason, Scheduler, Tenure, Time,
};
use crate::testing::{Check, ensure};

/// One action on trial.
pub(super) struct Trial<'a> {
    pub(super) model: &'a Model,
    pub(super) world: &'a World,
    pub(super) now: Time,
}

impl Trial<'_> {
    pub(super) fn action(&self, action: Action) -> Check {
        let is_refusal = matches!(action, Action::Fail(_, Failure::ShutDown));
        ensure!(!self.model.closed || is_refusal, "it comes after the end");
        match action {
            Action::Start { worker, host } => self.start(worker, host),
            Action::Request(host) => self.request(host),
            Action::Send { worker, task, attempt } => self.send(worker, task, attempt),
            Action::Begin(task) => self.begin(task),
            Action::Recall { worker, all } => self.recall(worker, all),
            Action::Look(worker) => self.look(worker),
            Action::Ask(worker) => self.ask(worker),
            Action::Withdraw(task) => self.withdraw(task),
            Action::Fail(task, failure) => self.fail(task, failure),
            Action::Consult(task, failure) => self.consult(task, failure),
            Action::Deliver(task) => self.deliver(task),
            Action::Stop(worker, why) => self.stop(worker, why),
            Action::Terminate(worker) => self.terminate(worker),
            Action::Kill(worker, reason) => self.kill(worker, reason),
            Action::Warm => self.warm(),
            Action::Remind => self.remind(),
            Action::Refuse(refusal) => self.refuse(refusal),
            Action::Close => self.close(),
        }
    }

    fn task(&self, id: TaskId) -> Result<&Entry, String> {
        self.model.task(id).ok_or_else(|| format!("unknown {id}"))
    }

    fn desk(&self, id: WorkerId) -> Result<&Desk, String> {
        self.model.desk(id).ok_or_else(|| format!("unknown {id}"))
    }

    fn is_revoked(&self, task: TaskId) -> bool {
        self.world.claim(task) == Some(Claim::Revoked)
    }

    fn send(&self, worker: WorkerId, task: TaskId, attempt: u32) -> Check {
        let entry = self.task(task)?;
        let desk = self.desk(worker)?;
        ensure!(entry.is_ready(self.now), "{task} is sent but does not wait");
        let risks = self.model.may_risk_one(self.now) && desk.is_idle();
        ensure!(risks || !entry.is_suspect(), "{task} may kill the last idle worker");
        let ready = self.model.ready_for(worker, self.now);
        let ready = ready.filter(|entry| risks || !entry.is_suspect());
        let first = ready.filter(|other| self.model.may_compare(entry, other));
        let first = first.min_by_key(|entry| self.model.rank(entry));
        let first = first.map(|entry| entry.id);
        ensure!(first == Some(task), "{task} jumps the queue, {first:?} waits for {worker}");
        ensure!(!self.is_expired(entry) && !entry.is_late(self.now), "{task} is too late to begin");
        self.send_after_loss(entry)?;
        let rival = self.model.rival(worker, entry);
        ensure!(rival.is_none(), "{rival:?} of the same key may run beside {task}");
        ensure!(attempt == entry.wishes.attempt, "{task} has another attempt");
        ensure!(desk.is_open(), "{worker} cannot take {task}");
        let ahead = desk.pipeline.len();
        let others = self.model.live().filter(|desk| !desk.stuck && !desk.pipeline.is_empty());
        let is_full = !self.model.was_resized && others.count() >= self.model.config.max_workers;
        ensure!(ahead > 0 || !is_full, "{task} is one too many at the same time");
        ensure!(ahead < self.model.config.max_pipeline, "too many for {worker}");
        ensure!(ahead == 0 || desk.is_recallable(), "{task} cannot come back from {worker}");
        let surplus = self.model.serving() > self.model.config.max_workers;
        ensure!(ahead == 0 || !surplus, "{worker} may have to go");
        ensure!(!desk.is_used_up(ahead, &self.model.config), "{worker} has had enough");
        Ok(())
    }

    fn is_expired(&self, entry: &Entry) -> bool {
        entry.wishes.deadline.is_some_and(|at| at <= self.now)
    }

    /// Whether there is a reason to end a task.
    pub(super) fn is_sentenced(&self, entry: &Entry) -> bool {
        entry.is_sentenced() || self.is_expired(entry)
    }

    fn begin(&self, task: TaskId) -> Check {
        let entry = self.task(task)?;
        let Place::Sent(worker) = entry.place else {
            return Err(format!("{task} begins nowhere"));
        };
        let front = self.desk(worker)?.pipeline.front();
        ensure!(front == Some(&task), "{task} begins before its turn");
        ensure!(entry.since.is_none(), "{task} begins twice");
        Ok(())
    }

    fn recall(&self, worker: WorkerId, all: bool) -> Check {
        let desk = self.desk(worker)?;
        ensure!(desk.is_recallable(), "{worker} gives nothing back");
        let Some(&head) = desk.pipeline.front() else {
            return Err(format!("{worker} has nothing to give back"));
        };
        let entry = self.task(head)?;
        let is_late = desk.must_begin_at(entry).is_some_and(|at| at <= self.now);
        let is_stuck = is_late && self.world.claim(head) != Some(Claim::Begun);
        let outgoing = desk.may_be_outgoing(self.now, &self.model.config);
        let leaves = !desk.serves() || self.is_sentenced(entry) || is_stuck || outgoing;
        ensure!(!all || leaves, "{worker} need not give back all");
        let gives = desk.pipeline.len() > 1 || entry.wishes.divisible || all || entry.timed_out;
        ensure!(gives, "{worker} has nothing more to give back");
        ensure!(desk.stage != Stage::Gone, "{worker} is gone");
        ensure!(!desk.is_asked_back(), "{worker} is asked twice");
        Ok(())
    }

    fn look(&self, worker: WorkerId) -> Check {
        let desk = self.desk(worker)?;
        ensure!(desk.stage == Stage::Ready && desk.is_recallable(), "{worker} cannot be looked at");
        ensure!(!desk.pipeline.is_empty(), "{worker} has nothing to begin");
        ensure!(!desk.is_looked_at(), "{worker} is looked at twice");
        Ok(())
    }

    fn ask(&self, worker: WorkerId) -> Check {
        let desk = self.desk(worker)?;
        ensure!(desk.stage == Stage::Ready && desk.is_recallable(), "{worker} cannot be asked");
        let Some(&head) = desk.pipeline.front() else {
            return Err(format!("nobody can be asked on {worker}"));
        };
        ensure!(self.is_sentenced(self.task(head)?), "{head} need not end");
        ensure!(desk.pipeline.len() == 1, "{worker} has innocent tasks");
        ensure!(desk.asked != Some(head), "{head} is asked twice");
        Ok(())
    }

    /// Whether a further attempt is wanted is asked only if it matters.
    fn consult(&self, task: TaskId, failure: Failure) -> Check {
        let entry = self.task(task)?;
        let Place::Sent(worker) = entry.place else {
            return Err(format!("nobody has {task}"));
        };
        ensure!(self.is_over(task, worker), "{task} still runs");
        ensure!(self.model.consults(self.now, entry), "it does not matter what {task} wants");
        ensure!(self.ends_as(entry, failure), "{task} cannot fail as {failure:?}");
        Ok(())
    }

    fn deliver(&self, task: TaskId) -> Check {
        let entry = self.task(task)?;
        ensure!(entry.place == Place::Undecided, "{task} has nothing to deliver");
        let is_decided = self.model.undecided[&task].wants_retry.is_some();
        ensure!(is_decided, "it is not decided that {task} is over");
        ensure!(!self.model.goes_on(self.now, task), "{task} could be begun again");
        Ok(())
    }

    fn withdraw(&self, task: TaskId) -> Check {
        let entry = self.task(task)?;
        if entry.place == Place::Undecided {
            ensure!(self.model.goes_on(self.now, task), "{task} is begun again against all will");
            return Ok(());
        }
        let Place::Sent(worker) = entry.place else {
            return Err(format!("{task} is withdrawn from nowhere"));
        };
        ensure!(!self.model.broken, "{task} waits in a broken pool");
        ensure!(!self.model.cancels, "{task} waits to be cancelled");
        ensure!(!entry.aborted, "{task} was aborted and waits again");
        ensure!(!entry.expired, "{task} is too late and waits again");
        if entry.timed_out || !self.is_revoked(task) {
            ensure!(self.is_over(task, worker), "{task} still runs");
            ensure!(entry.wishes.retries > 0, "{task} is tried too often");
            ensure!(!entry.wishes.conditional, "{task} is tried again, and nobody was asked");
        } else {
            ensure!(!entry.is_late(self.now), "{task} should have begun, and waits again");
        }
        Ok(())
    }

    /// Whether a sent task cannot run any more.
    fn is_over(&self, task: TaskId, worker: WorkerId) -> bool {
        self.is_revoked(task) || self.model.is_gone(worker)
    }

    fn fail(&self, task: TaskId, failure: Failure) -> Check {
        let entry = self.task(task)?;
        let (sent, over) = match entry.place {
            Place::Sent(worker) => (true, self.is_over(task, worker)),
            Place::Resolved => return Err(format!("{task} is resolved twice")),
            Place::Undecided => return Err(format!("{task} fails, and has an outcome")),
            _ => (false, true),
        };
        ensure!(over, "{task} fails although it may still run");
        let gives_up = self.model.gives_up(self.now, entry);
        let revoked = self.is_revoked(task);
        let is_right = match failure {
            Failure::ShutDown => entry.place == Place::Refused && self.model.shut_down,
            Failure::Broken => self.model.broken,
            Failure::Cancelled => {
                let waits = !sent || revoked;
                let by_shutdown = self.model.cancels && (waits || entry.cut_short);
                entry.cancelled || entry.aborted || by_shutdown
            }
            Failure::Replaced | Failure::Died | Failure::HostLost | Failure::TimedOut(_) => {
                sent && gives_up && self.ends_as(entry, failure)
            }
            Failure::Expired => self.is_expired(entry),
            Failure::NotBegun(limit) => {
                let is_right = entry.wishes.begin.is_some_and(|(_, of)| of == limit);
                is_right && entry.is_late(self.now) && (!sent || revoked)
            }
        };
        ensure!(is_right, "{task} cannot fail as {failure:?}");
        let refused = entry.place == Place::Refused;
        let says_so = matches!(failure, Failure::ShutDown | Failure::Broken);
        ensure!(!refused || says_so, "{task} was never accepted");
        Ok(())
    }

    /// Whether an attempt can have failed so.
    fn ends_as(&self, entry: &Entry, failure: Failure) -> bool {
        match failure {
            Failure::Replaced => entry.replaced,
            Failure::Died | Failure::HostLost => {
                let is_lost = self.has_vanished(entry);
                let is_own = !self.is_revoked(entry.id) && !entry.is_sentenced();
                is_own && is_lost == (failure == Failure::HostLost)
            }
            Failure::TimedOut(limit) => entry.timed_out && entry.wishes.timeout == Some(limit),
            _ => false,
        }
    }

    fn stop(&self, worker: WorkerId, why: LeaveReason) -> Check {
        let (model, desk) = (self.model, self.desk(worker)?);
        let stays = matches!(desk.stage, Stage::Starting { .. } | Stage::Ready);
        ensure!(stays, "{worker} is going already");
        ensure!(desk.pipeline.is_empty(), "{worker} has tasks");
        let is_right = match why {
            LeaveReason::ShutDown => model.shut_down && !model.has_unresolved(),
            LeaveReason::Idle => model.idle_until(desk).is_some_and(|at| at <= self.now),
            LeaveReason::Surplus => {
                // A successor whose place is gone goes, too.
                let places_went = model.was_resized || model.live().any(|desk| desk.stuck);
                let extra = model.config.surge > 0 && places_went;
                extra || model.serving() > model.config.max_workers
            }
            LeaveReason::UsedUp if model.config.surge == 0 => desk.is_used_up(0, &model.config),
            LeaveReason::UsedUp => desk.completed > 0 && model.config.max_tasks.is_some(),
            LeaveReason::Age => desk.is_aged(self.now, &model.config),
            LeaveReason::Memory => desk.bloated,
            LeaveReason::Terminated => desk.asked_to_end,
            LeaveReason::Recycled => desk.recycled,
            LeaveReason::Stuck => desk.stuck,
        };
        ensure!(is_right, "{worker} has no reason to go: {why:?}");
        Ok(())
    }

    fn terminate(&self, worker: WorkerId) -> Check {
        let desk = self.desk(worker)?;
        if self.model.forced {
            let stays = matches!(desk.stage, Stage::Starting { .. } | Stage::Ready);
            ensure!(stays, "{worker} is going already");
            return Ok(());
        }
        ensure!(desk.stage == Stage::Ready, "{worker} is going already");
        let Some(&head) = desk.pipeline.front() else {
            return Err(format!("{worker} is terminated for nobody"));
        };
        let is_sentenced = self.is_sentenced(self.task(head)?);
        ensure!(is_sentenced, "{head} is innocent on {worker}");
        let asked = !desk.is_recallable() || desk.asked == Some(head);
        ensure!(asked, "{head} was not asked to end by itself");
        let mercy = desk.mercy.is_some_and(|(_, until)| until > self.now);
        ensure!(!mercy, "{head} has time to end by itself");
        ensure!(desk.pipeline.len() == 1, "{worker} has innocent tasks");
        let victim = self.world.running(worker);
        ensure!(victim.is_none_or(|id| id == head), "{victim:?} is hurt");
        Ok(())
    }

    fn kill(&self, worker: WorkerId, reason: KillReason) -> Check {
        let desk = self.desk(worker)?;
        let late = |deadline| deadline <= self.now;
        let is_right = match (desk.stage, reason) {
            (Stage::Starting { .. }, KillReason::HostLost) => desk.lost.is_some(),
            (Stage::Killed { .. } | Stage::Gone, _) | (_, KillReason::HostLost) => false,
            (_, KillReason::Misbehaved) => desk.misbehaved,
            (_, KillReason::Broken) => self.model.broken,
            (_, KillReason::Wanted) => self.model.forced,
            (Stage::Starting { deadline }, KillReason::StartTimeout) => late(deadline),
            (_, KillReason::StartTimeout) => false,
            (Stage::Ending { deadline, .. }, KillReason::GraceOver) if late(deadline) => true,
            (_, KillReason::GraceOver) if is_spent(desk) => true,
            (_, KillReason::GraceOver) => self.model.cut_short && desk.pipeline.is_empty(),
        };
        ensure!(is_right, "{worker} is killed without a reason: {reason:?}");
        Ok(())
    }

    fn remind(&self) -> Check {
        ensure!(self.model.shut_down, "nobody waits for the end");
        Ok(())
    }

    fn warm(&self) -> Check {
        let is_up = |desk: &Desk| desk.is_successor() && desk.stage == Stage::Ready;
        let seated = self.model.live().any(is_up);
        ensure!(seated || self.model.is_warm(), "nobody is warm");
        Ok(())
    }

    fn refuse(&self, refusal: RefuseReason) -> Check {
        let is_right = match refusal {
            RefuseReason::ShutDown => self.model.shut_down && !self.model.refused,
            RefuseReason::Broken => self.model.must_break && !self.model.broken,
        };
        ensure!(is_right, "no reason for {refusal:?}");
        Ok(())
    }

    fn close(&self) -> Check {
        ensure!(self.model.shut_down, "closed without being asked");
        ensure!(self.model.live().next().is_none(), "a worker is left");
        ensure!(!self.model.has_unresolved(), "a task is left");
        Ok(())
    }
}

/// A task begins in truth.
pub(super) fn beginning(model: &Model, world: &World, task: TaskId, attempt: u32) -> Check {
    let entry = model.task(task).ok_or("an unknown task begins")?;
    ensure!(entry.place != Place::Resolved, "{task} begins after its end");
    ensure!(!world.is_cancelled(task), "{task} begins though cancelled");
    ensure!(entry.begun < attempt, "{task} begins again by itself");
    Ok(())
}

/// The scheduler has nothing more to say, for now.
pub(super) fn settled(model: &Model, world: &World, scheduler: &Scheduler, now: Time) -> Check {
    sizes(model)?;
    ensure!(scheduler.counts_true(), "what is counted ahead is wrong: {scheduler:?}");
    ensure!(model.broken == model.must_break || model.closed, "the pool should break");
    ensure!(model.refused || !model.shut_down || model.broken, "no refusal");
    counts(model, scheduler)?;
    for desk in model.live() {
        let pipeline = scheduler.pipeline(desk.id);
        let same = desk.pipeline.iter().copied().eq(pipeline);
        ensure!(same, "{} has other tasks", desk.id);
        let view = scheduler.worker(desk.id);
        let is_busy = view.is_some_and(|view| view.busy);
        ensure!(is_busy != desk.pipeline.is_empty(), "{} looks wrong", desk.id);
        ensure!(!is_spent(desk), "{} is in the way of its replacement", desk.id);
        hands(model, world, desk)?;
    }
    replacements(model)?;
    nobody_idles(model, world, now)?;
    closing(model)?;
    alarms(model, world, scheduler, now)
}

fn counts(model: &Model, scheduler: &Scheduler) -> Check {
    let (counts, mut expected) = (scheduler.counts(), model.counts);
    if model.config.surge > 0 {
        // What a successor replaces may not have ended yet, or end otherwise.
        ensure!(counts.worker_restarts <= counts.worker_starts, "too many restarts: {counts:?}");
        expected.worker_restarts = counts.worker_restarts;
    }
    ensure!(counts == expected, "{counts:?} and not {expected:?}");
    let resolved = counts.completed + counts.failed + counts.cancelled;
    let open = (scheduler.waiting() + scheduler.running()) as u64;
    ensure!(counts.submitted == resolved + open, "a task is lost: {counts:?}");
    Ok(())
}

/// Those that have to go go.
fn sizes(model: &Model) -> Check {
    let surplus = model.serving() > model.config.max_workers;
    for desk in model.live() {
        let starting = matches!(desk.stage, Stage::Starting { .. });
        ensure!(!starting || desk.lost.is_none(), "{} may come up, and nobody wants it", desk.id);
        let idle = desk.stage == Stage::Ready && desk.pipeline.is_empty();
        let used_up = idle && desk.is_used_up(0, &model.config);
        let spare = (idle || starting) && !desk.is_successor() && (!desk.serves() || surplus);
        ensure!(!used_up && !spare, "{} should leave", desk.id);
    }
    Ok(())
}

/// Who is to be replaced goes on until there is a successor, and no longer.
fn replacements(model: &Model) -> Check {
    let ready = model.live().filter(|desk| desk.tenure == Tenure::ReadySuccessor).count();
    let full = model.in_places() >= model.config.max_workers;
    ensure!(ready == 0 || full || model.broken, "a successor could have its place");
    let is_due = |desk: &&Desk| desk.is_idle() && desk.tenure == Tenure::Due && desk.recycled;
    let on = |host, tenure| {
        model.live().filter(move |desk| desk.host == host && desk.tenure == tenure).count()
    };
    let is_relieved = |host| on(host, Tenure::ReadySuccessor) > on(host, Tenure::Going);
    let due = model.live().find(|desk| is_due(desk) && is_relieved(desk.host));
    ensure!(due.is_none(), "{due:?} has a successor and stays");
    for desk in model.live().filter(|desk| desk.stage == Stage::Ready) {
        let hears = desk.tenure != Tenure::Stays || desk.stuck;
        ensure!(hears || !desk.recycled, "{} is not replaced", desk.id);
        let is_patient = model.config.surge > 0;
        ensure!(desk.tenure != Tenure::Due || is_patient, "{} waits for nobody", desk.id);
    }
    Ok(())
}

/// Nothing that should have begun waits any more.
pub(super) fn nobody_is_late(model: &Model, world: &World, now: Time) -> Check {
    let can_be_had = |task: &&Entry| match task.place {
        Place::Queued => true,
        Place::Sent(worker) => model.desk(worker).is_some_and(|desk| {
            let is_ahead = desk.pipeline.front() != Some(&task.id) && !desk.is_asked_back();
            let waits = is_ahead && world.claim(task.id) == Some(Claim::Offered);
            waits && desk.stage == Stage::Ready && desk.is_recallable()
        }),
        _ => false,
    };
    let late = model.tasks.iter().filter(|task| task.is_late(now)).find(can_be_had);
    ensure!(late.is_none(), "{late:?} should have begun");
    Ok(())
}

/// Nobody is missing that could be started at this moment.
pub(super) fn staffed(model: &Model, now: Time) -> Check {
    let missing = model.start_at(now).is_some_and(|at| at <= now);
    let missing = missing && !model.closed;
    ensure!(!missing, "a worker is missing");
    let missing = model.request_at(now).is_some_and(|at| at <= now);
    ensure!(!missing || model.closed, "nobody requests a host");
    let waits = model.wants_warmth && !model.broken;
    ensure!(!waits || !model.is_warm(), "who waits for workers does not hear of them");
    Ok(())
}

/// It was terminated because of a task that has ended after all.
fn is_spent(desk: &Desk) -> bool {
    matches!(desk.stage, Stage::Ending { terminated: true, .. }) && desk.pipeline.is_empty()
}

/// What a worker has in its hands is in order.
fn hands(model: &Model, world: &World, desk: &Desk) -> Check {
    let Some(head) = desk.pipeline.front().and_then(|id| model.task(*id)) else {
        return Ok(());
    };
    ensure!(head.since.is_some(), "{} has not begun", head.id);
    if desk.stage == Stage::Ready && head.is_sentenced() {
        let waits = has_begun_behind(world, desk) || desk.mercy.is_some();
        let waits = waits || !desk.questions.is_empty();
        ensure!(waits, "nobody ends {}", head.id);
    }
    Ok(())
}

/// A worker is given up only if it has not begun what it should have.
pub(super) fn stuck(model: &Model, world: &World, worker: WorkerId, now: Time) -> Check {
    let desk = model.desk(worker).ok_or("an unknown worker is given up")?;
    let head = desk.pipeline.front().and_then(|id| model.task(*id)).ok_or("an idle one is")?;
    let is_late = desk.must_begin_at(head).is_some_and(|at| at <= now);
    let has_begun = world.claim(head.id) == Some(Claim::Begun);
    ensure!(is_late && !has_begun, "{worker} is given up, but not stuck");
    Ok(())
}

/// What a worker should have begun by now has begun, or the worker was given up.
pub(super) fn nobody_is_stuck(model: &Model, world: &World, now: Time) -> Check {
    for desk in model.live().filter(|desk| desk.stage == Stage::Ready) {
        let Some(head) = desk.pipeline.front().and_then(|id| model.task(*id)) else { continue };
        let is_late = desk.must_begin_at(head).is_some_and(|at| at <= now);
        let has_begun = world.claim(head.id) == Some(Claim::Begun);
        ensure!(!is_late || has_begun, "{} does nothing with {}", desk.id, head.id);
    }
    Ok(())
}

/// A task behind the front one has begun, so the front one has finished.
fn has_begun_behind(world: &World, desk: &Desk) -> bool {
    let last = desk.pipeline.iter().skip(1).last();
    last.is_some_and(|id| world.claim(*id) == Some(Claim::Begun))
}

fn nobody_idles(model: &Model, world: &World, now: Time) -> Check {
    for desk in model.live().filter(|desk| desk.is_idle()) {
        let mut waiting = model.tasks.iter().filter(|task| task.place == Place::Queued);
        let may_go = |task: &&Entry| match model.home(task) {
            Some(home) => home == desk.id,
            None if task.is_suspect() => model.may_risk_one(now) && !model.spares_idle_ones(),
            None => !model.spares_idle_ones(),
        };
        if let Some(task) = waiting.find(may_go) {
            return Err(format!("{} waits while {} is idle", task.id, desk.id));
        }
    }
    let Some(idle) = model.live().find(|desk| desk.is_idle()) else {
        return Ok(());
    };
    // One is asked at a time, so the answer comes first.
    let is_any_asked = model.is_any_asked();
    let may_help = |desk: &&Desk| !is_any_asked && !desk.is_asked_back();
    for desk in model.live().filter(|desk| !model.spares_idle_ones() && may_help(desk)) {
        let behind = desk.pipeline.iter().skip(1).filter_map(|id| model.task(*id));
        let waits = |task: &Entry| world.claim(task.id) == Some(Claim::Offered);
        let stuck = behind.filter(|task| task.wishes.key.is_none() && waits(task)).count();
        ensure!(stuck < desk.batch, "{} could help {}", idle.id, desk.id);
    }
    Ok(())
}

fn closing(model: &Model) -> Check {
    let done = model.shut_down && !model.has_unresolved();
    if !done || model.closed {
        return Ok(());
    }
    ensure!(model.live().next().is_some(), "the pool does not close");
    let stays = |desk: &Desk| matches!(desk.stage, Stage::Starting { .. } | Stage::Ready);
    ensure!(!model.live().any(stays), "a worker is not sent home");
    Ok(())
}

/// The scheduler wants to hear from the clock before the first thing that time changes.
fn alarms(model: &Model, world: &World, scheduler: &Scheduler, now: Time) -> Check {
    let Some(due) = first_due(model, world, now) else {
        return Ok(());
    };
    let alarm = scheduler.next_timeout();
    let heard = alarm.is_some_and(|at| at <= due.max(now));
    ensure!(heard, "the alarm is set to {alarm:?} and not to {due:?}");
    Ok(())
}

fn first_due(model: &Model, world: &World, now: Time) -> Option<Time> {
    let desks = model.live().filter_map(|desk| due(model, world, desk));
    let tasks = model.tasks.iter().filter_map(|task| match task.place {
        Place::Delayed(due) if due > now => Some(due),
        _ => None,
    });
    let deadlines = model.tasks.iter().filter(|task| task.place != Place::Resolved);
    let deadlines = deadlines.filter(|task| !task.expired).filter_map(|task| task.wishes.deadline);
    let begin = model.tasks.iter().filter(|task| task.may_wait());
    let begin = begin.filter_map(|task| task.wishes.begin.map(|(at, _)| at));
    let begin = begin.filter(|at| *at > now);
    let idle = model.live().filter_map(|desk| model.idle_until(desk));
    let limit = model.limit.filter(|_| !model.closed);
    let in_use = || model.live().filter(|desk| desk.stage == Stage::Ready);
    let aged = in_use().filter(|desk| desk.serves() && desk.tenure == Tenure::Stays);
    let aged = aged.filter_map(|desk| desk.aged_at(&model.config));
    let terms = in_use().filter_map(|desk| desk.leave_by).chain(aged);
    let start = model.start_at(now).into_iter().chain(model.request_at(now));
    let times = desks.chain(tasks).chain(deadlines).chain(begin).chain(idle).chain(terms);
    times.chain(limit).chain(start).min()
}

fn due(model: &Model, world: &World, desk: &Desk) -> Option<Time> {
    match desk.stage {
        Stage::Starting { deadline } | Stage::Ending { deadline, .. } => Some(deadline),
        Stage::Ready => {
            let head = model.task(*desk.pipeline.front()?)?;
            let divides = desk.is_recallable() && head.wishes.divisible;
            let divides = divides && desk.recalled != Some(head.id) && !desk.is_asked_back();
            let recalls = desk.pipeline.len() > 1 && !has_begun_behind(world, desk);
            let recalls = recalls && !desk.is_asked_back();
            let idle = model.live().any(Desk::is_idle) && !model.is_any_asked();
            let helped = divides && idle;
            let patience = if head.wishes.divisible && !helped { LONG_PATIENCE } else { PATIENCE };
            let patience = patience + if desk.is_late() { LONGEST_WAY } else { Time::ZERO };
            let patience = head.since.filter(|_| recalls || divides).map(|at| at + patience);
            let mercy = desk.mercy.map(|(_, until)| until);
            let limits = desk.timeout_at(head).into_iter().chain(desk.must_begin_at(head));
            limits.chain(patience).chain(mercy).min()
        }
        Stage::Killed { .. } | Stage::Gone => None,
    }
}
