//! How long a task waits between its attempts: back-off as data.

use std::time::Duration;

use super::clock::nanos;

/// How long a task waits between its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Before the second attempt.
    pub(crate) first: Duration,
    /// Each is twice as long as the one before.
    pub(crate) doubles: bool,
    /// No delay is longer.
    pub(crate) longest: Duration,
    /// Each is between half as long and as long as it would be.
    pub(crate) jitter: bool,
}

impl Delays {
    /// How long to wait after so many attempts. `chance` is as good as random.
    pub(crate) fn after(self, attempts: u32, chance: u64) -> Duration {
        let doublings = if self.doubles { attempts.saturating_sub(1) } else { 0 };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let delay = self.first.saturating_mul(factor).min(self.longest);
        if !self.jitter {
            return delay;
        }
        let less = (u128::from(nanos(delay / 2)) * u128::from(chance)) >> u64::BITS;
        delay.saturating_sub(Duration::from_nanos(u64::try_from(less).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DELAYS: Delays =
        Delays { first: SECOND, doubles: true, longest: Duration::from_secs(10), jitter: false };

    fn first_delays(delays: Delays) -> Vec<u64> {
        (1..=6).map(|attempts| delays.after(attempts, u64::MAX).as_secs()).collect()
    }

    #[test]
    fn delays_stay_as_they_are_or_double_up_to_the_longest() {
        assert_eq!(first_delays(DELAYS), [1, 2, 4, 8, 10, 10]);
        assert_eq!(first_delays(Delays { doubles: false, ..DELAYS }), [1; 6]);
        let endless = Delays { longest: Duration::MAX, ..DELAYS };
        assert_eq!(endless.after(33, 0), SECOND * u32::MAX);
        assert_eq!(Delays { first: Duration::MAX, ..endless }.after(40, 0), Duration::MAX);
    }

    #[test]
    fn jitter_takes_up_to_half_of_a_delay() {
        let jittery = Delays { jitter: true, ..DELAYS };
        assert_eq!(jittery.after(1, 0), SECOND);
        let shortest = jittery.after(1, u64::MAX);
        assert!(shortest >= SECOND / 2 && shortest < SECOND * 501 / 1_000, "{shortest:?}");
        let brief = Delays { first: Duration::from_micros(100), ..jittery };
        assert!(brief.after(1, u64::MAX) < Duration::from_micros(51));
    }
}
