//! The bytes of arguments and results.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Choice, CodecError, Sink, decode, decode_shared, encode_with};
use crate::memory::arena::{Arena, Lease};
use crate::memory::loans::Loan;
use crate::memory::shared::{Kept, collect};
use crate::sys::descriptor::Descriptor;

/// A larger buffer is not kept for the next value.
const KEPT: usize = 256 << 10;

/// Chosen so that a `Payload` takes three words.
const INLINE: usize = 22;

thread_local! {
    /// Where values are encoded, so that only those too large to be kept inline allocate.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value that was encoded for another process.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// All of its bytes are in the sink, and none in the buffer.
    pub(crate) in_sink: bool,
    /// What they name.
    pub(crate) kept: Kept,
}

impl Encoded {
    /// Appends the bytes to `buffer`, no more than `limit`; or to the sink if they are many.
    #[inline]
    pub(crate) fn new<T: Serialize + ?Sized>(
        value: &T,
        buffer: &mut Vec<u8>,
        limit: usize,
        sink: Option<&mut dyn Sink>,
        choice: &Choice,
    ) -> Result<Self, CodecError> {
        let (in_sink, kept) = collect(|| encode_with(value, buffer, limit, sink, choice))?;
        Ok(Self { in_sink, kept })
    }
}

/// The bytes of a value. The arguments and results of most quick tasks are a few bytes, and an
/// allocation for each of them would be a good part of their cost; so few bytes are kept in place.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Inline {
        length: u8,
        bytes: [u8; INLINE],
    },
    Shared(Arc<Bytes>),
    /// In memory that workers can open.
    Lease(Arc<Lease>),
    /// In memory of a worker's.
    Loan(Arc<Loan>),
    /// What they name is kept with them.
    Naming(Arc<(Self, Kept)>),
}

impl Payload {
    /// Encodes a value that may take up to `limit` bytes.
    pub(crate) fn encode<T: Serialize + ?Sized>(
        value: &T,
        limit: usize,
        choice: &Choice,
    ) -> Result<Self, CodecError> {
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let encoded = Encoded::new(value, &mut scratch, limit, None, choice)?;
        Ok(Self::take_out(scratch).with(encoded.kept))
    }

    /// As [`Self::encode`]; if it is large, and the arena has room, it is put there.
    pub(crate) fn encode_in<T: Serialize + ?Sized>(
        value: &T,
        limit: usize,
        arena: &Arc<Arena>,
        choice: &Choice,
    ) -> Result<Self, CodecError> {
        let (mut scratch, mut draft) = (SCRATCH.take(), arena.draft());
        scratch.clear();
        let Encoded { in_sink, kept } =
            Encoded::new(value, &mut scratch, limit, Some(&mut draft), choice)?;
        let payload = match in_sink.then(|| Lease::new(arena, draft)).flatten() {
            Some(lease) => {
                SCRATCH.set(scratch);
                Self::Lease(Arc::new(lease))
            }
            None => Self::take_out(scratch),
        };
        Ok(payload.with(kept))
    }

    fn take_out(scratch: Vec<u8>) -> Self {
        if scratch.capacity() > KEPT {
            return Bytes::from(scratch).into();
        }
        let payload =
            Self::inline(&scratch).unwrap_or_else(|| Bytes::copy_from_slice(&scratch).into());
        SCRATCH.set(scratch);
        payload
    }

    /// Keeps what the bytes name as long as they are there.
    pub(crate) fn with(self, kept: Kept) -> Self {
        if kept.is_empty() { self } else { Self::Naming(Arc::new((self, kept))) }
    }

    /// What the bytes name.
    pub(crate) fn kept(&self) -> Kept {
        match self {
            Self::Naming(naming) => naming.1.clone(),
            _ => Kept::default(),
        }
    }

    /// Of the memory that the bytes name.
    pub(crate) fn descriptors(&self) -> Vec<Descriptor> {
        match self {
            Self::Naming(naming) => naming.1.descriptors(),
            _ => Vec::new(),
        }
    }

    /// Where a worker finds the bytes, if they are in memory that it can open.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Lease(lease) => Some(lease),
            Self::Naming(naming) => naming.0.lease(),
            _ => None,
        }
    }

    /// Reads the value. Large parts of it may be shared.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        match self {
            Self::Inline { .. } | Self::Lease(_) => decode(self),
            Self::Shared(bytes) => decode_shared(bytes),
            Self::Loan(loan) => decode_shared(loan.bytes()),
            Self::Naming(naming) => naming.0.decode(),
        }
    }

    /// Copies a few bytes; `None` if they are not few.
    pub(crate) fn inline(source: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE];
        bytes.get_mut(..source.len())?.copy_from_slice(source);
        Some(Self::Inline { length: u8::try_from(source.len()).ok()?, bytes })
    }
}

impl Payload {
    /// The bytes of a range, which must be inside; long ones are shared. What all of them name is
    /// kept with them.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        if let Self::Naming(naming) = self {
            return naming.0.slice(range).with(naming.1.clone());
        }
        let bytes = &self[range];
        Self::inline(bytes).unwrap_or_else(|| match self {
            Self::Shared(shared) => shared.slice_ref(bytes).into(),
            _ => Bytes::copy_from_slice(bytes).into(),
        })
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Inline { length: 0, bytes: [0; INLINE] }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(Arc::new(bytes))
    }
}

impl From<Payload> for Bytes {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Inline { .. } => Self::copy_from_slice(&payload),
            Payload::Lease(lease) => Self::from_owner(Leased(lease)),
            Payload::Shared(bytes) => Arc::unwrap_or_clone(bytes),
            Payload::Loan(loan) => loan.bytes().clone(),
            Payload::Naming(naming) => naming.0.clone().into(),
        }
    }
}

/// The owner of bytes in memory that is leased as long as they are needed.
struct Leased(Arc<Lease>);

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Deref for Payload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(bytes) => bytes,
            Self::Lease(lease) => lease.bytes(),
            Self::Loan(loan) => loan.bytes(),
            Self::Naming(naming) => &naming.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_their_number() {
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 1000] {
            let source: Vec<u8> = (0..=255).cycle().take(length).collect();
            let value: Vec<u8> = source.clone();
            let payload = Payload::encode(&value, 2000, &Choice::of::<Vec<u8>>()).unwrap();
            assert_eq!(decode::<Vec<u8>>(&payload).unwrap(), source);
            assert_eq!(Bytes::from(payload.clone()), payload[..]);
            assert_eq!(Payload::inline(&source).is_some(), length <= INLINE);
        }
    }

    #[test]
    fn a_payload_takes_three_words() {
        assert_eq!(size_of::<Payload>(), 3 * size_of::<usize>());
    }
}
