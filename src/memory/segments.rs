//! What a worker has of the memory in which payloads travel: segments of its parent's with
//! arguments (see [`arena`](super::arena)), and its own for results (see [`loans`](super::loans)).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::arena::{Draft, Slab, Slabs, is_given_up, lease_word, readers_word, segment_size};
use super::loans::{FREE, GIVEN_UP, LENT, OFFERED, SEGMENTS, TAKEN, turn_word};
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::{Arrivals, Segment, SegmentRef};
use crate::wire::message::{Place, SegmentOffer};

/// The most segments of the parent's that are kept open.
const KEPT: usize = 8;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Segments {
    /// Those of the parent's, with their names; the last ones were used last.
    opened: Vec<(u64, Arc<Segment>)>,
    own: Vec<Slab>,
    /// How long its own may be all together.
    most: usize,
    next: u64,
}

impl Segments {
    pub(crate) fn new(most: u64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { opened: Vec::new(), own: Vec::new(), most, next: 1 }
    }

    /// The arguments at a place; nothing if the task is over for the parent, which then does not
    /// care what becomes of it.
    ///
    /// # Errors
    ///
    /// If the segment cannot be opened.
    pub(crate) fn read(&mut self, place: &Place) -> io::Result<Bytes> {
        let segment = self.open(place)?;
        Ok(Reading::new(segment, place).map_or_else(Bytes::new, Bytes::from_owner))
    }

    /// Opens what is at a place, or finds that it is open.
    fn open(&mut self, place: &Place) -> io::Result<Arc<Segment>> {
        self.opened.retain(|(_, segment)| !is_given_up(segment));
        let known = self.opened.iter().position(|(id, _)| *id == place.id);
        let found = match known {
            Some(index) => self.opened.remove(index).1,
            None => Arc::new(self.open_new(place.name)?),
        };
        if self.opened.len() >= KEPT {
            self.opened.remove(0);
        }
        self.opened.push((place.id, Arc::clone(&found)));
        Ok(found)
    }

    /// If there is no room for one more, then at the expense of those that are only kept.
    fn open_new(&mut self, name: SegmentRef) -> io::Result<Segment> {
        let arrivals = Arrivals::from_parent();
        Segment::open(name, arrivals).or_else(|_| {
            self.opened.clear();
            Segment::open(name, arrivals)
        })
    }

    /// How much of this process's memory is shared.
    pub(crate) fn size(&self) -> u64 {
        let opened = self.opened.iter().filter(|(_, segment)| !is_given_up(segment));
        let opened = opened.map(|(_, segment)| segment.len());
        let own = self.own.iter().filter(|slab| is_kept(slab)).map(|slab| slab.segment.len());
        opened.chain(own).sum::<usize>() as u64
    }

    pub(crate) fn draft(&mut self) -> Draft<&mut Self> {
        Draft::new(self)
    }

    /// Says that the result of a draft is the parent's now; returns its segment.
    pub(crate) fn lend(&mut self, slab: Slab) -> u64 {
        let id = slab.id;
        turn_word(&slab.segment).store(LENT, Ordering::Release);
        self.own.push(slab);
        id
    }

    /// A segment for results of that length, if all that would do are lent, and it may have one
    /// more.
    pub(crate) fn offer(&mut self, length: usize) -> Option<SegmentOffer> {
        self.own.retain(is_kept);
        let size = segment_size(length);
        let is_enough = |slab: &Slab| !is_lent(slab) && fits(slab, length);
        if size > self.most || self.own.iter().any(is_enough) {
            return None;
        }
        let sum = self.own.iter().map(|slab| slab.segment.len()).sum::<usize>();
        let mut instead_of = None;
        if self.own.len() >= SEGMENTS || sum.saturating_add(size) > self.most {
            // One that is too small, or of several that are too many the one for which there is
            // room.
            let free = self
                .own
                .iter()
                .position(|slab| is_free(slab) && sum - slab.segment.len() + size <= self.most)?;
            instead_of = Some(self.own.remove(free).id);
        }
        let segment = Segment::create(size).ok()?;
        let (id, name) = (self.next, segment.name());
        self.next += 1;
        self.own.push(Slab { id, segment });
        Some(SegmentOffer { segment: id, name, instead_of })
    }

    /// Of one of its own.
    pub(crate) fn descriptor(&self, segment: u64) -> Option<Descriptor> {
        let own = self.own.iter().find(|slab| slab.id == segment)?;
        own.segment.descriptor().ok()
    }

    /// The parent cannot open something: lets go of what it has not opened, and offers nothing
    /// more.
    pub(crate) fn stop_offering(&mut self) {
        self.own.retain(is_opened);
        self.most = 0;
    }
}

/// Whether the parent has not given it up.
fn is_kept(slab: &Slab) -> bool {
    turn_word(&slab.segment).load(Ordering::Acquire) != GIVEN_UP
}

fn is_opened(slab: &Slab) -> bool {
    turn_word(&slab.segment).load(Ordering::Acquire) != OFFERED
}

fn is_free(slab: &Slab) -> bool {
    turn_word(&slab.segment).load(Ordering::Acquire) == FREE
}

fn is_lent(slab: &Slab) -> bool {
    turn_word(&slab.segment).load(Ordering::Acquire) == LENT
}

fn fits(slab: &Slab, length: usize) -> bool {
    slab.segment.len() >= length
}

impl Slabs for &mut Segments {
    fn take(&mut self, length: usize) -> Option<Slab> {
        let usable =
            self.own.iter().enumerate().filter(|(_, slab)| is_free(slab) && fits(slab, length));
        let (index, slab) = usable.min_by_key(|(_, slab)| slab.segment.len())?;
        let turn = turn_word(&slab.segment);
        // The parent may give it up at this very moment. Then the result goes through the pipe.
        turn.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        Some(self.own.remove(index))
    }

    fn give_back(&mut self, slab: Slab) {
        turn_word(&slab.segment).store(FREE, Ordering::Release);
        self.own.push(slab);
    }
}

/// The bytes of arguments, where they are. The parent leaves them alone as long as this is there.
struct Reading {
    segment: Arc<Segment>,
    length: usize,
}

impl Reading {
    /// `None` if the parent has taken them back.
    fn new(segment: Arc<Segment>, place: &Place) -> Option<Self> {
        let length =
            usize::try_from(place.length).ok().filter(|length| *length <= segment.len())?;
        readers_word(&segment).fetch_add(1, Ordering::SeqCst);
        let reading = Self { segment, length };
        let lease = lease_word(&reading.segment).load(Ordering::SeqCst);
        (lease == place.lease).then_some(reading)
    }
}

impl AsRef<[u8]> for Reading {
    fn as_ref(&self) -> &[u8] {
        &self.segment.as_slice()[..self.length]
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        readers_word(&self.segment).fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_parent_cannot_open_is_let_go_of() {
        let mut segments = Segments::new(64 << 20);
        let first = segments.offer(1 << 20).unwrap();
        turn_word(&Segment::open(first.name, Arrivals::from_parent()).unwrap())
            .store(FREE, Ordering::Release);
        for length in [2 << 20, 4 << 20, 8 << 20] {
            segments.offer(length).unwrap();
        }
        segments.stop_offering();
        assert_eq!(segments.own.len(), 1, "that one was opened");
        assert!(segments.offer(2 << 20).is_none());
        assert_eq!((&mut segments).take(1 << 20).unwrap().id, first.segment);
    }

    #[test]
    fn what_the_parent_has_given_up_is_not_used_and_has_no_memory() {
        let mut segments = Segments::new(64 << 20);
        let first = segments.offer(1 << 20).unwrap();
        let opened = Segment::open(first.name, Arrivals::from_parent()).unwrap();
        turn_word(&opened).store(FREE, Ordering::Release);
        let slab = (&mut segments).take(1 << 20).unwrap();
        assert_eq!(turn_word(&opened).load(Ordering::Acquire), TAKEN);
        (&mut segments).give_back(slab);
        assert_eq!(turn_word(&opened).load(Ordering::Acquire), FREE);
        turn_word(&opened).store(GIVEN_UP, Ordering::Release);
        assert!((&mut segments).take(1 << 20).is_none() && segments.size() == 0);
        let second = segments.offer(1 << 20).unwrap();
        assert_eq!((second.instead_of, segments.own.len()), (None, 1));
    }
}
