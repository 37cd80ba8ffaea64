//! A type of one's own that borrows.

#[derive(serde::Serialize, serde::Deserialize)]
struct User<'a> {
    name: &'a str,
}

fn length(user: User<'_>) -> usize {
    user.name.len()
}

procpool::register!(length);

async fn call(pool: procpool::ProcessPoolExecutor) -> usize {
    pool.run(length, User { name: "a" }).await.unwrap()
}

fn main() {}
