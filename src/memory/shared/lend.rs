//! Results that name memory of a process which may end as soon as they are written.
//!
//! ```text
//! child   ── Lent: names, desk ──▶ ── Reply ──▶       keeps the memory until the desk says that it was opened
//! parent       opens all, counts up at the desk      keeps it with the reply's payload
//! ```
//!
//! The parent opens what is lent when it reads that, and not when the result is decoded: that may
//! be never.

use std::collections::VecDeque;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::keep::{Held, Kept};
use super::memory::{Frozen, Name, Offered};
use crate::base::maps::SortedMap;
use crate::base::sync::Mutex;
use crate::sys::descriptor::Descriptor;
use crate::sys::memory::{Peer, Segment, SegmentRef};
use crate::sys::thread::start_thread;

/// What the next reply will name. It says nothing that the reply does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lent {
    /// Where the parent counts what it has opened.
    desk: SegmentRef,
    memory: Vec<(Name, Use)>,
}

impl Lent {
    /// How many descriptors come with it where they have to.
    pub(crate) fn count(&self) -> usize {
        let mut ids = SortedMap::new();
        for (name, _) in &self.memory {
            ids.insert(name.id(), ());
        }
        1 + ids.len()
    }
}

/// As what memory is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Use {
    Read,
    Take,
}

/// How long a child waits at its end for a parent that does not read. Far more than that takes,
/// even on a loaded machine; and who does not read for so long will hardly want the results.
const PATIENCE: Duration = Duration::from_secs(10);

// ----- the child's side -----

/// What a process has lent, in that order.
struct Desk {
    segment: Segment,
    lent: Mutex<LentQueue>,
}

#[derive(Default)]
struct LentQueue {
    waiting: VecDeque<Kept>,
    /// How many the parent has opened of those that are not there any more.
    returned: u32,
}

static DESK: OnceLock<Desk> = OnceLock::new();
static REFUSES: AtomicBool = AtomicBool::new(false);

/// From now on results that name memory are refused: the parent would not find it.
pub(crate) fn refuse_to_lend() {
    REFUSES.store(true, Ordering::Relaxed);
}

/// Why a result cannot be sent, if it names something.
pub(crate) fn why_not_lend(kept: &Kept) -> Option<&'static str> {
    let is_refused = !kept.is_empty() && REFUSES.load(Ordering::Relaxed);
    is_refused.then_some(
        "shared memory cannot be sent by this worker: it is not the process that its parent has \
         started, and the parent cannot see which one it is",
    )
}

/// Lends what a result names. The frame that says so has to be written before the result is.
pub(crate) fn lend(kept: Kept) -> io::Result<Lent> {
    let desk = Desk::open()?;
    let usage = |held: &Held| match held {
        Held::Frozen(_) => Use::Read,
        Held::Offered(_) => Use::Take,
    };
    let memory = kept.held().iter().map(|held| (held.name(), usage(held)));
    let lent = Lent { desk: desk.segment.name(), memory: memory.collect() };
    desk.lent.lock().waiting.push_back(kept);
    Ok(lent)
}

/// What is sent to a parent that cannot open by its name what was lent: first where it counts.
pub(crate) fn lent_descriptors(kept: &Kept) -> Vec<Descriptor> {
    let desk = DESK.get().and_then(|desk| desk.segment.descriptor().ok());
    desk.into_iter().chain(kept.descriptors()).collect()
}

/// Waits until the parent has opened everything, but not for ever. Called at the end of a process.
pub(crate) fn settle() {
    let Some(desk) = DESK.get() else { return };
    let began = Instant::now();
    while !desk.take_back() {
        let rest = PATIENCE.saturating_sub(began.elapsed());
        if rest.is_zero() {
            return;
        }
        desk.wait(Some(rest));
    }
}

impl Desk {
    /// The one of this process. One that forks others lends nothing before.
    fn open() -> io::Result<&'static Self> {
        if let Some(desk) = DESK.get() {
            return Ok(desk);
        }
        let desk = Self { segment: Segment::create(0)?, lent: Mutex::default() };
        if DESK.set(desk).is_ok() {
            Self::attend()?;
        }
        DESK.get().ok_or_else(|| io::ErrorKind::NotFound.into()) // not reached: it was set
    }

    /// Starts the thread that lets go of what was opened.
    fn attend() -> io::Result<()> {
        const STACK: usize = 64 << 10;
        start_thread("procpool-lender", Some(STACK), || {
            while let Some(desk) = DESK.get() {
                desk.wait(None);
                desk.take_back();
            }
        })
    }

    /// Lets go of what was opened; whether that is all.
    fn take_back(&self) -> bool {
        let mut lent = self.lent.lock();
        let opened = self.segment.count().wrapping_sub(lent.returned);
        let count = lent.waiting.len().min(opened as usize);
        let done: Vec<_> = lent.waiting.drain(..count).collect();
        lent.returned = lent.returned.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        let is_all = lent.waiting.is_empty();
        drop(lent);
        drop(done); // only now: that takes a while
        is_all
    }

    /// Waits until the parent has opened more than was taken back so far.
    fn wait(&self, limit: Option<Duration>) {
        let returned = self.lent.lock().returned;
        self.segment.wait_for_count(returned, limit);
    }
}

// ----- the parent's side -----

/// Opens what a process lends. What cannot be opened is missed when the result is decoded.
pub(crate) fn borrow(lent: &Lent, peer: &Peer) -> Kept {
    let open = |name: &Name, usage, sent: &_| match usage {
        Use::Read => Frozen::open(name, sent).ok().map(Held::Frozen),
        Use::Take => Offered::open(name, sent).ok().map(Held::Offered),
    };
    let open = |(name, usage): &(Name, Use)| peer.open(name.pid(), |sent| open(name, *usage, sent));
    let kept = Kept::new(lent.memory.iter().filter_map(open).collect());
    if let Some(desk) = peer.open(lent.desk.pid(), |sent| Segment::open(lent.desk, sent).ok()) {
        desk.count_up();
    }
    kept
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::memory::shared::memory::Exclusive;
    use crate::sys::memory::Arrivals;

    /// There is one desk in a process, so this is one test.
    #[test]
    fn what_is_lent_is_kept_until_it_was_opened() {
        let pid = std::process::id();
        let frozen = Exclusive::copy_of(b"abc").unwrap().freeze();
        let name = frozen.name();
        let offered = Exclusive::copy_of(b"xyz").unwrap().offer();
        let taken = offered.name();
        let kept = Kept::new(vec![Held::Frozen(frozen), Held::Offered(offered)]);
        let lent = lend(kept).unwrap();
        assert_eq!(
            Frozen::open(&name, Arrivals::from_parent()).unwrap().bytes(),
            b"abc",
            "the desk keeps it"
        );

        assert!(
            borrow(&lent, &Peer::child(pid + 1)).is_empty(),
            "only a process itself can lend what it has"
        );
        assert!(!DESK.get().unwrap().take_back(), "nobody has opened it");
        let borrowed = borrow(&lent, &Peer::child(pid));
        assert_eq!(borrowed.held().len(), 2);
        settle();
        assert!(DESK.get().unwrap().take_back());
        assert_eq!(Exclusive::take(&taken).unwrap().bytes(), b"xyz");
        assert_eq!(Frozen::open(&name, Arrivals::from_parent()).unwrap().bytes(), b"abc");
        drop(borrowed);
        Frozen::open(&name, Arrivals::from_parent()).unwrap_err();
        assert_eq!(borrow(&lent, &Peer::child(pid)).held().len(), 0, "it is gone");
    }
}
