//! What the supervisor keeps of each task that is not over.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::sync::Arc;

use crate::base::TaskId;
use crate::base::maps::IdHasher;
use crate::error::kind::TaskOutcome;
use crate::error::{Cause, TaskError};
use crate::memory::Payload;
use crate::parent::Outlet;
use crate::pool::task::cell::{Resolution, Sending, TaskCell};
use crate::pool::task::harvest::{Harvest, ItemRange};
use crate::pool::watch::metrics::TaskOutcomes;
use crate::wire::message::{Attempt, ChunkHeader, Kind, Outcome, SegmentTask, Slot, TaskHeader};

/// A task on its way, and the duty to resolve it. If it is dropped, so that nobody could fulfil
/// that any more (the task met a pool that had just closed), the task resolves as shut down.
pub(crate) struct Entry {
    cell: Arc<TaskCell>,
    /// Set if it is a chunk: where the results of its items go.
    harvest: Option<Arc<Harvest>>,
}

impl Entry {
    pub(crate) fn new(cell: Arc<TaskCell>) -> Self {
        Self { cell, harvest: None }
    }

    pub(crate) fn chunk(cell: Arc<TaskCell>, harvest: &Arc<Harvest>) -> Self {
        Self { cell, harvest: Some(Arc::clone(harvest)) }
    }

    pub(crate) fn cell(&self) -> &Arc<TaskCell> {
        &self.cell
    }

    pub(crate) fn harvest(&self) -> Option<&Arc<Harvest>> {
        self.harvest.as_ref()
    }

    /// If it is a chunk that ends so: how those of its items ended that were not told before.
    pub(crate) fn last_items(&self, outcome: TaskOutcome) -> Option<TaskOutcomes> {
        let harvest = self.harvest.as_ref()?;
        Some(harvest.take_last_counts(self.cell.id(), outcome))
    }

    /// Puts the frame of a task into a worker's outlet, and before it what it has beside its
    /// arguments.
    pub(crate) fn put(
        &self,
        outlet: &Outlet,
        attempt: u32,
        slot: Option<Slot>,
        Sending { arguments, is_heard, extras }: Sending,
    ) -> io::Result<()> {
        let (task, function) = (self.cell.id(), self.cell.function());
        if let Some(extras) = extras {
            let (header, payload) = *extras;
            outlet.put(Kind::Extras, &header, payload)?;
        }
        if let Some(harvest) = &self.harvest {
            let ItemRange { skipped, count, credit } = harvest.range(task);
            let header = ChunkHeader { task, function, attempt, skipped, count, credit, slot };
            outlet.put_task(Kind::Chunk, &header, arguments)
        } else {
            let attempt = Attempt { number: attempt, is_heard };
            let header = TaskHeader { task, function, attempt, slot };
            if let Some(lease) = arguments.lease()
                && let Some(place) = lease.place()
                && outlet.opens_segments()
            {
                let header = SegmentTask { task: header, place };
                let memory =
                    || lease.descriptor().into_iter().chain(arguments.descriptors()).collect();
                return outlet.put_naming(Kind::SegmentTask, &header, Payload::default(), memory);
            }
            outlet.put_task(Kind::Task, &header, arguments)
        }
    }

    /// A result, or a failure as the worker told it.
    pub(crate) fn delivered(
        &self,
        outcome: Outcome,
        payload: Payload,
        max_payload: usize,
    ) -> Resolution {
        match Cause::told(outcome, &payload, max_payload) {
            None => Ok(payload),
            Some(cause) => Err(self.failed(cause)),
        }
    }

    pub(crate) fn failed(&self, cause: Cause) -> TaskError {
        self.cell.error(cause)
    }

    /// Nobody is left who could resolve it otherwise.
    pub(crate) fn give_up(&self, cause: Cause) {
        self.cell.give_up(cause);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.give_up(Cause::ShutDown);
    }
}

/// How many neighbors share a page of the ledger.
const PAGE: usize = 64;

/// All tasks that are not over. Ids are counted up, so they are kept in pages of neighbors: that
/// takes little more than two pointers for each, and nothing moves when there are many.
#[derive(Default)]
pub(crate) struct Ledger {
    pages: HashMap<u64, Box<Page>, BuildHasherDefault<IdHasher>>,
    /// One that is empty, for the next that is needed.
    spare: Option<Box<Page>>,
}

struct Page {
    count: usize,
    entries: [Option<Entry>; PAGE],
}

impl Page {
    fn new() -> Box<Self> {
        Box::new(Self { count: 0, entries: [const { None }; PAGE] })
    }
}

/// The number of a task's page, and its place there.
fn place(task: TaskId) -> (u64, usize) {
    let page = PAGE as u64;
    #[expect(clippy::cast_possible_truncation, reason = "less than the size of a page")]
    let place = (task.0 % page) as usize;
    (task.0 / page, place)
}

impl Ledger {
    pub(crate) fn insert(&mut self, entry: Entry) {
        let (number, place) = place(entry.cell().id());
        let page = self.pages.entry(number);
        let page = page.or_insert_with(|| self.spare.take().unwrap_or_else(Page::new));
        page.count += usize::from(page.entries[place].is_none());
        page.entries[place] = Some(entry);
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<&Entry> {
        let (number, place) = place(task);
        self.pages.get(&number)?.entries[place].as_ref()
    }

    pub(crate) fn remove(&mut self, task: TaskId) -> Option<Entry> {
        let (number, place) = place(task);
        let page = self.pages.get_mut(&number)?;
        let entry = page.entries[place].take()?;
        page.count -= 1;
        if page.count == 0 {
            self.spare = self.pages.remove(&number);
        }
        Some(entry)
    }

    /// All tasks, which it has no more.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Entry> {
        std::mem::take(self).pages.into_values().flat_map(|page| page.entries).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::task::Extras;

    impl Ledger {
        pub(crate) fn is_empty(&self) -> bool {
            self.pages.is_empty()
        }
    }

    fn entry(id: u64) -> Entry {
        Entry::new(TaskCell::new(TaskId(id), 0, Payload::default(), true, Extras::default()))
    }

    #[test]
    fn tasks_are_found_and_removed_wherever_they_are() {
        const STEP: u64 = 7;
        let ids = || (1..1000).map(|number| TaskId(number * STEP));
        let mut ledger = Ledger::default();
        for id in ids() {
            ledger.insert(entry(id.0));
        }
        assert!(ledger.get(TaskId(1)).is_none() && ledger.remove(TaskId(1)).is_none());
        for id in ids() {
            assert_eq!(ledger.get(id).unwrap().cell().id(), id);
            assert_eq!(ledger.remove(id).unwrap().cell().id(), id);
            assert!(ledger.get(id).is_none() && ledger.remove(id).is_none());
        }
        assert!(ledger.is_empty(), "nothing is kept of tasks that are over");
    }
}
