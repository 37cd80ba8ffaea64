//! Cancelling, aborting, and running out of time.

use std::time::Duration;

use crate::base::WorkerId;
use crate::scheduler::tests::script::*;
use crate::scheduler::worker::{LONG_PATIENCE, PATIENCE};
use crate::scheduler::{Action, Failure, KillReason, LeaveReason, Wishes};

#[test]
fn cancelling_a_queued_task() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.cancel(2);
    pool.expect([fail(2, Failure::Cancelled)]);
    assert_eq!(pool.counts().cancelled, 1);
}

#[test]
fn cancelling_a_task_that_was_sent_ahead() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.cancel(2);
    pool.expect([fail(2, Failure::Cancelled)]);
    pool.finishes(1, 1);
    pool.expect([begin(3)]);
}

#[test]
fn cancelling_the_front_task_before_the_worker_takes_it() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.cancel(1);
    pool.expect([fail(1, Failure::Cancelled), begin(2)]);
    pool.cancel(2);
    pool.expect([fail(2, Failure::Cancelled)]);
    pool.submit(3);
    pool.expect([send(1, 3), begin(3)]);
}

#[test]
fn cancelling_a_retry_that_waits_for_its_time() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_retries(1, 9));
    pool.dies(1);
    pool.skip();
    pool.cancel(1);
    pool.expect([fail(1, Failure::Cancelled)]);
    pool.cancel(1);
    pool.expect_nothing();
}

#[test]
fn aborting_a_queued_task() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.abort(2);
    pool.expect([fail(2, Failure::Cancelled)]);
}

#[test]
fn aborting_a_running_task_replaces_its_worker() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled), start(2)]);
    assert_eq!(pool.counts().worker_deaths, 0);
}

#[test]
fn aborting_recalls_first_and_kills_after_the_grace_period() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1), withdraw(2), withdraw(3), ask(1), terminate(1)]);
    pool.after(GRACE);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled), start(2)]);
}

#[test]
fn aborting_a_task_that_has_already_finished_hurts_nobody() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.has_begun(2);
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1)]);
    pool.finishes(1, 1);
    pool.expect([begin(2)]);
    pool.abort(1);
    pool.after(secs(10));
    pool.expect_nothing();
}

#[test]
fn a_result_that_is_faster_than_the_signal_counts() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.abort(1);
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.dies(1);
    pool.expect([start(2)]);
    assert_eq!(pool.counts().completed, 2);
}

#[test]
fn an_abort_of_a_task_sent_ahead_waits_for_its_turn() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.has_begun(2);
    pool.skip();
    pool.abort(2);
    pool.expect_nothing();
    pool.finishes(1, 1);
    pool.expect([begin(2), recall_all(1), ask(1), terminate(1)]);
}

#[test]
fn an_abort_survives_a_recall() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.abort(2);
    pool.after(PATIENCE);
    pool.expect([recall(1), fail(2, Failure::Cancelled)]);
}

#[test]
fn aborting_a_task_that_was_sent_and_has_not_begun_costs_no_worker() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.has_not_begun(1);
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1), fail(1, Failure::Cancelled)]);
    pool.submit(2);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn a_deadline_that_passes_before_the_task_begins_costs_no_worker() {
    let mut pool = Pool::slow(1);
    pool.submit_within(secs(1), task(1));
    pool.has_not_begun(1);
    pool.skip();
    pool.after(secs(1));
    pool.expect([recall_all(1), fail(1, Failure::Expired)]);
}

#[test]
fn an_abort_outweighs_a_timeout_with_retries() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(5));
    pool.submit_task(wishing(1, Wishes { retries: 3, timeout, ..Wishes::default() }));
    pool.after(millis(5));
    pool.abort(1);
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled)]);
}

#[test]
fn a_task_that_runs_too_long_times_out() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_timeout(1, millis(5)));
    pool.skip();
    pool.expect_after(millis(5), [ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::TimedOut(millis(5)))]);
}

#[test]
fn a_timeout_counts_running_time_only() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit_task(task_with_timeout(2, millis(5)));
    pool.skip();
    pool.after(secs(100));
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.after(millis(4));
    pool.finishes(1, 2);
    pool.after(secs(1));
    pool.expect_nothing();
}

#[test]
fn a_timeout_does_not_count_while_the_task_is_sent_ahead() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit_task(task_with_timeout(2, micros(1_500)));
    pool.has_begun(2);
    pool.skip();
    pool.after(secs(1));
    pool.expect([recall(1)]);
    pool.finishes(1, 1);
    pool.after(micros(1_499));
    pool.expect([begin(2)]);
    pool.after(micros(1));
    pool.expect([ask(1), terminate(1)]);
}

#[test]
fn a_stale_timer_never_hits_the_next_task() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_timeout(1, millis(5)));
    pool.submit_task(task_with_timeout(2, millis(5)));
    pool.after(micros(4_999));
    pool.finishes(1, 1);
    pool.skip();
    pool.stale_timer();
    pool.expect_after(millis(5), [ask(1), terminate(1)]);
}

#[test]
fn a_timeout_of_no_time_at_all_still_ends_the_task() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_timeout(1, Duration::ZERO));
    pool.after(Duration::ZERO);
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::TimedOut(Duration::ZERO))]);
}

#[test]
fn a_timeout_may_be_as_long_as_it_likes() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_timeout(1, Duration::MAX));
    pool.expect([send(1, 1), begin(1)]);
    pool.after(secs(1));
    assert!(pool.next_timeout().is_none_or(|left| left > secs(1)));
}

#[test]
fn a_task_that_looks_is_given_half_of_the_grace_period() {
    let mut pool = Pool::slow(1);
    pool.looks(1);
    pool.submit(1);
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1), ask(1)]);
    pool.expect_after(millis(2_500), [terminate(1)]);
    pool.after(GRACE / 2);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled)]);
}

#[test]
fn a_task_that_ends_when_it_is_asked_keeps_its_worker() {
    let mut pool = Pool::slow(1);
    pool.looks(1);
    pool.submit_task(task_with_timeout(1, millis(5)));
    pool.submit(2);
    pool.after(millis(5));
    pool.after(secs(2));
    pool.expect([send(1, 1), begin(1), ask(1)]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.after(10 * GRACE);
    pool.expect_nothing();
    assert_eq!(pool.counts().failed, 0);
}

#[test]
fn a_task_that_may_be_quick_has_a_moment() {
    for ends in [true, false] {
        let mut pool = Pool::slow(1);
        pool.may_be_quick(1);
        pool.submit(1);
        pool.abort(1);
        pool.expect([send(1, 1), begin(1), recall_all(1), ask(1)]);
        pool.after(QUICK.saturating_sub(micros(1)));
        pool.expect_nothing();
        if ends {
            pool.finishes(1, 1);
            pool.after(10 * GRACE);
            pool.expect_nothing();
        } else {
            pool.after(micros(1));
            pool.expect([terminate(1)]);
            pool.after(GRACE.saturating_sub(QUICK));
            pool.expect([kill(1, KillReason::GraceOver)]);
        }
    }
}

#[test]
fn a_task_is_asked_once() {
    let mut pool = Pool::slow(1);
    pool.looks(1);
    pool.submit_task(task_with_timeout(1, millis(5)));
    pool.after(millis(5));
    pool.skip();
    pool.after(secs(1));
    pool.abort(1);
    pool.expect_nothing();
    assert_eq!(pool.next_timeout(), Some(millis(1_500)));
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled)]);
}

#[test]
fn a_worker_gets_nothing_while_its_task_is_asked_to_end() {
    let mut pool = Pool::quick(1);
    pool.looks(1);
    pool.submit(1);
    pool.abort(1);
    pool.submit(2);
    pool.expect([send(1, 1), begin(1), recall_all(1), ask(1)]);
}

#[test]
fn a_task_that_cannot_be_asked_gets_the_signal_at_once() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.ready_without_claims(1);
    pool.skip();
    pool.abort(1);
    pool.expect([terminate(1)]);
}

#[test]
fn a_deadline_that_passes_in_the_queue() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit_within(millis(5), task(2));
    pool.skip();
    pool.expect_after(millis(5), [fail(2, Failure::Expired)]);
    assert_eq!(pool.counts().failed, 1);
}

#[test]
fn a_deadline_that_has_passed_before() {
    let mut pool = Pool::slow(1);
    pool.submit_within(Duration::ZERO, task(1));
    pool.expect([fail(1, Failure::Expired)]);
    pool.submit_task(wishing(2, Wishes { deadline: Some(Duration::ZERO), ..Wishes::default() }));
    pool.expect([fail(2, Failure::Expired)]);
}

#[test]
fn a_deadline_that_passes_while_the_task_runs() {
    let mut pool = Pool::slow(1);
    pool.submit_within(millis(5), task_with_retries(1, 3));
    pool.skip();
    pool.after(millis(5));
    pool.expect([recall_all(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Expired)]);
}

#[test]
fn a_deadline_that_passes_while_the_task_is_sent_ahead() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit_within(micros(500), task(2));
    pool.submit(3);
    pool.skip();
    pool.after(micros(500));
    pool.expect([recall(1), fail(2, Failure::Expired), withdraw(3), send(1, 3)]);
}

#[test]
fn a_deadline_that_passes_when_a_task_sent_ahead_has_begun() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit_within(micros(500), task(2));
    pool.has_begun(2);
    pool.skip();
    pool.after(micros(500));
    pool.expect([recall(1)]);
    pool.finishes(1, 1);
    pool.expect([begin(2), recall_all(1), ask(1), terminate(1)]);
    pool.finishes(1, 2);
    pool.expect([kill(1, KillReason::GraceOver)]);
}

#[test]
fn a_deadline_that_passes_while_a_retry_waits_for_its_time() {
    let mut pool = Pool::slow(4);
    pool.submit_within(millis(1), task_with_retries(1, 9));
    for worker in 1..=4 {
        pool.dies(worker);
    }
    pool.skip();
    pool.after(millis(1));
    pool.expect([fail(1, Failure::Expired)]);
}

#[test]
fn a_deadline_outweighs_a_timeout_with_retries() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(5));
    pool.submit_within(millis(6), wishing(1, Wishes { retries: 1, timeout, ..Wishes::default() }));
    pool.after(millis(6));
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::Expired)]);
}

#[test]
fn a_deadline_leaves_nothing_behind() {
    let mut pool = Pool::slow(1);
    pool.submit_within(secs(9), task(1));
    pool.submit_within(secs(9), task(2));
    pool.submit_within(secs(9), task(3));
    pool.cancel(3);
    pool.finishes(1, 1);
    pool.after(secs(1));
    assert_eq!(pool.next_timeout(), Some(secs(8)));
    pool.dies(1);
    assert_eq!(pool.next_timeout(), None);
}

#[test]
fn the_time_of_an_item_counts_from_when_it_is_known_which_one_runs() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(150));
    pool.submit_task(wishing(1, Wishes { divisible: true, timeout, ..Wishes::default() }));
    pool.after(LONG_PATIENCE);
    pool.after(micros(149_999));
    pool.skip();
    pool.after(micros(1));
    pool.expect([ask(1), terminate(1)]);
}

#[test]
fn what_a_worker_does_not_begin_goes_to_another_one_that_takes_its_place() {
    let mut pool = Pool::slow(1);
    pool.has_not_begun(1);
    pool.submit(1);
    pool.expect([send(1, 1), begin(1)]);
    pool.after(millis(999));
    pool.expect_nothing();
    pool.after(millis(1));
    let leave = Action::Stop(WorkerId(1), LeaveReason::Stuck);
    pool.expect([recall_all(1), withdraw(1), leave, start(2)]);
    pool.has_begun(1);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 1), begin(1)]);
    pool.after(secs(5));
    pool.skip();
    pool.dies(1);
    pool.expect_nothing();
    let counts = pool.counts();
    assert_eq!((counts.worker_deaths, counts.worker_restarts, counts.failed), (0, 1, 0));
}

#[test]
fn the_time_of_a_task_that_has_not_begun_does_not_run() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(20));
    pool.has_not_begun(1);
    pool.submit_task(wishing(1, Wishes { timeout, ..Wishes::default() }));
    pool.after(millis(500));
    pool.expect([send(1, 1), begin(1)]);
    pool.has_begun(1);
    pool.after(millis(21));
    pool.expect([ask(1), terminate(1)]);
}

#[test]
fn a_worker_is_not_given_up_for_the_time_in_which_the_pool_stood_still() {
    let mut pool = Pool::slow(1);
    pool.has_not_begun(1);
    pool.submit(1);
    pool.skip();
    pool.stands_still(secs(3_600));
    pool.expect_nothing();
    pool.after(millis(999));
    pool.expect_nothing();
    pool.after(millis(1));
    assert!(pool.hands_of(1).is_empty());
}
