//! What the supervisor counts and measures. Nothing is decided by it.

use std::time::Duration;

use serde::Serialize;

use crate::base::WorkerId;
use crate::base::maps::SortedMap;
use crate::error::TaskError;
use crate::error::kind::TaskOutcome;
use crate::pool::watch::histogram::DurationHistogram;
use crate::scheduler::Time;

/// Counts and durations since the pool began.
#[derive(Default)]
pub(crate) struct Metrics {
    /// By the positions of the functions; those that have run. What the pool as a whole has counted
    /// is their sum, so that a task counts once.
    functions: Vec<Option<Box<Figures>>>,
    pub(crate) retries: u64,
    pub(crate) wait_time: DurationHistogram,
    /// The workers that are ready.
    ready: SortedMap<WorkerId, ReadyWorker>,
    /// Of the workers that are not ready any more.
    past: WorkerTime,
}

/// Of the tasks of one function.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) begun: u64,
    pub(crate) outcomes: TaskOutcomes,
    /// Of the items of chunks, and of tasks that are no chunks.
    pub(crate) items: TaskOutcomes,
    pub(crate) run_time: DurationHistogram,
    pub(crate) lost_time: DurationHistogram,
}

impl Figures {
    /// A task is over. If it was a chunk, `items` are those of its items that were not told before.
    pub(crate) fn task_ended(&mut self, outcome: TaskOutcome, items: Option<&TaskOutcomes>) {
        self.outcomes.count(outcome);
        match items {
            Some(items) => self.items.add(items),
            None => self.items.count(outcome),
        }
    }

    fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.outcomes.add(&other.outcomes);
        self.items.add(&other.items);
        self.run_time.add(&other.run_time);
        self.lost_time.add(&other.lost_time);
    }
}

struct ReadyWorker {
    since: Time,
    /// How long its tasks ran that it has replied to.
    busy: Duration,
}

#[derive(Clone, Copy, Default)]
struct WorkerTime {
    ready: Duration,
    busy: Duration,
}

impl Metrics {
    pub(crate) fn worker_ready(&mut self, now: Time, worker: WorkerId) {
        self.ready.insert(worker, ReadyWorker { since: now, busy: Duration::ZERO });
    }

    /// A worker is gone, or about to go. `running_since` is that of a task that it has not replied
    /// to.
    pub(crate) fn worker_left(&mut self, now: Time, worker: WorkerId, running_since: Option<Time>) {
        if let Some(ready) = self.ready.remove(&worker) {
            self.past = self.past.plus(ready.time(now, running_since));
        }
    }

    /// Of the function at this position.
    pub(crate) fn of(&mut self, function: u32) -> &mut Figures {
        let position = function as usize;
        if position >= self.functions.len() {
            self.functions.resize_with(position + 1, || None);
        }
        self.functions[position].get_or_insert_default()
    }

    /// Of each function that has any, with its position.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (u32, &Figures)> {
        let figures = (0..).zip(&self.functions);
        figures.filter_map(|(position, figures)| Some((position, &**figures.as_ref()?)))
    }

    /// Of all functions.
    pub(crate) fn sum(&self) -> Figures {
        let mut sum = Figures::default();
        self.functions().for_each(|(_, figures)| sum.add(figures));
        sum
    }

    pub(crate) fn task_replied(&mut self, worker: WorkerId, run_time: u64) {
        if let Some(ready) = self.ready.get_mut(&worker) {
            ready.busy = ready.busy.saturating_add(Duration::from_nanos(run_time));
        }
    }

    /// The share of their time that ready workers have spent running tasks.
    pub(crate) fn utilization(
        &self,
        now: Time,
        running_since: impl Fn(WorkerId) -> Option<Time>,
    ) -> f64 {
        let present = self.ready.iter().map(|(id, ready)| ready.time(now, running_since(*id)));
        let WorkerTime { ready, busy } = present.fold(self.past, WorkerTime::plus);
        if ready.is_zero() { 0.0 } else { busy.as_secs_f64() / ready.as_secs_f64() }
    }
}

impl ReadyWorker {
    /// A worker's word counts only as far as there was time for it.
    fn time(&self, now: Time, running_since: Option<Time>) -> WorkerTime {
        let ready = now.saturating_sub(self.since);
        let running = running_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        WorkerTime { ready, busy: self.busy.saturating_add(running).min(ready) }
    }
}

impl WorkerTime {
    fn plus(self, other: Self) -> Self {
        Self {
            ready: self.ready.saturating_add(other.ready),
            busy: self.busy.saturating_add(other.busy),
        }
    }
}

/// How a task ended.
pub(crate) fn outcome_of<T>(resolution: &Result<T, TaskError>) -> TaskOutcome {
    resolution.as_ref().err().map_or(TaskOutcome::Returned, TaskError::outcome)
}

/// How many tasks ended in which way; see [`TaskOutcome`]. In
/// [`PoolStats::items`](crate::PoolStats::items) each input of a map is a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskOutcomes {
    /// Tasks that returned.
    pub returned: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks whose arguments could not be decoded, or whose result could not be encoded.
    pub codec: u64,
    /// Tasks whose result was too large.
    pub too_large: u64,
    /// Tasks whose limits could not be set in the worker.
    pub unsupported_limit: u64,
    /// Tasks whose worker died.
    pub worker_died: u64,
    /// Tasks whose worker's host was lost.
    pub host_lost: u64,
    /// Tasks that ran longer than their timeout.
    pub timed_out: u64,
    /// Tasks whose deadline passed.
    pub expired: u64,
    /// Tasks that did not begin in time.
    pub not_begun: u64,
    /// Tasks that were cancelled or aborted.
    pub cancelled: u64,
    /// Tasks that were left when the pool broke.
    pub broken: u64,
    /// Tasks that met a pool that had been shut down.
    pub shut_down: u64,
}

impl TaskOutcomes {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.completed() + self.failed() + self.cancelled
    }

    /// Those that ran to their end, as in [`PoolStats::completed`](crate::PoolStats::completed).
    pub(crate) fn completed(&self) -> u64 {
        let Self { returned, panicked, codec, too_large, unsupported_limit, .. } = self;
        returned + panicked + codec + too_large + unsupported_limit
    }

    /// As in [`PoolStats::failed`](crate::PoolStats::failed).
    pub(crate) fn failed(&self) -> u64 {
        let Self {
            worker_died, host_lost, timed_out, expired, not_begun, broken, shut_down, ..
        } = self;
        worker_died + host_lost + timed_out + expired + not_begun + broken + shut_down
    }

    pub(crate) fn count(&mut self, outcome: TaskOutcome) {
        self.count_all(outcome, 1);
    }

    pub(crate) fn count_all(&mut self, outcome: TaskOutcome, count: u64) {
        *match outcome {
            TaskOutcome::NotAccepted => return, // not reached: it has no task

            TaskOutcome::Returned => &mut self.returned,
            TaskOutcome::Panicked => &mut self.panicked,
            TaskOutcome::Codec => &mut self.codec,
            TaskOutcome::TooLarge => &mut self.too_large,
            TaskOutcome::UnsupportedLimit => &mut self.unsupported_limit,
            TaskOutcome::WorkerDied => &mut self.worker_died,
            TaskOutcome::HostLost => &mut self.host_lost,
            TaskOutcome::TimedOut => &mut self.timed_out,
            TaskOutcome::Expired => &mut self.expired,
            TaskOutcome::NotBegun => &mut self.not_begun,
            TaskOutcome::Cancelled => &mut self.cancelled,
            TaskOutcome::Broken => &mut self.broken,
            TaskOutcome::ShutDown => &mut self.shut_down,
        } += count;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.returned += other.returned;
        self.panicked += other.panicked;
        self.codec += other.codec;
        self.too_large += other.too_large;
        self.unsupported_limit += other.unsupported_limit;
        self.worker_died += other.worker_died;
        self.host_lost += other.host_lost;
        self.timed_out += other.timed_out;
        self.expired += other.expired;
        self.not_begun += other.not_begun;
        self.cancelled += other.cancelled;
        self.broken += other.broken;
        self.shut_down += other.shut_down;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::nanos;

    const W: WorkerId = WorkerId(1);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn utilization_counts_what_ran_and_what_runs() {
        let mut metrics = Metrics::default();
        assert!(metrics.utilization(seconds(5), |_| None).abs() < 1e-9, "nobody was ready");
        metrics.worker_ready(seconds(10), W);
        metrics.task_replied(W, nanos(seconds(2)));
        assert!((metrics.utilization(seconds(20), |_| None) - 0.2).abs() < 1e-9);
        assert!((metrics.utilization(seconds(20), |_| Some(seconds(17))) - 0.5).abs() < 1e-9);
        metrics.worker_left(seconds(20), W, Some(seconds(15)));
        assert!((metrics.utilization(seconds(99), |_| None) - 0.7).abs() < 1e-9);
    }

    #[test]
    fn a_worker_cannot_have_been_busier_than_time_allows() {
        let mut metrics = Metrics::default();
        for worker in [W, WorkerId(2)] {
            metrics.worker_ready(seconds(10), worker);
        }
        for _ in 0..3 {
            metrics.task_replied(W, u64::MAX);
            metrics.task_replied(WorkerId(3), u64::MAX); // never heard of
        }
        assert!((metrics.utilization(seconds(20), |_| None) - 0.5).abs() < 1e-9);
        assert!(metrics.utilization(seconds(10), |_| None).abs() < 1e-9, "no time has passed");
    }
}
