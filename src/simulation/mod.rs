//! A pool from end to end without an operating system: random histories of everything that can
//! happen to it, and whether it keeps its promises.
//!
//! All of the parent is real: the pool's handles, the queue, the helm, the supervisor, the
//! scheduler, the ledger, the cells, the claims, the maps, and the links, which read and write
//! frames by pipes. What is simulated is what they meet: [processes](process), whose
//! [workers](worker) speak the protocol, or lie, and die at any point of it, or are lost with their
//! hosts; the [clock](clock); and [users](user), who submit, wait, cancel, and go away.
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
//! ```text
//! PROCPOOL_HISTORIES=1000000 cargo test --release --lib simulation::the
//! ```

mod check;
mod clock;
mod emit;
mod found;
mod gate;
mod history;
mod large;
mod lie;
mod map;
mod pen;
mod play;
mod process;
mod record;
mod runs;
mod tend;
mod user;
mod worker;

use self::history::History;
use self::play::Play;
use self::record::{Record, Trace};
use crate::testing::{Check, Playable, Sights, assert_eventful, caught, play_all};

/// What came of a history.
struct Played {
    kept: Check,
    trace: Trace,
    sights: Sights,
}

impl History {
    fn play_with(&self, trace: Trace) -> Played {
        clock::reset();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let mut play = {
            let _entered = runtime.enter();
            Play::open(self, trace)
        };
        let kept = caught(|| runtime.block_on(play.run()));
        let Record { trace, sights, .. } = play.close();
        drop(runtime);
        Played { kept, trace, sights }
    }
}

#[test]
fn the_histories_keep_the_promises() {
    play_all::<History>(2_000);
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..150 {
        let history = History::from_seed(seed);
        let [first, second] = [(); 2].map(|()| history.play_with(Trace::default()));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.kept, second.kept, "seed {seed}");
    }
}

#[test]
fn histories_are_eventful() {
    assert_eventful::<History>(700, 40, 3);
}
