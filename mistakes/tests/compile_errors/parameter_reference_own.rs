//! A method that takes `&self`.

#[derive(serde::Serialize, serde::Deserialize)]
struct Point {
    x: u64,
}

impl Point {
    fn x(&self) -> u64 {
        self.x
    }
}

procpool::register!(Point::x);

fn main() {}
