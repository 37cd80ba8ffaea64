//! The bytes of arguments and results.

use std::cell::Cell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{CodecError, decode, decode_shared, encode};
use crate::shared::{Kept, collect};

/// Chosen so that a `Payload` takes three words.
const INLINE: usize = 22;

thread_local! {
    /// Where values are encoded, so that only those too large to be kept inline allocate.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An encoded value. The arguments and results of most quick tasks are a few bytes, and an
/// allocation for each of them would be a good part of their cost; so few bytes are kept in place.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Inline {
        length: u8,
        bytes: [u8; INLINE],
    },
    Shared(Arc<Bytes>),
    /// What they name is kept with them.
    Naming(Arc<(Bytes, Kept)>),
}

impl Payload {
    /// Encodes a value that may take up to `limit` bytes.
    pub(crate) fn encode<T: Serialize + ?Sized>(
        value: &T,
        limit: usize,
    ) -> Result<Self, CodecError> {
        let mut scratch = SCRATCH.take();
        scratch.clear();
        let kept = collect(|| encode(value, &mut scratch, limit))?;
        let payload = match Self::inline(&scratch) {
            Some(inline) => {
                SCRATCH.set(scratch);
                inline
            }
            None => Bytes::from(scratch).into(),
        };
        Ok(payload.with(kept))
    }

    /// Keeps what the bytes name as long as they are there.
    pub(crate) fn with(self, kept: Kept) -> Self {
        if kept.is_empty() { self } else { Self::Naming(Arc::new((self.into(), kept))) }
    }

    /// What the bytes name.
    pub(crate) fn kept(&self) -> Kept {
        match self {
            Self::Inline { .. } | Self::Shared(_) => Kept::default(),
            Self::Naming(naming) => naming.1.clone(),
        }
    }

    /// Reads the value. Large parts of it may be shared.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        match self {
            Self::Inline { .. } => decode(self),
            Self::Shared(bytes) => decode_shared(bytes),
            Self::Naming(naming) => decode_shared(&naming.0),
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
    /// The bytes of a range, which must be inside; long ones are shared. What all of them name is kept
    /// with them.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let bytes = &self[range];
        let share =
            |whole: &Bytes| Self::inline(bytes).unwrap_or_else(|| whole.slice_ref(bytes).into());
        match self {
            Self::Inline { .. } => Self::inline(bytes).unwrap_or_default(), // a part is not longer
            Self::Shared(shared) => share(shared),
            Self::Naming(naming) => share(&naming.0).with(naming.1.clone()),
        }
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
            Payload::Shared(bytes) => Arc::unwrap_or_clone(bytes),
            Payload::Naming(naming) => naming.0.clone(),
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(bytes) => bytes,
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
            let payload = Payload::encode(&value, 2000).unwrap();
            assert_eq!(decode::<Vec<u8>>(&payload).unwrap(), source);
            assert_eq!(Bytes::from(payload.clone()), payload[..]);
            assert_eq!(Payload::inline(&source).is_some(), length <= INLINE);
        }
    }

    #[test]
    fn a_payload_takes_three_words() {
        assert_eq!(size_of::<Payload>(), 3 * size_of::<usize>());
        assert_eq!(size_of::<crate::cell::Resolution>(), size_of::<Payload>());
    }
}
