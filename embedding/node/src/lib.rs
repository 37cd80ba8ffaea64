//! An addon for Node. `index.js` is its other half.
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::sync::OnceLock;

use napi::{Error, Result};
use napi_derive::napi;
use procpool::ProcessPoolExecutor;

procpool::register!(hash);

/// Takes long on purpose, as hashes of passwords do.
fn hash(text: String, rounds: u32) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    (0..rounds).fold(0xcbf2_9ce4_8422_2325, |state, _| {
        text.bytes().fold(state, |state, byte| (state ^ u64::from(byte)).wrapping_mul(PRIME))
    })
}

static POOL: OnceLock<ProcessPoolExecutor> = OnceLock::new();

fn failed(error: impl std::fmt::Display) -> Error {
    Error::from_reason(error.to_string())
}

/// Starts the pool. The words are a command that loads this addon and calls `workerMain`; without
/// them nothing good can come of it, as the error says then.
///
/// # Errors
///
/// If no worker comes up.
#[napi]
pub async fn start(program: Option<String>, script: Option<String>) -> Result<()> {
    let mut builder = ProcessPoolExecutor::builder().max_workers(2);
    if let (Some(program), Some(script)) = (program, script) {
        builder = builder.worker_command([program, script]);
    }
    let pool = builder.build().map_err(failed)?;
    pool.ready().await.map_err(failed)?;
    POOL.set(pool).map_err(|_| failed("there is a pool already"))
}

/// A promise of the hash, in hexadecimal digits.
///
/// # Errors
///
/// If the pool was not started, or is over.
#[napi]
pub async fn hashed(text: String, rounds: u32) -> Result<String> {
    let pool = POOL.get().ok_or_else(|| failed("there is no pool"))?;
    let hash = pool.run(hash, (text, rounds)).await.map_err(failed)?;
    Ok(format!("{hash:016x}"))
}

/// A promise that is kept when all is done and the workers are gone.
#[napi]
pub async fn stop() {
    if let Some(pool) = POOL.get() {
        pool.shutdown().await;
    }
}

/// Becomes a worker, and does not return. JavaScript runs no more here; where tasks are to call it,
/// this belongs on a thread of its own.
#[napi]
pub fn worker_main() {
    procpool::worker_main()
}
