//! Large results in memory of a worker's, as its parent sees them.
//!
//! A worker offers a segment, and leaves results there once the parent has opened it; so what a
//! reply tells of is in the parent's hands whatever becomes of the worker. Whose turn it is stands
//! in the segment:
//!
//! ```text
//!          opened (parent)       (worker)         reply (worker)
//! offered ─────────────────▶ free ───────▶ taken ──────────────▶ lent
//!                            │  ▲          copied (parent)        │
//!           given up ◀───────┘  └─────────────────────────────────┘
//!                    (parent)
//! ```
//!
//! The worker may change the bytes at any time, so they are copied before anybody looks at them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use crate::base::maps::SortedMap;
use crate::base::sync::Mutex;
use crate::sys::buffer::vec_for;
use crate::sys::memory::{Peer, Segment};
use crate::wire::message::{Outcome, SegmentOffer, SegmentReply};

pub(super) const OFFERED: u64 = 0;
pub(super) const FREE: u64 = 1;
pub(super) const LENT: u64 = 2;
pub(super) const TAKEN: u64 = 3;
pub(super) const GIVEN_UP: u64 = 4;

/// The most segments that a worker may have.
pub(super) const SEGMENTS: usize = 4;

/// Whose turn it is, in a segment of a worker's.
pub(super) fn turn_word(segment: &Segment) -> &AtomicU64 {
    &segment.words()[0]
}

/// The segments of one worker.
#[derive(Debug)]
pub(crate) struct Loans {
    segments: SortedMap<u64, Known>,
    /// How long they may be all together.
    most: u64,
    /// The worker was told that something cannot be opened.
    has_refused: bool,
}

/// A segment that its worker has.
#[derive(Debug)]
struct Known {
    opened: Arc<Opened>,
    /// There was a result in it, or there may be one soon, since [`Loans::trim`].
    is_used: bool,
    /// The last result in it.
    last: Weak<Loan>,
}

impl Drop for Known {
    /// A result may be left alone for long, and the segments of many workers that have gone would
    /// take all descriptors.
    fn drop(&mut self) {
        if let Some(loan) = self.last.upgrade() {
            loan.bytes();
        }
    }
}

#[derive(Debug)]
struct Opened {
    segment: Segment,
    is_lent: AtomicBool,
}

impl Opened {
    /// Takes it away from the worker, if that does not use it.
    fn give_up(&self) -> bool {
        let turn = turn_word(&self.segment);
        let given_up = !self.is_lent.load(Ordering::Acquire)
            && turn.compare_exchange(FREE, GIVEN_UP, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if given_up {
            self.segment.give_memory_back(); // the worker may be asleep, and have it mapped
        }
        given_up
    }

    fn end_loan(&self) {
        self.is_lent.store(false, Ordering::Release);
        turn_word(&self.segment).store(FREE, Ordering::Release);
    }
}

impl Loans {
    pub(crate) fn new(most: u64) -> Self {
        Self { segments: SortedMap::new(), most, has_refused: false }
    }

    /// Opens a segment. Returns whether the worker has to be told that this is not possible, which
    /// is so once: it will not use it.
    ///
    /// # Errors
    ///
    /// If the worker offers what it must not.
    pub(crate) fn accept(&mut self, offer: &SegmentOffer, peer: &Peer) -> io::Result<bool> {
        if let Some(old) = offer.instead_of {
            self.segments.remove(&old); // a result in it is kept
        }
        let size = |known: &Known| known.opened.segment.len() as u64;
        let sum = self.segments.values().map(size).sum::<u64>().saturating_add(offer.name.len());
        if self.segments.len() >= SEGMENTS || sum > self.most {
            return Err(lie("offered more memory than it may"));
        }
        // Nobody else's memory is touched. One in a namespace knows itself by another pid.
        let opened = peer.open(offer.name.pid(), |sent| Segment::open(offer.name, sent).ok());
        let Some(segment) = opened else {
            return Ok(!std::mem::replace(&mut self.has_refused, true));
        };
        turn_word(&segment).store(FREE, Ordering::Release);
        let opened = Arc::new(Opened { segment, is_lent: AtomicBool::new(false) });
        self.segments.insert(offer.segment, Known { opened, is_used: true, last: Weak::new() });
        Ok(false)
    }

    /// Gives up what was not used since this was called last; whether anything is left.
    pub(crate) fn trim(&mut self) -> bool {
        self.segments.retain(|known| std::mem::take(&mut known.is_used) || !known.opened.give_up());
        !self.segments.is_empty()
    }

    /// Takes a result.
    ///
    /// # Errors
    ///
    /// If the worker tells of what cannot be there.
    pub(crate) fn take(
        &mut self,
        reply: &SegmentReply,
        max_payload: usize,
    ) -> io::Result<Arc<Loan>> {
        let known = self.segments.get_mut(&reply.segment);
        let known = known.ok_or_else(|| lie("sent a result in memory that it does not share"))?;
        known.is_used = true;
        let opened = &known.opened;
        let fits = |length: &usize| *length <= opened.segment.len() && *length <= max_payload;
        let length = usize::try_from(reply.length).ok().filter(fits);
        let length = length.ok_or_else(|| lie("sent a result that is longer than it can be"))?;
        if reply.reply.outcome != Outcome::Returned || opened.is_lent.swap(true, Ordering::Acquire)
        {
            return Err(lie("sent two results in one place"));
        }
        let opened = Mutex::new(Some(Arc::clone(opened)));
        let loan = Arc::new(Loan { opened, length, copy: OnceLock::new() });
        known.last = Arc::downgrade(&loan);
        Ok(loan)
    }
}

fn lie(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it {what}"))
}

/// A result in a worker's segment.
#[derive(Debug)]
pub(crate) struct Loan {
    /// Set until it was copied.
    opened: Mutex<Option<Arc<Opened>>>,
    length: usize,
    copy: OnceLock<Bytes>,
}

impl Loan {
    /// The bytes, copied when they are first wanted; that ends the loan.
    pub(crate) fn bytes(&self) -> &Bytes {
        self.copy.get_or_init(|| {
            let Some(opened) = self.take_opened() else { return Bytes::new() }; // not reached
            let mut copy = vec_for(self.length);
            // That it is inside was found before; if there is no memory this is no result.
            let copied = opened.segment.copy_to(0..self.length, &mut copy);
            opened.end_loan();
            copied.map_or_else(|_| Bytes::new(), |()| Bytes::from(copy))
        })
    }

    fn take_opened(&self) -> Option<Arc<Opened>> {
        self.opened.lock().take()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(opened) = self.take_opened() {
            opened.end_loan();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::base::TaskId;
    use crate::wire::message::ReplyHeader;

    const LEN: usize = 10_000;

    fn own() -> Peer {
        Peer::child(std::process::id())
    }

    fn offer(segment: &Segment, number: u64) -> SegmentOffer {
        SegmentOffer { segment: number, name: segment.name(), instead_of: None }
    }

    fn reply(segment: u64, length: u64) -> SegmentReply {
        let reply = ReplyHeader { run_time: 0, task: TaskId(1), outcome: Outcome::Returned };
        SegmentReply { reply, segment, length }
    }

    fn loans() -> (Loans, Segment) {
        let (mut loans, mut segment) = (Loans::new(1 << 20), Segment::create(LEN).unwrap());
        segment.write_at(0, b"result").unwrap();
        loans.accept(&offer(&segment, 1), &own()).unwrap();
        (loans, segment)
    }

    fn turn(segment: &Segment) -> u64 {
        turn_word(segment).load(Ordering::Acquire)
    }

    #[test]
    fn a_result_is_copied_and_its_place_is_free_again() {
        let (mut loans, mut segment) = loans();
        assert_eq!(turn(&segment), FREE);
        turn_word(&segment).store(LENT, Ordering::Release);
        let loan = loans.take(&reply(1, 6), LEN).unwrap();
        assert_eq!(turn(&segment), LENT);
        assert_eq!(loan.bytes(), "result");
        assert_eq!(turn(&segment), FREE);
        segment.write_at(0, b"change").unwrap();
        turn_word(&segment).store(LENT, Ordering::Release);
        assert_eq!(loan.bytes(), "result");
        drop(loan);
        assert_eq!(turn(&segment), LENT, "it is another one's");
    }

    #[test]
    fn a_result_outlives_its_worker_and_one_that_nobody_wants_frees_its_place() {
        let (mut loans, segment) = loans();
        let loan = loans.take(&reply(1, 6), LEN).unwrap();
        turn_word(&segment).store(LENT, Ordering::Release);
        drop(loan);
        assert_eq!(turn(&segment), FREE);
        let loan = loans.take(&reply(1, 6), LEN).unwrap();
        drop((loans, segment));
        assert!(loan.opened.lock().is_none(), "it keeps nothing open");
        assert_eq!(loan.bytes(), "result");
    }

    #[test]
    fn what_was_not_used_lately_is_given_up_unless_its_worker_uses_it() {
        let (mut loans, segment) = loans();
        assert!(loans.trim(), "it is new");
        turn_word(&segment).store(TAKEN, Ordering::Release);
        assert!(loans.trim(), "the worker writes to it");
        turn_word(&segment).store(LENT, Ordering::Release);
        let loan = loans.take(&reply(1, 6), LEN).unwrap();
        assert!(loans.trim() && loans.trim(), "there is a result in it");
        assert_eq!(loan.bytes(), "result");
        assert_eq!(turn(&segment), FREE);
        assert!(!loans.trim());
        assert_eq!(turn(&segment), GIVEN_UP);
        assert!(segment.memory() < LEN as u64);
        assert!(loans.take(&reply(1, 6), LEN).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (mut loans, segment) = loans();
        assert!(loans.take(&reply(2, 6), LEN).is_err());
        assert!(loans.take(&reply(1, LEN as u64 + 1), usize::MAX).is_err());
        assert!(loans.take(&reply(1, u64::MAX), usize::MAX).is_err());
        assert!(loans.take(&reply(1, 6), 5).is_err());
        let loan = loans.take(&reply(1, 6), LEN).unwrap();
        assert!(loans.take(&reply(1, 6), LEN).is_err());
        drop(loan);
        let mut panicked = reply(1, 6);
        panicked.reply.outcome = Outcome::Panicked;
        assert!(loans.take(&panicked, LEN).is_err());
        assert!(loans.accept(&offer(&segment, 2), &Peer::child(1)).unwrap());
        assert!(!loans.accept(&offer(&segment, 2), &Peer::child(1)).unwrap(), "it was told");
        assert!(loans.take(&reply(2, 6), LEN).is_err(), "only what is its own is opened");
        for number in 2..=4 {
            loans.accept(&offer(&segment, number), &own()).unwrap();
        }
        assert!(loans.accept(&offer(&segment, 5), &own()).is_err());
        let instead = SegmentOffer { instead_of: Some(2), ..offer(&segment, 5) };
        loans.accept(&instead, &own()).unwrap();
        let mut few = Loans::new(LEN as u64 - 1);
        assert!(few.accept(&offer(&segment, 1), &own()).is_err());
    }

    #[test]
    fn what_is_no_segment_is_not_taken() {
        let (mut loans, segment) = loans();
        let offer = offer(&segment, 2);
        drop(segment);
        loans.accept(&offer, &own()).unwrap();
        assert!(loans.take(&reply(2, 6), LEN).is_err());
    }
}
