//! Keeps open what was serialized, for those who will open it.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::{Frozen, Name, Offered};
use crate::base::maps::SortedMap;
use crate::sys::descriptor::Descriptor;

/// Memory that is open as long as this is there.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Frozen(Arc<Frozen>),
    Offered(Arc<Offered>),
}

impl Held {
    pub(super) fn name(&self) -> Name {
        match self {
            Self::Frozen(frozen) => frozen.name(),
            Self::Offered(offered) => offered.name(),
        }
    }

    fn descriptor(&self) -> io::Result<Descriptor> {
        match self {
            Self::Frozen(frozen) => frozen.descriptor(),
            Self::Offered(offered) => offered.descriptor(),
        }
    }
}

/// What an encoded value has named. It has to be kept as long as somebody may decode it.
#[must_use]
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(Option<Arc<Vec<Held>>>);

impl Kept {
    pub(super) fn new(held: Vec<Held>) -> Self {
        Self((!held.is_empty()).then(|| Arc::new(held)))
    }

    pub(super) fn held(&self) -> &[Held] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// To be sent to who cannot open it by its name: each once, however often it is named. What
    /// cannot be copied will be missed there.
    pub(crate) fn descriptors(&self) -> Vec<Descriptor> {
        let mut distinct = SortedMap::new();
        for held in self.held() {
            distinct.insert(held.name().id(), held);
        }
        distinct.into_values().filter_map(|held| held.descriptor().ok()).collect()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Keeps what the other one does, too.
    #[inline]
    pub(crate) fn add(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else if !other.is_empty() {
            *self = Self::new([self.held(), other.held()].concat());
        }
    }
}

/// One encoding of a value. The numbers are never used twice; none is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding(u64);

/// No value is being encoded that goes to another process.
const NONE: u64 = u64::MAX;
/// One is, but nobody has asked.
const UNNUMBERED: u64 = 0;

thread_local! {
    /// The number of the encoding of a value that goes to another process, once somebody has asked;
    /// or one of those above. One word, as this changes with every value.
    static ENCODING: Cell<u64> = const { Cell::new(NONE) };
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    /// What is being encoded may go to another host.
    static GOES_FAR: Cell<bool> = const { Cell::new(false) };
}

/// As long as it is there, what this thread encodes may go to another host, where no memory of this
/// one can be named.
#[cfg(feature = "hosts")]
pub(crate) struct GoingFar {
    before: bool,
}

#[cfg(feature = "hosts")]
impl GoingFar {
    pub(crate) fn new() -> Self {
        Self { before: GOES_FAR.replace(true) }
    }
}

#[cfg(feature = "hosts")]
impl Drop for GoingFar {
    fn drop(&mut self) {
        GOES_FAR.set(self.before);
    }
}

/// Encodes a value that goes to another process, and says what has to be kept for that. Most values
/// name nothing, and have no number then.
#[inline]
pub(crate) fn collect<T, E>(encode: impl FnOnce() -> Result<T, E>) -> Result<(T, Kept), E> {
    let encoding = ENCODING.replace(UNNUMBERED);
    let _outer = Outer { encoding, held: if is_numbered(encoding) { HELD.take() } else { vec![] } };
    let encoded = encode()?;
    let names_any = is_numbered(ENCODING.get());
    Ok((encoded, if names_any { Kept::new(HELD.take()) } else { Kept::default() }))
}

/// Only then something can be held.
#[inline]
fn is_numbered(encoding: u64) -> bool {
    encoding != NONE && encoding != UNNUMBERED
}

/// What was being encoded by this thread before; a `Serialize` may submit a task.
struct Outer {
    encoding: u64,
    held: Vec<Held>,
}

impl Drop for Outer {
    #[inline]
    fn drop(&mut self) {
        let inner = ENCODING.replace(self.encoding);
        if is_numbered(inner) || is_numbered(self.encoding) {
            drop(HELD.replace(std::mem::take(&mut self.held)));
        }
    }
}

/// What is being encoded now; an error's text if that is nothing of which somebody keeps what it
/// names.
pub(super) fn encoding() -> Result<Encoding, &'static str> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if GOES_FAR.get() {
        return Err(
            "shared memory is of this machine, and the pool has workers on other hosts: pass a `Vec`",
        );
    }
    match ENCODING.get() {
        NONE => Err(
            "shared memory is passed by reference, so it can be serialized only as an argument or a result \
             of a task or a process, or as a value that a task emits",
        ),
        UNNUMBERED => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            ENCODING.set(number);
            Ok(Encoding(number))
        }
        number => Ok(Encoding(number)),
    }
}

/// Keeps something with the value that is being encoded.
pub(super) fn hold(_: Encoding, held: Held) {
    HELD.with_borrow_mut(|all| all.push(held));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::memory::shared::memory::Exclusive;

    fn held() -> Held {
        Held::Frozen(Exclusive::create(1).unwrap().freeze())
    }

    #[test]
    fn what_is_held_is_kept_with_its_value() {
        let kept = collect(|| {
            let outer = encoding()?;
            hold(outer, held());
            let inner = collect(|| {
                let inner = encoding()?;
                assert_ne!(inner, outer);
                hold(inner, held());
                hold(inner, held());
                Ok::<_, &str>(())
            });
            assert_eq!(inner?.1.held().len(), 2);
            assert_eq!(encoding()?, outer);
            Ok::<_, &str>(())
        });
        let ((), mut kept) = kept.unwrap();
        assert_eq!(kept.held().len(), 1);
        kept.add(Kept::new(vec![held()]));
        kept.add(Kept::default());
        assert_eq!(kept.held().len(), 2);
        encoding().unwrap_err();
    }

    #[test]
    fn nothing_is_kept_of_what_has_failed() {
        let frozen = Exclusive::create(1).unwrap().freeze();
        let failed = collect(|| {
            hold(encoding()?, Held::Frozen(Arc::clone(&frozen)));
            Err::<(), _>("no reason")
        });
        failed.unwrap_err();
        let panicked = std::panic::catch_unwind(|| {
            collect(|| -> Result<(), &str> {
                hold(encoding()?, Held::Frozen(Arc::clone(&frozen)));
                panic!("in a `Serialize`")
            })
        });
        panicked.unwrap_err();
        assert_eq!(Arc::strong_count(&frozen), 1);
        encoding().unwrap_err();
    }
}
