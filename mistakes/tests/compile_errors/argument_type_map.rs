//! Inputs of another type.

fn length(text: String) -> usize {
    text.len()
}

procpool::register!(length);

fn call(pool: procpool::ProcessPoolExecutor) {
    let _ = pool.map(length, ["one", "two"]);
}

fn main() {}
