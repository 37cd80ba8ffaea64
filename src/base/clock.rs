//! What time it is for a pool, and how it waits for a time.

use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::base::timer::Delay;

/// Ready when the time has come. A waiter is set seldom, so it may take an allocation.
pub(crate) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock, as it is handed to a pool when that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) now: fn() -> Instant,
    pub(crate) sleep: fn(Duration) -> Sleep,
}

impl Clock {
    /// Workers do not run on the runtime's clock, which a test may have paused.
    pub(crate) const REAL: Self =
        Self { now: Instant::now, sleep: |duration| Box::pin(Delay::new(duration)) };

    pub(crate) fn now(self) -> Instant {
        (self.now)()
    }

    pub(crate) fn sleep(self, duration: Duration) -> Sleep {
        (self.sleep)(duration)
    }
}

/// A duration as a number, of half a millennium at most.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
