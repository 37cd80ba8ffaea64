//! Which items of a chunk begin.
//!
//! An item may take nanoseconds, so the worker does not claim each by an atomic exchange: it only
//! announces, in a word that nobody else writes, how many have begun, and then looks whether the
//! chunk has been stopped. The parent takes back all that have not begun: it marks the chunk's word
//! as stopped, has the worker go through a [memory barrier](barrier), and looks how many were
//! announced.
//!
//! ```text
//! worker: announce item n ── look: stopped? ── no: run it
//! parent: stop ── barrier in the worker ── look: how many are announced?
//! ```
//!
//! What was announced before the barrier, the parent sees. After it the worker sees that the chunk
//! is stopped. Only an item that is announced at that very moment can be seen by both, or by none:
//! so both then try to settle, by an exchange of the chunk's word, how many items have begun, and
//! what was settled first holds for both.
//!
//! Where the parent cannot have a barrier in the worker, the worker goes through one of its own for
//! each item.

use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

use super::{Begun, Claim};
use crate::memory::page::layout::{
    ANNOUNCED, ASKED, BARRIERS, BEGUN, FLAGS, LOOKED, STOPPED, has_barriers, last_begun, settle,
    settled, without,
};
use crate::sys::memory::{barrier, takes_part_in_barriers};

/// The worker's side of a chunk that has begun.
#[derive(Debug)]
pub(crate) struct Items<'a> {
    first: Begun<'a>,
    announced: &'a AtomicU64,
    begun: u32,
    has_barriers: bool,
}

impl<'a> Items<'a> {
    /// The first item has been claimed with the chunk.
    pub(crate) fn new(first: Begun<'a>) -> Self {
        let [announced, flags] = [ANNOUNCED, FLAGS].map(|n| &first.page.words()[n]);
        let parent_has = flags.load(Ordering::Acquire) & BARRIERS != 0;
        let has_barriers = takes_part_in_barriers() && parent_has;
        Self { first, announced, begun: 1, has_barriers }
    }

    /// The claim of the first item.
    pub(crate) fn first(&self) -> Begun<'a> {
        self.first
    }

    /// Begins the next item; false if it was taken back.
    #[inline]
    pub(crate) fn begin_next(&mut self) -> bool {
        let slot = self.first.slot;
        let next = self.begun + 1;
        self.announced.store(slot.word(next.into()), Ordering::Release);
        if self.has_barriers {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        let word = self.first.word.load(Ordering::Acquire);
        let goes_on = word == slot.word(BEGUN) || word == slot.word(LOOKED);
        let begins = goes_on || self.settle(word, next);
        self.begun += u32::from(begins);
        begins
    }

    /// The chunk was stopped when `next` was announced; whether that begins.
    #[cold]
    fn settle(&self, mut word: u64, next: u32) -> bool {
        let slot = self.first.slot;
        loop {
            if let Some(items) = settled(word) {
                return next <= items;
            }
            let items = match without(word) {
                _ if word & STOPPED != 0 => next,
                // Nobody has stopped it, but it is to end.
                asked if asked == slot.word(ASKED) => next - 1,
                _ => return false,
            };
            let settled = settle(word, items);
            let exchanged = self.first.word.compare_exchange(
                word,
                settled,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match exchanged {
                Ok(_) => return items == next,
                Err(other) => word = other,
            }
        }
    }
}

/// Which items of a chunk have begun when the others are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// So many.
    After(u32),
    /// Nothing was taken back, and each of them may have begun.
    Never,
}

impl Claim {
    /// Takes back all items of a chunk that have not begun, if it has begun itself.
    pub(crate) fn stop(&self) -> Stopped {
        self.stop_and_see(|| !has_barriers() || barrier())
    }

    /// `see` has the worker see that it is stopped, if it can.
    fn stop_and_see(&self, see: impl FnOnce() -> bool) -> Stopped {
        if self.change_begun(|word| word | STOPPED).is_none() {
            return Stopped::Never;
        }
        fence(Ordering::SeqCst);
        let is_seen = see();
        let begun = last_begun(&self.page, self.slot);
        let before = self.change_begun(|word| match settled(word) {
            None if is_seen => settle(word, begun),
            None => word & !STOPPED, // not reached: who had barriers once has them
            Some(_) => word,
        });
        let settled = before.and_then(|word| settled(word).or(is_seen.then_some(begun)));
        settled.map_or(Stopped::Never, Stopped::After)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::page::claim::{Asked, ClaimBoard, Revocation, begin};
    use crate::memory::page::layout::{ITEM, ITEMS};
    use crate::sys::memory::{SharedPage, take_part_in_barriers};

    /// A chunk, and its worker's side.
    fn chunk() -> Claim {
        let page = Arc::new(SharedPage::create().unwrap().0);
        ClaimBoard::new(page).offer().unwrap()
    }

    fn begun(chunk: &Claim) -> Items<'_> {
        Items::new(begin(&chunk.page, chunk.slot()).unwrap())
    }

    impl<'a> Items<'a> {
        fn last(&self) -> Begun<'a> {
            self.first.of_item(self.begun - 1)
        }
    }

    #[test]
    fn items_begin_one_by_one_until_the_rest_is_taken_back() {
        let claim = chunk();
        assert_eq!(claim.stop(), Stopped::Never, "it has not begun");
        let mut items = begun(&claim);
        assert!(items.begin_next() && items.begin_next());
        assert_eq!(claim.stop(), Stopped::After(3));
        assert!(!items.begin_next() && !items.begin_next());
        assert_eq!(claim.stop(), Stopped::After(3));
        assert_eq!(claim.revoke(), Revocation::Begun);
    }

    #[test]
    fn all_items_of_a_chunk_have_begun_when_a_later_one_is_announced() {
        let mut board = ClaimBoard::new(Arc::new(SharedPage::create().unwrap().0));
        let (claim, later) = (board.offer().unwrap(), board.offer().unwrap());
        assert!(begun(&claim).begin_next() && begun(&later).begin_next());
        assert_eq!(later.stop(), Stopped::After(2));
        let all = u32::try_from(ITEMS / ITEM).unwrap();
        assert!(matches!(claim.stop(), Stopped::After(items) if items >= all));
    }

    #[test]
    fn the_first_item_begins_with_its_chunk() {
        let claim = chunk();
        let mut items = begun(&claim);
        assert_eq!(claim.stop(), Stopped::After(1));
        assert!(!items.begin_next());
    }

    #[test]
    fn what_was_announced_for_another_chunk_does_not_count() {
        let mut board = ClaimBoard::new(Arc::new(SharedPage::create().unwrap().0));
        let first = board.offer().unwrap();
        let mut items = begun(&first);
        assert!(items.begin_next() && items.begin_next());
        let second = board.offer().unwrap();
        let _items = begun(&second);
        assert_eq!(second.stop(), Stopped::After(1));
    }

    #[test]
    fn an_item_that_is_over_leaves_the_next_one_alone() {
        let claim = chunk();
        let mut items = begun(&claim);
        let first = items.last();
        assert!(items.begin_next());
        let second = items.last();
        assert!(!first.is_asked());
        assert_eq!(claim.ask(), Asked::Unaware, "only the first one has looked");
        assert!(!first.is_asked() && second.is_asked());
        assert!(!items.begin_next());
        assert_eq!(claim.stop(), Stopped::After(2));
    }

    #[test]
    fn a_chunk_whose_items_look_goes_on_and_can_be_stopped_and_asked() {
        let claim = chunk();
        let mut items = begun(&claim);
        for _ in 0..3 {
            assert!(!items.last().is_asked());
            assert!(items.begin_next());
        }
        assert_eq!(claim.stop(), Stopped::After(4));
        assert!(!items.last().is_asked());
        assert_eq!(claim.ask(), Asked::Cooperative);
        assert!(items.last().is_asked());
    }

    #[test]
    fn an_item_that_is_announced_while_its_chunk_is_stopped_begins_if_the_worker_settles_it_first()
    {
        let claim = chunk();
        let items = begun(&claim);
        let word = claim.change_begun(|word| word | STOPPED).unwrap() | STOPPED;
        assert!(items.settle(word, 2));
        assert_eq!(claim.stop(), Stopped::After(2));
        assert!(!items.settle(word, 3));
    }

    #[test]
    fn it_does_not_begin_if_the_parent_settles_it_without_it() {
        let claim = chunk();
        let items = begun(&claim);
        assert_eq!(claim.stop(), Stopped::After(1));
        assert!(!items.settle(claim.slot.word(BEGUN) | STOPPED, 2));
    }

    /// More words than a cache has.
    const FAR: usize = 4 << 20;

    /// What the worker runs and what the parent takes back, in many rounds.
    fn race(takes_part: bool) {
        let far: &Vec<AtomicU64> = &(0..FAR).map(|_| AtomicU64::new(0)).collect();
        for round in 0..500 {
            let claim = chunk();
            let mut items = begun(&claim);
            items.has_barriers &= takes_part;
            let (ran, stopped) = std::thread::scope(|scope| {
                let worker = scope.spawn(move || {
                    while items.begun < 10_000 {
                        // As those before it are slow, what is announced is long on its way.
                        let place = (items.begun as usize * 7919 + round * 104_729) * 8;
                        for n in 0..8 {
                            far[(place + n * 65_537 * 8) % far.len()].store(1, Ordering::Relaxed);
                        }
                        if items.begun.is_multiple_of(3) {
                            items.last().is_asked();
                        }
                        if !items.begin_next() {
                            break;
                        }
                    }
                    items.begun
                });
                while last_begun(&claim.page, claim.slot) < 2 {
                    std::thread::yield_now();
                }
                for _ in 0..round % 500 {
                    std::hint::spin_loop();
                }
                let stopped = if takes_part { claim.stop() } else { claim.stop_and_see(|| true) };
                (worker.join().unwrap(), stopped)
            });
            assert_eq!(stopped, Stopped::After(ran), "in round {round}");
        }
    }

    #[test]
    fn an_item_begins_or_is_taken_back_and_never_both() {
        take_part_in_barriers();
        race(true);
    }

    #[test]
    fn so_it_is_without_barriers_in_other_processes() {
        race(false);
    }
}
