//! Random histories: everything that can happen to a pool, in any order.

use std::time::Duration;

use super::play::Play;
use super::sabotage::Saboteur;
use crate::scheduler::view::Recallable;
use crate::scheduler::{Config, HostConfig, StartFailureKind, Wishes};
use crate::testing::{
    Check, Operation, Playable, Random, Sights, assert_eventful, caught, config, duration,
    play_all, wishes,
};

/// Something that happens. Numbers choose among what is there at that moment, so that a history
/// from which an event is removed is a history too.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A task of so many parts, whose deadline counts from now.
    Submit(Wishes, usize),
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
    /// A user decides whether a task is begun again whose attempt is over.
    Decide {
        n: usize,
        wants_retry: bool,
    },
    Operation(Operation),
    /// A worker does something, on purpose or not.
    Worker {
        n: usize,
        deed: Deed,
    },
    /// The `n`-th host is lost, and what runs there has ended after so long.
    LoseHost {
        n: usize,
        safe_in: Duration,
    },
    /// The `n`-th host is reached, and may have so many workers.
    ReachHost {
        n: usize,
        workers: usize,
    },
    /// The `n`-th host comes or goes, if it can.
    Host {
        n: usize,
        deed: HostDeed,
    },
    /// Time passes and timers fire.
    Wait(Duration),
    /// Time passes, and the timers are late.
    Oversleep(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Ready {
        recallable: Recallable,
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
    /// Answers the first thing that it was asked, if it does so later.
    Reply,
    /// Has its results read.
    Answer {
        results: usize,
    },
    Die,
    /// It is told that its host is lost, if it is.
    Vanish,
    /// Says goodbye, asked or not.
    LeaveReason,
    Misbehave(Misbehavior),
    /// Takes too much memory.
    Bloat,
    /// Somebody else has asked it to.
    IsAskedToEnd,
    Block,
    Unblock,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum HostDeed {
    /// It is there, whether it was requested or not: those beside it may have been.
    Come,
    /// It does not come.
    Refuse,
    /// It has to be requested again.
    Go,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Misbehavior {
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

impl Playable for History {
    type Step = Event;

    fn from_seed(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let mut config = config(&mut random);
        // A history is over when nothing is due any more. While a host rests time goes on, so the
        // workers of others age, and it would never be.
        let ages = config.max_age.is_some();
        if !ages {
            config.hosts = hosts(&mut random);
            let is_limited = config.hosts.iter().all(|host| host.workers.is_some());
            config.follows_hosts = is_limited && random.one_in(2);
        }
        let flavor = Flavor {
            recallable: random.one_in(3).then(|| random.pick(&RECALLABLE)),
            hostile: random.one_in(3),
            deadly: !random.one_in(3),
            quick: random.one_in(2),
            picky: random.one_in(2),
            shared: random.one_in(2),
            loses_hosts: !ages && random.one_in(2),
            moves_hosts: config.hosts.iter().any(|host| host.is_away),
        };
        let is_brief = random.one_in(2);
        let length = 10 + random.below(60);
        let events = (0..length).map(|_| flavor.event(&mut random)).collect();
        Self { config, keeps_front: random.one_in(2), is_brief, events }
    }

    fn steps(&mut self) -> &mut Vec<Event> {
        &mut self.events
    }

    fn play(&self) -> (Check, Sights) {
        self.play_with(None)
    }
}

impl History {
    /// Plays it to its end, with or without somebody who spoils it.
    pub(super) fn play_with(&self, saboteur: Option<Saboteur>) -> (Check, Sights) {
        let mut play = Play::new(self, saboteur);
        let kept = caught(|| play.run(&self.events));
        (kept, play.sights)
    }
}

/// Most pools know this machine only.
fn hosts(random: &mut Random) -> Vec<HostConfig> {
    if random.one_in(2) {
        return vec![HostConfig::default()];
    }
    let are_away = random.one_in(2);
    let mut host = || HostConfig {
        workers: (!random.one_in(4)).then(|| 1 + random.below(3)),
        is_away: are_away && !random.one_in(3),
    };
    let most = [host(), host(), host(), host()];
    most[..2 + random.below(3)].to_vec()
}

const RECALLABLE: [Recallable; 3] = [Recallable::Never, Recallable::AtOnce, Recallable::Late];

/// What kind of a history it is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Flavor {
    /// The same for all workers, if given.
    recallable: Option<Recallable>,
    hostile: bool,
    deadly: bool,
    quick: bool,
    /// Tasks have priorities and keys.
    picky: bool,
    /// Some tasks have tenants.
    shared: bool,
    loses_hosts: bool,
    /// Some hosts come and go.
    moves_hosts: bool,
}

impl Flavor {
    fn event(&self, random: &mut Random) -> Event {
        match random.below(100) {
            0..25 => self.submission(random),
            25..32 => Self::user(random),
            78..82 if self.moves_hosts => {
                let deeds = [
                    HostDeed::Come,
                    HostDeed::Come,
                    HostDeed::Come,
                    HostDeed::Refuse,
                    HostDeed::Go,
                ];
                Event::Host { n: random.below(4), deed: random.pick(&deeds) }
            }
            32..82 => Event::Worker { n: random.below(8), deed: self.deed(random) },
            82..85 => Event::Decide { n: random.below(8), wants_retry: !random.one_in(3) },
            85..88 => Event::Operation(Operation::draw(random)),
            88 => Event::Operation(Operation::draw_last(random)),
            91 if self.loses_hosts => {
                Event::ReachHost { n: random.below(4), workers: 1 + random.below(4) }
            }
            89..91 if self.loses_hosts => {
                let times = [0, 300, 20_000, 500_000].map(Duration::from_micros);
                Event::LoseHost { n: random.below(4), safe_in: random.pick(&times) }
            }
            _ => self.time(random),
        }
    }

    fn deed(&self, random: &mut Random) -> Deed {
        match random.below(60) {
            0..12 => Deed::Ready {
                recallable: self.recallable.unwrap_or_else(|| match random.below(6) {
                    0 => Recallable::Never,
                    1 => Recallable::Late,
                    _ => Recallable::AtOnce,
                }),
                stubborn: random.one_in(4),
                looks: random.one_in(2),
            },
            12..19 if self.deadly => Self::end(random),
            19..21 if self.hostile => Self::hostility(random),
            21 => Deed::Block,
            22..24 => Deed::Unblock,
            24..41 => Deed::Answer { results: 1 + random.below(4) },
            41 => Deed::Bloat,
            42..46 if self.loses_hosts => Deed::Vanish,
            46..50 => Deed::Reply,
            59 => Deed::IsAskedToEnd,
            _ => Deed::Work { steps: 1 + random.below(4) },
        }
    }

    fn submission(&self, random: &mut Random) -> Event {
        let mut wishes = wishes(random);
        let parts = if random.one_in(4) { 2 + random.below(3) } else { 1 };
        if parts > 1 {
            wishes = Wishes { key: None, divisible: true, conditional: false, ..wishes };
        }
        if !self.picky {
            wishes = Wishes { priority: 0, key: None, ..wishes };
        }
        if !self.shared {
            wishes.tenant = None;
        }
        Event::Submit(wishes, parts)
    }

    fn user(random: &mut Random) -> Event {
        let task = random.below(64);
        match random.below(7) {
            0..3 => Event::Cancel { task, tell: random.one_in(2) },
            3 => Event::Tell,
            _ => Event::Abort { task },
        }
    }

    fn end(random: &mut Random) -> Deed {
        match random.below(8) {
            0..5 => Deed::Die,
            5 => Deed::LeaveReason,
            _ if random.one_in(8) => Deed::FailToStart { failure: StartFailureKind::Fatal },
            _ if random.one_in(3) => Deed::FailToStart { failure: StartFailureKind::Killed },
            _ => Deed::FailToStart {
                failure: random.pick(&[
                    StartFailureKind::Crashed,
                    StartFailureKind::Initializer,
                    StartFailureKind::Accident,
                    StartFailureKind::Unreachable,
                ]),
            },
        }
    }

    fn hostility(random: &mut Random) -> Deed {
        Deed::Misbehave(random.pick(&[
            Misbehavior::Garbage,
            Misbehavior::UnknownResult,
            Misbehavior::SecondResult,
            Misbehavior::ResultOutOfOrder,
        ]))
    }

    fn time(&self, random: &mut Random) -> Event {
        let is_short = self.quick || random.one_in(2);
        let time = duration(random, is_short);
        if random.one_in(5) { Event::Oversleep(time) } else { Event::Wait(time) }
    }
}

/// Without optimizations one takes some ten times as long. `.ci/run` plays them with and without.
const USUAL: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

#[test]
fn histories_keep_the_promises() {
    play_all::<History>(USUAL);
}

#[test]
fn histories_are_eventful() {
    assert_eventful::<History>(8_000, 44, 8);
}
