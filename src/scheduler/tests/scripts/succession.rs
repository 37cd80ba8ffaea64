//! Workers whose successors are ready before they leave.

use std::time::Duration;

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Config, Failure, LeaveReason};

/// Workers that are up and idle, and may be one more while some of them are replaced.
fn rolling(max_workers: u64) -> Pool {
    with_surge(max_workers, 1)
}

fn with_surge(max_workers: u64, surge: usize) -> Pool {
    let most = usize::try_from(max_workers).unwrap();
    Pool::with(Config { surge, ..config(most) }).warmed(max_workers, secs(1))
}

// ----- recycled -----

#[test]
fn a_worker_goes_on_until_its_successor_is_ready() {
    let mut pool = rolling(1);
    pool.recycle();
    pool.expect_besides_warmth([start(2)]);
    pool.submit(1);
    pool.expect_besides_warmth([send(1, 1), begin(1)]);
    pool.finishes(1, 1);
    pool.expect_besides_warmth([]);
    pool.ready(2);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled)]);
    pool.submit(2);
    pool.expect_besides_warmth([send(2, 2), begin(2)]);
    pool.leaves(1);
    pool.expect_besides_warmth([]);
    assert_eq!((pool.counts().worker_starts, pool.counts().worker_restarts), (2, 1));
}

#[test]
fn a_successor_gets_no_task_before_it_has_a_place() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.recycle();
    pool.ready(2);
    pool.submit(2);
    pool.expect_besides_warmth([send(1, 1), begin(1), start(2)]);
    pool.finishes(1, 1);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled), send(2, 2), begin(2)]);
}

#[test]
fn the_first_worker_whose_task_is_over_leaves_first() {
    let mut pool = rolling(2);
    pool.submit(1);
    pool.submit(2);
    pool.recycle();
    pool.ready(3);
    pool.skip();
    pool.finishes(2, 2);
    pool.expect_besides_warmth([stop_because(2, LeaveReason::Recycled)]);
    pool.leaves(2);
    pool.expect_besides_warmth([start(4)]);
}

#[test]
fn so_many_are_replaced_at_a_time_as_the_surge_allows() {
    let mut pool = with_surge(3, 2);
    pool.recycle();
    pool.expect_besides_warmth([start(4), start(5)]);
    pool.ready(4);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled)]);
    pool.leaves(1);
    pool.expect_besides_warmth([start(6)]);
    pool.ready(5);
    pool.ready(6);
    pool.expect_besides_warmth([
        stop_because(2, LeaveReason::Recycled),
        stop_because(3, LeaveReason::Recycled),
    ]);
    pool.leaves(2);
    pool.leaves(3);
    pool.expect_besides_warmth([]);
}

#[test]
fn a_worker_whose_successor_does_not_come_up_goes_on() {
    let mut pool = rolling(1);
    pool.recycle();
    pool.is_not_initialized(2);
    pool.submit(1);
    pool.expect_besides_warmth([start(2), send(1, 1), begin(1)]);
    pool.after(secs(1));
    pool.expect_besides_warmth([start(3)]);
    pool.ready(3);
    pool.finishes(1, 1);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled)]);
}

#[test]
fn a_worker_that_dies_before_it_is_replaced_leaves_its_place() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.recycle();
    pool.skip();
    pool.dies(1);
    pool.expect_besides_warmth([fail(1, Failure::Died)]);
    pool.submit(2);
    pool.expect_besides_warmth([]);
    pool.ready(2);
    pool.expect_besides_warmth([send(2, 2), begin(2)]);
    assert_eq!((pool.counts().worker_starts, pool.counts().worker_restarts), (2, 1));
}

#[test]
fn a_successor_is_recycled_too() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.recycle();
    pool.ready(2);
    pool.skip();
    pool.recycle();
    pool.expect_besides_warmth([stop_because(2, LeaveReason::Recycled)]);
    pool.leaves(2);
    pool.expect_besides_warmth([start(3)]);
}

#[test]
fn a_smaller_pool_needs_no_successors() {
    let mut pool = rolling(2);
    pool.submit(1);
    pool.submit(2);
    pool.recycle();
    pool.ready(3);
    pool.skip();
    pool.resize(1);
    pool.expect_besides_warmth([stop_because(3, LeaveReason::Surplus)]);
    pool.finishes(1, 1);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Surplus)]);
    pool.leaves(1);
    pool.leaves(3);
    pool.expect_besides_warmth([start(4)]);
    pool.ready(4);
    pool.finishes(2, 2);
    pool.expect_besides_warmth([stop_because(2, LeaveReason::Recycled)]);
}

// ----- within a time -----

#[test]
fn what_still_runs_when_the_time_is_over_is_ended() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.recycle_within(secs(10));
    pool.ready(2);
    pool.submit(2);
    pool.expect_besides_warmth([send(1, 1), begin(1), start(2)]);
    pool.after(secs(5));
    pool.expect_besides_warmth([recall_all(1)]);
    pool.after(secs(5));
    pool.expect_besides_warmth([recall_all(1), ask(1), terminate(1)]);
    pool.dies(1);
    pool.expect_besides_warmth([fail(1, Failure::Replaced), send(2, 2), begin(2)]);
    assert_eq!((pool.counts().cancelled, pool.counts().worker_deaths), (1, 0));
}

#[test]
fn what_is_ended_so_is_begun_again_if_it_may() {
    let mut pool = rolling(1);
    pool.submit_task(task_with_retries(1, 1));
    pool.recycle_within(secs(10));
    pool.ready(2);
    pool.after(secs(5));
    pool.after(secs(5));
    pool.skip();
    pool.dies(1);
    pool.expect_besides_warmth([withdraw(1), send_again(2, 1, 2), begin(1)]);
}

#[test]
fn after_half_of_the_time_nothing_more_begins_where_it_might_be_ended() {
    let mut pool = rolling(1);
    pool.recycle_within(secs(10));
    pool.expect_besides_warmth([start(2)]);
    pool.after(secs(5));
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled)]);
    pool.submit(1);
    pool.expect_besides_warmth([]);
    pool.ready(2);
    pool.expect_besides_warmth([send(2, 1), begin(1)]);
}

#[test]
fn without_a_surge_there_is_a_time_limit_too() {
    let mut pool = with_surge(1, 0);
    pool.submit(1);
    pool.skip();
    pool.recycle_within(secs(10));
    pool.expect_besides_warmth([recall_all(1)]);
    pool.after(secs(10));
    pool.expect_besides_warmth([recall_all(1), ask(1), terminate(1)]);
}

// ----- old -----

fn mortal(max_workers: usize) -> Pool {
    Pool::with(Config { max_age: Some(Duration::from_mins(1)), surge: 1, ..config(max_workers) })
}

#[test]
fn a_worker_that_is_old_enough_is_replaced() {
    let mut pool = mortal(1);
    pool.submit(1);
    pool.after(secs(10));
    pool.ready(1);
    pool.finishes(1, 1);
    pool.skip();
    assert_eq!(pool.next_timeout(), Some(secs(50)), "its start counts");
    pool.after(secs(50));
    pool.expect_besides_warmth([start(2)]);
    pool.ready(2);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Age)]);
    pool.leaves(1);
    assert_eq!(pool.next_timeout(), Some(Duration::from_mins(1)));
}

#[test]
fn workers_of_one_age_are_replaced_one_after_the_other() {
    let mut pool = mortal(3).warmed(3, Duration::ZERO);
    pool.after(Duration::from_mins(1));
    pool.expect_besides_warmth([start(4)]);
    pool.ready(4);
    pool.leaves(1);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Age), start(5)]);
    pool.ready(5);
    pool.leaves(2);
    pool.expect_besides_warmth([stop_because(2, LeaveReason::Age), start(6)]);
}

// ----- used up -----

fn short_lived(max_workers: usize, max_tasks: u64) -> Pool {
    Pool::with(Config { max_tasks: Some(max_tasks), surge: 1, ..config(max_workers) })
}

#[test]
fn the_successor_of_a_worker_starts_before_its_last_task() {
    let mut pool = short_lived(1, 3);
    pool.submit(1);
    pool.ready(1);
    pool.after(secs(1));
    pool.finishes(1, 1);
    pool.submit(2);
    pool.skip();
    pool.finishes(1, 2);
    pool.expect_besides_warmth([start(2)]);
    pool.ready(2);
    pool.submit(3);
    pool.expect_besides_warmth([send(1, 3), begin(3)]);
    pool.submit(4);
    pool.finishes(1, 3);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::UsedUp), send(2, 4), begin(4)]);
}

#[test]
fn it_starts_as_long_before_as_a_start_takes() {
    let mut pool = short_lived(1, 1_000);
    pool.submit(1);
    pool.after(secs(10));
    pool.ready(1);
    pool.finishes(1, 1);
    pool.skip();
    let run = |pool: &mut Pool, id| {
        pool.submit(id);
        pool.after(secs(1));
        pool.finishes(1, id);
        pool.skip();
    };
    (2..980).for_each(|id| run(&mut pool, id));
    assert_eq!(pool.counts().worker_starts, 1);
    (980..1_000).for_each(|id| run(&mut pool, id));
    assert_eq!(pool.counts().worker_starts, 2);
}

#[test]
fn a_worker_for_one_task_has_a_successor_while_it_runs() {
    let mut pool = short_lived(1, 1);
    pool.submit(1);
    pool.ready(1);
    pool.expect_besides_warmth([start(1), send(1, 1), begin(1), start(2)]);
    pool.ready(2);
    pool.finishes(1, 1);
    pool.submit(2);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::UsedUp), send(2, 2), begin(2)]);
    pool.leaves(1);
    pool.expect_besides_warmth([start(3)]);
}

#[test]
fn of_several_that_are_used_up_together_some_leave_earlier() {
    let mut pool = short_lived(2, 10);
    pool.submit(1);
    pool.submit(2);
    pool.ready(1);
    pool.ready(2);
    for id in (3..=18).step_by(2) {
        pool.after(secs(1));
        pool.submit(id);
        pool.submit(id + 1);
        for worker in 1..=2 {
            let task = pool.hands_of(worker)[0];
            pool.finishes(worker, task);
        }
    }
    pool.skip();
    pool.finishes(1, 17);
    pool.finishes(2, 18);
    pool.expect_besides_warmth([start(3)]);
    pool.ready(3);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::UsedUp)]);
    pool.submit(19);
    pool.leaves(1);
    pool.expect_besides_warmth([send(2, 19), begin(19), start(4)]);
}

// ----- too large -----

#[test]
fn another_worker_starts_while_one_with_too_much_memory_leaves() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.submit(2);
    pool.finishes(1, 1);
    pool.has_not_begun(2);
    pool.skip();
    pool.is_over_memory(1);
    pool.expect_besides_warmth([
        recall_all(1),
        withdraw(2),
        stop_because(1, LeaveReason::Memory),
        start(2),
    ]);
}

// ----- the end -----

#[test]
fn a_successor_leaves_with_the_others_at_the_end() {
    let mut pool = rolling(1);
    pool.submit(1);
    pool.recycle();
    pool.ready(2);
    pool.shut_down();
    pool.skip();
    pool.finishes(1, 1);
    pool.expect_besides_warmth([stop_because(1, LeaveReason::Recycled), stop(2)]);
    pool.leaves(1);
    pool.leaves(2);
    pool.expect_besides_warmth([Action::Close]);
}
