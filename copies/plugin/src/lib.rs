//! What a program calls that has opened this library.

use procpool::{ProcessPoolExecutor, StartMethod};

fn half(number: u64) -> u64 {
    number / 2
}

procpool::register!(half);

/// To be called where the program calls its own.
#[expect(unsafe_code, reason = "the program finds it by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn plugin_init() {
    procpool::init();
}

/// Half of the number, by a pool; nothing if that fails.
#[expect(unsafe_code, reason = "the program finds it by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn plugin_half(number: u64, forked: bool) -> u64 {
    let method = if forked { StartMethod::ForkServer } else { StartMethod::Spawn };
    let run = async {
        let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(method).build();
        let pool = pool.map_err(|error| error.to_string())?;
        pool.run(half, number).await.map_err(|error| error.to_string())
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run),
        Err(error) => Err(error.to_string()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("plugin: {error}");
        0
    })
}
