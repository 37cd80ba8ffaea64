//! Bytes to values.

use bytemuck::Pod;
use bytes::Bytes;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::super::depth::Depth;
use super::super::error::{CodecError, Step};
use super::super::named::{self, NAMED};
use super::super::number::{Number, PACKED, for_each_array, for_each_number, may_want_numbers};
use super::super::packed::Packed;
use super::super::reader::{Reader, end, failed};
use super::super::visitor::visitor_of_numbers;
use crate::sys::buffer::vec_for;
use crate::sys::numbers::{Timeless, collect_numbers, convert, type_id};

/// What values that take no bytes may take in memory all together, so that a few bytes cannot stand
/// for any amount of it; and, counted in such values, for how much work.
const FREE: u64 = 1 << 32;
const FREE_PER_BYTE: u64 = 1 << 8;

/// For longer texts it is worth asking the system for memory.
const LONG: usize = 1 << 20;

/// Takes values off the front of some bytes.
pub(in crate::codec) struct Decoder<'de> {
    reader: Reader<'de>,
    /// What is left of [`FREE`].
    free: u64,
    depth: Depth,
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(in crate::codec) fn new(bytes: &'de [u8], owner: Option<&'de Bytes>) -> Self {
        Self { reader: Reader::new(bytes, owner), free: FREE, depth: Depth::new() }
    }

    /// What is left.
    #[inline]
    pub(in crate::codec) fn rest(&self) -> &'de [u8] {
        self.reader.bytes
    }

    /// Counts a value that has taken no bytes if it is as long as `before`.
    #[inline]
    fn count_free<T>(&mut self, before: usize) -> Result<(), CodecError> {
        if self.reader.bytes.len() < before {
            return Ok(());
        }
        let price = (size_of::<T>() as u64).saturating_mul(FREE_PER_BYTE).max(1);
        self.free = self.free.checked_sub(price).ok_or_else(end)?;
        Ok(())
    }

    #[inline]
    fn seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, CodecError> {
        let before = self.reader.bytes.len();
        let value = seed.deserialize(&mut *self)?;
        self.count_free::<S::Value>(before)?;
        Ok(value)
    }

    /// So many numbers as a whole, if a `Vec` is wanted of what takes as many bytes here as in
    /// memory.
    #[inline]
    fn numbers<V: Visitor<'de>>(&mut self, count: usize) -> Option<Result<V::Value, CodecError>> {
        macro_rules! try_each {
            ($($number:ty)*) => {$(
                if <$number>::IS_FIXED && type_id::<V>() == visitor_of_numbers::<$number>() {
                    return self.as_in_memory::<$number, V::Value>(count);
                }
            )*};
        }
        macro_rules! try_each_array {
            ($($array:ty)*) => {$(
                if type_id::<V>() == visitor_of_numbers::<$array>() {
                    return self.as_in_memory::<$array, V::Value>(count);
                }
            )*};
        }
        if may_want_numbers::<V, V::Value>() {
            for_each_number!(try_each);
            for_each_array!(try_each_array);
        }
        None
    }

    fn as_in_memory<N: Pod, T>(&mut self, count: usize) -> Option<Result<T, CodecError>>
    where
        Vec<N>: Timeless,
    {
        match self.reader.take(count.saturating_mul(size_of::<N>())) {
            Ok(bytes) => convert(collect_numbers::<N>(bytes)).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Methods that read something and show it to the visitor.
macro_rules! show {
    ($($method:ident($($arg:pat_param, $type:ty),*) |$decoder:ident, $visitor:ident| $shown:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($arg: $type,)*
            $visitor: V,
        ) -> Result<V::Value, CodecError> {
            let $decoder = self;
            $shown
        }
    )*};
}

/// What was written as a negative number if it is odd.
macro_rules! unzigzag {
    ($number:expr => $signed:ty) => {{
        let number = $number;
        ((number >> 1) as $signed) ^ -((number & 1) as $signed)
    }};
}

#[expect(clippy::cast_possible_truncation, reason = "a varint has no more bits than it may have")]
#[expect(clippy::cast_possible_wrap, reason = "half of a number has room for the sign")]
impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    show! {
        deserialize_bool() |decoder, visitor| match decoder.reader.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(failed(postcard::Error::DeserializeBadBool)),
        };
        deserialize_u8() |decoder, visitor| visitor.visit_u8(decoder.reader.byte()?);
        deserialize_u16() |decoder, visitor| visitor.visit_u16(decoder.reader.varint::<16>()? as u16);
        deserialize_u32() |decoder, visitor| visitor.visit_u32(decoder.reader.varint::<32>()? as u32);
        deserialize_u64() |decoder, visitor| visitor.visit_u64(decoder.reader.varint::<64>()?);
        deserialize_u128() |decoder, visitor| visitor.visit_u128(decoder.reader.varint_128()?);
        deserialize_i8() |decoder, visitor| visitor.visit_i8(decoder.reader.byte()?.cast_signed());
        deserialize_i16() |decoder, visitor| {
            visitor.visit_i16(unzigzag!(decoder.reader.varint::<16>()? => i16))
        };
        deserialize_i32() |decoder, visitor| {
            visitor.visit_i32(unzigzag!(decoder.reader.varint::<32>()? => i32))
        };
        deserialize_i64() |decoder, visitor| {
            visitor.visit_i64(unzigzag!(decoder.reader.varint::<64>()? => i64))
        };
        deserialize_i128() |decoder, visitor| {
            visitor.visit_i128(unzigzag!(decoder.reader.varint_128()? => i128))
        };
        deserialize_f32() |decoder, visitor| {
            visitor.visit_f32(f32::from_le_bytes(decoder.reader.array()?))
        };
        deserialize_f64() |decoder, visitor| {
            visitor.visit_f64(f64::from_le_bytes(decoder.reader.array()?))
        };
        deserialize_char() |decoder, visitor| {
            let bad = || failed(postcard::Error::DeserializeBadChar);
            let length = Some(decoder.reader.length()?).filter(|length| *length <= 4).ok_or_else(bad)?;
            let text = str::from_utf8(decoder.reader.take(length)?).map_err(|_| bad())?;
            visitor.visit_char(text.chars().next().ok_or_else(bad)?)
        };
        deserialize_str() |decoder, visitor| visitor.visit_borrowed_str(decoder.reader.text_with_length()?);
        deserialize_string() |decoder, visitor| {
            let text = decoder.reader.text_with_length()?;
            if text.len() < LONG {
                return visitor.visit_str(text);
            }
            let mut own = String::from_utf8(vec_for(text.len())).unwrap_or_default(); // it is empty
            own.push_str(text);
            visitor.visit_string(own)
        };
        deserialize_bytes() |decoder, visitor| {
            visitor.visit_borrowed_bytes(decoder.reader.take_with_length()?)
        };
        deserialize_byte_buf() |decoder, visitor| {
            let bytes = decoder.reader.take_with_length()?;
            match decoder.reader.share::<V>(bytes) {
                Some(shared) => Ok(shared),
                None => visitor.visit_byte_buf(collect_numbers(bytes)),
            }
        };
        deserialize_option() |decoder, visitor| match decoder.reader.byte()? {
            0 => visitor.visit_none(),
            1 => {
                decoder.depth.check()?;
                visitor.visit_some(decoder).map_err(CodecError::in_content)
            }
            _ => Err(failed(postcard::Error::DeserializeBadOption)),
        };
        deserialize_unit() |_decoder, visitor| visitor.visit_unit();
        deserialize_unit_struct(_, &'static str) |_decoder, visitor| visitor.visit_unit();
        deserialize_newtype_struct(name, &'static str) |decoder, visitor| {
            if name == NAMED {
                return named::decode_in(&mut decoder.reader, visitor);
            }
            visitor.visit_newtype_struct(decoder)
        };
        deserialize_seq() |decoder, visitor| {
            decoder.depth.check()?;
            if decoder.reader.take_prefix(&PACKED) {
                return Packed::take(&mut decoder.reader, false)?.show(visitor);
            }
            let left = decoder.reader.length()?;
            match decoder.numbers::<V>(left) {
                Some(numbers) => numbers,
                None => visitor.visit_seq(SequenceReader { decoder, left, at: 0 }),
            }
        };
        deserialize_tuple(count, usize) |decoder, visitor| {
            visitor.visit_seq(TupleReader::new(decoder, count, &[])?)
        };
        deserialize_tuple_struct(_, &'static str, count, usize) |decoder, visitor| {
            visitor.visit_seq(TupleReader::new(decoder, count, &[])?)
        };
        deserialize_map() |decoder, visitor| {
            decoder.depth.check()?;
            let left = decoder.reader.length()?;
            visitor.visit_map(SequenceReader { decoder, left, at: 0 })
        };
        deserialize_struct(_, &'static str, fields, &'static [&'static str]) |decoder, visitor| {
            visitor.visit_seq(TupleReader::new(decoder, fields.len(), fields)?)
        };
        deserialize_enum(_, &'static str, _, &'static [&'static str]) |decoder, visitor| {
            visitor.visit_enum(decoder)
        };
        deserialize_any() |_decoder, visitor| Err(CodecError::of_kind(&visitor));
    }

    forward_to_deserialize_any! { identifier ignored_any }
}

/// The parts of a tuple or a struct.
struct TupleReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    at: usize,
    count: usize,
    /// What they are called; for errors only.
    names: &'static [&'static str],
}

impl<'a, 'de> TupleReader<'a, 'de> {
    #[inline]
    fn new(
        decoder: &'a mut Decoder<'de>,
        count: usize,
        names: &'static [&'static str],
    ) -> Result<Self, CodecError> {
        decoder.depth.check()?;
        Ok(Self { decoder, at: 0, count, names })
    }
}

impl<'de> SeqAccess<'de> for TupleReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        if self.at == self.count {
            return Ok(None);
        }
        self.at += 1;
        match seed.deserialize(&mut *self.decoder) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_part(self.at - 1, self.names)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.count - self.at)
    }
}

/// The elements of a sequence, or the entries of a map.
struct SequenceReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    at: usize,
}

impl<'de> SeqAccess<'de> for SequenceReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.at += 1;
        match self.decoder.seed(seed) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_element(self.at - 1)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        (self.left <= self.decoder.reader.bytes.len()).then_some(self.left)
    }
}

impl<'de> MapAccess<'de> for SequenceReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.decoder.seed(seed).map(Some).map_err(|error| error.inside(Step::Key))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        self.decoder.seed(seed).map_err(|error| error.inside(Step::Value))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

impl<'de> EnumAccess<'de> for &mut Decoder<'de> {
    type Error = CodecError;
    type Variant = Self;

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a varint has no more bits than it may")]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), CodecError> {
        let index: U32Deserializer<CodecError> =
            (self.reader.varint::<32>()? as u32).into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    #[inline]
    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        self.depth.check()?;
        seed.deserialize(self).map_err(CodecError::in_content)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(left, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_struct("", fields, visitor)
    }
}
