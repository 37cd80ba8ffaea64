//! How many threads libraries are told to have in workers.

use std::collections::BTreeMap;

#[cfg(target_os = "linux")]
use procpool::ForkServer;
use procpool::{Builder, Process, ProcessPoolExecutor, StartMethod};

use crate::common::in_time;

const NAMES: [&str; 9] = [
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

type Variables = BTreeMap<String, String>;

/// Those that say a number of threads.
fn variables() -> Variables {
    let of = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
    NAMES.into_iter().filter_map(of).collect()
}

/// Those of the worker of a pool in this process, which says how many threads to have.
fn variables_below(threads: usize) -> Variables {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = ProcessPoolExecutor::builder().max_workers(1).inner_threads(threads);
    runtime.block_on(async { builder.build().unwrap().run(variables, ()).await.unwrap() })
}

procpool::register!(variables, variables_below);

/// A pool of each kind whose workers inherit no such variable.
fn builders() -> [Builder; 2] {
    [StartMethod::Spawn, StartMethod::ForkServer].map(|method| {
        ProcessPoolExecutor::builder().max_workers(1).start_method(method).env_clear()
    })
}

fn all(count: usize) -> Variables {
    NAMES.map(|name| (name.to_owned(), count.to_string())).into()
}

async fn ask(builder: Builder) -> Variables {
    in_time(builder.build().unwrap().run(variables, ())).await.unwrap()
}

#[tokio::test]
async fn nothing_is_said_unless_it_is_asked_for() {
    for builder in builders() {
        assert_eq!(ask(builder).await, Variables::new());
    }
}

#[tokio::test]
async fn libraries_are_told_how_many_threads_to_have() {
    for builder in builders() {
        assert_eq!(ask(builder.clone().inner_threads(3)).await, all(3));
        // In whatever order it is said.
        assert_eq!(ask(builder.inner_threads(4).env_clear()).await, all(4));
    }
}

#[tokio::test]
async fn zero_threads_are_the_cpus_divided_by_the_workers() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    for workers in [1, 2, cpus, cpus + 1] {
        for builder in builders() {
            let builder = builder.max_workers(workers).inner_threads(0);
            assert_eq!(ask(builder).await, all((cpus / workers).max(1)), "{workers} workers");
        }
    }
}

#[tokio::test]
async fn what_is_set_or_removed_by_hand_counts() {
    for builder in builders() {
        let builder = builder.env("OMP_NUM_THREADS", "7").env_remove("MKL_NUM_THREADS");
        let mut expected = all(2);
        expected.insert("OMP_NUM_THREADS".to_owned(), "7".to_owned());
        expected.remove("MKL_NUM_THREADS");
        assert_eq!(ask(builder.inner_threads(2)).await, expected);
    }
}

#[tokio::test]
async fn what_the_service_was_told_itself_counts() {
    let service = Process::builder(variables_below, 2).env_clear().env("RAYON_NUM_THREADS", "5");
    let mut expected = all(2);
    expected.insert("RAYON_NUM_THREADS".to_owned(), "5".to_owned());
    assert_eq!(in_time(service.spawn()).await.unwrap(), expected);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_of_a_shared_server_have_what_it_was_told() {
    for (asked, count) in [(3, 3), (0, 1)] {
        let server = ForkServer::builder().env_clear().env("OMP_NUM_THREADS", "7");
        let server = server.inner_threads(asked).build().unwrap();
        let mut expected = all(count);
        expected.insert("OMP_NUM_THREADS".to_owned(), "7".to_owned());
        let builder = ProcessPoolExecutor::builder().max_workers(1).fork_server(&server);
        assert_eq!(ask(builder).await, expected);
    }
}
