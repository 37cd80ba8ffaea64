//! Who gets which task, and when.

use crate::scheduler::tests::script::*;
use crate::scheduler::worker::{LONG_PATIENCE, PATIENCE};
use crate::scheduler::{Action, Failure, Wishes};

#[test]
fn nothing_starts_without_a_task() {
    let mut pool = Pool::of(4);
    pool.after(secs(100));
    pool.expect_nothing();
}

#[test]
fn a_worker_starts_on_demand_and_is_used_again() {
    let mut pool = Pool::of(4);
    pool.submit(1);
    pool.expect([start(1)]);
    pool.ready(1);
    pool.expect([Action::Warm, send(1, 1), begin(1)]);
    pool.finishes(1, 1);
    pool.expect_nothing();
    pool.submit(2);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn many_blocked_tasks_start_exactly_max_workers() {
    let mut pool = Pool::of(3);
    for id in 1..=10 {
        pool.submit(id);
    }
    pool.expect([start(1), start(2), start(3)]);
    for worker in 1..=3 {
        pool.ready(worker);
        pool.expect([Action::Warm, send(worker, worker), begin(worker)]);
    }
    pool.after(secs(10));
    pool.expect_nothing();
    assert_eq!((pool.running(), pool.waiting()), (3, 7));
}

#[test]
fn a_starting_worker_is_not_started_twice_for_one_task() {
    let mut pool = Pool::of(2);
    pool.submit(1);
    pool.cancel(1);
    pool.submit(2);
    pool.expect([start(1), fail(1, Failure::Cancelled)]);
}

#[test]
fn first_in_first_out() {
    let mut pool = Pool::slow(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.expect([send(1, 1), begin(1)]);
    pool.after(secs(1));
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.after(secs(1));
    pool.finishes(1, 2);
    pool.expect([send(1, 3), begin(3)]);
}

#[test]
fn nothing_is_sent_ahead_before_tasks_proved_quick() {
    let mut pool = Pool::of(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.ready(1);
    pool.expect([start(1), Action::Warm, send(1, 1), begin(1)]);
    pool.after(micros(100));
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2), send(1, 3)]);
}

#[test]
fn the_pipeline_is_bounded() {
    let mut pool = Pool::quick(1);
    for id in 1..=9 {
        pool.submit(id);
    }
    assert_eq!(pool.hands_of(1), [1, 2, 3, 4]);
    pool.finishes(1, 1);
    assert_eq!(pool.hands_of(1), [2, 3, 4, 5]);
}

#[test]
fn nothing_is_sent_ahead_to_a_worker_that_cannot_give_it_back() {
    let mut pool = Pool::of(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.ready_without_claims(1);
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn what_was_sent_ahead_is_recalled_from_a_task_that_turns_out_long() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.expect([send(1, 1), begin(1), send(1, 2)]);
    pool.after(PATIENCE);
    pool.expect([recall(1), withdraw(2)]);
    pool.after(secs(1));
    pool.expect_nothing();
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn one_long_task_outweighs_many_quick_ones() {
    let mut pool = Pool::quick(1);
    for id in 1..=50 {
        pool.submit(id);
        pool.finishes(1, id);
    }
    pool.submit(51);
    pool.submit(52);
    pool.skip();
    pool.after(secs(1));
    pool.expect([recall(1), withdraw(52)]);
    pool.submit(53);
    pool.expect_nothing();
}

#[test]
fn what_has_begun_is_not_recalled_and_not_asked_for_again() {
    let mut pool = Pool::quick(1);
    for id in 1..=3 {
        pool.submit(id);
    }
    pool.has_begun(2);
    pool.skip();
    pool.after(secs(1));
    pool.expect([recall(1), withdraw(3)]);
    assert_eq!(pool.hands_of(1), [1, 2]);
}

#[test]
fn an_idle_worker_gets_what_was_sent_ahead_to_a_busy_one() {
    let mut pool = Pool::quick(2);
    for id in 1..=4 {
        pool.submit(id);
    }
    assert_eq!((pool.hands_of(1), pool.hands_of(2)), (vec![1, 3], vec![2, 4]));
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([begin(3)]);
    pool.finishes(1, 3);
    pool.expect([recall(2), withdraw(4), send(1, 4), begin(4)]);
}

#[test]
fn an_idle_worker_helps_where_most_was_sent_ahead() {
    let mut pool = Pool::quick(3);
    for id in 1..=8 {
        pool.submit(id);
    }
    assert_eq!(pool.hands_of(2), [2, 5, 8]);
    assert_eq!(pool.hands_of(3), [3, 6]);
    for id in [1, 4, 7] {
        pool.skip();
        pool.finishes(1, id);
    }
    pool.expect([recall(2), withdraw(5), withdraw(8), send(1, 5), begin(5), send(1, 8)]);
}

#[test]
fn a_new_worker_gets_what_was_sent_ahead_to_a_busy_one() {
    let mut pool = Pool::of(2).warmed(1, micros(100));
    pool.submit(1);
    pool.submit(2);
    pool.expect([send(1, 1), begin(1), start(2), send(1, 2)]);
    pool.ready(2);
    pool.expect([Action::Warm, recall(1), withdraw(2), send(2, 2), begin(2)]);
}

#[test]
fn a_blocked_pipe_gets_nothing() {
    let mut pool = Pool::slow(2);
    pool.blocks(1);
    pool.submit(1);
    pool.expect([send(2, 1), begin(1)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.unblocks(1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn warming_up_starts_one_worker() {
    let mut pool = Pool::of(4);
    pool.warm_up();
    pool.warm_up();
    pool.expect([start(1)]);
    pool.ready(1);
    pool.expect([Action::Warm]);
    pool.warm_up();
    pool.expect([Action::Warm]);
}

#[test]
fn warming_up_after_a_shutdown_starts_nobody() {
    let mut pool = Pool::of(2);
    pool.submit(1);
    pool.ready(1);
    pool.dies(1);
    pool.submit(2);
    pool.shut_down();
    pool.skip();
    pool.ready(2);
    pool.cancel(2);
    pool.skip();
    pool.warm_up();
    pool.expect_nothing();
}

#[test]
fn higher_priorities_come_first_and_each_in_its_order() {
    let mut pool = Pool::slow(1);
    pool.submit(1);
    pool.submit(2);
    pool.submit_task(task_with_priority(3, 1));
    pool.submit_task(task_with_priority(4, -1));
    pool.submit_task(task_with_priority(5, 1));
    pool.skip();
    for (done, next) in [(1, 3), (3, 5), (5, 2), (2, 4)] {
        pool.after(secs(1));
        pool.finishes(1, done);
        pool.expect([send(1, next), begin(next)]);
    }
}

#[test]
fn what_was_taken_back_lets_a_higher_priority_pass() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.submit(2);
    pool.submit_task(task_with_priority(3, 1));
    assert_eq!(pool.hands_of(1), [1, 2, 3]);
    pool.after(PATIENCE);
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([send(1, 3), begin(3)]);
}

#[test]
fn tasks_of_a_key_wait_for_the_worker_of_the_first_one() {
    let mut pool = Pool::slow(2);
    pool.submit_task(sticky_task(1, 7));
    pool.expect([send(1, 1), begin(1)]);
    pool.submit_task(sticky_task(2, 7));
    pool.expect_nothing();
    pool.submit(3);
    pool.expect([send(2, 3), begin(3)]);
    pool.finishes(2, 3);
    pool.expect_nothing();
    pool.after(secs(1));
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.after(secs(1));
    pool.finishes(1, 2);
    pool.submit(4);
    pool.submit_task(sticky_task(5, 7));
    pool.expect([send(1, 4), begin(4)]);
}

#[test]
fn tasks_of_different_keys_go_to_different_workers() {
    let mut pool = Pool::slow(2);
    for (id, key) in [(1, 7), (2, 8), (3, 8), (4, 7)] {
        pool.submit_task(sticky_task(id, key));
    }
    pool.expect([send(1, 1), begin(1), send(2, 2), begin(2)]);
    pool.after(secs(1));
    pool.finishes(1, 1);
    pool.expect([send(1, 4), begin(4)]);
}

#[test]
fn a_key_needs_only_one_worker() {
    let mut pool = Pool::of(4);
    for id in 1..=3 {
        pool.submit_task(sticky_task(id, 7));
    }
    pool.expect([start(1)]);
}

#[test]
fn tasks_of_a_key_are_sent_ahead_to_their_worker_and_left_there() {
    let mut pool = Pool::quick(2);
    pool.submit_task(sticky_task(1, 7));
    pool.submit_task(sticky_task(2, 7));
    pool.expect([send(1, 1), begin(1), send(1, 2)]);
    pool.after(PATIENCE);
    pool.expect([recall(1), withdraw(2)]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn a_key_has_priorities_of_its_own() {
    let mut pool = Pool::slow(1);
    pool.submit_task(sticky_task(1, 7));
    pool.submit_task(sticky_task(2, 7));
    pool.submit_task(task_with_priority(3, 1));
    pool.submit_task(wishing(4, Wishes { priority: 2, key: Some(7), ..Wishes::default() }));
    pool.skip();
    for (done, next) in [(1, 4), (4, 3), (3, 2)] {
        pool.after(secs(1));
        pool.finishes(1, done);
        pool.expect([send(1, next), begin(next)]);
    }
}

#[test]
fn tasks_of_a_key_go_on_with_another_worker_when_theirs_dies() {
    let mut pool = Pool::slow(3);
    for id in 1..=3 {
        pool.submit_task(sticky_task(id, 7));
    }
    pool.skip();
    pool.dies(1);
    pool.expect([fail(1, Failure::Died), send(2, 2), begin(2)]);
    pool.finishes(2, 2);
    pool.expect([send(2, 3), begin(3)]);
}

#[test]
fn a_retried_task_of_a_key_goes_to_another_worker() {
    let mut pool = Pool::slow(2);
    pool.submit_task(wishing(1, Wishes { retries: 1, key: Some(7), ..Wishes::default() }));
    pool.skip();
    pool.dies(1);
    pool.expect([withdraw(1), send_again(2, 1, 2), begin(1)]);
}

#[test]
fn cancelling_a_task_that_waits_for_its_worker() {
    let mut pool = Pool::slow(2);
    for id in 1..=3 {
        pool.submit_task(sticky_task(id, 7));
    }
    pool.skip();
    pool.cancel(2);
    pool.abort(3);
    pool.expect([fail(2, Failure::Cancelled), fail(3, Failure::Cancelled)]);
    pool.finishes(1, 1);
    pool.expect_nothing();
}

#[test]
fn a_part_of_a_long_task_goes_to_an_idle_worker() {
    let mut pool = Pool::slow(2);
    pool.submit_task(divisible_task(1));
    pool.divides(1, divisible_task(9));
    pool.skip();
    pool.after(PATIENCE);
    pool.expect([recall(1), send(2, 9), begin(9)]);
}

#[test]
fn a_long_task_is_asked_for_a_part_less_and_less_often() {
    let mut pool = Pool::slow(1);
    pool.submit_task(divisible_task(1));
    pool.skip();
    for _ in 0..5 {
        let next = pool.next_timeout().unwrap();
        pool.after(next);
        pool.expect([recall(1)]);
    }
    assert_eq!(pool.next_timeout(), Some(16 * LONG_PATIENCE));
    pool.finishes(1, 1);
    assert_eq!(pool.next_timeout(), None);
}

#[test]
fn a_part_takes_the_place_of_the_whole() {
    let mut pool = Pool::slow(1);
    pool.submit_task(divisible_task(1));
    pool.submit(9);
    pool.divides(1, task(2));
    pool.after(LONG_PATIENCE);
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
}

#[test]
fn brief_tasks_share_a_worker_that_was_just_sent_one() {
    let mut pool = Pool::brief(3);
    (1..=6).for_each(|id| pool.submit(id));
    assert_eq!((pool.hands_of(1), pool.hands_of(2)), (vec![1, 2, 3, 4], vec![5, 6]));
    pool.skip();
    pool.finishes(2, 5);
    pool.finishes(2, 6);
    pool.expect([begin(6)]);
    pool.submit(7);
    pool.expect([send(2, 7), begin(7)]);
}

#[test]
fn nothing_is_sent_behind_a_task_that_may_be_long_while_others_are_idle() {
    let mut pool = Pool::brief(2);
    pool.submit(1);
    pool.after(micros(51));
    pool.skip();
    pool.submit(2);
    pool.expect([send(2, 2), begin(2)]);
    let mut pool = Pool::brief(2);
    pool.submit_task(divisible_task(1));
    pool.submit(2);
    pool.expect([send(1, 1), begin(1), send(2, 2), begin(2)]);
}

#[test]
fn idle_workers_get_what_was_sent_behind_a_task_that_turns_out_long() {
    let mut pool = Pool::brief(3);
    (1..=3).for_each(|id| pool.submit(id));
    pool.skip();
    pool.after(PATIENCE);
    pool.expect([recall(1), withdraw(2), withdraw(3), send(2, 2), begin(2), send(2, 3)]);
}

#[test]
fn idle_workers_get_what_was_sent_behind_tasks_that_are_not_brief_any_more() {
    let mut pool = Pool::brief(3);
    (1..=4).for_each(|id| pool.submit(id));
    pool.skip();
    pool.tasks_run_for(micros(500));
    pool.finishes(1, 1);
    pool.expect([begin(2)]);
    pool.finishes(1, 2);
    pool.expect([begin(3), recall(1), withdraw(4), send(2, 4), begin(4)]);
}

#[test]
fn no_more_workers_run_brief_tasks_than_there_are_cpus() {
    let mut pool = Pool::brief(4);
    (1..=20).for_each(|id| pool.submit(id));
    assert_eq!([1, 2, 3, 4].map(|worker| pool.hands_of(worker).len()), [8, 8, 0, 0]);
    pool.finishes(2, 5);
    pool.finishes(1, 1);
    assert_eq!([1, 2, 3, 4].map(|worker| pool.hands_of(worker).len()), [8, 8, 0, 0]);
    pool.after(PATIENCE);
    assert!([1, 2, 3, 4].iter().all(|worker| !pool.hands_of(*worker).is_empty()));
}

#[test]
fn tasks_with_a_key_or_parts_do_not_wait_for_brief_ones() {
    let mut pool = Pool::brief(3);
    pool.submit(1);
    pool.submit_task(sticky_task(2, 7));
    pool.submit_task(divisible_task(3));
    assert_eq!([1, 2, 3].map(|worker| pool.hands_of(worker)), [[1], [2], [3]]);
}
