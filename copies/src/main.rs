//! A program with two versions of procpool, and with libraries that have copies of their own, whose
//! paths are in the variable `PLUGINS`. Each of them has pools, also in tasks of the others.

use std::time::Duration;

use libloading::{Library, Symbol};

fn double(number: u64) -> u64 {
    2 * number
}

/// A task of the one version that has a pool of the other one.
fn doubled_and_squared(number: u64, forked: bool) -> Result<u64, String> {
    block_on(squares(2 * number, forked))
}

fn triple(number: u64) -> u64 {
    3 * number
}

procpool::register!(double, doubled_and_squared, triple);

fn square(number: u64) -> u64 {
    number * number
}

/// The other way round.
fn squared_and_doubled(number: u64, forked: bool) -> Result<u64, String> {
    block_on(doubles(number * number, forked))
}

// What both versions have registered is told apart by the version.
procpool_again::register!(square, squared_and_doubled, triple);

async fn doubles(number: u64, forked: bool) -> Result<u64, String> {
    use procpool::{ProcessPoolExecutor, StartMethod};
    let method = if forked { StartMethod::ForkServer } else { StartMethod::Spawn };
    let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    let pool = pool.build().map_err(told)?;
    assert_eq!(pool.run(triple, 1).await.map_err(told)?, 3);
    pool.run(double, number).await.map_err(told)
}

async fn squares(number: u64, forked: bool) -> Result<u64, String> {
    use procpool_again::{ProcessPoolExecutor, StartMethod};
    let method = if forked { StartMethod::ForkServer } else { StartMethod::Spawn };
    let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(method);
    let pool = pool.build().map_err(told)?;
    assert_eq!(pool.run(triple, 1).await.map_err(told)?, 3);
    pool.run(square, number).await.map_err(told)
}

async fn nested(number: u64, forked: bool) -> Result<[u64; 2], String> {
    let one = procpool::ProcessPoolExecutor::new().map_err(told)?;
    let two = procpool_again::ProcessPoolExecutor::new().map_err(told)?;
    let one = one.run(doubled_and_squared, (number, forked)).await;
    let two = two.run(squared_and_doubled, (number, forked)).await;
    Ok([one.map_err(told)??, two.map_err(told)??])
}

async fn processes(number: u64) -> Result<[u64; 2], String> {
    let one = procpool::Process::spawn(double, number);
    let two = procpool_again::Process::spawn(square, number);
    let (one, two) = (one.await, two.await);
    Ok([one.map_err(told)?, two.map_err(told)?])
}

#[expect(clippy::needless_pass_by_value, reason = "is named to `map_err`")]
fn told(error: impl ToString) -> String {
    error.to_string()
}

fn block_on<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(told)?;
    let limited = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime.block_on(limited).map_err(told)?
}

/// Opens the libraries, which may be where this process becomes a worker.
fn open_plugins() -> Result<Vec<Library>, String> {
    let paths = std::env::var_os("PLUGINS").unwrap_or_default();
    let mut libraries = Vec::new();
    for path in std::env::split_paths(&paths).filter(|path| path.is_absolute()) {
        // SAFETY: it is the library of this workspace, with functions of these types.
        #[expect(unsafe_code, reason = "opens a library")]
        unsafe {
            let library = Library::new(path).map_err(told)?;
            let init: Symbol<'_, extern "C" fn()> = library.get(b"plugin_init").map_err(told)?;
            init();
            libraries.push(library);
        }
    }
    Ok(libraries)
}

fn half(library: &Library, number: u64, forked: bool) -> Result<u64, String> {
    // SAFETY: it is the library of this workspace, whose function has this type.
    #[expect(unsafe_code, reason = "calls a library")]
    let half = unsafe { library.get::<extern "C" fn(u64, bool) -> u64>(b"plugin_half") };
    Ok(half.map_err(told)?(number, forked))
}

fn main() -> Result<(), String> {
    procpool::init();
    if std::env::var_os("FORGET").is_none() {
        procpool_again::init();
    }
    let libraries = open_plugins()?;
    for forked in [false, true] {
        println!("{:?}", block_on(doubles(21, forked)));
        println!("{:?}", block_on(squares(12, forked)));
        println!("{:?}", block_on(nested(3, forked)));
        for library in &libraries {
            println!("{:?}", half(library, 84, forked));
        }
    }
    println!("{:?}", block_on(processes(4)));
    Ok(())
}
