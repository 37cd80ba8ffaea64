//! What is registered is no function.

const LIMIT: u64 = 7;

procpool::register!(LIMIT);

fn main() {}
