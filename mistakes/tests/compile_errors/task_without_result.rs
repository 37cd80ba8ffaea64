//! Without `-> u64` the result is `()`.

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(procpool::task!(|x: u64| { x + 1 }), 41).await;
}

fn main() {}
