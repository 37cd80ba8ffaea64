//! Values to bytes.

use serde::{Serialize, Serializer, ser};

use super::number::{PACK_FROM, PACKED, Packable, for_each_number};
use super::{CodecError, Fault};
use crate::sys::{as_numbers, number_bytes, reserve};

/// For so many bytes it is worth asking the system for memory.
const MUCH: usize = 1 << 20;

/// What has more bytes goes to the sink, and so many are put together before they do.
pub(crate) const SHARED_FROM: usize = 128 << 10;

/// Where bytes go if there are many.
pub(crate) trait Sink {
    /// Appends both; or takes neither if there is no room for them.
    fn write(&mut self, first: &[u8], second: &[u8]) -> bool;

    /// Moves all that was written behind what `buffer` has.
    fn take_back(&mut self, buffer: &mut Vec<u8>);
}

/// Puts values into a buffer that may grow up to `end`. With a sink, that is only a stage, from where
/// the bytes go on, and what is large goes past it.
pub(super) struct Encoder<'a> {
    buffer: &'a mut Vec<u8>,
    /// Where the value begins in the buffer.
    start: usize,
    end: usize,
    limit: usize,
    sink: Option<&'a mut (dyn Sink + 'a)>,
    /// How many bytes are in the sink.
    sunk: usize,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(
        buffer: &'a mut Vec<u8>,
        limit: usize,
        sink: Option<&'a mut (dyn Sink + 'a)>,
    ) -> Self {
        let (start, room) =
            (buffer.len(), if sink.is_some() { limit.min(SHARED_FROM) } else { limit });
        Self { buffer, start, end: start.saturating_add(room), limit, sink, sunk: 0 }
    }

    /// Brings everything to one place; true if that is the sink. By reference, as to move the encoder takes as long
    /// as to encode a number.
    #[inline]
    pub(super) fn finish(&mut self) -> bool {
        self.sunk > 0 && self.finish_sink()
    }

    fn finish_sink(&mut self) -> bool {
        let is_sunk = self.sink(&[]);
        if !is_sunk {
            self.take_back();
        }
        is_sunk
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Result<(), CodecError> {
        self.extend(&[byte])
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() > self.end - self.buffer.len() {
            return self.overflow(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends the first `count` of few bytes. To copy all of them is quicker, as their number is known.
    #[inline]
    fn extend_by<const N: usize>(
        &mut self,
        bytes: [u8; N],
        count: usize,
    ) -> Result<(), CodecError> {
        let start = self.buffer.len();
        if count > self.end - start {
            return self.overflow(&bytes[..count]);
        }
        self.buffer.extend_from_slice(&bytes);
        self.buffer.truncate(start + count);
        Ok(())
    }

    /// As `extend`, for what can be large.
    #[inline]
    fn extend_much(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() >= MUCH && bytes.len() <= self.end - self.buffer.len() {
            reserve(self.buffer, bytes.len());
        }
        self.extend(bytes)
    }

    /// There is no room up to `end`.
    #[cold]
    fn overflow(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let rest = self.limit - self.sunk - (self.buffer.len() - self.start);
        if bytes.len() > rest {
            return Err(self.too_large());
        }
        if self.sink(bytes) {
            return Ok(());
        }
        self.take_back();
        self.extend_much(bytes)
    }

    /// Sends what is on the stage on, and these bytes behind it.
    fn sink(&mut self, bytes: &[u8]) -> bool {
        let staged = &self.buffer[self.start..];
        let Some(sink) = &mut self.sink else { return false };
        let is_sunk = sink.write(staged, bytes);
        if is_sunk {
            self.sunk += staged.len() + bytes.len();
            self.buffer.truncate(self.start);
            self.end = self.start + SHARED_FROM.min(self.limit - self.sunk);
        }
        is_sunk
    }

    /// Goes on without the sink.
    fn take_back(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let staged = self.buffer.split_off(self.start);
        sink.take_back(self.buffer);
        self.buffer.extend_from_slice(&staged);
        self.sunk = 0;
        self.end = self.start.saturating_add(self.limit);
    }

    #[cold]
    fn too_large(&self) -> CodecError {
        Fault::TooLarge { limit: self.limit }.into()
    }

    #[inline]
    fn varint(&mut self, number: u64) -> Result<(), CodecError> {
        match u8::try_from(number) {
            Ok(small @ ..0x80) => self.push(small),
            _ => self.long_varint(number),
        }
    }

    /// Puts the digits together in a word, as long as they fit, since to append them one by one takes longer.
    #[inline]
    fn long_varint(&mut self, number: u64) -> Result<(), CodecError> {
        if number >> 56 != 0 {
            return self.varint_128(number.into());
        }
        let (mut word, mut length, mut rest) = (0, 0, number);
        while rest >= 0x80 {
            word |= (rest & 0x7F | 0x80) << (8 * length);
            rest >>= 7;
            length += 1;
        }
        word |= rest << (8 * length);
        self.extend_by(word.to_le_bytes(), length + 1)
    }

    fn varint_128(&mut self, mut number: u128) -> Result<(), CodecError> {
        while number >= 0x80 {
            self.push(number.to_le_bytes()[0] | 0x80)?;
            number >>= 7;
        }
        self.push(number.to_le_bytes()[0])
    }

    #[inline]
    fn length(&mut self, length: usize) -> Result<(), CodecError> {
        self.varint(length as u64)
    }

    fn numbers<N: Packable>(&mut self, numbers: &[N]) -> Result<(), CodecError> {
        if let Some(kind) = N::KIND {
            self.extend(&PACKED)?;
            self.push(kind)?;
        }
        self.length(numbers.len())?;
        self.extend_much(number_bytes(numbers))
    }

    /// Encodes what `items` refers to if it is a sequence of numbers that is worth it.
    #[inline]
    fn if_numbers<I>(&mut self, items: &I) -> Option<Result<(), CodecError>> {
        macro_rules! try_each {
            ($($number:ty)*) => {$(
                if let Some(numbers) = as_numbers::<I, $number>(items) {
                    let is_packed = <$number>::KIND.is_none() || numbers.len() >= PACK_FROM;
                    return is_packed.then(|| self.numbers(numbers));
                }
            )*};
        }
        // Every other type is told by its size already.
        if size_of::<I>() == size_of::<&[u8]>() || size_of::<I>() == size_of::<&Vec<u8>>() {
            for_each_number!(try_each);
        }
        None
    }
}

/// How negative numbers are written.
macro_rules! zigzag {
    ($number:expr, $signed:ty => $unsigned:ty) => {
        ($number << 1 ^ $number >> (<$signed>::BITS - 1)).cast_unsigned()
    };
}

impl Serializer for &mut Encoder<'_> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.push(value.into())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), CodecError> {
        self.push(value.cast_unsigned())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), CodecError> {
        self.varint(zigzag!(value, i16 => u16).into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), CodecError> {
        self.varint(zigzag!(value, i32 => u32).into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), CodecError> {
        self.varint(zigzag!(value, i64 => u64))
    }

    fn serialize_i128(self, value: i128) -> Result<(), CodecError> {
        self.varint_128(zigzag!(value, i128 => u128))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), CodecError> {
        self.push(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), CodecError> {
        self.varint(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), CodecError> {
        self.varint(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), CodecError> {
        self.varint(value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), CodecError> {
        self.varint_128(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        self.extend(&value.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        self.extend(&value.to_le_bytes())
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.length(value.len())?;
        self.extend_much(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.push(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.push(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), CodecError> {
        self.varint(index.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.varint(index.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, CodecError> {
        let unknown = || Fault::Postcard(postcard::Error::SerializeSeqLengthUnknown);
        self.length(length.ok_or_else(unknown)?)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CodecError> {
        self.varint(index.into())?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, CodecError> {
        self.serialize_seq(length)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, CodecError> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, CodecError> {
        self.varint(index.into())?;
        Ok(self)
    }

    fn collect_seq<I>(self, items: I) -> Result<(), CodecError>
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some(done) = self.if_numbers(&items) {
            return done;
        }
        let items = items.into_iter();
        let length = match items.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        self.serialize_seq(length)?;
        for item in items {
            item.serialize(&mut *self)?;
        }
        Ok(())
    }
}

/// What has parts.
macro_rules! parts {
    ($($trait:ident: $($method:ident($($name:ty)?)),*;)*) => {$(
        impl ser::$trait for &mut Encoder<'_> {
            type Ok = ();
            type Error = CodecError;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_: $name,)?
                part: &T,
            ) -> Result<(), CodecError> {
                part.serialize(&mut **self)
            })*

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}
