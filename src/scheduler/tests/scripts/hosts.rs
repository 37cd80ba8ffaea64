//! Several hosts: where workers are started, and what the loss of a host means.

use std::time::Duration;

use crate::scheduler::tests::script::*;
use crate::scheduler::{
    Action, Config, Failure, HostConfig, KillReason, LeaveReason, OnWorkerDeath, RefuseReason,
    Wishes,
};

/// Longer than any back-off.
const LEASE: Duration = secs(90);

/// One that is there.
fn host(workers: Option<usize>) -> HostConfig {
    HostConfig { workers, is_away: false }
}

/// A pool that may have as many workers as its hosts.
fn config_of(limits: &[usize]) -> Config {
    let hosts = limits.iter().map(|limit| host(Some(*limit)));
    Config { hosts: hosts.collect(), ..config(limits.iter().sum()) }
}

fn pool_of(limits: &[usize]) -> Pool {
    Pool::with(config_of(limits))
}

/// A worker on each host, each of which is idle and takes its time for tasks.
fn one_on_each(hosts: u64) -> Pool {
    let limits = vec![1; usize::try_from(hosts).unwrap()];
    pool_of(&limits).warmed(hosts, secs(1))
}

// ----- places -----

#[test]
fn workers_are_started_where_the_smallest_share_is_taken() {
    let mut pool = pool_of(&[4, 2]);
    for task in 1..=8 {
        pool.submit(task);
    }
    let hosts = [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5), (0, 6)];
    pool.expect(hosts.map(|(host, worker)| start_on(host, worker)));
}

#[test]
fn a_host_has_no_more_workers_than_it_may() {
    let mut pool = Pool::with(Config { max_workers: 9, ..config_of(&[1, 1]) });
    for task in 1..=3 {
        pool.submit(task);
    }
    pool.expect([start_on(0, 1), start_on(1, 2)]);
    pool.ready(1);
    pool.expect([Action::Warm, send(1, 1), begin(1)]);
    pool.dies(1);
    pool.expect([fail(1, Failure::Died), start_on(0, 3)]);
}

#[test]
fn a_pool_is_warm_when_all_are_up_that_its_hosts_may_have() {
    let mut pool = Pool::with(Config { min_workers: 3, max_workers: 4, ..config_of(&[1, 1]) });
    pool.expect([start_on(0, 1), start_on(1, 2)]);
    pool.warm_up();
    pool.ready(1);
    pool.expect_nothing();
    pool.ready(2);
    pool.expect([Action::Warm]);
}

#[test]
fn a_host_without_a_limit_takes_what_others_have_no_room_for() {
    let hosts = [config_of(&[1]).hosts, vec![HostConfig::default()]].concat();
    let mut pool = Pool::with(Config { hosts, ..config(4) });
    for task in 1..=5 {
        pool.submit(task);
    }
    pool.expect([(0, 1), (1, 2), (1, 3), (1, 4)].map(|(host, worker)| start_on(host, worker)));
}

#[test]
fn a_host_of_which_little_is_known_gets_more_workers_when_it_says_how_many() {
    let mut pool = Pool::with(Config { follows_hosts: true, ..config_of(&[2, 1]) });
    for task in 1..=9 {
        pool.submit(task);
    }
    pool.expect([start_on(0, 1), start_on(1, 2), start_on(0, 3)]);
    pool.host_has(1, 4);
    pool.expect([start_on(1, 4), start_on(1, 5), start_on(1, 6)]);
    pool.host_has(1, 4);
    pool.expect_nothing();
    pool.host_has(1, 5);
    pool.expect([start_on(1, 7)]);
}

#[test]
fn a_pool_whose_size_its_user_has_chosen_keeps_it() {
    let mut pool = Pool::with(Config { follows_hosts: true, ..config_of(&[1, 1]) });
    pool.resize(3);
    for task in 1..=9 {
        pool.submit(task);
    }
    pool.expect([start_on(0, 1), start_on(1, 2)]);
    pool.host_has(1, 4);
    pool.expect([start_on(1, 3)]);
}

#[test]
fn as_many_workers_as_are_wanted_come_up_when_there_is_room_for_them() {
    let mut pool = Pool::with(Config { follows_hosts: true, min_workers: 3, ..config_of(&[1]) });
    pool.expect([start_on(0, 1)]);
    pool.host_has(0, 2);
    pool.expect([start_on(0, 2)]);
    pool.ready(1);
    pool.ready(2);
    pool.host_has(0, 8);
    pool.expect_besides_warmth([start_on(0, 3)]);
}

#[test]
fn a_host_that_comes_back_with_less_has_as_many_workers_as_before() {
    let mut pool = Pool::with(Config { follows_hosts: true, ..config_of(&[1, 1]) });
    pool.host_has(0, 2);
    pool.host_has(0, 1);
    for task in 1..=9 {
        pool.submit(task);
    }
    pool.expect([start_on(0, 1), start_on(1, 2), start_on(0, 3)]);
}

#[test]
fn a_successor_comes_up_on_the_host_of_whom_it_replaces_though_that_is_full() {
    let mut pool = Pool::with(Config { surge: 1, ..config_of(&[1, 1]) }).warmed(2, secs(1));
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.recycle();
    pool.expect([start_on(0, 3)]);
    pool.ready(3);
    pool.skip();
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Recycled)]);
    pool.leaves(1);
    pool.expect([start_on(1, 4)]);
}

#[test]
fn a_successor_relieves_nobody_on_another_host() {
    let mut pool = Pool::with(Config { surge: 1, ..config_of(&[1, 1]) }).warmed(2, secs(1));
    pool.submit(1);
    pool.skip();
    pool.recycle();
    pool.expect([start_on(0, 3)]);
    pool.ready(3);
    pool.expect_besides_warmth([]); // though the other one is idle
    pool.finishes(1, 1);
    pool.expect([stop_because(1, LeaveReason::Recycled)]);
    pool.leaves(1);
    pool.expect([start_on(1, 4)]);
    pool.ready(4);
    pool.expect_besides_warmth([stop_because(2, LeaveReason::Recycled)]);
}

// ----- loss -----

#[test]
fn what_runs_on_a_lost_host_fails_at_once_and_others_are_not_hurt() {
    let mut pool = one_on_each(2);
    pool.submit(1);
    pool.submit(2);
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.expect_nothing();
    pool.vanishes(1);
    pool.expect([fail(1, Failure::HostLost)]);
    pool.finishes(2, 2);
    assert_eq!((pool.counts().workers_lost, pool.counts().worker_deaths), (1, 0));
}

#[test]
fn a_worker_of_a_lost_host_is_sent_nothing_though_its_end_is_not_heard_of() {
    let mut pool = one_on_each(2);
    pool.loses_host(0, LEASE);
    pool.submit(1);
    pool.submit(2);
    pool.expect([send(2, 1), begin(1)]);
    pool.vanishes(1);
    pool.expect_nothing();
}

#[test]
fn a_worker_that_starts_while_its_host_is_lost_is_ended_if_it_comes_up_there() {
    let mut pool = pool_of(&[1, 1]);
    pool.submit(1);
    pool.expect([start_on(0, 1)]);
    pool.loses_host(0, LEASE);
    pool.expect([kill(1, KillReason::HostLost), start_on(1, 2)]);
    pool.ready(1);
    pool.expect_nothing();
    pool.is_unreachable(1);
    pool.expect_nothing();
    assert_eq!(pool.counts().start_failures, 1);
}

#[test]
fn a_result_that_was_on_its_way_counts_though_the_host_is_lost() {
    let mut pool = one_on_each(1);
    pool.submit(1);
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.finishes(1, 1);
    pool.vanishes(1);
    pool.expect_nothing();
    assert_eq!((pool.counts().completed, pool.counts().failed), (2, 0));
}

#[test]
fn what_has_not_begun_on_a_lost_host_goes_elsewhere_at_once() {
    let mut pool = one_on_each(2);
    pool.submit(1);
    pool.submit(2);
    pool.has_not_begun(1);
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.vanishes(1);
    pool.expect([withdraw(1)]);
    pool.finishes(2, 2);
    pool.expect([send(2, 1), begin(1)]);
}

#[test]
fn a_retry_waits_until_what_ran_on_a_lost_host_has_ended_for_sure() {
    let mut pool = one_on_each(2);
    pool.submit_task(task_with_retries(1, 1));
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.after(secs(10));
    pool.vanishes(1);
    pool.expect([withdraw(1)]);
    pool.expect_after(secs(80), [send_again(2, 1, 2), begin(1)]);
}

#[test]
fn one_that_is_asked_about_waits_for_that_too() {
    let mut pool = one_on_each(2);
    pool.submit_task(conditional_task(1, 1));
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.vanishes(1);
    pool.expect([consult(1, Failure::HostLost)]);
    pool.decides(1, true);
    pool.expect([withdraw(1)]);
    pool.expect_after(LEASE, [send_again(2, 1, 2), begin(1)]);
}

#[test]
fn an_item_that_its_map_begins_again_waits_for_what_was_lost() {
    let mut pool = one_on_each(2);
    pool.submit(1);
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.vanishes(1);
    pool.expect([fail(1, Failure::HostLost)]);
    pool.submit_task(wishing(2, Wishes { attempt: 2, ..Wishes::default() }));
    pool.expect_after(LEASE, [send_again(2, 2, 2), begin(2)]);
}

#[test]
fn no_task_of_a_key_begins_while_another_one_may_run_on_a_lost_host() {
    let mut pool = one_on_each(2);
    pool.submit_task(sticky_task(1, 7));
    pool.submit_task(sticky_task(2, 7));
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.vanishes(1);
    pool.expect([fail(1, Failure::HostLost)]);
    pool.expect_after(LEASE, [send(2, 2), begin(2)]);
}

#[test]
fn a_task_that_is_aborted_on_a_lost_host_is_cancelled_when_its_end_is_told() {
    let mut pool = one_on_each(1);
    pool.submit(1);
    pool.skip();
    pool.loses_host(0, LEASE);
    pool.abort(1);
    pool.expect_nothing();
    pool.vanishes(1);
    pool.expect([fail(1, Failure::Cancelled)]);
}

#[test]
fn a_pool_that_breaks_by_deaths_breaks_by_a_loss_too() {
    let config = Config { on_worker_death: OnWorkerDeath::Break, ..config_of(&[1, 1]) };
    let mut pool = Pool::with(config).warmed(2, secs(1));
    pool.loses_host(0, LEASE);
    pool.expect_nothing();
    pool.vanishes(1);
    pool.expect([Action::Refuse(RefuseReason::Broken), kill(2, KillReason::Broken)]);
}

#[test]
fn it_does_not_break_by_the_loss_of_a_worker_that_was_to_go() {
    let config = Config { on_worker_death: OnWorkerDeath::Break, ..config_of(&[1, 1]) };
    let mut pool = Pool::with(config).warmed(2, secs(1));
    pool.resize(1);
    pool.expect([stop_because(2, LeaveReason::Surplus)]);
    pool.loses_host(1, LEASE);
    pool.vanishes(2);
    pool.expect_nothing();
}

// ----- hosts that rest -----

#[test]
fn a_lost_host_is_tried_by_one_worker_at_a_time_and_less_and_less_often() {
    let mut pool = pool_of(&[2]).warmed(2, secs(1));
    pool.loses_host(0, secs(0));
    pool.vanishes(1);
    pool.vanishes(2);
    pool.submit(1);
    pool.submit(2);
    for (worker, rest) in [(3, 1), (4, 2), (5, 4)] {
        pool.expect_after(secs(rest), [start_on(0, worker)]);
        pool.is_unreachable(worker);
    }
    pool.expect_after(secs(8), [start_on(0, 6)]);
    pool.ready(6);
    pool.expect_besides_warmth([send(6, 1), begin(1), start_on(0, 7)]);
}

#[test]
fn nobody_waits_for_a_lost_host_that_is_tried() {
    let mut pool = pool_of(&[1, 2]).warmed(1, secs(1));
    pool.loses_host(0, LEASE);
    pool.vanishes(1);
    pool.submit(1);
    pool.submit(2);
    pool.expect([start_on(1, 2), start_on(1, 3)]);
    pool.submit(3);
    pool.expect_after(secs(1), [start_on(0, 4)]);
    pool.ready(2);
    pool.expect_besides_warmth([send(2, 1), begin(1)]);
    pool.dies(2);
    pool.expect([fail(1, Failure::Died), start_on(1, 5)]);
}

#[test]
fn a_pool_lives_as_long_as_one_of_its_hosts() {
    let mut pool = pool_of(&[2, 2]);
    pool.submit(1);
    pool.submit(2);
    pool.expect([start_on(0, 1), start_on(1, 2)]);
    pool.fails_to_start_for_good(1);
    pool.expect([start_on(1, 3)]);
    pool.submit(3);
    pool.expect_after(secs(1), [start_on(0, 4)]);
    pool.fails_to_start_for_good(4);
    pool.fails_to_start_for_good(2);
    pool.expect([
        Action::Refuse(RefuseReason::Broken),
        fail(1, Failure::Broken),
        fail(2, Failure::Broken),
        fail(3, Failure::Broken),
        kill(3, KillReason::Broken),
    ]);
}

#[test]
fn a_ready_worker_elsewhere_keeps_a_pool_alive_whose_starts_fail() {
    let mut pool = pool_of(&[1, 1]).warmed(2, secs(1));
    pool.submit(1);
    pool.loses_host(1, secs(0));
    pool.vanishes(2);
    pool.submit(2);
    pool.skip();
    for (worker, rest) in [(3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 32), (9, 60), (10, 60)] {
        pool.expect_after(secs(rest), [start_on(1, worker)]);
        pool.is_unreachable(worker);
    }
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    assert_eq!(pool.counts().start_failures, 8);
}

#[test]
fn a_connection_that_fails_for_several_has_failed_once() {
    let mut pool = pool_of(&[6]);
    for task in 1..=6 {
        pool.submit(task);
    }
    pool.skip();
    pool.after(secs(1));
    for worker in 1..=6 {
        pool.is_unreachable(worker);
    }
    pool.skip();
    assert_eq!(pool.counts().start_failures, 6);
    pool.ready(7);
    pool.expect_besides_warmth([send(7, 1), begin(1)]);
}

#[test]
fn hosts_back_off_each_for_itself() {
    let mut pool = pool_of(&[1, 1]);
    pool.submit(1);
    for worker in 1..=3 {
        pool.expect([start_on(0, worker)]);
        pool.fails_to_start(worker);
    }
    pool.expect([start_on(0, 4)]);
    pool.fails_to_start(4);
    pool.expect([start_on(1, 5)]);
}
