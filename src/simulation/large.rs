//! The scheduler alone, with many hosts: what an event costs, and what a host takes of memory.
//!
//! ```text
//! cargo test --release --lib simulation::large -- --ignored --nocapture
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::{HostId, TaskId, WorkerId};
use crate::scheduler::view::Recallable;
use crate::scheduler::{Action, Config, End, HostConfig, Scheduler, Task, Time};
use crate::testing::{Random, plain_config};

/// Of every task, as its worker says.
const TASK_TIME: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(15);

/// What each event has taken.
#[derive(Debug, Default)]
struct Costs(Vec<Duration>);

impl Costs {
    fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / u32::try_from(self.0.len()).unwrap().max(1)
    }

    fn median(&mut self) -> Duration {
        let middle = self.0.len() / 2;
        *self.0.select_nth_unstable(middle).1
    }
}

/// A pool whose workers are always busy.
struct Fleet {
    scheduler: Scheduler,
    now: Time,
    random: Random,
    next_task: u64,
    /// Workers that have not come up yet.
    starting: VecDeque<(WorkerId, HostId)>,
    /// Those that are up.
    up: Vec<(WorkerId, HostId)>,
    costs: Costs,
}

impl Fleet {
    /// All workers are up and have a task, and so many tasks wait.
    fn of(hosts: usize, workers: usize) -> Self {
        let most = hosts * workers;
        let host = HostConfig { workers: Some(workers), is_away: false };
        let config = Config { hosts: vec![host; hosts], surge: 8, ..plain_config(most) };
        let mut fleet = Self {
            scheduler: Scheduler::new(config),
            now: Time::ZERO,
            random: Random::seeded(1),
            next_task: 0,
            starting: VecDeque::new(),
            up: Vec::new(),
            costs: Costs::default(),
        };
        (0..2 * most).for_each(|_| fleet.submit());
        fleet.come_up();
        fleet
    }

    /// Measures an event with all that the supervisor does for it.
    fn event(&mut self, happen: impl FnOnce(&mut Scheduler, Time)) {
        let began = Instant::now();
        happen(&mut self.scheduler, self.now);
        let actions: Vec<_> = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        std::hint::black_box(self.scheduler.next_timeout());
        let took = began.elapsed();
        self.costs.0.push(took);
        for action in actions {
            self.answer(action);
        }
    }

    fn answer(&mut self, action: Action) {
        match action {
            Action::Start { worker, host } => self.starting.push_back((worker, host)),
            Action::Recall { worker, .. } => {
                self.event(|scheduler, now| scheduler.recalled(now, worker, 0));
            }
            Action::Ask(worker) => {
                self.event(|scheduler, now| scheduler.asked(now, worker, None));
            }
            Action::Look(worker) => {
                self.event(|scheduler, now| scheduler.looked(now, worker, true));
            }
            Action::Terminate(worker) => self.end(worker, End::Died { taken: 0 }),
            Action::Stop(worker, _) => self.end(worker, End::Left),
            _ => {}
        }
    }

    fn submit(&mut self) {
        self.next_task += 1;
        let task = Task::new(TaskId(self.next_task));
        self.event(|scheduler, now| scheduler.submit(now, task));
    }

    fn come_up(&mut self) {
        while let Some((worker, host)) = self.starting.pop_front() {
            self.up.push((worker, host));
            self.event(|scheduler, now| scheduler.worker_ready(now, worker, Recallable::Late));
        }
    }

    fn end(&mut self, worker: WorkerId, end: End) {
        self.up.retain(|(up, _)| *up != worker);
        self.event(|scheduler, now| scheduler.worker_ended(now, worker, end));
    }

    /// Somebody who is up, and has that task.
    fn pick(&mut self) -> (WorkerId, TaskId) {
        loop {
            let (worker, _) = self.up[self.random.below(self.up.len())];
            if let Some(task) = self.scheduler.pipeline(worker).next() {
                return (worker, task);
            }
        }
    }

    /// A task ends, and another one is submitted.
    fn work(&mut self) {
        self.now += Duration::from_nanos(100);
        let (worker, task) = self.pick();
        self.finish(worker, task);
        self.submit();
    }

    fn finish(&mut self, worker: WorkerId, task: TaskId) {
        self.event(|scheduler, now| {
            let _ = scheduler.task_finished(now, worker, task, TASK_TIME);
        });
    }

    fn abort(&mut self) {
        let (_, task) = self.pick();
        self.event(|scheduler, now| scheduler.abort(now, task));
        self.submit();
        self.come_up();
    }

    /// Successors come up, and of each host with one a worker gets rid of its task.
    fn replace(&mut self) {
        if self.starting.is_empty() {
            self.event(|scheduler, now| scheduler.recycle(now, None));
            self.costs.0.clear(); // that one is about all workers
        }
        let hosts: Vec<_> = self.starting.iter().map(|(_, host)| *host).collect();
        self.come_up();
        for host in hosts {
            self.now += Duration::from_nanos(100);
            let old = self.up.iter().find(|(_, on)| *on == host).copied();
            let Some((worker, _)) = old else { continue };
            let task = self.scheduler.pipeline(worker).next();
            if let Some(task) = task {
                self.finish(worker, task);
                self.submit();
            }
        }
    }

    /// A host is lost with all of its workers, and comes back after its rest.
    fn lose_host(&mut self) {
        let (_, host) = self.up[self.random.below(self.up.len())];
        let lost: Vec<_> = self.up.extract_if(.., |(_, on)| *on == host).collect();
        self.event(|scheduler, now| scheduler.host_lost(now, host, now + LEASE));
        for (worker, _) in lost {
            self.event(|s, now| s.worker_ended(now, worker, End::HostLost { taken: 0 }));
            self.submit();
        }
        self.now += Duration::from_secs(1);
        self.event(Scheduler::timeout);
        self.come_up();
    }

    fn measure(&mut self, times: usize, mut deed: impl FnMut(&mut Self)) -> Costs {
        self.costs.0.clear();
        (0..times).for_each(|_| deed(self));
        std::mem::take(&mut self.costs)
    }
}

/// How many bytes this process takes; zero where the system does not say that.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() << 10
}

/// What is measured, and its name.
type Deed = (&'static str, fn(&mut Fleet));

const DEEDS: [Deed; 4] = [
    ("task finished", Fleet::work),
    ("task aborted", Fleet::abort),
    ("host lost", Fleet::lose_host),
    ("worker replaced", Fleet::replace),
];

/// Nothing looks at all workers or hosts because of one of them. What is measured here is memory
/// that is further away, and the last ones of a search by halves.
#[test]
fn an_event_costs_about_the_same_in_a_pool_that_is_a_hundred_times_as_large() {
    const BATCHES: usize = 20;
    let [mut small, mut large] = [1, 100].map(|hosts| Fleet::of(hosts, 64));
    for (name, deed) in DEEDS {
        let [few, many] = [&mut small, &mut large]
            .map(|fleet| (0..BATCHES).map(|_| fleet.measure(4, deed).mean()).min().unwrap());
        assert!(many < 6 * few, "{name}: {many:?} for an event, and {few:?} in a small pool");
    }
}

#[test]
#[ignore = "it prints figures"]
fn figures() {
    for hosts in [1, 100, 1_000] {
        let before = memory();
        let mut fleet = Fleet::of(hosts, 64);
        let taken = memory().saturating_sub(before) / hosts;
        println!("{hosts} hosts of 64 workers, {taken} bytes for each host");
        let print = |name, mut costs: Costs| {
            println!("  {name:16} {:?} for an event, median {:?}", costs.mean(), costs.median());
        };
        print("coming up", std::mem::take(&mut fleet.costs));
        for (name, deed) in DEEDS {
            let times = if name == "task finished" { 200_000 } else { 500 };
            print(name, fleet.measure(times, deed));
        }
    }
}
