//! What has really happened: which worker has run what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use super::clock;
use crate::base::{ResourceLimits, TaskId, WorkerId};
use crate::testing::{Check, Sights, ensure};

/// How a call ended in its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Returned,
    Panicked,
}

/// A call of a function in a worker.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    /// Of the call.
    pub(super) number: u64,
    pub(super) task: TaskId,
    pub(super) worker: WorkerId,
    pub(super) attempt: u32,
    /// Whether it was an item of a chunk.
    pub(super) is_item: bool,
    /// At which event it began.
    pub(super) began: usize,
    /// How many values.
    pub(super) emitted: u64,
    pub(super) ending: Option<Ending>,
    /// Its reply was seen, or can be seen, as a whole.
    pub(super) said: bool,
    /// Its worker has ended.
    pub(super) gone: bool,
}

/// What a third of the calls have for themselves; all items of a map have those of the first one.
pub(super) fn limits_of(number: u64) -> Option<ResourceLimits> {
    number.is_multiple_of(3).then(|| ResourceLimits::new().file_size(number))
}

/// All executions, and a trace of everything that happened.
#[derive(Default)]
pub(super) struct Record {
    pub(super) executions: Vec<Execution>,
    /// Those of each call, as their users number them.
    by_number: BTreeMap<u64, Vec<usize>>,
    /// How many items each map has, by the number of the first one.
    maps: BTreeMap<u64, u64>,
    pub(super) trace: Trace,
    /// Calls that may be begun again although they have ended well.
    pub(super) repeats: BTreeSet<u64>,
    /// The number of the event that is being played.
    pub(super) event: usize,
    /// Workers that have lied; what they say afterwards does not count.
    pub(super) liars: BTreeSet<WorkerId>,
    pub(super) sights: Sights,
    /// Calls that may run on hosts that were lost, and until when.
    haunted: BTreeMap<u64, Duration>,
    /// Some worker is known to have begun what it was sent, whatever it did.
    pub(super) is_blurred: bool,
}

impl Record {
    pub(super) fn new(trace: Trace) -> Self {
        Self { trace, ..Self::default() }
    }

    /// Items of a map begin with this number.
    pub(super) fn add_map(&mut self, first: u64, count: u64) {
        self.maps.insert(first, count);
    }

    /// Whether a worker was told what a call may take.
    pub(super) fn check_limits(&mut self, number: u64, told: Option<ResourceLimits>) -> Check {
        let map = self.maps.range(..=number).next_back();
        let first = map.filter(|(first, count)| number - **first < **count);
        let expected = limits_of(first.map_or(number, |(first, _)| *first));
        ensure!(told == expected, "call {number} has the limits {told:?} and not {expected:?}");
        if told.is_some() {
            self.see(if first.is_some() { "items with limits" } else { "a task with limits" });
        }
        Ok(())
    }

    /// A worker begins to execute a call; which execution that is.
    pub(super) fn begin(&mut self, execution: Execution) -> Result<usize, String> {
        let Execution { number, task, worker, attempt, .. } = execution;
        self.trace.note(format_args!("{worker} begins call {number} ({task}, attempt {attempt})"));
        if attempt > 1 {
            self.see("a second attempt");
        }
        let until = self.haunted.get(&number);
        ensure!(
            until.is_none_or(|until| *until <= clock::passed()),
            "call {number} is begun in {worker}, and may still run on a host that was lost"
        );
        let earlier = self.by_number.entry(number).or_default();
        for earlier in earlier.iter().map(|n| &self.executions[*n]) {
            ensure!(earlier.attempt < attempt, "call {number} is begun twice at attempt {attempt}");
            let repeats = earlier.ending.is_some() && self.repeats.contains(&number);
            ensure!(
                earlier.gone || repeats,
                "call {number} is begun in {worker} while {} is still there",
                earlier.worker
            );
            let is_single = earlier.is_item && !self.repeats.contains(&number);
            ensure!(!is_single, "item {number} is begun twice");
        }
        earlier.push(self.executions.len());
        self.executions.push(execution);
        Ok(self.executions.len() - 1)
    }

    pub(super) fn see(&mut self, sight: &'static str) {
        self.sights.see(sight);
    }

    pub(super) fn say(&mut self, executions: impl IntoIterator<Item = usize>) {
        for execution in executions {
            let execution = &mut self.executions[execution];
            execution.said = !self.liars.contains(&execution.worker);
        }
    }

    /// What their worker has said of them is lost, unless somebody has heard of it.
    pub(super) fn unsay(&mut self, executions: impl IntoIterator<Item = usize>) {
        for execution in executions {
            self.executions[execution].said = false;
        }
    }

    /// A call may run on a host that was lost.
    pub(super) fn haunt(&mut self, number: u64, until: Duration) {
        let latest = self.haunted.entry(number).or_default();
        *latest = until.max(*latest);
    }

    /// So may all that a worker has begun and not answered.
    pub(super) fn haunt_all_of(&mut self, worker: WorkerId, until: Duration) {
        let runs = self.executions.iter().filter(|run| run.worker == worker && !run.said);
        let numbers: Vec<u64> = runs.map(|run| run.number).collect();
        for number in numbers {
            self.haunt(number, until);
        }
    }

    /// A worker has ended.
    pub(super) fn lose(&mut self, worker: WorkerId) {
        for execution in self.executions.iter_mut().filter(|run| run.worker == worker) {
            execution.gone = true;
        }
    }

    /// All executions, the first one first, with the numbers of their calls.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Execution)> {
        self.executions.iter().map(|execution| (execution.number, execution))
    }

    /// All executions of a call, the first one first.
    pub(super) fn of(&self, number: u64) -> impl DoubleEndedIterator<Item = (usize, &Execution)> {
        let executions = self.by_number.get(&number).into_iter().flatten();
        executions.map(|n| (*n, &self.executions[*n]))
    }
}

/// A story, as text if somebody wants to read it, and as a number to compare.
#[derive(Default)]
pub(super) struct Trace {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn readable() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    pub(super) fn note(&mut self, text: fmt::Arguments<'_>) {
        self.lines.iter_mut().for_each(|lines| lines.push(text.to_string()));
        let _ = self.write_fmt(text);
        self.hasher.write_u8(0xFF);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hasher.write(text.as_bytes());
        Ok(())
    }
}
