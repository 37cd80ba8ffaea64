//! What pending tasks and idle workers take.

use std::fs;

use super::bed::{Bed, Flavor};
use super::counts::{Pending, round_trips};
use super::floor::Echo;
use super::harness::{Aim, Block, Case, Options, Unit};
use super::peers::{FUTURES, Peers, against, ask};

const PENDING: usize = 300_000;
const PENDING_OF_PEERS: usize = 100_000;
/// What a task may take while it waits.
const MOST: f64 = 200.0;
/// What a worker may take more than a child that does nothing.
const MORE: f64 = 300e3;

pub(crate) fn cases(options: &Options, peers: &Peers) -> Vec<Case> {
    let (tasks, blocks) = (options.scale(PENDING), options.scale(3));
    let pending = move || {
        let bed = Bed::new(Flavor::Spawned);
        move || bed.run(async move { Pending::measure(tasks).await.expect("a pipe") })
    };
    let peers = peers.of_python();
    let asked = peers.to_vec();
    let with_handle = Case::new("pending task with its handle", Unit::Memory, blocks, move || {
        let pending = pending();
        Box::new(move || {
            let others = ask(&asked, "pending", PENDING_OF_PEERS);
            Block { ours: vec![pending().with_handle], others }
        })
    });
    let with_handle = with_handle.aim(Aim::AtMost(MOST));
    let detached = Case::new("pending task, its handle dropped", Unit::Memory, blocks, move || {
        let pending = pending();
        Box::new(move || Block::alone(pending().detached))
    });
    vec![
        against(with_handle, peers, &[(FUTURES, Aim::Ratio(1.0))]),
        detached.aim(Aim::AtMost(MOST)),
        idle_worker(options),
    ]
}

/// A worker that has run a task, and a child of the same program that waits at its pipe.
fn idle_worker(options: &Options) -> Case {
    let case = Case::new("idle worker", Unit::Memory, options.scale(10), || {
        let bed = Bed::new(Flavor::Spawned);
        let pool = bed.pool(1);
        let mut bare = Echo::new().expect("a child");
        Box::new(move || {
            bare.ping().expect("an echo");
            let used = pool.clone();
            bed.run(async move { round_trips(&used, 1).await });
            let reference = proportional(bare.pid());
            let ours = pool.workers().iter().map(|worker| proportional(worker.pid)).sum();
            Block::against(vec![reference], ours)
        })
    });
    case.floor("bare child", &[Aim::Above(MORE)])
}

/// The bytes of memory of a process; what it shares with others counts in proportion.
fn proportional(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its memory");
    let number = line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u32>().ok());
    f64::from(number.expect("a number")) * 1024.0
}
