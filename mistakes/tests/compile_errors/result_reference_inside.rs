//! A reference inside of a result.

fn name(_number: u64) -> Option<&'static str> {
    Some("name")
}

procpool::register!(name);

fn main() {}
