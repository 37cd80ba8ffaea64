//! Trivial tasks: one after the other, many at once, and items of a map.

use std::rc::Rc;
use std::time::Instant;

use super::bed::{Bed, Flavor, seconds, timed};
use super::counts::{bulk, map, noop};
use super::floor::Echo;
use super::harness::{Aim, Block, Case, Measure, Options, Unit};
use super::peers::{FUTURES, Peer, Peers, against, ask};

/// Calls of a peer in one block, one after the other and all at once.
const TRIPS_OF_PEERS: usize = 50;
const TASKS_OF_PEERS: usize = 3_000;
const ITEMS_OF_PEERS: usize = 400_000;

pub(crate) fn cases(options: &Options, peers: &Peers) -> Vec<Case> {
    let mut cases = round_trips(options, peers);
    cases.extend(many_tasks(options, peers));
    cases.extend(maps(options, peers));
    cases
}

/// The peers stand in the rows of the flavor that most services have.
fn peers_of(flavor: Flavor, peers: &[Rc<Peer>]) -> Vec<Rc<Peer>> {
    match flavor {
        Flavor::Spawned => peers.to_vec(),
        Flavor::CurrentThread | Flavor::BlockOn => Vec::new(),
    }
}

fn round_trips(options: &Options, peers: &Peers) -> Vec<Case> {
    let both = &[Aim::Ratio(1.5), Aim::TailRatio(2.0)];
    let rows =
        [(Flavor::CurrentThread, &both[..]), (Flavor::Spawned, &both[..]), (Flavor::BlockOn, &[])];
    let case = |(flavor, aims): (Flavor, &[Aim])| {
        let (name, blocks) = (format!("round trip, {}", flavor.name()), options.scale(60));
        let peers = peers_of(flavor, peers.all());
        let asked = peers.clone();
        let case =
            Case::new(name, Unit::Latency, blocks, move || round_trip(flavor, asked.clone()));
        against(case.floor("two pipes", aims), &peers, &[])
    };
    rows.into_iter().map(case).collect()
}

fn round_trip(flavor: Flavor, peers: Vec<Rc<Peer>>) -> Measure {
    const TRIPS: usize = 200;
    let bed = Bed::new(flavor);
    let pool = bed.pool(2);
    let mut floor = Echo::new().expect("an echoing child");
    Box::new(move || {
        let reference = timed(TRIPS, || floor.ping().expect("an echo"));
        let pool = pool.clone();
        let ours = bed.run(async move {
            let mut times = Vec::with_capacity(TRIPS);
            for n in 0..TRIPS as u64 {
                let start = Instant::now();
                assert_eq!(pool.run(noop, n).await.expect("a result"), n);
                times.push(start.elapsed().as_secs_f64());
            }
            times
        });
        let mut others = vec![reference];
        others.extend(ask(&peers, "round_trip", TRIPS_OF_PEERS));
        Block { ours, others }
    })
}

fn many_tasks(options: &Options, peers: &Peers) -> Vec<Case> {
    let case = |flavor: Flavor| {
        let (name, tasks) = (format!("no-op tasks, {}", flavor.name()), options.scale(300_000));
        let peers = peers_of(flavor, peers.all());
        let asked = peers.clone();
        let case = Case::new(name, Unit::PerSecond, options.scale(9), move || {
            let bed = Bed::new(flavor);
            let pool = bed.pool(2);
            Box::new(move || {
                let pool = pool.clone();
                let (took, ()) = bed.run(async move { seconds(bulk(&pool, tasks)).await });
                let others = ask(&asked, "tasks", TASKS_OF_PEERS);
                Block { ours: vec![took / tasks as f64], others }
            })
        });
        against(case.aim(Aim::PerSecond(1.5e6)), &peers, &[(FUTURES, Aim::Times(100.0))])
    };
    [Flavor::CurrentThread, Flavor::Spawned].into_iter().map(case).collect()
}

fn maps(options: &Options, peers: &Peers) -> Vec<Case> {
    let case = |flavor: Flavor| {
        let (name, items) = (format!("map of no-ops, {}", flavor.name()), options.scale(5_000_000));
        let peers = peers_of(flavor, peers.of_python());
        let asked = peers.clone();
        let case = Case::new(name, Unit::PerSecond, options.scale(9), move || {
            let bed = Bed::new(flavor);
            let pool = bed.pool(2);
            Box::new(move || {
                let pool = pool.clone();
                let (took, ()) = bed.run(async move { seconds(map(&pool, items)).await });
                let others = ask(&asked, "map", ITEMS_OF_PEERS);
                Block { ours: vec![took / items as f64], others }
            })
        });
        let case = against(case.aim(Aim::PerSecond(1e7)), &peers, &[]);
        if peers.is_empty() { case } else { case.best_peer(Aim::Times(3.0)) }
    };
    [Flavor::CurrentThread, Flavor::Spawned].into_iter().map(case).collect()
}
