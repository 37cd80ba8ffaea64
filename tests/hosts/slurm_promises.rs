//! What a pool promises holds on nodes of Slurm, which `srun` reaches.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{Host, ProcessPoolExecutor, TaskErrorKind};

use crate::common::{children, in_time, kill, processes_with_env, wait_until};
use crate::far::{LEASE, ROLE, Trace, let_go, nothing_runs, stay};
use crate::promises::{die_of, double};
use crate::service::Service;
use crate::slurm::Slurm;
use crate::tools::Scratch;

/// One step on one node, which ends with `srun`, and hands on what is written as it comes.
const STEP: [&str; 11] = [
    "srun",
    "--quiet",
    "--immediate=10",
    "--nodes=1",
    "--ntasks=1",
    "--cpus-per-task=1",
    "--exact",
    "--unbuffered",
    "--mpi=none",
    "--kill-on-bad-exit=1",
    "--quit-on-interrupt",
];

/// The words that start this program on a node, which has the same directories.
fn words(slurm: &Slurm, node: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let config = format!("SLURM_CONF={}", slurm.config().display());
    let before = ["env".to_owned(), config].into_iter().chain(STEP.map(str::to_owned));
    let step = before.chain([format!("--nodelist={node}"), program]);
    step.chain(ROLE.map(str::to_owned)).collect()
}

fn host(slurm: &Slurm, node: &str, workers: usize) -> Host {
    Host::command(words(slurm, node)).workers(workers).name(node)
}

#[tokio::test]
async fn tasks_run_on_nodes_of_slurm_and_die_there_as_they_do_here() {
    let Some(slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let hosts = [host(&slurm, "n1", 2), host(&slurm, "n2", 2)];
    let pool = ProcessPoolExecutor::builder().hosts(hosts).min_workers(4).build().unwrap();
    let doubled: Vec<_> = in_time(pool.map(double, 0..1_000).collect()).await;
    assert!(doubled.into_iter().map(Result::unwrap).eq((0..1_000).map(|n| n * 2)));
    in_time(pool.ready()).await.unwrap();
    for signal in [9, 6] {
        let words = format!("last words before {signal}");
        let error = in_time(pool.run(die_of, (signal, words.clone()))).await.unwrap_err();
        let death = error.worker_death().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(death.signal(), Some(signal), "{error}");
        assert!(death.host().is_some_and(|host| ["n1", "n2"].contains(&host)), "{error}");
        assert!(death.stderr_tail().contains(&words), "{death:?}");
    }
    in_time(pool.shutdown()).await;
    for node in ["n1", "n2"] {
        nothing_runs(slurm.node(node)).await;
    }
    slurm.wait_until_empty();
}

#[tokio::test]
async fn a_node_without_power_is_noticed_and_its_work_goes_on_elsewhere() {
    let Some(mut slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let scratch = Scratch::new();
    let place = scratch.path().to_owned();
    let hosts = [host(&slurm, "n1", 2).lease(LEASE), host(&slurm, "n2", 1).lease(LEASE)];
    let pool = ProcessPoolExecutor::builder().hosts(hosts).build().unwrap();
    let stay = |name: &str| pool.task(stay, (place.clone(), name.to_owned()));
    let plain = stay("plain").submit().await.unwrap();
    let there = Trace::of(&place, "plain", 1).await;
    let beside = stay("beside").submit().await.unwrap();
    Trace::of(&place, "beside", 1).await;
    let patient = stay("patient").retries(1).submit().await.unwrap();
    let first = Trace::of(&place, "patient", 1).await;
    slurm.node_mut("n1").kill();
    let since = Instant::now();
    let error = in_time(plain).await.unwrap_err();
    assert!(since.elapsed() < 2 * LEASE, "it took {:?}", since.elapsed());
    assert_eq!(error.kind(), TaskErrorKind::HostLost, "{error}");
    let loss = error.host_loss().unwrap();
    assert_eq!((loss.host(), loss.pid()), ("n1", there.pid), "{loss}");
    assert!(loss.reason().contains("nothing was heard of it for 2s"), "{loss}");
    let_go(&place);
    in_time(beside).await.unwrap();
    in_time(patient).await.unwrap();
    let second = Trace::find(&place, "patient", 2).unwrap();
    assert!(!first.has_ended && first.last < second.first, "{first:?} {second:?}");
    assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
    in_time(pool.shutdown()).await;
    nothing_runs(slurm.node("n2")).await;
}

/// The processes of `srun` on this machine.
fn clients(slurm: &Slurm) -> Vec<u32> {
    let config = slurm.config().to_str().unwrap().to_owned();
    let mut all = processes_with_env("SLURM_CONF", &config);
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    all.retain(|pid| name(pid).is_ok_and(|name| name == "srun\n"));
    all
}

#[tokio::test]
async fn a_step_whose_client_is_killed_ends() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let place = scratch.path().to_owned();
    let hosts = [host(&slurm, "n1", 1).lease(30 * LEASE), Host::local().workers(1)];
    let pool = ProcessPoolExecutor::builder().hosts(hosts).build().unwrap();
    let task = pool.submit(stay, (place.clone(), "first".to_owned())).await.unwrap();
    Trace::of(&place, "first", 1).await;
    let own = children(); // and not the helper that the client has
    let client = clients(&slurm).into_iter().find(|client| own.contains(client));
    kill(client.unwrap());
    let since = Instant::now();
    let error = in_time(task).await.unwrap_err();
    assert!(error.is_host_lost() && error.to_string().contains("signal 9"), "{error}");
    let took = nothing_runs(slurm.node("n1")).await - since;
    assert!(took < 2 * LEASE, "it took {took:?}, as if nobody had told the node");
    assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
    in_time(pool.shutdown()).await;
}

/// A service with a busy worker on a node.
async fn serve(slurm: &Slurm, place: &Path, lease: Duration) -> Service {
    let service = Service::start(&words(slurm, "n1").join("\n"), place, lease);
    Trace::of(place, "busy", 1).await;
    let is_ours = |command: &str| command.contains("--procpool-");
    wait_until("there are an agent and two workers", || {
        let all = slurm.node("n1").processes();
        all.iter().filter(|process| is_ours(&process.command)).count() == 3
    })
    .await;
    service
}

#[tokio::test]
async fn nothing_is_left_on_a_node_of_a_service_that_is_killed() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let place = scratch.path().to_owned();
    let mut service = serve(&slurm, &place, 30 * LEASE).await;
    let killed = service.kill();
    let took = nothing_runs(slurm.node("n1")).await - killed;
    assert!(took < 2 * LEASE, "it took {took:?}, as if nobody had told the node");
    slurm.wait_until_empty();
}

#[tokio::test]
async fn nothing_is_left_on_a_node_of_a_service_that_is_killed_while_its_network_is_lost() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let place = scratch.path().to_owned();
    let mut service = serve(&slurm, &place, LEASE).await;
    slurm.node("n1").drop_packets();
    let killed = service.kill();
    let took = nothing_runs(slurm.node("n1")).await - killed;
    assert!(took < 2 * LEASE, "it took {took:?}");
    // It waits until the controller says that the node is down.
    for client in clients(&slurm) {
        kill(client);
    }
}
