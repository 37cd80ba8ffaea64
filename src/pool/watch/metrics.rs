//! What the supervisor counts and measures. Nothing is decided by it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::base::{WorkerId, nanos};
use crate::error::{CallFailure, Cause};
use crate::pool::task::cell::Resolution;
use crate::scheduler::Time;

/// Counts and durations since the pool began.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) outcomes: TaskOutcomes,
    pub(crate) retries: u64,
    pub(crate) run_time: DurationHistogram,
    pub(crate) wait_time: DurationHistogram,
    /// The workers that are ready.
    ready: BTreeMap<WorkerId, ReadyWorker>,
    /// Of the workers that are not ready any more.
    past: WorkerTime,
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

    pub(crate) fn task_replied(&mut self, worker: WorkerId, run_time: u64) {
        self.run_time.record(run_time);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// It returned. That what it returned may be an `Err` is not seen by the pool.
    Returned,
    /// It panicked.
    Panicked,
    /// Its arguments could not be decoded or its result could not be encoded in the worker.
    Codec,
    /// Its result was larger than [`Builder::max_payload`](crate::Builder::max_payload).
    TooLarge,
    /// Its worker died while it ran.
    WorkerDied,
    /// It ran longer than its timeout.
    TimedOut,
    /// Its deadline passed.
    Expired,
    /// It was cancelled or aborted, by its handle or by a shutdown.
    Cancelled,
    /// The pool was broken before it ended.
    Broken,
    /// It met a pool that had been shut down, or whose runtime had ended.
    ShutDown,
}

impl TaskOutcome {
    pub(crate) fn of(resolution: &Resolution) -> Self {
        match resolution {
            Ok(_) => Self::Returned,
            Err(error) => Self::of_cause(error.cause()),
        }
    }

    fn of_cause(cause: &Cause) -> Self {
        match cause {
            Cause::Call(CallFailure::Panicked(_)) => Self::Panicked,
            Cause::Call(CallFailure::Codec { .. }) => Self::Codec,
            Cause::Call(CallFailure::TooLarge { .. }) => Self::TooLarge,
            Cause::WorkerDied(_) => Self::WorkerDied,
            Cause::TimedOut(_) | Cause::MapTimedOut(_) => Self::TimedOut,
            Cause::Expired => Self::Expired,
            Cause::Cancelled | Cause::Replaced => Self::Cancelled,
            Cause::Broken(_) => Self::Broken,
            // The first two are those of a task that was never accepted.
            Cause::Unregistered(_)
            | Cause::QueueFull { .. }
            | Cause::ShutDown
            | Cause::RuntimeGone => Self::ShutDown,
        }
    }
}

/// How many tasks ended in which way; see [`TaskOutcome`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Tasks whose worker died.
    pub worker_died: u64,
    /// Tasks that ran longer than their timeout.
    pub timed_out: u64,
    /// Tasks whose deadline passed.
    pub expired: u64,
    /// Tasks that were cancelled or aborted.
    pub cancelled: u64,
    /// Tasks that were left when the pool broke.
    pub broken: u64,
    /// Tasks that met a pool that had been shut down.
    pub shut_down: u64,
}

impl TaskOutcomes {
    pub(crate) fn count(&mut self, outcome: TaskOutcome) {
        *match outcome {
            TaskOutcome::Returned => &mut self.returned,
            TaskOutcome::Panicked => &mut self.panicked,
            TaskOutcome::Codec => &mut self.codec,
            TaskOutcome::TooLarge => &mut self.too_large,
            TaskOutcome::WorkerDied => &mut self.worker_died,
            TaskOutcome::TimedOut => &mut self.timed_out,
            TaskOutcome::Expired => &mut self.expired,
            TaskOutcome::Cancelled => &mut self.cancelled,
            TaskOutcome::Broken => &mut self.broken,
            TaskOutcome::ShutDown => &mut self.shut_down,
        } += 1;
    }
}

/// Many durations, of which only their distribution is kept: exact to one percent, or to a
/// microsecond where that is more, and up to an hour; a longer one counts as an hour.
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) {
/// let run_time = pool.stats().run_time;
/// println!("{} tasks, half of them within {:?}", run_time.count(), run_time.percentile(50.0));
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct DurationHistogram(Histogram<u64>);

impl DurationHistogram {
    const SHORTEST: Duration = Duration::from_micros(1);
    const LONGEST: Duration = Duration::from_hours(1);
    const SIGNIFICANT_DIGITS: u8 = 2;

    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest one; zero if there is none.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// Their mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e9)
    }

    /// The longest one; zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// What this percentage of them does not exceed: `percentile(50.0)` is the median. Zero if
    /// there is none. Less than 0 is taken as 0, and more than 100 as 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent.clamp(0.0, 100.0)))
    }
}

impl Default for DurationHistogram {
    fn default() -> Self {
        let bounds = (nanos(Self::SHORTEST), nanos(Self::LONGEST));
        let histogram = Histogram::new_with_bounds(bounds.0, bounds.1, Self::SIGNIFICANT_DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl fmt::Debug for DurationHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurationHistogram")
            .field("count", &self.count())
            .field("min", &self.min())
            .field("mean", &self.mean())
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: WorkerId = WorkerId(1);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Whether `found` is `expected`, give or take a percent.
    fn is_about(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) <= expected / 100 + Duration::from_micros(1)
    }

    #[test]
    fn an_empty_histogram_is_all_zero() {
        let empty = DurationHistogram::default();
        let all = [empty.min(), empty.mean(), empty.max(), empty.percentile(99.0)];
        assert_eq!((empty.count(), all), (0, [Duration::ZERO; 4]));
    }

    #[test]
    fn a_histogram_is_exact_to_a_percent() {
        let mut histogram = DurationHistogram::default();
        for number in 1..=1000 {
            histogram.record(number * 10_000);
        }
        assert_eq!(histogram.count(), 1000);
        let micros = Duration::from_micros;
        for (found, expected) in [
            (histogram.min(), micros(10)),
            (histogram.mean(), micros(5_005)),
            (histogram.percentile(50.0), micros(5_000)),
            (histogram.percentile(99.0), micros(9_900)),
            (histogram.max(), micros(10_000)),
        ] {
            assert!(is_about(found, expected), "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn a_histogram_takes_any_duration_and_any_percent() {
        let mut histogram = DurationHistogram::default();
        for nanos in [0, 1, u64::MAX] {
            histogram.record(nanos);
        }
        assert_eq!((histogram.count(), histogram.min()), (3, Duration::ZERO));
        assert!(is_about(histogram.max(), Duration::from_hours(1)), "{:?}", histogram.max());
        for percent in [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1e300, f64::INFINITY] {
            assert!(histogram.percentile(percent) <= histogram.max(), "{percent}");
        }
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
