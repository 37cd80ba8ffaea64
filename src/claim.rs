//! The word that decides whether a task begins.
//!
//! A task that was sent ahead to a busy worker can still be cancelled or given to another one. For
//! that both processes share a page of memory, and in it each sent task has a word. The supervisor
//! offers the task there, and then either the worker claims it by one atomic exchange, and runs it,
//! or the supervisor or the task's handle revokes it, and it will never begin:
//!
//! ```text
//!            begin (worker)
//! offered ──────────────────▶ begun
//!    │        revoke (parent)
//!    └──────────────────────▶ revoked
//! ```
//!
//! After a worker's death the words tell which tasks had begun. A word carries the number of the
//! sending, so a frame that is still in the pipe after its slot was given to another task cannot
//! claim that one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::sys::SharedPage;

const OFFERED: u64 = 1;
const BEGUN: u64 = 2;
const REVOKED: u64 = 3;

/// Where a sent task's word stands, as told to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    index: u16,
    sending: u64,
}

impl Slot {
    fn word(self, state: u64) -> u64 {
        self.sending << 2 | state
    }
}

/// The worker's side: claims the task; false if it was taken back.
pub(crate) fn begin(page: &SharedPage, slot: Slot) -> bool {
    page.words().get(usize::from(slot.index)).is_some_and(|word| {
        let (offered, begun) = (slot.word(OFFERED), slot.word(BEGUN));
        word.compare_exchange(offered, begun, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })
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
}

/// The page shared with one worker, and which of its words are free.
#[derive(Debug)]
pub(crate) struct ClaimBoard {
    page: Arc<SharedPage>,
    free: Vec<u16>,
    sendings: u64,
}

impl ClaimBoard {
    pub(crate) fn new(page: SharedPage) -> Self {
        let words = u16::try_from(page.words().len()).unwrap_or(u16::MAX);
        Self { page: Arc::new(page), free: (0..words).rev().collect(), sendings: 0 }
    }

    /// Offers a task. `None` if every word is taken.
    pub(crate) fn offer(&mut self) -> Option<Claim> {
        let index = self.free.pop()?;
        self.sendings += 1;
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

    fn board() -> ClaimBoard {
        ClaimBoard::new(SharedPage::create().unwrap().0)
    }

    #[test]
    fn a_begun_task_cannot_be_revoked() {
        let claim = board().offer().unwrap();
        assert!(!claim.has_begun());
        assert!(begin(&claim.page, claim.slot()));
        assert_eq!(claim.revoke(), Revocation::Begun);
        assert!(claim.has_begun());
    }

    #[test]
    fn a_revoked_task_never_begins() {
        let claim = board().offer().unwrap();
        assert_eq!(claim.revoke(), Revocation::Revoked);
        assert_eq!(claim.revoke(), Revocation::AlreadyRevoked);
        assert!(!begin(&claim.page, claim.slot()));
        assert!(!claim.has_begun());
    }

    #[test]
    fn a_stale_frame_cannot_claim_the_next_task_in_its_slot() {
        let mut board = board();
        let stale = board.offer().unwrap();
        assert_eq!(stale.revoke(), Revocation::Revoked);
        board.release(stale.slot());
        let fresh = board.offer().unwrap();
        assert_eq!(fresh.slot().index, stale.slot().index);
        assert!(!begin(&fresh.page, stale.slot()));
        assert!(begin(&fresh.page, fresh.slot()));
    }

    #[test]
    fn a_slot_beyond_the_page_claims_nothing() {
        let board = board();
        assert!(!begin(&board.page, Slot { index: u16::MAX, sending: 1 }));
    }

    #[test]
    fn the_words_run_out_and_come_back() {
        let mut board = board();
        let claims: Vec<_> = std::iter::from_fn(|| board.offer()).collect();
        assert_eq!(claims.len(), board.page.words().len());
        board.release(claims[3].slot());
        assert!(board.offer().is_some());
    }
}
