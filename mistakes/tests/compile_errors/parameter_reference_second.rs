//! The second parameter is a slice.

async fn length(_first: u64, items: &[u8]) -> usize {
    items.len()
}

procpool::register!(length);

fn main() {}
