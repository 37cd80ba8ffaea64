//! What a call is made with, on the side where it is made.

use std::ops::Range;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::codec::{CodecError, decode, decode_shared};
use crate::sys::buffer::trim;

/// The bytes of a task's arguments.
#[derive(Debug)]
pub(crate) enum EncodedArguments<'a> {
    /// A part of a frame.
    Framed { frame: &'a mut Vec<u8>, bytes: Range<usize> },
    /// In memory that the parent shares.
    Shared(Bytes),
}

impl EncodedArguments<'_> {
    #[cfg(test)]
    pub(crate) fn new(frame: &mut Vec<u8>) -> EncodedArguments<'_> {
        let bytes = 0..frame.len();
        EncodedArguments::Framed { frame, bytes }
    }

    /// Reads the value, which may keep parts of shared memory.
    #[inline]
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        match self {
            Self::Framed { frame, bytes } => decode(&frame[bytes.clone()]),
            Self::Shared(bytes) => decode_shared(bytes),
        }
    }

    /// Frees the memory of large arguments, so that they are not held twice while the task runs. In
    /// a chunk others may follow, which are still needed.
    #[inline]
    pub(crate) fn release(&mut self) {
        match self {
            Self::Framed { frame, bytes } if bytes.end == frame.len() => trim(frame),
            Self::Framed { .. } => {}
            Self::Shared(bytes) => *bytes = Bytes::new(),
        }
    }
}
