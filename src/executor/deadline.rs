//! Until when a task must be over.

use std::time::{Duration, Instant};

use crate::base::Clock;

/// When a task must be over; what [`TaskBuilder::deadline`](crate::TaskBuilder::deadline) takes. It
/// is a [`Duration`] from the submission on, or an [`Instant`] of the standard library. (An
/// `Instant` of tokio has `into_std`.)
///
/// Both are measured on the real clock, even if the clock of the tokio runtime is paused.
///
/// ```
/// # fn render(page: u32) -> u32 { page }
/// # async fn example(pool: procpool::ProcessPoolExecutor) -> Result<(), procpool::RunError> {
/// use std::time::{Duration, Instant};
///
/// // All pages within ten seconds, however many there are; none takes more than two.
/// let end = Instant::now() + Duration::from_secs(10);
/// for page in 1..=100 {
///     pool.task(render, page).deadline(end).timeout(Duration::from_secs(2)).run().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deadline(When);

#[derive(Clone, Copy, Debug)]
enum When {
    After(Duration),
    At(Instant),
    Never,
}

impl Deadline {
    pub(super) const NEVER: Self = Self(When::Never);

    /// Of a task that is submitted now; `None` if there is none, or it is too far away to matter.
    pub(super) fn instant(self, clock: Clock) -> Option<Instant> {
        match self.0 {
            When::After(limit) => clock.now().checked_add(limit),
            When::At(instant) => Some(instant),
            When::Never => None,
        }
    }
}

impl From<Duration> for Deadline {
    fn from(limit: Duration) -> Self {
        Self(When::After(limit))
    }
}

/// `None` is no deadline.
impl From<Option<Duration>> for Deadline {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NEVER, Self::from)
    }
}

impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        Self(When::At(instant))
    }
}
