//! A closure has no path.

procpool::register!(|x: u64| x + 1);

fn main() {}
