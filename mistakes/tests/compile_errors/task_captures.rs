//! A closure in place cannot capture.

async fn call(pool: procpool::ProcessPoolExecutor, step: u64) {
    let _ = pool.run(procpool::task!(|x: u64| -> u64 { x + step }), 41).await;
}

fn main() {}
