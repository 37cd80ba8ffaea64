//! What goes into the scheduler and comes out of it, in words of its own.

use std::time::Duration;

use serde::Serialize;

use crate::base::{HostId, TaskId, WorkerId};

/// Time since the pool began.
pub(crate) type Time = Duration;

/// What the scheduler must know before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) max_workers: usize,
    /// So many are kept, even without tasks.
    pub(crate) min_workers: usize,
    /// After so long without a task a worker leaves, if more than the least number are there.
    pub(crate) idle_timeout: Option<Duration>,
    /// A worker leaves after so many tasks.
    pub(crate) max_tasks: Option<u64>,
    /// A worker is replaced so long after its start.
    pub(crate) max_age: Option<Duration>,
    /// So many more processes than `max_workers` there may be while workers are replaced.
    pub(crate) surge: usize,
    pub(crate) on_worker_death: OnWorkerDeath,
    /// How often a start is tried again in a row because the initializer failed.
    pub(crate) initializer_retries: u32,
    /// How long a worker may take from its spawning to the end of its initializer.
    pub(crate) start_timeout: Duration,
    /// How long a worker that was told to end has before it is killed.
    pub(crate) grace_period: Duration,
    /// The most tasks that may be in the hands of one worker, running one included.
    pub(crate) max_pipeline: usize,
    /// So many processes can run at the same time.
    pub(crate) cpus: usize,
    /// After so many brief tasks in a row the next ones are taken for brief, too.
    pub(crate) brief_row: u32,
    /// What sets it apart from other pools.
    pub(crate) seed: u64,
    /// Where workers can be started, one place at least.
    pub(crate) hosts: Vec<HostConfig>,
    /// `max_workers` is how many these may have together, also when more is known of them.
    pub(crate) follows_hosts: bool,
}

/// What the scheduler must know of a host before it begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostConfig {
    /// So many workers may be there; `None` for as many as the pool may have.
    pub(crate) workers: Option<usize>,
    /// It is not there before it was requested.
    pub(crate) is_away: bool,
}

/// What the supervisor has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Spawn a worker, on that host.
    Start { worker: WorkerId, host: HostId },
    /// Have a host come that is not there; answer, in any time, with
    /// [`Scheduler::host_came`](super::Scheduler::host_came) or
    /// [`Scheduler::host_refused`](super::Scheduler::host_refused).
    Request(HostId),
    /// Hand a task to a worker.
    Send { worker: WorkerId, task: TaskId, attempt: u32 },
    /// The task is its worker's running one now: it no longer counts as waiting.
    Begin(TaskId),
    /// Take back what was sent ahead to a worker, the last first, until one has begun; also the
    /// front one if `all` says so. A part of a running task may be taken back as well; that is told
    /// by [`Scheduler::divided`](super::Scheduler::divided). Answer with
    /// [`Scheduler::recalled`](super::Scheduler::recalled).
    Recall { worker: WorkerId, all: bool },
    /// Look whether the front task of a worker has begun; answer with
    /// [`Scheduler::looked`](super::Scheduler::looked).
    Look(WorkerId),
    /// Let the running task of a worker know that it should end; answer with
    /// [`Scheduler::asked`](super::Scheduler::asked).
    Ask(WorkerId),
    /// The task is back in the queue and can be cancelled there.
    Withdraw(TaskId),
    /// The task is over without a result.
    Fail(TaskId, Failure),
    /// The last attempt of a task has failed. Keep that, and answer with
    /// [`Scheduler::decided`](super::Scheduler::decided) whether it is to be begun again.
    Consult(TaskId, Failure),
    /// The task is over: with the result, or the failure, that was kept until it was decided.
    Deliver(TaskId),
    /// Tell a worker without tasks to leave.
    Stop(WorkerId, LeaveReason),
    /// Send a worker SIGTERM.
    Terminate(WorkerId),
    /// Send a worker SIGKILL.
    Kill(WorkerId, KillReason),
    /// A worker is up and initialized.
    Warm,
    /// Say which tasks a shutdown waits for.
    Remind,
    /// No more tasks are accepted.
    Refuse(RefuseReason),
    /// Nothing is left to do, and nothing will be.
    Close,
}

/// Why a running task that is asked to end may do so by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// It looks whether it is asked.
    Looks,
    /// It is an item of a chunk, and most of them are quick.
    Quick,
}

/// Why a task ends without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its worker died while it ran.
    Died,
    /// The host of its worker was lost while it ran.
    HostLost,
    /// It has run for so long.
    TimedOut(Duration),
    /// Its deadline has passed.
    Expired,
    /// It has not begun within so long.
    NotBegun(Duration),
    Cancelled,
    /// Its worker was replaced, and the time for that was over.
    Replaced,
    Broken,
    ShutDown,
}

/// How workers are ended that were not told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    Terminate,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// It was not initialized in time.
    StartTimeout,
    /// It broke the protocol.
    Misbehaved,
    /// It was told to end and did not.
    GraceOver,
    /// The user wants it.
    Wanted,
    /// The pool is broken.
    Broken,
    /// Its host was lost while it started, and it may come up there all the same.
    HostLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefuseReason {
    ShutDown,
    Broken,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It said goodbye.
    Left,
    /// It was ready, and ended without a goodbye. Of the tasks in its hands the last `taken` had
    /// provably not begun.
    Died { taken: usize },
    /// It was ready, and its host was lost, so that nobody knows how it ended, or whether. Of the
    /// tasks in its hands the last `taken` had provably not begun.
    HostLost { taken: usize },
    /// It never became ready.
    StartFailed(StartFailureKind),
}

/// What it says of other workers that one did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartFailureKind {
    /// The cause would meet every other one too.
    Fatal,
    /// Its initializer, or what its server preloads, failed or took too long.
    Initializer,
    /// It died. Another one may fare better, but not many will be tried.
    Crashed,
    /// It was killed from outside. That may happen to anybody, so it counts little.
    Killed,
    /// The machine was short of something, or what was to start it has died.
    Accident,
    /// Its host cannot be reached, or was lost.
    Unreachable,
}

/// Whether a result may be delivered.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Deliver,
    /// Perhaps the task is begun again: keep the result, and answer with
    /// [`Scheduler::decided`](super::Scheduler::decided).
    Undecided,
    /// The worker cannot have run that task.
    Discard,
}

/// What the death of a worker means to the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnWorkerDeath {
    /// Only the task that ran on it fails; the worker is replaced.
    #[default]
    Replace,
    /// The pool is broken: every pending task and every later submit fails with
    /// [`BrokenProcessPool`](crate::BrokenProcessPool), as in Python. So is it if a worker dies, or
    /// its initializer fails, while it starts.
    Break,
}

/// Why a worker was told to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeaveReason {
    /// The pool ends.
    ShutDown,
    /// It had nothing to do for the [idle timeout](crate::Builder::idle_timeout).
    Idle,
    /// There are more workers than there may be since a
    /// [resize](crate::ProcessPoolExecutor::resize).
    Surplus,
    /// It has run [as many tasks as it may](crate::Builder::max_tasks_per_child).
    UsedUp,
    /// It takes [more memory than it may](crate::Builder::max_memory_per_child).
    Memory,
    /// It is [as old as it may be](crate::Builder::max_age).
    Age,
    /// The pool was told to [recycle](crate::ProcessPoolExecutor::recycle) its workers.
    Recycled,
    /// Somebody else than its pool's process has sent it SIGTERM: it has finished its task first.
    Terminated,
    /// It [did nothing](crate::WorkerState::Stuck) with a task that it was sent.
    Stuck,
}
