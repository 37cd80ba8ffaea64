//! What a task returns is decoded in another process, so it must own its data.

fn name(_number: u64) -> &'static str {
    "name"
}

procpool::register!(name);

async fn call(pool: procpool::ProcessPoolExecutor) -> &'static str {
    pool.run(name, 7).await.unwrap()
}

fn main() {}
