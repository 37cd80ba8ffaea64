//! Which part of shared memory a slice is.

use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What the first byte of shared memory is aligned to.
const ALIGNMENT: usize = 4096;

/// A part of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// In bytes.
    pub(super) start: u64,
    /// How many values there are.
    pub(super) len: u64,
}

impl Extent {
    /// Of so many values, from the beginning of the memory. So many there are.
    pub(super) fn new(len: usize) -> Self {
        Self { start: 0, len: len as u64 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "it was a `usize`, or was checked")]
    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    /// Where its bytes are, if they are all inside of so many.
    pub(super) fn bytes<T>(self, available: usize) -> Option<Range<usize>> {
        const { assert!(size_of::<T>() > 0, "no bytes can be found for such values") };
        const { assert!(align_of::<T>() <= ALIGNMENT, "shared memory is not aligned for them") };
        let start = usize::try_from(self.start).ok()?;
        let len = usize::try_from(self.len).ok()?.checked_mul(size_of::<T>())?;
        let end = start.checked_add(len).filter(|end| *end <= available)?;
        start.is_multiple_of(align_of::<T>()).then_some(start..end)
    }
}

/// How many bytes values take.
pub(super) fn size_of_values<T>(len: usize) -> io::Result<usize> {
    len.checked_mul(size_of::<T>()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
