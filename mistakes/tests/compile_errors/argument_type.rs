//! An argument of another type.

fn length(text: String) -> usize {
    text.len()
}

procpool::register!(length);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(length, "text").await;
}

fn main() {}
