//! How long a task waits between its attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Delays;
use crate::executor::units::Read;

/// How long a task waits before it is begun again; what
/// [`TaskBuilder::backoff`](crate::TaskBuilder::backoff) and [`Map::backoff`](crate::Map::backoff)
/// take.
///
/// By [default](Self::default) the first three retries come at once. The fourth one waits for 10
/// milliseconds, and each further one twice as long, but no longer than half a second. That suits
/// what is over at once, such as a worker that was killed. Where something else has to recover
/// first, choose longer delays.
///
/// ```
/// use procpool::Backoff;
/// use std::time::Duration;
///
/// // 100 ms, 200 ms, 400 ms …, up to ten seconds, and each of them shortened by chance.
/// let patient = Backoff::exponential(Duration::from_millis(100))
///     .max_delay(Duration::from_secs(10))
///     .jitter(true);
/// # let _ = patient;
/// ```
///
/// A delay is the least time between the end of an attempt and the begin of the next one. When it
/// is over, the task takes its old place in the queue. It holds up no other task, and no worker,
/// unless the pool has [no queue](crate::Builder::queue_capacity).
///
/// It can be kept with the settings of a service. A delay is a number of seconds, or a text, as in
/// [`Settings`](crate::Settings):
///
/// ```
/// use procpool::Backoff;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"{ "exponential": { "first": "100ms", "max_delay": "10s", "jitter": true } }"#;
/// let read: Backoff = serde_json::from_str(text)?;
/// let patient = Backoff::exponential(Duration::from_millis(100));
/// assert_eq!(read, patient.max_delay(Duration::from_secs(10)).jitter(true));
///
/// let steady: Backoff = serde_json::from_str(r#"{ "fixed": { "delay": 1.5 } }"#)?;
/// assert_eq!(steady, Backoff::fixed(Duration::from_millis(1_500)));
/// assert_eq!(serde_json::from_str::<Backoff>(r#""default""#)?, Backoff::default());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
#[must_use = "it says how long to wait, and does not wait"]
pub struct Backoff(Option<Delays>);

/// The longest delay of one that grows, unless it is set.
const LONGEST: Duration = Duration::from_mins(1);
/// More than a century; what is longer can be written down no more.
const ENDLESS: Duration = Duration::from_secs(u32::MAX as u64);

impl Backoff {
    /// Always the same delay. Zero is none.
    pub fn fixed(delay: Duration) -> Self {
        let delay = delay.min(ENDLESS);
        Self(Some(Delays { first: delay, doubles: false, longest: ENDLESS, jitter: false }))
    }

    /// `first` before the first retry, and each further one waits twice as long, but no longer than
    /// [`max_delay`](Self::max_delay).
    pub fn exponential(first: Duration) -> Self {
        let first = first.min(ENDLESS);
        Self(Some(Delays { first, doubles: true, longest: LONGEST.max(first), jitter: false }))
    }

    /// The longest delay of one that [grows](Self::exponential). Default: a minute, or the first
    /// delay if that is longer. `None` is the default. It does not change a [fixed](Self::fixed)
    /// back-off or the [default](Self::default) one.
    pub fn max_delay(self, delay: impl Into<Option<Duration>>) -> Self {
        let delay = delay.into();
        Self(self.0.map(|delays| match delay {
            _ if !delays.doubles => delays,
            Some(longest) => Delays { longest: longest.min(ENDLESS), ..delays },
            None => Delays { longest: LONGEST.max(delays.first), ..delays },
        }))
    }

    /// Whether each delay is shortened by chance, to between half of it and all of it. So tasks
    /// that have failed at the same time do not come back at the same time. Default: no. It does
    /// not change the [default](Self::default) back-off, whose delays are short.
    pub fn jitter(self, jitter: bool) -> Self {
        Self(self.0.map(|delays| Delays { jitter, ..delays }))
    }

    /// `None` for what is usual.
    pub(in crate::executor) fn delays(self) -> Option<Delays> {
        self.0
    }
}

/// How it is written down.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Default,
    Fixed {
        delay: Read<Duration>,
        #[serde(default)]
        jitter: bool,
    },
    Exponential {
        first: Read<Duration>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_delay: Option<Read<Duration>>,
        #[serde(default)]
        jitter: bool,
    },
}

impl From<Backoff> for Written {
    fn from(Backoff(delays): Backoff) -> Self {
        match delays {
            None => Self::Default,
            Some(Delays { first, doubles: false, jitter, .. }) => {
                Self::Fixed { delay: Read(first), jitter }
            }
            Some(Delays { first, longest, jitter, .. }) => {
                let max_delay = (longest != LONGEST.max(first)).then_some(Read(longest));
                Self::Exponential { first: Read(first), max_delay, jitter }
            }
        }
    }
}

impl From<Written> for Backoff {
    fn from(written: Written) -> Self {
        match written {
            Written::Default => Self::default(),
            Written::Fixed { delay: Read(delay), jitter } => Self::fixed(delay).jitter(jitter),
            Written::Exponential { first: Read(first), max_delay, jitter } => {
                let max_delay = max_delay.map(|Read(delay)| delay);
                Self::exponential(first).max_delay(max_delay).jitter(jitter)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_written_is_read_again() {
        let exponential = Backoff::exponential(SECOND);
        for backoff in [
            Backoff::default(),
            Backoff::default().max_delay(SECOND).jitter(true),
            Backoff::fixed(Duration::from_millis(100)),
            Backoff::fixed(Duration::MAX).jitter(true).max_delay(None),
            exponential,
            exponential.max_delay(SECOND * 90).jitter(true),
            exponential.max_delay(Duration::MAX),
            Backoff::exponential(Duration::MAX),
        ] {
            let text = serde_json::to_string(&backoff).unwrap();
            assert_eq!(serde_json::from_str::<Backoff>(&text).unwrap(), backoff, "{text}");
        }
        assert_eq!(serde_json::to_string(&exponential.jitter(false)).unwrap(), SHORT);
    }

    const SHORT: &str = r#"{"exponential":{"first":1,"jitter":false}}"#;

    #[test]
    fn the_longest_delay_can_be_taken_back() {
        let exponential = Backoff::exponential(SECOND);
        assert_eq!(exponential.max_delay(SECOND * 2).max_delay(None), exponential);
        assert_eq!(exponential.max_delay(LONGEST), exponential);
        assert_eq!(Backoff::fixed(SECOND).max_delay(Duration::ZERO), Backoff::fixed(SECOND));
    }

    #[test]
    fn what_is_no_back_off_is_refused() {
        for text in [
            r#""linear""#,
            r#"{ "fixed": { "delay": -1 } }"#,
            r#"{ "fixed": { "delay": 1, "max_delay": 2 } }"#,
            r#"{ "exponential": { "max_delay": 2 } }"#,
        ] {
            assert!(serde_json::from_str::<Backoff>(text).is_err(), "{text}");
        }
    }
}
