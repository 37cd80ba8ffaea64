//! Limits on what workers and processes may take of the machine.
#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use procpool::{Builder, PoolEvent, Process, ProcessPoolExecutor, ResourceLimits, StartMethod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::common::{in_time, pid};

/// What the system's own limits count in.
const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(200);

// ----- tasks -----

pub(crate) fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// Takes so much CPU time.
pub(crate) fn take(millis: u64) -> u32 {
    let taken = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let end = taken() + Duration::from_millis(millis);
    while taken() < end {
        std::hint::spin_loop();
    }
    std::process::id()
}

/// Has children of this process not die of SIGXCPU, and becomes one.
fn ignore_and_spin() {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XCPU; while :; do :; done"]);
    panic!("{}", std::os::unix::process::CommandExt::exec(&mut shell));
}

pub(crate) fn write(path: PathBuf, bytes: usize) -> bool {
    File::create(path).unwrap().write_all(&vec![7; bytes]).is_ok()
}

pub(crate) fn produce(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn allocate(bytes: usize) -> usize {
    std::hint::black_box(Vec::<u8>::with_capacity(bytes)).capacity()
}

/// How many files it can open at a time, and why no more.
fn open_files() -> (usize, String) {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => return (files.len(), error.to_string()),
        }
    }
}

const RESOURCES: [Resource; 6] = [
    Resource::Data,
    Resource::As,
    Resource::Cpu,
    Resource::Fsize,
    Resource::Nofile,
    Resource::Core,
];

type Limits = Vec<(Option<u64>, Option<u64>)>;

fn limits() -> Limits {
    let limit = |resource| {
        let Rlimit { current, maximum } = getrlimit(resource);
        (current, maximum)
    };
    RESOURCES.map(limit).to_vec()
}

fn limits_at_start() -> Limits {
    procpool::state::<Limits>().unwrap().clone()
}

/// Files of at most so many bytes.
fn limit_files(bytes: u64) {
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

procpool::register!(
    spin,
    take,
    ignore_and_spin,
    write,
    produce,
    length,
    allocate,
    open_files,
    limits,
    limits_at_start,
    limit_files,
);

// ----- pools -----

/// How a test binary becomes a worker.
const AS_WORKER: [&str; 5] =
    ["procpool_worker", "--exact", "--nocapture", "--test-threads=1", "--"];

/// A pool of one worker for each way to start it.
fn builders() -> [Builder; 3] {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(AS_WORKER);
    let builder = || ProcessPoolExecutor::builder().max_workers(1).env("RUST_BACKTRACE", "0");
    [builder(), builder().start_method(StartMethod::ForkServer), builder().worker_command(command)]
}

fn pools(limits: ResourceLimits) -> [ProcessPoolExecutor; 3] {
    builders().map(|builder| builder.limits(limits).build().unwrap())
}

fn pool(limits: ResourceLimits) -> ProcessPoolExecutor {
    let [pool, ..] = pools(limits);
    pool
}

pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

// ----- which there are -----

#[tokio::test]
async fn limits_hold_from_the_initializer_on_however_a_worker_was_started() {
    let wanted = ResourceLimits::new()
        .memory(1 << 30)
        .address_space(8 << 30)
        .cpu_time(Duration::from_secs(100))
        .file_size(1 << 20)
        .open_files(64)
        .core_size(0);
    for builder in builders() {
        let pool = builder.limits(wanted).initializer(limits, ()).build().unwrap();
        let both = |most| (Some(most), Some(most));
        let before = limits();
        let expected =
            vec![both(1 << 30), both(8 << 30), before[2], both(1 << 20), both(64), both(0)];
        assert_eq!(in_time(pool.run(limits_at_start, ())).await.unwrap(), expected);
        assert_eq!(in_time(pool.run(limits, ())).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn without_limits_workers_have_those_of_their_parent() {
    for builder in builders() {
        let pool = builder.initializer(limits, ()).build().unwrap();
        assert_eq!(in_time(pool.run(limits_at_start, ())).await.unwrap(), limits());
        assert_eq!(in_time(pool.run(limits, ())).await.unwrap(), limits());
    }
}

#[tokio::test]
async fn a_stricter_limit_stays() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let builder = builder.start_method(StartMethod::ForkServer).preload(limit_files, 1000);
    let pool = builder.limits(ResourceLimits::new().file_size(2000)).build().unwrap();
    assert_eq!(in_time(pool.run(limits, ())).await.unwrap()[3], (Some(1000), Some(1000)));
}

#[tokio::test]
async fn the_limit_of_memory_has_two_names_and_the_later_one_counts() {
    let of = |most| ResourceLimits::new().memory(most);
    let builder = || ProcessPoolExecutor::builder().max_workers(1);
    let (one, two) = (1 << 30, 2 << 30);
    let cases = [
        (builder().hard_memory_limit(one).limits(of(two)), two),
        (builder().limits(of(one)).hard_memory_limit(two), two),
        (builder().hard_memory_limit(one).limits(ResourceLimits::new().core_size(0)), one),
    ];
    for (builder, most) in cases {
        let pool = builder.build().unwrap();
        assert_eq!(in_time(pool.run(limits, ())).await.unwrap()[0], (Some(most), Some(most)));
    }
}

// ----- CPU time -----

#[tokio::test]
async fn a_task_that_takes_too_much_cpu_time_is_ended_and_says_so() {
    for pool in pools(ResourceLimits::new().cpu_time(MOMENT)) {
        let mut events = pool.events();
        let error = in_time(pool.run(spin, ())).await.unwrap_err();
        let death = error.worker_death().unwrap();
        assert!(death.is_cpu_time_limit(), "{error}");
        assert!(!death.is_memory_limit() && !death.is_file_size_limit());
        assert_eq!(death.signal(), Some(libc::SIGXCPU));
        let text = "was killed by signal 24 (SIGXCPU): CPU time limit of 200ms";
        assert!(error.to_string().contains(text), "{error}");
        let told = loop {
            if let PoolEvent::WorkerDied { death, .. } = in_time(events.next()).await.unwrap() {
                break death;
            }
        };
        assert!(told.is_cpu_time_limit() && told.pid() == death.pid());
        assert_ne!(in_time(pool.run(pid, ())).await.unwrap(), death.pid());
    }
}

#[tokio::test]
async fn each_task_has_all_of_its_cpu_time() {
    for pool in pools(ResourceLimits::new().cpu_time(MOMENT)) {
        let mut workers = BTreeSet::new();
        for _ in 0..4 {
            workers.insert(in_time(pool.run(take, 150)).await.unwrap());
        }
        assert_eq!(workers.len(), 1);
    }
}

#[tokio::test]
async fn each_item_of_a_chunk_has_all_of_its_cpu_time() {
    let pool = pool(ResourceLimits::new().cpu_time(MOMENT));
    let results: Vec<_> = in_time(pool.map(take, [150; 4]).chunksize(4).collect()).await;
    let workers: BTreeSet<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!((workers.len(), pool.stats().worker_deaths), (1, 0));
}

#[tokio::test]
async fn what_is_built_before_the_tasks_has_no_limit_of_cpu_time() {
    for builder in builders() {
        let builder = builder.limits(ResourceLimits::new().cpu_time(MOMENT));
        let pool = builder.initializer(take, 300).build().unwrap();
        in_time(pool.run(take, 100)).await.unwrap();
        assert_eq!(pool.stats().worker_deaths, 0);
    }
}

#[tokio::test]
async fn an_exit_hook_has_the_cpu_time_of_a_task() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let builder = builder.limits(ResourceLimits::new().cpu_time(MOMENT)).exit_hook(spin, ());
    let pool = builder.grace_period(crate::common::LIMIT).build().unwrap();
    let events = pool.events();
    in_time(pool.run(take, 10)).await.unwrap();
    in_time(pool.shutdown()).await;
    let limited = events.filter(|event| {
        std::future::ready(match event {
            PoolEvent::WorkerKilled { death, .. } | PoolEvent::WorkerDied { death, .. } => {
                death.is_cpu_time_limit()
            }
            _ => false,
        })
    });
    assert_eq!(in_time(limited.count()).await, 1);
}

#[tokio::test]
async fn a_process_that_takes_too_much_cpu_time_says_so() {
    let limits = ResourceLimits::new().cpu_time(SECOND);
    let error = in_time(Process::builder(spin, ()).limits(limits).spawn()).await.unwrap_err();
    assert!(error.is_cpu_time_limit() && error.is_death(), "{error}");
    assert_eq!(error.exitcode(), Some(-libc::SIGXCPU));
    assert!(error.to_string().ends_with("(SIGXCPU): CPU time limit of 1s"), "{error}");
}

#[tokio::test]
async fn a_process_that_ignores_its_limit_of_cpu_time_is_killed() {
    let limits = ResourceLimits::new().cpu_time(SECOND);
    let process = Process::builder(ignore_and_spin, ()).limits(limits).build();
    process.start().await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), -libc::SIGKILL);
}

// ----- files -----

#[tokio::test]
async fn a_task_that_writes_too_large_a_file_is_ended_and_says_so() {
    let path = file("large");
    for pool in pools(ResourceLimits::new().file_size(1000)) {
        assert!(in_time(pool.run(write, (path.clone(), 1000))).await.unwrap());
        let error = in_time(pool.run(write, (path.clone(), 1001))).await.unwrap_err();
        let death = error.worker_death().unwrap();
        assert!(death.is_file_size_limit() && !death.is_cpu_time_limit(), "{error}");
        let text = "was killed by signal 25 (SIGXFSZ): file size limit of 1000 bytes";
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1000);
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn large_arguments_and_results_are_no_files() {
    const LARGE: usize = 5 << 20;
    for pool in pools(ResourceLimits::new().file_size(1000)) {
        for _ in 0..3 {
            assert_eq!(in_time(pool.run(produce, LARGE)).await.unwrap().len(), LARGE);
            assert_eq!(in_time(pool.run(length, vec![7; LARGE])).await.unwrap(), LARGE);
        }
        assert_eq!(pool.stats().worker_starts, 1);
    }
}

#[tokio::test]
async fn a_process_that_writes_too_large_a_file_says_so() {
    let (limits, path) = (ResourceLimits::new().file_size(1000), file("large_of_process"));
    let process = Process::builder(write, (path.clone(), 1001)).limits(limits);
    let error = in_time(process.spawn()).await.unwrap_err();
    assert!(error.is_file_size_limit(), "{error}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_task_may_open_only_so_many_files() {
    for pool in pools(ResourceLimits::new().open_files(32)) {
        let (count, error) = in_time(pool.run(open_files, ())).await.unwrap();
        assert!((18..=29).contains(&count), "{count}");
        assert!(error.contains("Too many open files"), "{error}");
        // And it is the task's concern alone, whatever its arguments and its result take.
        assert_eq!(in_time(pool.run(length, vec![7; 1 << 20])).await.unwrap(), 1 << 20);
        assert_eq!(in_time(pool.run(produce, 1 << 20)).await.unwrap().len(), 1 << 20);
        assert_eq!(pool.stats().worker_starts, 1);
    }
}

// ----- memory -----

#[tokio::test]
async fn a_task_that_gets_no_more_memory_says_which_limit_it_was_most_likely() {
    const MOST: u64 = 1 << 30;
    for limits in
        [ResourceLimits::new().memory(MOST), ResourceLimits::new().address_space(4 * MOST)]
    {
        for pool in pools(limits) {
            let error = in_time(pool.run(allocate, 5 << 30)).await.unwrap_err();
            let death = error.worker_death().unwrap();
            assert!(death.is_memory_limit() && !death.is_file_size_limit(), "{error}");
            assert_eq!(death.signal(), Some(libc::SIGABRT));
            assert!(error.to_string().contains(": most likely its memory limit of "), "{error}");
            in_time(pool.run(pid, ())).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_abort_without_a_limit_is_not_said_to_come_from_one() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder.limits(ResourceLimits::new().core_size(0)).build().unwrap();
    let error = in_time(pool.run(allocate, isize::MAX as usize)).await.unwrap_err();
    assert!(!error.worker_death().unwrap().is_memory_limit(), "{error}");
}
