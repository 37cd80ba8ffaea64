//! A worker as the model sees it.

use std::collections::VecDeque;

use super::{Entry, Model};
use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::view::Recallable;
use crate::scheduler::{Action, Config, KillReason, LeaveReason, Tenure, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scheduler::tests) enum Stage {
    Starting {
        deadline: Time,
    },
    Ready,
    /// Asked to leave, or terminated because of its task.
    Ending {
        deadline: Time,
        terminated: bool,
        /// Others could use one in its place.
        wanted: bool,
    },
    Killed {
        fault: bool,
    },
    Gone,
}

/// A worker as its actions and events have left it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug)]
pub(in crate::scheduler::tests) struct Desk {
    pub(in crate::scheduler::tests) id: WorkerId,
    pub(in crate::scheduler::tests) host: HostId,
    /// Its host was lost, and it has ended by then.
    pub(in crate::scheduler::tests) lost: Option<Time>,
    /// The same, and nobody had told it to go.
    pub(super) is_lost: bool,
    /// It is gone, but as its host was lost, tasks of these keys may still run there.
    pub(in crate::scheduler::tests) has_vanished: bool,
    pub(super) kept_keys: Vec<u64>,
    pub(in crate::scheduler::tests) stage: Stage,
    pub(in crate::scheduler::tests) recallable: Recallable,
    /// What it was asked, and has not answered.
    pub(in crate::scheduler::tests) questions: VecDeque<Action>,
    pub(in crate::scheduler::tests) blocked: bool,
    pub(in crate::scheduler::tests) misbehaved: bool,
    /// It is to be replaced.
    pub(in crate::scheduler::tests) recycled: bool,
    /// By then, if so.
    pub(in crate::scheduler::tests) leave_by: Option<Time>,
    /// As the scheduler sees it.
    pub(in crate::scheduler::tests) tenure: Tenure,
    /// It has said that it takes too much memory.
    pub(in crate::scheduler::tests) bloated: bool,
    /// It has said that somebody else has asked it to end.
    pub(in crate::scheduler::tests) asked_to_end: bool,
    /// The task that was asked to end.
    pub(in crate::scheduler::tests) asked: Option<TaskId>,
    /// Since when, and until when, it may end by itself.
    pub(in crate::scheduler::tests) mercy: Option<(Time, Time)>,
    /// The front task at the last recall.
    pub(in crate::scheduler::tests) recalled: Option<TaskId>,
    pub(in crate::scheduler::tests) completed: u64,
    /// Since when it has had nothing to do.
    pub(in crate::scheduler::tests) idle_since: Time,
    pub(super) started: Time,
    /// It was seen that the front task has begun.
    pub(super) has_begun: bool,
    /// By then it must have.
    pub(in crate::scheduler::tests) must_begin: Time,
    /// Before that nobody looks again.
    pub(in crate::scheduler::tests) look_at: Time,
    /// It was given up, as it did nothing.
    pub(in crate::scheduler::tests) stuck: bool,
    /// So many tasks are worth no help.
    pub(in crate::scheduler::tests) batch: usize,
    pub(in crate::scheduler::tests) pipeline: VecDeque<TaskId>,
}

impl Desk {
    pub(in crate::scheduler::tests) fn is_open(&self) -> bool {
        self.stage == Stage::Ready && !self.blocked && !self.is_asked_back() && self.serves()
    }

    /// It is there, or will be, and takes tasks.
    pub(in crate::scheduler::tests) fn serves(&self) -> bool {
        let stays = matches!(self.stage, Stage::Starting { .. } | Stage::Ready);
        let is_going =
            self.bloated || self.asked_to_end || self.stuck || self.tenure == Tenure::Going;
        stays && !is_going && !self.is_successor()
    }

    pub(in crate::scheduler::tests) fn is_successor(&self) -> bool {
        matches!(self.tenure, Tenure::StartingSuccessor | Tenure::ReadySuccessor)
    }

    /// It has no more tasks, and another one may take its place.
    pub(in crate::scheduler::tests) fn is_stopping(&self) -> bool {
        let stops = matches!(self.stage, Stage::Ending { .. } | Stage::Killed { .. });
        stops && self.pipeline.is_empty() && !self.stuck
    }

    /// It is to be replaced, and this may be known to the scheduler.
    pub(in crate::scheduler::tests) fn may_be_outgoing(&self, now: Time, config: &Config) -> bool {
        let nearly_used_up = config.max_tasks.is_some() && config.surge > 0;
        self.recycled
            || self.bloated
            || self.asked_to_end
            || self.is_aged(now, config)
            || nearly_used_up
    }

    pub(in crate::scheduler::tests) fn is_aged(&self, now: Time, config: &Config) -> bool {
        self.aged_at(config).is_some_and(|at| at <= now)
    }

    pub(in crate::scheduler::tests) fn aged_at(&self, config: &Config) -> Option<Time> {
        Some(self.started + config.max_age?)
    }

    pub(in crate::scheduler::tests) fn is_used_up(&self, in_hands: usize, config: &Config) -> bool {
        config.max_tasks.is_some_and(|most| self.completed + in_hands as u64 >= most)
    }

    pub(in crate::scheduler::tests) fn is_recallable(&self) -> bool {
        self.recallable != Recallable::Never
    }

    /// It answers later.
    pub(in crate::scheduler::tests) fn is_late(&self) -> bool {
        self.recallable == Recallable::Late
    }

    /// It was asked for what it has not begun, and has not answered.
    pub(in crate::scheduler::tests) fn is_asked_back(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Action::Recall { .. }))
    }

    /// It was asked whether the front task has begun, and has not answered.
    pub(in crate::scheduler::tests) fn is_looked_at(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Action::Look(_)))
    }

    /// Whether it is known that the front task has begun, or cannot be known.
    pub(in crate::scheduler::tests) fn is_sure(&self) -> bool {
        self.has_begun || !self.is_recallable()
    }

    /// When it has to be seen whether the front task has run for too long.
    pub(in crate::scheduler::tests) fn timeout_at(&self, head: &Entry) -> Option<Time> {
        let at = head.timeout_at().filter(|_| !self.is_looked_at())?;
        Some(if self.has_begun { at } else { at.max(self.look_at) })
    }

    /// When the front task must have begun.
    pub(in crate::scheduler::tests) fn must_begin_at(&self, head: &Entry) -> Option<Time> {
        let waits = !self.is_sure() && !self.is_late() && self.serves() && !head.is_sentenced();
        waits.then_some(self.must_begin)
    }

    pub(in crate::scheduler::tests) fn is_idle(&self) -> bool {
        self.is_open() && self.pipeline.is_empty()
    }
}

impl Model {
    /// Whether a worker that serves was asked for what it has not begun, and has not answered.
    pub(in crate::scheduler::tests) fn is_any_asked(&self) -> bool {
        self.live().any(|desk| desk.stage == Stage::Ready && desk.is_asked_back())
    }

    pub(in crate::scheduler::tests) fn asked_to_end(&mut self, now: Time, id: WorkerId) {
        let desk = self.desk_mut(id);
        let stays = desk.stage == Stage::Ready && (desk.serves() || desk.is_successor());
        let was_used = desk.completed > 0 || !desk.pipeline.is_empty();
        desk.asked_to_end |= desk.stage == Stage::Ready;
        if stays && !was_used {
            let host = desk.host;
            self.hosts[host.position()].starts.died_idle(now);
        }
    }

    pub(in crate::scheduler::tests) fn told_to_leave(
        &mut self,
        now: Time,
        id: WorkerId,
        reason: LeaveReason,
    ) {
        use LeaveReason::{Idle, ShutDown, Surplus};

        let deadline = now + self.config.grace_period;
        let wanted = !matches!(reason, Idle | ShutDown | Surplus);
        self.desk_mut(id).stage = Stage::Ending { deadline, terminated: false, wanted };
    }

    /// `terminated` tells whether that is because of its task.
    pub(in crate::scheduler::tests) fn told_to_end(
        &mut self,
        now: Time,
        id: WorkerId,
        terminated: bool,
    ) {
        let since = self.desk_mut(id).mercy.take().map_or(now, |(since, _)| since);
        let deadline = since + self.config.grace_period;
        self.desk_mut(id).stage = Stage::Ending { deadline, terminated, wanted: true };
    }

    pub(in crate::scheduler::tests) fn killed(&mut self, id: WorkerId, reason: KillReason) {
        let fault = matches!(reason, KillReason::Misbehaved | KillReason::StartTimeout);
        self.desk_mut(id).stage = Stage::Killed { fault };
    }
}
