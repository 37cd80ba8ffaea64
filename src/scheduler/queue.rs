//! What waits: tasks by priority and order of submission, those that wait for one certain worker, and
//! retries that sit out their back-off.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Time;
use super::homes::Homes;
use crate::id::{TaskId, WorkerId};

/// Tasks of one key go to one worker.
pub(crate) type Key = u64;

/// A task as far as policy is concerned. It moves whole between queue and pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// Higher ones come first.
    pub(crate) priority: i32,
    /// Tasks of the same key go to the same worker while it lives.
    pub(crate) key: Option<Key>,
    /// Counts from one; a task that had not begun when its worker died keeps its number.
    pub(crate) attempt: u32,
    /// How often it may still be begun again after a death or a timeout.
    pub(crate) retries: u32,
    /// Running time that it may take.
    pub(crate) timeout: Option<Duration>,
    /// When it must be over.
    pub(crate) deadline: Option<Time>,
    /// A part of it can be taken back while it runs.
    pub(crate) divisible: bool,
}

impl Task {
    /// A task without any wishes.
    pub(crate) fn new(id: TaskId) -> Self {
        Self {
            id,
            priority: 0,
            key: None,
            attempt: 1,
            retries: 0,
            timeout: None,
            deadline: None,
            divisible: false,
        }
    }

    fn rank(&self) -> Rank {
        Rank { priority: Reverse(self.priority), id: self.id }
    }
}

/// The order in which tasks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Reverse<i32>,
    id: TaskId,
}

/// The waiting tasks. Ids grow with submission, so within a priority the order is first in, first out,
/// and a task that comes back takes its old place. A part of a divided task has an id between that of
/// the whole and that of the next task.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Any worker may take them.
    shared: BTreeMap<Rank, Task>,
    /// The shared ones that have a key, which no worker has had yet.
    homeless: BTreeMap<Key, BTreeSet<Rank>>,
    /// Tasks whose key has a worker, by that worker. None of the maps is empty.
    own: BTreeMap<WorkerId, BTreeMap<Rank, Task>>,
    homes: Homes,
    delayed: BTreeMap<(Time, TaskId), Task>,
    /// The priorities of those waiting tasks that have one.
    priorities: BTreeMap<TaskId, i32>,
    /// How many of the shared ones have a key.
    keyed: usize,
    /// How many there are in `own`.
    owned: usize,
}

impl Queue {
    pub(super) fn push(&mut self, task: Task) {
        let rank = task.rank();
        if task.priority != 0 {
            self.priorities.insert(task.id, task.priority);
        }
        let Some(key) = task.key else {
            self.shared.insert(rank, task);
            return;
        };
        if let Some(home) = self.homes.find(key) {
            self.owned += 1;
            self.own.entry(home).or_default().insert(rank, task);
        } else {
            self.keyed += 1;
            self.homeless.entry(key).or_default().insert(rank);
            self.shared.insert(rank, task);
        }
    }

    /// Holds a task back until `due`.
    pub(super) fn push_delayed(&mut self, due: Time, task: Task) {
        self.delayed.insert((due, task.id), task);
    }

    /// The first of the tasks that this worker may take. If it has a key the worker is that key's home
    /// from now on.
    pub(super) fn pop_for(&mut self, worker: WorkerId) -> Option<Task> {
        let shared = self.shared.first_key_value().map(|(rank, _)| *rank);
        let own = self.own.get(&worker).and_then(BTreeMap::first_key_value).map(|(rank, _)| *rank);
        let task = match (shared, own) {
            (Some(shared), own) if own.is_none_or(|own| shared < own) => self.take_shared(shared),
            (_, Some(own)) => self.take_own(worker, own),
            _ => None,
        }?;
        if task.priority != 0 {
            self.priorities.remove(&task.id);
        }
        if let Some(key) = task.key {
            self.settle(key, worker);
        }
        Some(task)
    }

    fn take_shared(&mut self, rank: Rank) -> Option<Task> {
        let task = self.shared.remove(&rank)?;
        if let Some(key) = task.key
            && let Some(ranks) = self.homeless.get_mut(&key)
        {
            self.keyed -= 1;
            ranks.remove(&rank);
            if ranks.is_empty() {
                self.homeless.remove(&key);
            }
        }
        Some(task)
    }

    fn take_own(&mut self, worker: WorkerId, rank: Rank) -> Option<Task> {
        let tasks = self.own.get_mut(&worker)?;
        let task = tasks.remove(&rank)?;
        self.owned -= 1;
        if tasks.is_empty() {
            self.own.remove(&worker);
        }
        Some(task)
    }

    /// The other tasks of a key follow the first one to its worker.
    fn settle(&mut self, key: Key, worker: WorkerId) {
        self.homes.settle(key, worker);
        let Some(ranks) = self.homeless.remove(&key) else { return };
        self.keyed -= ranks.len();
        self.owned += ranks.len();
        let tasks = ranks.into_iter().filter_map(|rank| Some((rank, self.shared.remove(&rank)?)));
        self.own.entry(worker).or_default().extend(tasks);
    }

    /// The worker takes no more tasks: those that waited for it may go to any other, but for those of the
    /// `busy` keys, of which it still has a task.
    pub(super) fn forget(&mut self, worker: WorkerId, busy: &[Key]) {
        self.homes.forget(worker, busy);
        let tasks = self.own.remove(&worker).unwrap_or_default();
        self.owned -= tasks.len();
        for task in tasks.into_values() {
            self.push(task);
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let priority = self.priorities.remove(&id).unwrap_or_default();
        let rank = Rank { priority: Reverse(priority), id };
        let task = self.take_shared(rank).or_else(|| {
            let worker = *self.own.iter().find(|(_, tasks)| tasks.contains_key(&rank))?.0;
            self.take_own(worker, rank)
        });
        task.or_else(|| {
            let key = *self.delayed.keys().find(|(_, delayed)| *delayed == id)?;
            self.delayed.remove(&key)
        })
    }

    /// Empties the queue, delayed tasks included, in the order in which they would be sent.
    pub(super) fn drain(&mut self) -> Vec<Task> {
        let mut tasks = std::mem::take(&mut self.shared);
        tasks.extend(std::mem::take(&mut self.own).into_values().flatten());
        let delayed = std::mem::take(&mut self.delayed).into_values();
        tasks.extend(delayed.map(|task| (task.rank(), task)));
        self.homeless.clear();
        self.priorities.clear();
        (self.keyed, self.owned) = (0, 0);
        tasks.into_values().collect()
    }

    /// Moves every delayed task whose time has come among the ready ones.
    pub(super) fn release_due(&mut self, now: Time) {
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let task = entry.remove();
            self.push(task);
        }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Whether the first of the tasks that any worker may take makes its worker the home of a key.
    pub(super) fn settles(&self) -> bool {
        self.shared.first_key_value().is_some_and(|(_, task)| task.key.is_some())
    }

    /// How many keys have their home there.
    pub(super) fn keys_of(&self, worker: WorkerId) -> usize {
        self.homes.count(worker)
    }

    /// The workers that are waited for, whoever else is idle.
    pub(super) fn awaited(&self) -> Vec<WorkerId> {
        self.own.keys().copied().collect()
    }

    pub(super) fn awaits(&self, worker: WorkerId) -> bool {
        self.own.contains_key(&worker)
    }

    /// How many further workers could take a task now. All tasks of one key want the same one.
    pub(super) fn wanted(&self) -> usize {
        self.shared.len() - self.keyed + self.homeless.len()
    }

    /// All that waits, delayed retries included.
    pub(super) fn len(&self) -> usize {
        self.shared.len() + self.owned + self.delayed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = 7;

    fn task(id: u64) -> Task {
        Task::new(TaskId(id))
    }

    fn keyed(id: u64) -> Task {
        Task { key: Some(KEY), ..task(id) }
    }

    fn queue(tasks: impl IntoIterator<Item = Task>) -> Queue {
        let mut queue = Queue::default();
        tasks.into_iter().for_each(|task| queue.push(task));
        queue
    }

    fn popped(queue: &mut Queue, worker: u64) -> Vec<u64> {
        let pop = || queue.pop_for(WorkerId(worker));
        std::iter::from_fn(pop).map(|task| task.id.get()).collect()
    }

    #[test]
    fn a_higher_priority_comes_first_and_an_older_task_before_a_younger_one() {
        let urgent = Task { priority: 1, ..task(3) };
        let late = Task { priority: -1, ..task(2) };
        let mut queue = queue([late, urgent, task(4), task(1)]);
        assert_eq!(queue.wanted(), 4);
        assert_eq!(popped(&mut queue, 1), [3, 1, 4, 2]);
    }

    #[test]
    fn tasks_of_a_key_follow_the_first_one() {
        let mut queue = queue([keyed(1), task(2), keyed(3), task(4)]);
        assert_eq!((queue.wanted(), queue.len()), (3, 4));
        assert_eq!(queue.pop_for(WorkerId(1)).map(|task| task.id), Some(TaskId(1)));
        queue.push(keyed(5));
        assert_eq!((queue.wanted(), queue.len()), (2, 4));
        assert_eq!(queue.awaited(), [WorkerId(1)]);
        assert_eq!(popped(&mut queue, 2), [2, 4]);
        assert_eq!(popped(&mut queue, 1), [3, 5]);
        assert_eq!((queue.wanted(), queue.len()), (0, 0));
    }

    #[test]
    fn a_worker_that_goes_is_no_home() {
        let mut queue = queue([keyed(1), keyed(2), task(3)]);
        let _ = queue.pop_for(WorkerId(1));
        queue.forget(WorkerId(1), &[]);
        assert_eq!((queue.wanted(), queue.len()), (2, 2));
        assert_eq!(popped(&mut queue, 2), [2, 3]);
    }

    #[test]
    fn a_task_is_found_wherever_it_waits() {
        let mut queue = queue([keyed(1), keyed(2), task(3), Task { priority: 5, ..task(4) }]);
        let first = queue.pop_for(WorkerId(1)).map(|task| task.id);
        let second = queue.pop_for(WorkerId(1)).map(|task| task.id);
        assert_eq!((first, second), (Some(TaskId(4)), Some(TaskId(1))));
        queue.push_delayed(Time::ZERO, task(5));
        queue.push(Task { priority: -3, key: Some(1), ..task(6) });
        for id in [2, 3, 5, 6] {
            assert_eq!(queue.remove(TaskId(id)).map(|task| task.id), Some(TaskId(id)));
            assert_eq!(queue.remove(TaskId(id)), None);
        }
        assert_eq!((queue.wanted(), queue.len()), (0, 0));
    }
}
