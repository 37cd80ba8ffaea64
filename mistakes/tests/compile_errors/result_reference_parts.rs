//! A text that lives for ever as an error.

async fn parse(text: String) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "no number")
}

fn join(words: Vec<&str>, _separator: char) -> String {
    words.concat()
}

procpool::register!(parse, join);

fn main() {}
