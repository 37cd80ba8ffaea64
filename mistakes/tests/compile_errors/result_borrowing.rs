//! A result of a type of one's own that borrows.

#[derive(serde::Serialize, serde::Deserialize)]
struct User<'a> {
    name: &'a str,
}

async fn user(_number: u64) -> User<'static> {
    User { name: "a" }
}

procpool::register!(user);

fn main() {}
