//! A reference inside of a parameter, and several of them.

use std::collections::HashMap;

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

fn words(_number: u64, words: Vec<&str>) -> usize {
    words.len()
}

fn pair(pair: (&str, u64)) -> usize {
    pair.0.len()
}

fn nested(texts: HashMap<&str, Vec<(u64, &str)>>) -> usize {
    texts.len()
}

procpool::register!(length, words, pair, nested);

fn main() {
    let _ = procpool::task!(|names: [&str; 2]| -> usize { names.len() });
}
