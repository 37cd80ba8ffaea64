//! Values to bytes and back: postcard, with a bound on the bytes, and with sequences of plain numbers
//! copied as a whole.
//!
//! The format is that of postcard, but for sequences that are packed (see `number.rs`). postcard itself
//! goes through everything element by element, and its errors have no room for a text.

mod decoder;
mod encoder;
mod number;
#[cfg(test)]
mod tests;
mod visitor;

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::decoder::Decoder;
use self::encoder::Encoder;
pub(crate) use self::encoder::{SHARED_FROM, Sink};

/// Why a value could not be turned into bytes or back. It is as small as can be, because everything that can
/// fail returns it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct CodecError(Box<Fault>);

impl CodecError {
    pub(crate) fn fault(&self) -> &Fault {
        &self.0
    }
}

/// See [`CodecError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Postcard(postcard::Error),
    /// What an implementation of `Serialize` or `Deserialize` says itself.
    #[error("{0}")]
    Custom(String),
    #[error("more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("bytes left over: {0}")]
    Trailing(usize),
}

impl From<Fault> for CodecError {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::Custom(text.to_string()).into()
    }
}

impl serde::de::Error for CodecError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Fault::Custom(text.to_string()).into()
    }
}

/// Appends a value's bytes to `buffer`; no more than `limit` of them. After an error nothing has been
/// appended.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(), CodecError> {
    encode_with(value, buffer, limit, None).map(|_| ())
}

/// As [`encode`], but if there are many bytes they go to `sink`, all of them. Says whether they did.
#[inline]
pub(crate) fn encode_with<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
    sink: Option<&mut dyn Sink>,
) -> Result<bool, CodecError> {
    let start = buffer.len();
    let sink = sink.map(|sink| sink as &mut dyn Sink); // for as long as the encoder lives
    let mut encoder = Encoder::new(buffer, limit, sink);
    match value.serialize(&mut encoder) {
        Ok(()) => Ok(encoder.finish()),
        Err(error) => {
            buffer.truncate(start);
            Err(error)
        }
    }
}

/// Reads a value that must take up all of `bytes`.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_from(Decoder::new(bytes, None))
}

/// As [`decode`]; the value may keep parts of `bytes`.
#[inline]
pub(crate) fn decode_shared<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, CodecError> {
    decode_from(Decoder::new(bytes, Some(bytes)))
}

#[inline]
fn decode_from<T: DeserializeOwned>(mut decoder: Decoder<'_>) -> Result<T, CodecError> {
    let value = T::deserialize(&mut decoder)?;
    match decoder.rest().len() {
        0 => Ok(value),
        rest => Err(Fault::Trailing(rest).into()),
    }
}
