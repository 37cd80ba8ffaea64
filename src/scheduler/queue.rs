//! What waits: tasks by priority, tenant and order of submission, those that wait for one certain
//! worker, and retries that sit out their back-off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::action::Time;
use super::fairness::{FairShares, Turn};
use super::homes::Homes;
use super::lanes::Lanes;
#[cfg(test)]
use super::lanes::Rank;
use super::numbers::NumberSet;
use super::task::{FlowKey, Key, Task, Wishes};
use crate::base::maps::{SortedMap, TaskMap};
use crate::base::{TaskId, WorkerId};

/// The waiting tasks. Of one without wishes only a bit is kept, so a million of them cost little
/// more than one. A part of a divided task has an id between that of the whole and that of the next
/// task.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Any worker may take them.
    shared: Lanes,
    /// Those that will probably kill their workers; any may take them, but not always.
    suspects: Lanes,
    /// The shared ones that have a key, which no worker has had yet.
    homeless: BTreeMap<Key, NumberSet>,
    /// Tasks whose key has a worker, by that worker. None of the lanes is empty.
    own: SortedMap<WorkerId, Box<Lanes>>, // boxed, as they come and go with each sticky task
    homes: Homes,
    delayed: BTreeSet<(Time, TaskId)>,
    /// What those waiting tasks wish that wish anything, wherever they are.
    wishes: TaskMap<Box<Wishes>>,
    /// Where those are that are not shared.
    elsewhere: TaskMap<QueuePlace>,
    /// All workers that have own tasks and may have room for one, and perhaps others.
    callers: NumberSet,
    /// Whose turn it is.
    shares: FairShares,
    /// How many of the shared ones have a key.
    keyed: usize,
    /// How many there are in `own`.
    owned: usize,
}

/// Where a task waits that not every worker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueuePlace {
    Own(WorkerId),
    Suspect,
    Delayed(Time),
}

impl Queue {
    pub(super) fn push(&mut self, task: Task) {
        let turn = self.join(task.flow());
        self.place(task, turn);
    }

    fn place(&mut self, task: Task, turn: Turn) {
        let (id, flow, key) = (task.id, task.flow(), task.wishes().key);
        let is_suspect = task.wishes().suspect;
        self.keep_wishes(task);
        if is_suspect && key.is_none() {
            self.elsewhere.insert(id, QueuePlace::Suspect);
            self.suspects.insert(flow, turn, id);
            return;
        }
        let Some(key) = key else {
            self.shared.insert(flow, turn, id);
            return;
        };
        if let Some(home) = self.homes.find(key) {
            self.own_insert(home, flow, turn, id);
        } else {
            self.keyed += 1;
            self.homeless.entry(key).or_default().insert(id.0);
            self.shared.insert(flow, turn, id);
        }
    }

    /// Holds a task back until `due`.
    pub(super) fn push_delayed(&mut self, due: Time, task: Task) {
        self.delayed.insert((due, task.id));
        self.elsewhere.insert(task.id, QueuePlace::Delayed(due));
        self.keep_wishes(task);
    }

    /// Holds a task back until it is [released](Self::release), if it waits here. One that sits out
    /// its back-off goes on with that.
    pub(super) fn hold(&mut self, id: TaskId) {
        if matches!(self.elsewhere.get(id), Some(QueuePlace::Delayed(_))) {
            return;
        }
        if let Some(task) = self.remove(id) {
            self.push_delayed(Time::MAX, task);
        }
    }

    pub(super) fn release(&mut self, id: TaskId) {
        if self.elsewhere.get(id) == Some(&QueuePlace::Delayed(Time::MAX))
            && let Some(task) = self.remove(id)
        {
            self.push(task);
        }
    }

    pub(super) fn release_all(&mut self) {
        while let Some(&(Time::MAX, id)) = self.delayed.last() {
            self.release(id);
        }
    }

    fn keep_wishes(&mut self, task: Task) {
        if let Some(wishes) = task.wishes {
            self.wishes.insert(task.id, wishes);
        }
    }

    fn own_insert(&mut self, home: WorkerId, flow: FlowKey, turn: Turn, id: TaskId) {
        self.owned += 1;
        self.own.or_default(&home).insert(flow, turn, id);
        self.elsewhere.insert(id, QueuePlace::Own(home));
        self.callers.insert(home.0);
    }

    /// The first of the tasks that this worker may take, with or without suspects. If it has a key
    /// the worker is that key's home from now on.
    pub(super) fn pop_for(&mut self, worker: WorkerId, with_suspects: bool) -> Option<Task> {
        let shared = self.shared.first();
        let own = self.own.get(&worker).and_then(|lanes| lanes.first());
        let suspect = self.suspects.first().filter(|_| with_suspects);
        let first = shared.into_iter().chain(own).chain(suspect).min()?;
        let task = self.take(first.id);
        let (flow, id) = (first.flow(), first.id);
        if Some(first) == own {
            self.take_own(worker, flow, id);
        } else if Some(first) == suspect {
            self.take_suspect(flow, id);
        } else {
            self.take_shared(flow, id, task.wishes().key);
        }
        self.charge(flow);
        if let Some(key) = task.wishes().key {
            self.settle(key, worker);
        }
        Some(task)
    }

    /// What was kept of a task. It is still to be taken out of where it waits.
    fn take(&mut self, id: TaskId) -> Task {
        Task { id, wishes: self.wishes.remove(id) }
    }

    fn take_shared(&mut self, flow: FlowKey, id: TaskId, key: Option<Key>) -> bool {
        if let Some(key) = key
            && let Some(ids) = self.homeless.get_mut(&key)
        {
            self.keyed -= 1;
            ids.remove(id.0);
            if ids.is_empty() {
                self.homeless.remove(&key);
            }
        }
        self.shared.remove(flow, id)
    }

    fn take_suspect(&mut self, flow: FlowKey, id: TaskId) -> bool {
        self.elsewhere.remove(id);
        self.suspects.remove(flow, id)
    }

    fn take_own(&mut self, worker: WorkerId, flow: FlowKey, id: TaskId) {
        let Some(lanes) = self.own.get_mut(&worker) else { return };
        lanes.remove(flow, id);
        self.owned -= 1;
        self.elsewhere.remove(id);
        if lanes.len() == 0 {
            self.own.remove(&worker);
        }
    }

    /// The other tasks of a key follow the first one to its worker.
    fn settle(&mut self, key: Key, worker: WorkerId) {
        self.homes.settle(key, worker);
        let Some(ids) = self.homeless.remove(&key) else { return };
        for id in ids.iter().map(TaskId) {
            self.keyed -= 1;
            let flow = self.flow(id);
            self.shared.remove(flow, id);
            self.own_insert(worker, flow, self.shares.turn(flow), id);
        }
    }

    fn flow(&self, id: TaskId) -> FlowKey {
        self.wishes.get(id).map_or(FlowKey::USUAL, |wishes| wishes.flow())
    }

    // ----- the shares of tenants -----

    /// One more task of a flow waits.
    fn join(&mut self, flow: FlowKey) -> Turn {
        let turn = self.shares.join(flow);
        self.set_turn(flow, turn);
        turn
    }

    /// A task of a flow has been taken out, and is sent.
    fn charge(&mut self, flow: FlowKey) {
        if !self.shares.is_idle() {
            self.shares.charge(flow, self.has(flow));
            self.set_turn(flow, self.shares.turn(flow));
        }
    }

    /// A task that was sent is over, and took so long; `None` if it has not begun.
    pub(super) fn account(&mut self, task: &Task, took: Option<Duration>) {
        if !self.shares.is_idle() {
            let flow = task.flow();
            self.shares.settle(flow, took);
            self.set_turn(flow, self.shares.turn(flow));
        }
    }

    /// Whether a task of a flow waits that could be sent.
    fn has(&self, flow: FlowKey) -> bool {
        let own = || self.own.values().any(|lanes| lanes.has(flow));
        self.shared.has(flow) || self.suspects.has(flow) || own()
    }

    fn set_turn(&mut self, flow: FlowKey, turn: Turn) {
        if !self.shares.is_idle() {
            self.shared.set_turn(flow, turn);
            self.suspects.set_turn(flow, turn);
            self.own.values_mut().for_each(|lanes| lanes.set_turn(flow, turn));
        }
    }

    /// The worker takes no more tasks: those that waited for it may go to any other, but for those
    /// of the `busy` keys, of which it still has a task.
    pub(super) fn forget(&mut self, worker: WorkerId, busy: &[Key]) {
        self.homes.forget(worker, busy);
        self.callers.remove(worker.0);
        let mut lanes = self.own.remove(&worker).unwrap_or_default();
        self.owned -= lanes.len();
        while let Some(rank) = lanes.pop_first() {
            self.elsewhere.remove(rank.id);
            let task = self.take(rank.id);
            self.place(task, rank.turn); // it has waited all along
        }
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        let task = self.take(id);
        let flow = task.flow();
        let was_there = match self.elsewhere.get(id) {
            None => self.take_shared(flow, id, task.wishes().key),
            Some(&QueuePlace::Own(worker)) => {
                self.take_own(worker, flow, id);
                true
            }
            Some(&QueuePlace::Suspect) => self.take_suspect(flow, id),
            Some(&QueuePlace::Delayed(due)) => {
                self.elsewhere.remove(id);
                self.delayed.remove(&(due, id))
            }
        };
        if !self.shares.is_idle() && !self.has(flow) {
            self.shares.leave(flow);
        }
        was_there.then_some(task)
    }

    /// Empties the queue, delayed tasks included, in the order in which they would be sent.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Task> + use<> {
        let homes = std::mem::take(&mut self.homes);
        let mut drained = std::mem::replace(self, Self { homes, ..Self::default() });
        for id in std::mem::take(&mut drained.elsewhere).into_tasks() {
            let flow = drained.flow(id);
            drained.shared.insert(flow, drained.shares.turn(flow), id);
        }
        std::iter::from_fn(move || {
            let first = drained.shared.pop_first()?;
            Some(drained.take(first.id))
        })
    }

    /// Moves every delayed task whose time has come among the ready ones.
    pub(super) fn release_due(&mut self, now: Time) {
        while let Some(&(due, id)) = self.delayed.first()
            && due <= now
        {
            self.delayed.pop_first();
            self.elsewhere.remove(id);
            let task = self.take(id);
            self.push(task);
        }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Whether the first of the tasks that any worker may take makes its worker the home of a key.
    pub(super) fn settles(&self) -> bool {
        let wishes = || self.wishes.get(self.shared.first()?.id);
        self.keyed > 0 && wishes().is_some_and(|wishes| wishes.key.is_some())
    }

    /// Whether the first of the tasks that any worker may take has no key and no parts.
    pub(super) fn is_first_plain(&self) -> bool {
        let Some(first) = self.shared.first() else { return false };
        let wishes = || self.wishes.get(first.id);
        self.wishes.is_empty() || wishes().is_none_or(|w| w.key.is_none() && !w.divisible)
    }

    /// Whether a suspect stands before the tasks that any worker may take.
    pub(super) fn is_first_suspect(&self) -> bool {
        let suspect = self.suspects.first();
        suspect.is_some_and(|rank| self.shared.first().is_none_or(|first| rank < first))
    }

    /// How many keys have their home there.
    pub(super) fn keys_of(&self, worker: WorkerId) -> usize {
        self.homes.count(worker)
    }

    /// Whether no task waits that could be sent.
    pub(super) fn is_dry(&self) -> bool {
        self.shared.len() + self.suspects.len() + self.owned == 0
    }

    /// The workers with room that are waited for, whoever else is idle, and perhaps others.
    pub(super) fn callers(&self) -> Vec<WorkerId> {
        if self.callers.is_empty() {
            return Vec::new(); // as nearly always, and asked at every event
        }
        self.callers.iter().map(WorkerId).collect()
    }

    /// The worker has room; says whether it is waited for.
    pub(super) fn call(&mut self, worker: WorkerId) {
        if self.owned > 0 && self.awaits(worker) {
            self.callers.insert(worker.0);
        }
    }

    /// The worker has no room, or is not waited for any more.
    pub(super) fn dismiss_caller(&mut self, worker: WorkerId) {
        self.callers.remove(worker.0);
    }

    pub(super) fn awaits(&self, worker: WorkerId) -> bool {
        self.own.contains_key(&worker)
    }

    /// How many further workers could take a task now, but for suspects. All tasks of one key want
    /// the same one.
    pub(super) fn wanted(&self) -> usize {
        self.shared.len() - self.keyed + self.homeless.len()
    }

    /// The same of suspects.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len()
    }

    /// All that waits, delayed retries included.
    pub(super) fn len(&self) -> usize {
        self.shared.len() + self.suspects.len() + self.owned + self.delayed.len()
    }

    /// Whether all that is kept is what a count gives.
    #[cfg(test)]
    pub(super) fn is_true(&self) -> bool {
        let key = |id: &TaskId| self.wishes.get(*id).and_then(|wishes| wishes.key);
        let shared: Vec<Rank> = self.shared.iter().collect();
        let keyed = shared.iter().filter(|rank| key(&rank.id).is_some());
        let keyed: BTreeSet<(Option<Key>, TaskId)> =
            keyed.map(|rank| (key(&rank.id), rank.id)).collect();
        let homeless = self.homeless.iter();
        let homeless =
            homeless.flat_map(|(key, ids)| ids.iter().map(|id| (Some(*key), TaskId(id))));
        let own = self.own.iter();
        let own: Vec<(WorkerId, Rank)> =
            own.flat_map(|(worker, lanes)| lanes.iter().map(|rank| (*worker, rank))).collect();
        let delayed = self.delayed.iter().map(|&(due, id)| (id, QueuePlace::Delayed(due)));
        let suspects = self.suspects.iter().map(|rank| (rank.id, QueuePlace::Suspect));
        let elsewhere: TaskMap<QueuePlace> = own
            .iter()
            .map(|&(worker, rank)| (rank.id, QueuePlace::Own(worker)))
            .chain(delayed)
            .chain(suspects)
            .collect();
        let mut in_lanes = shared.iter().chain(own.iter().map(|(_, rank)| rank));
        let mut wishing = self.wishes.clone().into_tasks().into_iter();
        let turn_of = |rank: &Rank| self.shares.turn(rank.flow());
        let own_lanes = self.own.values().map(|lanes| &**lanes);
        let mut lanes = own_lanes.chain([&self.shared, &self.suspects]);
        lanes.all(|lanes| lanes.is_true() && lanes.iter().all(|rank| rank.turn == turn_of(&rank)))
            && keyed.len() == self.keyed
            && keyed == homeless.collect()
            && own.len() == self.owned
            && elsewhere == self.elsewhere
            && in_lanes.all(|rank| rank.flow() == self.flow(rank.id))
            && wishing.all(|id| elsewhere.get(id).is_some() || shared.iter().any(|r| r.id == id))
            && self.own.values().all(|lanes| lanes.len() > 0)
            && !self.homeless.values().any(NumberSet::is_empty)
    }

    /// Whether a task waits until it is released.
    #[cfg(test)]
    pub(super) fn holds_some(&self) -> bool {
        self.delayed.last().is_some_and(|(due, _)| *due == Time::MAX)
    }

    /// Whether a worker is among the callers.
    #[cfg(test)]
    pub(super) fn is_caller(&self, worker: WorkerId) -> bool {
        self.callers.iter().any(|caller| caller == worker.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = 7;
    const MILLION: u64 = 1_000_000;

    fn task(id: u64) -> Task {
        Task::new(TaskId(id))
    }

    fn keyed(id: u64) -> Task {
        wishing(id, Wishes { key: Some(KEY), ..Wishes::default() })
    }

    fn wishing(id: u64, wishes: Wishes) -> Task {
        Task::with(TaskId(id), wishes)
    }

    fn with_priority(id: u64, priority: i32) -> Task {
        wishing(id, Wishes { priority, ..Wishes::default() })
    }

    fn queue(tasks: impl IntoIterator<Item = Task>) -> Queue {
        let mut queue = Queue::default();
        tasks.into_iter().for_each(|task| queue.push(task));
        queue
    }

    fn popped(queue: &mut Queue, worker: u64) -> Vec<u64> {
        let pop = || queue.pop_for(WorkerId(worker), true);
        std::iter::from_fn(pop).map(|task| task.id.get()).collect()
    }

    #[test]
    fn a_higher_priority_comes_first_and_an_older_task_before_a_younger_one() {
        let tasks = [with_priority(2, -1), with_priority(3, 1), task(4), task(1)];
        let mut queue = queue(tasks);
        assert_eq!(queue.wanted(), 4);
        assert_eq!(popped(&mut queue, 1), [3, 1, 4, 2]);
    }

    #[test]
    fn tasks_of_a_key_follow_the_first_one() {
        let mut queue = queue([keyed(1), task(2), keyed(3), task(4)]);
        assert_eq!((queue.wanted(), queue.len()), (3, 4));
        assert_eq!(queue.pop_for(WorkerId(1), true).map(|task| task.id), Some(TaskId(1)));
        queue.push(keyed(5));
        assert_eq!((queue.wanted(), queue.len()), (2, 4));
        assert_eq!(queue.callers(), [WorkerId(1)]);
        assert_eq!(popped(&mut queue, 2), [2, 4]);
        assert_eq!(popped(&mut queue, 1), [3, 5]);
        assert_eq!((queue.wanted(), queue.len()), (0, 0));
    }

    #[test]
    fn a_worker_that_goes_is_no_home() {
        let mut queue = queue([keyed(1), keyed(2), task(3)]);
        let _ = queue.pop_for(WorkerId(1), true);
        queue.forget(WorkerId(1), &[]);
        assert_eq!((queue.wanted(), queue.len()), (2, 2));
        assert_eq!(popped(&mut queue, 2), [2, 3]);
    }

    #[test]
    fn a_task_is_found_wherever_it_waits() {
        let mut queue = queue([keyed(1), keyed(2), task(3), with_priority(4, 5)]);
        let first = queue.pop_for(WorkerId(1), true).map(|task| task.id);
        let second = queue.pop_for(WorkerId(1), true).map(|task| task.id);
        assert_eq!((first, second), (Some(TaskId(4)), Some(TaskId(1))));
        queue.push_delayed(Time::ZERO, task(5));
        queue.push(wishing(6, Wishes { priority: -3, key: Some(1), ..Wishes::default() }));
        for id in [2, 3, 5, 6] {
            assert_eq!(queue.remove(TaskId(id)).map(|task| task.id), Some(TaskId(id)));
            assert_eq!(queue.remove(TaskId(id)), None);
        }
        assert_eq!((queue.wanted(), queue.len()), (0, 0));
    }

    #[test]
    fn what_is_held_back_is_no_task_of_anybody_until_it_is_released() {
        let mut queue = queue([task(1), keyed(2), task(3), with_priority(4, 1)]);
        for id in [1, 2, 4, 9] {
            queue.hold(TaskId(id));
        }
        queue.release_due(Time::from_secs(1 << 40));
        queue.release(TaskId(3)); // which is not held back
        assert_eq!((queue.wanted(), queue.len()), (1, 4));
        assert_eq!(popped(&mut queue, 1), [3]);
        queue.release(TaskId(1));
        assert_eq!(popped(&mut queue, 1), [1]);
        assert!(queue.remove(TaskId(2)).is_some() && queue.is_true());
        queue.release_all();
        assert_eq!(popped(&mut queue, 1), [4]);
        assert!(queue.len() == 0 && queue.is_true());
    }

    #[test]
    fn all_that_waits_is_drained_in_the_order_of_sending() {
        let mut queue =
            queue([keyed(1), keyed(2), task(3), with_priority(4, 1), with_priority(5, -1)]);
        assert_eq!(queue.pop_for(WorkerId(1), true).map(|task| task.id), Some(TaskId(4)));
        assert_eq!(queue.pop_for(WorkerId(1), true).map(|task| task.id), Some(TaskId(1)));
        queue.push_delayed(Time::ZERO, with_priority(6, 2));
        let drained = queue.drain().map(|task| (task.id.get(), task.wishes().priority));
        assert!(drained.eq([(6, 2), (2, 0), (3, 0), (5, -1)]));
        assert!(queue.len() == 0 && queue.is_true());
    }

    /// The size: a block and its index take two words, and a tree is half full at least.
    fn memory(queue: &Queue) -> usize {
        assert!(queue.wishes.is_empty() && queue.elsewhere.is_empty());
        queue.shared.blocks() * 16 * 2
    }

    #[test]
    fn a_million_tasks_that_wish_nothing_take_less_than_a_megabyte() {
        let queue = queue((1..=MILLION).map(task));
        assert_eq!(queue.len() as u64, MILLION);
        assert!(memory(&queue) < 1 << 20, "{}", memory(&queue));
    }

    #[test]
    fn a_task_that_wishes_nothing_never_takes_more_than_its_own_block() {
        let queue = queue((1..=1_000).map(|n| task(n * 1_000)));
        assert!(memory(&queue) <= queue.len() * 32);
    }

    #[test]
    fn what_is_cancelled_while_it_waits_leaves_nothing_behind() {
        let mut queue = queue((1..=MILLION / 10).map(task));
        let before = memory(&queue);
        // All but every hundredth, in an order that has nothing to do with that of sending.
        for step in 0..MILLION / 10 {
            let id = step * 77_777 % (MILLION / 10) + 1;
            if !id.is_multiple_of(100) {
                assert!(queue.remove(TaskId(id)).is_some());
            }
        }
        assert_eq!(queue.len() as u64, MILLION / 1_000);
        assert!(memory(&queue) <= queue.len() * 32 && memory(&queue) < before);
        assert_eq!(popped(&mut queue, 1)[..3], [100, 200, 300]);
        assert_eq!(memory(&queue), 0);
    }

    #[test]
    fn a_task_is_small() {
        assert!(size_of::<Task>() <= 16);
    }
}
