//! Durations, and how they are distributed.

use std::fmt;
use std::time::Duration;

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
    /// By [`step`]. It is not to grow when a task ends, so it has room for all from the beginning.
    counts: Box<[u64]>,
    count: u64,
    /// Nanoseconds, as all below.
    sum: u64,
    min: u64,
    max: u64,
}

impl DurationHistogram {
    pub(crate) fn record(&mut self, nanos: u64) {
        let nanos = nanos.min(LONGEST);
        self.counts[step(nanos)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest one; zero if there is none.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(if self.count == 0 { 0 } else { self.min })
    }

    /// Their mean; zero if there is none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count()).unwrap_or(0))
    }

    /// The longest one; zero if there is none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that this percentage of them does not exceed: `percentile(50.0)` is the median.
    /// Zero if there is none. Less than 0 is taken as 0, and more than 100 as 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        // Most percentages are no binary fractions: 99.9 of 1000 are not to be a bit more than 999.
        let share = percent.clamp(0.0, 100.0) / 100.0 * (1.0 - 1e-12);
        #[expect(clippy::cast_precision_loss, reason = "of so many that one makes no difference")]
        let wanted = (share * self.count as f64).ceil();
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "is rounded")]
        let wanted = (wanted as u64).max(1);
        let mut count = 0;
        let found = self.counts.iter().position(|more| {
            count += more;
            count >= wanted
        });
        let most = found.map_or(0, |step| lowest(step + 1) - 1);
        Duration::from_nanos(most.min(self.max))
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
        let (mut steps, mut count) = (self.counts.iter().enumerate().peekable(), 0);
        let up_to = |bound: Duration| {
            // Of the durations that are not told apart the least one decides.
            let most = nanos(bound);
            while let Some((_, more)) = steps.next_if(|(step, _)| lowest(*step) <= most) {
                count += more;
            }
            (bound, count)
        };
        bounds().map(up_to).collect()
    }
}

/// An hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Durations are told apart by half a microsecond, ...
const FINEST: u32 = 9;
/// ... and where they have more than this many binary digits above that, by the first ones.
const DIGITS: u32 = 7;

/// Which durations are counted together: those of one step, in nanoseconds.
fn step(nanos: u64) -> usize {
    let units = nanos >> FINEST;
    let cut = (u64::BITS - units.leading_zeros()).saturating_sub(DIGITS + 1);
    let digits = (units >> cut) as usize; // at most twice as many as there are steps of one `cut`
    ((cut as usize) << DIGITS) + digits
}

/// The shortest duration of this step.
fn lowest(step: usize) -> u64 {
    let cut = (step >> DIGITS).saturating_sub(1);
    let digits = step - (cut << DIGITS);
    (digits as u64) << cut << FINEST
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
        let counts = vec![0; step(LONGEST) + 1].into();
        Self { counts, count: 0, sum: 0, min: u64::MAX, max: 0 }
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
    fn each_duration_is_within_its_step_and_steps_are_fine_enough() {
        for step in 0..=step(LONGEST) {
            let (first, next) = (lowest(step), lowest(step + 1));
            assert!(next - first <= (first / 100).max(1000), "{first} to {next}");
            assert_eq!((super::step(first), super::step(next - 1)), (step, step));
        }
    }

    #[test]
    fn percentiles_are_those_of_all_that_were_added() {
        let (mut one, mut other) = (DurationHistogram::default(), DurationHistogram::default());
        for number in 1..=100 {
            let which = if number % 3 == 0 { &mut one } else { &mut other };
            which.record(number * 1_000_000);
        }
        one.add(&other);
        for percent in 1..=100_u32 {
            let (found, millis) = (one.percentile(f64::from(percent)), percent.into());
            assert!(is_about(found, Duration::from_millis(millis)), "{percent}: {found:?}");
        }
        assert_eq!((one.min(), one.max()), (Duration::from_millis(1), Duration::from_millis(100)));
        assert!(is_about(one.percentile(99.9), one.max()));
        assert_eq!(one.percentile(0.0).max(one.min()), one.percentile(0.0));
    }

    #[test]
    fn the_bounds_are_round_and_in_order() {
        let bounds: Vec<_> = bounds().collect();
        assert!(bounds.is_sorted() && bounds.len() == 25, "{bounds:?}");
        let micros = Duration::from_micros;
        assert_eq!(bounds[..5], [micros(10), micros(25), micros(50), micros(100), micros(250)]);
        let seconds = Duration::from_secs;
        assert_eq!(bounds[17..20], [seconds(5), seconds(10), seconds(30)]);
        assert_eq!(bounds.last(), Some(&Duration::from_nanos(LONGEST)));
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
