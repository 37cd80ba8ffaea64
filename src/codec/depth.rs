//! How deeply values may be nested: as deeply as the stack of the thread allows that encodes or
//! decodes them.

use std::cell::Cell;

use super::error::{CodecError, Fault};
use crate::sys::stack::{stack_left, stack_pointer};

/// Of the stack that is left one half is for what is nested, and the other one for whoever does
/// something with the value, which takes less for each level: drops it, compares it, or shows an
/// error. It is no more than this, as the thread that drops a value may have a smaller stack than
/// the one that has decoded it; those of tokio have 2 MiB.
const MOST: usize = 1 << 20;

/// What may be used where nobody knows how much there is.
const UNKNOWN: usize = 128 << 10;

/// serde reads untagged enums and the like into memory first, and then what is there, without
/// asking anybody how deep it is. So many levels of that are as much as `serde_json` reads; each
/// takes up to so many bytes.
const BUFFERED_LEVELS: usize = 128;
const BUFFERED_LEVEL: usize = 8 << 10;

/// The part of the stack that nested values may use.
#[derive(Debug)]
pub(super) struct Depth {
    /// It begins as the highest address, so that the first question finds out: most values are not
    /// nested, and to ask for the stack takes as long as to encode a number.
    floor: Cell<usize>,
}

impl Depth {
    #[inline]
    pub(super) fn new() -> Self {
        Self { floor: Cell::new(usize::MAX) }
    }

    /// To be asked at each level: each option, sequence, map, tuple, structure and variant.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "it is about the stack of the caller")]
    pub(super) fn check(&self) -> Result<(), CodecError> {
        if stack_pointer() < self.floor.get() { self.begin_or_end() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn begin_or_end(&self) -> Result<(), CodecError> {
        if self.floor.get() != usize::MAX {
            return Err(Fault::TooDeep.into());
        }
        let room = stack_left().map_or(UNKNOWN, |left| (left / 2).min(MOST));
        self.floor.set(stack_pointer().saturating_sub(room));
        Ok(())
    }

    /// How many levels may be read into memory first.
    pub(super) fn buffered_levels(&self) -> Result<usize, CodecError> {
        self.check()?;
        let room = stack_pointer().saturating_sub(self.floor.get());
        Ok((room / BUFFERED_LEVEL).min(BUFFERED_LEVELS))
    }
}
