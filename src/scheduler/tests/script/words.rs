//! Tasks, actions and times, in few words.

use std::time::Duration;

use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::{Action, Config, Failure, KillReason, LeaveReason, Task, Wishes};
use crate::testing::plain_config;

pub(in crate::scheduler::tests) const GRACE: Duration = Duration::from_secs(5);
pub(in crate::scheduler::tests) const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Nothing but what every pool must have.
pub(in crate::scheduler::tests) fn config(max_workers: usize) -> Config {
    Config {
        initializer_retries: 2,
        start_timeout: START_TIMEOUT,
        grace_period: GRACE,
        ..plain_config(max_workers)
    }
}

// ----- tasks -----

pub(in crate::scheduler::tests) fn task(id: u64) -> Task {
    Task::new(TaskId(id))
}

pub(in crate::scheduler::tests) fn wishing(id: u64, wishes: Wishes) -> Task {
    Task::with(TaskId(id), wishes)
}

pub(in crate::scheduler::tests) fn task_with_retries(id: u64, retries: u32) -> Task {
    wishing(id, Wishes { retries, ..Wishes::default() })
}

pub(in crate::scheduler::tests) fn conditional_task(id: u64, retries: u32) -> Task {
    wishing(id, Wishes { retries, conditional: true, ..Wishes::default() })
}

pub(in crate::scheduler::tests) fn task_with_timeout(id: u64, timeout: Duration) -> Task {
    wishing(id, Wishes { timeout: Some(timeout), ..Wishes::default() })
}

pub(in crate::scheduler::tests) fn task_with_priority(id: u64, priority: i32) -> Task {
    wishing(id, Wishes { priority, ..Wishes::default() })
}

pub(in crate::scheduler::tests) fn sticky_task(id: u64, key: u64) -> Task {
    wishing(id, Wishes { key: Some(key), ..Wishes::default() })
}

pub(in crate::scheduler::tests) fn divisible_task(id: u64) -> Task {
    wishing(id, Wishes { divisible: true, ..Wishes::default() })
}

// ----- actions -----

pub(in crate::scheduler::tests) fn start(worker: u64) -> Action {
    start_on(0, worker)
}

pub(in crate::scheduler::tests) fn start_on(host: u32, worker: u64) -> Action {
    Action::Start { worker: WorkerId(worker), host: HostId(host) }
}

pub(in crate::scheduler::tests) fn request(host: u32) -> Action {
    Action::Request(HostId(host))
}

pub(in crate::scheduler::tests) fn send(worker: u64, task: u64) -> Action {
    send_again(worker, task, 1)
}

pub(in crate::scheduler::tests) fn send_again(worker: u64, task: u64, attempt: u32) -> Action {
    Action::Send { worker: WorkerId(worker), task: TaskId(task), attempt }
}

pub(in crate::scheduler::tests) fn begin(task: u64) -> Action {
    Action::Begin(TaskId(task))
}

pub(in crate::scheduler::tests) fn recall(worker: u64) -> Action {
    Action::Recall { worker: WorkerId(worker), all: false }
}

pub(in crate::scheduler::tests) fn recall_all(worker: u64) -> Action {
    Action::Recall { worker: WorkerId(worker), all: true }
}

pub(in crate::scheduler::tests) fn ask(worker: u64) -> Action {
    Action::Ask(WorkerId(worker))
}

pub(in crate::scheduler::tests) fn withdraw(task: u64) -> Action {
    Action::Withdraw(TaskId(task))
}

pub(in crate::scheduler::tests) fn fail(task: u64, failure: Failure) -> Action {
    Action::Fail(TaskId(task), failure)
}

pub(in crate::scheduler::tests) fn consult(task: u64, failure: Failure) -> Action {
    Action::Consult(TaskId(task), failure)
}

pub(in crate::scheduler::tests) fn deliver(task: u64) -> Action {
    Action::Deliver(TaskId(task))
}

pub(in crate::scheduler::tests) fn stop(worker: u64) -> Action {
    stop_because(worker, LeaveReason::ShutDown)
}

pub(in crate::scheduler::tests) fn stop_because(worker: u64, why: LeaveReason) -> Action {
    Action::Stop(WorkerId(worker), why)
}

pub(in crate::scheduler::tests) fn terminate(worker: u64) -> Action {
    Action::Terminate(WorkerId(worker))
}

pub(in crate::scheduler::tests) fn kill(worker: u64, reason: KillReason) -> Action {
    Action::Kill(WorkerId(worker), reason)
}

// ----- times -----

pub(in crate::scheduler::tests) const fn micros(n: u64) -> Duration {
    Duration::from_micros(n)
}

pub(in crate::scheduler::tests) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(in crate::scheduler::tests) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
