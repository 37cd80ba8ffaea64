//! `&str` borrows from the bytes that it is decoded from.

fn length(text: &str) -> usize {
    text.len()
}

procpool::register!(length);

async fn call(pool: procpool::ProcessPoolExecutor) -> usize {
    pool.run(length, "text").await.unwrap()
}

fn main() {}
