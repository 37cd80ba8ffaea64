//! Values to bytes.

use std::net::SocketAddrV6;

use bytemuck::{Pod, cast_slice};
use serde::{Serialize, Serializer, ser};

use super::super::address;
use super::super::depth::Depth;
use super::super::error::{CodecError, Fault, Lack, Step};
use super::super::named::{self, NAMED};
use super::super::number::{
    Number, PACK_FROM, PACKED, for_each_array, for_each_number, may_be_numbers, zigzag,
};
use super::super::writer::Writer;
use crate::sys::numbers::{as_numbers, peek};

/// What a name of shared memory is known by. It is asked for what it names only if a value is
/// written for another process.
pub(crate) const IN_SHARED_MEMORY: &str = "procpool::SharedSlice";

/// By so many elements the length of a sequence is estimated.
const SAMPLE: usize = 64;

/// To write elements that are larger takes longer than to find room for them.
const LARGE_ELEMENT: usize = 256;

/// Writes values in the compact form.
pub(in crate::codec) struct Encoder<'a> {
    writer: Writer<'a>,
    depth: Depth,
    /// Leaves out what a sampler has no bytes for.
    is_rehearsal: bool,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(in crate::codec) fn new(writer: Writer<'a>) -> Self {
        Self { writer, depth: Depth::new(), is_rehearsal: false }
    }

    pub(in crate::codec) fn for_rehearsal(writer: Writer<'a>) -> Self {
        Self { is_rehearsal: true, ..Self::new(writer) }
    }

    pub(in crate::codec) fn writer(&mut self) -> &mut Writer<'a> {
        &mut self.writer
    }

    /// Makes room for the elements of a long sequence that are left, by what the first ones have
    /// taken.
    #[cold]
    #[inline(never)]
    fn reserve_rest(&mut self, taken: usize, left: usize) {
        let each = taken.div_ceil(SAMPLE).min(LARGE_ELEMENT);
        self.writer.reserve(each.saturating_mul(left));
    }

    /// Encodes a value or a part of one.
    #[inline]
    pub(in crate::codec) fn part<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), CodecError> {
        if let Some(address) = peek::<T, SocketAddrV6>(value) {
            return address::parts(address)?.serialize(self);
        }
        value.serialize(self)
    }

    /// A level of its own.
    #[inline]
    fn content<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.depth.check()?;
        self.part(value).map_err(CodecError::in_content)
    }

    fn numbers<N: Number>(&mut self, numbers: &[N]) -> Result<(), CodecError> {
        if !N::IS_FIXED {
            self.writer.extend(&PACKED)?;
            self.writer.push(N::KIND)?;
        }
        self.as_in_memory(numbers)
    }

    fn as_in_memory<N: Pod>(&mut self, numbers: &[N]) -> Result<(), CodecError> {
        self.writer.length(numbers.len())?;
        self.writer.extend(cast_slice(numbers))
    }

    /// Encodes what `items` refers to if it is a sequence of numbers that is worth it.
    #[inline]
    fn if_numbers<I>(&mut self, items: &I) -> Option<Result<(), CodecError>> {
        macro_rules! try_each {
            ($($number:ty)*) => {$(
                if let Some(numbers) = as_numbers::<I, $number>(items) {
                    let is_packed = <$number>::IS_FIXED || numbers.len() >= PACK_FROM;
                    return is_packed.then(|| self.numbers(numbers));
                }
            )*};
        }
        macro_rules! try_each_array {
            ($($array:ty)*) => {$(
                if let Some(arrays) = as_numbers::<I, $array>(items) {
                    return Some(self.as_in_memory(arrays));
                }
            )*};
        }
        if may_be_numbers::<I>() {
            for_each_number!(try_each);
            for_each_array!(try_each_array);
        }
        None
    }
}

impl<'b, 'a> Serializer for &'b mut Encoder<'a> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Counted<'b, 'a>;
    type SerializeTuple = Places<'b, 'a>;
    type SerializeTupleStruct = Places<'b, 'a>;
    type SerializeTupleVariant = Places<'b, 'a>;
    type SerializeMap = Counted<'b, 'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.writer.push(value.into())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), CodecError> {
        self.writer.push(value.cast_unsigned())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), CodecError> {
        self.writer.varint(zigzag!(value, i16).into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), CodecError> {
        self.writer.varint(zigzag!(value, i32).into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), CodecError> {
        self.writer.varint(zigzag!(value, i64))
    }

    fn serialize_i128(self, value: i128) -> Result<(), CodecError> {
        self.writer.varint_128(zigzag!(value, i128))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), CodecError> {
        self.writer.push(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), CodecError> {
        self.writer.varint(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), CodecError> {
        self.writer.varint(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), CodecError> {
        self.writer.varint(value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), CodecError> {
        self.writer.varint_128(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        self.writer.extend(&value.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        self.writer.extend(&value.to_le_bytes())
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
        self.writer.length(value.len())?;
        self.writer.extend(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.writer.push(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.writer.push(1)?;
        self.content(value)
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
        self.writer.varint(index.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        if name == NAMED {
            return if self.is_rehearsal {
                Ok(())
            } else {
                named::encode_in(&mut self.writer, value)
            };
        }
        if name == IN_SHARED_MEMORY && self.is_rehearsal {
            return Ok(());
        }
        self.part(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.writer.varint(index.into())?;
        self.content(value)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Counted<'b, 'a>, CodecError> {
        self.depth.check()?;
        let length = length.ok_or(Fault::NeedsNames(Lack::Length))?;
        self.writer.length(length)?;
        Ok(Counted { encoder: self, length, at: 0 })
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Places<'b, 'a>, CodecError> {
        self.depth.check()?;
        Ok(Places { encoder: self, at: 0 })
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Places<'b, 'a>, CodecError> {
        self.serialize_tuple(length)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        length: usize,
    ) -> Result<Places<'b, 'a>, CodecError> {
        self.writer.varint(index.into())?;
        self.serialize_tuple(length)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Counted<'b, 'a>, CodecError> {
        self.serialize_seq(length)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, CodecError> {
        self.depth.check()?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        _: &'static str,
        length: usize,
    ) -> Result<Self, CodecError> {
        self.writer.varint(index.into())?;
        self.serialize_struct(name, length)
    }

    fn collect_seq<I>(self, items: I) -> Result<(), CodecError>
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some(done) = self.if_numbers(&items) {
            return done;
        }
        let mut items = items.into_iter();
        let (least, most) = items.size_hint();
        let length = most.filter(|most| *most == least);
        let mut sequence = self.serialize_seq(length)?;
        if let Some(left @ 1..) = length.and_then(|length| length.checked_sub(SAMPLE)) {
            let before = sequence.encoder.writer.written();
            for item in items.by_ref().take(SAMPLE) {
                ser::SerializeSeq::serialize_element(&mut sequence, &item)?;
            }
            let taken = sequence.encoder.writer.written() - before;
            sequence.encoder.reserve_rest(taken, left);
        }
        for item in items {
            ser::SerializeSeq::serialize_element(&mut sequence, &item)?;
        }
        ser::SerializeSeq::end(sequence)
    }
}

/// A sequence or a map, whose length was written before.
pub(in crate::codec) struct Counted<'b, 'a> {
    encoder: &'b mut Encoder<'a>,
    length: usize,
    at: usize,
}

impl Counted<'_, '_> {
    #[inline]
    fn end(self) -> Result<(), CodecError> {
        if self.at == self.length { Ok(()) } else { Err(Fault::Miscounted.into()) }
    }
}

impl ser::SerializeSeq for Counted<'_, '_> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        let at = self.at;
        self.at += 1;
        self.encoder.part(value).map_err(|error| error.in_element(at))
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        Self::end(self)
    }
}

impl ser::SerializeMap for Counted<'_, '_> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.at += 1;
        self.encoder.part(key).map_err(|error| error.inside(Step::Key))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.encoder.part(value).map_err(|error| error.inside(Step::Value))
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        Self::end(self)
    }
}

/// A tuple, whose parts have no names.
pub(in crate::codec) struct Places<'b, 'a> {
    encoder: &'b mut Encoder<'a>,
    at: usize,
}

impl Places<'_, '_> {
    #[inline]
    fn place<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        address::check_place(value)?;
        let at = self.at;
        self.at += 1;
        self.encoder.part(value).map_err(|error| error.in_element(at))
    }
}

macro_rules! places {
    ($($trait:ident: $method:ident;)*) => {$(
        impl ser::$trait for Places<'_, '_> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.place(value)
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}

places! {
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for &mut Encoder<'_> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), CodecError> {
                self.part(value).map_err(|error| error.in_field(name))
            }

            /// What is not there would be taken for what comes next.
            #[cold]
            fn skip_field(&mut self, name: &'static str) -> Result<(), CodecError> {
                Err(Fault::NeedsNames(Lack::Skipped(name)).into())
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }
