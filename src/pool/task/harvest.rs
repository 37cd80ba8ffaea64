//! What the stream of a map and the supervisor share: the chunks on their way, and the results that
//! have come.
//!
//! Items are numbered in the order of the inputs. A chunk is a run of them; it is one task to the
//! scheduler, and can be divided while it runs. Its results come in parts, each a run of items, in
//! any order of the parts. Each item is in exactly one part:
//!
//! ```text
//! chunk   ├──────────────────────────────────────┤
//!          done            running  taken back
//! parts   ├────────┤├─────┤   ┊   ├──────────────┤ another chunk
//! ```

mod restraint;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::sync::Mutex;
use crate::base::{TaskId, WorkerId};
use crate::error::TaskError;
use crate::memory::Payload;
use crate::memory::page::Entries;
use crate::pool::task::budget::{Budget, Gauge, Portion};
use crate::pool::task::cell::{Resolution, TaskCell};
use crate::pool::task::extras::Extras;
use crate::scheduler::TenantKey;
use crate::wire::item::{split_entry, split_item};
use crate::wire::message::ChunkReplyHeader;

/// See the [module](self).
pub(crate) struct Harvest {
    /// The position of the function.
    function: u32,
    /// What results take that were not yielded.
    results: Gauge,
    /// What the arguments of chunks take that are not over.
    arguments: Gauge,
    /// As the budget says of arguments, for who asks at each item.
    enough: AtomicU64,
    /// Results take so much that what has not begun is held back.
    is_paused: AtomicBool,
    /// The supervisor has been asked to send more.
    is_asked: AtomicBool,
    state: Mutex<HarvestState>,
}

/// What each item is allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ItemLimits {
    /// Running time.
    pub(crate) timeout: Option<Duration>,
    /// How often it may be begun again after a death or a timeout.
    pub(crate) retries: u32,
    /// For whom they are.
    pub(crate) tenant: Option<TenantKey>,
}

struct HarvestState {
    limits: ItemLimits,
    /// What each chunk has beside its arguments.
    extras: Extras,
    budget: Budget,
    /// Those that are not over.
    chunks: BTreeMap<TaskId, Chunk>,
    /// Those of them that are held back.
    withheld: BTreeSet<TaskId>,
    /// How many of them the workers are done with.
    finished: usize,
    /// The last chunk used its credit up, so items are better handed out one by one.
    is_large: bool,
    /// What the stream has not taken yet. Bounded, as the inputs are that it takes ahead.
    parts: Vec<Part>,
    waker: Option<Waker>,
    /// Nobody wants any more.
    closed: bool,
}

struct Chunk {
    cell: Arc<TaskCell>,
    /// The number of its first item.
    first: u64,
    /// The name of its first item: its own, until it is begun again without those that are done.
    name: TaskId,
    /// How many items it has; fewer once it was divided.
    count: u32,
    /// How many of them are in parts.
    done: u32,
    /// So many bytes of results have come from the worker that has it.
    received: u64,
    /// So many shall it be when no further item is begun.
    credit: u64,
    is_finished: bool,
    #[expect(dead_code, reason = "it counts until it is dropped")]
    arguments: Portion,
}

/// What became of some items that follow each other.
pub(crate) struct Part {
    /// The number of the first one.
    pub(crate) first: u64,
    /// The name of the first one. The others have those that follow.
    pub(crate) task: TaskId,
    pub(crate) count: u32,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// Entries as a worker wrote them; nothing in them has been looked at.
    Entries {
        worker: WorkerId,
        bytes: Payload,
        /// Of so many at the beginning the results have come before.
        skip: u32,
        /// How long these items took together, those at the beginning included, if that is known.
        nanos: Option<u64>,
        #[expect(dead_code, reason = "it counts until it is dropped")]
        held: Portion,
    },
    /// Their chunk has failed.
    Failed(TaskError),
    /// The pool has not accepted them.
    Refused(TaskError),
}

impl Part {
    pub(crate) fn refused(first: u64, count: u32, error: TaskError) -> Self {
        Self { first, task: TaskId(0), count, content: Content::Refused(error) }
    }
}

/// A chunk that is not over.
pub(crate) struct UnfinishedChunk {
    /// The number of the first item that has no result.
    pub(crate) first: u64,
    /// That item's name.
    pub(crate) task: TaskId,
    /// How many have none.
    pub(crate) count: u32,
    pub(crate) cell: Arc<TaskCell>,
}

/// The items of a chunk, as counted when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemRange {
    /// So many at the beginning are done, and were left out when it was queued again.
    pub(crate) skipped: u32,
    pub(crate) count: u32,
    /// No further one begins when the results take so many bytes.
    pub(crate) credit: u64,
}

/// What a reply means for its chunk.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// There may be more.
    Partial,
    /// It is done; in so many nanoseconds, as the worker says.
    Done { run_time: u64 },
    /// It has used its credit up, and what it had not begun is still to be done.
    Short { run_time: u64 },
    /// It cannot be true.
    Lie,
}

impl Harvest {
    pub(crate) fn new(function: u32, budget: Budget) -> Arc<Self> {
        let state = HarvestState {
            limits: ItemLimits::default(),
            extras: Extras::default(),
            budget,
            chunks: BTreeMap::new(),
            withheld: BTreeSet::new(),
            finished: 0,
            is_large: false,
            parts: Vec::new(),
            waker: None,
            closed: false,
        };
        Arc::new(Self {
            function,
            results: Gauge::default(),
            arguments: Gauge::default(),
            enough: AtomicU64::new(budget.arguments()),
            is_paused: AtomicBool::new(false),
            is_asked: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn limits(&self) -> ItemLimits {
        self.state.lock().limits
    }

    // ----- the stream's side -----

    /// Changes what the items of later chunks are allowed.
    pub(crate) fn set_limits(&self, change: impl FnOnce(&mut ItemLimits)) {
        change(&mut self.state.lock().limits);
    }

    pub(crate) fn set_extras(&self, extras: Extras) {
        self.state.lock().extras = extras;
    }

    pub(crate) fn set_budget(&self, budget: Budget) {
        self.enough.store(budget.arguments(), Ordering::Relaxed);
        self.state.lock().budget = budget;
    }

    /// Adds a chunk, which is about to be queued. Its first item is named as the chunk.
    pub(crate) fn add(
        self: &Arc<Self>,
        task: TaskId,
        (first, count): (u64, u32),
        items: Payload,
    ) -> Arc<TaskCell> {
        let mut state = self.state.lock();
        let cell = TaskCell::new(task, self.function, items, true, state.extras.clone());
        self.insert(&mut state, (first, count), cell)
    }

    fn insert(
        self: &Arc<Self>,
        state: &mut HarvestState,
        (first, count): (u64, u32),
        cell: Arc<TaskCell>,
    ) -> Arc<TaskCell> {
        let name = cell.id();
        let harvest = Arc::clone(self);
        // Each holds the other, but only until the chunk is over, and every task ends.
        cell.add_callback(Box::new(move |resolution| harvest.over(name, resolution)));
        let chunk = Chunk {
            cell: Arc::clone(&cell),
            first,
            name,
            count,
            done: 0,
            received: 0,
            credit: u64::MAX,
            is_finished: false,
            arguments: self.arguments.hold(cell.arguments().len()),
        };
        state.chunks.insert(name, chunk);
        cell
    }

    /// Moves the parts that have come into `parts`, if there are any.
    pub(crate) fn poll_parts(&self, cx: &mut Context<'_>, parts: &mut Vec<Part>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.parts.is_empty() {
            match &mut state.waker {
                Some(known) => known.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        parts.append(&mut state.parts);
        Poll::Ready(())
    }

    /// No more is wanted than what has come, which goes into `parts`; returns what is not over.
    pub(crate) fn close(&self, parts: &mut Vec<Part>) -> Vec<UnfinishedChunk> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waker = None;
        parts.append(&mut state.parts);
        let has_rest = |chunk: &&Chunk| chunk.done < chunk.count;
        let unfinished = state.chunks.values().filter(has_rest).map(|chunk| UnfinishedChunk {
            first: chunk.first + u64::from(chunk.done),
            task: TaskId(chunk.name.0 + u64::from(chunk.done)),
            count: chunk.count - chunk.done,
            cell: Arc::clone(&chunk.cell),
        });
        unfinished.collect()
    }

    // ----- the supervisor's side -----

    /// Takes results that a worker sent, unless they cannot be true. The stream is not woken.
    pub(crate) fn receive(
        &self,
        worker: WorkerId,
        reply: &ChunkReplyHeader,
        bytes: Payload,
    ) -> Receipt {
        let ChunkReplyHeader { task, base, count, nanos, run_time } = *reply;
        let mut state = self.state.lock();
        let HarvestState { chunks, withheld, parts, closed, finished, is_large, .. } = &mut *state;
        let Some(chunk) = chunks.get_mut(&task) else { return Receipt::Lie };
        chunk.received = chunk.received.saturating_add(bytes.len() as u64);
        let end = base.checked_add(count).filter(|end| *end <= chunk.count);
        let Some(end) = end.filter(|_| base <= chunk.done) else { return Receipt::Lie };
        if end > chunk.done {
            let (skip, nanos) = (chunk.done - base, Some(nanos));
            let held = self.results.hold(bytes.len());
            let content = Content::Entries { worker, bytes, skip, nanos, held };
            let part = chunk.part(end, content);
            if !*closed {
                parts.push(part);
            }
        }
        let Some(run_time) = run_time else { return Receipt::Partial };
        let is_done = chunk.done == chunk.count || *closed;
        let is_used_up = chunk.done > 0 && chunk.received >= chunk.credit;
        if !is_done && !is_used_up {
            return Receipt::Lie;
        }
        *is_large = is_used_up;
        *finished += usize::from(!std::mem::replace(&mut chunk.is_finished, true));
        withheld.remove(&task); // a pool that ends holds nothing back
        if is_done { Receipt::Done { run_time } } else { Receipt::Short { run_time } }
    }

    /// As [`Self::receive`], for what was read of the worker's record, as far as it makes sense.
    pub(crate) fn receive_record(&self, worker: WorkerId, task: TaskId, record: Entries) {
        let Entries { base, bytes } = record;
        let (mut rest, mut count) = (&bytes[..], 0);
        while let Ok((_, _, next)) = split_entry(rest) {
            rest = next;
            count += 1;
        }
        let mut state = self.state.lock();
        let HarvestState { chunks, parts, closed, .. } = &mut *state;
        let Some(chunk) = chunks.get_mut(&task) else { return };
        let end = base.saturating_add(count).min(chunk.count);
        if base <= chunk.done && end > chunk.done && !*closed {
            let skip = chunk.done - base;
            let held = self.results.hold(bytes.len());
            let bytes = bytes::Bytes::from(bytes).into();
            let content = Content::Entries { worker, bytes, skip, nanos: None, held };
            parts.push(chunk.part(end, content));
        }
    }

    /// Which of the items that a chunk was made of it has now, as it is sent.
    pub(crate) fn range(&self, task: TaskId) -> ItemRange {
        let mut state = self.state.lock();
        let credit = state.budget.credit();
        let range = state.chunks.get_mut(&task).map(|chunk| {
            chunk.credit = credit;
            let skipped = u32::try_from(chunk.name.0 - task.0).unwrap_or(u32::MAX);
            ItemRange { skipped, count: chunk.count, credit }
        });
        range.unwrap_or_default()
    }

    /// How many items of a chunk have results.
    pub(crate) fn done(&self, task: TaskId) -> u32 {
        self.state.lock().chunks.get(&task).map_or(0, |chunk| chunk.done)
    }

    /// Cuts off what comes behind the first `keep` items of a chunk, and returns the parts of it
    /// that shall be chunks of their own. There are none if nobody wants them.
    pub(crate) fn divide(self: &Arc<Self>, task: TaskId, keep: u32) -> Vec<Division> {
        let mut state = self.state.lock();
        if state.closed {
            return Vec::new();
        }
        let Some(chunk) = state.chunks.get_mut(&task) else { return Vec::new() };
        // Its first item has begun, whatever the worker says; so no part has the name of the whole.
        let (first, name, count, keep) = (chunk.first, chunk.name, chunk.count, keep.max(1));
        let (items, extras) = (chunk.cell.arguments(), chunk.cell.extras());
        chunk.count = count.min(keep);
        // In two, so that a chunk that turns out to be slow is soon with many workers, and what is
        // sent again and again gets less each time.
        let middle = keep.saturating_add(count.saturating_sub(keep).div_ceil(2));
        let halves = [(keep, middle), (middle, count)];
        let halves = halves.into_iter().filter(|(begin, end)| begin < end);
        halves
            .map(|(begin, end)| {
                let task = TaskId(name.0 + u64::from(begin));
                let first = first + u64::from(begin);
                let items = slice_items(&items, begin, end);
                let cell = TaskCell::new(task, self.function, items, false, extras.clone());
                let cell = self.insert(&mut state, (first, end - begin), cell);
                Division { task, begin, end, cell }
            })
            .collect()
    }

    /// A chunk is to be begun again, but not those of its items that are done.
    pub(crate) fn requeue(&self, task: TaskId) {
        let mut state = self.state.lock();
        let Some(chunk) = state.chunks.get_mut(&task) else { return };
        chunk.received = 0;
        if chunk.done == 0 {
            return;
        }
        let done = std::mem::take(&mut chunk.done);
        let items = slice_items(&chunk.cell.arguments(), done, chunk.count);
        chunk.cell.set_arguments(items);
        chunk.first += u64::from(done);
        chunk.name = TaskId(chunk.name.0 + u64::from(done));
        chunk.count -= done;
    }

    /// A chunk is over; whatever has no result by now gets none.
    fn over(&self, task: TaskId, resolution: &Resolution) {
        let mut state = self.state.lock();
        let Some(mut chunk) = state.chunks.remove(&task) else { return };
        state.withheld.remove(&task);
        state.finished -= usize::from(chunk.is_finished);
        if let (Err(error), false) = (resolution, state.closed)
            && chunk.done < chunk.count
        {
            let part = chunk.part(chunk.count, Content::Failed(error.clone()));
            state.parts.push(part);
        }
        drop((state, chunk)); // who is woken may want to know what is held
        self.wake();
    }

    /// Wakes the stream.
    pub(crate) fn wake(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Chunk {
    /// Makes a part of the next items, up to `end`.
    fn part(&mut self, end: u32, content: Content) -> Part {
        let begin = std::mem::replace(&mut self.done, end);
        Part {
            first: self.first + u64::from(begin),
            task: TaskId(self.name.0 + u64::from(begin)),
            count: end - begin,
            content,
        }
    }
}

/// A chunk that was cut off another one.
pub(crate) struct Division {
    pub(crate) task: TaskId,
    /// Its first item, as counted in the other one.
    pub(crate) begin: u32,
    pub(crate) end: u32,
    pub(crate) cell: Arc<TaskCell>,
}

/// The items from `begin` to `end`.
fn slice_items(items: &Payload, begin: u32, end: u32) -> Payload {
    let mut rest = &items[..];
    let mut skip = |count| {
        for _ in 0..count {
            rest = split_item(rest).map_or(&[], |(_, rest)| rest);
        }
        items.len() - rest.len()
    };
    let start = skip(begin);
    items.slice(start..skip(end.saturating_sub(begin)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::Cause;
    use crate::pool::task::budget::HOLD;

    const W: WorkerId = WorkerId(1);
    const TASK: TaskId = TaskId(10);

    fn harvest() -> Arc<Harvest> {
        let harvest = Harvest::new(0, Budget::new(HOLD, 2));
        harvest.add(TASK, (100, 8), Payload::default());
        harvest
    }

    fn reply(base: u32, count: u32, run_time: Option<u64>) -> ChunkReplyHeader {
        ChunkReplyHeader { task: TASK, base, count, nanos: 1, run_time }
    }

    fn receive(harvest: &Harvest, base: u32, count: u32, run_time: Option<u64>) -> Receipt {
        harvest.receive(W, &reply(base, count, run_time), Payload::default())
    }

    /// First item, name of that, count, and how many entries are to be skipped.
    fn parts(harvest: &Harvest) -> Vec<(u64, u64, u32, u32)> {
        let mut parts = Vec::new();
        let _ = harvest.poll_parts(&mut Context::from_waker(Waker::noop()), &mut parts);
        let skip = |part: &Part| match part.content {
            Content::Entries { skip, .. } => skip,
            Content::Failed(_) | Content::Refused(_) => 0,
        };
        parts.iter().map(|part| (part.first, part.task.0, part.count, skip(part))).collect()
    }

    #[test]
    fn each_item_is_in_one_part_whatever_comes_twice() {
        let harvest = harvest();
        assert_eq!(receive(&harvest, 0, 3, None), Receipt::Partial);
        assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
        assert_eq!(receive(&harvest, 1, 5, None), Receipt::Partial);
        assert_eq!(receive(&harvest, 6, 2, Some(7)), Receipt::Done { run_time: 7 });
        assert_eq!(parts(&harvest), [(100, 10, 3, 0), (103, 13, 3, 2), (106, 16, 2, 0)]);
    }

    #[test]
    fn what_cannot_be_true_is_a_lie() {
        for (base, count, run_time) in
            [(1, 1, None), (0, 9, None), (0, 7, Some(1)), (u32::MAX, 1, None), (0, u32::MAX, None)]
        {
            assert_eq!(receive(&harvest(), base, count, run_time), Receipt::Lie, "{base} {count}");
        }
        let unknown = ChunkReplyHeader { task: TaskId(11), ..reply(0, 1, None) };
        assert_eq!(harvest().receive(W, &unknown, Payload::default()), Receipt::Lie);
    }

    #[test]
    fn a_chunk_may_end_early_once_its_credit_is_used_up() {
        let credit = Budget::new(HOLD, 2).credit();
        for (bytes, receipt) in [
            (credit - 1, Receipt::Lie),
            (credit, Receipt::Short { run_time: 7 }),
            (credit + 1, Receipt::Short { run_time: 7 }),
        ] {
            let harvest = harvest();
            assert_eq!(harvest.range(TASK).credit, credit);
            let bytes = Bytes::from(vec![0; usize::try_from(bytes).unwrap()]);
            assert_eq!(harvest.receive(W, &reply(0, 3, Some(7)), bytes.into()), receipt);
        }
    }

    #[test]
    fn what_is_cut_off_becomes_two_chunks_and_the_rest_fails_with_the_whole() {
        let harvest = harvest();
        assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
        let divisions = harvest.divide(TASK, 3);
        let ranges: Vec<_> =
            divisions.iter().map(|part| (part.task.0, part.begin, part.end)).collect();
        assert_eq!(ranges, [(13, 3, 6), (16, 6, 8)]);
        assert!(harvest.divide(TASK, 3).is_empty());
        assert_eq!(receive(&harvest, 2, 2, None), Receipt::Lie, "it is no longer its own");
        let cell = harvest.state.lock().chunks[&TASK].cell.clone();
        cell.resolve(Err(cell.error(Cause::Cancelled)));
        assert_eq!(parts(&harvest), [(100, 10, 2, 0), (102, 12, 1, 0)]);
        assert_eq!(harvest.state.lock().chunks.len(), 2);
    }

    #[test]
    fn what_is_queued_again_goes_without_the_items_that_are_done() {
        let harvest = Harvest::new(0, Budget::new(HOLD, 2));
        let items: Vec<u8> = (0..8).flat_map(|n| [1, 0, 0, 0, n]).collect();
        let cell = harvest.add(TASK, (100, 8), Payload::from(Bytes::from(items)));
        assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
        assert_eq!(harvest.divide(TASK, 3).len(), 2);
        harvest.requeue(TASK);
        harvest.requeue(TASK);
        assert_eq!(&cell.arguments()[..], [1, 0, 0, 0, 2]);
        assert_eq!(harvest.range(TASK), ItemRange { skipped: 2, count: 1, credit: 1 << 20 });
        assert_eq!(receive(&harvest, 0, 1, Some(7)), Receipt::Done { run_time: 7 });
        assert_eq!(parts(&harvest), [(100, 10, 2, 0), (102, 12, 1, 0)]);
    }

    #[test]
    fn no_part_has_the_name_of_the_whole() {
        let divisions = harvest().divide(TASK, 0);
        assert!(divisions.iter().all(|part| part.task != TASK && part.begin > 0));
    }

    #[test]
    fn the_record_counts_as_far_as_it_makes_sense() {
        let harvest = harvest();
        let entry = [0, 1, 0, 0, 0, 42];
        let bytes = [&entry[..], &entry, &entry, &[0, 9]].concat();
        harvest.receive_record(W, TASK, Entries { base: 1, bytes: bytes.clone() });
        assert!(parts(&harvest).is_empty(), "there is a gap before it");
        harvest.receive_record(W, TASK, Entries { base: 0, bytes });
        assert_eq!(parts(&harvest), [(100, 10, 3, 0)]);
        harvest.receive_record(W, TASK, Entries { base: 3, bytes: entry.repeat(100) });
        assert_eq!(parts(&harvest), [(103, 13, 5, 0)], "no more than there are");
    }

    #[test]
    fn a_closed_harvest_takes_and_divides_nothing() {
        let harvest = harvest();
        assert_eq!(receive(&harvest, 0, 2, None), Receipt::Partial);
        let mut done = Vec::new();
        let unfinished = harvest.close(&mut done);
        let UnfinishedChunk { first, task, count, .. } = unfinished[0];
        assert_eq!((first, task, count), (102, TaskId(12), 6));
        assert_eq!((done.len(), done[0].count), (1, 2));
        assert!(harvest.divide(TASK, 3).is_empty());
        assert_eq!(receive(&harvest, 2, 1, Some(1)), Receipt::Done { run_time: 1 });
        assert!(parts(&harvest).is_empty());
    }
}
