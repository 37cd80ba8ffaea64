//! A type of one's own that lacks serde's traits.

struct Job {
    id: u64,
}

fn id(job: Job) -> u64 {
    job.id
}

procpool::register!(id);

fn main() {}
