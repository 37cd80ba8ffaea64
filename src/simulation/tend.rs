//! The end of a history: nothing goes wrong any more, and everything must come to its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::pool::{Shutdown, ShutdownReport};
use crate::testing::{Check, ensure};

use super::history::Birth;
use super::play::Play;
use super::process::Paging;
use super::record::Ending;
use super::user::Waiter;
use super::{clock, runs};

/// More than any history needs.
const ROUNDS: usize = 20_000;
/// After so many rounds in which nothing happened nothing will.
const SILENCE: usize = 3;

const RESULT: runs::Result =
    runs::Result { ending: Ending::Returned, nanos: 1_000, size: 0, emits: 2 };

impl Play<'_> {
    pub(super) async fn end(&mut self) -> Check {
        self.rounds("tasks", Self::is_served).await?;
        self.check_rest()?;
        self.had_ended = self.engine.commons.closed.get().is_some();
        let report = self.shut_down();
        self.rounds("the pool", Self::is_closed).await?;
        let report = report.lock().unwrap().take();
        self.see_outcomes();
        self.check_end(report.as_ref())
    }

    /// Says what the pool reports at its end, if it was there to be asked.
    fn shut_down(&mut self) -> Arc<Mutex<Option<ShutdownReport>>> {
        let report = Arc::new(Mutex::new(None));
        if let Some(pool) = self.pool.take() {
            let (end, reported) = (pool.shutdown_with(Shutdown::new()), Arc::clone(&report));
            let wait = async move { *reported.lock().unwrap() = Some(end.await) };
            self.waiters.push(Waiter::new("the last shutdown", wait));
        }
        report
    }

    async fn rounds(&mut self, what: &str, is_over: impl Fn(&Self) -> bool) -> Check {
        let mut silence = 0;
        for _ in 0..ROUNDS {
            if self.round().await? {
                silence = 0;
                continue;
            }
            silence += 1;
            if silence < SILENCE {
                continue;
            }
            silence = 0;
            if is_over(self) {
                return Ok(());
            }
            let Some(time) = clock::next_alarm() else {
                return Err(format!("{what}: everything waits for nothing: {}", self.unfinished()));
            };
            self.check_alarm(time)?;
            clock::pass(time);
            clock::ring();
        }
        Err(format!("{what}: no end in sight: {}", self.unfinished()))
    }

    /// Whether the scheduler is called when it wants to be.
    fn check_alarm(&self, alarm: Duration) -> Check {
        let now = self.engine.commons.now();
        let due = self.engine.commons.view().scheduler.next_timeout();
        let is_late = due.is_some_and(|at| at.saturating_sub(now) < alarm);
        ensure!(
            self.driver.is_finished() || !is_late,
            "the alarm is set for {alarm:?} after {now:?}, and due at {due:?}"
        );
        Ok(())
    }

    /// Everybody does the next thing; whether there was any.
    async fn round(&mut self) -> Result<bool, String> {
        let mut is_busy = false;
        while self.births.len() > 0 {
            let birth = Birth::Up {
                is_narrow: false,
                paging: Paging::Pool,
                is_stubborn: false,
                is_quick: false,
                looks: false,
                no_page: None,
            };
            self.give_birth(0, birth)?;
            is_busy = true;
        }
        for n in 0..self.workers.len() {
            if self.workers[n].is_alive() {
                is_busy |= self.tend(n, RESULT)?;
            }
        }
        for map in &mut self.maps {
            is_busy |= map.pull(100)?;
        }
        is_busy |= self.turn().await?;
        is_busy |= self.turn().await?;
        Ok(is_busy)
    }

    /// All that users have asked for is there, but for the end of the pool.
    fn is_served(&self) -> bool {
        let counts = self.engine.commons.view().scheduler.counts();
        let over = counts.completed + counts.failed + counts.cancelled;
        self.unfinished().is_empty() && (self.was_abandoned || counts.submitted == over)
    }

    fn is_closed(&self) -> bool {
        let has_gone = |worker: &super::worker::Worker| {
            let fate = &worker.process.fate;
            !worker.is_alive() && (fate.is_reaped() || fate.is_lost())
        };
        let is_over = self.driver.is_finished() && self.end.is_over();
        is_over && self.workers.iter().all(has_gone) && self.is_served()
    }

    /// Who still waits.
    fn unfinished(&self) -> String {
        let tickets = self.tickets.iter().filter(|ticket| !ticket.is_over());
        let tickets = tickets.map(|ticket| format!("call {}", ticket.number));
        let maps = self.maps.iter().filter(|map| !map.is_over());
        let maps = maps.map(|map| format!("map {}", map.first));
        let waiters = self.waiters.iter().filter(|waiter| !waiter.is_over());
        let waiters = waiters.map(|waiter| waiter.what.to_owned());
        tickets.chain(maps).chain(waiters).collect::<Vec<_>>().join(", ")
    }

    /// No task is left, so nothing may be kept of any.
    fn check_rest(&self) -> Check {
        if self.pool.is_none() || self.was_abandoned {
            return Ok(());
        }
        let Some(leftovers) = self.engine.leftovers() else {
            return Ok(());
        };
        ensure!(leftovers.is_empty(), "what is left: {leftovers:?}");
        let taken = self.engine.commons.places.taken_bytes();
        ensure!(taken == 0, "{taken} bytes of the queue are taken by nobody");
        let free = self.engine.commons.places.free();
        if free.is_closed() {
            return Ok(()); // it is broken, and accepts nothing at any number
        }
        let places = free.available_permits();
        let (_, workers) = self.engine.commons.view().scheduler.size();
        let wanted = Some(self.history.queue_capacity).filter(|capacity| *capacity > 0);
        let wanted = wanted.unwrap_or(workers);
        ensure!(places == wanted, "{places} places for tasks, not {wanted}");
        Ok(())
    }
}
