//! A pool from end to end without an operating system: random histories of everything that can
//! happen to it, and whether it keeps its promises.
//!
//! All of the parent is real: the pool's handles, the queue, the helm, the supervisor, the
//! scheduler, the ledger, the cells, the claims, the maps, and the links, which read and write
//! frames by pipes. What is simulated is what they meet: [processes](process), whose
//! [workers](worker) speak the protocol, or lie, and die at any point of it; the [clock](clock);
//! and [users](user), who submit, wait, cancel, and go away.
//!
//! ```text
//!  users ── handles, helm, supervisor, scheduler ── links ══ pipes, shared page ══ workers
//!   │                       (the real ones)          │                             │
//!   └───────────────── the play: one decision after the other ────────────────────┘
//! ```
//!
//! Everything runs in one thread, and one decision is made after the other, so a seed gives the
//! same history each time, to the last poll. After the random part all faults end: then every task
//! must be resolved, the pool must come to its end, and nothing may be left.
//!
//! `PROCPOOL_HISTORIES` says how many histories are played, `PROCPOOL_FROM` which is the first, and
//! `PROCPOOL_SEED` plays only one.
//!
//! ```text
//! PROCPOOL_HISTORIES=1000000 cargo test --release --lib simulation::the
//! ```

mod check;
mod clock;
mod found;
mod gate;
mod history;
mod map;
mod pen;
mod play;
mod process;
mod record;
mod runs;
mod tend;
mod user;
mod worker;

use std::collections::BTreeMap;

use self::history::History;
use self::play::Play;
use self::process::Pages;
use self::record::{Record, Trace};
use crate::testing::{Check, caught, number};

/// What came of a history.
struct Played {
    kept: Check,
    trace: Trace,
    sights: BTreeMap<&'static str, usize>,
}

impl History {
    fn play(&self, pages: &mut Pages, trace: Trace) -> Played {
        clock::reset();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let mut play = {
            let _entered = runtime.enter();
            Play::open(self, pages, trace)
        };
        let kept = caught(|| runtime.block_on(play.run()));
        let Record { trace, sights, .. } = play.close();
        drop(runtime);
        Played { kept, trace, sights }
    }

    fn fails(&self, pages: &mut Pages) -> Option<String> {
        self.play(pages, Trace::default()).kept.err()
    }

    /// Leaves out whatever the failure does not need: large parts first, then single events, and
    /// the turns of the runtime.
    fn shrink(&mut self, pages: &mut Pages) {
        let mut size = self.steps.len().div_ceil(2);
        while size > 0 {
            let mut end = self.steps.len();
            while end > 0 {
                let begin = end.saturating_sub(size);
                let mut shorter = self.clone();
                shorter.steps.drain(begin..end);
                if shorter.fails(pages).is_some() {
                    *self = shorter;
                }
                end = begin.min(self.steps.len());
            }
            size /= 2;
        }
        for n in 0..self.steps.len() {
            let mut simpler = self.clone();
            simpler.steps[n].turns = 2;
            if simpler.fails(pages).is_some() {
                *self = simpler;
            }
        }
    }
}

/// The histories are played in so many parts at the same time.
const PARTS: usize = 2;

/// Plays every other history, or the only one that was asked for.
fn play_part(part: u64) {
    let mut pages = Pages::default();
    if let Some(seed) = number("PROCPOOL_SEED") {
        return play_seed(seed, &mut pages);
    }
    let first = number("PROCPOOL_FROM").unwrap_or(0);
    let count = number("PROCPOOL_HISTORIES").unwrap_or(2_000);
    for seed in (first + part..first + count).step_by(PARTS) {
        play_seed(seed, &mut pages);
    }
}

fn play_seed(seed: u64, pages: &mut Pages) {
    let mut history = History::from_seed(seed);
    let Some(broken) = history.fails(pages) else { return };
    history.shrink(pages);
    let Played { kept, trace, .. } = history.play(pages, Trace::readable());
    let script: Vec<String> =
        history.steps.iter().map(|step| format!("{:?}, {}", step.event, step.turns)).collect();
    panic!(
        "{broken}\nreplay with PROCPOOL_SEED={seed}\n{:#?}, capacity {}\n{}\n\nwhat happens:\n{}\n{kept:?}",
        history.config,
        history.queue_capacity,
        script.join("\n"),
        trace.lines().join("\n"),
    );
}

#[test]
fn the_first_half_of_histories_keeps_the_promises() {
    play_part(0);
}

#[test]
fn the_second_half_of_histories_keeps_the_promises() {
    play_part(1);
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    let mut pages = Pages::default();
    for seed in 0..150 {
        let history = History::from_seed(seed);
        let [first, second] = [(); 2].map(|()| history.play(&mut pages, Trace::default()));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.kept, second.kept, "seed {seed}");
    }
}

/// Histories in which nothing happens would keep all promises.
#[test]
fn histories_are_eventful() {
    const SIGHTS: [&str; 27] = [
        "a death before it is ready",
        "a death in a task",
        "a death in the middle of a frame",
        "a death with something to say",
        "a full queue",
        "a goodbye",
        "a liar that was killed",
        "a map by several workers",
        "a panic",
        "a second attempt",
        "a task in a broken pool",
        "a task that comes too late",
        "a task that is asked to end",
        "a task that is cancelled",
        "a task that times out",
        "a task that was taken back",
        "a worker that takes too much memory",
        "a worker that was killed",
        "a worker that was terminated",
        "an answer",
        "an item that is recorded",
        "an item that is sent at once",
        "half of what is to be written",
        "items that were taken back",
        "the death of a task",
        "what is shown and awaited",
        "what need not be written",
    ];
    let (mut pages, mut seen) = (Pages::default(), BTreeMap::<&str, usize>::new());
    for seed in 0..600 {
        let played = History::from_seed(seed).play(&mut pages, Trace::default());
        for (sight, count) in played.sights {
            *seen.entry(sight).or_default() += count;
        }
    }
    let rare = SIGHTS.iter().filter(|sight| seen.get(*sight).is_none_or(|count| *count < 3));
    let rare: Vec<_> = rare.collect();
    assert!(rare.is_empty(), "too rare: {rare:?} in {seen:#?}");
}
