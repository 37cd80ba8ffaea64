//! How long a service and its agent believe in each other.
//!
//! The agent tells the time of its own clock in every answer, and the service sends back the last
//! time that it was told. So the agent knows that its service was alive at that moment or later,
//! however long the message was under way: an old one that comes late lets nothing live on. And the
//! service knows when the agent gives up at the latest, with no clock in common:
//!
//! ```text
//! agent     ──●───────────────────────────────● ends its workers
//!             │ Pong { clock } ◀── limit ─────▶
//! service   ────●──────────────────────────────● takes it for lost, and has begun nothing elsewhere
//!               last heard ◀─────── limit ─────▶
//! ```

use std::time::{Duration, Instant};

use crate::base::nanos;

/// The service's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vigil {
    limit: Duration,
    /// When it last heard of the agent.
    heard: Instant,
    /// What the agent's clock said then.
    clock: u64,
}

impl Vigil {
    /// It has just heard of the agent for the first time.
    pub(super) fn new(now: Instant, limit: Duration) -> Self {
        Self { limit, heard: now, clock: 0 }
    }

    pub(super) fn heard(&mut self, now: Instant, clock: u64) {
        (self.heard, self.clock) = (now, clock);
    }

    /// What the agent is told.
    pub(super) fn echo(&self) -> u64 {
        self.clock
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// When the agent is lost, if nothing is heard before.
    pub(super) fn lost_at(&self) -> Instant {
        self.heard + self.limit
    }

    /// How long until nothing runs there any more, though nobody tells. The kernel needs a moment
    /// to end a process, and no two clocks are equally quick.
    pub(super) fn safe_in(&self, now: Instant) -> Duration {
        const MOMENT: Duration = Duration::from_millis(100);
        (self.lost_at() + self.limit / 20 + MOMENT).saturating_duration_since(now)
    }

    /// How often it says that it lives. Some of that may be lost or late.
    pub(super) fn beat(&self) -> Duration {
        self.limit / 4
    }
}

/// The agent's side.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgentLease {
    limit: Duration,
    /// When its clock began.
    began: Instant,
    ends: Instant,
}

impl AgentLease {
    /// `began` is before its service could know of it.
    pub(super) fn new(began: Instant, limit: Duration) -> Self {
        Self { limit, began, ends: began + limit }
    }

    /// What its clock says.
    pub(super) fn clock(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.began))
    }

    /// The service was alive when its clock said so, or later. A time that has not been yet counts
    /// as now.
    pub(super) fn renew(&mut self, now: Instant, echo: u64) {
        let alive = self.began + Duration::from_nanos(echo.min(self.clock(now)));
        self.ends = self.ends.max(alive + self.limit);
    }

    pub(super) fn ends(&self) -> Instant {
        self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn the_agent_gives_up_before_the_service_takes_it_for_lost() {
        // An answer is under way for any time; nothing comes after it.
        let began = Instant::now();
        for under_way in 0..30 {
            let mut lease = AgentLease::new(began, LIMIT);
            let mut vigil = Vigil::new(began + seconds(1), LIMIT);
            let answered = began + seconds(3);
            let clock = lease.clock(answered);
            vigil.heard(answered + seconds(under_way), clock);
            // Its echo comes at any time, before the end and after it.
            for late in 0..40 {
                lease.renew(answered + seconds(under_way + late), vigil.echo());
                assert!(lease.ends() <= vigil.lost_at(), "{under_way} {late}");
            }
        }
    }

    #[test]
    fn an_old_message_that_comes_late_lets_nothing_live_on() {
        let began = Instant::now();
        let mut lease = AgentLease::new(began, LIMIT);
        lease.renew(began + seconds(5), nanos(seconds(4)));
        assert_eq!(lease.ends(), began + seconds(14));
        lease.renew(began + seconds(13), nanos(seconds(1)));
        assert_eq!(lease.ends(), began + seconds(14));
    }

    #[test]
    fn a_service_cannot_lend_more_than_its_limit() {
        let began = Instant::now();
        let mut lease = AgentLease::new(began, LIMIT);
        lease.renew(began + seconds(2), u64::MAX);
        assert_eq!(lease.ends(), began + seconds(12));
    }

    #[test]
    fn what_may_have_begun_waits_for_the_end_of_the_lease() {
        let now = Instant::now();
        let mut vigil = Vigil::new(now, LIMIT);
        assert!(vigil.safe_in(now) > LIMIT);
        vigil.heard(now + seconds(4), 4);
        assert!(vigil.safe_in(now + seconds(5)) > seconds(9));
        assert_eq!(vigil.safe_in(now + seconds(60)), Duration::ZERO);
        assert!(vigil.beat() * 3 < LIMIT);
    }
}
