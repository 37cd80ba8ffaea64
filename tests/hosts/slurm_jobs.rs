//! Pools that have nodes of Slurm: those of an allocation that is there, and of one that they make.
//!
//! Each service is a process of its own, which runs one of the ignored tests, as the programs of
//! Slurm look at its environment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{BuildErrorKind, Events, Host, PoolEvent, ProcessPoolExecutor, TaskErrorKind};

use crate::common::{in_time, processes_with_env, wait_until};
use crate::far::{LEASE, ROLE, Trace, let_go, nothing_runs, stay};
use crate::promises::double;
use crate::slurm::Slurm;
use crate::tools::{Scratch, run};

/// Where tasks of a service leave files.
const PLACE: &str = "PROCPOOL_TEST_SLURM_PLACE";

/// The name of the node, when as many run as there are to be.
fn meet(place: PathBuf, all: usize) -> String {
    fs::write(place.join(format!("there-{}", procpool::current().id())), "").unwrap();
    let is_there = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("there-");
    let count = || {
        let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| is_there(name)).count()
    };
    while count() < all {
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

procpool::register!(meet);

// ----- services -----

fn place() -> PathBuf {
    std::env::var_os(PLACE).unwrap().into()
}

/// So many nodes, which have this program already.
fn nodes(count: usize) -> Host {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let words = [program].into_iter().chain(ROLE.map(str::to_owned));
    Host::slurm().workers(2).nodes(count).program(words)
}

/// Waits until something is told of hosts, and says what.
async fn told(events: &mut Events, what: &str, is_it: impl Fn(&PoolEvent) -> Option<&str>) {
    let mut seen = Vec::new();
    let found = in_time(async {
        while let Some(event) = events.next().await {
            if is_it(&event).is_some_and(|text| text.contains(what)) {
                return true;
            }
            seen.push(event);
        }
        false
    });
    assert!(found.await, "{what:?} is not told: {seen:?}");
}

async fn awaited(events: &mut Events, what: &str) {
    told(events, what, |event| match event {
        PoolEvent::HostsAwaited { message, .. } => Some(message),
        _ => None,
    })
    .await;
}

async fn granted(events: &mut Events, what: &str) {
    told(events, what, |event| match event {
        PoolEvent::HostsGranted { message, .. } => Some(message),
        _ => None,
    })
    .await;
}

async fn gone(events: &mut Events, what: &str) {
    told(events, what, |event| match event {
        PoolEvent::HostsGone { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
}

/// Two workers are on each of two nodes, which have these names, and do something.
async fn two_nodes_work(pool: &ProcessPoolExecutor, names: [&str; 2]) {
    in_time(pool.ready()).await.unwrap();
    let doubled: Vec<_> = in_time(pool.map(double, 0..1_000).collect()).await;
    assert!(doubled.into_iter().map(Result::unwrap).eq((0..1_000).map(|n| n * 2)));
    let mut hosts: Vec<_> = pool.workers().into_iter().filter_map(|worker| worker.host).collect();
    hosts.sort();
    let hosts: Vec<_> = hosts.iter().map(|host| &**host).collect();
    assert_eq!(hosts, [names[0], names[0], names[1], names[1]], "{:?}", pool.workers());
    let meeting = place().join(names[0]);
    fs::create_dir(&meeting).unwrap();
    let met = (0..4).map(|_| pool.run(meet, (meeting.clone(), 4)));
    let mut met = in_time(futures::future::try_join_all(met)).await.unwrap();
    met.sort();
    assert_eq!(met, ["n1", "n1", "n2", "n2"]);
}

#[tokio::test]
#[ignore = "it is run in an allocation of two nodes"]
async fn a_service_in_an_allocation() {
    let host = Host::slurm().workers(2).cache(place().join("cache"));
    let pool = ProcessPoolExecutor::builder().hosts([host]).min_workers(4).build().unwrap();
    two_nodes_work(&pool, ["n1", "n2"]).await;
    in_time(pool.shutdown()).await;
    let error = ProcessPoolExecutor::builder().hosts([nodes(3)]).build().unwrap_err();
    assert_eq!((error.kind(), error.setting()), (BuildErrorKind::InvalidSetting, Some("hosts")));
    assert!(error.to_string().contains("wants 3 nodes, and this allocation has 2"), "{error}");
}

#[tokio::test]
#[ignore = "it is run where Slurm is"]
async fn a_service_that_asks_for_nodes() {
    let builder = ProcessPoolExecutor::builder().hosts([nodes(2).name("big")]).min_workers(4);
    let pool = builder.build().unwrap();
    let mut events = pool.events();
    granted(&mut events, "n[1-2]").await;
    two_nodes_work(&pool, ["big[0]", "big[1]"]).await;
    in_time(pool.shutdown()).await;
    let left = states(&mut Command::new("squeue"));
    assert!(left.is_empty(), "nobody has waited for the release: {left:?}");
}

#[tokio::test]
#[ignore = "it is run where Slurm is"]
async fn a_service_whose_runtime_ends() {
    let of_its_own = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let pool = ProcessPoolExecutor::builder().hosts([nodes(1)]).build().unwrap();
            assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
            assert_eq!(states(&mut Command::new("squeue")), ["RUNNING"]);
            std::mem::forget(pool); // so that nobody shuts it down
        });
    };
    tokio::task::spawn_blocking(of_its_own).await.unwrap();
    let is_released = || states(&mut Command::new("squeue")).is_empty();
    wait_until("the allocation is released", is_released).await;
}

#[tokio::test]
#[ignore = "it is run where all nodes are taken"]
async fn a_service_that_works_while_it_waits() {
    let place = place();
    let pool =
        ProcessPoolExecutor::builder().hosts([Host::local().workers(1), nodes(1)]).build().unwrap();
    let mut events = pool.events();
    let stay = |name: &str| pool.submit(stay, (place.clone(), name.to_owned()));
    let (first, second) = (stay("first").await.unwrap(), stay("second").await.unwrap());
    Trace::of(&place, "first", 1).await;
    awaited(&mut events, "Resources").await;
    assert!(Trace::find(&place, "second", 1).is_none(), "there is a node for it");
    let_go(&place);
    in_time(first).await.unwrap();
    in_time(second).await.unwrap();
    fs::remove_file(place.join("go")).unwrap();
    File::create(place.join("worked")).unwrap();
    granted(&mut events, "").await;
    let both = [stay("third").await.unwrap(), stay("fourth").await.unwrap()];
    Trace::of(&place, "third", 1).await;
    Trace::of(&place, "fourth", 1).await;
    assert!(pool.workers().iter().any(|worker| worker.host.as_deref() == Some("slurm[0]")));
    let_go(&place);
    for task in both {
        in_time(task).await.unwrap();
    }
    in_time(pool.shutdown()).await;
}

#[tokio::test]
#[ignore = "its allocation is cancelled"]
async fn a_service_that_loses_its_allocation() {
    let whole = nodes(1).workers(None);
    let pool = ProcessPoolExecutor::builder().hosts([whole]).build().unwrap();
    let mut events = pool.events();
    let error = in_time(pool.run(stay, (place(), "lost".to_owned()))).await.unwrap_err();
    assert_eq!(error.kind(), TaskErrorKind::HostLost, "{error}");
    gone(&mut events, "has been revoked").await;
    assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
    granted(&mut events, "").await; // another one
    in_time(pool.shutdown()).await;
    let none = nodes(1).slurm_options(["--partition=none"]);
    let pool =
        ProcessPoolExecutor::builder().hosts([Host::local().workers(1), none]).min_workers(2);
    let pool = pool.build().unwrap();
    gone(&mut pool.events(), "invalid partition").await;
    assert_eq!(in_time(pool.run(double, 21)).await.unwrap(), 42);
    in_time(pool.shutdown()).await;
}

#[tokio::test]
#[ignore = "it waits until it is killed"]
async fn a_service_that_is_killed() {
    let pool = ProcessPoolExecutor::builder().hosts([nodes(1)]).build().unwrap();
    pool.run(stay, (place(), "busy".to_owned())).await.unwrap();
}

// ----- who runs them -----

/// A program that runs; killed if it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// A service, behind these words.
    fn service(slurm: &Slurm, before: &[&str], name: &str, place: &Path) -> Self {
        let exe = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        let test = format!("slurm_jobs::{name}");
        let words = ["--ignored", "--exact", "--nocapture", &test];
        let all: Vec<_> = before.iter().copied().chain([&*exe]).chain(words).collect();
        Self::start(slurm.command(all[0]).args(&all[1..]).env(PLACE, place))
    }

    /// It takes these nodes until it is ended.
    fn holder(slurm: &Slurm, nodes: usize) -> Self {
        let words = ["--quiet", "--exclusive", "--nodes", &nodes.to_string(), "cat"];
        let holder = Self::start(slurm.command("salloc").args(words));
        slurm.wait_until("alloc", nodes);
        holder
    }

    /// Ends by itself, and well.
    #[track_caller]
    fn ends(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    fn kill(&mut self) -> Instant {
        self.0.kill().unwrap();
        let killed = Instant::now();
        self.0.wait().unwrap();
        killed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        self.0.wait().unwrap();
    }
}

/// The states of all jobs that have not ended.
fn states(squeue: &mut Command) -> Vec<String> {
    let states = run(squeue.args(["-h", "-t", "R,PD", "-o", "%T"]), "");
    states.lines().map(str::to_owned).collect()
}

fn jobs(slurm: &Slurm) -> Vec<String> {
    states(&mut slurm.command("squeue"))
}

#[track_caller]
fn nothing_is_left(slurm: &Slurm) {
    let left = jobs(slurm);
    assert!(left.is_empty(), "{left:?}");
}

/// How many programs of Slurm run for its users, which here are `salloc` and `srun`.
fn programs(slurm: &Slurm) -> usize {
    let config = slurm.config().to_str().unwrap().to_owned();
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm"));
    let all = processes_with_env("SLURM_CONF", &config).into_iter();
    all.filter(|pid| name(pid).is_ok_and(|name| ["salloc\n", "srun\n"].contains(&&*name))).count()
}

#[tokio::test]
async fn a_pool_has_the_nodes_of_its_allocation_or_asks_for_some() {
    let Some(slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let scratch = Scratch::new();
    let salloc = ["salloc", "--quiet", "--nodes=2"];
    Running::service(&slurm, &salloc, "a_service_in_an_allocation", scratch.path()).ends();
    let cached = fs::read_dir(scratch.path().join("cache")).unwrap().count();
    assert_eq!(cached, 1, "the nodes have one directory");
    slurm.wait_until_empty();
    Running::service(&slurm, &[], "a_service_that_asks_for_nodes", scratch.path()).ends();
    nothing_is_left(&slurm);
    Running::service(&slurm, &[], "a_service_whose_runtime_ends", scratch.path()).ends();
    for node in ["n1", "n2"] {
        nothing_runs(slurm.node(node)).await;
    }
}

#[tokio::test]
async fn a_pool_works_while_its_allocation_waits_in_the_queue() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let mut holder = Running::holder(&slurm, 1);
    let name = "a_service_that_works_while_it_waits";
    let mut service = Running::service(&slurm, &[], name, scratch.path());
    let worked = scratch.path().join("worked");
    wait_until("it has worked while it waits", || worked.exists()).await;
    assert_eq!(jobs(&slurm), ["PENDING", "RUNNING"]);
    holder.ends();
    service.ends();
    nothing_is_left(&slurm);
}

#[tokio::test]
async fn nothing_is_left_in_slurm_of_a_service_that_is_killed() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let mut holder = Running::holder(&slurm, 1);
    for is_granted in [false, true] {
        let mut service = Running::service(&slurm, &[], "a_service_that_is_killed", scratch.path());
        wait_until("it waits", || jobs(&slurm) == ["PENDING", "RUNNING"]).await;
        let others = usize::from(!is_granted);
        if is_granted {
            holder.ends();
            Trace::of(scratch.path(), "busy", 1).await;
        }
        let killed = service.kill();
        wait_until("its job is over", || jobs(&slurm).len() == others).await;
        let took = killed.elapsed();
        // A request is left alone in its first two seconds.
        assert!(took < 2 * LEASE, "it took {took:?}, as if nobody had told Slurm");
        nothing_runs(slurm.node("n1")).await;
        wait_until("none of its programs is left", || programs(&slurm) == others).await;
    }
}

#[tokio::test]
async fn another_allocation_is_requested_when_one_is_lost_or_refused() {
    let Some(slurm) = Slurm::start(&["n1"]) else {
        return;
    };
    let scratch = Scratch::new();
    let name = "a_service_that_loses_its_allocation";
    let mut service = Running::service(&slurm, &[], name, scratch.path());
    Trace::of(scratch.path(), "lost", 1).await;
    slurm.wait_until("alloc", 1); // and no CPU of it is left for others
    run(slurm.command("scancel").arg("--name=slurm"), "");
    service.ends();
    nothing_is_left(&slurm);
}
