//! `Box<dyn Error>` has no serde.

use std::error::Error;

fn parse(text: String) -> Result<u64, Box<dyn Error>> {
    Ok(text.parse()?)
}

procpool::register!(parse);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.submit(parse, "7".to_owned()).await;
}

fn main() {}
