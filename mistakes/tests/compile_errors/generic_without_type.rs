//! A generic function is registered for each type.

fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

async fn same<T>(value: T) -> T {
    value
}

procpool::register!(largest, same);

fn main() {}
