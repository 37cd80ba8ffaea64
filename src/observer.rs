//! What happens in a pool, told to those who look on: its log and its metrics.

use std::collections::BTreeMap;

use crate::handle::Resolution;
use crate::id::WorkerId;
use crate::link::Ended;
use crate::log;
use crate::metrics::{Metrics, TaskOutcome, nanos};
use crate::scheduler::{Time, WorkerView};

/// Is told of everything that happens, by the supervisor and in that order.
pub(crate) struct Observer {
    /// The pool's.
    name: String,
    /// Of the workers that have one.
    pub(crate) processes: BTreeMap<WorkerId, Process>,
    pub(crate) metrics: Metrics,
}

/// The process of a worker.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) started: Time,
}

impl Observer {
    pub(crate) fn new(name: String) -> Self {
        Self { name, processes: BTreeMap::new(), metrics: Metrics::default() }
    }

    // ----- workers -----

    pub(crate) fn worker_started(&mut self, now: Time, worker: WorkerId, pid: u32) {
        log::debug!("{}: {worker} (pid {pid}) was started", self.name);
        self.processes.insert(worker, Process { pid, started: now });
    }

    pub(crate) fn worker_ready(&mut self, now: Time, worker: WorkerId) {
        log::debug!("{}: {worker} is ready", self.name);
        self.metrics.worker_ready(now, worker);
    }

    /// It was told to leave.
    pub(crate) fn worker_stopped(&mut self, now: Time, worker: WorkerId) {
        self.metrics.worker_left(now, worker, None);
    }

    /// `seen` is what it was like just before its end. Returns the process that it had.
    pub(crate) fn worker_ended(
        &mut self,
        now: Time,
        worker: WorkerId,
        seen: Option<WorkerView>,
        ended: &Ended,
    ) -> Option<Process> {
        match ended {
            Ended::Left(_) => log::debug!("{}: {worker} has left", self.name),
            Ended::Died(death) => log::debug!("{}: {death}", self.name),
            Ended::NotStarted(error) => {
                log::debug!("{}: {worker} did not start: {error}", self.name);
            }
        }
        self.metrics.worker_left(now, worker, seen.and_then(|seen| seen.running_since));
        self.processes.remove(&worker)
    }

    // ----- tasks -----

    /// It is its worker's running one now, for the first time since it was accepted.
    pub(crate) fn task_begun(&mut self, now: Time, accepted: u64) {
        self.metrics.wait_time.record(nanos(now).saturating_sub(accepted));
    }

    /// A worker has told what became of a task.
    pub(crate) fn task_replied(&mut self, worker: WorkerId, run_time: u64) {
        self.metrics.task_replied(worker, run_time);
    }

    /// It is given to a worker again after an attempt that failed.
    pub(crate) fn task_retried(&mut self) {
        self.metrics.retries += 1;
    }

    pub(crate) fn task_finished(&mut self, resolution: &Resolution) {
        self.metrics.outcomes.count(TaskOutcome::of(resolution));
    }
}
