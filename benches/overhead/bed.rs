//! Where all is measured.

use std::rc::Rc;
use std::time::Instant;

use procpool::{Builder, ProcessPoolExecutor};
use tokio::runtime::{self, Runtime};

/// Where the caller runs.
#[derive(Clone, Copy)]
pub(crate) enum Flavor {
    CurrentThread,
    /// In a task of a multi-threaded runtime.
    Spawned,
    /// Beside the threads of a multi-threaded runtime.
    BlockOn,
}

impl Flavor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CurrentThread => "current_thread",
            Self::Spawned => "multi_thread",
            Self::BlockOn => "multi_thread block_on",
        }
    }

    pub(crate) fn runtime(self) -> Runtime {
        let mut builder = match self {
            Self::CurrentThread => runtime::Builder::new_current_thread(),
            Self::Spawned | Self::BlockOn => runtime::Builder::new_multi_thread(),
        };
        builder.enable_all().build().expect("a runtime")
    }
}

/// A runtime of one flavor.
#[derive(Clone)]
pub(crate) struct Bed {
    flavor: Flavor,
    runtime: Rc<Runtime>,
}

impl Bed {
    pub(crate) fn new(flavor: Flavor) -> Self {
        Self { flavor, runtime: Rc::new(flavor.runtime()) }
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.flavor {
            Flavor::CurrentThread | Flavor::BlockOn => self.runtime.block_on(work),
            Flavor::Spawned => {
                let task = self.runtime.spawn(work);
                self.runtime.block_on(task).expect("no panic")
            }
        }
    }

    /// A pool whose workers are up.
    pub(crate) fn pool(&self, workers: usize) -> ProcessPoolExecutor {
        self.pool_of(workers, |builder| builder)
    }

    pub(crate) fn pool_of(
        &self,
        workers: usize,
        with: impl FnOnce(Builder) -> Builder,
    ) -> ProcessPoolExecutor {
        let builder = ProcessPoolExecutor::builder().max_workers(workers).min_workers(workers);
        let pool = {
            let _entered = self.runtime.enter();
            with(builder).build().expect("a pool")
        };
        let ready = pool.clone();
        self.run(async move { ready.ready().await.expect("workers") });
        pool
    }
}

/// Seconds that something takes.
pub(crate) async fn seconds<T>(work: impl Future<Output = T>) -> (f64, T) {
    let start = Instant::now();
    let result = work.await;
    (start.elapsed().as_secs_f64(), result)
}

/// Seconds that each of so many times takes.
pub(crate) fn timed(times: usize, mut operation: impl FnMut()) -> Vec<f64> {
    let once = || {
        let start = Instant::now();
        operation();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(once).take(times).collect()
}
