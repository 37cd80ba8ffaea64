//! How a pool and its workers can be set up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use procpool::{
    AuthKey, BuildErrorKind, ForkServer, Process, ProcessPoolExecutor, ResourceLimits, StartMethod,
    WorkerCommand, current_process,
};

use crate::common::{Gate, fixture, hold, in_time, pid};

fn directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

procpool::register!(directory);

/// A directory of this name that is there.
fn some_directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path.canonicalize().unwrap()
}

/// From the directory of this process.
fn relative(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    let up = here.components().skip(1).map(|_| "..");
    up.collect::<PathBuf>().join(path.strip_prefix("/").unwrap())
}

#[tokio::test]
async fn workers_start_in_the_directory_of_this_process_unless_told_otherwise() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let expected = std::env::current_dir().unwrap();
    assert_eq!(in_time(pool.run(directory, ())).await.unwrap(), expected);
}

/// Of a fixture, and how many workers it has looked at before it has built another pool.
async fn surroundings(what: &str, workers: usize) {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let output = in_time(parent.arg(what).kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), workers + 2, "{text} {problem}");
    assert!(lines[..workers].iter().all(|line| *line == r#"("/", "first")"#), "{what}: {text}");
    let directory = std::env::temp_dir();
    assert_eq!(lines[workers], format!("other (\"{}\", \"second\")", directory.display()));
    let above = directory.parent().unwrap().display();
    assert_eq!(lines[workers + 1], format!("cleared (\"{above}\", \"\")"), "{what}");
}

#[tokio::test]
async fn workers_have_what_there_was_when_their_pool_was_built() {
    surroundings("surroundings", 2).await;
    surroundings("forked-surroundings", 3).await;
}

#[tokio::test]
async fn workers_start_in_the_directory_that_they_are_given() {
    let expected = some_directory("of_workers");
    for given in [expected.clone(), relative(&expected)] {
        let builder = ProcessPoolExecutor::builder().max_workers(1).current_dir(given);
        let pool = builder.build().unwrap();
        assert_eq!(in_time(pool.run(directory, ())).await.unwrap(), expected);
        in_time(pool.shutdown()).await;
    }
}

#[tokio::test]
async fn a_pool_has_a_name() {
    let pool = ProcessPoolExecutor::new().unwrap();
    assert_eq!(pool.name(), "procpool");
    let pool = ProcessPoolExecutor::builder().name("thumbnails").build().unwrap();
    assert_eq!(pool.name(), "thumbnails");
    let text = format!("{pool:?}");
    assert!(text.starts_with("ProcessPoolExecutor { name: \"thumbnails\", "), "{text}");
    in_time(pool.run(pid, ())).await.unwrap();
}

#[tokio::test]
async fn what_was_set_can_be_taken_back() {
    let nothing = ProcessPoolExecutor::builder()
        .max_workers(0)
        .idle_timeout(Duration::ZERO)
        .max_tasks_per_child(0)
        .max_memory_per_child(1)
        .max_age(Duration::ZERO)
        .queue_bytes(1)
        .default_timeout(Duration::ZERO)
        .hard_memory_limit(1)
        .shared_memory(0)
        .inner_threads(1);
    assert!(nothing.clone().build().is_err());
    let pool = nothing
        .max_workers(None)
        .idle_timeout(None)
        .max_tasks_per_child(None)
        .max_memory_per_child(None)
        .max_age(None)
        .queue_bytes(None)
        .default_timeout(None)
        .hard_memory_limit(None)
        .shared_memory(None)
        .inner_threads(None)
        .build();
    let pool = pool.unwrap();
    let first = in_time(pool.run(pid, ())).await.unwrap();
    assert_eq!(in_time(pool.run(pid, ())).await.unwrap(), first, "it is not replaced");
    in_time(pool.task(pid, ()).deadline(Duration::ZERO).deadline(None).run()).await.unwrap();
}

#[tokio::test]
async fn what_was_set_of_programs_and_servers_can_be_taken_back() {
    let limits = ResourceLimits::new().memory(1).cpu_time(Duration::ZERO);
    assert_eq!(limits.memory(None).cpu_time(None), ResourceLimits::new());
    let server = ForkServer::builder().limits(limits).limits(None).inner_threads(1);
    let server = server.inner_threads(None).build().unwrap();
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let spawning = format!("{builder:?}");
    assert_eq!(format!("{:?}", builder.clone().fork_server(None)), spawning, "nothing is changed");
    let builder = builder.worker_command("no such program");
    let builder = builder.limits(limits).fork_server(&server);
    assert!(builder.clone().build().is_err(), "a server has its own command");
    let builder = builder.limits(None).worker_command(WorkerCommand::default());
    for builder in [builder.clone(), builder.fork_server(None)] {
        let pool = builder.build().unwrap();
        in_time(pool.run(pid, ())).await.unwrap();
    }
    let process = Process::builder(pid, ()).limits(limits).limits(None).daemon(true).daemon(None);
    let process = process.authkey(AuthKey::new("other")).authkey(None).build();
    assert_eq!((process.daemon(), process.authkey()), (false, current_process().authkey()));
    in_time(process.start()).await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), 0);
}

/// As the guide's chapter on conventions says.
#[tokio::test]
async fn zero_is_none_of_it_or_no_time_or_an_error_or_a_good_number() {
    let builder = || ProcessPoolExecutor::builder().max_workers(1);
    let none = builder().min_workers(0).surge(0).shared_memory(0).inner_threads(0);
    let pool = none.idle_timeout(Duration::ZERO).grace_period(Duration::ZERO).build().unwrap();
    let task = pool.task(emit_some, ()).retries(0).emit_capacity(0);
    let handle = task.submit().await.unwrap();
    let emitted: Vec<_> = in_time(handle.emitted::<u64>().collect()).await;
    assert_eq!(emitted.len(), 3);
    in_time(handle).await.unwrap();
    crate::common::wait_until("idle ones have left", || pool.workers().is_empty()).await;
    let map = pool.map(pid_of, 0..9).chunksize(0).buffersize(0).retries(0);
    assert_eq!(in_time(map.collect::<Vec<_>>()).await.len(), 9);

    let gate = Gate::new().await;
    let endless = pool.task(hold, gate.port()).timeout(Duration::ZERO);
    assert!(in_time(endless.run()).await.unwrap_err().is_timeout());
    let late = pool.task(pid, ()).deadline(Duration::ZERO);
    assert!(in_time(late.run()).await.unwrap_err().is_deadline());
    let mut late = pool.map(pid_of, 0..).within(Duration::ZERO);
    assert!(in_time(late.next()).await.unwrap().unwrap_err().is_deadline());

    let small = builder().max_payload(0).build().unwrap();
    assert!(in_time(small.run(pid, ())).await.unwrap_err().is_too_large());
    for builder in [
        builder().max_workers(0),
        builder().max_tasks_per_child(0),
        builder().max_age(Duration::ZERO),
        builder().queue_bytes(0),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), BuildErrorKind::InvalidSetting);
    }
    pool.resize(0).unwrap_err();
}

fn pid_of(_: u64) -> u32 {
    pid()
}

fn emit_some() {
    for n in 0..3_u64 {
        procpool::current().emit(n).unwrap();
    }
}

procpool::register!(pid_of, emit_some);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_are_called_by_their_pool_and_their_number() {
    fn called(pid: u32) -> String {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned()
    }
    for (name, expected) in [("thumbs", "thumbs-worker-1"), ("many-thumbnails", "many-thumbnai-1")]
    {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            let builder = ProcessPoolExecutor::builder().name(name).start_method(method);
            let pool = builder.max_workers(1).build().unwrap();
            let worker = in_time(pool.run(pid, ())).await.unwrap();
            assert_eq!(called(worker), expected, "{method:?}");
        }
    }
}
