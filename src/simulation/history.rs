//! Random histories: everything that can happen, in any order.

use std::io;
use std::time::Duration;

use crate::scheduler::{Config, HostConfig};
use crate::testing::{Check, Operation, Playable, Random, Sights, config, duration, wishes};

use super::lie::Lie;
use super::map::Shape;
use super::process::Paging;
use super::record::{Ending, Trace};
use super::user::{Submission, Then, Way};
use super::worker::{REFUSALS, Say};
use super::{Played, runs};

/// ENOMEM: what one more start would not help.
const NO_MEMORY: i32 = 12;

/// Something that happens. Numbers choose among what is there at that moment, so that a history
/// from which an event is removed is a history too.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Submit(Submission),
    Cancel {
        ticket: usize,
    },
    Abort {
        ticket: usize,
    },
    Forget {
        ticket: usize,
    },
    Map(Shape),
    Pull {
        map: usize,
        items: usize,
    },
    ForgetMap {
        map: usize,
    },
    Operation(Operation),
    /// The last handle goes.
    DropPool,
    /// The task that runs the pool goes.
    Abandon,
    /// The task that runs the pool has no turn for so many events.
    Doze {
        events: usize,
    },
    /// A process starts, or does not.
    Birth {
        n: usize,
        birth: Birth,
        /// Others that are to start do the same.
        count: usize,
    },
    Worker {
        n: usize,
        deed: Deed,
    },
    /// A host is lost; what runs there has ended after so long.
    LoseHost {
        n: usize,
        safe_in: Duration,
    },
    /// Time passes, and alarms ring in time.
    Wait(Duration),
    /// Time passes, and alarms are late.
    Oversleep(Duration),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Birth {
    Up {
        is_narrow: bool,
        paging: Paging,
        is_stubborn: bool,
        /// It gets ready by itself.
        is_quick: bool,
        /// Its tasks look whether they are asked to end.
        looks: bool,
        /// For this reason it cannot open its page.
        no_page: Option<i32>,
    },
    Fails(io::ErrorKind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Greet {
        no_page: Option<i32>,
    },
    /// Its functions are others.
    Differ,
    Ready,
    Read {
        most: usize,
    },
    Work {
        steps: usize,
        result: runs::Result,
        say: Say,
        /// Reads before it works.
        reads: bool,
    },
    Flush,
    /// Writes only so many bytes of what it has to say.
    Half {
        bytes: usize,
    },
    Die {
        raw_status: i32,
    },
    /// Ends its task, shows the reply, writes so many bytes of it, and dies.
    DieWriting {
        result: runs::Result,
        bytes: usize,
        raw_status: i32,
    },
    CloseOutput,
    Look,
    /// Its agent answers what it was asked first.
    Reply,
    Report,
    Bloat,
    IsAskedToEnd,
    Lie(Lie),
}

/// An event, and how often the runtime has a turn after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) event: Event,
    pub(super) turns: usize,
}

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) config: Config,
    pub(super) queue_capacity: usize,
    pub(super) queue_bytes: Option<usize>,
    pub(super) steps: Vec<Step>,
}

impl Playable for History {
    type Step = Step;

    fn from_seed(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let mut config = config(&mut random);
        // While a host rests, workers of others would be replaced again and again.
        if config.max_age.is_none() && random.one_in(2) {
            let mut host = || HostConfig {
                workers: (!random.one_in(4)).then(|| 1 + random.below(3)),
                is_away: false,
            };
            config.hosts = [host(), host(), host()][..=random.below(3)].to_vec();
        }
        let flavor = Flavor {
            workers: config.max_workers,
            refusing: random.one_in(3),
            paging: (!random.one_in(5)).then(|| random.pick(&PAGINGS)),
            deadly: random.one_in(2),
            hostile: random.one_in(4),
            picky: random.one_in(2),
            mapping: random.one_in(2),
            final_events: random.one_in(2),
            loses_hosts: config.max_age.is_none() && random.one_in(2),
        };
        let length = 5 + random.below(75);
        let mut steps = Vec::with_capacity(length);
        let burst = random.below(12);
        for n in 0..burst + length {
            let event = match n {
                _ if n < burst && flavor.mapping && random.one_in(3) => {
                    Event::Map(shape(&mut random))
                }
                _ if n < burst => Event::Submit(flavor.submission(&mut random)),
                _ if n < burst + 2 => flavor.birth(&mut random),
                _ => flavor.event(&mut random),
            };
            let turns = random.pick(&[0, 1, 1, 2, 2, 3, 4, 6]);
            steps.push(Step { event, turns });
        }
        let queue_capacity = random.pick(&[0, 1, 2, 5, 100, 100, 100]);
        let queue_bytes = random.pick(&[None, None, Some(1), Some(200), Some(2_000)]);
        Self { config, queue_capacity, queue_bytes, steps }
    }

    fn steps(&mut self) -> &mut Vec<Step> {
        &mut self.steps
    }

    fn play(&self) -> (Check, Sights) {
        let Played { kept, sights, .. } = self.play_with(Trace::default());
        (kept, sights)
    }

    fn story(&self) -> String {
        let trace = self.play_with(Trace::readable()).trace;
        let script = self.steps.iter().map(|step| format!("{:?}, {}", step.event, step.turns));
        let (script, trace) = (script.collect::<Vec<_>>().join("\n"), trace.lines().join("\n"));
        let Self { config, queue_capacity, queue_bytes, .. } = self;
        let queue = format!("capacity {queue_capacity}, bytes {queue_bytes:?}");
        format!("{config:#?}, {queue}\n{script}\n\nwhat happens:\n{trace}")
    }

    fn simplify(step: &mut Step) -> bool {
        std::mem::replace(&mut step.turns, 2) != 2
    }
}

impl History {
    /// Whether there is one worker at a time, so that there is an order.
    pub(super) fn is_serial(&self) -> bool {
        let resized =
            |step: &Step| matches!(step.event, Event::Operation(Operation::Resize { .. }));
        self.config.max_workers == 1 && !self.steps.iter().any(resized)
    }
}

/// Most workers share memory with their pool.
const PAGINGS: [Paging; 6] =
    [Paging::None, Paging::Far, Paging::Pool, Paging::Pool, Paging::Pool, Paging::Pool];

/// What kind of a history it is.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
struct Flavor {
    workers: usize,
    /// Workers may not be able to open their pages.
    refusing: bool,
    /// The same for all workers, if given.
    paging: Option<Paging>,
    deadly: bool,
    hostile: bool,
    picky: bool,
    mapping: bool,
    /// The pool may end before the end.
    final_events: bool,
    loses_hosts: bool,
}

impl Flavor {
    fn event(&self, random: &mut Random) -> Event {
        match random.below(200) {
            0..38 => Event::Submit(self.submission(random)),
            38..46 if self.mapping => Event::Map(shape(random)),
            46..54 if self.mapping => {
                Event::Pull { map: random.below(8), items: 1 + random.below(6) }
            }
            54..56 if self.mapping => Event::ForgetMap { map: random.below(8) },
            56..68 => user(random),
            68..71 => Event::Operation(self.operation(random)),
            71 if self.final_events => end(random),
            71 => Event::Doze { events: 1 + random.below(4) },
            72..84 => self.birth(random),
            84..87 if self.loses_hosts => {
                let times = [0, 300, 20_000, 500_000].map(Duration::from_micros);
                Event::LoseHost { n: random.below(3), safe_in: random.pick(&times) }
            }
            84..98 => time(random),
            _ => Event::Worker { n: random.below(8), deed: self.deed(random) },
        }
    }

    fn submission(&self, random: &mut Random) -> Submission {
        let way = random.pick(&[Way::Submit, Way::TrySubmit, Way::TrySubmit, Way::Run]);
        let padding = random.pick(&[0, 0, 10, 1_000, 3_000, 9_000]);
        let reads = random.one_in(3).then(|| random.pick(&[1, 2, 50]));
        let capacity = random.one_in(3).then(|| random.pick(&[1, 2, 5]));
        if !self.picky {
            return Submission { padding, reads, capacity, ..Submission::by(way) };
        }
        let then = random.pick(&[Then::Nothing, Then::Nothing, Then::Submit, Then::Run]);
        let mut wishes = wishes(random);
        if way != Way::TrySubmit {
            // Waiting for a place until then would need the real clock.
            (wishes.deadline, wishes.begin) = (None, None);
        }
        Submission { way, then, padding, wishes, reads, capacity }
    }

    fn birth(&self, random: &mut Random) -> Event {
        let birth = if self.deadly && random.one_in(12) {
            let is_fatal = random.one_in(6);
            Birth::Fails(if is_fatal { io::ErrorKind::NotFound } else { io::ErrorKind::WouldBlock })
        } else {
            Birth::Up {
                is_narrow: random.one_in(2),
                paging: self.paging.unwrap_or_else(|| random.pick(&PAGINGS)),
                is_stubborn: random.one_in(6),
                is_quick: !random.one_in(5),
                looks: random.one_in(2),
                no_page: self.no_page(random),
            }
        };
        Event::Birth { n: random.below(4), birth, count: random.pick(&[1, 1, 2, 4]) }
    }

    fn no_page(&self, random: &mut Random) -> Option<i32> {
        let is_refused = self.refusing && random.one_in(3);
        is_refused.then(|| random.pick(&[0, REFUSALS[0], REFUSALS[1], NO_MEMORY]))
    }

    fn deed(&self, random: &mut Random) -> Deed {
        match random.below(112) {
            0..3 => Deed::Greet { no_page: self.no_page(random) },
            3..6 => Deed::Ready,
            6..16 => Deed::Read { most: random.pick(&[7, 100, 5_000, 1 << 16]) },
            16..76 => Deed::Work {
                steps: random.pick(&[1, 1, 2, 3, 5, 9]),
                result: result(random),
                say: random.pick(&[Say::Write, Say::Write, Say::Show, Say::Show, Say::Keep]),
                reads: !random.one_in(6),
            },
            76..79 => Deed::Flush,
            79..82 => Deed::Half { bytes: 1 + random.below(40) },
            82..90 if self.deadly => Deed::Die { raw_status: raw_status(random) },
            90..93 if self.deadly => Deed::DieWriting {
                result: result(random),
                bytes: random.pick(&[0, 3, 14, 60]),
                raw_status: raw_status(random),
            },
            93 if self.deadly && random.one_in(3) => Deed::CloseOutput,
            94 if self.deadly && random.one_in(6) => Deed::Differ,
            95..98 => Deed::Look,
            98 => Deed::Report,
            99 if random.one_in(2) => Deed::Bloat,
            100..104 if self.hostile => Deed::Lie(lie(random)),
            104 => Deed::IsAskedToEnd,
            106..112 => Deed::Reply,
            _ => Deed::Work { steps: 1, result: result(random), say: Say::Write, reads: true },
        }
    }

    fn operation(&self, random: &mut Random) -> Operation {
        match Operation::draw(random) {
            Operation::Resize { .. } if self.workers == 1 => Operation::Recycle { limit: None },
            operation => operation,
        }
    }
}

fn raw_status(random: &mut Random) -> i32 {
    random.pick(&[0, 1 << 8, 9, 11, 15])
}

fn result(random: &mut Random) -> runs::Result {
    runs::Result {
        ending: if random.one_in(6) { Ending::Panicked } else { Ending::Returned },
        nanos: random.pick(&[100, 2_000, 100_000, 3_000_000, u64::MAX]),
        size: random.pick(&[0, 0, 50, 2_000, 6_000]),
        emits: random.pick(&[0, 0, 0, 1, 3, 20]),
    }
}

fn shape(random: &mut Random) -> Shape {
    let sizes = [1, 2, 3, 7, 40];
    Shape {
        count: random.pick(&[0, 1, 3, 10, 30]),
        chunk: (!random.one_in(4)).then(|| random.pick(&sizes)),
        buffer: random.one_in(3).then(|| random.pick(&sizes)),
        budget: random.one_in(2).then(|| random.pick(&[1, 300, 8_000])),
        is_ordered: random.one_in(2),
        retries: if random.one_in(3) { 2 } else { 0 },
    }
}

fn user(random: &mut Random) -> Event {
    let ticket = random.below(64);
    match random.below(5) {
        0..2 => Event::Cancel { ticket },
        2..4 => Event::Abort { ticket },
        _ => Event::Forget { ticket },
    }
}

fn end(random: &mut Random) -> Event {
    match random.below(10) {
        0 => Event::Abandon,
        1..3 => Event::DropPool,
        3..6 => Event::Operation(Operation::WarmUp),
        _ => Event::Operation(Operation::draw_last(random)),
    }
}

fn time(random: &mut Random) -> Event {
    let is_short = !random.one_in(4);
    let time = duration(random, is_short);
    if random.one_in(4) { Event::Oversleep(time) } else { Event::Wait(time) }
}

fn lie(random: &mut Random) -> Lie {
    match random.below(12) {
        0 => Lie::Garbage,
        1 => Lie::Huge,
        2 => Lie::UnknownTask,
        3..5 => Lie::SecondReply,
        5..7 => Lie::OutOfOrder,
        7 => Lie::OtherKind,
        8 if random.one_in(2) => Lie::Goodbye,
        8 => Lie::SecondReady,
        9 => Lie::Progress,
        10 => Lie::Emit,
        _ => {
            let value = random.pick(&[0, 7, u64::MAX, 1 << 32, 0xFFFF_FF00]);
            // The words of tasks begin at 0, those of items behind them.
            Lie::Scribble { word: random.pick(&[0, 0, 1, 2, 3, 4, 512, 513]), value }
        }
    }
}
