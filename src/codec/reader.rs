//! Where encoded bytes come from.

use bytes::Bytes;
use serde::de::Visitor;

use super::error::{CodecError, Fault};
use super::visitor::visitor_of_bytes;
use crate::sys::numbers::{convert, type_id};

/// The bit of each byte of a varint that says that another byte follows.
const MORE: u64 = 0x8080_8080_8080_8080;

/// Takes bytes, and what both forms write in the same way, off the front of some.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'de> {
    /// What is left.
    pub(super) bytes: &'de [u8],
    /// What the bytes are a part of, if it can be shared.
    pub(super) owner: Option<&'de Bytes>,
}

impl<'de> Reader<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8], owner: Option<&'de Bytes>) -> Self {
        Self { bytes, owner }
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        let Some((byte, rest)) = self.bytes.split_first() else { return Err(end()) };
        self.bytes = rest;
        Ok(*byte)
    }

    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'de [u8], CodecError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else { return Err(end()) };
        self.bytes = rest;
        Ok(taken)
    }

    /// Whether these bytes come next; they are taken then.
    #[inline]
    pub(super) fn take_prefix(&mut self, prefix: &[u8]) -> bool {
        let rest = self.bytes.strip_prefix(prefix);
        self.bytes = rest.unwrap_or(self.bytes);
        rest.is_some()
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let Some((taken, rest)) = self.bytes.split_first_chunk() else { return Err(end()) };
        self.bytes = rest;
        Ok(*taken)
    }

    /// A number of up to so many bits.
    #[inline]
    pub(super) fn varint<const BITS: u32>(&mut self) -> Result<u64, CodecError> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { self.long_varint::<BITS>(byte) }
    }

    /// Reads the bytes behind the first one at once, as a word: to go through them one by one takes
    /// longer.
    fn long_varint<const BITS: u32>(&mut self, first: u8) -> Result<u64, CodecError> {
        let word = self.bytes.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
        let Some((word, length)) = word.and_then(|word| Some((word, digits_of(word)?))) else {
            return self.last_varint::<BITS>(first);
        };
        let number = u64::from(first & 0x7F) | gather(word, length) << 7;
        if 7 * length > BITS || number > u64::MAX >> (u64::BITS - BITS) {
            return Err(bad_varint());
        }
        self.bytes = &self.bytes[length as usize..];
        Ok(number)
    }

    /// As [`Self::long_varint`], byte by byte. No whole word comes behind a number near the end,
    /// and a few numbers are longer than a word.
    #[inline]
    fn last_varint<const BITS: u32>(&mut self, first: u8) -> Result<u64, CodecError> {
        let (mut number, mut shift) = (u64::from(first & 0x7F), 7);
        for (place, byte) in self.bytes.iter().enumerate() {
            if shift > BITS {
                return Err(bad_varint());
            }
            let digits = u64::from(byte & 0x7F);
            number |= digits << shift;
            if *byte < 0x80 {
                // The last digits may have no room for all of their bits.
                if digits << shift >> shift != digits || number > u64::MAX >> (u64::BITS - BITS) {
                    return Err(bad_varint());
                }
                self.bytes = &self.bytes[place + 1..];
                return Ok(number);
            }
            shift += 7;
        }
        Err(if shift > BITS { bad_varint() } else { end() })
    }

    pub(super) fn varint_128(&mut self) -> Result<u128, CodecError> {
        let (mut number, mut shift) = (0, 0);
        loop {
            // The last digits have no room for all of their bits.
            let room = u128::BITS.checked_sub(shift).ok_or_else(bad_varint)?;
            let byte = self.byte()?;
            let digits = u128::from(byte & 0x7F);
            if digits >> room.min(7) != 0 {
                return Err(bad_varint());
            }
            number |= digits << shift;
            shift += 7;
            if byte < 0x80 {
                return Ok(number);
            }
        }
    }

    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, CodecError> {
        // One that does not fit is more than there is anyway.
        Ok(usize::try_from(self.varint::<64>()?).unwrap_or(usize::MAX))
    }

    #[inline]
    pub(super) fn take_with_length(&mut self) -> Result<&'de [u8], CodecError> {
        let length = self.length()?;
        self.take(length)
    }

    /// These bytes as a part of what they came in, if that is wanted.
    pub(super) fn share<V: Visitor<'de>>(&self, bytes: &'de [u8]) -> Option<V::Value> {
        let owner = self.owner.filter(|owner| bytes.len() >= owner.len() / 2)?; // or it keeps more
        if type_id::<V>() == visitor_of_bytes() { convert(owner.slice_ref(bytes)) } else { None }
    }

    #[inline]
    pub(super) fn text(&mut self, length: usize) -> Result<&'de str, CodecError> {
        let bytes = self.take(length)?;
        str::from_utf8(bytes).map_err(|_| failed(postcard::Error::DeserializeBadUtf8))
    }

    #[inline]
    pub(super) fn text_with_length(&mut self) -> Result<&'de str, CodecError> {
        let length = self.length()?;
        self.text(length)
    }
}

/// How many bytes of a word belong to the number that it begins with. `None`: that goes on behind
/// it.
#[inline]
fn digits_of(word: u64) -> Option<u32> {
    let ends = !word & MORE;
    (ends != 0).then(|| ends.trailing_zeros() / 8 + 1)
}

/// The number in the first bytes of a word, of which there is one at least.
#[inline]
fn gather(word: u64, length: u32) -> u64 {
    let digits = word & !MORE & u64::MAX >> (u64::BITS - 8 * length);
    let quarters = (digits & 0x7F00_7F00_7F00_7F00) >> 1 | digits & 0x007F_007F_007F_007F;
    let halves = (quarters & 0x3FFF_0000_3FFF_0000) >> 2 | quarters & 0x0000_3FFF_0000_3FFF;
    (halves & 0x0FFF_FFFF_0000_0000) >> 4 | halves & 0x0FFF_FFFF
}

#[cold]
pub(super) fn end() -> CodecError {
    failed(postcard::Error::DeserializeUnexpectedEnd)
}

#[cold]
fn bad_varint() -> CodecError {
    failed(postcard::Error::DeserializeBadVarint)
}

#[cold]
pub(super) fn failed(error: postcard::Error) -> CodecError {
    Fault::Postcard(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Near to the end, and with others behind it.
    #[test]
    fn numbers_are_what_postcard_has_written() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, 0xA5A5_5A12_3456_789B >> shift] {
                let bytes = postcard::to_stdvec(&number).unwrap();
                for behind in [0, 1, 7, 8, 20] {
                    let all = [&bytes[..], &vec![0xFF; behind]].concat();
                    let mut reader = Reader::new(&all, None);
                    assert_eq!(reader.varint::<64>(), Ok(number), "{behind} behind");
                    assert_eq!(reader.bytes.len(), behind, "{number}");
                }
            }
        }
    }

    #[test]
    fn numbers_of_too_many_digits_are_refused() {
        for behind in [0, 20] {
            for (bytes, most) in [(&[0xFF, 0xFF, 0x03][..], 0xFFFF), (&[0x80, 0x80, 0x01], 0x4000)]
            {
                let all = [bytes, &vec![0; behind]].concat();
                assert_eq!(Reader::new(&all, None).varint::<16>(), Ok(most));
            }
            for bytes in [&[0xFF, 0xFF, 0x04][..], &[0x80, 0x80, 0x80, 0x00]] {
                let all = [bytes, &vec![0; behind]].concat();
                assert_eq!(Reader::new(&all, None).varint::<16>(), Err(bad_varint()));
            }
        }
    }
}
