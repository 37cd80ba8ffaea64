//! A text that lives for ever as the result of a task that is awaited, and as the error of another.

async fn name(_number: u64) -> &'static str {
    "name"
}

async fn parse(text: String) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "no number")
}

procpool::register!(name, parse);

async fn call(pool: procpool::ProcessPoolExecutor) -> &'static str {
    pool.run(name, 7).await.unwrap()
}

async fn await_handle(pool: procpool::ProcessPoolExecutor) {
    let handle = pool.submit(parse, "7".to_owned()).await.unwrap();
    let _ = handle.await;
}

fn main() {}
