//! Workers that die, tasks that are tried again, and workers that lie.

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Failure, KillReason, RefuseReason, Wishes};

#[test]
fn a_death_fails_only_the_task_that_had_begun() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.dies(1);
    pool.expect([withdraw(2), withdraw(3), fail(1, Failure::Died), start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 2), begin(2)]);
}

#[test]
fn a_task_that_had_not_begun_takes_its_old_place_and_keeps_its_attempt() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.has_not_begun(1);
    pool.skip();
    pool.dies(1);
    pool.expect([withdraw(1), start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 1), begin(1)]);
}

#[test]
fn the_idle_death_of_a_worker_costs_no_task() {
    let mut pool = Pool::slow(1);
    pool.dies(1);
    pool.expect_nothing();
    pool.submit(1);
    pool.expect([start(2)]);
    assert_eq!(pool.counts().worker_deaths, 1);
}

#[test]
fn a_task_is_retried_after_deaths_and_the_last_failure_counts() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_retries(1, 2));
    pool.expect([send(1, 1), begin(1)]);
    pool.dies(1);
    pool.expect([withdraw(1), start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send_again(2, 1, 2), begin(1)]);
    pool.dies(2);
    pool.expect([withdraw(1), start(3)]);
    pool.ready(3);
    pool.expect([Action::Warm, send_again(3, 1, 3), begin(1)]);
    pool.dies(3);
    pool.expect([fail(1, Failure::Died)]);
}

#[test]
fn a_task_is_retried_after_a_timeout_and_may_then_succeed() {
    let mut pool = Pool::slow(1);
    let timeout = Some(millis(5));
    pool.submit_task(wishing(1, Wishes { retries: 1, timeout, ..Wishes::default() }));
    pool.after(millis(5));
    pool.expect([send(1, 1), begin(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([withdraw(1), start(2)]);
    pool.ready(2);
    pool.after(millis(4));
    pool.expect([Action::Warm, send_again(2, 1, 2), begin(1)]);
    pool.finishes(2, 1);
    assert_eq!(pool.counts().failed, 0);
}

#[test]
fn a_death_in_break_mode_fails_everything() {
    let mut pool = Pool::that_breaks(2);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.ready(1);
    pool.ready(2);
    pool.skip();
    pool.dies(1);
    pool.expect([
        Action::Refuse(RefuseReason::Broken),
        fail(3, Failure::Broken),
        kill(2, KillReason::Broken),
        fail(1, Failure::Broken),
    ]);
    pool.dies(2);
    pool.expect([fail(2, Failure::Broken)]);
    pool.submit(4);
    pool.expect([fail(4, Failure::Broken)]);
}

#[test]
fn a_broken_pool_tries_nothing_again() {
    let mut pool = Pool::that_breaks(1).warmed(1, secs(1));
    pool.submit_task(task_with_retries(1, 3));
    pool.skip();
    pool.dies(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn an_abort_does_not_break_a_pool_in_break_mode() {
    let mut pool = Pool::that_breaks(1).warmed(1, secs(1));
    pool.submit(1);
    pool.abort(1);
    pool.dies(1);
    pool.skip();
    pool.submit(2);
    pool.expect([start(2)]);
}

#[test]
fn deaths_by_tasks_make_nobody_wait() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    for poison in 1..=60 {
        pool.submit(poison + 1);
        pool.skip();
        pool.dies(poison);
        pool.expect([fail(poison, Failure::Died), start(poison + 1)]);
        pool.ready(poison + 1);
        pool.expect([Action::Warm, send(poison + 1, poison + 1), begin(poison + 1)]);
    }
    pool.finishes(61, 61);
    assert_eq!(pool.counts().worker_starts, 61, "as many as deaths, and the first");
}

#[test]
fn deaths_without_a_task_are_answered_with_back_off() {
    let mut pool = Pool::slow(1);
    for worker in 1..=3 {
        pool.dies(worker);
        pool.submit(50 + worker);
        pool.expect([start(worker + 1)]);
        pool.cancel(50 + worker);
        pool.skip();
        pool.ready(worker + 1);
        pool.skip();
    }
    pool.dies(4);
    pool.submit(5);
    pool.expect_nothing();
    assert_eq!(pool.next_timeout(), Some(millis(10)));
    pool.expect_after(millis(10), [start(5)]);
    pool.cancel(5);
    pool.skip();
    pool.ready(5);
    pool.dies(5);
    pool.submit(6);
    assert_eq!(pool.next_timeout(), Some(millis(20)));
}

/// One of two workers has a task. The other one dies without a task, and so do those that replace
/// it.
fn one_dies_in_a_row(deaths: u64) -> Pool {
    let mut pool = Pool::slow(2);
    pool.submit(1);
    for worker in 2..2 + deaths {
        pool.dies(worker);
        pool.submit(worker);
        pool.after(secs(1));
        pool.cancel(worker);
        pool.ready(worker + 1);
    }
    pool.skip();
    pool
}

#[test]
fn a_death_by_a_task_neither_adds_to_the_back_off_nor_ends_it() {
    let mut pool = one_dies_in_a_row(4);
    pool.dies(6);
    pool.dies(1);
    pool.submit(7);
    pool.expect([fail(1, Failure::Died)]);
    assert_eq!(pool.next_timeout(), Some(millis(20)));
}

#[test]
fn the_back_off_has_an_upper_bound() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_retries(1, 50));
    for worker in 1..=50 {
        pool.dies(worker);
        pool.after(millis(500));
        pool.ready(worker + 1);
    }
    assert_eq!(pool.hands_of(51), [1]);
}

#[test]
fn a_finished_task_ends_the_back_off() {
    let mut pool = one_dies_in_a_row(5);
    pool.dies(7);
    pool.submit(7);
    assert_eq!(pool.next_timeout(), Some(millis(40)));
    pool.finishes(1, 1);
    pool.submit(8);
    pool.expect([send(1, 7), begin(7), start(8)]);
}

#[test]
fn retries_of_one_task_are_spaced_out() {
    let mut pool = Pool::slow(1);
    pool.submit_task(task_with_retries(1, 9));
    for worker in 1..=3 {
        pool.dies(worker);
        pool.ready(worker + 1);
    }
    pool.skip();
    pool.dies(4);
    pool.expect([withdraw(1)]);
    pool.after(millis(10));
    pool.expect([start(5)]);
    pool.ready(5);
    pool.expect([Action::Warm, send_again(5, 1, 5), begin(1)]);
}

#[test]
fn an_unknown_task_in_a_result_kills_the_worker_and_fails_its_task() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.forges(1, 77);
    pool.expect([kill(1, KillReason::Misbehaved)]);
    pool.dies(1);
    pool.expect([withdraw(2), fail(1, Failure::Died), start(2)]);
    assert_eq!(pool.counts().worker_deaths, 1);
}

#[test]
fn a_result_out_of_order_is_a_lie() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.forges(1, 2);
    pool.expect([kill(1, KillReason::Misbehaved)]);
}

#[test]
fn a_second_result_is_a_lie() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.finishes(1, 1);
    pool.skip();
    pool.forges(1, 1);
    pool.expect([kill(1, KillReason::Misbehaved)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.dies(1);
    pool.expect([start(2)]);
}

#[test]
fn a_liar_is_not_believed_any_more() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.misbehaves(1);
    pool.misbehaves(1);
    pool.forges(1, 1);
    pool.expect([send(1, 1), begin(1), kill(1, KillReason::Misbehaved)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Died)]);
}

#[test]
fn a_result_of_an_unknown_worker_is_discarded() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.skip();
    pool.forges(9, 1);
    pool.expect_nothing();
}

#[test]
fn an_idle_worker_that_leaves_unasked_is_replaced_on_demand() {
    let mut pool = Pool::slow(1);
    pool.leaves(1);
    pool.expect_nothing();
    pool.submit(1);
    pool.expect([start(2)]);
}
