//! Whether the promises were kept, when all is over.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::pool::watch::FunctionStats;
use crate::pool::{ShutdownReport, Wishes};
use crate::testing::{Check, ensure};

use super::emit;
use super::history::{Deed, Event};
use super::lie::Lie;
use super::map::MapTicket;
use super::play::Play;
use super::record::{Ending, Execution};
use super::user::{Outcome, Ticket};
use super::worker::FORGED;

impl Play<'_> {
    /// How the calls have ended.
    pub(super) fn see_outcomes(&mut self) {
        let own = self.tickets.iter().filter_map(|ticket| ticket.outcome.as_ref());
        let items = self.maps.iter().flat_map(|map| map.outcomes.iter().flatten());
        for outcome in own.chain(items) {
            self.record.see(outcome.sight());
        }
        let divided = self.maps.iter().filter(|map| self.was_divided(map)).count();
        for _ in 0..divided {
            self.record.see("a map by several workers");
        }
    }

    fn was_divided(&self, map: &MapTicket) -> bool {
        let numbers = map.first..map.first + map.shape.count;
        let workers = numbers.filter_map(|number| self.record.of(number).next());
        let mut workers = workers.map(|(_, execution)| execution.worker);
        let first = workers.next();
        workers.any(|worker| Some(worker) != first)
    }

    pub(super) fn check_end(&self, report: Option<&ShutdownReport>) -> Check {
        for ticket in &self.tickets {
            ticket.check_callback()?;
            self.check_ticket(ticket)
                .map_err(|broken| format!("call {}: {broken}", ticket.number))?;
        }
        for map in &self.maps {
            self.check_map(map).map_err(|broken| format!("map {}: {broken}", map.first))?;
        }
        self.check_order()?;
        self.check_processes()?;
        self.check_counts(report)
    }

    fn check_ticket(&self, ticket: &Ticket) -> Check {
        let (number, wishes) = (ticket.number, ticket.submission.wishes);
        let begun = self.record.of(number).count();
        ensure!(begun <= wishes.retries as usize + 1, "it was begun {begun} times");
        let is_misled = ticket.was_misled.load(Ordering::SeqCst);
        ensure!(!is_misled, "its condition was asked about what is no attempt");
        if let Some(event) = ticket.cancelled {
            let latest = self.record.of(number).map(|(_, execution)| execution.began).max();
            ensure!(latest <= Some(event), "it was cancelled, and begun afterwards");
            let is_cancelled = matches!(ticket.outcome, None | Some(Outcome::Cancelled));
            ensure!(is_cancelled, "it was cancelled, and is {:?}", ticket.outcome);
        }
        let heard = match ticket.outcome {
            Some(Outcome::Answer(_, execution) | Outcome::Panicked(execution)) => Some(execution),
            _ => None,
        };
        emit::check(&self.record, number, &ticket.values, heard.filter(|_| ticket.has_read_all))?;
        let Some(outcome) = &ticket.outcome else {
            ensure!(ticket.was_dropped, "it has no result");
            return Ok(());
        };
        self.check_outcome(number, outcome)?;
        let retries = if wishes.conditional { wishes.retries } else { 0 };
        let is_excused = ticket.was_aborted || wishes.deadline.is_some();
        self.check_last_attempt(ticket.number, retries, outcome, is_excused)?;
        let all_asked = self.was_cut_short || self.was_hurried;
        let asked = ticket.cancelled.is_some() || ticket.was_aborted || all_asked;
        match outcome {
            Outcome::Cancelled => ensure!(asked, "nobody has cancelled it"),
            Outcome::TimedOut => {
                let has_limit =
                    wishes.timeout.is_some() || wishes.deadline.is_some() || wishes.begin.is_some();
                ensure!(has_limit, "it has no time limit");
            }
            Outcome::ShutDown if ticket.was_accepted => {
                ensure!(self.was_abandoned, "it was accepted, and the pool has not run it");
            }
            Outcome::QueueFull => ensure!(begun == 0, "it was refused, and begun"),
            Outcome::Other(text) => return Err(text.clone()),
            _ => {}
        }
        Ok(())
    }

    /// What should have been begun again was, unless there was a reason.
    fn check_last_attempt(
        &self,
        number: u64,
        retries: u32,
        outcome: &Outcome,
        is_excused: bool,
    ) -> Check {
        let is_own = matches!(outcome, Outcome::Answer(..) | Outcome::Panicked(_));
        let is_wanted = retries > 0 && is_own && outcome.wants_retry();
        let attempt = self.record.of(number).map(|(_, execution)| execution.attempt).max();
        let is_last = attempt.is_none_or(|attempt| attempt > retries);
        let is_excused = is_excused || is_last || self.had_ended;
        ensure!(
            !is_wanted || is_excused,
            "call {number}: {outcome:?} at attempt {attempt:?} should be repeated"
        );
        Ok(())
    }

    fn check_map(&self, map: &MapTicket) -> Check {
        let is_misled = map.was_misled.load(Ordering::SeqCst);
        ensure!(!is_misled, "its condition was asked about what is no attempt");
        for (number, outcome) in (map.first..).zip(&map.outcomes) {
            let begun = self.record.of(number).count();
            let most = 1 + map.shape.retries as usize;
            ensure!(begun <= most, "item {number} was begun {begun} times");
            if let Some(outcome) = outcome {
                self.check_last_attempt(number, map.shape.retries, outcome, false)?;
            }
            match outcome {
                Some(Outcome::Cancelled) if self.was_hurried => {}
                Some(Outcome::ShutDown | Outcome::Cancelled) => {
                    ensure!(self.had_ended, "item {number} has no result, and the pool goes on");
                }
                Some(Outcome::TimedOut | Outcome::QueueFull | Outcome::Other(_)) => {
                    return Err(format!("item {number} is {outcome:?}"));
                }
                Some(_) => {}
                None => ensure!(map.was_dropped, "item {number} has no result"),
            }
            if let Some(outcome) = outcome {
                let at = |broken| format!("item {number}: {broken}");
                self.check_outcome(number, outcome).map_err(at)?;
            }
        }
        Ok(())
    }

    /// What a user was told of a call, and what has happened.
    fn check_outcome(&self, number: u64, outcome: &Outcome) -> Check {
        let last = self.record.of(number).next_back();
        if let Some((execution, Execution { said: true, ending: Some(ending), .. })) = last {
            let said = match ending {
                Ending::Returned => Outcome::Answer(number, execution as u64),
                Ending::Panicked => Outcome::Panicked(execution as u64),
            };
            // Its next attempt has not begun any more.
            let repeats = self.record.repeats.contains(&number) && said.wants_retry();
            let is_lost = *outcome != said
                && !repeats
                && !(self.was_abandoned && *outcome == Outcome::ShutDown);
            ensure!(!is_lost, "its worker has said {said:?}, and it is {outcome:?}");
        }
        match *outcome {
            Outcome::Answer(FORGED, _) => {
                ensure!(self.may_be_forged(), "it has the result of a lie");
            }
            Outcome::Answer(other, _) if other != number => {
                return Err(format!("it has the result of call {other}"));
            }
            Outcome::Answer(_, execution) | Outcome::Panicked(execution) => {
                let is_last = last.is_some_and(|(last, _)| last as u64 == execution);
                ensure!(is_last, "it has the result of execution {execution}, not of {last:?}");
            }
            Outcome::Died => {
                let has_begun = last.is_some() || self.record.is_blurred;
                ensure!(has_begun, "it has not begun, and died with a worker");
            }
            Outcome::HostLost => {
                ensure!(self.losses > 0, "no host was lost");
            }
            Outcome::Broken => {
                // One that is shut down can still break, and that was the first reason then.
                ensure!(self.had_ended, "the pool is not broken");
            }
            _ => {}
        }
        Ok(())
    }

    /// A reply to a task that is about to be its worker's turn looks like any other one.
    fn may_be_forged(&self) -> bool {
        let forges =
            |event| matches!(event, Event::Worker { deed: Deed::Lie(Lie::OutOfOrder), .. });
        self.history.steps.iter().any(|step| forges(step.event))
    }

    /// First in, first out, of each priority and tenant.
    fn check_order(&self) -> Check {
        if !self.history.is_serial() {
            return Ok(());
        }
        let plain = self.tickets.iter().filter(|ticket| ticket.submission.is_plain());
        let plain = plain.map(|ticket| {
            let Wishes { priority, tenant, .. } = ticket.submission.wishes;
            (ticket.number, (priority, tenant))
        });
        let plain: BTreeMap<u64, _> = plain.collect();
        let mut latest = BTreeMap::new();
        for (number, execution) in self.record.all() {
            let Some(flow) = plain.get(&number) else { continue };
            let before = latest.insert(flow, execution.task);
            ensure!(
                before < Some(execution.task),
                "{} is begun after {before:?}, which is younger",
                execution.task
            );
        }
        Ok(())
    }

    fn check_processes(&self) -> Check {
        for worker in &self.workers {
            let mistake = worker.process.fate.mistake();
            ensure!(mistake.is_none(), "{}: {}", worker.id, mistake.unwrap_or_default());
        }
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        ensure!(tasks == 0, "{tasks} tasks of the runtime are left");
        Ok(())
    }

    fn check_counts(&self, report: Option<&ShutdownReport>) -> Check {
        if self.was_abandoned {
            return Ok(());
        }
        let commons = &self.engine.commons;
        let view = commons.view();
        let stats = view.stats(commons.now(), commons.health(&view));
        let functions = view.functions();
        drop(view);
        self.check_items(&functions)?;
        let left = (stats.waiting, stats.running, stats.workers);
        ensure!(left == (0, 0, 0), "{left:?} wait, run, and work in a pool that has ended");
        let over = stats.completed + stats.failed + stats.cancelled;
        ensure!(stats.submitted == over, "of {} tasks {over} are over", stats.submitted);
        ensure!(
            stats.worker_starts == self.births.asked(),
            "{} workers were to be started, and {} counted",
            self.births.asked(),
            stats.worker_starts
        );
        let failed = self.workers.iter().filter(|worker| worker.may_have_failed()).count() as u64;
        let failed = failed + self.failed_births;
        ensure!(
            stats.start_failures <= failed,
            "{failed} workers have not started, and {} are counted",
            stats.start_failures
        );
        let accepted = self.tickets.iter().filter(|ticket| ticket.was_accepted).count() as u64;
        ensure!(accepted <= stats.submitted, "{accepted} tasks, and {} counted", stats.submitted);
        let told = (stats.outcomes.completed(), stats.outcomes.failed(), stats.outcomes.cancelled);
        let counted = (stats.completed, stats.failed, stats.cancelled);
        ensure!(told == counted, "outcomes: {told:?}, and the scheduler has counted {counted:?}");
        if let Some(report) = report {
            let sums = (report.finished + report.cancelled, report.items);
            let counted = (stats.items.total(), stats.items);
            ensure!(sums == counted, "finished and cancelled: {sums:?}, not {counted:?}");
        }
        Ok(())
    }

    /// What readers of maps have seen was counted, and no attempt was counted twice. A task that is
    /// no chunk is one item.
    fn check_items(&self, functions: &[FunctionStats]) -> Check {
        let of = |name| functions.iter().find(|function| function.name.ends_with(name));
        let (tasks, outcomes) =
            of("::work").map(|tasks| (tasks.items, tasks.outcomes)).unwrap_or_default();
        let accepted = self.tickets.iter().filter(|ticket| ticket.was_accepted).count() as u64;
        let is_right = (accepted..=self.tickets.len() as u64).contains(&tasks.total());
        ensure!(is_right && tasks == outcomes, "{accepted} tasks: {tasks:?}, {outcomes:?}");
        let counted = of("::work_on_item").map(|function| function.items).unwrap_or_default();
        let seen = self.maps.iter().flat_map(|map| map.outcomes.iter().flatten());
        let (mut returned, mut panicked, mut over) = (0, 0, 0);
        for outcome in seen {
            returned += u64::from(matches!(outcome, Outcome::Answer(..)));
            panicked += u64::from(matches!(outcome, Outcome::Panicked(_)));
            over += u64::from(outcome.is_of_attempt());
        }
        let most = self.maps.iter().map(|map| map.shape.count * u64::from(1 + map.shape.retries));
        let is_right = returned <= counted.returned
            && panicked <= counted.panicked
            && (over..=most.sum()).contains(&counted.total());
        ensure!(is_right, "{over} items, {returned} returned and {panicked} panicked: {counted:?}");
        Ok(())
    }
}
