//! What is to be a task, by the bounds of a closure.

fn call<F>(pool: procpool::ProcessPoolExecutor, f: F)
where
    F: Fn(u64) -> u64 + Copy + Send + Sync + 'static,
{
    let _ = pool.try_submit(f, 41);
}

fn main() {}
