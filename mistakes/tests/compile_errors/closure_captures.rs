//! A closure that captures a `String`.

async fn call(pool: procpool::ProcessPoolExecutor, name: String) {
    let _ = pool.run(move |x: usize| x + name.len(), 41).await;
}

fn main() {}
