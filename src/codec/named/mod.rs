//! The named form: it says of each value what it is, with the names of fields and variants, and
//! loses nothing: the width of numbers, options in options, bytes, keys that are no texts. So it
//! can be read by whatever can be read from JSON, and fields that were left out are known to be
//! missing.
//!
//! A name is written once, and called by its number after that.

mod access;
mod decoder;
mod encoder;
mod names;
pub(super) mod tag;
#[cfg(test)]
mod tests;
mod token;
mod wrapper;

use serde::Serialize;
use serde::de::{DeserializeOwned, Visitor};

use self::encoder::Encoder;
use self::token::Decoder;
pub(super) use self::wrapper::NAMED;
pub use self::wrapper::Named;
use super::error::CodecError;
use super::reader::Reader;
use super::writer::Writer;

/// Writes a value. Who reads `is_readable` values is told that people could.
#[inline(never)]
pub(super) fn encode<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    value: &T,
    is_readable: bool,
) -> Result<(), CodecError> {
    Encoder::new(writer, is_readable).part(value)
}

/// Writes a part of a value that is in the compact form.
pub(super) fn encode_in<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    value: &T,
) -> Result<(), CodecError> {
    encode(writer, value, false)
}

/// Reads what was written by [`encode`], and leaves what is behind it.
#[inline(never)]
pub(super) fn decode<T: DeserializeOwned>(
    reader: &mut Reader<'_>,
    is_readable: bool,
) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(*reader, is_readable);
    let value = T::deserialize(&mut decoder)?;
    *reader = decoder.reader;
    Ok(value)
}

/// Reads what was written by [`encode_in`].
pub(super) fn decode_in<'de, V: Visitor<'de>>(
    reader: &mut Reader<'de>,
    visitor: V,
) -> Result<V::Value, CodecError> {
    let mut decoder = Decoder::new(*reader, false);
    let value = visitor.visit_newtype_struct(&mut decoder)?;
    *reader = decoder.reader;
    Ok(value)
}
