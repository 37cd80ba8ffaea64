//! A closure in place with a parameter that has no serde.

use std::time::Instant;

fn main() {
    let _ = procpool::task!(|since: Instant| -> u64 { since.elapsed().as_secs() });
}
