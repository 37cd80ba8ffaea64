//! A library with a C interface. `factors.py` is its other half, for Python.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::sync::{Mutex, PoisonError};

use procpool::ProcessPoolExecutor;
use tokio::runtime::Runtime;

procpool::register!(smallest_factor);

fn smallest_factor(n: u64) -> u64 {
    assert!(n >= 2, "{n} has no factors");
    (2..=n.isqrt()).find(|d| n.is_multiple_of(*d)).unwrap_or(n)
}

/// A runtime, and the pool that runs on it.
static POOL: Mutex<Option<(Runtime, ProcessPoolExecutor)>> = Mutex::new(None);

thread_local! {
    static ERROR: RefCell<CString> = RefCell::default();
}

/// Starts a pool whose workers run `program` with two arguments: have it load this library, and
/// call [`factors_worker_main`].
///
/// # Safety
///
/// All are strings of C.
#[expect(unsafe_code, reason = "is called by C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn factors_start(
    program: *const c_char,
    first: *const c_char,
    second: *const c_char,
) -> bool {
    // SAFETY: the caller says so.
    let words = [program, first, second]
        .map(|word| unsafe { CStr::from_ptr(word) }.to_string_lossy().into_owned());
    told(start(words)).is_some()
}

fn start(worker: [String; 3]) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let entered = runtime.enter();
    let pool = ProcessPoolExecutor::builder().worker_command(worker).build();
    let pool = pool.map_err(|error| error.to_string())?;
    drop(entered);
    *POOL.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, pool));
    Ok(())
}

/// Becomes a worker, and does not return.
#[expect(unsafe_code, reason = "is called by C")]
#[unsafe(no_mangle)]
pub extern "C" fn factors_worker_main() {
    procpool::worker_main()
}

/// By a worker; 0 if that fails.
#[expect(unsafe_code, reason = "is called by C")]
#[unsafe(no_mangle)]
pub extern "C" fn factors_smallest(n: u64) -> u64 {
    told(smallest(n)).unwrap_or(0)
}

fn smallest(n: u64) -> Result<u64, String> {
    let (runtime, pool) = {
        let started = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, pool) = started.as_ref().ok_or("there is no pool")?;
        (runtime.handle().clone(), pool.clone())
    };
    runtime.block_on(pool.run(smallest_factor, n)).map_err(|error| error.to_string())
}

/// Ends the pool. What it still does is waited for.
#[expect(unsafe_code, reason = "is called by C")]
#[unsafe(no_mangle)]
pub extern "C" fn factors_stop() {
    let started = POOL.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((runtime, pool)) = started {
        runtime.block_on(pool.shutdown());
    }
}

/// What has failed last in this thread; valid until something else does.
#[expect(unsafe_code, reason = "is called by C")]
#[unsafe(no_mangle)]
pub extern "C" fn factors_error() -> *const c_char {
    ERROR.with_borrow(|error| error.as_ptr())
}

fn told<T>(result: Result<T, String>) -> Option<T> {
    result
        .map_err(|error| ERROR.replace(CString::new(error.replace('\0', "?")).unwrap_or_default()))
        .ok()
}
