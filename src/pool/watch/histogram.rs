//! Durations, and how they are distributed.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::base::nanos;

/// Many durations, of which only the distribution is kept. It is exact to one percent, or to a
/// microsecond where that is more. A duration of more than an hour counts as an hour.
///
/// ```
/// # async fn example(pool: procpool::ProcessPoolExecutor) {
/// let run_time = pool.stats().run_time;
/// println!("{} tasks, half of them within {:?}", run_time.count(), run_time.percentile(50.0));
/// # }
/// ```
///
/// For a histogram of Prometheus:
///
/// ```
/// # fn example(pool: procpool::ProcessPoolExecutor) {
/// let run_time = pool.stats().run_time;
/// for (bound, count) in run_time.buckets() {
///     println!("run_seconds_bucket{{le=\"{}\"}} {count}", bound.as_secs_f64());
/// }
/// println!("run_seconds_bucket{{le=\"+Inf\"}} {}", run_time.count());
/// println!("run_seconds_sum {}", run_time.sum().as_secs_f64());
/// println!("run_seconds_count {}", run_time.count());
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct DurationHistogram {
    counts: Histogram<u64>,
    /// Nanoseconds.
    sum: u64,
}

impl DurationHistogram {
    const SHORTEST: Duration = Duration::from_micros(1);
    const LONGEST: Duration = Duration::from_hours(1);
    const SIGNIFICANT_DIGITS: u8 = 2;

    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts.saturating_record(nanos);
        self.sum = self.sum.saturating_add(nanos.min(self.counts.high()));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // It cannot fail: all have the same bounds.
        let _ = self.counts.add(&other.counts);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The shortest one; zero if there is none.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.counts.min())
    }

    /// Their mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count()).unwrap_or(0))
    }

    /// The longest one; zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.counts.max())
    }

    /// The duration that this percentage of them does not exceed: `percentile(50.0)` is the median.
    /// Zero if there is none. Less than 0 is taken as 0, and more than 100 as 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.counts.value_at_percentile(percent.clamp(0.0, 100.0)))
    }

    /// All of them added up.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Upper bounds, and for each how many durations do not exceed it, as in a histogram of
    /// Prometheus. The bounds are always the same: 1, 2.5 and 5 times each power of ten from 10
    /// microseconds to 10 seconds, then 30 seconds, and 1, 5, 10, 30 and 60 minutes. The last count
    /// is that of all durations.
    pub fn buckets(&self) -> Vec<(Duration, u64)> {
        let mut recorded = self.counts.iter_recorded().peekable();
        let mut count = 0;
        let up_to = |bound: Duration| {
            // Of the durations that are not told apart the least one decides.
            let most = nanos(bound);
            let is_within = |nanos| self.counts.lowest_equivalent(nanos) <= most;
            while let Some(some) = recorded.next_if(|some| is_within(some.value_iterated_to())) {
                count += some.count_since_last_iteration();
            }
            (bound, count)
        };
        bounds().map(up_to).collect()
    }
}

/// Those of the buckets.
fn bounds() -> impl Iterator<Item = Duration> {
    let decades = (0..6).flat_map(|power| [100, 250, 500].map(|n| n * 10_u64.pow(power)));
    let short = decades.chain([100_000_000]).map(|tenths| Duration::from_nanos(tenths * 100));
    let long = [30, 60, 300, 600, 1_800, 3_600].map(Duration::from_secs);
    short.chain(long)
}

impl Default for DurationHistogram {
    fn default() -> Self {
        let bounds = (nanos(Self::SHORTEST), nanos(Self::LONGEST));
        let histogram = Histogram::new_with_bounds(bounds.0, bounds.1, Self::SIGNIFICANT_DIGITS);
        Self { counts: histogram.expect("the bounds are in order"), sum: 0 }
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
    fn the_bounds_are_round_and_in_order() {
        let bounds: Vec<_> = bounds().collect();
        assert!(bounds.is_sorted() && bounds.len() == 25, "{bounds:?}");
        let micros = Duration::from_micros;
        assert_eq!(bounds[..5], [micros(10), micros(25), micros(50), micros(100), micros(250)]);
        let seconds = Duration::from_secs;
        assert_eq!(bounds[17..20], [seconds(5), seconds(10), seconds(30)]);
        assert_eq!(bounds.last(), Some(&DurationHistogram::LONGEST));
    }

    #[test]
    fn buckets_count_what_does_not_exceed_their_bounds() {
        let mut histogram = DurationHistogram::default();
        assert!(histogram.buckets().iter().all(|(_, count)| *count == 0));
        let durations = [0, 9_000, 10_000, 12_000, 3_000_000, 3_000_000, 7_200_000_000_000];
        for nanos in durations {
            histogram.record(nanos);
        }
        let buckets = histogram.buckets();
        let up_to = |bound| buckets.iter().find(|(found, _)| *found == bound).unwrap().1;
        for (micros, count) in [(10, 3), (25, 4), (2_500, 4), (5_000, 6), (10_000_000, 6)] {
            assert_eq!(up_to(Duration::from_micros(micros)), count, "{micros}");
        }
        assert_eq!(up_to(Duration::from_hours(1)), histogram.count());
        assert!(buckets.is_sorted_by_key(|(_, count)| *count));
    }

    #[test]
    fn the_sum_is_exact_and_an_hour_is_the_most() {
        let mut histogram = DurationHistogram::default();
        for nanos in [1, 10, 1_234_567] {
            histogram.record(nanos);
        }
        assert_eq!(histogram.sum(), Duration::from_nanos(1_234_578));
        let mut other = DurationHistogram::default();
        other.record(u64::MAX);
        assert_eq!(other.sum(), Duration::from_hours(1));
        other.add(&histogram);
        assert_eq!(other.sum(), Duration::from_hours(1) + histogram.sum());
        assert_eq!((other.count(), other.min()), (4, histogram.min()));
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
}
