//! Values to bytes and back, in one of two forms, with a bound on the bytes, and with sequences of
//! plain numbers copied as a whole.
//!
//! The `compact` form is that of postcard, but for sequences that are packed. postcard itself goes
//! through everything element by element, and its errors have no room for a text. What that form
//! cannot carry goes in the `named` one; `form` is where it is decided.

mod address;
mod compact;
mod depth;
mod error;
mod form;
#[cfg(test)]
mod fuzz;
mod mark;
mod named;
mod number;
mod packed;
mod path;
mod reader;
#[cfg(test)]
mod tests;
mod visitor;
mod writer;

use std::sync::LazyLock;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::compact::IN_SHARED_MEMORY;
pub(crate) use self::error::{CodecError, Fault};
pub use self::form::{AskedForm, ValueForm};
pub(crate) use self::form::{Choice, choice_for};
pub use self::named::Named;
pub(crate) use self::path::FunctionPath;
pub(crate) use self::writer::{SHARED_FROM, Sink};

use self::compact::{Decoder, Encoder};
use self::form::ChoiceState;
use self::mark::{ESCAPED, MARK, NAMED, READABLE};
use self::reader::Reader;
use self::writer::Writer;

/// Appends a value's bytes to `buffer`; no more than `limit` of them. After an error nothing has
/// been appended.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
    choice: &Choice,
) -> Result<(), CodecError> {
    encode_with(value, buffer, limit, None, choice).map(|_| ())
}

/// As [`encode`], but if there are many bytes they go to `sink`, all of them. Says whether they
/// did.
#[inline]
pub(crate) fn encode_with<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
    sink: Option<&mut dyn Sink>,
    choice: &Choice,
) -> Result<bool, CodecError> {
    let sink = sink.map(|sink| sink as &mut dyn Sink); // for as long as the writer lives
    if !choice.is_compact()
        && let state @ (ChoiceState::Named | ChoiceState::Readable) = choice.state()
    {
        return encode_named(value, &mut Writer::new(buffer, limit, sink), choice, state);
    }
    let mut encoder = Encoder::new(Writer::new(buffer, limit, sink));
    match encoder.part(value).and_then(|()| encoder.writer().finish()) {
        Ok(is_sunk) => Ok(is_sunk),
        Err(error) => encode_again(value, encoder.writer(), choice, error),
    }
}

/// After the compact form has failed.
#[cold]
#[inline(never)]
fn encode_again<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut Writer<'_>,
    choice: &Choice,
    error: CodecError,
) -> Result<bool, CodecError> {
    writer.discard();
    if !error.needs_names() {
        return Err(error);
    }
    let state = choice.learn(error)?;
    encode_named(value, writer, choice, state)
}

#[inline(never)]
fn encode_named<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut Writer<'_>,
    choice: &Choice,
    state: ChoiceState,
) -> Result<bool, CodecError> {
    let is_readable = state == ChoiceState::Readable;
    let encoded = named_value(value, writer, is_readable);
    let encoded = match encoded {
        Err(error) if !is_readable && *error.fault() == Fault::NeedsText => {
            writer.discard();
            choice.learn(error)?;
            named_value(value, writer, true)
        }
        encoded => encoded,
    };
    encoded.and_then(|()| writer.finish()).inspect_err(|_| writer.discard())
}

fn named_value<T: Serialize + ?Sized>(
    value: &T,
    writer: &mut Writer<'_>,
    is_readable: bool,
) -> Result<(), CodecError> {
    writer.mark(if is_readable { READABLE } else { NAMED })?;
    named::encode(writer, value, is_readable)
}

/// As [`encode`], for tests of what comes after it.
#[cfg(test)]
pub(crate) fn encode_compact<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(), CodecError> {
    encode(value, buffer, limit, &Choice::that_is(AskedForm::Compact))
}

/// What a value is in the compact form, for tests of what reads it.
#[cfg(test)]
pub(crate) fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encoded_as(value, AskedForm::Compact)
}

/// The same in either form.
#[cfg(test)]
pub(crate) fn encoded_as<T: Serialize + ?Sized>(value: &T, form: AskedForm) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes, usize::MAX, &Choice::that_is(form)).unwrap();
    bytes
}

/// One value there and back in memory, in the form that is asked for; for benchmarks.
#[doc(hidden)]
pub fn round_trip<T: Serialize + DeserializeOwned>(value: &T, form: AskedForm) -> Option<T> {
    static CHOICES: LazyLock<[Choice; 2]> =
        LazyLock::new(|| [AskedForm::Compact, AskedForm::Named].map(Choice::that_is));
    let mut bytes = Vec::with_capacity(1 << 10); // the pool uses its buffers again
    encode(value, &mut bytes, usize::MAX, &CHOICES[form as usize]).ok()?;
    decode(&bytes).ok()
}

/// Reads a value that must take up all of `bytes`.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_from(bytes, None)
}

/// As [`decode`]; the value may keep parts of `bytes`.
#[inline]
pub(crate) fn decode_shared<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, CodecError> {
    decode_from(bytes, Some(bytes))
}

#[inline]
fn decode_from<T: DeserializeOwned>(bytes: &[u8], owner: Option<&Bytes>) -> Result<T, CodecError> {
    if bytes.first() == Some(&MARK) {
        return decode_marked(bytes, owner);
    }
    decode_compact(bytes, owner)
}

#[inline(never)]
fn decode_marked<T: DeserializeOwned>(
    bytes: &[u8],
    owner: Option<&Bytes>,
) -> Result<T, CodecError> {
    let (form, rest) = match bytes {
        [_, ESCAPED, rest @ ..] => return decode_compact(rest, owner),
        [_, form @ (NAMED | READABLE), rest @ ..] => (*form, rest),
        _ => return Err(Fault::Malformed.into()),
    };
    let mut reader = Reader::new(rest, owner);
    let value = named::decode(&mut reader, form == READABLE)?;
    all_taken(value, reader.bytes)
}

#[inline]
fn decode_compact<T: DeserializeOwned>(
    bytes: &[u8],
    owner: Option<&Bytes>,
) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(bytes, owner);
    let value = T::deserialize(&mut decoder)?;
    all_taken(value, decoder.rest())
}

#[inline]
fn all_taken<T>(value: T, rest: &[u8]) -> Result<T, CodecError> {
    if rest.is_empty() { Ok(value) } else { Err(Fault::Trailing(rest.len()).into()) }
}
