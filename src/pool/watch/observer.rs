//! What happens in a pool, told to those who look on: its log, its metrics, and readers of events.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::maps::SortedMap;
use crate::base::{TaskId, WorkerId, log, nanos};
use crate::error::BrokenProcessPool;
use crate::error::kind::TaskOutcome;
use crate::parent::message::{Ended, HostsChange};
use crate::pool::task::cell::TaskCell;
use crate::pool::watch::events::{Feed, PoolEvent};
use crate::pool::watch::metrics::{Metrics, TaskOutcomes};
use crate::scheduler::view::WorkerView;
use crate::scheduler::{Failure, LeaveReason, Time, WorkerStage};

/// Is told of everything that happens, by the supervisor and in that order.
pub(crate) struct Observer {
    /// The pool's.
    name: String,
    /// What its hosts are called; none of a pool that was built without hosts.
    pub(crate) hosts: Vec<Arc<str>>,
    /// Of the workers that have one.
    pub(crate) processes: SortedMap<WorkerId, WorkerProcess>,
    pub(crate) metrics: Metrics,
    pub(crate) feed: Feed,
    /// Of the tasks that have one, from when they are sent until they are over.
    pub(crate) labels: HashMap<TaskId, Arc<str>>,
    /// A worker has become ready.
    pub(crate) has_been_ready: bool,
    /// Why the last start has failed, if it has; for people to read.
    pub(crate) start_failure: Option<String>,
    /// Which hosts were requested and are not there yet, and what they wait for.
    pub(crate) awaited: Option<(Arc<str>, String)>,
    /// Of memory that is not shared.
    has_warned: bool,
}

/// The process of a worker.
pub(crate) struct WorkerProcess {
    pub(crate) pid: u32,
    /// The name of its host, if that has one.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) started: Time,
    /// Chunks that it has delivered, which are tasks to the scheduler.
    pub(crate) chunks: u64,
    /// Results of items of chunks that it has delivered.
    pub(crate) chunk_items: u64,
}

impl Observer {
    pub(crate) fn new(name: String) -> Self {
        let (processes, metrics) = (SortedMap::new(), Metrics::default());
        let (feed, labels) = (Feed::default(), HashMap::new());
        Self {
            name,
            hosts: Vec::new(),
            processes,
            metrics,
            feed,
            labels,
            has_been_ready: false,
            start_failure: None,
            awaited: None,
            has_warned: false,
        }
    }

    // ----- workers -----

    /// A worker and its host, for the log.
    pub(crate) fn whereabouts(&self, worker: WorkerId) -> WorkerOnHost<'_> {
        let process = self.processes.get(&worker);
        WorkerOnHost(worker, process.and_then(|process| process.host.as_deref()))
    }

    pub(crate) fn worker_started(
        &mut self,
        now: Time,
        worker: WorkerId,
        pid: u32,
        host: Option<Arc<str>>,
    ) {
        match &host {
            Some(host) => {
                log::debug!("{}: {worker} (pid {pid}) was started on {host:?}", self.name);
            }
            None => log::debug!("{}: {worker} (pid {pid}) was started", self.name),
        }
        self.feed.push(|| PoolEvent::WorkerStarted { worker, pid, host: host.clone() });
        let process = WorkerProcess { pid, host, started: now, chunks: 0, chunk_items: 0 };
        self.processes.insert(worker, process);
    }

    pub(crate) fn worker_ready(&mut self, now: Time, worker: WorkerId) {
        log::debug!("{}: {} is ready", self.name, self.whereabouts(worker));
        self.feed.push(|| PoolEvent::WorkerReady { worker });
        self.metrics.worker_ready(now, worker);
        self.has_been_ready = true;
        self.start_failure = None;
    }

    /// Everything works without, but slower, so that somebody should know.
    pub(crate) fn worker_unshared(&mut self, worker: WorkerId, reason: String) {
        if !self.has_warned {
            self.has_warned = true;
            log::warning!(
                "{}: {} shares no memory with this process, so that small tasks, the items of \
                 maps and large values are slower: {reason}",
                self.name,
                self.whereabouts(worker),
            );
        }
        self.feed.push(|| PoolEvent::WorkerUnshared { worker, reason });
    }

    /// It was told to leave.
    pub(crate) fn worker_stopped(&mut self, now: Time, worker: WorkerId, reason: LeaveReason) {
        if reason == LeaveReason::Stuck {
            let whose = self.whereabouts(worker);
            log::warning!("{}: {whose} does nothing with what it was sent", self.name);
            self.feed.push(|| PoolEvent::WorkerStuck { worker });
        }
        self.metrics.worker_left(now, worker, None);
    }

    /// `seen` is what it was like just before its end. Returns the process that it had.
    pub(crate) fn worker_ended(
        &mut self,
        now: Time,
        worker: WorkerId,
        seen: Option<WorkerView>,
        host: Option<&Arc<str>>,
        ended: &Ended,
    ) -> Option<WorkerProcess> {
        self.log_end(worker, seen, ended);
        self.feed.push(|| end_event(worker, seen, host, ended));
        if let Ended::NotStarted(error) = ended
            && !seen.is_some_and(was_told_to_go)
        {
            self.start_failure = Some(error.to_string());
        }
        self.metrics.worker_left(now, worker, seen.and_then(|seen| seen.running_since));
        self.processes.remove(&worker)
    }

    fn log_end(&self, worker: WorkerId, seen: Option<WorkerView>, ended: &Ended) {
        match ended {
            Ended::Left(_) => {
                log::debug!("{}: {} has left", self.name, self.whereabouts(worker));
            }
            Ended::Died { death, .. } => {
                let (name, last_words) = (&self.name, death.last_words());
                match seen.filter(|seen| was_told_to_go(*seen)).map(why_killed) {
                    Some((Some(task), reason)) => {
                        log::debug!("{name}: {death}, as {reason} ({task}){last_words}");
                    }
                    Some((None, reason)) => {
                        log::debug!("{name}: {death}, as {reason}{last_words}");
                    }
                    None => log::debug!("{name}: {death}{last_words}"),
                }
            }
            Ended::HostLost(loss) => log::debug!("{}: {loss}", self.name),
            Ended::NotStarted(error) => {
                log::debug!("{}: {worker} did not start: {error}", self.name);
            }
        }
    }

    // ----- hosts -----

    /// Hosts that have to be requested are called so.
    pub(crate) fn hosts_changed(&mut self, hosts: &Arc<str>, change: &HostsChange) {
        let name = &self.name;
        if self.awaited.as_ref().is_some_and(|(awaited, _)| awaited == hosts) {
            self.awaited = None;
        }
        let refusal = format!("{hosts} is not to be had: ");
        self.start_failure.take_if(|failure| failure.starts_with(&refusal));
        match change {
            HostsChange::Awaited(message) => {
                log::debug!("{name}: {hosts} waits: {message}");
                self.awaited = Some((Arc::clone(hosts), message.clone()));
            }
            HostsChange::Came(message) => log::debug!("{name}: {hosts} is there: {message}"),
            HostsChange::Gone(reason) => log::warning!("{name}: {hosts} is gone: {reason}"),
            HostsChange::Refused(reason) => {
                log::debug!("{name}: {hosts} is not to be had: {reason}");
                self.start_failure = Some(refusal + reason);
            }
        }
        self.feed.push(|| hosts_event(Arc::clone(hosts), change));
    }

    // ----- tasks -----

    pub(crate) fn task_queued(&mut self, cell: &TaskCell) {
        self.feed.push(|| PoolEvent::TaskQueued {
            task: cell.id(),
            function: cell.name(),
            label: cell.label(),
        });
    }

    /// It is its worker's running one now. `first` tells the first time from those after it was
    /// taken back or retried.
    pub(crate) fn task_started(&mut self, now: Time, cell: &TaskCell, first: bool) {
        if first {
            self.metrics.of(cell.function()).begun += 1;
            self.metrics.wait_time.record(nanos(now).saturating_sub(cell.accepted()));
        }
        if let Some(label) = cell.label() {
            self.labels.insert(cell.id(), label);
        }
        if self.feed.is_read()
            && let Some((worker, attempt)) = cell.holder()
        {
            let task = cell.id();
            self.feed.push(|| PoolEvent::TaskStarted { task, worker, attempt });
        }
    }

    /// A worker has told what became of a task.
    pub(crate) fn task_replied(&mut self, worker: WorkerId, run_time: u64) {
        self.metrics.task_replied(worker, run_time);
    }

    /// It is given to a worker again after an attempt that was not the last one.
    pub(crate) fn task_retried(&mut self, task: TaskId, attempt: u32) {
        self.metrics.retries += 1;
        self.feed.push(|| PoolEvent::TaskRetried { task, attempt });
    }

    /// An attempt has ended with a result, after so long. There may be another one.
    pub(crate) fn attempt_returned(&mut self, cell: &TaskCell, ran: u64) {
        self.metrics.of(cell.function()).run_time.record(ran);
    }

    /// Its worker has ended while it ran.
    pub(crate) fn task_lost(&mut self, function: u32, ran: Duration) {
        self.metrics.of(function).lost_time.record(nanos(ran));
    }

    /// `ran` is how long, if its worker says so, and that was not told before. Of a chunk, so are
    /// `items`.
    pub(crate) fn task_finished(
        &mut self,
        cell: &TaskCell,
        outcome: TaskOutcome,
        items: Option<&TaskOutcomes>,
        ran: Option<u64>,
    ) {
        let figures = self.metrics.of(cell.function());
        figures.task_ended(outcome, items);
        if let Some(ran) = ran {
            figures.run_time.record(ran);
        }
        self.feed.push(|| PoolEvent::TaskFinished {
            task: cell.id(),
            function: cell.name(),
            label: cell.label(),
            outcome,
        });
        if !self.labels.is_empty() {
            self.labels.remove(&cell.id());
        }
    }

    // ----- chunks -----

    /// A worker has told what became of items.
    pub(crate) fn items_ended(&mut self, worker: WorkerId, function: u32, items: &TaskOutcomes) {
        self.metrics.of(function).items.add(items);
        if let Some(process) = self.processes.get_mut(&worker) {
            process.chunk_items += items.completed();
        }
    }

    /// A worker has told that it is done with a chunk.
    pub(crate) fn chunk_replied(&mut self, worker: WorkerId) {
        if let Some(process) = self.processes.get_mut(&worker) {
            process.chunks += 1;
        }
    }

    // ----- the pool -----

    /// It accepts no more.
    pub(crate) fn pool_refuses(&mut self, broken: Option<&BrokenProcessPool>) {
        self.feed.push(|| match broken {
            Some(error) => PoolEvent::PoolBroken { error: error.clone() },
            None => PoolEvent::PoolShutDown,
        });
    }
}

fn hosts_event(hosts: Arc<str>, change: &HostsChange) -> PoolEvent {
    match change {
        HostsChange::Awaited(message) => {
            PoolEvent::HostsAwaited { hosts, message: message.clone() }
        }
        HostsChange::Came(message) => PoolEvent::HostsGranted { hosts, message: message.clone() },
        HostsChange::Gone(reason) | HostsChange::Refused(reason) => {
            PoolEvent::HostsGone { hosts, reason: reason.clone() }
        }
    }
}

fn reason(seen: WorkerView) -> LeaveReason {
    match seen.stage {
        WorkerStage::Stopping { reason, .. } => reason,
        _ => LeaveReason::ShutDown, // not reached: only a worker that was told so leaves
    }
}

/// As a line of the log names a worker.
pub(crate) struct WorkerOnHost<'a>(WorkerId, Option<&'a str>);

impl fmt::Display for WorkerOnHost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(worker, host) = self;
        write!(f, "{worker}")?;
        host.map_or(Ok(()), |host| write!(f, " on {host:?}"))
    }
}

fn end_event(
    worker: WorkerId,
    seen: Option<WorkerView>,
    host: Option<&Arc<str>>,
    ended: &Ended,
) -> PoolEvent {
    match ended {
        Ended::Left(_) => {
            PoolEvent::WorkerLeft { worker, reason: seen.map_or(LeaveReason::ShutDown, reason) }
        }
        Ended::Died { death, .. } => {
            let death = death.clone();
            match seen.filter(|seen| was_told_to_go(*seen)).map(why_killed) {
                Some((task, reason)) => PoolEvent::WorkerKilled { death, task, reason },
                None => PoolEvent::WorkerDied { death },
            }
        }
        Ended::HostLost(loss) => PoolEvent::WorkerLost { loss: loss.clone() },
        Ended::NotStarted(error) => {
            let (host, reason) = (host.cloned(), error.to_string());
            PoolEvent::WorkerNotStarted { worker, host, reason }
        }
    }
}

/// Of a worker that was told to go: for which task, and for people to read.
fn why_killed(seen: WorkerView) -> (Option<TaskId>, String) {
    let Some((task, failure)) = seen.sentenced else {
        let reason = match seen.stage {
            WorkerStage::Stopping { .. } => "it did not live to leave",
            _ => "the pool has ended it",
        };
        return (None, reason.to_owned());
    };
    let reason = match failure {
        Failure::TimedOut(limit) => format!("its task ran longer than {limit:?}"),
        Failure::Expired => "the deadline of its task had passed".to_owned(),
        Failure::Cancelled => "its task was aborted".to_owned(),
        Failure::Replaced => {
            "its task still ran when the time for its replacement was over".to_owned()
        }
        Failure::ShutDown
        | Failure::Broken
        | Failure::Died
        | Failure::HostLost
        | Failure::NotBegun(_) => "its task still ran when all workers were to end".to_owned(),
    };
    (Some(task), reason)
}

fn was_told_to_go(seen: WorkerView) -> bool {
    !seen.is_lost
        && matches!(
            seen.stage,
            WorkerStage::Stopping { .. } | WorkerStage::Ending { fault: false, .. }
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_where_a_worker_is() {
        let mut observer = Observer::new("pool".to_owned());
        for (worker, host) in [(1, None), (2, Some("node 1".into()))] {
            observer.worker_started(Time::ZERO, WorkerId(worker), 7, host);
        }
        let texts = [1, 2, 3].map(|worker| observer.whereabouts(WorkerId(worker)).to_string());
        assert_eq!(texts, ["worker 1", "worker 2 on \"node 1\"", "worker 3"]);
    }
}
