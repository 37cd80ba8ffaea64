//! Without `-> u64` the result is `()`.

fn square(x: u64) {
    let _ = x * x;
}

procpool::register!(square);

async fn call(pool: procpool::ProcessPoolExecutor) -> u64 {
    pool.run(square, 12).await.unwrap()
}

fn main() {}
