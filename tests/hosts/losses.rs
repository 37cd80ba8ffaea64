//! Hosts that are lost in every way that there is, and what becomes of what ran there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procpool::{Builder, ProcessPoolExecutor, StartMethod, TaskErrorKind, TaskHandle};

use crate::common::{in_time, pid, wait_until};
use crate::far::{Far, LEASE, Trace, let_go, nothing_runs, stay};

/// A pool with two hosts, and what runs there.
struct Laid {
    pool: ProcessPoolExecutor,
    /// Runs on the first host.
    plain: TaskHandle<u32>,
    /// So does this one, which has a retry.
    patient: TaskHandle<u32>,
    /// Runs on the second host.
    beside: TaskHandle<u32>,
    /// Waits until there is room.
    waiting: TaskHandle<u32>,
    seen: [PathBuf; 2],
}

impl Laid {
    async fn out(method: StartMethod, hosts: [&Far; 2]) -> Self {
        let leased = [hosts[0].leased(2), hosts[1].leased(1)];
        let builder: Builder = ProcessPoolExecutor::builder().hosts(leased);
        let pool = builder.start_method(method).build().unwrap();
        let seen = hosts.map(Far::seen);
        let stay = |name: &str| pool.task(stay, (Far::place(), name.to_owned()));
        // To the host that has the most room: so one knows where each of them is.
        let plain = stay("plain").submit().await.unwrap();
        Trace::of(&seen[0], "plain", 1).await;
        let beside = stay("beside").submit().await.unwrap();
        Trace::of(&seen[1], "beside", 1).await;
        let patient = stay("patient").retries(1).submit().await.unwrap();
        Trace::of(&seen[0], "patient", 1).await;
        let waiting = pool.submit(pid, ()).await.unwrap();
        Self { pool, plain, patient, beside, waiting, seen }
    }

    /// The first host was lost at that time. What ran there fails, or begins elsewhere, as what
    /// has waited does.
    async fn goes_on(self, since: Instant, reason: &str) -> ProcessPoolExecutor {
        let Self { pool, plain, patient, beside, waiting, seen } = self;
        let first = Trace::find(&seen[0], "plain", 1).unwrap();
        let error = in_time(plain).await.unwrap_err();
        assert!(since.elapsed() < 2 * LEASE, "it took {:?}", since.elapsed());
        assert_eq!((error.kind(), error.attempts()), (TaskErrorKind::HostLost, 1), "{error}");
        let loss = error.host_loss().unwrap();
        assert_eq!((loss.host(), loss.pid()), ("node1", first.pid));
        assert!(loss.reason().contains(reason), "{loss}");
        let_go(&seen[1]);
        in_time(beside).await.unwrap();
        in_time(waiting).await.unwrap();
        in_time(patient).await.unwrap();
        let [before, after] = [0, 1]
            .map(|n| Trace::find(&seen[n], "patient", u32::try_from(n).unwrap() + 1).unwrap());
        assert!(!before.has_ended && before.last < after.first, "{before:?} {after:?}");
        assert_eq!((before.begins, after.begins), (1, 1), "{before:?} {after:?}");
        // The lease is from the last sign of life, which may have come before the first attempt.
        let between = Duration::from_nanos(after.first - before.first);
        assert!(between >= LEASE / 2, "it began {between:?} after the first attempt");
        pool
    }
}

const SILENT: &str = "nothing was heard of it for 2s";

#[tokio::test]
async fn a_host_without_power_is_noticed() {
    let Some([mut first, second]) = Far::start_all(["node1", "node2"]) else {
        return;
    };
    let laid = Laid::out(StartMethod::Spawn, [&first, &second]).await;
    first.kill();
    let pool = laid.goes_on(Instant::now(), SILENT).await;
    in_time(pool.shutdown()).await;
    nothing_runs(&second).await;
    assert!(first.clients().is_empty(), "they are of both hosts");
}

#[tokio::test]
async fn a_host_that_goes_down_is_noticed_at_once() {
    let Some([mut first, second]) = Far::start_all(["node1", "node2"]) else {
        return;
    };
    let laid = Laid::out(StartMethod::Spawn, [&first, &second]).await;
    first.end_processes();
    let pool = laid.goes_on(Instant::now(), "`ssh` has ended with code 255").await;
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_host_behind_a_lost_network_is_noticed_and_ends_what_runs_there() {
    let Some([first, second]) = Far::start_all(["node1", "node2"]) else {
        return;
    };
    let laid = Laid::out(StartMethod::ForkServer, [&first, &second]).await;
    first.drop_packets();
    let lost = Instant::now();
    let gone = async {
        let took = nothing_runs(&first).await - lost;
        assert!(took < 2 * LEASE, "it took {took:?}, and nobody has told it");
    };
    let (pool, ()) = tokio::join!(laid.goes_on(lost, SILENT), gone);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_frozen_host_is_noticed_and_ends_what_runs_there_when_it_wakes() {
    let Some([first, second]) = Far::start_all(["node1", "node2"]) else {
        return;
    };
    let laid = Laid::out(StartMethod::Spawn, [&first, &second]).await;
    first.freeze();
    let pool = laid.goes_on(Instant::now(), SILENT).await;
    first.thaw();
    nothing_runs(&first).await;
    in_time(pool.shutdown()).await;
}

#[tokio::test]
async fn a_host_whose_network_comes_back_is_used_again() {
    let Some([far]) = Far::start_all(["node1"]) else {
        return;
    };
    let (seen, pool) = (far.seen(), ProcessPoolExecutor::builder().hosts([far.leased(1)]));
    let pool = pool.build().unwrap();
    let stay = |name: &str| pool.task(stay, (Far::place(), name.to_owned())).submit();
    let task = stay("first").await.unwrap();
    Trace::of(&seen, "first", 1).await;
    far.drop_packets();
    assert!(in_time(task).await.unwrap_err().is_host_lost());
    let task = stay("second").await.unwrap();
    far.pass_packets();
    Trace::of(&seen, "second", 1).await;
    wait_until("the first is gone", || {
        let ours = far.processes();
        ours.iter().filter(|process| process.command.contains("--procpool-agent")).count() == 1
    })
    .await;
    assert!(!Trace::find(&seen, "first", 1).unwrap().has_ended);
    let_go(&seen);
    in_time(task).await.unwrap();
    in_time(pool.shutdown()).await;
    nothing_runs(&far).await;
}
