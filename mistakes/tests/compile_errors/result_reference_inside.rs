//! A reference inside of a result.

fn name(_number: u64) -> Option<&'static str> {
    Some("name")
}

fn first(words: Vec<&str>) -> Result<&str, &'static str> {
    words.first().copied().ok_or("no word")
}

procpool::register!(name, first);

fn main() {
    let _ = procpool::task!(|text: String| -> Result<u64, &'static str> {
        text.parse().map_err(|_| "no number")
    });
}
