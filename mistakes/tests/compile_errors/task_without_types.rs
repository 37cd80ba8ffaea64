//! The types of a closure in place must be written out.

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(procpool::task!(|x| x + 1), 41).await;
    let _ = pool.run(procpool::task!(|x: u64| -> u64 x + 1), 41).await;
    let _ = pool.run(procpool::task!(async move |x: u64| -> u64 { x + 1 }), 41).await;
    let _ = pool.run(procpool::task!(|mut x: u64| -> u64 { x += 1; x }), 41).await;
}

fn main() {}
