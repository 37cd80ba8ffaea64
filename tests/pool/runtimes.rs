//! Every kind of runtime, and several at once.

use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{CloseReason, ProcessPoolExecutor, Shutdown};
use tokio::runtime::Builder;

use crate::common::{Gate, fixture, hold, in_time, pid, process_gone, wait_until};
use crate::journal::{Journal, note};

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn double(number: u32) -> u32 {
    2 * number
}

async fn double_later(number: u32) -> u32 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    2 * number
}

procpool::register!(spin, double, double_later);

fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().unwrap()
}

// Under a paused clock there is no `in_time`: that clock jumps ahead whenever the runtime waits.

#[tokio::test(start_paused = true)]
async fn under_a_paused_clock_tasks_run_and_no_time_limit_fires_early() {
    let pool = pool_of(2); // its workers have 30 seconds to start, and the clock does not count
    pool.ready().await.unwrap();
    for number in 0..50 {
        let task = pool.task(double, number).timeout(Duration::from_mins(1));
        assert_eq!(task.run().await.unwrap(), 2 * number);
    }
    let doubled: Vec<u32> = pool.map(double, 0..100).map(Result::unwrap).collect().await;
    assert_eq!(doubled, (0..100).map(double).collect::<Vec<_>>());
    assert_eq!(pool.run(double_later, 3).await.unwrap(), 6);
    let report = pool.shutdown_with(Shutdown::new().within(Duration::from_mins(1))).await;
    assert_eq!((report.finished, report.killed), (151, 0));
}

#[tokio::test(start_paused = true)]
async fn under_a_paused_clock_time_limits_still_fire() {
    const LIMIT: Duration = Duration::from_millis(50);
    let pool = pool_of(1);
    let began = Instant::now();
    let error = pool.task(spin, ()).timeout(LIMIT).run().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(began.elapsed() >= LIMIT);
    let endless = pool.submit(spin, ()).await.unwrap();
    let report = pool.shutdown_with(Shutdown::new().within(LIMIT)).await;
    assert_eq!(report.cancelled, 1);
    assert!(endless.await.unwrap_err().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn under_a_paused_clock_a_task_can_be_aborted() {
    let (pool, gate) = (pool_of(1), Gate::new().await);
    let handle = pool.submit(hold, gate.port()).await.unwrap();
    while handle.status() != procpool::TaskStatus::Running {
        tokio::task::yield_now().await;
    }
    let [worker] = &*pool.workers() else { panic!("one worker is there") };
    handle.abort();
    assert!(handle.await.unwrap_err().is_cancelled());
    assert!(process_gone(worker.pid));
    pool.run(pid, ()).await.unwrap();
}

#[tokio::test]
async fn blocked_workers_do_not_block_a_current_thread_runtime() {
    let (pool, gate) = (pool_of(2), Gate::new().await);
    let running = [
        pool.submit(hold, gate.port()).await.unwrap(),
        pool.submit(hold, gate.port()).await.unwrap(),
    ];
    let waiting = pool.submit(pid, ()).await.unwrap();
    let held = [gate.arrival().await, gate.arrival().await];
    let ticks = tokio::spawn(async {
        let mut ticker = tokio::time::interval(Duration::from_millis(1));
        for _ in 0..20 {
            ticker.tick().await;
        }
    });
    in_time(ticks).await.unwrap();
    assert!(!waiting.is_finished() && running.iter().all(|handle| !handle.is_finished()));
    drop(held);
    for handle in running {
        in_time(handle).await.unwrap();
    }
    in_time(waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_of_a_multi_threaded_runtime_share_a_pool() {
    let (pool, journal) = (pool_of(2), Journal::new());
    let mut users = Vec::new();
    for user in 0..20 {
        let (pool, path) = (pool.clone(), journal.path());
        users.push(tokio::spawn(async move {
            for number in 50 * user..50 * (user + 1) {
                let noted = in_time(pool.run(note, (path.clone(), number))).await.unwrap();
                assert_eq!(noted, number);
            }
        }));
    }
    for user in users {
        user.await.unwrap();
    }
    let counts = journal.counts();
    assert!(counts.into_iter().eq((0..1000).map(|number| (number, 1))));
}

#[test]
fn ten_threads_and_two_runtimes_share_a_pool() {
    // scenario 20
    let mut builder = Builder::new_multi_thread();
    let runtimes = [(); 2].map(|()| builder.worker_threads(1).enable_all().build().unwrap());
    let pool = runtimes[0].block_on(async { pool_of(2) });
    std::thread::scope(|threads| {
        for thread in 0..10 {
            let (runtime, pool) = (&runtimes[thread % 2], pool.clone());
            threads.spawn(move || {
                runtime.block_on(async {
                    let first = u32::try_from(thread).unwrap() * 1000;
                    for number in first..first + 50 {
                        assert_eq!(in_time(pool.run(double, number)).await.unwrap(), 2 * number);
                    }
                    let doubled = pool.map(double, first..first + 50).map(Result::unwrap);
                    let doubled: Vec<u32> = in_time(doubled.collect()).await;
                    assert_eq!(doubled, (first..first + 50).map(double).collect::<Vec<_>>());
                });
            });
        }
    });
    let report = runtimes[1].block_on(in_time(pool.shutdown()));
    assert_eq!(report.finished, 1000);
}

#[test]
fn a_handle_may_be_awaited_on_a_runtime_without_drivers() {
    let home = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = home.block_on(async { pool_of(1) });
    let bare = Builder::new_current_thread().build().unwrap();
    assert_eq!(bare.block_on(pool.run(double, 4)).unwrap(), 8);
    home.block_on(in_time(pool.shutdown()));
}

#[tokio::test]
async fn submitting_and_cancelling_work_outside_of_any_runtime() {
    let (pool, gate, journal) = (pool_of(1), Gate::new().await, Journal::new());
    let running = pool.submit(hold, gate.port()).await.unwrap();
    let held = gate.arrival().await;
    let (outside, path) = (pool.clone(), journal.path());
    let submitted = std::thread::spawn(move || {
        let cancelled = outside.try_submit(note, (path.clone(), 1)).unwrap();
        assert!(cancelled.cancel());
        outside.try_submit(note, (path, 2)).unwrap()
    });
    wait_until("the thread is done", || submitted.is_finished()).await;
    let submitted = submitted.join().unwrap();
    drop(held);
    in_time(running).await.unwrap();
    assert_eq!(in_time(submitted).await.unwrap(), 2);
    assert_eq!(journal.numbers(), [2]);
}

#[tokio::test]
async fn a_runtime_that_ends_while_a_worker_starts_leaves_no_process_behind() {
    let mut parent = tokio::process::Command::new(fixture("parent"));
    let mut parent = parent.arg("short-lived").kill_on_drop(true).spawn().unwrap();
    assert!(in_time(parent.wait()).await.unwrap().success());
}

#[test]
fn who_waits_for_room_is_told_when_the_runtime_of_the_pool_ends() {
    let home = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = ProcessPoolExecutor::builder().max_workers(1).queue_capacity(1);
    let (pool, gate) = home.block_on(async { (builder.build().unwrap(), Gate::new().await) });
    let running = pool.try_submit(hold, gate.port()).unwrap();
    let _held = home.block_on(in_time(gate.arrival()));
    let waiting = home.block_on(in_time(pool.submit(double, 4))).unwrap();
    assert!(pool.try_submit(double, 5).unwrap_err().is_queue_full());
    let other = Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let mut late = std::pin::pin!(pool.submit(double, 5));
        assert!(futures::poll!(&mut late).is_pending());
        home.shutdown_background();
        assert!(in_time(late).await.unwrap_err().is_runtime_gone());
        assert!(in_time(running).await.unwrap_err().is_runtime_gone());
        assert!(in_time(waiting).await.unwrap_err().is_runtime_gone());
    });
    assert!(pool.try_submit(double, 5).unwrap_err().is_runtime_gone());
}

/// What each `#[tokio::test]` does with a pool that is in a `static`: the first one builds it.
#[test]
fn a_pool_whose_runtime_has_ended_says_so_in_every_way() {
    const TEXT: &str = "the runtime that the pool was built on has ended: build it on one that lives \
        as long as the pool is used (each `#[tokio::test]` has one of its own)";

    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let (pool, held, handle, map) = first.block_on(async {
        let (pool, gate) = (pool_of(1), Gate::new().await);
        let handle = pool.submit(hold, gate.port()).await.unwrap();
        let held = (gate.arrival().await, gate);
        let mut map = Box::pin(pool.map(double, 0..100).chunksize(50));
        assert!(futures::poll!(map.next()).is_pending());
        wait_until("its chunks wait", || pool.stats().waiting == 2).await;
        (pool, held, handle, map)
    });
    drop(first);
    let second = Builder::new_current_thread().enable_all().build().unwrap();
    second.block_on(async {
        let mut errors = vec![
            pool.try_submit(double, 1).unwrap_err(),
            in_time(pool.submit(double, 1)).await.unwrap_err(),
            in_time(pool.ready()).await.unwrap_err(),
        ];
        errors.extend(in_time(pool.task(double, 1).submit()).await.err());
        for error in errors {
            assert!(error.is_runtime_gone() && !error.is_shut_down(), "{error}");
            assert!(error.to_string().ends_with(TEXT), "{error}");
        }
        let error = in_time(pool.run(double, 1)).await.unwrap_err();
        assert!(error.is_runtime_gone() && error.to_string().ends_with(TEXT), "{error}");
        let mut failed: Vec<_> = in_time(map.collect::<Vec<_>>()).await;
        failed.extend(in_time(pool.map(double, 0..100).collect::<Vec<_>>()).await);
        assert_eq!(failed.len(), 200);
        let mut failed: Vec<_> = failed.into_iter().map(Result::unwrap_err).collect();
        failed.push(in_time(handle).await.unwrap_err());
        for error in failed {
            assert!(error.is_runtime_gone() && !error.is_shut_down(), "{error}");
            assert!(error.to_string().ends_with(TEXT), "{error}");
        }
        let reason = in_time(pool.closed()).await;
        assert!(matches!(reason, CloseReason::RuntimeGone));
        assert_eq!(reason.to_string(), "the runtime that the pool was built on has ended");
        assert!(in_time(pool.events().next()).await.is_none());
        in_time(pool.recycle()).await;
        in_time(pool.shutdown()).await;
        let stats = pool.stats();
        assert_eq!((stats.running, stats.waiting, stats.workers), (0, 0, 0));
        assert_eq!((stats.failed, stats.outcomes.shut_down), (stats.submitted, stats.submitted));
        assert_eq!((stats.items.shut_down, stats.items.total()), (101, 101), "each input, too");
        assert!(stats.submitted > 0 && pool.workers().is_empty());
    });
    drop(held);
}

#[test]
fn workers_start_though_all_threads_for_what_blocks_are_taken() {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    let (release, released) = std::sync::mpsc::channel::<()>();
    runtime.unwrap().block_on(async {
        tokio::task::spawn_blocking(move || released.recv());
        let pool = pool_of(1);
        assert_eq!(in_time(pool.run(double, 4)).await.unwrap(), 8);
        in_time(pool.shutdown()).await;
        drop(release);
    });
}

/// Lets this thread, and the processes that it starts, use one CPU only.
#[expect(unsafe_code, reason = "calls C")]
fn stay_on_one_cpu() {
    // SAFETY: the set is plain data, and is read and written within its size only.
    unsafe {
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&cpus), &raw mut cpus), 0);
        let first = (0..1024).find(|cpu| libc::CPU_ISSET(*cpu, &cpus)).unwrap();
        libc::CPU_ZERO(&mut cpus);
        libc::CPU_SET(first, &mut cpus);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus), 0);
    }
}

#[test]
fn there_are_no_more_workers_than_cpus_that_may_be_used() {
    let runs = || async {
        let (pool, gate) = (ProcessPoolExecutor::new().unwrap(), Gate::new().await);
        let mut handles = Vec::new();
        for _ in 0..3 {
            handles.push(pool.submit(hold, gate.port()).await.unwrap());
        }
        let held = gate.arrival().await;
        wait_until("the others wait", || pool.stats().waiting == 2).await;
        assert_eq!(pool.stats().worker_starts, 1);
        drop((held, handles, pool));
    };
    let limited = std::thread::spawn(move || {
        stay_on_one_cpu();
        let mut runtime = Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(runs());
    });
    limited.join().unwrap();
}
