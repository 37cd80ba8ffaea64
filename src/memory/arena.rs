//! Memory in which large arguments travel.
//!
//! A pipe moves bytes in small pieces, each copied twice, while both sides wait for each other. So
//! large arguments are written to a segment that the worker maps, and the frame only says where
//! they are. Memory that is fresh costs more than the copy, so segments are kept and used again,
//! until they are not needed any more.
//!
//! A worker that reads from a segment says so in it, as a part of the arguments may be kept where
//! it is:
//!
//! ```text
//! parent                                 worker
//! writes; says the number of the lease   counts itself as a reader
//! …                                      is it the lease that it was told? then it reads
//! says that there is no lease            counts itself out when nothing refers to the bytes any more
//! are there readers? then forgets it
//! ```
//!
//! Each looks after it has said its own, so one of them sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::sync::Mutex;
use crate::codec::Sink;
use crate::sys::buffer::reserve;
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::Segment;
use crate::wire::message::Place;

/// The most segments that are there at a time: each has a descriptor.
const SEGMENTS: usize = 32;
/// Smaller segments would not be used again for long.
const SMALLEST: usize = 256 << 10;

/// The number of the lease, in a segment of the parent's; zero if there is none.
pub(crate) fn lease_word(segment: &Segment) -> &AtomicU64 {
    &segment.words()[0]
}

/// How many readers there are, in a segment of the parent's.
pub(super) fn readers_word(segment: &Segment) -> &AtomicU64 {
    &segment.words()[1]
}

/// How long a segment is made for so many bytes: a bit longer, as the next ones may be a bit more.
pub(super) fn segment_size(length: usize) -> usize {
    let length = length.max(SMALLEST);
    let step = length.next_power_of_two() / 16;
    length.checked_next_multiple_of(step).unwrap_or(length)
}

/// What the lease word says of a segment that will not be used any more.
const GIVEN_UP: u64 = u64::MAX;

/// Has workers give it up, too. Those that sleep still have it mapped, and do not have its memory.
fn give_up(slabs: Vec<Slab>) {
    for slab in slabs {
        lease_word(&slab.segment).store(GIVEN_UP, Ordering::SeqCst);
        slab.segment.give_memory_back();
    }
}

/// As [`give_up`], for one that somebody reads.
fn leave_to_readers(slab: &Slab) {
    lease_word(&slab.segment).store(GIVEN_UP, Ordering::SeqCst);
}

/// Whether its parent has given up a segment.
pub(super) fn is_given_up(segment: &Segment) -> bool {
    lease_word(segment).load(Ordering::SeqCst) == GIVEN_UP
}

/// A segment and its name among others.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) id: u64,
    pub(crate) segment: Segment,
}

/// Who has segments.
pub(crate) trait Slabs {
    /// One that has room for so many bytes; nobody else uses it until it is given back.
    fn take(&mut self, length: usize) -> Option<Slab>;

    fn give_back(&mut self, slab: Slab);
}

/// Something that is being written to a segment.
pub(crate) struct Draft<S: Slabs> {
    slabs: S,
    slab: Option<Slab>,
    length: usize,
}

impl<S: Slabs> Draft<S> {
    pub(crate) fn new(slabs: S) -> Self {
        Self { slabs, slab: None, length: 0 }
    }

    /// What was written: in which segment, and how many bytes.
    pub(crate) fn finish(mut self) -> Option<(Slab, usize)> {
        Some((self.slab.take()?, self.length))
    }

    /// Makes room for so many bytes all together.
    fn grow(&mut self, length: usize) -> Option<()> {
        let room = self.slab.as_ref().map_or(0, |slab| slab.segment.len());
        if length <= room {
            return Some(());
        }
        // More is most likely to come.
        let ample = self.slabs.take(length.max(room.saturating_mul(2)));
        let mut larger = ample.or_else(|| self.slabs.take(length))?;
        if let Some(slab) = self.slab.take() {
            let moved = larger.segment.write_at(0, &slab.segment.as_slice()[..self.length]);
            let (kept, spare) = if moved.is_ok() { (larger, slab) } else { (slab, larger) };
            self.slab = Some(kept);
            self.slabs.give_back(spare);
            return moved.ok();
        }
        self.slab = Some(larger);
        Some(())
    }
}

impl<S: Slabs> Sink for Draft<S> {
    fn write(&mut self, first: &[u8], second: &[u8]) -> bool {
        let between = self.length + first.len();
        let end = between + second.len();
        if self.grow(end).is_none() {
            return false;
        }
        let Some(slab) = &mut self.slab else { return false }; // not reached
        let written = slab.segment.write_at(self.length, first);
        let written = written.and_then(|()| slab.segment.write_at(between, second));
        if written.is_ok() {
            self.length = end;
        }
        written.is_ok()
    }

    fn take_back(&mut self, buffer: &mut Vec<u8>) {
        if let Some(slab) = self.slab.take() {
            reserve(buffer, self.length);
            buffer.extend_from_slice(&slab.segment.as_slice()[..self.length]);
            self.slabs.give_back(slab);
        }
    }
}

impl<S: Slabs> Drop for Draft<S> {
    /// Also if what was to be written has failed, or has panicked.
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            self.slabs.give_back(slab);
        }
    }
}

/// The segments of a pool.
#[derive(Debug)]
pub(crate) struct Arena {
    /// How many bytes they may have all together.
    most: usize,
    /// There may be memory, here or in the hands of workers, that is not needed any more.
    is_used: AtomicBool,
    state: Mutex<ArenaState>,
}

#[derive(Debug, Default)]
struct ArenaState {
    /// The last ones were used last.
    free: Vec<Slab>,
    /// How many of them have been free since it was last [asked](Arena::trim) what is not needed.
    stale: usize,
    /// How many there are, the free ones included.
    count: usize,
    /// How long they are all together.
    bytes: usize,
    next: u64,
    /// No more are given out, and none is kept.
    closed: bool,
}

impl ArenaState {
    /// Takes the free one that fits best. One that is much too large is left to others.
    fn take_free(&mut self, length: usize) -> Option<Slab> {
        let fits = |slab: &Slab| (length..=length.saturating_mul(4)).contains(&slab.segment.len());
        let fitting = self.free.iter().enumerate().filter(|(_, slab)| fits(slab));
        // Of those that are equally long the last one, as its memory is most likely in a cache.
        let (index, _) = fitting.rev().min_by_key(|(_, slab)| slab.segment.len())?;
        Some(self.remove_free(index))
    }

    fn remove_free(&mut self, index: usize) -> Slab {
        self.stale -= usize::from(index < self.stale);
        self.free.remove(index)
    }

    /// Makes room for one of that size by giving up those that were not used for longest; returns
    /// them, as that takes a while.
    fn make_room(&mut self, size: usize, most: usize) -> Option<Vec<Slab>> {
        let mut given_up = Vec::new();
        while self.count >= SEGMENTS || size > most.saturating_sub(self.bytes) {
            if self.free.is_empty() {
                self.stale = 0;
                self.free = given_up; // they were free, and what is wanted cannot be had
                self.count += self.free.len();
                self.bytes += self.free.iter().map(|slab| slab.segment.len()).sum::<usize>();
                return None;
            }
            let slab = self.remove_free(0);
            self.forget(slab.segment.len());
            given_up.push(slab);
        }
        self.count += 1;
        self.bytes += size;
        Some(given_up)
    }

    /// Takes what was free when this was called last, and since then.
    fn take_stale(&mut self) -> Vec<Slab> {
        let taken: Vec<_> = self.free.drain(..self.stale).collect();
        self.stale = self.free.len();
        for slab in &taken {
            self.forget(slab.segment.len());
        }
        taken
    }

    fn forget(&mut self, size: usize) {
        self.count -= 1;
        self.bytes -= size;
    }
}

impl Arena {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, is_used: AtomicBool::new(false), state: Mutex::default() })
    }

    /// Gives up what is free now and what will be. Workers are told of nothing more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.stale = 0;
        let free = std::mem::take(&mut state.free);
        drop(state);
        give_up(free);
    }

    /// Some memory is shared that may have to be [given back](Self::trim).
    pub(crate) fn set_used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Gives up what was not used since this was called last; whether there may be more of it in
    /// the hands of workers.
    pub(crate) fn trim(&self) -> bool {
        let was_used = self.is_used.swap(false, Ordering::Relaxed);
        if was_used {
            let mut state = self.state.lock();
            let given_up = state.take_stale();
            if state.count > 0 {
                self.set_used();
            }
            drop(state);
            give_up(given_up);
        }
        was_used
    }

    pub(crate) fn draft(self: &Arc<Self>) -> Draft<&Arc<Self>> {
        Draft::new(self)
    }
}

impl Slabs for &Arc<Arena> {
    fn take(&mut self, length: usize) -> Option<Slab> {
        let size = segment_size(length);
        self.set_used();
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        if let Some(slab) = state.take_free(length) {
            return Some(slab);
        }
        let given_up = state.make_room(size, self.most)?;
        state.next += 1;
        let id = state.next;
        drop(state);
        give_up(given_up);
        let segment = Segment::create(size);
        if segment.is_err() {
            self.state.lock().forget(size);
        }
        Some(Slab { id, segment: segment.ok()? })
    }

    fn give_back(&mut self, slab: Slab) {
        let in_use = readers_word(&slab.segment).load(Ordering::SeqCst) != 0;
        let mut state = self.state.lock();
        if in_use || state.closed {
            state.forget(slab.segment.len());
            drop(state);
            leave_to_readers(&slab);
        } else {
            state.free.push(slab);
        }
    }
}

/// Bytes in a segment of a pool's, which is given back when they are not needed any more.
#[derive(Debug)]
pub(crate) struct Lease {
    arena: Arc<Arena>,
    /// Always set until it is dropped.
    slab: Option<Slab>,
    length: usize,
    number: u64,
}

impl Lease {
    /// Of what was written to a draft; `None` if that was nothing.
    pub(crate) fn new(arena: &Arc<Arena>, draft: Draft<&Arc<Arena>>) -> Option<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);

        let (slab, length) = draft.finish()?;
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        lease_word(&slab.segment).store(number, Ordering::SeqCst);
        Some(Self { arena: Arc::clone(arena), slab: Some(slab), length, number })
    }

    /// What a worker has to know; `None` if nobody is to be told.
    pub(crate) fn place(&self) -> Option<Place> {
        let slab = self.slab.as_ref().filter(|_| !self.arena.state.lock().closed)?;
        let (id, name) = (slab.id, slab.segment.name());
        Some(Place { id, name, length: self.length as u64, lease: self.number })
    }

    /// To be sent to a worker that cannot open it by its name.
    pub(crate) fn descriptor(&self) -> Option<Descriptor> {
        self.slab.as_ref()?.segment.descriptor().ok()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.slab.as_ref().map_or(&[], |slab| &slab.segment.as_slice()[..self.length])
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            lease_word(&slab.segment).store(0, Ordering::SeqCst);
            (&self.arena).give_back(slab);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sys::memory::Arrivals;

    const MEGABYTE: usize = 1 << 20;

    fn lease(arena: &Arc<Arena>, length: usize) -> Option<Lease> {
        let mut draft = arena.draft();
        draft.write(&[7], &vec![8; length - 1]).then_some(())?;
        Lease::new(arena, draft)
    }

    /// How many segments are free, and how many there are.
    fn counts(arena: &Arena) -> (usize, usize) {
        let state = arena.state.lock();
        (state.free.len(), state.count)
    }

    fn id(lease: &Lease) -> u64 {
        lease.place().unwrap().id
    }

    #[test]
    fn a_segment_is_used_again_by_what_fits() {
        let arena = Arena::new(64 * MEGABYTE);
        let first = lease(&arena, MEGABYTE).unwrap();
        assert_eq!(first.bytes()[..2], [7, 8]);
        let second = lease(&arena, MEGABYTE).unwrap();
        assert_ne!(id(&first), id(&second));
        let (number, place) = (id(&first), first.place().unwrap());
        drop(first);
        let third = lease(&arena, MEGABYTE - 5).unwrap();
        assert_eq!(id(&third), number);
        assert_ne!(third.place().unwrap().lease, place.lease);
        drop(second);
        let larger = lease(&arena, 2 * MEGABYTE).unwrap();
        assert!(id(&larger) > 2, "it does not fit");
    }

    #[test]
    fn a_segment_that_is_read_is_given_up() {
        let arena = Arena::new(64 * MEGABYTE);
        let first = lease(&arena, MEGABYTE).unwrap();
        let (number, reader) =
            (id(&first), Segment::open(first.place().unwrap().name, &Arrivals::new()).unwrap());
        readers_word(&reader).fetch_add(1, Ordering::SeqCst);
        drop(first);
        assert!(is_given_up(&reader));
        assert_ne!(id(&lease(&arena, MEGABYTE).unwrap()), number);
        assert_eq!(reader.as_slice()[..2], [7, 8], "it is as it was");
        assert_eq!(arena.state.lock().count, 1);
    }

    #[test]
    fn there_are_no_more_than_there_may_be() {
        let arena = Arena::new(5 * MEGABYTE);
        assert!(lease(&arena, 6 * MEGABYTE).is_none());
        let leases: Vec<_> = std::iter::from_fn(|| lease(&arena, MEGABYTE)).collect();
        assert_eq!(leases.len(), 5);
        drop(leases);
        assert_eq!(arena.state.lock().free.len(), 5);
        assert!(lease(&arena, 6 * MEGABYTE).is_none());
        assert_eq!(counts(&arena), (5, 5), "nothing was given up");
        let large = lease(&arena, 4 * MEGABYTE).unwrap();
        assert_eq!(counts(&arena), (1, 2));
        drop(large);
        let many: Vec<_> = std::iter::from_fn(|| lease(&Arena::new(0), 1)).collect();
        assert!(many.is_empty());
    }

    #[test]
    fn there_are_only_so_many_descriptors() {
        let arena = Arena::new(usize::MAX);
        let leases: Vec<_> = std::iter::from_fn(|| lease(&arena, 1)).collect();
        assert_eq!(leases.len(), SEGMENTS);
    }

    #[test]
    fn what_outgrows_its_segment_moves_or_is_taken_back() {
        let arena = Arena::new(5 * MEGABYTE);
        let mut draft = arena.draft();
        for number in 0..3 {
            assert!(draft.write(&[number], &vec![number; MEGABYTE - 1]));
        }
        assert!(!draft.write(&[3], &vec![3; 4 * MEGABYTE]));
        let mut buffer = vec![0xAA];
        draft.take_back(&mut buffer);
        assert_eq!(buffer.len(), 1 + 3 * MEGABYTE);
        assert!((0..3).all(|number| {
            let begin = 1 + usize::from(number) * MEGABYTE;
            buffer[begin..begin + MEGABYTE].iter().all(|byte| *byte == number)
        }));
        drop(draft);
        let (free, count) = counts(&arena);
        assert_eq!(free, count);
    }

    #[test]
    fn what_was_not_needed_lately_is_given_back() {
        let arena = Arena::new(64 * MEGABYTE);
        assert!(!arena.trim(), "there was never anything");
        let leases: Vec<_> = (0..4).map(|_| lease(&arena, MEGABYTE).unwrap()).collect();
        let reader = Segment::open(leases[3].place().unwrap().name, &Arrivals::new()).unwrap();
        assert!(arena.trim());
        drop(leases);
        assert!(arena.trim(), "they were used since the last time");
        assert_eq!(counts(&arena), (4, 4));
        drop((lease(&arena, MEGABYTE).unwrap(), lease(&arena, 2 * MEGABYTE).unwrap()));
        assert!(arena.trim());
        assert_eq!(counts(&arena), (2, 2), "two were used again");
        assert!(!is_given_up(&reader), "the last one first, as it is in a cache");
        assert!(arena.trim());
        assert_eq!(counts(&arena), (0, 0));
        assert!(is_given_up(&reader) && reader.memory() < MEGABYTE as u64);
        assert!(!arena.trim(), "nothing is left");
    }

    #[test]
    fn nothing_is_kept_when_the_pool_is_over() {
        let arena = Arena::new(64 * MEGABYTE);
        let first = lease(&arena, MEGABYTE).unwrap();
        drop(lease(&arena, MEGABYTE));
        arena.close();
        assert_eq!((arena.state.lock().free.len(), first.bytes()[0]), (0, 7));
        assert!(lease(&arena, MEGABYTE).is_none() && first.place().is_none());
        drop(first);
        assert!(arena.state.lock().free.is_empty());
    }
}
