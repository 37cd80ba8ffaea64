//! Random histories: everything that can happen to a pool, in any order.

use std::time::Duration;

use super::play::{Play, Sights};
use super::sabotage::Saboteur;
use crate::scheduler::{Config, Force, OnWorkerDeath, StartFailureKind};
use crate::testing::{Check, Random, caught, ensure, number};

/// Something that happens. Numbers choose among what is there at that moment, so that a history
/// from which an event is removed is a history too.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Submit(Wishes),
    /// A user takes a task back; the scheduler hears of it at once or later.
    Cancel {
        task: usize,
        tell: bool,
    },
    /// The scheduler hears of all that was cancelled.
    Tell,
    Abort {
        task: usize,
    },
    WarmUp,
    Resize {
        max_workers: usize,
    },
    Recycle,
    ShutDown {
        cancel: bool,
        limit: Option<Duration>,
    },
    EndWorkers(Force),
    /// A worker does something, on purpose or not.
    Worker {
        worker: usize,
        deed: Deed,
    },
    /// Time passes and timers fire.
    Wait(Duration),
    /// Time passes, and the timers are late.
    Oversleep(Duration),
}

/// What a task asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) deadline: Option<Duration>,
    pub(super) priority: i32,
    pub(super) key: Option<u64>,
    pub(super) parts: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Ready {
        recallable: bool,
        stubborn: bool,
        /// Its tasks look whether they are asked to end.
        looks: bool,
    },
    FailToStart {
        failure: StartFailureKind,
    },
    /// Begins tasks and writes results.
    Work {
        steps: usize,
    },
    /// Has its results read.
    Answer {
        results: usize,
    },
    Die,
    /// Says goodbye, asked or not.
    LeaveReason,
    Misbehave(Misbehaviour),
    /// Takes too much memory.
    Bloat,
    Block,
    Unblock,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Misbehaviour {
    Garbage,
    UnknownResult,
    SecondResult,
    ResultOutOfOrder,
}

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) config: Config,
    /// The front task of a pipeline is never recalled.
    pub(super) keeps_front: bool,
    /// Most tasks say that they were brief.
    pub(super) is_brief: bool,
    pub(super) events: Vec<Event>,
}

impl History {
    pub(super) fn from_seed(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let flavour = Flavour {
            recallable: random.one_in(4).then(|| random.one_in(2)),
            hostile: random.one_in(3),
            deadly: !random.one_in(3),
            quick: random.one_in(2),
            picky: random.one_in(2),
        };
        let is_brief = random.one_in(2);
        let config = config(&mut random);
        let length = 10 + random.below(60);
        let events = (0..length).map(|_| flavour.event(&mut random)).collect();
        Self { config, keeps_front: random.one_in(2), is_brief, events }
    }

    /// Plays it to its end, with or without somebody who spoils it.
    pub(super) fn play(&self, saboteur: Option<Saboteur>) -> Check {
        let mut play = Play::new(self, saboteur);
        play.open()?;
        for (n, event) in self.events.iter().enumerate() {
            let at = |broken| format!("event {n}: {broken}");
            play.event(*event).map_err(at)?;
        }
        play.fair_end()
    }

    fn fails(&self) -> Option<String> {
        caught(|| self.play(None)).err()
    }

    /// Leaves out whatever the failure does not need.
    fn shrink(&mut self) {
        let mut n = self.events.len();
        while n > 0 {
            n -= 1;
            let mut shorter = self.clone();
            shorter.events.remove(n);
            if shorter.fails().is_some() {
                *self = shorter;
            }
        }
    }
}

fn config(random: &mut Random) -> Config {
    let idle_timeouts = [0, 300, 20_000].map(Duration::from_micros);
    Config {
        max_workers: 1 + random.below(4),
        min_workers: random.pick(&[0, 0, 0, 1, 2]),
        idle_timeout: random.one_in(2).then(|| random.pick(&idle_timeouts)),
        max_tasks: random.one_in(6).then(|| 1 + random.below(4) as u64),
        on_worker_death: random.pick(&[
            OnWorkerDeath::Replace,
            OnWorkerDeath::Replace,
            OnWorkerDeath::Replace,
            OnWorkerDeath::Break,
        ]),
        start_timeout: random.pick(&[Duration::from_millis(20), Duration::from_secs(1)]),
        grace_period: random.pick(&[Duration::ZERO, Duration::from_millis(50)]),
        max_pipeline: 1 + random.below(8),
        cpus: 1 + random.below(3),
        brief_row: random.pick(&[1, 2, 3, 4]),
    }
}

/// What kind of a history it is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Flavour {
    /// The same for all workers, if given.
    recallable: Option<bool>,
    hostile: bool,
    deadly: bool,
    quick: bool,
    /// Tasks have priorities and keys.
    picky: bool,
}

impl Flavour {
    fn event(&self, random: &mut Random) -> Event {
        match random.below(100) {
            0..25 => self.submission(random),
            25..32 => Self::user(random),
            32..87 => Event::Worker { worker: random.below(8), deed: self.deed(random) },
            87 => Self::operator(random),
            88 => Self::shutdown(random),
            _ => self.time(random),
        }
    }

    fn deed(&self, random: &mut Random) -> Deed {
        match random.below(59) {
            0..12 => Deed::Ready {
                recallable: self.recallable.unwrap_or(!random.one_in(6)),
                stubborn: random.one_in(4),
                looks: random.one_in(2),
            },
            12..19 if self.deadly => Self::end(random),
            19..21 if self.hostile => Self::hostility(random),
            21 => Deed::Block,
            22..24 => Deed::Unblock,
            24..41 => Deed::Answer { results: 1 + random.below(4) },
            41 => Deed::Bloat,
            _ => Deed::Work { steps: 1 + random.below(4) },
        }
    }

    fn submission(&self, random: &mut Random) -> Event {
        let times = [0, 300, 2_000, 20_000].map(Duration::from_micros);
        let parts = if random.one_in(4) { 2 + random.below(3) } else { 1 };
        let whole = parts == 1;
        Event::Submit(Wishes {
            timeout: (whole && random.one_in(3)).then(|| random.pick(&times)),
            retries: if whole { random.pick(&[0, 0, 1, 6]) } else { 0 },
            deadline: random.one_in(10).then(|| random.pick(&times)),
            priority: if self.picky { random.pick(&[-1, 0, 0, 2]) } else { 0 },
            key: (whole && self.picky && random.one_in(2)).then(|| random.below(3) as u64),
            parts,
        })
    }

    fn user(random: &mut Random) -> Event {
        let task = random.below(64);
        match random.below(8) {
            0..3 => Event::Cancel { task, tell: random.one_in(2) },
            3 => Event::Tell,
            4..7 => Event::Abort { task },
            _ => Event::WarmUp,
        }
    }

    fn end(random: &mut Random) -> Deed {
        match random.below(8) {
            0..5 => Deed::Die,
            5 => Deed::LeaveReason,
            _ if random.one_in(8) => Deed::FailToStart { failure: StartFailureKind::Fatal },
            _ if random.one_in(3) => Deed::FailToStart { failure: StartFailureKind::Killed },
            _ => Deed::FailToStart { failure: StartFailureKind::Own },
        }
    }

    fn hostility(random: &mut Random) -> Deed {
        Deed::Misbehave(random.pick(&[
            Misbehaviour::Garbage,
            Misbehaviour::UnknownResult,
            Misbehaviour::SecondResult,
            Misbehaviour::ResultOutOfOrder,
        ]))
    }

    fn operator(random: &mut Random) -> Event {
        match random.below(4) {
            0..2 => Event::Resize { max_workers: 1 + random.below(4) },
            _ => Event::Recycle,
        }
    }

    fn shutdown(random: &mut Random) -> Event {
        if random.one_in(4) {
            return Event::EndWorkers(random.pick(&[Force::Terminate, Force::Kill]));
        }
        let limits = [0, 5, 100].map(Duration::from_millis);
        Event::ShutDown {
            cancel: random.one_in(2),
            limit: random.one_in(2).then(|| random.pick(&limits)),
        }
    }

    fn time(&self, random: &mut Random) -> Event {
        let short = [1, 50, 300, 1_000].map(Duration::from_micros);
        let long = [2, 15, 60, 1_000].map(Duration::from_millis);
        let is_short = self.quick || random.one_in(2);
        let time = random.pick(if is_short { &short } else { &long });
        if random.one_in(5) { Event::Oversleep(time) } else { Event::Wait(time) }
    }
}

/// How many histories are played in all.
fn histories() -> u64 {
    number("PROCPOOL_HISTORIES").unwrap_or(200_000)
}

/// The histories are played in so many parts at the same time.
const PARTS: usize = 4;

/// Plays every fourth history, or the only one that was asked for.
fn play_part(part: u64) {
    if let Some(seed) = number("PROCPOOL_SEED") {
        return play_seed(seed);
    }
    for seed in (part..histories()).step_by(PARTS) {
        play_seed(seed);
    }
}

fn play_seed(seed: u64) {
    let mut history = History::from_seed(seed);
    if history.fails().is_none() {
        return;
    }
    history.shrink();
    let broken = history.fails().unwrap();
    panic!("{broken}\nreplay with PROCPOOL_SEED={seed}\n{history:#?}");
}

#[test]
fn the_first_quarter_of_histories_keeps_the_promises() {
    play_part(0);
}

#[test]
fn the_second_quarter_of_histories_keeps_the_promises() {
    play_part(1);
}

#[test]
fn the_third_quarter_of_histories_keeps_the_promises() {
    play_part(2);
}

#[test]
fn the_last_quarter_of_histories_keeps_the_promises() {
    play_part(3);
}

/// Histories that never get anywhere would keep all promises.
#[test]
fn histories_are_eventful() -> Check {
    let mut seen = Sights::default();
    for seed in 0..4_000 {
        let history = History::from_seed(seed);
        let mut play = Play::new(&history, None);
        play.open()?;
        for event in &history.events {
            play.event(*event)?;
        }
        play.fair_end()?;
        seen.add(&play);
    }
    ensure!(seen.all_above(20), "too rare: {seen:?}");
    Ok(())
}
