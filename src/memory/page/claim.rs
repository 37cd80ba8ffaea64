//! The word that decides whether a task begins.
//!
//! A task that was sent ahead to a busy worker can still be cancelled or given to another one. For
//! that both processes share some memory, and in it each sent task has a word. The supervisor
//! offers the task there, and then either the worker claims it by one atomic exchange, and runs it,
//! or the supervisor or the task's handle revokes it, and it will never begin:
//!
//! ```text
//!            begin (worker)          look (worker)
//! offered ──────────────────▶ begun ───────────────▶ looked
//!    │        revoke (parent)   │                      │
//!    └──────────────────────▶ revoked                  │
//!                               │    ask (parent)      │
//!                               └──────────▶ asked ◀───┘
//! ```
//!
//! A task that has begun may look whether it is asked to end. That it has ever looked tells the
//! parent that it will most likely look again, so that it is worth waiting for. While the worker
//! makes the report of a panic, it marks the task as one that has looked. Then it takes the mark
//! back, unless the task had looked before or was asked to end.
//!
//! Of a worker that is on another host the parent's part is its agent's; see [`numbered`].
//!
//! A chunk is a task that consists of items, of which the parent can take back all that have not
//! begun at any moment; see [`items`].
//!
//! After a worker's death the words tell which tasks had begun. A word carries the
//! number of the sending, so a frame that is still in the pipe after its slot was given to another
//! task cannot claim that one; see [the layout](crate::memory::page::layout).

pub(crate) mod items;
pub(crate) mod numbered;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::page::layout::{
    ASKED, BEGUN, CLAIMS, LOOKED, OFFERED, REVOKED, STATE, last_begun, prepare, without,
};
use crate::sys::memory::SharedPage;
use crate::wire::message::Slot;

/// Limits what an exchange is tried again for. An honest worker begins far fewer items meanwhile,
/// and another one gains nothing by changing the word all the time.
const TRIES: usize = 10_000;

/// The worker's side: claims the task, or the first item of a chunk; `None` if it was taken back.
pub(crate) fn begin(page: &SharedPage, slot: Slot) -> Option<Begun<'_>> {
    let word = page.words()[..CLAIMS].get(usize::from(slot.index))?;
    let (offered, begun) = (slot.word(OFFERED), slot.word(BEGUN));
    let exchange = |from| word.compare_exchange(from, begun, Ordering::AcqRel, Ordering::Acquire);
    let has_begun = match exchange(offered) {
        Ok(_) => true,
        Err(before) if numbered::is_numbered(page) && slot.may_follow(before) => {
            exchange(before).is_ok() // or it was taken back just now
        }
        Err(_) => false,
    };
    has_begun.then_some(Begun { page, word, slot, item: 1 })
}

/// Whether the task can be claimed at this moment.
pub(crate) fn is_offered(page: &SharedPage, slot: Slot) -> bool {
    let word = page.words()[..CLAIMS].get(usize::from(slot.index));
    word.is_some_and(|word| word.load(Ordering::Acquire) == slot.word(OFFERED))
}

/// The worker's side of a task, or of an item, that it has claimed. It does no harm once that is
/// over: then the word is another one's, and is left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun<'a> {
    page: &'a SharedPage,
    word: &'a AtomicU64,
    slot: Slot,
    /// Which item of a chunk it is, from one on; one if it is no chunk.
    item: u32,
}

impl Begun<'_> {
    /// Looks whether the task is asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        let asked = self.slot.word(ASKED);
        self.exchange(BEGUN, LOOKED).is_err_and(|word| without(word) == asked)
    }

    /// Has the parent wait for the task as for one that looks, as it ends by itself in a moment.
    /// Returns whether the parent would not have.
    pub(crate) fn ask_for_patience(&self) -> bool {
        self.exchange(BEGUN, LOOKED).is_ok()
    }

    /// The task goes on as one that has never looked.
    pub(crate) fn need_no_patience(&self) {
        let _ = self.exchange(LOOKED, BEGUN); // or it is asked to end
    }

    /// Changes the state of the task from one to another. The error is the word that says another
    /// one, or zero if the task is over.
    #[inline]
    fn exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        if last_begun(self.page, self.slot) != self.item {
            return Err(0);
        }
        let mut word = self.word.load(Ordering::Acquire);
        // Once at most, unless the parent changes the word at this very moment.
        while without(word) == self.slot.word(from) {
            let changed = word & !STATE | to;
            match self.word.compare_exchange(word, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(other) => word = other,
            }
        }
        Err(word)
    }

    /// The claim of a later item, which is or will be made, if this is the one of the first.
    pub(crate) fn of_item(self, item: u32) -> Self {
        Self { item: self.item + item, ..self }
    }
}

/// What became of a sent task that the parent wanted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// It will never begin there.
    Revoked,
    /// Somebody else was faster; it will never begin there either.
    AlreadyRevoked,
    /// It runs, or has run.
    Begun,
}

/// What came of asking a task to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It has looked before, so it can be expected to look again.
    Cooperative,
    /// It has never looked; if it does, it will see.
    Unaware,
    /// It was asked before; what was answered then holds.
    Before,
    /// It has not begun, or there is no word to ask it by.
    Impossible,
}

/// The parent's side of one sent task.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    page: Arc<SharedPage>,
    slot: Slot,
}

impl Claim {
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn page(&self) -> &SharedPage {
        &self.page
    }

    fn word(&self) -> &AtomicU64 {
        &self.page.words()[usize::from(self.slot.index)]
    }

    pub(crate) fn revoke(&self) -> Revocation {
        let (offered, revoked) = (self.slot.word(OFFERED), self.slot.word(REVOKED));
        let exchanged =
            self.word().compare_exchange(offered, revoked, Ordering::AcqRel, Ordering::Acquire);
        match exchanged {
            Ok(_) => Revocation::Revoked,
            Err(word) if word == revoked => Revocation::AlreadyRevoked,
            // Whatever else stands there: a task that may have begun counts as begun.
            Err(_) => Revocation::Begun,
        }
    }

    pub(crate) fn has_begun(&self) -> bool {
        let word = self.word().load(Ordering::Acquire);
        word != self.slot.word(OFFERED) && word != self.slot.word(REVOKED)
    }

    /// Asks the running task to end.
    pub(crate) fn ask(&self) -> Asked {
        let before = self.change_begun(|word| word & !STATE | ASKED);
        match before.map(|word| word & STATE) {
            Some(BEGUN) => Asked::Unaware,
            Some(LOOKED) => Asked::Cooperative,
            Some(_) => Asked::Before,
            None => Asked::Impossible,
        }
    }

    /// Changes the word of a task that has begun; returns what it was.
    fn change_begun(&self, change: impl Fn(u64) -> u64) -> Option<u64> {
        for _ in 0..TRIES {
            let word = self.word().load(Ordering::Acquire);
            let has_begun = |state| without(word) == self.slot.word(state);
            if ![BEGUN, LOOKED, ASKED].into_iter().any(has_begun) {
                return None;
            }
            let exchanged = self.word().compare_exchange_weak(
                word,
                change(word),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if exchanged.is_ok() {
                return Some(word);
            }
        }
        None
    }
}

/// The page shared with one worker, and which of its words are free.
#[derive(Debug)]
pub(crate) struct ClaimBoard {
    page: Arc<SharedPage>,
    free: Vec<u16>,
    sendings: u32,
}

impl ClaimBoard {
    pub(crate) fn new(page: Arc<SharedPage>) -> Self {
        prepare(&page);
        let words = u16::try_from(CLAIMS).unwrap_or(u16::MAX);
        Self { page, free: (0..words).rev().collect(), sendings: 0 }
    }

    /// Offers a task. `None` if every word is taken.
    pub(crate) fn offer(&mut self) -> Option<Claim> {
        let index = self.free.pop()?;
        self.sendings = self.sendings.wrapping_add(1);
        let slot = Slot { index, sending: self.sendings };
        let claim = Claim { page: Arc::clone(&self.page), slot };
        claim.word().store(slot.word(OFFERED), Ordering::Release);
        Some(claim)
    }

    /// Frees the word of a task that is done with this worker.
    pub(crate) fn release(&mut self, slot: Slot) {
        self.free.push(slot.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::page::claim::items::Stopped;

    impl ClaimBoard {
        /// Whether no word is taken, and none is free twice.
        pub(crate) fn is_free(&self) -> bool {
            self.free.len() == CLAIMS
        }
    }

    fn board() -> ClaimBoard {
        ClaimBoard::new(Arc::new(SharedPage::create().unwrap().0))
    }

    #[test]
    fn a_begun_task_cannot_be_revoked() {
        let claim = board().offer().unwrap();
        assert!(!claim.has_begun());
        assert!(begin(&claim.page, claim.slot()).is_some());
        assert_eq!(claim.revoke(), Revocation::Begun);
        assert!(claim.has_begun());
    }

    #[test]
    fn a_revoked_task_never_begins() {
        let claim = board().offer().unwrap();
        assert_eq!(claim.revoke(), Revocation::Revoked);
        assert_eq!(claim.revoke(), Revocation::AlreadyRevoked);
        assert!(begin(&claim.page, claim.slot()).is_none());
        assert!(!claim.has_begun());
    }

    #[test]
    fn a_task_that_has_looked_is_cooperative_and_sees_that_it_is_asked() {
        let claim = board().offer().unwrap();
        let begun = begin(&claim.page, claim.slot()).unwrap();
        assert!(!begun.is_asked());
        assert!(!begun.is_asked());
        assert_eq!(claim.ask(), Asked::Cooperative);
        assert!(begun.is_asked());
        assert!(begun.is_asked(), "it stays asked");
        assert_eq!(claim.ask(), Asked::Before);
    }

    #[test]
    fn a_task_that_has_never_looked_sees_it_all_the_same() {
        let claim = board().offer().unwrap();
        let begun = begin(&claim.page, claim.slot()).unwrap();
        assert_eq!(claim.ask(), Asked::Unaware);
        assert!(begun.is_asked());
        assert_eq!(claim.ask(), Asked::Before);
    }

    #[test]
    fn a_task_that_needs_patience_is_waited_for_and_only_meanwhile() {
        let claim = board().offer().unwrap();
        let begun = begin(&claim.page, claim.slot()).unwrap();
        assert!(begun.ask_for_patience());
        assert!(!begun.ask_for_patience(), "it has it");
        begun.need_no_patience();
        assert_eq!(claim.ask(), Asked::Unaware);
        let claim = board().offer().unwrap();
        let begun = begin(&claim.page, claim.slot()).unwrap();
        assert!(begun.ask_for_patience());
        assert_eq!(claim.ask(), Asked::Cooperative);
        begun.need_no_patience();
        assert!(begun.is_asked() && !begun.ask_for_patience(), "it stays asked");
    }

    #[test]
    fn only_a_running_task_can_be_asked() {
        let mut board = board();
        let claim = board.offer().unwrap();
        assert_eq!(claim.ask(), Asked::Impossible);
        assert!(!claim.has_begun(), "asking has not changed it");
        assert_eq!(claim.revoke(), Revocation::Revoked);
        assert_eq!(claim.ask(), Asked::Impossible);
        assert!(!claim.has_begun());
    }

    #[test]
    fn a_task_that_has_looked_or_is_asked_counts_as_begun() {
        let claim = board().offer().unwrap();
        let begun = begin(&claim.page, claim.slot()).unwrap();
        begun.is_asked();
        assert!(claim.has_begun());
        assert_eq!(claim.revoke(), Revocation::Begun);
        claim.ask();
        assert!(claim.has_begun());
        assert_eq!(claim.revoke(), Revocation::Begun);
        assert!(begin(&claim.page, claim.slot()).is_none(), "it does not begin again");
    }

    #[test]
    fn a_task_that_is_over_neither_sees_nor_touches_the_next_one_in_its_slot() {
        let mut board = board();
        let old = board.offer().unwrap();
        let over = begin(&old.page, old.slot()).unwrap();
        board.release(old.slot());
        let new = board.offer().unwrap();
        let running = begin(&new.page, new.slot()).unwrap();
        assert!(!over.is_asked());
        assert_eq!(old.ask(), Asked::Impossible);
        assert_eq!(new.ask(), Asked::Unaware, "the old one's look was not the new one's");
        assert!(running.is_asked());
        assert!(!over.is_asked());
    }

    #[test]
    fn a_stale_frame_cannot_claim_the_next_task_in_its_slot() {
        let mut board = board();
        let stale = board.offer().unwrap();
        assert_eq!(stale.revoke(), Revocation::Revoked);
        board.release(stale.slot());
        let fresh = board.offer().unwrap();
        assert_eq!(fresh.slot().index, stale.slot().index);
        assert!(begin(&fresh.page, stale.slot()).is_none());
        assert!(begin(&fresh.page, fresh.slot()).is_some());
    }

    #[test]
    fn a_slot_beyond_the_page_claims_nothing() {
        let board = board();
        for index in [512, u16::MAX] {
            assert!(begin(&board.page, Slot { index, sending: 1 }).is_none());
        }
    }

    #[test]
    fn the_words_run_out_and_come_back() {
        let mut board = board();
        let claims: Vec<_> = std::iter::from_fn(|| board.offer()).collect();
        assert_eq!(claims.len(), CLAIMS);
        board.release(claims[3].slot());
        assert!(board.offer().is_some());
    }

    #[test]
    fn what_a_worker_writes_into_the_word_cannot_confuse_the_parent() {
        for rubbish in [0, u64::MAX, 0xFFFF_FF00, 2, 1 << 32 | 7, 1 << 32 | 2 | 0x30] {
            let claim = board().offer().unwrap();
            claim.word().store(rubbish, Ordering::Relaxed);
            assert_eq!(claim.stop(), Stopped::Never, "{rubbish:x}");
            assert!(claim.has_begun());
            assert_eq!(claim.revoke(), Revocation::Begun);
        }
    }
}
