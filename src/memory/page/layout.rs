//! What stands where on the page that a worker shares with its parent, and what its words mean.
//!
//! ```text
//! ┌─────────────┬───────────┬─────────┬─────────┬──────────┬─────────┬────────────────────────┐
//! │ claims: 512 │ announced │  flags  │ printed │ recorded │ entries │ piece, awaited, 16 KiB │
//! └─────────────┴───────────┴─────────┴─────────┴──────────┴─────────┴────────────────────────┘
//!   `claim`       `claim::items`        `output`  `record`             `window`
//! ```
//!
//! The word of a claim:
//!
//! ```text
//! ┌─────────────┬───────────┬─────────────┬────────────┬────────────┬──────────┐
//! │ sending: 32 │ items: 24 │ (unused): 3 │ settled: 1 │ stopped: 1 │ state: 3 │
//! └─────────────┴───────────┴─────────────┴────────────┴────────────┴──────────┘
//! ```

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::memory::page::words::WORD;
use crate::sys::memory::{SharedPage, barrier};
use crate::wire::message::Slot;

/// How many words there are for claims.
pub(crate) const CLAIMS: usize = 512;
/// Says by its upper half which chunk it is about, and by the lower one how many items have begun,
/// or are about to.
pub(crate) const ANNOUNCED: usize = CLAIMS;
/// What the worker has to know of the other side.
pub(crate) const FLAGS: usize = ANNOUNCED + 1;
/// Which task prints from which place on, and which have printed before: see `output`.
pub(crate) const OUTPUT: usize = FLAGS + 1;
pub(crate) const OUTPUT_WORDS: usize = 4 + 2 * PRINTED;
/// How many of those that have printed are known.
pub(crate) const PRINTED: usize = 256;
/// How far the record of a chunk goes.
pub(crate) const RECORDED: usize = OUTPUT + OUTPUT_WORDS;
/// The record itself, up to the window.
pub(crate) const ENTRIES: usize = RECORDED + 1;
/// The window is the end of the page: two words, and so many bytes.
pub(crate) const ROOM: usize = 16 << 10;
pub(crate) const WINDOW: usize = SharedPage::WORDS - 2 - ROOM / WORD;

const _: () = assert!(ENTRIES + ROOM / WORD <= WINDOW, "a record has more room than the window");

pub(crate) const OFFERED: u64 = 1;
pub(crate) const BEGUN: u64 = 2;
pub(crate) const REVOKED: u64 = 3;
pub(crate) const LOOKED: u64 = 4;
pub(crate) const ASKED: u64 = 5;
pub(crate) const STATE: u64 = 7;

/// The parent has barriers.
pub(crate) const BARRIERS: u64 = 1;
/// Nobody offers tasks, and the numbers of their sendings say which words are theirs.
pub(crate) const NUMBERED: u64 = 2;

/// No item begins any more, but for one that was being announced when this was set.
pub(crate) const STOPPED: u64 = 1 << 3;
/// How many items have begun is in the word, and does not change any more.
const SETTLED: u64 = 1 << 4;
pub(crate) const ITEM: u64 = 1 << 8;
pub(crate) const ITEMS: u64 = ((1 << 24) - 1) * ITEM;

impl Slot {
    #[inline]
    pub(crate) fn word(self, state: u64) -> u64 {
        u64::from(self.sending) << 32 | state
    }
}

/// Whether this process can have barriers in its workers.
pub(crate) fn has_barriers() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(barrier)
}

/// Tells a worker how to announce.
pub(crate) fn prepare(page: &SharedPage) {
    let flags = if has_barriers() { BARRIERS } else { 0 };
    page.words()[FLAGS].store(flags, Ordering::Release);
}

/// A chunk's word as that of any other task.
#[inline]
pub(crate) fn without(word: u64) -> u64 {
    word & !(STOPPED | SETTLED | ITEMS)
}

/// How many items have begun, and the last of them may be about to; one if it is no chunk.
#[inline]
pub(crate) fn last_begun(page: &SharedPage, slot: Slot) -> u32 {
    let announced = page.words()[ANNOUNCED].load(Ordering::Acquire);
    match u32::try_from(announced ^ slot.word(0)) {
        Ok(items) => items.max(1),
        // A later chunk, so this one is over, whatever was heard of that.
        Err(_) if is_later(announced, slot) => u32::MAX,
        Err(_) => 1, // an earlier one
    }
}

/// Whether a word is about a later sending. They are counted up, and begin anew some day.
fn is_later(word: u64, slot: Slot) -> bool {
    const HALF: u64 = 1 << 31;
    let ahead = (word >> 32).wrapping_sub(u64::from(slot.sending)) & u64::from(u32::MAX);
    ahead != 0 && ahead < HALF
}

#[inline]
pub(crate) fn settled(word: u64) -> Option<u32> {
    let items = (word & ITEMS) / ITEM;
    (word & SETTLED != 0).then(|| u32::try_from(items).unwrap_or(u32::MAX))
}

#[inline]
pub(crate) fn settle(word: u64, items: u32) -> u64 {
    without(word) | STOPPED | SETTLED | ((u64::from(items) * ITEM) & ITEMS)
}
