//! A closure in place cannot capture. The page of `task!` has the compiler's words for that.

async fn call(pool: procpool::ProcessPoolExecutor, step: u64) {
    let _ = pool.run(procpool::task!(|x: u64| -> u64 { x + step }), 41).await;
}

struct Step(u64);

impl Step {
    async fn call(&self, pool: procpool::ProcessPoolExecutor) {
        let _ = pool.run(procpool::task!(|x: u64| -> u64 { x + self.0 }), 41).await;
    }
}

fn main() {}
