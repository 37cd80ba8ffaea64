//! Tasks that will probably kill their workers leave one to others.

use crate::scheduler::tests::script::*;
use crate::scheduler::{Config, Failure, Wishes};

fn suspect(id: u64) -> crate::scheduler::Task {
    wishing(id, Wishes { suspect: true, ..Wishes::default() })
}

/// A pool of which one worker is up.
fn with_one_up(max_workers: usize) -> Pool {
    Pool::of(max_workers).warmed(1, secs(1))
}

#[test]
fn a_suspect_waits_for_a_start_rather_than_taking_the_last_idle_worker() {
    let mut pool = with_one_up(2);
    pool.submit_task(suspect(1));
    pool.expect([start(2)]);
    pool.submit(2);
    pool.expect([send(1, 2), begin(2)]);
    pool.finishes(1, 2);
    pool.ready(2);
    pool.expect_besides_warmth([send(2, 1), begin(1)]);
}

#[test]
fn suspects_get_the_youngest_workers_and_all_but_one() {
    let mut pool = Pool::slow(3);
    for id in 1..=3 {
        pool.submit_task(suspect(id));
    }
    pool.expect([send(3, 1), begin(1), send(2, 2), begin(2)]);
    pool.submit(4);
    pool.expect([send(1, 4), begin(4)]);
    pool.finishes(1, 4);
    pool.expect_nothing();
    pool.dies(3);
    pool.expect([fail(1, Failure::Died), start(4)]);
    pool.ready(4);
    pool.expect_besides_warmth([send(4, 3), begin(3)]);
}

#[test]
fn where_others_run_no_suspects_one_may_take_the_last_idle_worker() {
    let mut pool = Pool::slow(2);
    pool.submit(1);
    pool.skip();
    pool.submit_task(suspect(2));
    pool.expect([send(2, 2), begin(2)]);
}

#[test]
fn the_only_worker_of_a_pool_takes_suspects_too() {
    let mut pool = Pool::slow(1);
    pool.submit_task(suspect(1));
    pool.expect([send(1, 1), begin(1)]);
}

#[test]
fn a_pool_of_one_worker_keeps_the_order() {
    let mut pool = Pool::quick(1);
    pool.submit(1);
    pool.skip();
    pool.submit_task(suspect(2));
    pool.submit(3);
    pool.expect([send(1, 2), send(1, 3)]);
}

#[test]
fn suspects_are_not_sent_ahead() {
    let mut pool = Pool::quick(2);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.submit_task(suspect(3));
    pool.submit(4);
    pool.expect([send(1, 4)]);
    pool.finishes(2, 2);
    pool.expect([send(2, 3), begin(3)]);
}

#[test]
fn a_suspect_that_waits_can_be_cancelled() {
    let mut pool = with_one_up(2);
    pool.submit_task(suspect(1));
    pool.cancel(1);
    pool.expect([start(2), fail(1, Failure::Cancelled)]);
}

#[test]
fn suspects_are_run_before_a_pool_ends() {
    let mut pool = with_one_up(2);
    pool.submit_task(suspect(1));
    pool.shut_down();
    pool.ready(2);
    pool.skip();
    pool.finishes(2, 1);
    pool.expect([stop(1), stop(2)]);
}

#[test]
fn an_idle_worker_does_not_leave_while_a_suspect_waits_for_one_more() {
    let config = Config { idle_timeout: Some(secs(1)), ..config(2) };
    let mut pool = Pool::with(config).warmed(1, secs(1));
    pool.submit_task(suspect(1));
    pool.after(secs(10));
    pool.expect([start(2)]);
    pool.ready(2);
    pool.expect_besides_warmth([send(2, 1), begin(1)]);
}
