//! Tasks whose users decide whether they are begun again.

use crate::base::Delays;
use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Failure, KillReason, RefuseReason, Wishes};

#[test]
fn a_result_may_lead_to_another_attempt_and_the_last_one_is_not_asked_about() {
    let mut pool = Pool::slow(1);
    pool.submit_task(conditional_task(1, 1));
    pool.finishes_undecided(1, 1);
    pool.expect([send(1, 1), begin(1)]);
    assert_eq!((pool.running(), pool.counts().completed), (1, 1), "the first one is the setup's");
    pool.decides(1, true);
    pool.expect([withdraw(1), send_again(1, 1, 2), begin(1)]);
    pool.finishes(1, 1);
    pool.expect_nothing();
    assert_eq!((pool.running(), pool.counts().completed), (0, 2));
}

#[test]
fn an_outcome_that_is_good_enough_is_delivered() {
    let mut pool = Pool::slow(1);
    pool.submit_task(conditional_task(1, 5));
    pool.submit_task(conditional_task(2, 5));
    pool.finishes_undecided(1, 1);
    pool.skip();
    pool.decides(1, false);
    pool.expect([deliver(1)]);
    pool.dies(1);
    pool.expect([consult(2, Failure::Died)]);
    pool.decides(2, false);
    pool.expect([deliver(2)]);
    pool.decides(2, true);
    pool.expect_nothing();
    assert_eq!((pool.counts().completed, pool.counts().failed), (2, 1));
}

#[test]
fn a_worker_goes_on_while_nothing_is_decided() {
    let mut pool = Pool::slow(1);
    pool.submit_task(conditional_task(1, 5));
    pool.submit(2);
    pool.skip();
    pool.finishes_undecided(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.decides(1, true);
    pool.finishes(1, 2);
    pool.expect([withdraw(1), send_again(1, 1, 2), begin(1)]);
}

#[test]
fn a_failure_is_not_repeated_unasked() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(5));
    let wishes = Wishes { retries: 1, conditional: true, timeout, ..Wishes::default() };
    pool.submit_task(wishing(1, wishes));
    pool.after(millis(5));
    pool.skip();
    pool.dies(1);
    pool.expect([consult(1, Failure::TimedOut(millis(5)))]);
    pool.decides(1, true);
    pool.expect([withdraw(1), start(2)]);
    pool.ready(2);
    pool.skip();
    pool.dies(2);
    pool.expect([fail(1, Failure::Died)]);
}

#[test]
fn nobody_is_asked_about_an_aborted_task() {
    let mut pool = Pool::slow(2);
    pool.submit_task(conditional_task(1, 5));
    pool.submit_task(conditional_task(2, 5));
    pool.looks(1);
    pool.abort(1);
    pool.finishes(1, 1);
    pool.abort(2);
    pool.skip();
    pool.dies(2);
    pool.expect([fail(2, Failure::Cancelled)]);
}

#[test]
fn what_is_aborted_before_it_is_decided_is_over() {
    let mut pool = Pool::slow(1);
    pool.submit_task(conditional_task(1, 5));
    pool.finishes_undecided(1, 1);
    pool.skip();
    pool.abort(1);
    pool.expect_nothing();
    pool.decides(1, true);
    pool.expect([deliver(1)]);
}

#[test]
fn what_is_too_late_is_not_begun_again() {
    let mut pool = Pool::slow(1);
    pool.submit_within(millis(5), conditional_task(1, 5));
    pool.submit_within(millis(15), conditional_task(2, 5));
    pool.finishes_undecided(1, 1);
    pool.skip();
    pool.after(millis(5));
    pool.decides(1, true);
    pool.expect([deliver(1)]);
    pool.finishes_undecided(1, 2);
    pool.decides(2, true);
    pool.expect([withdraw(2), send_again(1, 2, 2), begin(2)]);
    pool.after(millis(10));
    pool.skip();
    pool.dies(1);
    pool.expect([fail(2, Failure::Expired)]);
}

#[test]
fn a_deadline_that_passes_while_a_task_waits_for_its_next_attempt() {
    let mut pool = Pool::slow(1);
    let delays = Delays { first: secs(1), doubles: false, longest: secs(1), jitter: false };
    let wishes = Wishes { retries: 3, delays: Some(delays), ..Wishes::default() };
    pool.submit_within(millis(500), wishing(1, wishes));
    pool.dies(1);
    pool.skip();
    pool.after(millis(500));
    pool.expect([fail(1, Failure::Expired)]);
}

#[test]
fn a_pool_that_is_shut_down_waits_for_what_is_undecided() {
    let mut pool = Pool::slow(1);
    pool.submit_task(conditional_task(1, 5));
    pool.finishes_undecided(1, 1);
    pool.skip();
    pool.shut_down();
    pool.expect([Action::Refuse(RefuseReason::ShutDown)]);
    pool.decides(1, true);
    pool.expect([withdraw(1), send_again(1, 1, 2), begin(1)]);
    pool.finishes_undecided(1, 1);
    pool.shut_down_cancelling();
    pool.expect_nothing();
    pool.decides(1, true);
    pool.expect([deliver(1), stop(1)]);
    pool.leaves(1);
    pool.expect([Action::Close]);
}

#[test]
fn a_broken_pool_delivers_what_was_undecided() {
    let mut pool = Pool::that_breaks(2).warmed(2, secs(1));
    pool.submit_task(conditional_task(1, 5));
    pool.submit_task(conditional_task(2, 5));
    pool.finishes_undecided(1, 1);
    pool.skip();
    pool.dies(2);
    pool.expect([
        Action::Refuse(RefuseReason::Broken),
        kill(1, KillReason::Broken),
        fail(2, Failure::Broken),
    ]);
    pool.dies(1);
    pool.shut_down();
    pool.expect_nothing();
    pool.decides(1, true);
    pool.expect([deliver(1), Action::Close]);
}

#[test]
fn a_task_may_have_a_back_off_of_its_own() {
    let mut pool = Pool::slow(1);
    let delays = Delays { first: secs(1), doubles: true, longest: secs(3), jitter: false };
    let wishes = Wishes { retries: 9, delays: Some(delays), ..Wishes::default() };
    pool.submit_task(wishing(1, wishes));
    for (worker, wait) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        pool.dies(worker);
        pool.skip();
        assert_eq!(pool.next_timeout(), Some(secs(wait)));
        pool.after(secs(wait));
        pool.expect([start(worker + 1)]);
        pool.ready(worker + 1);
    }
}

#[test]
fn what_is_submitted_as_a_further_attempt_waits_as_one() {
    let mut pool = Pool::slow(1);
    let delays = Some(Delays { first: secs(1), doubles: true, longest: secs(9), jitter: false });
    let item = |id, attempt| wishing(id, Wishes { attempt, delays, ..Wishes::default() });
    pool.submit_task(item(1, 3));
    pool.submit(2);
    pool.shut_down();
    pool.submit_task(item(3, 2));
    pool.skip();
    pool.submit(4);
    pool.expect([fail(4, Failure::ShutDown)]);
    pool.finishes(1, 2);
    pool.after(secs(1));
    pool.expect([send_again(1, 3, 2), begin(3)]);
    pool.finishes(1, 3);
    pool.after(secs(1));
    pool.expect([send_again(1, 1, 3), begin(1)]);
    pool.shut_down_cancelling();
    pool.submit_task(item(5, 2));
    pool.finishes(1, 1);
    pool.expect([fail(5, Failure::ShutDown), stop(1)]);
}
