//! Closures that borrow. What the compiler says of lifetimes is fixed; the page of `task!` has it.

struct Step(u64);

impl Step {
    async fn call(&self, pool: procpool::ProcessPoolExecutor) {
        let _ = pool.run(|x: u64| x + self.0, 41).await;
    }
}

async fn call(pool: procpool::ProcessPoolExecutor, step: u64) {
    let _ = pool.run(|x: u64| x + step, 41).await;
}

fn main() {}
