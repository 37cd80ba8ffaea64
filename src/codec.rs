//! Values to bytes and back: postcard, with a bound on the bytes.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a value could not be turned into bytes or back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("{0}")]
    Postcard(#[from] postcard::Error),
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0} bytes are left over")]
    Trailing(usize),
}

/// Appends a value's bytes to `buffer`; no more than `limit` of them.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    buffer: Vec<u8>,
    limit: usize,
) -> Result<Vec<u8>, CodecError> {
    let end = buffer.len().saturating_add(limit);
    match postcard::serialize_with_flavor(value, Capped { buffer, end }) {
        Ok(buffer) => Ok(buffer),
        Err(postcard::Error::SerializeBufferFull) => Err(CodecError::TooLarge { limit }),
        Err(error) => Err(error.into()),
    }
}

/// Reads a value that must take up all of `bytes`.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(CodecError::Trailing(rest.len())),
    }
}

/// Grows like a `Vec`, but only up to `end`.
struct Capped {
    buffer: Vec<u8>,
    end: usize,
}

impl Flavor for Capped {
    type Output = Vec<u8>;

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

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back() {
        let bytes = encode(&(7_u64, "seven"), Vec::new(), 100).unwrap();
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "seven".to_owned()));
    }

    #[test]
    fn what_stands_before_is_kept_and_does_not_count() {
        let bytes = encode(&1_u8, vec![0xAA; 50], 1).unwrap();
        assert_eq!(bytes.len(), 51);
    }

    #[test]
    fn a_value_over_the_limit_is_refused() {
        let error = encode(&vec![0_u8; 100], Vec::new(), 99).unwrap_err();
        assert_eq!(error, CodecError::TooLarge { limit: 99 });
    }

    #[test]
    fn left_over_bytes_are_an_error() {
        assert_eq!(decode::<u8>(&[1, 2]), Err(CodecError::Trailing(1)));
    }
}
