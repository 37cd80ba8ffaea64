//! A function whose result has no serde, in a `map`.

fn parse(text: String) -> std::io::Result<u64> {
    Ok(text.len() as u64)
}

procpool::register!(parse);

fn call(pool: procpool::ProcessPoolExecutor, texts: Vec<String>) {
    let _ = pool.map(parse, texts);
}

fn main() {}
