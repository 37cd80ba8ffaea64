//! Closures that capture, as an initializer and in a process of its own.

use procpool::{Process, ProcessPoolExecutor};

fn build(name: String) {
    let _ = ProcessPoolExecutor::builder().initializer(move || println!("{name}"), ()).build();
}

struct Service {
    pool: ProcessPoolExecutor,
}

impl Service {
    fn start(&self) {
        let _ = Process::new(|| self.pool.is_closed(), ());
    }
}

fn main() {}
