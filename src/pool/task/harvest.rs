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

mod counts;
mod repeats;
mod restraint;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::Delays;
use crate::base::maps::SortedMap;
use crate::base::sync::Mutex;
use crate::base::{TaskId, WorkerId};
use crate::error::TaskError;
use crate::memory::Payload;
use crate::memory::page::Entries;
use crate::pool::task::budget::{Budget, Gauge, Portion};
use crate::pool::task::cell::{Resolution, TaskCell};
use crate::pool::task::extras::Extras;
use crate::pool::watch::metrics::{TaskOutcomes, outcome_of};
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
    /// How long it waits before it is begun again.
    pub(crate) delays: Option<Delays>,
}

struct HarvestState {
    limits: ItemLimits,
    /// What each chunk has beside its arguments.
    extras: Extras,
    budget: Budget,
    /// Those that are not over.
    chunks: BTreeMap<TaskId, Chunk>,
    /// Those of them that are held back.
    withheld: SortedMap<TaskId, ()>,
    /// How many of them the workers are done with.
    finished: usize,
    /// Items that have ended and were not [counted](Harvest::take_counts) yet.
    counts: TaskOutcomes,
    /// The last chunk used its credit up, so items are better handed out one by one.
    is_large: bool,
    /// What the stream has not taken yet. Bounded, as the inputs are that it takes ahead.
    parts: Vec<Part>,
    waker: Option<Waker>,
    /// Nobody wants any more.
    closed: bool,
    /// Items may be begun again when their results have come, so parts have their arguments.
    repeats: bool,
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
    /// The pool has said how it ended.
    is_counted: bool,
    /// It is begun again, and was not sent yet: perhaps it sits out its back-off.
    sits_out: bool,
    /// So much less than the names of its items are the names of chunks that are made of them. A
    /// result may come, and its item be a chunk again, before this one is over.
    apart: u64,
    /// Its items, if they may be begun again.
    items: Option<Payload>,
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
    /// At which attempt it came.
    pub(crate) attempt: u32,
    /// What the items were called with, if they may be begun again.
    pub(crate) items: Option<Payload>,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// Entries as a worker wrote them. Their outcomes were counted, and nothing was checked.
    Entries {
        worker: WorkerId,
        bytes: Payload,
        /// Of so many at the beginning the results have come before.
        skip: u32,
        /// How long these items took together, those at the beginning included, if that is known.
        nanos: Option<u64>,
        /// It counts until it is dropped. What was divided here is counted with its end.
        held: Option<Portion>,
    },
    /// Their chunk has failed.
    Failed(TaskError),
    /// The pool has not accepted them.
    Refused(TaskError),
}

impl Part {
    pub(crate) fn refused(first: u64, count: u32, error: TaskError) -> Self {
        let content = Content::Refused(error);
        Self { first, task: TaskId(0), count, attempt: 1, items: None, content }
    }
}

/// An item that is to be begun again.
#[derive(Debug)]
pub(crate) struct RepeatedItem {
    pub(crate) number: u64,
    /// Its name, which it keeps.
    pub(crate) task: TaskId,
    /// The attempt that begins.
    pub(crate) attempt: u32,
    /// What it is called with, as an item.
    pub(crate) items: Payload,
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
    /// It has used its credit up, or was stopped, and what it had not begun is still to be done.
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
            withheld: SortedMap::new(),
            finished: 0,
            counts: TaskOutcomes::default(),
            is_large: false,
            parts: Vec::new(),
            waker: None,
            closed: false,
            repeats: false,
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

    /// Adds a chunk, which is about to be queued. Its first item is named as the chunk, or [apart
    /// from](Self::names) it.
    pub(crate) fn add(
        self: &Arc<Self>,
        task: TaskId,
        (first, count): (u64, u32),
        items: Payload,
    ) -> Arc<TaskCell> {
        let mut state = self.state.lock();
        let cell = TaskCell::new(task, self.function, items, true, state.extras.clone());
        let apart = if state.repeats { count.into() } else { 0 };
        self.insert(&mut state, (first, count), apart, cell)
    }

    fn insert(
        self: &Arc<Self>,
        state: &mut HarvestState,
        (first, count): (u64, u32),
        apart: u64,
        cell: Arc<TaskCell>,
    ) -> Arc<TaskCell> {
        let task = cell.id();
        let harvest = Arc::clone(self);
        // Each holds the other, but only until the chunk is over, and every task ends.
        cell.add_callback(Box::new(move |resolution| harvest.over(task, resolution)));
        let chunk = Chunk {
            cell: Arc::clone(&cell),
            first,
            name: TaskId(task.0 + apart),
            count,
            done: 0,
            received: 0,
            credit: u64::MAX,
            is_finished: false,
            is_counted: false,
            sits_out: false,
            apart,
            items: state.repeats.then(|| cell.arguments()),
            arguments: self.arguments.hold(cell.arguments().len()),
        };
        state.chunks.insert(task, chunk);
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

    /// Takes results that a worker sent, unless they cannot be true. One that `may_be_stopped` may
    /// do less than it was to. The stream is not woken.
    pub(crate) fn receive(
        &self,
        worker: WorkerId,
        reply: &ChunkReplyHeader,
        bytes: Payload,
        may_be_stopped: bool,
    ) -> Receipt {
        let ChunkReplyHeader { task, base, count, nanos, run_time } = *reply;
        let mut state = self.state.lock();
        let HarvestState { chunks, withheld, parts, closed, finished, counts, is_large, .. } =
            &mut *state;
        let Some(chunk) = chunks.get_mut(&task) else { return Receipt::Lie };
        chunk.received = chunk.received.saturating_add(bytes.len() as u64);
        let end = base.checked_add(count).filter(|end| *end <= chunk.count);
        let Some(end) = end.filter(|_| base <= chunk.done) else { return Receipt::Lie };
        if end > chunk.done {
            let (skip, nanos) = (chunk.done - base, Some(nanos));
            counts.count_entries(&bytes, skip, end - chunk.done);
            let held = Some(self.results.hold(bytes.len()));
            let content = Content::Entries { worker, bytes, skip, nanos, held };
            let part = chunk.part(end, content);
            if !*closed {
                parts.push(part);
            }
        }
        let Some(run_time) = run_time else { return Receipt::Partial };
        let is_done = chunk.done == chunk.count || *closed;
        let is_used_up = chunk.done > 0 && chunk.received >= chunk.credit;
        let is_stopped = may_be_stopped && chunk.done > 0;
        if !is_done && !is_used_up && !is_stopped {
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
        let HarvestState { chunks, parts, closed, counts, .. } = &mut *state;
        let Some(chunk) = chunks.get_mut(&task) else { return };
        let end = base.saturating_add(count).min(chunk.count);
        if base <= chunk.done && end > chunk.done {
            let skip = chunk.done - base;
            counts.count_entries(&bytes, skip, end - chunk.done);
            let held = Some(self.results.hold(bytes.len()));
            let bytes = bytes::Bytes::from(bytes).into();
            let content = Content::Entries { worker, bytes, skip, nanos: None, held };
            let part = chunk.part(end, content);
            if !*closed {
                parts.push(part);
            }
        }
    }

    /// Which of the items that a chunk was made of it has now, as it is sent.
    pub(crate) fn range(&self, task: TaskId) -> ItemRange {
        let mut state = self.state.lock();
        let credit = state.budget.credit();
        let range = state.chunks.get_mut(&task).map(|chunk| {
            chunk.credit = credit;
            chunk.sits_out = false;
            let skipped = u32::try_from(chunk.name.0 - task.0).unwrap_or(u32::MAX);
            ItemRange { skipped, count: chunk.count, credit }
        });
        range.unwrap_or_default()
    }

    /// How many items of a chunk have results.
    pub(crate) fn done(&self, task: TaskId) -> u32 {
        self.state.lock().chunks.get(&task).map_or(0, |chunk| chunk.done)
    }

    /// Whether all items of a chunk have results.
    pub(crate) fn is_done(&self, task: TaskId) -> bool {
        self.state.lock().chunks.get(&task).is_some_and(|chunk| chunk.done == chunk.count)
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
        let (items, extras, apart) = (chunk.cell.arguments(), chunk.cell.extras(), chunk.apart);
        chunk.count = count.min(keep);
        // In two, so that a chunk that turns out to be slow is soon with many workers, and what is
        // sent again and again gets less each time.
        let middle = keep.saturating_add(count.saturating_sub(keep).div_ceil(2));
        let halves = [(keep, middle), (middle, count)];
        let halves = halves.into_iter().filter(|(begin, end)| begin < end);
        halves
            .map(|(begin, end)| {
                let task = TaskId(name.0 + u64::from(begin) - apart);
                let first = first + u64::from(begin);
                let items = slice_items(&items, begin, end);
                let cell = TaskCell::new(task, self.function, items, false, extras.clone());
                let cell = self.insert(&mut state, (first, end - begin), apart, cell);
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
        if let Some(kept) = &mut chunk.items {
            kept.clone_from(&items);
        }
        chunk.cell.set_arguments(items);
        chunk.first += u64::from(done);
        chunk.name = TaskId(chunk.name.0 + u64::from(done));
        chunk.count -= done;
    }

    /// A chunk is over; whatever has no result by now gets none.
    fn over(&self, task: TaskId, resolution: &Resolution) {
        let mut state = self.state.lock();
        state.count_rest(task, outcome_of(resolution));
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
            attempt: self.cell.attempt().unwrap_or(1),
            items: self.items.as_ref().map(|items| slice_items(items, begin, end)),
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
