//! As `parameter_without_serde`, and a call of the function.

struct Job {
    id: u64,
}

fn id(job: Job) -> u64 {
    job.id
}

procpool::register!(id);

async fn call(pool: procpool::ProcessPoolExecutor) -> u64 {
    pool.run(id, Job { id: 7 }).await.unwrap()
}

fn main() {}
