//! What a worker has done of a chunk, where the parent can see it at any time.
//!
//! The results of a chunk come by a frame when it is done. Until then each is recorded in memory
//! that both processes share, so that none is lost if the worker dies over a later item, and none
//! has to wait for a slow one. A record is a sequence of entries (see [`crate::wire`]) from a base
//! item on, and a word that says how far it goes:
//!
//! ```text
//! ┌──────────────────────────┬──────────┬─────────────────────┐
//! │ sending, lowest bits: 16 │ base: 24 │ length in bytes: 24 │
//! └──────────────────────────┴──────────┴─────────────────────┘
//! ```
//!
//! Within a record this word only grows. It is begun anew for each chunk, before the chunk itself
//! begins, and whenever the entries have been sent by a frame. The reader looks at the word before
//! and after it has copied the entries; if a new record was begun meanwhile, the old one is in the
//! pipe.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::memory::page::claim::Claim;
use crate::memory::page::layout::{ENTRIES, RECORDED, WINDOW};
use crate::memory::page::words::{self, WORD};
use crate::sys::memory::SharedPage;
use crate::wire::message::Slot;

const FIELD: u64 = (1 << 24) - 1;

/// The lowest bits of a chunk's number. Those that are left out would differ only after many more
/// sendings than a reader can be late by.
const TAG: u64 = 0xFFFF << 48;

fn tag(sending: u32) -> u64 {
    u64::from(sending) << 48
}

/// The most items that a chunk can have.
pub(crate) const MAX_ITEMS: u32 = (1 << 24) - 1;

fn published(page: &SharedPage) -> &AtomicU64 {
    &page.words()[RECORDED]
}

fn region(page: &SharedPage) -> &[AtomicU64] {
    &page.words()[ENTRIES..WINDOW]
}

/// The worker's side of a record.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    page: &'a SharedPage,
    /// The word, without the length.
    head: u64,
}

impl<'a> Recorder<'a> {
    /// Begins the record of a chunk that has not begun.
    pub(crate) fn new(page: &'a SharedPage, slot: Slot) -> Self {
        let mut recorder = Self { page, head: tag(slot.sending) };
        recorder.restart(0);
        recorder
    }

    /// Forgets the entries, which were sent otherwise; the next one is that of item `base`.
    pub(crate) fn restart(&mut self, base: u32) {
        self.head = self.head & !(FIELD << 24) | u64::from(base) << 24;
        published(self.page).store(self.head, Ordering::Relaxed);
        // Whoever sees one of the words that are written from now on sees that the record is new.
        fence(Ordering::Release);
    }

    /// Publishes all `entries` since the last restart; those before `known` have been already.
    /// False if there is no room for them.
    pub(crate) fn publish(&self, entries: &[u8], known: usize) -> bool {
        let has_room = words::store(region(self.page), entries, known);
        if has_room {
            published(self.page).store(self.head | entries.len() as u64, Ordering::Release);
        }
        has_room
    }
}

/// What the parent has read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entries {
    /// The item that the first entry is of.
    pub(crate) base: u32,
    pub(crate) bytes: Vec<u8>,
}

/// The parent's side: what the worker has recorded of a chunk. Nothing that it does meanwhile, or
/// has written, can do more than make the bytes wrong.
pub(crate) fn read(chunk: &Claim) -> Option<Entries> {
    read_numbered(chunk.page(), chunk.slot().sending)
}

/// As [`read`], of the chunk with this number.
pub(crate) fn read_numbered(page: &SharedPage, sending: u32) -> Option<Entries> {
    read_if(page, |word| word & TAG == tag(sending))
}

/// As [`read`], of the last chunk, with the lowest bits of its number.
#[cfg(any(test, feature = "hosts"))]
pub(crate) fn read_last(page: &SharedPage) -> Option<(u16, Entries)> {
    let mut tag = 0;
    let entries = read_if(page, |word| {
        tag = u16::try_from(word >> 48).unwrap_or(0);
        true
    });
    Some((tag, entries?))
}

fn read_if(page: &SharedPage, is_right: impl FnOnce(u64) -> bool) -> Option<Entries> {
    let word = published(page).load(Ordering::Acquire);
    let (head, length) = (word & !FIELD, usize::try_from(word & FIELD).ok()?);
    let region = region(page);
    if !is_right(word) || length > region.len() * WORD {
        return None;
    }
    let mut bytes = Vec::with_capacity(length);
    words::load(region, 0, length, &mut bytes);
    fence(Ordering::Acquire);
    let still = published(page).load(Ordering::Relaxed) & !FIELD == head;
    let base = u32::try_from(head >> 24 & FIELD).ok()?;
    still.then_some(Entries { base, bytes })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::page::claim::ClaimBoard;

    fn slot() -> Slot {
        ClaimBoard::new(Arc::new(SharedPage::create().unwrap().0)).offer().unwrap().slot()
    }

    /// What is read of the chunk that was sent first.
    fn first(page: &SharedPage) -> (u32, Vec<u8>) {
        let Entries { base, bytes } = read_numbered(page, 1).unwrap();
        (base, bytes)
    }

    #[test]
    fn entries_can_be_read_as_soon_as_they_are_published() {
        let (page, _) = SharedPage::create().unwrap();
        let recorder = Recorder::new(&page, slot());
        assert_eq!(first(&page), (0, vec![]));
        let text = b"some entries of different lengths";
        for end in 1..=text.len() {
            assert!(recorder.publish(&text[..end], end - 1));
            assert_eq!(first(&page), (0, text[..end].to_vec()));
        }
        assert_eq!(read_numbered(&page, 2), None, "of another chunk");
    }

    #[test]
    fn a_record_can_begin_anew_at_a_later_item() {
        let (page, _) = SharedPage::create().unwrap();
        let mut recorder = Recorder::new(&page, slot());
        assert!(recorder.publish(b"sent by a frame", 0));
        recorder.restart(7);
        assert_eq!(first(&page), (7, vec![]));
        assert!(recorder.publish(b"new", 0));
        assert_eq!(first(&page), (7, b"new".to_vec()));
    }

    #[test]
    fn what_has_no_room_is_not_published() {
        let (page, _) = SharedPage::create().unwrap();
        let recorder = Recorder::new(&page, slot());
        let room = region(&page).len() * WORD;
        assert!(!recorder.publish(&vec![7; room + 1], 0));
        assert_eq!(first(&page), (0, vec![]));
        assert!(recorder.publish(&vec![7; room], 0));
        assert_eq!(read_numbered(&page, 1).unwrap().bytes.len(), room);
    }

    #[test]
    fn a_reader_never_sees_a_mixture_of_two_records() {
        const RECORDS: u32 = 20_000;
        let (page, _) = SharedPage::create().unwrap();
        let mut recorder = Recorder::new(&page, slot());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut base = 0;
                while base < RECORDS {
                    let Some(entries) = read_numbered(&page, 1) else { continue };
                    base = entries.base;
                    let expected = base.to_le_bytes();
                    let whole = entries.bytes.chunks_exact(4);
                    assert!(whole.remainder().is_empty());
                    assert!(whole.into_iter().all(|entry| entry == expected), "{entries:?}");
                }
            });
            for base in 1..=RECORDS {
                recorder.restart(base);
                let mut entries = Vec::new();
                for _ in 0..10 {
                    let known = entries.len();
                    entries.extend_from_slice(&base.to_le_bytes());
                    recorder.publish(&entries, known);
                }
            }
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_length_beyond_the_record_is_not_believed() {
        let (page, _) = SharedPage::create().unwrap();
        published(&page).store(1 << 48 | FIELD, Ordering::Relaxed);
        assert_eq!(read_numbered(&page, 1), None);
    }
}
