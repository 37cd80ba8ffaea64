//! The hand from outside: signals to workers and to fork servers at any moment, and changes of the
//! pool.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, WorkerState};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::task::JoinHandle;

use crate::client::{Hung, Rules};
use crate::random::Random;

pub(crate) struct Hand {
    pool: ProcessPoolExecutor,
    random: Random,
    rules: Rules,
    hung: Hung,
    /// Whom it has hit with what may end a worker, or have it ended.
    hits: BTreeSet<u32>,
    /// Those it has to continue, and when.
    stopped: Vec<(u32, Instant)>,
    /// Waiting for old workers to go, which may be some of those that it has stopped.
    recycling: Vec<JoinHandle<Option<()>>>,
    /// Workers that were seen to have their frames from a socket.
    sent_to: BTreeSet<u32>,
}

/// What the hand has seen and done.
#[derive(Default)]
pub(crate) struct Struck {
    pub(crate) hits: BTreeSet<u32>,
    pub(crate) sent_to: BTreeSet<u32>,
}

impl Hand {
    pub(crate) fn new(pool: &ProcessPoolExecutor, seed: u64, rules: Rules, hung: &Hung) -> Self {
        Self {
            pool: pool.clone(),
            random: Random::new(seed),
            rules,
            hung: hung.clone(),
            hits: BTreeSet::new(),
            stopped: Vec::new(),
            recycling: Vec::new(),
            sent_to: BTreeSet::new(),
        }
    }

    /// Goes on until it is told that all is over.
    pub(crate) async fn strike_until(mut self, is_over: Arc<AtomicBool>) -> Struck {
        let mut seeds = Random::new(self.random.number());
        while !is_over.load(Ordering::Relaxed) {
            self.random = Random::new(seeds.number());
            self.strike();
            let now = Instant::now();
            self.proceed(|at| at <= now);
            tokio::time::sleep(Duration::from_micros(self.random.below(20_000))).await;
        }
        self.proceed(|_| true);
        for recycling in self.recycling {
            recycling.await.unwrap();
        }
        Struck { hits: self.hits, sent_to: self.sent_to }
    }

    fn strike(&mut self) {
        match self.random.below(20) {
            0 | 1 => self.pool.resize(*self.random.choose(&[1, 2, 3, 4])).unwrap(),
            2 => drop(self.pool.recycle()),
            3 => {
                let recycled = self.pool.recycle();
                self.recycling.push(tokio::spawn(self.hung.or_note(recycled)));
            }
            4..=6 => self.hit(Signal::KILL),
            7 => self.hit_group(),
            8 | 9 => self.hit(Signal::TERM),
            10 => self.hit(Signal::SEGV),
            11..=13 => self.stop(),
            14 if self.rules.kills_server => self.hit_server(),
            _ => {
                check_stats(&self.pool);
                self.look();
            }
        }
    }

    /// A worker has no other socket.
    fn look(&mut self) {
        let sharing = self.pool.workers().into_iter().filter(|worker| worker.shares_memory);
        self.sent_to.extend(sharing.map(|worker| worker.pid).filter(|pid| has_socket(*pid)));
    }

    /// A worker that is still being started could break the pool by its end: that is hit by nothing
    /// but what the pool takes for an accident.
    fn draw_worker(&mut self, may_be_starting: bool) -> Option<u32> {
        let mut workers = self.pool.workers();
        workers.retain(|worker| may_be_starting || worker.state != WorkerState::Starting);
        (!workers.is_empty()).then(|| self.random.choose(&workers).pid)
    }

    fn hit(&mut self, signal: Signal) {
        if let Some(pid) = self.draw_worker(signal == Signal::KILL) {
            self.hits.insert(pid);
            let _ = kill_process(to_pid(pid), signal); // or it has just gone
        }
    }

    fn hit_group(&mut self) {
        if let Some(pid) = self.draw_worker(false) {
            self.hits.insert(pid);
            let _ = kill_process_group(to_pid(pid), Signal::KILL);
        }
    }

    fn stop(&mut self) {
        let Some(pid) = self.draw_worker(false) else { return };
        self.hits.insert(pid);
        let _ = kill_process(to_pid(pid), Signal::STOP);
        if !(self.rules.stops_for_good && self.random.below(2) == 0) {
            let time = Duration::from_millis(self.random.below(100));
            self.stopped.push((pid, Instant::now() + time));
        }
    }

    /// Of the workers that it has forked, the system ends those that are stopped: nobody is left
    /// who could continue them (`setpgid(2)`, orphaned process groups).
    fn hit_server(&mut self) {
        let server = self.draw_worker(false).and_then(parent_of);
        if let Some(server) = server.filter(|pid| parent_of(*pid) == Some(std::process::id())) {
            let workers = self.pool.workers().into_iter().map(|worker| worker.pid);
            self.hits.extend(workers.filter(|pid| stat(*pid, 0).as_deref() == Some("T")));
            let _ = kill_process(to_pid(server), Signal::KILL);
        }
    }

    /// Continues those that were stopped until then.
    fn proceed(&mut self, is_due: impl Fn(Instant) -> bool) {
        for (pid, _) in self.stopped.extract_if(.., |(_, at)| is_due(*at)) {
            let _ = kill_process(to_pid(pid), Signal::CONT);
        }
    }
}

fn check_stats(pool: &ProcessPoolExecutor) {
    let stats = pool.stats();
    let ended = stats.completed + stats.failed + stats.cancelled;
    assert!(stats.submitted >= ended + stats.waiting as u64, "{stats:?}");
    assert_eq!(stats.workers_unshared, 0, "{stats:?}");
}

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid, 1)?.parse().ok()
}

fn has_socket(pid: u32) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    targets.any(|target| target.to_string_lossy().starts_with("socket:"))
}

/// A field of what the system says of a process, behind its name.
fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the name before it may contain anything
    fields.split_whitespace().nth(field).map(str::to_owned)
}
