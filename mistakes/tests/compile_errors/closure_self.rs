//! A closure that uses `self`, of a type that cannot be sent.

struct Service {
    pool: procpool::ProcessPoolExecutor,
    step: u64,
}

impl Service {
    fn next(&self, x: u64) -> u64 {
        x + self.step
    }

    async fn call(&self) {
        let _ = self.pool.run(|x: u64| self.next(x), 41).await;
    }
}

fn main() {}
