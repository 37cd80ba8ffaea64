//! Workers that do not come up.

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Failure, KillReason, RefuseReason};

#[test]
fn a_failed_start_is_tried_again() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.fails_to_start(1);
    pool.expect([start(1), start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 1), begin(1)]);
}

#[test]
fn a_fatal_failure_to_start_breaks_the_pool() {
    let mut pool = Pool::of(2);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.fails_to_start_for_good(1);
    pool.expect([
        Action::Refuse(RefuseReason::Broken),
        fail(1, Failure::Broken),
        fail(2, Failure::Broken),
        kill(2, KillReason::Broken),
    ]);
}

#[test]
fn five_failed_starts_in_a_row_break_the_pool() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    for worker in 1..=4 {
        pool.after(millis(900));
        pool.expect([start(worker)]);
        pool.fails_to_start(worker);
    }
    pool.after(millis(900));
    pool.expect([start(5)]);
    pool.fails_to_start(5);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn workers_that_are_killed_while_they_start_are_replaced_for_long() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    for worker in 1..=49 {
        pool.after(secs(1));
        pool.expect([start(worker)]);
        pool.is_killed_at_start(worker);
    }
    pool.after(secs(1));
    pool.expect([start(50)]);
    pool.is_killed_at_start(50);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn failed_starts_do_not_break_a_pool_in_which_others_live() {
    let mut pool = Pool::of(2).warmed(1, secs(1));
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    for worker in 2..=9 {
        pool.fails_to_start(worker);
        pool.after(secs(1));
        pool.expect([start(worker + 1)]);
    }
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn a_ready_worker_ends_a_row_of_failed_starts() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    for worker in 1..=4 {
        pool.fails_to_start(worker);
        pool.after(millis(900));
    }
    pool.ready(5);
    pool.dies(5);
    pool.submit(2);
    pool.after(millis(900));
    pool.skip();
    pool.fails_to_start(6);
    pool.after(millis(900));
    pool.expect([start(7)]);
}

#[test]
fn a_worker_is_not_blamed_for_the_time_in_which_the_pool_stood_still() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.skip();
    pool.stands_still(secs(3_600));
    pool.expect_nothing();
    pool.expect_after(secs(60), [kill(1, KillReason::StartTimeout)]);
}

#[test]
fn of_starts_that_take_long_to_fail_two_are_enough() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.after(secs(1));
    pool.fails_to_start(1);
    pool.expect([start(1), start(2)]);
    pool.after(secs(1));
    pool.fails_to_start(2);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn an_initializer_that_fails_at_the_first_start_breaks_the_pool() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.skip();
    pool.is_not_initialized(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn an_initializer_that_fails_later_is_tried_again_at_growing_intervals() {
    let mut pool = Pool::slow(1);
    pool.dies(1);
    pool.submit(1);
    pool.expect([start(2)]);
    for (worker, pause) in [(2, 100_000), (3, 200_000)] {
        pool.is_not_initialized(worker);
        pool.expect_after(micros(pause), [start(worker + 1)]);
    }
    pool.is_not_initialized(4);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn an_initializer_that_fails_breaks_no_pool_in_which_others_live() {
    let mut pool = Pool::slow(2);
    pool.submit(1);
    pool.submit(2);
    pool.dies(2);
    pool.submit(3);
    pool.skip();
    for worker in 3..=40 {
        pool.is_not_initialized(worker);
        pool.after(secs(5));
        pool.expect([start(worker + 1)]);
    }
    pool.finishes(1, 1);
    pool.expect([send(1, 3), begin(3)]);
}

#[test]
fn a_ready_worker_gives_the_initializer_all_its_tries_again() {
    let mut pool = Pool::slow(1);
    pool.dies(1);
    for worker in 2..=10 {
        pool.submit(worker);
        pool.after(secs(1));
        pool.is_not_initialized(2 * worker - 2);
        pool.after(secs(1));
        pool.ready(2 * worker - 1);
        pool.dies(2 * worker - 1);
        pool.skip();
    }
    pool.submit(99);
    pool.after(secs(1));
    pool.expect([start(20)]);
}

#[test]
fn a_death_at_the_start_breaks_a_pool_in_break_mode() {
    for dies in [Pool::fails_to_start, Pool::is_killed_at_start, Pool::is_not_initialized] {
        let mut pool = Pool::that_breaks(2);
        pool.submit(1);
        pool.submit(2);
        pool.ready(1);
        pool.skip();
        dies(&mut pool, 2);
        pool.expect([
            Action::Refuse(RefuseReason::Broken),
            fail(2, Failure::Broken),
            kill(1, KillReason::Broken),
        ]);
    }
}

#[test]
fn a_shortage_breaks_no_pool_at_once_not_even_in_break_mode() {
    let mut pool = Pool::that_breaks(1);
    pool.submit(1);
    pool.skip();
    pool.meets_an_accident(1);
    pool.expect([start(2)]);
}

#[test]
fn after_a_shortage_it_is_not_a_task_but_a_worker_whose_end_lets_another_start() {
    let mut pool = Pool::slow(2);
    pool.dies(2);
    pool.submit(1);
    pool.submit(2);
    for worker in 3..=6 {
        pool.skip();
        pool.meets_an_accident(worker);
    }
    pool.submit(3);
    pool.expect_nothing();
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.dies(1);
    pool.expect([fail(2, Failure::Died), start(7)]);
}

#[test]
fn after_a_shortage_one_worker_is_tried_at_a_time() {
    let mut pool = Pool::of(3);
    (1..=3).for_each(|task| pool.submit(task));
    pool.expect([start(1), start(2), start(3)]);
    (1..=3).for_each(|worker| pool.meets_an_accident(worker));
    pool.expect([start(4)]);
    pool.ready(4);
    pool.expect([Action::Warm, send(4, 1), begin(1), start(5), start(6)]);
}

#[test]
fn a_worker_that_does_not_come_up_in_time_breaks_the_pool() {
    let mut pool = Pool::of(1);
    pool.submit(1);
    pool.skip();
    pool.expect_after(secs(60), [kill(1, KillReason::StartTimeout)]);
    pool.fails_to_start(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}
