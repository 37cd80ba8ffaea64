//! Which workers leave while the pool goes on, and how their number changes.

use std::time::Duration;

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Config, Failure, LeaveReason};

const IDLE: Duration = secs(10);

/// A pool that keeps `min` workers, and of the others those that have something to do.
fn elastic(min_workers: usize, max_workers: usize) -> Pool {
    Pool::with(Config { min_workers, idle_timeout: Some(IDLE), ..config(max_workers) })
}

// ----- used up -----

#[test]
fn a_worker_that_has_run_so_many_tasks_is_replaced() {
    let mut pool = Pool::with(Config { max_tasks: Some(2), ..config(1) });
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.ready(1);
    pool.expect([start(1), Action::Warm, send(1, 1), begin(1)]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.finishes(1, 2);
    pool.expect([stop_because(1, LeaveReason::UsedUp)]);
    pool.leaves(1);
    pool.expect([start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 3), begin(3)]);
    assert_eq!(pool.counts().worker_deaths, 0);
}

#[test]
fn a_worker_is_not_sent_more_tasks_ahead_than_it_may_run() {
    let mut pool = Pool::with(Config { max_tasks: Some(3), ..config(1) });
    for id in 1..=4 {
        pool.submit(id);
    }
    pool.ready(1);
    pool.finishes(1, 1);
    assert_eq!(pool.hands_of(1), [2, 3]);
    pool.cancel(3);
    assert_eq!(pool.hands_of(1), [2, 4], "the place of a cancelled one is free again");
}

#[test]
fn a_used_up_worker_is_replaced_during_a_shutdown() {
    let mut pool = Pool::with(Config { max_tasks: Some(1), ..config(1) });
    pool.submit(1);
    pool.submit(2);
    pool.ready(1);
    pool.shut_down();
    pool.skip();
    pool.finishes(1, 1);
    pool.leaves(1);
    pool.expect([stop_because(1, LeaveReason::UsedUp), start(2)]);
    pool.ready(2);
    pool.finishes(2, 2);
    pool.leaves(2);
    pool.expect([
        Action::Warm,
        send(2, 2),
        begin(2),
        stop_because(2, LeaveReason::UsedUp),
        Action::Close,
    ]);
}

#[test]
fn tasks_of_a_key_go_on_elsewhere_when_their_worker_is_used_up() {
    let mut pool = Pool::with(Config { max_tasks: Some(1), ..config(2) });
    pool.submit_task(sticky_task(1, 7));
    pool.submit_task(sticky_task(2, 7));
    pool.ready(1);
    pool.expect([start(1), Action::Warm, send(1, 1), begin(1)]);
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::UsedUp), start(2)]);
}

// ----- idle -----

#[test]
fn the_least_workers_come_up_without_a_task() {
    let mut pool = elastic(2, 4);
    pool.expect([start(1), start(2)]);
    pool.warm_up();
    pool.ready(1);
    pool.expect_nothing();
    pool.ready(2);
    pool.expect([Action::Warm]);
}

#[test]
fn one_of_the_least_workers_that_dies_is_replaced_without_a_task() {
    let mut pool = elastic(1, 4);
    pool.ready(1);
    pool.skip();
    pool.dies(1);
    pool.expect([start(2)]);
}

#[test]
fn workers_that_are_idle_for_long_leave_but_for_the_least() {
    let mut pool = elastic(1, 3);
    for id in 1..=3 {
        pool.submit(id);
    }
    for worker in 1..=3 {
        pool.ready(worker);
    }
    for (worker, id) in [(1, 1), (2, 2), (3, 3)] {
        pool.finishes(worker, id);
    }
    pool.skip();
    pool.expect_after(
        secs(10),
        [stop_because(3, LeaveReason::Idle), stop_because(2, LeaveReason::Idle)],
    );
    pool.leaves(3);
    pool.leaves(2);
    pool.after(10 * IDLE);
    pool.expect_nothing();
    assert_eq!(pool.next_timeout(), None);
}

#[test]
fn a_task_makes_its_worker_stay() {
    let mut pool = elastic(0, 1);
    pool.submit(1);
    pool.ready(1);
    pool.after(10 * IDLE);
    pool.finishes(1, 1);
    pool.after(secs(9));
    pool.submit(2);
    pool.after(IDLE);
    pool.finishes(1, 2);
    pool.skip();
    pool.expect_after(secs(10), [stop_because(1, LeaveReason::Idle)]);
    pool.submit(3);
    pool.expect_nothing();
    pool.leaves(1);
    pool.expect([start(2)]);
}

#[test]
fn an_idle_time_of_nothing_ends_in_peace() {
    let mut pool = Pool::with(Config { idle_timeout: Some(Duration::ZERO), ..config(1) });
    pool.submit(1);
    pool.ready(1);
    pool.skip();
    pool.finishes(1, 1);
    pool.after(Duration::ZERO);
    pool.expect([stop_because(1, LeaveReason::Idle)]);
}

// ----- another size -----

#[test]
fn a_smaller_pool_sends_idle_workers_home_the_youngest_first() {
    let mut pool = Pool::slow(4);
    pool.submit(1);
    pool.skip();
    pool.resize(2);
    pool.expect([stop_because(4, LeaveReason::Surplus), stop_because(3, LeaveReason::Surplus)]);
    pool.resize(1);
    pool.expect([stop_because(2, LeaveReason::Surplus)]);
    pool.finishes(1, 1);
    pool.submit(2);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn a_smaller_pool_lets_running_tasks_finish_and_parts_with_who_runs_dry_first() {
    let mut pool = Pool::slow(3);
    for id in 1..=4 {
        pool.submit(id);
    }
    pool.skip();
    pool.resize(1);
    pool.expect_nothing();
    pool.finishes(2, 2);
    pool.expect([stop_because(2, LeaveReason::Surplus)]);
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Surplus)]);
    pool.after(secs(1));
    pool.finishes(3, 3);
    pool.expect([send(3, 4), begin(4)]);
}

#[test]
fn a_smaller_pool_takes_back_what_was_sent_ahead() {
    let mut pool = Pool::quick(2);
    for id in 1..=4 {
        pool.submit(id);
    }
    pool.skip();
    pool.resize(1);
    pool.expect([recall(1), recall(2), withdraw(3), withdraw(4)]);
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Surplus), send(2, 3), send(2, 4)]);
}

#[test]
fn a_larger_pool_starts_workers_for_what_waits() {
    let mut pool = Pool::slow(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.resize(3);
    pool.expect([start(2), start(3)]);
}

#[test]
fn workers_that_still_leave_take_up_their_places() {
    let mut pool = Pool::slow(2);
    pool.resize(1);
    pool.resize(2);
    pool.submit(1);
    pool.submit(2);
    pool.expect([stop_because(2, LeaveReason::Surplus), send(1, 1), begin(1)]);
    pool.leaves(2);
    pool.expect([start(3)]);
}

#[test]
fn a_size_that_is_taken_back_in_time_sends_nobody_home() {
    let mut pool = Pool::slow(2);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.resize(1);
    pool.resize(2);
    pool.finishes(1, 1);
    pool.finishes(2, 2);
    pool.expect_nothing();
}

#[test]
fn a_pool_may_become_smaller_than_its_least_number_and_grow_again() {
    let mut pool = elastic(2, 4);
    pool.ready(1);
    pool.ready(2);
    pool.skip();
    pool.resize(1);
    pool.leaves(2);
    pool.expect([stop_because(2, LeaveReason::Surplus)]);
    pool.warm_up();
    pool.expect([Action::Warm]);
    pool.resize(4);
    pool.expect([start(3)]);
}

#[test]
fn who_waits_for_the_least_workers_hears_that_they_are_fewer_now() {
    let mut pool = elastic(3, 3);
    for worker in 1..=2 {
        pool.ready(worker);
        pool.submit(worker);
    }
    pool.warm_up();
    pool.skip();
    pool.resize(2);
    pool.expect([stop_because(3, LeaveReason::Surplus), Action::Warm]);
}

// ----- replaced -----

#[test]
fn recycling_takes_back_what_was_sent_ahead_and_waits_for_what_runs() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.recycle();
    pool.expect([recall_all(1), withdraw(2), withdraw(3)]);
    pool.submit(4);
    pool.expect_nothing();
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Recycled)]);
    pool.leaves(1);
    pool.expect([start(2)]);
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 2), begin(2)]);
}

#[test]
fn recycling_takes_back_even_the_front_task_if_it_has_not_begun() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.has_not_begun(1);
    pool.skip();
    pool.recycle();
    pool.expect([recall_all(1), withdraw(1), stop_because(1, LeaveReason::Recycled)]);
}

#[test]
fn recycling_sends_idle_and_starting_workers_home_once() {
    let mut pool = Pool::of(2).warmed(1, secs(1));
    pool.submit(1);
    pool.submit(2);
    pool.finishes(1, 1);
    pool.finishes(1, 2);
    pool.skip();
    pool.recycle();
    pool.recycle();
    pool.expect([stop_because(1, LeaveReason::Recycled), stop_because(2, LeaveReason::Recycled)]);
    pool.submit(3);
    pool.expect_nothing();
}

#[test]
fn a_task_of_a_recycled_worker_can_still_be_aborted() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.recycle();
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Cancelled)]);
}

#[test]
fn a_worker_that_takes_too_much_memory_gives_back_all_and_leaves() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.has_not_begun(2);
    pool.finishes(1, 1);
    pool.skip();
    pool.is_over_memory(1);
    pool.expect([recall_all(1), withdraw(2), withdraw(3), stop_because(1, LeaveReason::Memory)]);
    pool.is_over_memory(1);
    pool.expect_nothing();
    pool.leaves(1);
    pool.expect([start(2)]);
}

#[test]
fn a_worker_that_others_ask_to_end_finishes_its_task_and_gives_back_the_rest() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.has_not_begun(2);
    pool.skip();
    pool.is_asked_to_end(1);
    pool.expect([recall_all(1), withdraw(2), withdraw(3)]);
    pool.is_asked_to_end(1);
    pool.expect_nothing();
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Terminated)]);
    pool.leaves(1);
    pool.expect([start(2)]);
}

#[test]
fn an_idle_worker_that_others_ask_to_end_leaves_at_once_and_nobody_takes_its_place() {
    let mut pool = Pool::slow(2);
    pool.is_asked_to_end(1);
    pool.expect([stop_because(1, LeaveReason::Terminated)]);
    pool.leaves(1);
    pool.expect_nothing();
    pool.submit(1);
    pool.expect([send(2, 1), begin(1)]);
}

#[test]
fn what_waits_at_a_shutdown_is_run_by_others_if_all_are_asked_to_end() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.shut_down();
    pool.skip();
    pool.is_asked_to_end(1);
    pool.finishes(1, 1);
    pool.leaves(1);
    pool.skip();
    pool.ready(2);
    pool.expect([Action::Warm, send(2, 2), begin(2)]);
}

#[test]
fn if_all_that_come_are_asked_to_end_the_next_ones_are_no_hurry() {
    let mut pool = Pool::with(Config { min_workers: 1, ..config(1) });
    for worker in 1..=4 {
        pool.ready(worker);
        pool.skip();
        pool.is_asked_to_end(worker);
        pool.expect([stop_because(worker, LeaveReason::Terminated)]);
        pool.leaves(worker);
        if worker < 4 {
            pool.expect([start(worker + 1)]);
        }
    }
    pool.expect_nothing();
    pool.after(millis(10));
    pool.expect([start(5)]);
}
