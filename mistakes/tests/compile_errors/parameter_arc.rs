//! `Arc` has serde's traits by the feature `rc` only.

use std::sync::Arc;

fn length(text: Arc<str>) -> usize {
    text.len()
}

procpool::register!(length);

fn main() {}
