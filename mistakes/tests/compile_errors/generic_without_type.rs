//! A generic function is registered for each type.

fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

procpool::register!(largest);

fn main() {}
