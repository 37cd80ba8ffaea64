//! What may happen to a pool and to its scheduler alike.

use std::time::Duration;

use super::Random;
use crate::base::Delays;
use crate::scheduler::{Config, Force, HostConfig, OnWorkerDeath, Wishes};

/// What whoever runs the service does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    WarmUp,
    Resize {
        max_workers: usize,
    },
    Recycle {
        limit: Option<Duration>,
    },
    ShutDown {
        cancel: bool,
        limit: Option<Duration>,
    },
    EndWorkers(Force),
    /// The pool breaks, as its user wants it to.
    Break,
}

impl Operation {
    /// After it the pool goes on.
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::WarmUp,
            1 => Self::Resize { max_workers: 1 + random.below(4) },
            _ => {
                let limits = [0, 300, 5_000].map(Duration::from_micros);
                Self::Recycle { limit: random.one_in(2).then(|| random.pick(&limits)) }
            }
        }
    }

    /// The pool ends.
    pub(crate) fn draw_last(random: &mut Random) -> Self {
        if random.one_in(4) {
            return Self::EndWorkers(random.pick(&[Force::Terminate, Force::Kill]));
        }
        if random.one_in(6) {
            return Self::Break;
        }
        let limits = [0, 5, 100].map(Duration::from_millis);
        let limit = random.one_in(2).then(|| random.pick(&limits));
        Self::ShutDown { cancel: random.one_in(2), limit }
    }
}

/// Nothing out of the ordinary is asked for.
pub(crate) fn plain_config(max_workers: usize) -> Config {
    Config {
        max_workers,
        min_workers: 0,
        idle_timeout: None,
        max_tasks: None,
        max_age: None,
        surge: 0,
        on_worker_death: OnWorkerDeath::Replace,
        initializer_retries: 8,
        start_timeout: Duration::from_mins(1),
        grace_period: Duration::from_secs(5),
        max_pipeline: 4,
        cpus: 2,
        brief_row: u32::MAX,
        seed: 7,
        hosts: vec![HostConfig::default()],
        follows_hosts: false,
    }
}

pub(crate) fn config(random: &mut Random) -> Config {
    let idle_timeouts = [0, 300, 20_000].map(Duration::from_micros);
    Config {
        max_workers: random.pick(&[1, 1, 2, 2, 3, 4]),
        // There may be fewer after a `resize`, too.
        min_workers: random.pick(&[0, 0, 0, 1, 2]),
        idle_timeout: random.one_in(2).then(|| random.pick(&idle_timeouts)),
        max_tasks: random.one_in(6).then(|| 1 + random.below(4) as u64),
        max_age: random.one_in(6).then(|| random.pick(&[300, 20_000].map(Duration::from_micros))),
        surge: random.pick(&[0, 1, 1, 2]),
        on_worker_death: if random.one_in(6) {
            OnWorkerDeath::Break
        } else {
            OnWorkerDeath::Replace
        },
        initializer_retries: random.pick(&[0, 1, 8]),
        start_timeout: Duration::from_millis(random.pick(&[20, 1_000, 10_000])),
        grace_period: random.pick(&[Duration::ZERO, Duration::from_millis(50)]),
        // The last is more than there ever are; a larger one only takes longer to recount.
        max_pipeline: random.pick(&[1, 2, 3, 5, 8, 32]),
        cpus: 1 + random.below(3),
        brief_row: random.pick(&[1, 2, 3, 4, 64]),
        seed: 7,
        hosts: vec![HostConfig::default()],
        follows_hosts: false,
    }
}

/// What must be over or begun by a time counts it from the submission.
pub(crate) fn wishes(random: &mut Random) -> Wishes {
    let times = [0, 300, 2_000, 20_000].map(Duration::from_micros);
    let begin = |limit| (limit, limit);
    let wishes = Wishes {
        timeout: random.one_in(3).then(|| random.pick(&times)),
        retries: random.pick(&[0, 0, 1, 6]),
        deadline: random.one_in(8).then(|| random.pick(&times)),
        begin: random.one_in(8).then(|| begin(random.pick(&times))),
        priority: random.pick(&[0, 0, -1, 2]),
        key: random.one_in(3).then(|| random.below(3) as u64),
        tenant: random.one_in(2).then(|| random.below(3) as u64),
        suspect: random.one_in(6),
        ..Wishes::default()
    };
    let delays = random.one_in(4).then(|| Delays {
        first: random.pick(&times),
        doubles: random.one_in(2),
        longest: Duration::from_millis(10),
        jitter: random.one_in(2),
    });
    Wishes { conditional: random.one_in(3), delays, ..wishes }
}

/// How much time passes.
pub(crate) fn duration(random: &mut Random, is_short: bool) -> Duration {
    let times = [1, 50, 300, 1_000, 2_000, 15_000, 60_000, 1_000_000].map(Duration::from_micros);
    random.pick(&times[if is_short { 0..4 } else { 4..8 }])
}
