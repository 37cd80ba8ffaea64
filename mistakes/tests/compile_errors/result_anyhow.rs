//! `anyhow::Error` has no serde.

fn parse(text: String) -> anyhow::Result<u64> {
    Ok(text.parse()?)
}

procpool::register!(parse);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(parse, "7".to_owned()).await;
}

fn main() {}
