//! Workers that are forked by a server.

#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "what tasks may do is not always safe")]
#![allow(clippy::unwrap_used)] // helpers are not seen as tests
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeSet;
use std::os::unix::process::parent_id;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use procpool::{Builder, ProcessPoolExecutor, StartMethod, WorkerOutput, current};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    Gate, Held, children, exit_now, fill, fixture, hold, in_time, kill, panic_now, pid,
    process_exited, process_gone, processes_with_env, wait_until,
};
use crate::journal::{Journal, hold_with_children};

fn square(x: u64) -> u64 {
    x * x
}

procpool::register!(square, parent_id, panic_now, exit_now, hold_with_children);

fn builder() -> Builder {
    let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    builder.worker_output(WorkerOutput::Null).grace_period(Duration::from_millis(200))
}

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    builder().max_workers(workers).build().unwrap()
}

/// The fields of a process's `stat` that follow its state, such as its parent and its group.
fn stat(pid: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(1).map(str::to_owned).collect()
}

fn parent(pid: u32) -> u32 {
    stat(pid)[0].parse().unwrap()
}

fn group(pid: u32) -> u32 {
    stat(pid)[1].parse().unwrap()
}

// ----- the server and its workers -----

#[tokio::test]
async fn each_pool_has_one_server_which_is_its_workers_parent() {
    let gate = Gate::new().await;
    let pools = [pool_of(3), pool_of(3)];
    let mut servers = BTreeSet::new();
    for pool in &pools {
        let held = fill(pool, &gate, 3).await;
        let parents: BTreeSet<_> = held.iter().map(|held| parent(held.pid)).collect();
        assert_eq!(parents.len(), 1, "{parents:?}");
        servers.extend(parents);
        assert!(held.iter().all(|held| group(held.pid) == held.pid), "a group for each");
    }
    assert_eq!(servers.len(), 2, "{servers:?}");
    for server in &servers {
        assert!(children().contains(server));
        assert_eq!(group(*server), *server);
    }
    let [first, second] = pools;
    in_time(first.shutdown()).await;
    in_time(second.shutdown()).await;
    assert!(servers.iter().all(|server| process_gone(*server)));
}

#[tokio::test]
async fn many_workers_can_be_forked_at_once() {
    const WORKERS: usize = 50;
    let (pool, gate) = (pool_of(WORKERS), Gate::new().await);
    let mut handles = Vec::new();
    for _ in 0..WORKERS {
        handles.push(pool.submit(hold, gate.port()).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..WORKERS {
        held.push(gate.arrival().await);
    }
    let workers: BTreeSet<_> = held.drain(..).map(|held| held.pid).collect();
    assert_eq!(workers.len(), WORKERS);
    let parents: BTreeSet<_> = workers.iter().map(|pid| parent(*pid)).collect();
    assert_eq!(parents.len(), 1);
    for handle in handles {
        in_time(handle).await.unwrap();
    }
    in_time(pool.shutdown()).await;
    assert!(workers.iter().all(|pid| process_gone(*pid)));
}

/// By which a test knows its own processes.
const MARK: &str = "PROCPOOL_TEST_MARK";

fn mark() -> String {
    let test = std::thread::current().name().map(str::to_owned);
    format!("{} {}", std::process::id(), test.unwrap_or_default())
}

#[tokio::test]
async fn no_server_is_started_before_it_is_needed() {
    let mark = mark();
    let pool = builder().env(MARK, &mark).build().unwrap();
    in_time(pool.shutdown()).await;
    assert_eq!(processes_with_env(MARK, &mark), []);
}

#[tokio::test]
async fn a_process_for_every_task() {
    const TASKS: usize = 300;
    let builder = builder().max_workers(3).max_tasks_per_child(1);
    let mark = mark();
    let pool = builder.env(MARK, &mark).build().unwrap();
    let server = in_time(pool.run(parent_id, ())).await.unwrap();
    let stream = pool.map(pid, vec![(); TASKS]).unordered();
    let workers: Vec<_> = in_time(stream.map(Result::unwrap).collect()).await;
    assert_eq!(workers.len(), TASKS);
    assert_eq!(workers.iter().collect::<BTreeSet<_>>().len(), TASKS, "no process ran two");
    // Zombies are children as well.
    let path = format!("/proc/{server}/task/{server}/children");
    let unreaped = || std::fs::read_to_string(&path).unwrap();
    wait_until("they are reaped", || unreaped().split_whitespace().count() <= 3).await;
    assert_eq!(in_time(pool.run(parent_id, ())).await.unwrap(), server);
    in_time(pool.shutdown()).await;
    assert_eq!((pool.stats().worker_deaths, pool.stats().completed), (0, TASKS as u64 + 2));
    assert!(process_gone(server) && workers.iter().all(|pid| process_gone(*pid)));
    assert_eq!(processes_with_env(MARK, &mark), []);
}

/// What this process has open, but for the list itself.
fn open_descriptors() -> Vec<(i32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let named = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let target = std::fs::read_link(entry.path()).ok()?.to_str()?.to_owned();
        let number = entry.file_name().to_str()?.parse().ok()?;
        (!target.ends_with("/fd")).then_some((number, target))
    });
    named.collect()
}

fn hold_and_list(port: u16) -> Vec<(i32, String)> {
    hold(port);
    open_descriptors()
}

procpool::register!(hold_and_list);

#[tokio::test]
async fn a_worker_has_its_own_pipes_and_a_lifeline() {
    const WORKERS: usize = 6;
    let (pool, gate) = (pool_of(WORKERS), Gate::new().await);
    let mut handles = Vec::new();
    for _ in 0..WORKERS {
        handles.push(pool.submit(hold_and_list, gate.port()).await.unwrap());
    }
    let mut held = Vec::new();
    for _ in 0..WORKERS {
        held.push(gate.arrival().await);
    }
    drop(held);
    let inherited = inherited_descriptors();
    let mut pipes = Vec::new();
    for handle in handles {
        let open = in_time(handle).await.unwrap();
        let (standard, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|(fd, _)| *fd <= 2);
        let target = |fd| &standard.iter().find(|(number, _)| *number == fd).unwrap().1;
        assert_eq!(target(0), "/dev/null");
        assert_eq!(target(1), target(2), "what is printed goes one way");
        let others: Vec<_> = others.into_iter().filter(|(fd, _)| !inherited.contains(fd)).collect();
        assert!(others.iter().all(|(_, target)| target.starts_with("pipe:")), "{others:?}");
        // Two for frames, three by which it ends with the service, one to see what is printed.
        assert_eq!(others.len(), 6, "{others:?}");
        let mut targets: BTreeSet<_> = others.into_iter().map(|(_, target)| target).collect();
        targets.insert(target(1).clone());
        pipes.push(targets);
    }
    let lifelines: BTreeSet<_> = pipes[0].intersection(&pipes[1]).cloned().collect();
    assert_eq!(lifelines.len(), 1, "{lifelines:?}");
    for (number, own) in pipes.iter().enumerate() {
        for other in &pipes[number + 1..] {
            assert_eq!(own.intersection(other).cloned().collect::<BTreeSet<_>>(), lifelines);
        }
    }
}

/// What every child of this process inherits from whoever started it.
fn inherited_descriptors() -> BTreeSet<i32> {
    let listed = std::process::Command::new("sh").args(["-c", "ls /proc/$$/fd"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(|line| line.parse().unwrap()).collect()
}

// ----- tasks -----

fn report(count: u64) -> u64 {
    (1..=count).for_each(|done| current().progress(done, count, "on the way"));
    count
}

procpool::register!(report);

#[tokio::test]
async fn tasks_maps_and_progress_are_what_they_are_elsewhere() {
    let pool = pool_of(2);
    assert_eq!(in_time(pool.run(square, 7)).await.unwrap(), 49);
    let squares: Vec<_> = in_time(pool.map(square, 0..1000).collect()).await;
    assert!(squares.into_iter().map(Result::unwrap).eq((0..1000).map(|n| n * n)));
    let handle = pool.submit(report, 5).await.unwrap();
    let progress = handle.progress();
    assert_eq!(in_time(handle).await.unwrap(), 5);
    let last = in_time(progress.collect::<Vec<_>>()).await.pop().unwrap();
    assert_eq!((last.done, last.total, &*last.message), (5, 5, "on the way"));
    let error = in_time(pool.run(panic_now, ())).await.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "now");
    assert!(error.panic().unwrap().location().unwrap().contains("common/mod.rs"), "{error}");
}

#[tokio::test]
async fn tasks_can_be_cancelled_aborted_and_timed_out() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let waiting = pool.submit(square, 3).await.unwrap();
    assert!(waiting.cancel());
    assert!(in_time(waiting).await.unwrap_err().is_cancelled());
    running.abort();
    assert!(in_time(running).await.unwrap_err().is_cancelled());
    assert!(process_gone(held.pid), "it is reaped before its task is over");
    let timed = pool.task(hold, gate.port()).timeout(Duration::from_millis(100));
    let timed = timed.submit().await.unwrap();
    let held = gate.arrival().await;
    assert!(in_time(timed).await.unwrap_err().is_timeout());
    assert!(process_gone(held.pid));
    assert_eq!(in_time(pool.run(square, 3)).await.unwrap(), 9);
    assert_eq!(pool.stats().worker_deaths, 0);
}

static MARKS: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note_signal(_: i32) {
    // SAFETY: `write` may be called by a signal handler, and the text has this length.
    unsafe { libc::write(MARKS.load(Ordering::Relaxed), c"x".as_ptr().cast(), 1) };
}

/// Notes each SIGTERM, and goes on.
fn spin_and_mark(path: String, port: u16) {
    let file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    MARKS.store(std::os::fd::IntoRawFd::into_raw_fd(file), Ordering::Relaxed);
    // SAFETY: the handler does only what handlers may.
    unsafe { libc::signal(libc::SIGTERM, note_signal as *const () as libc::sighandler_t) };
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut stream, &std::process::id().to_be_bytes()).unwrap();
    loop {
        std::hint::spin_loop();
    }
}

procpool::register!(spin_and_mark);

#[tokio::test]
async fn a_task_that_is_aborted_gets_one_signal() {
    let builder = builder().max_workers(1).grace_period(Duration::from_millis(20));
    let (pool, gate) = (builder.build().unwrap(), Gate::new().await);
    for _ in 0..20 {
        let journal = Journal::new();
        let handle = pool.submit(spin_and_mark, (journal.path(), gate.port())).await.unwrap();
        gate.arrival().await;
        handle.abort();
        assert!(in_time(handle).await.unwrap_err().is_cancelled());
        let marks = journal.lines().concat();
        assert!(marks.len() <= 1, "{marks}"); // none if it did not get the CPU in time
    }
}

fn exit(code: i32) {
    std::process::exit(code);
}

fn abort_with_words() {
    println!("on its way out");
    std::process::abort();
}

procpool::register!(exit, abort_with_words);

#[tokio::test]
async fn how_a_worker_has_died_is_told() {
    let pool = pool_of(1);
    for code in [0, 3, 255] {
        let error = in_time(pool.run(exit, code)).await.unwrap_err();
        let death = error.worker_death().unwrap();
        assert_eq!((death.exit_code(), death.signal()), (Some(code), None), "{error}");
    }
    let error = in_time(pool.run(abort_with_words, ())).await.unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!((death.exit_code(), death.signal()), (None, Some(6)), "{error}");
    assert!(death.stderr_tail().contains("on its way out"), "{error}");
    assert!(error.to_string().contains("its last output was: on its way out"), "{error}");
    assert_eq!(in_time(pool.run(square, 3)).await.unwrap(), 9);
}

#[tokio::test]
async fn a_worker_that_is_killed_costs_one_task() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let handles = [
        pool.submit(hold, gate.port()).await.unwrap(),
        pool.submit(hold, gate.port()).await.unwrap(),
    ];
    let held = [gate.arrival().await, gate.arrival().await];
    let waiting = pool.submit(square, 5).await.unwrap();
    kill(held[0].pid);
    assert_eq!(in_time(waiting).await.unwrap(), 25);
    let victim = held[0].pid;
    drop(held);
    let results = join_all(handles.map(in_time)).await;
    let (ok, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((ok.len(), failed.len()), (1, 1));
    let error = failed.into_iter().next().unwrap().unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!((death.pid(), death.signal()), (victim, Some(9)), "{error}");
}

#[tokio::test]
async fn the_children_of_a_task_go_with_it() {
    let builder = builder().max_workers(1);
    let (pool, gate, journal) = (builder.build().unwrap(), Gate::new().await, Journal::new());
    for by_signal in [true, false] {
        let arguments = (journal.path(), gate.port());
        let handle = pool.submit(hold_with_children, arguments).await.unwrap();
        let held = gate.arrival().await;
        if by_signal {
            kill(held.pid); // from outside, so its children are to be looked for
        } else {
            handle.abort();
        }
        in_time(handle).await.unwrap_err();
        let children = journal.numbers();
        assert!(!children.is_empty());
        wait_until("its children are gone", || children.iter().all(|pid| process_exited(*pid)))
            .await;
    }
    assert_eq!(journal.numbers().len(), 4);
}

// ----- what may be done after the fork -----

fn start_threads(count: u64) -> u64 {
    let threads: Vec<_> = (0..count).map(|n| std::thread::spawn(move || square(n))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

/// Leaves a thread that serves whoever asks.
fn start_service() -> std::sync::mpsc::Sender<(u64, std::sync::mpsc::Sender<u64>)> {
    let (sender, receiver) = std::sync::mpsc::channel::<(u64, std::sync::mpsc::Sender<u64>)>();
    std::thread::spawn(move || receiver.iter().for_each(|(n, reply)| reply.send(n + 1).unwrap()));
    sender
}

fn ask_service(n: u64) -> u64 {
    let service = procpool::state::<std::sync::mpsc::Sender<_>>().unwrap();
    let (reply, answer) = std::sync::mpsc::channel();
    service.send((n, reply)).unwrap();
    answer.recv().unwrap()
}

/// Over a connection to itself.
async fn send_and_receive(text: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = text.clone();
    let client = tokio::spawn(async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).await.unwrap();
    client.await.unwrap();
    received
}

fn run_multi_threaded(text: String) -> String {
    tokio::runtime::Runtime::new().unwrap().block_on(send_and_receive(text))
}

/// A pool in a worker of a pool.
fn square_in_a_pool(n: u64) -> u64 {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let pool = pool_of(1);
        let result = pool.run(square, n).await.unwrap();
        pool.shutdown().await;
        result
    })
}

procpool::register!(start_threads, start_service, ask_service, square_in_a_pool);
procpool::register!(send_and_receive, run_multi_threaded);

#[tokio::test]
async fn initializers_and_tasks_may_start_threads() {
    let pool = builder().max_workers(1).initializer(start_service, ()).build().unwrap();
    for _ in 0..2 {
        assert_eq!(in_time(pool.run(ask_service, 6)).await.unwrap(), 7);
        assert_eq!(in_time(pool.run(start_threads, 4)).await.unwrap(), 14);
    }
}

#[tokio::test]
async fn tasks_may_use_runtimes_and_the_network() {
    let pool = builder().max_workers(2).max_tasks_per_child(2).build().unwrap();
    for _ in 0..3 {
        for text in ["one", "other"] {
            let text = text.to_owned();
            let result = in_time(pool.run(send_and_receive, text.clone())).await.unwrap();
            assert_eq!(result, text);
            let result = in_time(pool.run(run_multi_threaded, text.clone())).await.unwrap();
            assert_eq!(result, text);
        }
    }
}

#[tokio::test]
async fn a_forked_worker_may_have_a_pool_itself() {
    let pool = pool_of(1);
    for n in [3, 4] {
        assert_eq!(in_time(pool.run(square_in_a_pool, n)).await.unwrap(), n * n);
    }
}

/// All but the standard ones.
fn close_all_descriptors() -> u32 {
    for fd in 3..1100 {
        // SAFETY: this breaks whoever owns the descriptor, which is what the test is about; it is
        // no memory error.
        unsafe { libc::close(fd) };
    }
    std::process::id()
}

procpool::register!(close_all_descriptors);

#[tokio::test]
async fn a_task_that_closes_all_descriptors_costs_its_worker_only() {
    let pool = pool_of(1);
    for _ in 0..3 {
        let server = in_time(pool.run(parent_id, ())).await.unwrap();
        let error = in_time(pool.run(close_all_descriptors, ())).await.unwrap_err();
        assert!(error.is_worker_death(), "{error}");
        assert!(process_gone(error.worker_death().unwrap().pid()));
        assert_eq!(in_time(pool.run(parent_id, ())).await.unwrap(), server);
    }
    in_time(pool.shutdown()).await;
}

// ----- sizes, hooks and ends -----

#[tokio::test]
async fn forked_workers_are_recycled_resized_and_kept() {
    let pool = builder().max_workers(3).min_workers(2).build().unwrap();
    wait_until("two are there", || pool.workers().len() == 2).await;
    in_time(pool.ready()).await.unwrap();
    let before: BTreeSet<_> = pool.workers().iter().map(|worker| worker.pid).collect();
    in_time(pool.recycle()).await;
    assert!(before.iter().all(|pid| process_gone(*pid)));
    wait_until("two others are there", || pool.workers().len() == 2).await;
    let gate = Gate::new().await;
    let held = fill(&pool, &gate, 3).await;
    pool.resize(1).unwrap();
    drop(held);
    wait_until("one is left", || pool.workers().len() == 1).await;
    let server = in_time(pool.run(parent_id, ())).await.unwrap();
    pool.resize(4).unwrap();
    let held = fill(&pool, &gate, 4).await;
    assert!(held.iter().all(|held| parent(held.pid) == server));
    drop(held);
    in_time(pool.shutdown()).await;
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[tokio::test]
async fn exit_hooks_run_in_forked_workers() {
    let (gate, builder) = (Gate::new().await, builder().grace_period(crate::common::LIMIT));
    let builder = builder.max_workers(2).max_tasks_per_child(2).exit_hook(parent_id, ());
    let pool = builder.build().unwrap();
    let held = fill(&pool, &gate, 2).await;
    let (server, workers) =
        (parent(held[0].pid), held.iter().map(|held| held.pid).collect::<BTreeSet<_>>());
    drop(held);
    let report = in_time(pool.shutdown()).await;
    let exits = report.exit_results::<u32>().unwrap();
    assert_eq!(exits.iter().map(|exit| exit.pid).collect::<BTreeSet<_>>(), workers);
    assert!(exits.iter().all(|exit| *exit.result.as_ref().unwrap() == server));
}

/// The processes of a pool with two busy workers and an idle one: those, and the server.
async fn busy_pool(gate: &Gate) -> (ProcessPoolExecutor, Vec<Held>, Vec<u32>) {
    let pool = pool_of(3);
    let mut held = fill(&pool, gate, 3).await;
    let mut pids: Vec<_> = held.iter().map(|held| held.pid).collect();
    pids.push(parent(pids[0]));
    drop(held.pop());
    (pool, held, pids)
}

async fn assert_gone(pids: &[u32]) {
    wait_until("all are gone", || pids.iter().all(|pid| process_gone(*pid))).await;
}

#[tokio::test]
async fn a_shutdown_leaves_neither_server_nor_workers() {
    let gate = Gate::new().await;
    let (pool, held, pids) = busy_pool(&gate).await;
    drop(held);
    in_time(pool.shutdown()).await;
    assert!(pids.iter().all(|pid| process_gone(*pid)), "not even for a moment");
    let (pool, _held, pids) = busy_pool(&gate).await;
    in_time(pool.kill_workers()).await;
    assert!(pids.iter().all(|pid| process_gone(*pid)), "not even for a moment");
}

#[tokio::test]
async fn a_pool_that_is_dropped_leaves_neither_server_nor_workers() {
    let gate = Gate::new().await;
    let (pool, held, pids) = busy_pool(&gate).await;
    drop(pool);
    drop(held);
    assert_gone(&pids).await;
}

#[test]
fn a_runtime_that_is_dropped_leaves_neither_server_nor_workers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (pool, held, pids) = runtime.block_on(async {
        let gate = Gate::new().await;
        busy_pool(&gate).await
    });
    drop(runtime);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(assert_gone(&pids));
    drop((pool, held));
}

// ----- programs that do not fit -----

#[tokio::test]
async fn a_program_that_forgets_init_is_told_so() {
    let command = fixture("forgotten_init");
    let pool = builder().max_workers(1).worker_command(command).build().unwrap();
    let error = in_time(pool.run(square, 3)).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    let text = error.to_string();
    assert!(text.contains("the program of `worker_command` went on to its own code"), "{text}");
}

#[tokio::test]
async fn a_program_that_has_threads_before_init_cannot_be_forked() {
    let mut command = tokio::process::Command::new(fixture("init_in_async_main"));
    let output = in_time(command.arg("fork").kill_on_drop(true).output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("cannot fork workers: it had "), "{text}");
    assert!(text.contains("threads when it came to `procpool::init()`"), "{text}");
    assert!(text.contains("tokio-rt-worker") || text.contains("tokio-runtime-w"), "{text}");
}

#[tokio::test]
async fn a_program_that_is_no_worker_at_all_is_reported() {
    let pool = builder().max_workers(1).worker_command("false").build().unwrap();
    let error = in_time(pool.run(square, 3)).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    let text = error.to_string();
    assert!(text.contains("the fork server (pid "), "{text}");
    assert!(text.contains("exited unexpectedly with code 1"), "{text}");
    assert!(text.contains("does it call `procpool::worker_main()`?"), "{text}");
    let pool = builder().worker_command("/nowhere/at/all").build().unwrap();
    let text = in_time(pool.run(square, 3)).await.unwrap_err().to_string();
    assert!(text.contains("failed to start the worker program `/nowhere/at/all`"), "{text}");
}
