//! Who may use shared memory, in which process ever.
//!
//! Who has memory for reading has a shared lock on it, and who has it for writing an exclusive one.
//! A lock is that of one opening, so two handles in one process are in each other's way as those of
//! two processes are. Every change of the owner is counted, and a name holds that count: so what is
//! named by an old name is never taken for something else.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, Weak};

use serde::{Deserialize, Serialize};

use crate::base::maps::SortedMap;
use crate::base::sync::Mutex;
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::{Arrivals, Lock, Segment, SegmentRef};
use crate::sys::random::random_bytes;

/// The words of a segment: what nobody can guess, and how often it has changed its owner.
const ID: usize = 0;
const GENERATION: usize = 1;

/// Names memory to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    segment: SegmentRef,
    id: u64,
    generation: u64,
}

impl Name {
    /// Tells it from all other memory.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The process that is said to have it open.
    pub(super) fn pid(&self) -> u32 {
        self.segment.pid()
    }
}

/// Why memory cannot be had by its name.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(
        "the shared memory cannot be opened: {0}; was it dropped, or has the process ended that has \
         sent it?"
    )]
    Gone(io::Error),
    #[error(
        "the shared memory cannot be opened: {0}: this process may not open what another one has, \
         and was not sent it; one of the two is another user's, is not dumpable, or is in a sandbox"
    )]
    Forbidden(io::Error),
    #[error("the shared memory cannot be opened: {0}")]
    Refused(io::Error),
    #[error(
        "the shared memory was passed on or changed since: what is named so can be had only once"
    )]
    Spent,
    #[error("the shared memory is in use by somebody else")]
    InUse,
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Self::Gone(error),
            io::ErrorKind::PermissionDenied => Self::Forbidden(error),
            _ => Self::Refused(error),
        }
    }
}

/// Shared memory that is open here.
#[derive(Debug)]
struct Memory {
    segment: Segment,
    id: u64,
    /// As it was when this side came to its right.
    generation: u64,
    /// A process that is forked has the locks of this one, and shares them.
    pid: u32,
}

impl Memory {
    fn create(len: usize) -> io::Result<Self> {
        let segment = Segment::create(len)?;
        let id = u64::from_ne_bytes(random_bytes()?);
        segment.words()[ID].store(id, Ordering::Relaxed);
        Ok(Self { segment, id, generation: 0, pid: std::process::id() })
    }

    /// Opens what somebody has named, which may be anybody.
    fn open(segment: SegmentRef, name: &Name, arrivals: &Arrivals) -> Result<Self, OpenError> {
        let segment = Segment::open(segment, arrivals)?;
        if segment.words()[ID].load(Ordering::Relaxed) != name.id {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let Name { id, generation, .. } = *name;
        Ok(Self { segment, id, generation, pid: std::process::id() })
    }

    /// Takes a lock, under which nobody else changes the generation.
    fn claim(&self, lock: Lock) -> Result<(), OpenError> {
        if !self.segment.lock(lock)? {
            return Err(OpenError::InUse);
        }
        match self.generation() {
            generation if generation == self.generation => Ok(()),
            _ => Err(OpenError::Spent),
        }
    }

    fn generation(&self) -> u64 {
        self.segment.words()[GENERATION].load(Ordering::Relaxed) // the lock has ordered it
    }

    /// Makes what was named so far unavailable. This side has the exclusive lock.
    fn begin_generation(&mut self) {
        self.generation += 1;
        self.segment.words()[GENERATION].store(self.generation, Ordering::Relaxed);
    }

    fn name(&self) -> Name {
        Name { segment: self.segment.name(), id: self.id, generation: self.generation }
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        self.segment.descriptor()
    }

    fn is_inherited(&self) -> bool {
        self.pid != std::process::id()
    }
}

/// Memory that nobody else can look at.
#[derive(Debug)]
pub(super) struct Exclusive(Memory);

impl Exclusive {
    /// All of it is zero.
    pub(super) fn create(len: usize) -> io::Result<Self> {
        let memory = Memory::create(len)?;
        if !memory.segment.lock(Lock::Exclusive)? {
            return Err(io::ErrorKind::WouldBlock.into()); // not reached: nobody knows it yet
        }
        Ok(Self(memory))
    }

    /// With a copy of `bytes`.
    pub(super) fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        let mut memory = Self::create(bytes.len())?;
        memory.0.segment.write_at(0, bytes)?;
        Ok(memory)
    }

    /// Takes over what was offered. That can be done once.
    pub(super) fn take(name: &Name) -> Result<Self, OpenError> {
        let offered = open_here().offered.get(&name.id).and_then(Weak::upgrade);
        let place = offered.map_or(name.segment, |offered| offered.0.segment.name());
        let mut memory = Memory::open(place, name, Arrivals::from_parent())?;
        memory.claim(Lock::Exclusive)?;
        memory.begin_generation();
        Ok(Self(memory))
    }

    /// The bytes, and nobody else's: this has the exclusive lock, and the process was not forked
    /// since.
    ///
    /// # Panics
    ///
    /// If it was: then other processes may have the same lock.
    #[track_caller]
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.require_own();
        self.0.segment.as_mut_slice()
    }

    #[track_caller]
    fn require_own(&self) {
        assert!(
            !self.is_inherited(),
            "the memory belongs to the process that this one was forked of"
        );
    }

    pub(super) fn name(&self) -> Name {
        self.0.name()
    }

    /// Whether it belongs to the process that this one was forked of.
    pub(super) fn is_inherited(&self) -> bool {
        self.0.is_inherited()
    }

    /// Makes it readable for everybody. Nobody else can come between.
    #[track_caller]
    pub(super) fn freeze(self) -> Arc<Frozen> {
        self.require_own();
        // If that failed it would be readable by nobody else.
        let _ = self.0.segment.lock(Lock::Shared);
        Frozen::known(self.0)
    }

    /// Gives it up for whoever is told the name of what comes back.
    pub(super) fn offer(self) -> Arc<Offered> {
        let _ = self.0.segment.lock(Lock::None); // if that failed nobody could take it
        Arc::new(Offered(self.0))
    }
}

/// Memory that nobody changes.
#[derive(Debug)]
pub(super) struct Frozen(Memory);

impl Frozen {
    /// It may be wanted again.
    fn known(memory: Memory) -> Arc<Self> {
        let (id, frozen) = (memory.id, Arc::new(Self(memory)));
        let mut here = open_here();
        here.frozen.retain(|frozen| frozen.strong_count() > 0);
        here.frozen.insert(id, Arc::downgrade(&frozen));
        frozen
    }

    /// Opens it, unless it is open already.
    pub(super) fn open(name: &Name, arrivals: &Arrivals) -> Result<Arc<Self>, OpenError> {
        let known = open_here().frozen.get(&name.id).and_then(Weak::upgrade);
        if let Some(frozen) = known.filter(|frozen| frozen.0.generation == name.generation) {
            arrivals.pass_over(name.segment.inode());
            return Ok(frozen);
        }
        let memory = Memory::open(name.segment, name, arrivals)?;
        memory.claim(Lock::Shared)?;
        Ok(Self::known(memory))
    }

    /// The bytes. This has a shared lock, so nobody has an exclusive one, without which nobody
    /// writes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.segment.as_slice()
    }

    pub(super) fn name(&self) -> Name {
        self.0.name()
    }

    pub(super) fn descriptor(&self) -> io::Result<Descriptor> {
        self.0.descriptor()
    }

    /// Takes it over, if this is the only handle in any process.
    pub(super) fn thaw(self: Arc<Self>) -> Result<Exclusive, Arc<Self>> {
        // One that was forked has the lock of this one, which would not be in the way.
        if self.0.is_inherited() {
            return Err(self);
        }
        let Self(mut memory) = Arc::try_unwrap(self)?;
        // The shared lock stays if that fails.
        if memory.segment.lock(Lock::Exclusive).is_ok_and(|locked| locked) {
            memory.begin_generation();
            Ok(Exclusive(memory))
        } else {
            Err(Self::known(memory))
        }
    }
}

/// Memory that nobody uses until somebody takes it.
#[derive(Debug)]
pub(super) struct Offered(Memory);

impl Offered {
    /// Opens what another process has offered, so that it is there even if that process ends.
    pub(super) fn open(name: &Name, arrivals: &Arrivals) -> Result<Arc<Self>, OpenError> {
        let offered = Arc::new(Self(Memory::open(name.segment, name, arrivals)?));
        let mut here = open_here();
        here.offered.retain(|offered| offered.strong_count() > 0);
        here.offered.insert(name.id, Arc::downgrade(&offered));
        Ok(offered)
    }

    pub(super) fn name(&self) -> Name {
        self.0.name()
    }

    pub(super) fn descriptor(&self) -> io::Result<Descriptor> {
        self.0.descriptor()
    }
}

/// What is open in this process, by its id: so that it is opened once, and found by names that come
/// from processes that have ended.
struct OpenMemory {
    frozen: SortedMap<u64, Weak<Frozen>>,
    offered: SortedMap<u64, Weak<Offered>>,
}

/// No memory is dropped while this is held.
fn open_here() -> MutexGuard<'static, OpenMemory> {
    static OPEN: Mutex<OpenMemory> =
        Mutex::new(OpenMemory { frozen: SortedMap::new(), offered: SortedMap::new() });
    OPEN.lock()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// As another process would, which does not know what is open here.
    fn open_elsewhere(name: &Name, lock: Lock) -> Result<Memory, OpenError> {
        let memory = Memory::open(name.segment, name, Arrivals::from_parent())?;
        memory.claim(lock)?;
        Ok(memory)
    }

    #[test]
    fn what_is_frozen_can_be_had_by_many_and_changed_by_nobody() {
        let frozen = Exclusive::copy_of(b"abc").unwrap().freeze();
        let name = frozen.name();
        let other = open_elsewhere(&name, Lock::Shared).unwrap();
        assert_eq!(other.segment.as_slice(), b"abc");
        assert!(
            Arc::ptr_eq(&frozen, &Frozen::open(&name, Arrivals::from_parent()).unwrap()),
            "it is open already"
        );
        assert!(matches!(Exclusive::take(&name), Err(OpenError::InUse)));
        let frozen = frozen.thaw().unwrap_err(); // the other side has it
        drop(other);
        let mut exclusive = frozen.thaw().unwrap();
        exclusive.bytes()[0] = b'x';
        assert!(matches!(Frozen::open(&name, Arrivals::from_parent()), Err(OpenError::InUse)));
    }

    #[test]
    fn it_cannot_be_thawed_while_there_is_another_handle() {
        let frozen = Exclusive::create(1).unwrap().freeze();
        let other = Arc::clone(&frozen);
        let frozen = frozen.thaw().unwrap_err();
        drop(other);
        frozen.thaw().unwrap();
    }

    #[test]
    fn an_old_name_does_not_name_what_was_changed() {
        let frozen = Exclusive::copy_of(b"abc").unwrap().freeze();
        let name = frozen.name();
        let mut exclusive = frozen.thaw().unwrap();
        exclusive.bytes()[0] = b'x';
        let frozen = exclusive.freeze();
        assert!(matches!(Frozen::open(&name, Arrivals::from_parent()), Err(OpenError::Spent)));
        assert_eq!(Frozen::open(&frozen.name(), Arrivals::from_parent()).unwrap().bytes(), b"xbc");
    }

    #[test]
    fn what_is_exclusive_has_one_owner() {
        let offered = Exclusive::copy_of(b"abc").unwrap().offer();
        let name = offered.name();
        let mut owner = Exclusive::take(&name).unwrap();
        assert!(matches!(Exclusive::take(&name), Err(OpenError::InUse)));
        assert!(matches!(Frozen::open(&name, Arrivals::from_parent()), Err(OpenError::InUse)));
        assert_eq!(owner.bytes(), b"abc");
        drop(owner);
        assert!(matches!(Exclusive::take(&name), Err(OpenError::Spent)), "it was taken");
        assert!(matches!(Frozen::open(&name, Arrivals::from_parent()), Err(OpenError::Spent)));
    }

    #[test]
    fn it_passes_from_owner_to_owner() {
        let mut exclusive = Exclusive::create(1).unwrap();
        for turn in 1..=5 {
            exclusive.bytes()[0] += 1;
            let offered = exclusive.offer();
            exclusive = Exclusive::take(&offered.name()).unwrap();
            assert_eq!(exclusive.bytes(), [turn]);
        }
    }

    #[test]
    fn what_was_opened_here_is_found_when_its_sender_has_gone() {
        let sent = Exclusive::copy_of(b"abc").unwrap().offer();
        let name = sent.name();
        let opened = Offered::open(&name, Arrivals::from_parent()).unwrap();
        drop(sent);
        assert_eq!(Exclusive::take(&name).unwrap().bytes(), b"abc");
        drop(opened);
        assert!(matches!(Exclusive::take(&name), Err(OpenError::Gone(_))));
    }

    #[test]
    fn a_name_with_another_id_is_refused() {
        let frozen = Exclusive::create(1).unwrap().freeze();
        let name = Name { id: frozen.name().id ^ 1, ..frozen.name() };
        assert!(matches!(Frozen::open(&name, Arrivals::from_parent()), Err(OpenError::Gone(_))));
        assert!(matches!(Offered::open(&name, Arrivals::from_parent()), Err(OpenError::Gone(_))));
    }
}
