//! What the supervisor keeps of each task that is not over: its payload and who waits for it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::claim::Slot;
use crate::error::{Cause, TaskError};
use crate::handle::{Resolution, TaskCell};
use crate::harvest::Harvest;
use crate::id::{TaskId, WorkerId};
use crate::outlet::Outlet;
use crate::payload::Payload;
use crate::wire::{ChunkHeader, Kind, Outcome, TaskHeader};

/// A task on its way.
pub(crate) struct Entry {
    pub(crate) reply: ReplyTo,
    /// The function's position in the registry.
    pub(crate) function: u32,
    pub(crate) arguments: Payload,
    /// When the supervisor took it over, in nanoseconds: half the size of a [`Time`](crate::scheduler::Time).
    pub(crate) accepted: u64,
    /// Its place in the bounded queue, until it begins.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    pub(crate) timeout: Option<Duration>,
    /// Its word on the page of the worker that it was sent to.
    pub(crate) slot: Option<(WorkerId, Slot)>,
    /// Set if it is a chunk: where the results of its items go.
    pub(crate) harvest: Option<Arc<Harvest>>,
}

impl Entry {
    /// An entry for items of a map.
    pub(crate) fn chunk(
        cell: Arc<TaskCell>,
        harvest: &Arc<Harvest>,
        function: u32,
        arguments: Payload,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let (reply, harvest) = (ReplyTo(cell), Some(Arc::clone(harvest)));
        let (timeout, slot, accepted) = (None, None, 0);
        Self { reply, function, arguments, accepted, room, timeout, slot, harvest }
    }

    /// Puts the frame of a task into a worker's outlet.
    pub(crate) fn put(
        &self,
        outlet: &Outlet,
        task: TaskId,
        attempt: u32,
        slot: Option<Slot>,
    ) -> io::Result<()> {
        let (function, arguments) = (self.function, self.arguments.clone());
        if let Some(harvest) = &self.harvest {
            let header = ChunkHeader { task, function, count: harvest.count(task), slot };
            outlet.put_task(Kind::Chunk, &header, arguments)
        } else {
            let header = TaskHeader { task, function, attempt, slot };
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
        self.cell().error(cause)
    }

    pub(crate) fn cell(&self) -> &TaskCell {
        &self.reply.0
    }
}

/// The duty to resolve a task. If it is dropped, so that nobody could fulfil it any more (the
/// runtime has gone, or the task met a pool that had just closed), the task resolves as shut down.
pub(crate) struct ReplyTo(pub(crate) Arc<TaskCell>);

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// All tasks that are not over.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: HashMap<TaskId, Entry, BuildHasherDefault<IdHasher>>,
}

/// Ids are counted up by this process, so nobody can choose them to collide; spreading them is
/// enough.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = id.wrapping_mul(GOLDEN_RATIO).rotate_left(26);
    }
}

impl Ledger {
    pub(crate) fn insert(&mut self, task: TaskId, entry: Entry) {
        self.entries.insert(task, entry);
    }

    pub(crate) fn get_mut(&mut self, task: TaskId) -> Option<&mut Entry> {
        self.entries.get_mut(&task)
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<&Entry> {
        self.entries.get(&task)
    }

    pub(crate) fn remove(&mut self, task: TaskId) -> Option<Entry> {
        self.entries.remove(&task)
    }
}
