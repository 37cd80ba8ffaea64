//! Values to bytes and back: postcard, with a bound on the bytes.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::reason;

/// Why a value could not be turned into bytes or back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
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

/// Appends a value's bytes to `buffer`; no more than `limit` of them. After an error nothing has been
/// appended.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(), CodecError> {
    let start = buffer.len();
    let end = start.saturating_add(limit);
    let error = match postcard::serialize_with_flavor(value, Capped { buffer, end }) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    buffer.truncate(start);
    Err(match error {
        postcard::Error::SerializeBufferFull => CodecError::TooLarge { limit },
        error => named(error, || reason::of_encoding(value)),
    })
}

/// Reads a value that must take up all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(CodecError::Trailing(rest.len())),
        Err(error) => Err(named(error, || reason::of_decoding::<T>(bytes))),
    }
}

/// An error of postcard's, with its reason if postcard has dropped that.
fn named(error: postcard::Error, reason: impl FnOnce() -> Option<String>) -> CodecError {
    let dropped = matches!(error, postcard::Error::SerdeSerCustom | postcard::Error::SerdeDeCustom);
    let reason = if dropped { reason() } else { None };
    reason.map_or(CodecError::Postcard(error), CodecError::Custom)
}

/// Grows like a `Vec`, but only up to `end`.
struct Capped<'a> {
    buffer: &'a mut Vec<u8>,
    end: usize,
}

impl Flavor for Capped<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > self.end - self.buffer.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::*;

    /// Cannot be encoded for a while.
    struct Failing {
        times: Cell<u32>,
    }

    impl Serialize for Failing {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.times.replace(self.times.get().saturating_sub(1)) {
                0 => serializer.serialize_unit(),
                times => Err(serde::ser::Error::custom(format!("{times} times"))),
            }
        }
    }

    #[derive(Debug, PartialEq)]
    struct Undecodable;

    impl<'de> Deserialize<'de> for Undecodable {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("never"))
        }
    }

    #[test]
    fn custom_errors_keep_their_text() {
        let error = encode(&Failing { times: Cell::new(2) }, &mut Vec::new(), 100).unwrap_err();
        assert_eq!(error, CodecError::Custom("1 times".to_owned()));
        assert_eq!(error.to_string(), "1 times");
        let error = decode::<(Undecodable,)>(&[]).unwrap_err();
        assert_eq!(error, CodecError::Custom("never".to_owned()));
    }

    #[test]
    fn an_error_that_is_gone_when_its_text_is_sought_is_still_an_error() {
        let error = encode(&Failing { times: Cell::new(1) }, &mut Vec::new(), 100).unwrap_err();
        assert_eq!(error, CodecError::Postcard(postcard::Error::SerdeSerCustom));
    }

    #[test]
    fn other_errors_are_postcards() {
        let error = decode::<bool>(&[7]).unwrap_err();
        assert_eq!(error, CodecError::Postcard(postcard::Error::DeserializeBadBool));
    }

    #[test]
    fn a_value_comes_back() {
        let mut bytes = Vec::new();
        encode(&(7_u64, "seven"), &mut bytes, 100).unwrap();
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "seven".to_owned()));
    }

    #[test]
    fn what_stands_before_is_kept_and_does_not_count() {
        let mut bytes = vec![0xAA; 50];
        encode(&1_u8, &mut bytes, 1).unwrap();
        assert_eq!(bytes.len(), 51);
    }

    #[test]
    fn a_value_over_the_limit_is_refused() {
        let mut bytes = vec![0xAA];
        let error = encode(&vec![0_u8; 100], &mut bytes, 99).unwrap_err();
        assert_eq!(error, CodecError::TooLarge { limit: 99 });
        assert_eq!(bytes, [0xAA]);
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(CodecError::Trailing(1)));
    }
}
