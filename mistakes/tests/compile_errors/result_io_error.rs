//! `std::io::Error` has no serde. An `async` function.

async fn read(_path: String) -> std::io::Result<String> {
    Ok(String::new())
}

procpool::register!(read);

async fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.run(read, "file".to_owned()).await;
}

fn main() {}
