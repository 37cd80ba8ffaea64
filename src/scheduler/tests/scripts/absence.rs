//! Hosts that are not there yet.

use std::time::Duration;

use crate::scheduler::tests::script::*;
use crate::scheduler::{Action, Config, Failure, HostConfig, RefuseReason};

const HOURS: Duration = Duration::from_hours(9);

fn host(workers: usize) -> HostConfig {
    HostConfig { workers: Some(workers), is_away: false }
}

fn away(workers: usize) -> HostConfig {
    HostConfig { is_away: true, ..host(workers) }
}

fn pool_on<const N: usize>(hosts: [HostConfig; N]) -> Pool {
    let workers = hosts.iter().filter_map(|host| host.workers).sum();
    Pool::with(Config { hosts: hosts.to_vec(), ..config(workers) })
}

#[test]
fn a_host_that_is_away_is_requested_for_a_task_and_used_when_it_comes() {
    let mut pool = pool_on([away(2)]);
    pool.expect_nothing();
    pool.submit(1);
    pool.expect([request(0)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.after(HOURS); // nobody's start takes too long
    pool.expect_nothing();
    pool.comes(0);
    pool.expect([start(1), start(2)]);
}

#[test]
fn a_host_that_is_away_is_requested_at_once_for_the_least_number_of_workers() {
    let hosts = vec![host(2), away(2), away(2)];
    let mut pool = Pool::with(Config { min_workers: 4, hosts, ..config(6) });
    pool.expect([start_on(0, 1), start_on(0, 2), request(1)]);
    pool.comes(1);
    pool.expect([start_on(1, 3), start_on(1, 4)]);
}

#[test]
fn others_work_while_a_host_is_awaited() {
    let mut pool = pool_on([host(1), away(1)]);
    pool.submit(1);
    pool.expect([start_on(0, 1)]); // and nothing more is needed
    pool.submit(2);
    pool.expect([request(1)]);
    pool.ready(1);
    pool.expect([Action::Warm, send(1, 1), begin(1)]);
    pool.finishes(1, 1);
    pool.expect([send(1, 2), begin(2)]);
    pool.comes(1);
    pool.expect_nothing();
    pool.submit(3);
    pool.expect([start_on(1, 2), send(1, 3)]);
}

#[test]
fn no_more_hosts_are_requested_than_are_needed() {
    let mut pool = pool_on([away(2), away(2), away(2)]);
    pool.submit(1);
    pool.expect([request(0)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.submit(3);
    pool.expect([request(1)]);
    pool.submit(4);
    pool.expect_nothing();
    pool.comes(2); // though nobody has asked for that one
    pool.expect([start_on(2, 1), start_on(2, 2)]);
}

#[test]
fn a_host_that_does_not_come_is_requested_less_and_less_often_until_that_is_hopeless() {
    let mut pool = pool_on([away(1)]);
    pool.submit(1);
    for seconds in [1, 2, 4, 8] {
        pool.expect([request(0)]);
        pool.is_refused(0);
        assert_eq!(pool.next_timeout(), Some(secs(seconds)));
        pool.after(secs(seconds));
    }
    pool.expect([request(0)]);
    pool.is_refused(0);
    pool.expect([Action::Refuse(RefuseReason::Broken), fail(1, Failure::Broken)]);
}

#[test]
fn a_host_that_does_not_come_hurts_nobody_where_there_are_others() {
    let mut pool = pool_on([host(1), away(1), away(1)]);
    pool.submit(1);
    pool.submit(2);
    pool.expect([start_on(0, 1), request(1)]);
    pool.ready(1);
    for _ in 0..9 {
        pool.is_refused(1);
        pool.is_refused(2);
        pool.skip();
        pool.after(secs(60));
    }
    pool.finishes(1, 1);
    assert_eq!(pool.hands_of(1), [2]);
}

#[test]
fn a_host_that_has_gone_is_requested_again() {
    let mut pool = pool_on([away(1)]);
    pool.submit(1);
    pool.comes(0);
    pool.ready(1);
    pool.skip();
    pool.loses_host(0, secs(90));
    pool.goes(0);
    pool.vanishes(1);
    pool.expect([fail(1, Failure::HostLost)]);
    pool.submit(2);
    pool.expect_nothing();
    pool.after(secs(1)); // it rests
    pool.expect([request(0)]);
    pool.comes(0);
    pool.expect([start(2)]);
}

#[test]
fn workers_of_a_host_that_has_gone_are_not_replaced_there() {
    let mut pool = pool_on([away(1)]);
    pool.submit(1);
    pool.comes(0);
    pool.ready(1);
    pool.skip();
    pool.goes(0);
    pool.dies(1);
    pool.expect([fail(1, Failure::Died)]);
    pool.submit(2);
    pool.expect([request(0)]);
}
