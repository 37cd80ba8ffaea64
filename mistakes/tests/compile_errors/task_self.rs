//! A closure in place has no `self`.

#[derive(serde::Serialize, serde::Deserialize)]
struct Step(u64);

impl Step {
    async fn call(self, pool: procpool::ProcessPoolExecutor) {
        let _ = pool.run(procpool::task!(|&self, x: u64| -> u64 { x + self.0 }), (self, 41)).await;
    }

    async fn call_async(self, pool: procpool::ProcessPoolExecutor) {
        let _ = pool.run(procpool::task!(async |self: Step| -> u64 { self.0 }), self).await;
    }
}

fn main() {}
