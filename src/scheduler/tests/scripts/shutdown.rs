//! How a pool ends.

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Failure, KillReason, RefuseReason};

const REFUSE: Action = Action::Refuse(RefuseReason::ShutDown);

#[test]
fn a_pool_that_never_started_closes_at_once() {
    let mut pool = Pool::of(4);
    pool.shut_down();
    pool.expect([REFUSE, Action::Close]);
}

#[test]
fn a_shutdown_waits_for_all_tasks() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.shut_down();
    pool.expect([REFUSE]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.finishes(1, 2);
    pool.expect([stop(1)]);
    pool.leaves(1);
    pool.expect([Action::Close]);
    assert_eq!(pool.counts().worker_deaths, 0);
}

#[test]
fn a_shutdown_may_cancel_what_has_not_begun() {
    let mut pool = Pool::quick(1);
    for id in 1..=6 {
        pool.submit(id);
    }
    pool.has_begun(2);
    pool.skip();
    pool.shut_down_cancelling();
    pool.expect([
        REFUSE,
        fail(5, Failure::Cancelled),
        fail(6, Failure::Cancelled),
        recall(1),
        fail(3, Failure::Cancelled),
        fail(4, Failure::Cancelled),
    ]);
    pool.finishes(1, 1);
    pool.finishes(1, 2);
    pool.expect([begin(2), stop(1)]);
    pool.leaves(1);
    pool.expect([Action::Close]);
    assert_eq!(pool.counts().cancelled, 4);
}

#[test]
fn a_retry_is_given_up_by_a_shutdown_that_cancels() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_retries(1, 5));
    pool.shut_down_cancelling();
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::Died), Action::Close]);
}

#[test]
fn a_limit_ends_what_runs() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.shut_down_within(secs(3));
    pool.skip();
    pool.after(secs(3));
    pool.expect([fail(2, Failure::Cancelled), recall_all(1), ask(1), terminate(1)]);
    pool.after(GRACE);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled), Action::Close]);
    let counts = pool.counts();
    assert_eq!((counts.completed, counts.cancelled, counts.killed), (1, 2, 1));
}

#[test]
fn a_limit_ends_what_runs_behind_a_result_on_its_way() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.has_begun(2);
    pool.shut_down_within(secs(3));
    pool.after(secs(3));
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([begin(2), recall_all(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([fail(2, Failure::Cancelled), Action::Close]);
    assert_eq!(pool.counts().killed, 1);
}

#[test]
fn a_result_that_is_faster_than_the_limit_is_not_killed() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.shut_down_within(secs(3));
    pool.after(secs(3));
    pool.finishes(1, 1);
    pool.dies(1);
    let counts = pool.counts();
    assert_eq!((counts.completed, counts.killed), (2, 0));
}

#[test]
fn a_limit_kills_workers_that_do_not_leave() {
    let mut pool = Pool::slow(2);
    pool.submit(1);
    pool.shut_down_within(secs(3));
    pool.skip();
    pool.after(secs(2));
    pool.finishes(1, 1);
    pool.expect([stop(1), stop(2)]);
    pool.after(secs(1));
    pool.expect([kill(1, KillReason::GraceOver), kill(2, KillReason::GraceOver)]);
    assert_eq!(pool.counts().killed, 0);
}

#[test]
fn a_limit_kills_a_worker_that_still_starts() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.shut_down_within(secs(3));
    pool.skip();
    pool.after(secs(3));
    pool.expect([fail(1, Failure::Cancelled), kill(1, KillReason::GraceOver)]);
    pool.fails_to_start(1);
    pool.expect([Action::Close]);
}

#[test]
fn a_second_shutdown_can_only_tighten_the_first() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.shut_down_within(secs(3));
    pool.expect([REFUSE]);
    pool.shut_down_within(secs(9));
    pool.expect_nothing();
    pool.shut_down_cancelling();
    pool.expect([fail(2, Failure::Cancelled)]);
    pool.shut_down();
    pool.expect_nothing();
    pool.after(secs(1));
    assert_eq!(pool.next_timeout(), Some(secs(2)));
}

#[test]
fn a_shutdown_after_the_end_changes_nothing() {
    let mut pool = Pool::of(1);
    pool.shut_down();
    pool.skip();
    pool.shut_down_within(secs(1));
    pool.after(secs(2));
    pool.expect_nothing();
}

#[test]
fn a_worker_that_does_not_leave_is_killed() {
    let mut pool = Pool::slow(1);
    pool.shut_down();
    pool.expect([REFUSE, stop(1)]);
    pool.after(GRACE);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.dies(1);
    pool.expect([Action::Close]);
}

#[test]
fn a_worker_that_starts_is_sent_home_too() {
    let mut pool = Pool::of(1);
    pool.warm_up();
    pool.shut_down();
    pool.expect([start(1), REFUSE, stop(1)]);
    pool.ready(1);
    pool.expect_nothing();
    pool.leaves(1);
    pool.expect([Action::Close]);
}

#[test]
fn a_worker_that_dies_during_a_shutdown_is_replaced_for_what_waits() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.shut_down();
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::Died), start(2)]);
    pool.ready(2);
    pool.finishes(2, 2);
    pool.leaves(2);
    pool.expect([Action::Warm, send(2, 2), begin(2), stop(2), Action::Close]);
}

#[test]
fn a_broken_pool_closes_when_it_is_shut_down() {
    let mut pool = Pool::that_breaks(2).warmed(2, secs(1));
    pool.dies(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), kill(2, KillReason::Broken)]);
    pool.shut_down();
    pool.expect_nothing();
    pool.dies(2);
    pool.expect([Action::Close]);
}

#[test]
fn a_pool_that_breaks_during_its_shutdown_closes() {
    let mut pool = Pool::that_breaks(1).warmed(1, secs(1));
    pool.submit(1);
    pool.shut_down();
    pool.skip();
    pool.dies(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken), Action::Close]);
}

#[test]
fn a_submission_after_the_shutdown_fails() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.shut_down();
    pool.skip();
    pool.submit(2);
    pool.expect([fail(2, Failure::ShutDown)]);
    pool.finishes(1, 1);
    pool.leaves(1);
    pool.skip();
    pool.submit(3);
    pool.expect([fail(3, Failure::ShutDown)]);
    assert_eq!((pool.counts().submitted, pool.counts().failed), (4, 2));
}

#[test]
fn terminating_all_workers_escalates() {
    let mut pool = Pool::slow(3);
    pool.looks(1);
    for id in 1..=2 {
        pool.submit(id);
    }
    pool.skip();
    pool.terminate_workers();
    pool.expect([REFUSE, terminate(1), terminate(2), terminate(3)]);
    pool.dies(3);
    pool.expect_nothing();
    pool.after(GRACE);
    pool.expect([kill(1, KillReason::GraceOver), kill(2, KillReason::GraceOver)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled)]);
    pool.dies(2);
    pool.expect([fail(2, Failure::Cancelled), Action::Close]);
    let counts = pool.counts();
    assert_eq!((counts.cancelled, counts.killed, counts.worker_deaths), (2, 2, 0));
}

#[test]
fn killing_all_workers_cancels_what_has_not_begun() {
    let mut pool = Pool::quick(1);
    for id in 1..=5 {
        pool.submit(id);
    }
    pool.skip();
    pool.kill_workers();
    let cancelled = [5, 2, 3, 4].map(|id| fail(id, Failure::Cancelled));
    let [queued, ahead @ ..] = cancelled;
    let [second, third, fourth] = ahead;
    let kill = kill(1, KillReason::Wanted);
    pool.expect([REFUSE, queued, recall(1), kill, second, third, fourth]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled), Action::Close]);
    let counts = pool.counts();
    assert_eq!((counts.cancelled, counts.killed), (5, 1));
}

#[test]
fn terminating_and_then_killing_is_faster() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.terminate_workers();
    pool.skip();
    pool.after(secs(1));
    pool.terminate_workers();
    pool.expect_nothing();
    assert_eq!(pool.next_timeout(), Some(secs(4)), "a second time changes nothing");
    pool.kill_workers();
    pool.expect([kill(1, KillReason::Wanted)]);
    pool.kill_workers();
    pool.terminate_workers();
    pool.expect_nothing();
    assert_eq!(pool.next_timeout(), None);
}

#[test]
fn killing_workers_that_leave_or_start() {
    let mut pool = Pool::slow(1);
    pool.shut_down();
    pool.skip();
    pool.terminate_workers();
    pool.expect_nothing();
    pool.kill_workers();
    pool.expect([kill(1, KillReason::Wanted)]);
    pool.dies(1);
    pool.expect([Action::Close]);

    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.terminate_workers();
    pool.expect([start(1), REFUSE, fail(1, Failure::Cancelled), terminate(1)]);
    pool.fails_to_start(1);
    pool.expect([Action::Close]);
}

#[test]
fn killing_the_workers_of_a_pool_that_has_none() {
    let mut pool = Pool::of(1);
    pool.kill_workers();
    pool.expect([REFUSE, Action::Close]);
    pool.terminate_workers();
    pool.expect_nothing();
}

#[test]
fn killing_the_workers_of_a_broken_pool_closes_it() {
    let mut pool = Pool::that_breaks(2).warmed(2, secs(1));
    pool.submit(1);
    pool.dies(2);
    pool.skip();
    pool.kill_workers();
    pool.expect_nothing();
    pool.dies(1);
    pool.expect([fail(1, Failure::Broken), Action::Close]);
}

#[test]
fn a_result_that_is_faster_than_the_end_of_all_workers_counts() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.terminate_workers();
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([kill(1, KillReason::GraceOver)]);
    pool.dies(1);
    assert_eq!((pool.counts().completed, pool.counts().killed), (2, 0));
}

#[test]
fn a_shutdown_that_takes_long_says_once_what_it_waits_for() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.shut_down();
    pool.skip();
    pool.expect_after(secs(10), [Action::Remind]);
    pool.after(secs(3_600));
    pool.expect_nothing();
}

#[test]
fn a_shutdown_with_a_limit_says_nothing() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.shut_down();
    pool.shut_down_within(secs(60));
    pool.skip();
    pool.after(secs(59));
    pool.expect_nothing();
}

#[test]
fn a_pool_that_is_to_break_fails_all_and_closes() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.break_pool();
    let refuse = Action::Refuse(RefuseReason::Broken);
    pool.expect([refuse, fail(2, Failure::Broken), kill(1, KillReason::Broken)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Broken), Action::Close]);
    pool.break_pool();
    pool.expect([]);
}
