//! Two parameters that are references, and one that is none.

fn length(first: &str, _second: u64, third: &[u8]) -> usize {
    first.len() + third.len()
}

procpool::register!(length);

fn main() {}
