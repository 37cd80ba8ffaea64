//! Reading packed numbers, as a whole or one by one.

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::error::{CodecError, Fault};
use super::named::tag;
use super::number::{Number, for_each_number, may_want_numbers, show_signed, show_unsigned, width};
use super::reader::Reader;
use super::visitor::visitor_of_numbers;
use crate::sys::numbers::{Timeless, collect_numbers, convert, type_id};

/// Numbers of one kind, and how many bytes each of them has.
#[derive(Clone, Copy)]
pub(super) struct Packed<'de> {
    pub(super) kind: u8,
    width: u8,
    pub(super) bytes: &'de [u8],
    is_named: bool,
}

impl<'de> Packed<'de> {
    /// Takes the kind, the length, and the numbers.
    pub(super) fn take(reader: &mut Reader<'de>, is_named: bool) -> Result<Self, CodecError> {
        let (kind, count) = (reader.byte()?, reader.length()?);
        let width = width(kind).ok_or(Fault::Malformed)?;
        let bytes = reader.take(count.saturating_mul(width.into()))?;
        Ok(Self { kind, width, bytes, is_named })
    }

    /// Bytes of the named form.
    pub(super) fn of_bytes(bytes: &'de [u8]) -> Self {
        Self { kind: tag::U8, width: 1, bytes, is_named: true }
    }

    /// Shows them; all must be taken.
    pub(super) fn show<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, CodecError> {
        macro_rules! try_each {
            ($($number:ty)*) => {$(
                if type_id::<V>() == visitor_of_numbers::<$number>()
                    && let Some(numbers) = self.collect::<$number, V::Value>()
                {
                    return Ok(numbers);
                }
            )*};
        }
        if may_want_numbers::<V, V::Value>() {
            for_each_number!(try_each);
        }
        let value = visitor.visit_seq(&mut self)?;
        match self.left() {
            0 => Ok(value),
            left => Err(Error::invalid_length(left, &"fewer numbers")),
        }
    }

    fn left(&self) -> usize {
        self.bytes.len() / usize::from(self.width)
    }

    fn collect<N: Number, T>(&self) -> Option<T>
    where
        Vec<N>: Timeless,
    {
        if self.kind == N::KIND { convert(collect_numbers::<N>(self.bytes)) } else { None }
    }
}

impl<'de> SeqAccess<'de> for &mut Packed<'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        let Some((bytes, rest)) = self.bytes.split_at_checked(self.width.into()) else {
            return Ok(None);
        };
        self.bytes = rest;
        seed.deserialize(NumberDeserializer(Packed { bytes, ..**self })).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left())
    }
}

/// One of them.
struct NumberDeserializer<'de>(Packed<'de>);

impl<'de> Deserializer<'de> for NumberDeserializer<'de> {
    type Error = CodecError;

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are no more bytes than that")]
    #[expect(clippy::cast_possible_wrap, reason = "their sign was filled in")]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let Packed { kind, bytes, .. } = self.0;
        let is_signed = (tag::I8..=tag::I128).contains(&kind);
        let is_negative = is_signed && bytes.last().is_some_and(|last| *last >= 0x80);
        let mut all = [if is_negative { u8::MAX } else { 0 }; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        let number = u128::from_le_bytes(all);
        match kind {
            tag::F32 => visitor.visit_f32(f32::from_bits(number as u32)),
            tag::F64 => visitor.visit_f64(f64::from_bits(number as u64)),
            tag::U128 => visitor.visit_u128(number),
            tag::I128 => visitor.visit_i128(number as i128),
            _ if is_signed => show_signed(kind, number as i64, visitor),
            _ => show_unsigned(kind, number as u64, visitor),
        }
    }

    /// In the named form what was written without an option is there.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if self.0.is_named { visitor.visit_some(self) } else { self.deserialize_any(visitor) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    /// In the compact form a tuple of one part is written as the part.
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let Self(mut only) = self;
        if length != 1 || only.is_named {
            return self.deserialize_any(visitor);
        }
        visitor.visit_seq(&mut only)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(length, visitor)
    }

    /// So is a structure.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq map enum identifier ignored_any
    }
}
