//! Finds the smallest factors of many numbers on several hosts, and says what each host did.
//!
//! ```console
//! $ cargo run --release --features hosts --example hosts -- node1:16 user@node2 local:4
//! $ cargo run --release --features hosts --example hosts -- local slurm:16
//! $ cargo run --release --features hosts --example hosts
//! $ cargo run --release --features hosts --example hosts -- --lose
//! ```
//!
//! Each argument is what `ssh` is called with, and how many workers there are (as many as the host
//! has CPUs, if it is not said). `local` is this machine without `ssh`. `slurm` is the nodes of this
//! program's allocation, or else one node that is requested: set `SALLOC_TIMELIMIT` to the minutes
//! that it may be kept. The program is copied to each host by itself. Kill a host, or its `ssh`,
//! while the program runs: no number is lost. With `--lose` it does so itself.
//!
//! Without arguments this machine plays two hosts: `local`, and one that is reached by
//! `ssh localhost`, or as a child of this program if no sshd lets us in.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{Host, PoolEvent, ProcessPoolExecutor, TaskError, WorkerId};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

const USAGE: &str = "usage: hosts [--count NUMBERS] [--lose | DESTINATION[:WORKERS]...]";
/// The numbers are this one, and odd ones above it. The root of each is above 30 million.
const FIRST: u64 = 1_000_000_000_000_001;
/// A host that is silent for so long is lost. One on this machine answers sooner.
const LEASE: Duration = Duration::from_secs(5);
const LEASE_HERE: Duration = Duration::from_secs(1);

/// What a worker found, how long it took, and where that was.
#[derive(Serialize, Deserialize)]
struct Found {
    factor: u64,
    took: Duration,
    worker: WorkerId,
    /// What has started the worker: this program, or the agent on a host.
    parent: u32,
}

/// The smallest factor of an odd `n`; that of a prime is the prime itself.
fn smallest_factor(n: u64) -> Found {
    let start = Instant::now();
    let mut divisors = (3..).step_by(2).take_while(|d| *d <= n / *d);
    let factor = divisors.find(|d| n.is_multiple_of(*d)).unwrap_or(n);
    let worker = procpool::current().worker_id();
    let parent = procpool::parent_process().map_or(0, procpool::ParentProcess::pid);
    Found { factor, took: start.elapsed(), worker, parent }
}

procpool::register!(smallest_factor);

fn main() -> ExitCode {
    procpool::init(); // a worker stops here, and so does the agent that starts workers on a host

    let Some(wish) = Wish::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match factor_all(wish) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
struct Wish {
    count: u64,
    /// Whether a host is to be killed half-way.
    loses: bool,
    hosts: Vec<Host>,
}

impl Wish {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut wish = Self { count: 1_000, loses: false, hosts: Vec::new() };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--count" => wish.count = args.next()?.parse().ok().filter(|count| *count > 0)?,
                "--lose" => wish.loses = true,
                option if option.starts_with('-') => return None,
                host => wish.hosts.push(parse_host(host)?),
            }
        }
        let is_possible = wish.hosts.is_empty() || !wish.loses; // pids of others mean nothing here
        is_possible.then_some(wish)
    }
}

fn parse_host(text: &str) -> Option<Host> {
    let (destination, workers) = match text.rsplit_once(':') {
        Some((destination, workers)) => (destination, Some(workers.parse().ok()?)),
        None => (text, None), // as many as it has CPUs
    };
    let is_complete = !destination.is_empty() && workers != Some(0);
    let host = match destination {
        "local" => Host::local(),
        "slurm" => Host::slurm().lease(LEASE),
        _ => Host::ssh(destination).lease(LEASE),
    };
    is_complete.then(|| host.workers(workers))
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// This machine twice, as there are no others.
fn hosts_here() -> Result<Vec<Host>, Box<dyn Error>> {
    let workers = (cpus() / 2).max(1);
    let other = match ask_sshd() {
        Ok(()) => Host::ssh("localhost").workers(workers),
        Err(reason) => {
            println!("`ssh localhost` does not let us in, so a child plays the other host.");
            println!("    ({reason})");
            Host::command([std::env::current_exe()?]).workers(workers).name("child")
        }
    };
    Ok(vec![Host::local().workers(workers), other.lease(LEASE_HERE)])
}

/// Whether there is one that asks for no password, or what `ssh` says.
fn ask_sshd() -> Result<(), String> {
    let mut ssh = Command::new("ssh");
    ssh.args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "localhost", "true"]);
    let output = ssh.output().map_err(|error| format!("ssh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().last().unwrap_or("it says nothing").trim().to_owned())
}

/// What a host did.
#[derive(Default)]
struct Deeds {
    workers: u64,
    numbers: u64,
    busy: Duration,
}

/// What is seen of the hosts.
struct Watch {
    start: Instant,
    workers: BTreeMap<WorkerId, Arc<str>>,
    hosts: BTreeMap<Arc<str>, Deeds>,
    /// What was said last of each, so that the same is said once.
    said: BTreeMap<Arc<str>, String>,
    losses: u64,
}

impl Watch {
    fn new() -> Self {
        let (workers, hosts, said) = <_>::default();
        Self { start: Instant::now(), workers, hosts, said, losses: 0 }
    }

    fn see(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::WorkerStarted { worker, host: Some(host), .. } => {
                self.workers.insert(worker, host);
            }
            PoolEvent::WorkerReady { worker, .. } => {
                let Some(host) = self.workers.get(&worker).map(Arc::clone) else { return };
                self.hosts.entry(Arc::clone(&host)).or_default().workers += 1;
                self.say(Arc::clone(&host), format!("{host} serves"));
            }
            PoolEvent::WorkerLost { loss, .. } => {
                self.losses += 1;
                let (host, reason) = (loss.host(), loss.reason());
                self.say(host.into(), format!("{host} is lost: {reason}"));
            }
            PoolEvent::WorkerNotStarted { host: Some(host), reason, .. } => {
                self.say(host, reason); // which names the host
            }
            PoolEvent::HostsAwaited { hosts, message, .. } => {
                self.say(Arc::clone(&hosts), format!("{hosts} waits: {message}"));
            }
            PoolEvent::HostsGranted { hosts, message, .. } => {
                self.say(Arc::clone(&hosts), format!("{hosts} is there: {message}"));
            }
            PoolEvent::HostsGone { hosts, reason, .. } => {
                self.say(Arc::clone(&hosts), format!("{hosts} is gone: {reason}"));
            }
            _ => {}
        }
    }

    fn say(&mut self, host: Arc<str>, what: String) {
        if self.said.get(&host) != Some(&what) {
            println!("{:>8.1?}  {what}", self.start.elapsed());
            self.said.insert(host, what);
        }
    }

    fn count(&mut self, found: &Found) {
        // A worker is started before it runs anything, but its event may not have been read.
        let host = self.workers.get(&found.worker).map_or("?".into(), Arc::clone);
        let deeds = self.hosts.entry(host).or_default();
        deeds.numbers += 1;
        deeds.busy += found.took;
    }

    fn report(&self) {
        let took = self.start.elapsed();
        println!("{:>10} {:>10} {:>10}  host", "workers", "numbers", "busy");
        for (host, deeds) in &self.hosts {
            let Deeds { workers, numbers, busy } = deeds;
            println!("{workers:>10} {numbers:>10} {busy:>10.2?}  {host}");
        }
        let busy: Duration = self.hosts.values().map(|deeds| deeds.busy).sum();
        println!("{busy:.2?} of work in {took:.2?}");
    }
}

#[tokio::main]
async fn factor_all(wish: Wish) -> Result<(), Box<dyn Error>> {
    let hosts = if wish.hosts.is_empty() { hosts_here()? } else { wish.hosts };
    let count = hosts.len();
    // A worker on each host from the start, as it takes a moment to reach one. Nodes of Slurm that
    // have to be requested come when the others are full.
    let pool = ProcessPoolExecutor::builder().hosts(hosts).min_workers(count).build()?;
    let mut watch = Watch::new();
    let mut events = pool.events();
    while wish.loses && watch.hosts.len() < count {
        watch.see(events.next().await.ok_or("the pool has ended")?);
    }
    let (mut handles, mut asked) = (Vec::new(), BTreeMap::new());
    for n in (FIRST..).step_by(2).take(usize::try_from(wish.count)?) {
        // What ran on a lost host may be begun again elsewhere: it does no harm twice.
        let handle = pool.task(smallest_factor, n).retries(5).submit().await?;
        asked.insert(handle.id(), n);
        handles.push(handle);
    }
    let mut results = procpool::as_completed(handles);
    let (mut done, mut primes, mut agent, mut to_lose) = (0, 0, None, wish.loses);
    loop {
        let finished = tokio::select! {
            biased; // a worker's host is known before its results come
            Some(event) = events.next() => {
                watch.see(event);
                continue;
            }
            next = results.next() => match next {
                Some(finished) => finished,
                None => break,
            },
        };
        let found = finished.result.map_err(|error| explain(&error))?;
        done += 1;
        primes += u64::from(found.factor == asked[&finished.id]);
        watch.count(&found);
        if found.parent != std::process::id() {
            agent = Some(found.parent);
        }
        if to_lose
            && done * 2 >= wish.count
            && let Some(agent) = agent
        {
            to_lose = false;
            println!("{:>8.1?}  an agent is killed", watch.start.elapsed());
            kill(agent)?;
            while watch.losses == 0 {
                watch.see(events.next().await.ok_or("the pool has ended")?);
            }
        }
    }
    drop(results);
    println!("{done} numbers above {FIRST}, {primes} of them prime");
    watch.report();
    pool.shutdown().await;
    Ok(())
}

/// The agent's end is that of its workers, and is noticed at once.
fn kill(agent: u32) -> Result<(), Box<dyn Error>> {
    let agent = Pid::from_raw(agent.try_into()?).ok_or("it has no parent")?;
    Ok(kill_process(agent, Signal::KILL)?)
}

fn explain(error: &TaskError) -> String {
    match error.host_loss() {
        Some(loss) => format!("host {:?} was lost too often: {}", loss.host(), loss.reason()),
        None => error.to_string(),
    }
}
