//! A reference inside of a parameter.

fn length(text: Option<&str>) -> usize {
    text.map_or(0, str::len)
}

procpool::register!(length);

fn main() {}
