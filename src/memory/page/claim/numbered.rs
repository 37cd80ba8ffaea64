//! Claims of a worker that is not on the machine of its pool.
//!
//! Between them is a connection, and no memory that both can see. The worker shares its page with
//! the agent that has started it, which takes back, looks and asks as it is told. Nobody offers
//! tasks there: the pool counts what it sends to the worker, and the number of a sending says by
//! itself which word is its own. The worker reads what it is sent in that order. So before a task
//! begins its word says either that nothing was sent before it, or what became of the sending that
//! had the word before:
//!
//! ```text
//! word of n       offered n at first, or begun, looked, asked or revoked n - 512
//!                      begin (worker) │ revoke (agent)
//!                           begun n ◀─┴─▶ revoked n
//! ```
//!
//! Everything else that a word may say counts as begun.

use std::sync::atomic::Ordering;

use crate::memory::page::layout::{
    ASKED, BEGUN, CLAIMS, FLAGS, LOOKED, NUMBERED, OFFERED, REVOKED, without,
};
use crate::sys::memory::SharedPage;
use crate::wire::far::{FarPage, FarRecord};
use crate::wire::message::Slot;

#[expect(clippy::cast_possible_truncation, reason = "there are 512")]
const WORDS: u32 = CLAIMS as u32;

/// Whether nobody offers tasks on this page.
pub(crate) fn is_numbered(page: &SharedPage) -> bool {
    page.words()[FLAGS].load(Ordering::Relaxed) & NUMBERED != 0
}

impl Slot {
    /// Of the sending with that number.
    pub(crate) fn numbered(number: u32) -> Self {
        let index = (number % WORDS) as u16;
        Self { index, sending: number }
    }

    /// Whether this is what its word says before a task begins there.
    pub(super) fn may_follow(self, word: u64) -> bool {
        let before = Self { sending: self.sending.wrapping_sub(WORDS), ..self };
        word == self.word(OFFERED)
            || [BEGUN, LOOKED, ASKED, REVOKED].iter().any(|was| without(word) == before.word(*was))
    }

    /// Whether a task provably has not begun whose word says this.
    pub(crate) fn is_unbegun(self, word: u64) -> bool {
        word == self.word(REVOKED) || self.may_follow(word)
    }
}

/// As the pool reads it.
impl FarPage {
    /// Whether the task with that number may have begun.
    pub(crate) fn has_begun(&self, number: u32) -> bool {
        let slot = Slot::numbered(number);
        let word = self.claims.get(usize::from(slot.index));
        word.is_none_or(|word| !slot.is_unbegun(*word))
    }

    /// What is recorded of the chunk with that number.
    pub(crate) fn record_of(&self, number: u32) -> Option<&FarRecord> {
        #[expect(clippy::cast_possible_truncation, reason = "these are the lowest bits")]
        let tag = number as u16;
        self.record.as_ref().filter(|(of, _)| *of == tag).map(|(_, record)| record)
    }
}

#[cfg(any(test, feature = "hosts"))]
pub(crate) use self::agent::NumberedClaims;

#[cfg(any(test, feature = "hosts"))]
mod agent {
    use std::sync::Arc;

    use super::{CLAIMS, FLAGS, NUMBERED, OFFERED, Ordering, REVOKED, SharedPage, Slot, WORDS};
    use crate::memory::page::claim::{Asked, Claim, TRIES};
    use crate::memory::page::layout::prepare;
    use crate::memory::page::{Stopped, record};
    use crate::wire::far::{FarAnswer, FarPage, FarQuestion, FarRecord, StoppedChunk};

    /// The agent's side of a page.
    #[derive(Clone, Debug)]
    pub(crate) struct NumberedClaims(Arc<SharedPage>);

    impl NumberedClaims {
        /// To be called before the worker opens the page.
        pub(crate) fn new(page: Arc<SharedPage>) -> Self {
            prepare(&page);
            let words = page.words();
            for number in 0..WORDS {
                let slot = Slot::numbered(number);
                words[usize::from(slot.index)].store(slot.word(OFFERED), Ordering::Relaxed);
            }
            words[FLAGS].fetch_or(NUMBERED, Ordering::Release);
            Self(page)
        }

        pub(crate) fn page(&self) -> &Arc<SharedPage> {
            &self.0
        }

        fn claim(&self, number: u32) -> Claim {
            Claim { page: Arc::clone(&self.0), slot: Slot::numbered(number) }
        }

        pub(crate) fn answer(&self, question: FarQuestion) -> FarAnswer {
            match question {
                FarQuestion::TakeBack { first, count, stops } => {
                    self.take_back(first, count, stops)
                }
                FarQuestion::Look(number) => {
                    FarAnswer::Looked { number, has_begun: !self.is_unbegun(number) }
                }
                FarQuestion::Ask(number) => {
                    let is_cooperative = self.claim(number).ask() == Asked::Cooperative;
                    FarAnswer::Asked { number, is_cooperative }
                }
            }
        }

        fn is_unbegun(&self, number: u32) -> bool {
            let claim = self.claim(number);
            claim.slot.is_unbegun(claim.word().load(Ordering::Acquire))
        }

        /// Revokes the last first, until one has begun, which is stopped.
        fn take_back(&self, first: u32, count: u32, stops: bool) -> FarAnswer {
            let end = first.wrapping_add(count);
            // No more can be waiting than there are words.
            let lasts = 1..=count.min(WORDS);
            let revoked = lasts.take_while(|n| self.revoke(end.wrapping_sub(*n)));
            let from = end.wrapping_sub(u32::try_from(revoked.count()).unwrap_or(0));
            let last = from.wrapping_sub(1);
            let stopped = stops.then(|| self.stop(last)).flatten();
            FarAnswer::TakenBack { from, stopped }
        }

        /// Whether that task will not begin.
        fn revoke(&self, number: u32) -> bool {
            let claim = self.claim(number);
            let (word, revoked) = (claim.word(), claim.slot.word(REVOKED));
            for _ in 0..TRIES {
                let seen = word.load(Ordering::Acquire);
                if seen == revoked {
                    return true;
                }
                if !claim.slot.may_follow(seen) {
                    return false;
                }
                let exchanged =
                    word.compare_exchange(seen, revoked, Ordering::AcqRel, Ordering::Relaxed);
                if exchanged.is_ok() {
                    return true;
                }
            }
            false
        }

        /// Takes back what has not begun of a chunk, if that is one and has begun.
        fn stop(&self, number: u32) -> Option<StoppedChunk> {
            let claim = self.claim(number);
            let Stopped::After(begun) = claim.stop() else { return None };
            let record = record::read(&claim).map(FarRecord::from);
            Some(StoppedChunk { number, begun, record })
        }

        /// What is left of a worker that has ended.
        pub(crate) fn last_words(&self) -> FarPage {
            let claims = self.0.words()[..CLAIMS].iter();
            FarPage {
                claims: claims.map(|word| word.load(Ordering::Acquire)).collect(),
                record: record::read_last(&self.0).map(|(tag, record)| (tag, record.into())),
            }
        }
    }

    impl From<record::Entries> for FarRecord {
        fn from(record::Entries { base, bytes }: record::Entries) -> Self {
            Self { base, bytes }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::page::begin;
    use crate::wire::far::{FarAnswer, FarQuestion};

    fn claims() -> NumberedClaims {
        NumberedClaims::new(Arc::new(SharedPage::create().unwrap().0))
    }

    fn begins(claims: &NumberedClaims, number: u32) -> bool {
        begin(claims.page(), Slot::numbered(number)).is_some()
    }

    fn taken_from(claims: &NumberedClaims, first: u32, count: u32) -> u32 {
        match claims.answer(FarQuestion::TakeBack { first, count, stops: false }) {
            FarAnswer::TakenBack { from, stopped: None } => from,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_not_taken_back_begins_once_round_after_round() {
        let claims = claims();
        for number in 0..3 * WORDS {
            assert!(!claims.last_words().has_begun(number));
            if number % 7 == 3 {
                assert_eq!(taken_from(&claims, number, 1), number);
                assert!(!begins(&claims, number), "it was taken back");
                assert!(!claims.last_words().has_begun(number));
            } else {
                assert!(begins(&claims, number));
                assert!(!begins(&claims, number), "it has begun");
                assert_eq!(taken_from(&claims, number, 1), number + 1);
                assert!(claims.last_words().has_begun(number));
            }
        }
    }

    #[test]
    fn the_last_ones_are_taken_back_up_to_one_that_has_begun() {
        let claims = claims();
        assert!(begins(&claims, 0) && begins(&claims, 1));
        assert_eq!(taken_from(&claims, 0, 5), 2);
        assert_eq!(taken_from(&claims, 0, 5), 2, "and are taken back once more");
        assert!((2..5).all(|number| !begins(&claims, number)) && begins(&claims, 5));
        assert_eq!(taken_from(&claims, 6, 0), 6, "nothing was asked for");
        assert_eq!(taken_from(&claims, 6, u32::MAX), 2, "the last ones before 5");
    }

    #[test]
    fn numbers_begin_anew_some_day() {
        let claims = claims();
        let last = Slot::numbered(u32::MAX);
        let before = Slot { sending: last.sending - WORDS, ..last };
        let words = claims.page().words();
        words[usize::from(last.index)].store(before.word(BEGUN), Ordering::Relaxed);
        let (next, at_zero) =
            (Slot::numbered(0), Slot { index: 0, sending: 0u32.wrapping_sub(WORDS) });
        words[0].store(at_zero.word(LOOKED), Ordering::Relaxed);
        assert_eq!(next, Slot { index: 0, sending: 0 });
        assert_eq!(taken_from(&claims, u32::MAX, 2), u32::MAX);
        assert!(!begins(&claims, u32::MAX) && !begins(&claims, 0));
    }

    #[test]
    fn one_that_runs_can_be_looked_at_and_asked() {
        let claims = claims();
        let looked = |number| claims.answer(FarQuestion::Look(number));
        let asked = |number| claims.answer(FarQuestion::Ask(number));
        assert_eq!(looked(0), FarAnswer::Looked { number: 0, has_begun: false });
        assert_eq!(asked(0), FarAnswer::Asked { number: 0, is_cooperative: false });
        let begun = begin(claims.page(), Slot::numbered(0)).unwrap();
        assert_eq!(looked(0), FarAnswer::Looked { number: 0, has_begun: true });
        assert!(!begun.is_asked());
        assert_eq!(asked(0), FarAnswer::Asked { number: 0, is_cooperative: true });
        assert!(begun.is_asked());
        assert!(begins(&claims, 1), "it is another one's word");
    }

    #[test]
    fn a_chunk_is_stopped_where_it_is_and_says_what_it_has_done() {
        use crate::memory::page::{Items, Recorder};

        let claims = claims();
        let page: &'static SharedPage = Box::leak(Box::new(Arc::clone(claims.page())));
        let slot = Slot::numbered(0);
        let recorder = Recorder::new(page, slot);
        let mut items = Items::new(begin(page, slot).unwrap());
        assert!(recorder.publish(b"results", 0) && items.begin_next());
        let question = FarQuestion::TakeBack { first: 1, count: 0, stops: true };
        let FarAnswer::TakenBack { from: 1, stopped: Some(stopped) } = claims.answer(question)
        else {
            panic!("it is not stopped");
        };
        let record = stopped.record.unwrap();
        assert_eq!((stopped.number, stopped.begun, record.base), (0, 2, 0));
        assert_eq!(record.bytes, b"results");
        assert!(!items.begin_next());
        let (tag, record) = claims.last_words().record.unwrap();
        assert_eq!((tag, &record.bytes[..]), (0, &b"results"[..]));
    }

    #[test]
    fn whatever_else_a_word_says_counts_as_begun() {
        let claims = claims();
        for rubbish in [0, 1, 7, u64::MAX, Slot::numbered(9).word(OFFERED)] {
            claims.page().words()[5].store(rubbish, Ordering::Relaxed);
            assert!(claims.last_words().has_begun(5), "{rubbish:x}");
            assert_eq!(taken_from(&claims, 5, 1), 6);
            assert!(!begins(&claims, 5));
        }
    }
}
