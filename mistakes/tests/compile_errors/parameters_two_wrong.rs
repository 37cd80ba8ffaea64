//! Two parameters that lack serde's traits.

use std::time::Instant;

struct Job;

fn both(_since: Instant, _job: Job) {}

procpool::register!(both);

fn main() {}
