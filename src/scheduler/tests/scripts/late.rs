//! Workers that answer later, as they are far away.

use std::time::Duration;

use super::super::script::*;
use crate::base::WorkerId;
use crate::scheduler::worker::PATIENCE;
use crate::scheduler::{Action, Config, Failure, LeaveReason};

const WAY: Duration = Duration::from_millis(10);

/// A task takes no time there, but that long to get there and back.
fn far_pool(workers: u64) -> Pool {
    let mut pool = Pool::of(usize::try_from(workers).unwrap());
    for n in 1..=workers {
        pool.submit(1_000 + n);
    }
    (1..=workers).for_each(|n| pool.ready_late(n));
    pool.after(WAY);
    (1..=workers).for_each(|n| pool.finishes(n, 1_000 + n));
    pool.skip();
    pool
}

#[test]
fn as_much_is_sent_ahead_as_hides_the_way_there() {
    let mut pool = Pool::with(Config { max_pipeline: 100, ..config(1) });
    pool.tasks_run_for(Duration::from_millis(1));
    pool.submit(1_000);
    pool.ready_late(1);
    pool.after(WAY);
    pool.finishes(1, 1_000);
    for id in 1..=20 {
        pool.submit(id);
    }
    // Nine milliseconds of the ten were the way, and half a one is for the pipe.
    assert_eq!(pool.hands_of(1), (1..=9).collect::<Vec<_>>());
}

#[test]
fn nothing_is_sent_before_the_answer() {
    let mut pool = far_pool(1);
    pool.submit(1);
    pool.submit(2);
    pool.expect([send(1, 1), begin(1), send(1, 2)]);
    pool.after(PATIENCE);
    pool.expect_nothing(); // it may not even have got there
    pool.after(WAY);
    pool.expect([recall(1)]);
    pool.submit(3);
    pool.after(secs(1));
    pool.expect_nothing();
    pool.gives_back(1);
    pool.expect([withdraw(2)]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2), send(1, 3)]);
}

#[test]
fn others_are_served_meanwhile() {
    let mut pool = far_pool(2);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.skip();
    pool.after(PATIENCE + WAY);
    pool.expect([recall(1)]);
    pool.finishes(2, 2);
    pool.submit(4);
    pool.expect([send(2, 4), begin(4)]);
    pool.finishes(2, 4);
    pool.expect_nothing(); // one is asked at a time
    pool.gives_back(1);
    pool.expect([withdraw(3), send(2, 3), begin(3)]);
}

#[test]
fn a_worker_that_ends_before_the_answer_owes_none() {
    let mut pool = far_pool(2);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.after(PATIENCE + WAY);
    pool.skip();
    pool.dies(1);
    pool.gives_back(1); // late, and about nobody
    pool.finishes(2, 2);
    assert_eq!(pool.hands_of(2), [3]);
}

#[test]
fn who_has_to_leave_in_the_meantime_is_asked_for_the_front_task_too() {
    let mut pool = far_pool(1);
    pool.submit(1);
    pool.submit(2);
    pool.after(PATIENCE + WAY);
    pool.has_not_begun(1);
    pool.skip();
    pool.is_over_memory(1);
    pool.skip();
    pool.gives_back_last(1, 1);
    pool.expect([withdraw(2), recall_all(1)]);
    pool.gives_back(1);
    pool.expect([withdraw(1), Action::Stop(WorkerId(1), LeaveReason::Memory)]);
}

#[test]
fn a_task_is_waited_for_when_it_says_later_that_it_ends_by_itself() {
    let mut pool = far_pool(1);
    pool.looks(1);
    pool.submit(1);
    pool.skip();
    pool.abort(1);
    pool.expect([recall_all(1)]);
    pool.gives_back(1);
    pool.expect([ask(1)]);
    pool.after(secs(1));
    pool.expect_nothing();
    pool.says_if_it_ends(1);
    pool.finishes(1, 1);
    pool.expect_nothing();
}

#[test]
fn what_was_said_of_a_task_that_is_over_ends_nobody() {
    let mut pool = far_pool(1);
    pool.submit(1);
    pool.abort(1);
    pool.gives_back(1);
    pool.finishes(1, 1);
    pool.submit(2);
    pool.skip();
    pool.says_if_it_ends(1);
    pool.expect_nothing();
}

#[test]
fn the_time_of_a_task_runs_from_its_begin() {
    let mut pool = far_pool(1);
    pool.submit_task(task_with_timeout(1, secs(1)));
    pool.skip();
    pool.after(secs(1));
    pool.expect([Action::Look(WorkerId(1))]);
    pool.after(secs(5));
    pool.expect_nothing();
    pool.says_if_it_runs(1, false);
    pool.expect_after(secs(1), [Action::Look(WorkerId(1))]);
    pool.says_if_it_runs(1, true);
    pool.after(secs(1));
    pool.expect([ask(1)]);
    pool.says_if_it_ends(1);
    pool.expect([Action::Terminate(WorkerId(1))]);
    pool.dies(1);
    pool.expect([fail(1, Failure::TimedOut(secs(1)))]);
}
