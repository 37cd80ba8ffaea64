//! A closure in place in a generic function. The page of `task!` has the compiler's words for that.

fn call<T>(pool: procpool::ProcessPoolExecutor, items: Vec<T>)
where
    T: serde::Serialize,
{
    let _ = pool.try_submit(procpool::task!(|items: Vec<T>| -> usize { items.len() }), items);
}

fn main() {}
