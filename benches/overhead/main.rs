//! What the pool costs, against what the machine allows and against other pools, in one run.
//!
//! ```text
//! cargo bench -p procpool-benches --bench overhead -- [FILTER] [--quick] [--peers] [--json FILE]
//! ```
//!
//! All rows are measured in turn, a small block of each at a time, each next to what it is compared
//! with: only ratios say something about the pool, as absolute times vary with the machine's mood.
//! `README.md` in `benches` says what each row is, how other pools are installed, and how the chart
//! is drawn.

#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod bed;
mod calls;
#[path = "../../examples/counts/mod.rs"]
mod counts;
mod cpu;
mod floor;
#[path = "../harness/mod.rs"]
mod harness;
mod memory;
mod payloads;
mod peers;
mod scaling;
mod starts;

use std::io;

use harness::Options;
use peers::Peers;

fn main() -> io::Result<()> {
    procpool::init();
    if floor::is_child()? {
        return Ok(());
    }
    let options = Options::from_args();
    let peers = Peers::new(options.peers);
    let mut cases = calls::cases(&options, &peers);
    cases.extend(payloads::cases(&options, &peers));
    cases.extend(starts::cases(&options));
    cases.extend(memory::cases(&options, &peers));
    cases.extend(scaling::cases(&options));
    cases.extend(cpu::cases(&options));
    harness::run(&options, cases, || peers.versions());
    Ok(())
}
