//! Limits that one task has for itself, in a worker that others use before and after it.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    Builder, PoolEvent, ProcessPoolExecutor, ResourceLimits, StartMethod, SubmitErrorKind,
    TaskErrorKind,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{in_time, pid};
use crate::limits::{file, produce, spin, take, write};

const MEGABYTE: usize = 1 << 20;
const MOMENT: Duration = Duration::from_millis(60);
/// Far more than any task here takes.
const LONG: Duration = Duration::from_secs(100);

// ----- tasks -----

/// Leaves so much memory behind, which need not be in use.
fn keep(bytes: usize) -> u32 {
    std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    std::process::id()
}

const RESOURCES: [Resource; 4] = [Resource::Data, Resource::As, Resource::Fsize, Resource::Core];

type Limits = Vec<(Option<u64>, Option<u64>)>;

fn limits() -> Limits {
    let limit = |resource| {
        let Rlimit { current, maximum } = getrlimit(resource);
        (current, maximum)
    };
    RESOURCES.map(limit).to_vec()
}

fn panic_with_limits() {
    panic!("{:?}", limits());
}

/// Lowers a limit for a while, and for good.
fn give_up(soft: u64, hard: u64) {
    setrlimit(Resource::Fsize, Rlimit { current: Some(soft), maximum: Some(hard) }).unwrap();
}

/// An initializer: cores may be as large as they may be at all, which is seldom the default.
fn allow_cores() {
    let limit = getrlimit(Resource::Core);
    setrlimit(Resource::Core, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Closes what tells the worker how much memory it takes.
fn close_gauge() -> u32 {
    let fd = (0..100).find(|fd| {
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        name.is_ok_and(|name| name.ends_with("statm"))
    });
    // SAFETY: it is the worker's, which is to meet just that.
    #[allow(unsafe_code)]
    unsafe {
        rustix::io::close(fd.unwrap());
    }
    std::process::id()
}

procpool::register!(keep, limits, panic_with_limits, give_up, allow_cores, close_gauge);

// ----- pools -----

fn builder() -> Builder {
    // A backtrace would come after the last words of a worker that cannot allocate.
    ProcessPoolExecutor::builder().max_workers(1).env("RUST_BACKTRACE", "0")
}

fn pool() -> ProcessPoolExecutor {
    builder().build().unwrap()
}

/// A pool of one worker for each way to start it.
fn pools() -> [ProcessPoolExecutor; 2] {
    [builder(), builder().start_method(StartMethod::ForkServer)].map(|b| b.build().unwrap())
}

fn new() -> ResourceLimits {
    ResourceLimits::new()
}

// ----- when they hold -----

#[tokio::test]
async fn limits_hold_for_one_call_and_are_put_back() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let builder = builder().start_method(method).initializer(allow_cores, ());
        let pool = builder.build().unwrap();
        let before = in_time(pool.run(limits, ())).await.unwrap();
        let wanted = new().memory(1 << 30).address_space(2 << 30).file_size(1000).core_size(0);
        let meanwhile = in_time(pool.task(limits, ()).limits(wanted).run()).await.unwrap();
        let (data, addresses) = (meanwhile[0].0.unwrap(), meanwhile[1].0.unwrap());
        assert!((1 << 30..2 << 30).contains(&data), "what it takes, and what it may add: {data}");
        assert!(addresses > 2 << 30, "{addresses}");
        let soft = |resource: usize, most| (Some(most), before[resource].1);
        let expected = [soft(0, data), soft(1, addresses), soft(2, 1000), soft(3, 0)];
        assert_eq!(meanwhile, expected, "they can be put back");
        assert_eq!(in_time(pool.run(limits, ())).await.unwrap(), before);
        let error = in_time(pool.task(panic_with_limits, ()).limits(wanted).run()).await;
        let error = error.unwrap_err();
        assert!(error.panic().unwrap().message().contains("(Some(1000), "), "{error}");
        assert_eq!(in_time(pool.run(limits, ())).await.unwrap(), before, "after a panic, too");
        assert_eq!(pool.stats().worker_starts, 1);
    }
}

#[tokio::test]
async fn the_stricter_of_both_limits_counts() {
    let pool = builder().limits(new().file_size(500).memory(1 << 30)).build().unwrap();
    let of = async |limits_of: ResourceLimits| {
        in_time(pool.task(limits, ()).limits(limits_of).run()).await.unwrap()
    };
    assert_eq!(of(new().file_size(1000)).await[2].0, Some(500));
    assert_eq!(of(new().file_size(200)).await[2].0, Some(200));
    assert_eq!(of(new().memory(2 << 30)).await[0].0, Some(1 << 30));
    assert!(of(new().memory(1 << 20)).await[0].0.unwrap() < 1 << 30);
    assert_eq!(of(new()).await, in_time(pool.run(limits, ())).await.unwrap());
}

#[tokio::test]
async fn what_a_task_gives_up_for_good_does_not_come_back() {
    let pool = pool();
    in_time(pool.task(give_up, (500, 700)).limits(new().file_size(1000)).run()).await.unwrap();
    assert_eq!(in_time(pool.run(limits, ())).await.unwrap()[2], (Some(700), Some(700)));
}

#[tokio::test]
async fn later_limits_count_each_by_itself_and_none_takes_all_back() {
    let pool = pool();
    let task = || pool.task(limits, ()).limits(new().file_size(1000).memory(1 << 40));
    let found = in_time(task().limits(new().file_size(900)).run()).await.unwrap();
    assert_eq!((found[2].0, found[0].0.is_some_and(|data| data > 1 << 40)), (Some(900), true));
    let found = in_time(task().limits(None).run()).await.unwrap();
    assert_eq!(found, in_time(pool.run(limits, ())).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn those_who_block_have_them_too() {
    let pool = pool();
    let found = tokio::task::spawn_blocking(move || {
        let limited = || pool.task(limits, ()).limits(new().file_size(1000));
        let submitted = limited().blocking_submit().unwrap().blocking_wait().unwrap();
        [limited().blocking_run().unwrap(), submitted].map(|found| found[2].0)
    });
    assert_eq!(in_time(found).await.unwrap(), [Some(1000); 2]);
}

// ----- what happens when they are met -----

#[tokio::test]
async fn the_report_of_a_panic_is_not_limited() {
    let pool = builder().env("RUST_LIB_BACKTRACE", "1").build().unwrap();
    let limits = new().memory(4 << 20).cpu_time(Duration::from_millis(10));
    let task = pool.task(panic_with_limits, ()).limits(limits);
    let error = in_time(task.run()).await.unwrap_err();
    let panic = error.panic().unwrap_or_else(|| panic!("{error}"));
    assert!(panic.backtrace().contains("panic_with_limits"), "{panic:?}");
}

#[tokio::test]
async fn a_task_that_takes_more_cpu_time_than_it_may_says_so() {
    for pool in pools() {
        let mut events = pool.events();
        let task = pool.task(spin, ()).label("dear").limits(new().cpu_time(MOMENT));
        let error = in_time(task.run()).await.unwrap_err();
        let death = error.worker_death().unwrap();
        assert!(death.is_cpu_time_limit() && !death.is_memory_limit(), "{error}");
        assert_eq!(death.signal(), Some(libc::SIGXCPU));
        let text = "(SIGXCPU): the task's own CPU time limit of 60ms";
        assert!(error.to_string().contains(text), "{error}");
        let told = loop {
            if let PoolEvent::WorkerDied { death, .. } = in_time(events.next()).await.unwrap() {
                break death;
            }
        };
        assert!(told.is_cpu_time_limit() && told.to_string().contains(text), "{told}");
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), death.pid());
    }
}

#[tokio::test]
async fn cpu_time_of_one_task_is_no_limit_of_the_next() {
    let pool = pool();
    let limited = || pool.task(take, 40).limits(new().cpu_time(MOMENT)).run();
    let mut workers = BTreeSet::new();
    for _ in 0..2 {
        workers.insert(in_time(limited()).await.unwrap());
    }
    workers.insert(in_time(pool.run(take, 100)).await.unwrap());
    assert_eq!(workers.len(), 1);
}

#[tokio::test]
async fn the_stricter_limit_of_cpu_time_counts_and_the_one_of_the_pool_comes_back() {
    let pool = builder().limits(new().cpu_time(MOMENT)).build().unwrap();
    let task = pool.task(spin, ()).limits(new().cpu_time(LONG));
    let error = in_time(task.run()).await.unwrap_err();
    assert!(error.to_string().contains("(SIGXCPU): CPU time limit of 60ms"), "{error}");
    in_time(pool.task(pid, ()).limits(new().cpu_time(LONG)).run()).await.unwrap();
    let error = in_time(pool.run(spin, ())).await.unwrap_err();
    assert!(error.to_string().contains("(SIGXCPU): CPU time limit of 60ms"), "{error}");
    let short = new().cpu_time(MOMENT / 2);
    let error = in_time(pool.task(spin, ()).limits(short).run()).await.unwrap_err();
    assert!(error.to_string().contains("the task's own CPU time limit of 30ms"), "{error}");
}

#[tokio::test]
async fn memory_counts_from_what_the_worker_takes_already() {
    for limit in [new().memory(64 << 20), new().address_space(64 << 20)] {
        let builder = builder().initializer(keep, 512 * MEGABYTE);
        let pool = builder.build().unwrap();
        let limited = |bytes| pool.task(keep, bytes).limits(limit).run();
        let worker = in_time(limited(32 * MEGABYTE)).await.unwrap();
        assert_eq!(in_time(limited(32 * MEGABYTE)).await.unwrap(), worker, "each from anew");
        let error = in_time(limited(80 * MEGABYTE)).await.unwrap_err();
        let death = error.worker_death().unwrap();
        assert!(death.is_memory_limit() && !death.is_cpu_time_limit(), "{error}");
        assert_eq!((death.pid(), death.signal()), (worker, Some(libc::SIGABRT)));
        let text = "most likely the task's own memory limit of 67108864 bytes";
        assert!(error.to_string().contains(text), "{error}");
        in_time(pool.run(keep, 80 * MEGABYTE)).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_that_writes_too_large_a_file_says_so() {
    let (pool, path) = (pool(), file("large_of_task"));
    let limited = |bytes| {
        let task = pool.task(write, (path.clone(), bytes));
        task.limits(new().file_size(1000)).run()
    };
    assert!(in_time(limited(1000)).await.unwrap());
    let error = in_time(limited(1001)).await.unwrap_err();
    assert!(error.worker_death().unwrap().is_file_size_limit(), "{error}");
    let text = "(SIGXFSZ): the task's own file size limit of 1000 bytes";
    assert!(error.to_string().contains(text), "{error}");
    assert!(in_time(pool.run(write, (path.clone(), 1001))).await.unwrap());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn large_arguments_and_results_are_no_files() {
    const LARGE: usize = 5 << 20;
    let pool = pool();
    for _ in 0..3 {
        let task = pool.task(produce, LARGE).limits(new().file_size(1000));
        assert_eq!(in_time(task.run()).await.unwrap().len(), LARGE);
    }
    assert_eq!(pool.stats().worker_starts, 1);
}

#[tokio::test]
async fn a_worker_for_each_task_has_them_too() {
    let builder = builder().start_method(StartMethod::ForkServer).max_tasks_per_child(1);
    let pool = builder.build().unwrap();
    for _ in 0..2 {
        let task = pool.task(limits, ()).limits(new().file_size(1000).memory(1 << 30));
        assert_eq!(in_time(task.run()).await.unwrap()[2].0, Some(1000));
    }
    let task = pool.task(keep, 512 * MEGABYTE).limits(new().memory(64 << 20));
    let error = in_time(task.run()).await.unwrap_err();
    assert!(error.to_string().contains("the task's own memory limit"), "{error}");
}

// ----- retries and maps -----

#[tokio::test]
async fn a_second_attempt_has_the_limits_of_the_first() {
    let pool = pool();
    let task = pool.task(spin, ()).retries(1).limits(new().cpu_time(MOMENT / 2));
    let error = in_time(task.run()).await.unwrap_err();
    assert_eq!(error.attempts(), 2);
    assert!(error.to_string().contains("the task's own CPU time limit"), "{error}");
}

#[tokio::test]
async fn each_item_of_a_chunk_has_limits_of_its_own() {
    let pool = pool();
    let limit = new().cpu_time(MOMENT);
    let map = pool.map(take, [40; 3]).chunksize(3).limits(limit);
    let results: Vec<_> = in_time(map.collect()).await;
    let mut workers: BTreeSet<_> = results.into_iter().map(Result::unwrap).collect();
    let limit = new().memory(64 << 20);
    let map = pool.map(keep, [48 * MEGABYTE; 4]).chunksize(4).limits(limit);
    let results: Vec<_> = in_time(map.collect()).await;
    workers.extend(results.into_iter().map(Result::unwrap));
    assert_eq!((workers.len(), pool.stats().worker_deaths), (1, 0));
}

#[tokio::test]
async fn an_item_that_goes_beyond_a_limit_fails_alone() {
    let pool = pool();
    let map = pool.map(keep, [1, 80 * MEGABYTE, 1, 1]).chunksize(4).limits(new().memory(64 << 20));
    let results: Vec<_> = in_time(map.retries(1).collect()).await;
    for (number, result) in (0..).zip(results) {
        match result {
            Ok(_) => assert_ne!(number, 1),
            Err(error) => {
                assert_eq!((number, error.attempts()), (1, 2));
                assert!(error.worker_death().unwrap().is_memory_limit(), "{error}");
                assert!(error.to_string().contains("the task's own memory limit"), "{error}");
            }
        }
    }
    assert_eq!(pool.stats().worker_deaths, 2);
    in_time(pool.run(keep, 80 * MEGABYTE)).await.unwrap();
}

#[tokio::test]
async fn items_that_are_queued_again_keep_their_limits() {
    let pool = pool();
    let path = file("large_of_item");
    let inputs = [(path.clone(), 1), (path.clone(), 1001), (path.clone(), 1001), (path.clone(), 7)];
    let map = pool.map(write, inputs).chunksize(4).limits(new().file_size(1000));
    let results: Vec<_> = in_time(map.collect()).await;
    let limited = |result: &Result<bool, procpool::TaskError>| {
        result.as_ref().err().is_some_and(|e| e.worker_death().unwrap().is_file_size_limit())
    };
    let found: Vec<_> = results.iter().map(limited).collect();
    assert_eq!(found, [false, true, true, false]);
    std::fs::remove_file(path).unwrap();
}

// ----- what cannot be limited -----

#[tokio::test]
async fn what_cannot_be_limited_for_one_task_is_refused() {
    let pool = pool();
    let task = || pool.task(pid, ()).label("few").limits(new().open_files(64));
    let errors = [
        in_time(task().submit()).await.map(drop).unwrap_err(),
        task().try_submit().map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), SubmitErrorKind::UnsupportedLimit);
        assert!(error.is_unsupported_limit());
        let text = "failed to submit \"few\" (`workers::common::pid`): `open_files` cannot be \
                    limited for one task, as ";
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(error.to_string().ends_with("by `Builder::limits`"), "{error}");
    }
    let error = in_time(task().run()).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::UnsupportedLimit);
    let items = pool.map(take, [1, 2]).limits(new().open_files(64));
    let items: Vec<_> = in_time(items.collect()).await;
    assert!(items.len() == 2 && items.into_iter().all(|i| i.unwrap_err().is_unsupported_limit()));
    let map = pool.map(take, [1, 2]).limits(new().open_files(64)).limits(None);
    let items: Vec<_> = in_time(map.collect()).await;
    assert!(items.iter().all(Result::is_ok), "it was taken back");
    in_time(task().limits(None).run()).await.unwrap();
}

#[tokio::test]
async fn a_limit_that_a_worker_cannot_set_fails_the_task_and_not_the_worker() {
    let pool = pool();
    let limited = || pool.task(pid, ()).limits(new().memory(1 << 30).file_size(1000)).run();
    let worker = in_time(limited()).await.unwrap();
    assert_eq!(in_time(pool.run(close_gauge, ())).await.unwrap(), worker);
    let before = in_time(pool.run(limits, ())).await.unwrap();
    let error = in_time(limited()).await.unwrap_err();
    assert!(error.is_unsupported_limit() && !error.is_worker_death(), "{error}");
    let text = "failed in worker 1: its limits cannot be set in the worker: how much memory this \
                process takes cannot be read";
    assert!(error.to_string().contains(text), "{error}");
    let map = pool.map(take, [1, 2]).limits(new().memory(1 << 30));
    let items: Vec<_> = in_time(map.collect()).await;
    assert!(items.len() == 2 && items.into_iter().all(|i| i.unwrap_err().is_unsupported_limit()));
    assert_eq!(in_time(pool.run(limits, ())).await.unwrap(), before, "none is left behind");
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), worker);
    assert_eq!(pool.stats().outcomes.unsupported_limit, 1);
}
