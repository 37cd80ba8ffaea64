//! The truth: processes, what lies in their pipes, and who has claimed what.

use std::collections::VecDeque;

use crate::base::{TaskId, WorkerId};
use crate::scheduler::Prospect;
use crate::scheduler::view::Recallable;

/// Who may still decide about a task that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Whoever comes first.
    Offered,
    /// The worker has begun it, and perhaps finished.
    Begun,
    /// It will not begin: its user or the scheduler took it back.
    Revoked,
}

/// A task on its way to a worker.
#[derive(Clone, Copy, Debug)]
struct Sending {
    task: TaskId,
    attempt: u32,
    claim: Claim,
}

/// A child process.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) alive: bool,
    /// It has reported to be ready.
    pub(super) up: bool,
    /// Its tasks can be taken back.
    pub(super) recallable: Recallable,
    /// Ignores all but SIGKILL.
    pub(super) stubborn: bool,
    pub(super) asked_to_leave: bool,
    pub(super) terminated: bool,
    pub(super) killed: bool,
    pub(super) blocked: bool,
    /// Its running task looks whether it is asked to end.
    pub(super) looks: bool,
    /// Its running task was asked to end.
    pub(super) asked: bool,
    /// It has said that it takes too much memory, and begins nothing more.
    pub(super) bloated: bool,
    /// Indices of sendings.
    inbox: VecDeque<usize>,
    running: Option<TaskId>,
    /// Written, and not yet read by the supervisor.
    results: VecDeque<TaskId>,
    pub(super) last_result: Option<TaskId>,
}

impl Process {
    /// It answers later.
    pub(super) fn is_late(&self) -> bool {
        self.recallable == Recallable::Late
    }

    pub(super) fn read_result(&mut self) -> Option<TaskId> {
        self.last_result = Some(self.results.pop_front()?);
        self.last_result
    }

    pub(super) fn has_results(&self) -> bool {
        !self.results.is_empty()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// By worker id.
    processes: Vec<Process>,
    sendings: Vec<Sending>,
    /// The last sending of each task, by task id.
    current: Vec<Option<usize>>,
    /// What their users cancelled, by task id.
    cancelled: Vec<bool>,
    /// Of how many parts each task that has not been resolved consists, by task id.
    parts: Vec<usize>,
}

pub(super) fn index(id: u64) -> usize {
    usize::try_from(id).unwrap().wrapping_sub(1)
}

impl World {
    pub(super) fn start(&mut self) {
        self.processes.push(Process { alive: true, ..Process::default() });
    }

    pub(super) fn process(&mut self, id: WorkerId) -> Option<&mut Process> {
        self.processes.get_mut(index(id.0))
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = WorkerId> {
        let alive = |(n, process): (usize, &Process)| process.alive.then_some(n as u64 + 1);
        let ids = self.processes.iter().enumerate().filter_map(alive);
        ids.map(WorkerId)
    }

    /// A living process, the `n`-th or one after it.
    pub(super) fn choose(&self, n: usize) -> Option<WorkerId> {
        let count = self.alive().count();
        (count > 0).then(|| self.alive().nth(n % count))?
    }

    pub(super) fn new_task(&mut self, parts: usize) -> TaskId {
        self.current.push(None);
        self.cancelled.push(false);
        self.parts.push(parts);
        TaskId(self.current.len() as u64)
    }

    /// Takes back what has not begun of a running task of several parts: its number of parts.
    pub(super) fn divide(&mut self, task: TaskId) -> Option<usize> {
        if self.claim(task) != Some(Claim::Begun) || self.parts[index(task.0)] < 2 {
            return None;
        }
        Some(std::mem::replace(&mut self.parts[index(task.0)], 1) - 1)
    }

    /// The first part of a running task died with its worker. What is left of it has not begun.
    pub(super) fn lose_first_part(&mut self, task: TaskId) -> bool {
        let rest = self.divide(task);
        if let Some(rest) = rest {
            self.parts[index(task.0)] = rest;
            self.set_claim(task, Claim::Revoked);
        }
        rest.is_some()
    }

    pub(super) fn send(&mut self, worker: WorkerId, task: TaskId, attempt: u32) {
        let cancelled = self.cancelled[index(task.0)];
        let claim = if cancelled { Claim::Revoked } else { Claim::Offered };
        self.current[index(task.0)] = Some(self.sendings.len());
        if let Some(process) = self.processes.get_mut(index(worker.0)) {
            process.inbox.push_back(self.sendings.len());
        }
        self.sendings.push(Sending { task, attempt, claim });
    }

    pub(super) fn claim(&self, task: TaskId) -> Option<Claim> {
        let sending = self.current.get(index(task.0)).copied()??;
        Some(self.sendings[sending].claim)
    }

    fn set_claim(&mut self, task: TaskId, claim: Claim) {
        if let Some(sending) = self.current[index(task.0)] {
            self.sendings[sending].claim = claim;
        }
    }

    /// The user takes the task back, wherever it is.
    pub(super) fn cancel(&mut self, task: TaskId) {
        self.cancelled[index(task.0)] = true;
        self.set_claim(task, Claim::Revoked);
    }

    pub(super) fn is_cancelled(&self, task: TaskId) -> bool {
        self.cancelled[index(task.0)]
    }

    /// Takes back from the end of a pipeline until something has begun or `keep` are left, and
    /// counts.
    pub(super) fn take_back(
        &mut self,
        worker: WorkerId,
        pipeline: &[TaskId],
        keep: usize,
    ) -> usize {
        if self.process(worker).is_none_or(|process| process.recallable == Recallable::Never) {
            return 0;
        }
        let mut taken = 0;
        for &task in pipeline.iter().skip(keep).rev() {
            if self.claim(task) == Some(Claim::Begun) {
                break;
            }
            self.set_claim(task, Claim::Revoked);
            taken += 1;
        }
        taken
    }

    /// The worker takes one step: it writes the result of what it runs, or begins the next task,
    /// which is returned with its attempt.
    pub(super) fn step(&mut self, worker: WorkerId) -> Option<(TaskId, u32)> {
        let process = self.processes.get_mut(index(worker.0))?;
        if !process.up || process.killed {
            return None;
        }
        if let Some(task) = process.running.take() {
            process.results.push_back(task);
            process.asked = false;
            return None;
        }
        if process.bloated {
            return None;
        }
        while let Some(next) = process.inbox.pop_front() {
            let sending = &mut self.sendings[next];
            if sending.claim == Claim::Offered {
                sending.claim = Claim::Begun;
                process.running = Some(sending.task);
                return Some((sending.task, sending.attempt));
            }
        }
        None
    }

    pub(super) fn running(&self, worker: WorkerId) -> Option<TaskId> {
        self.processes[index(worker.0)].running
    }

    /// Whether the process has nothing more to do or to say.
    pub(super) fn is_idle(&self, worker: WorkerId) -> bool {
        let process = &self.processes[index(worker.0)];
        let waits = |next: &usize| self.sendings[*next].claim == Claim::Offered;
        let waits = !process.bloated && process.inbox.iter().any(waits);
        process.running.is_none() && process.results.is_empty() && !waits
    }

    /// The running task is asked to end; whether it will notice.
    pub(super) fn ask(&mut self, worker: WorkerId) -> bool {
        let process = &mut self.processes[index(worker.0)];
        process.asked = process.running.is_some();
        process.asked && process.looks
    }

    /// Why it is worth waiting for a task that was asked to end. Some that do not notice it may be
    /// quick.
    pub(super) fn prospect(&self, worker: WorkerId, notices: bool) -> Option<Prospect> {
        let is_quick = self.running(worker).is_some_and(|task| task.get() % 3 == 0);
        if notices { Some(Prospect::Looks) } else { is_quick.then_some(Prospect::Quick) }
    }
}
