//! How the worker runs a chunk, and how the parent learns how far it has come.

use std::io;
use std::time::{Duration, Instant};

use super::call::FailedCall;
use super::original::end_if_copy;
use super::stream::FrameWriter;
use crate::base::nanos;
use crate::memory::page::{Begun, Items, Recorder, begin};
use crate::memory::shared::Kept;
use crate::sys::buffer::trim;
use crate::sys::memory::SharedPage;
use crate::wire::frame::put_task_frame;
use crate::wire::item::{begin_entry, end_entry, replace_entry};
use crate::wire::message::{ChunkHeader, ChunkReplyHeader, Kind, Outcome, Slot};

/// A chunk that is being run. After each item its result is where it survives this process: in the
/// record, or, if that has no room, in the pipe.
pub(super) struct ChunkRun {
    header: ChunkHeader,
    shared: Option<SharedPart>,
    /// The entries that have not been sent.
    entries: Vec<u8>,
    /// How many items were sent.
    base: u32,
    /// How many items are done.
    done: u32,
    /// How many bytes of entries there may be before no further item is begun.
    room: usize,
    began: Instant,
    /// When the first item began that has not been sent.
    since: Instant,
}

/// Where items are claimed and their results recorded.
struct SharedPart {
    page: &'static SharedPage,
    slot: Slot,
    recorder: Recorder<'static>,
    /// Set once the first one has begun.
    items: Option<Items<'static>>,
}

impl SharedPart {
    /// Claims the next item.
    #[inline]
    fn begin_item(&mut self) -> bool {
        if let Some(items) = &mut self.items {
            return items.begin_next();
        }
        self.items = begin(self.page, self.slot).map(Items::new);
        self.items.is_some()
    }
}

impl ChunkRun {
    pub(super) fn new(
        header: ChunkHeader,
        page: Option<&'static SharedPage>,
        buffer: Vec<u8>,
    ) -> Self {
        let shared = page.zip(header.slot).map(|(page, slot)| {
            let recorder = Recorder::new(page, slot);
            SharedPart { page, slot, recorder, items: None }
        });
        let began = Instant::now();
        let room = usize::try_from(header.credit).unwrap_or(usize::MAX);
        Self { header, shared, entries: buffer, base: 0, done: 0, room, began, since: began }
    }

    /// Claims the next item and returns how many came before it; `None` if there is none, it was
    /// taken back, or the results of the others take too much.
    #[inline]
    pub(super) fn begin_item(&mut self) -> Option<u32> {
        let has_begun = self.done < self.header.count
            && self.entries.len() < self.room
            && self.shared.as_mut().is_none_or(SharedPart::begin_item);
        has_begun.then_some(self.done)
    }

    /// The claim of the first item, once that has begun.
    pub(super) fn first_claim(&self) -> Option<Begun<'static>> {
        self.shared.as_ref()?.items.as_ref().map(Items::first)
    }

    /// Makes the entry of the item that was begun.
    pub(super) fn finish_item(
        &mut self,
        writer: &mut FrameWriter,
        run: impl FnOnce(&mut Vec<u8>) -> Result<Kept, Box<FailedCall>>,
    ) -> io::Result<()> {
        let (known, start) = (self.entries.len(), begin_entry(&mut self.entries));
        let (outcome, kept) = match run(&mut self.entries) {
            Ok(kept) => (Outcome::Returned, kept),
            Err(failed) => {
                replace_entry(&mut self.entries, start, &failed.text);
                (failed.outcome, Kept::default())
            }
        };
        end_if_copy();
        end_entry(&mut self.entries, start, outcome)?;
        self.done += 1;
        if !kept.is_empty() {
            writer.lend(kept)?; // the next reply has to be the one with this entry
            return self.send(writer, None);
        }
        let shared = self.shared.as_ref();
        let recorded = shared.is_some_and(|shared| shared.recorder.publish(&self.entries, known));
        if recorded { Ok(()) } else { self.send(writer, None) }
    }

    /// Whether an item has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.done > 0
    }

    /// Says that no more items will be run. They were one run as far as reports are concerned.
    /// Returns how many they were, and how long they took.
    pub(super) fn finish(
        &mut self,
        writer: &mut FrameWriter,
        run: u64,
    ) -> io::Result<(u32, Duration)> {
        self.send(writer, Some(run))?;
        Ok((self.done, self.since - self.began))
    }

    /// Gives the buffer back, which is empty.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.entries
    }

    /// Sends the entries; they are the last ones of a run that is over.
    fn send(&mut self, writer: &mut FrameWriter, over: Option<u64>) -> io::Result<()> {
        let now = Instant::now();
        let header = ChunkReplyHeader {
            task: self.header.task,
            base: self.base,
            count: self.done - self.base,
            nanos: nanos(now - self.since),
            run_time: over.map(|_| nanos(now - self.began)),
        };
        put_task_frame(writer.buffer(), Kind::ChunkReply, &header, self.entries.len())?;
        writer.flush_with(over, &self.entries)?;
        self.room = self.room.saturating_sub(self.entries.len());
        self.entries.clear();
        trim(&mut self.entries);
        (self.base, self.since) = (self.done, now);
        if let Some(shared) = &mut self.shared
            && over.is_none()
        {
            shared.recorder.restart(self.base);
        }
        Ok(())
    }
}
