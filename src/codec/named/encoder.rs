//! Values to bytes.

use std::any::type_name;
use std::net::{SocketAddr, SocketAddrV6};

use bytemuck::cast_slice;
use serde::{Serialize, Serializer, ser};

use super::super::address;
use super::super::depth::Depth;
use super::super::error::{CodecError, Fault, Step};
use super::super::number::{Number, for_each_number, may_be_numbers, zigzag};
use super::super::writer::Writer;
use super::names::Names;
use super::tag;
use super::wrapper::NAMED;
use crate::sys::numbers::{as_numbers, peek};

/// Writes values in the named form.
pub(super) struct Encoder<'b, 'a> {
    writer: &'b mut Writer<'a>,
    names: Names,
    is_readable: bool,
    depth: Depth,
}

impl<'b, 'a> Encoder<'b, 'a> {
    pub(super) fn new(writer: &'b mut Writer<'a>, is_readable: bool) -> Self {
        Self { writer, names: Names::new(), is_readable, depth: Depth::new() }
    }

    /// Encodes a value or a part of one.
    #[inline]
    pub(super) fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if let Some(address) = peek::<T, SocketAddrV6>(value) {
            if !self.is_readable {
                return address::parts(address)?.serialize(self);
            }
            address::check_flow(address)?;
        }
        if let Some(SocketAddr::V6(address)) = peek::<T, SocketAddr>(value) {
            address::check_flow(address)?;
        }
        value.serialize(self)
    }

    #[inline]
    fn content<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.depth.check()?;
        self.part(value).map_err(CodecError::in_content)
    }

    #[inline]
    fn tag(&mut self, tag: u8) -> Result<(), CodecError> {
        self.writer.push(tag)
    }

    /// A tag and a number.
    #[inline]
    fn tagged(&mut self, tag: u8, number: u64) -> Result<(), CodecError> {
        if let Ok(small @ ..0x80) = u8::try_from(number) {
            return self.writer.extend(&[tag, small]);
        }
        self.writer.push(tag)?;
        self.writer.varint(number)
    }

    #[inline]
    fn tagged_length(&mut self, tag: u8, length: usize) -> Result<(), CodecError> {
        self.tagged(tag, length as u64)
    }

    #[inline]
    fn bytes(&mut self, tag: u8, bytes: &[u8]) -> Result<(), CodecError> {
        self.tagged_length(tag, bytes.len())?;
        self.writer.extend(bytes)
    }

    #[inline]
    fn name(&mut self, name: &'static str) -> Result<(), CodecError> {
        match self.names.find(name) {
            Some(number) => self.writer.varint(tag::OLD_NAME + u64::from(number)),
            None => self.new_name(name),
        }
    }

    fn new_name(&mut self, name: &'static str) -> Result<(), CodecError> {
        #[expect(clippy::cast_possible_truncation, reason = "it is one byte")]
        self.tagged_length(tag::NEW_NAME as u8, name.len())?;
        self.writer.extend(name.as_bytes())
    }

    /// Marks what has no name that a user would give it: crates that know each other use such names
    /// for values that only they have.
    #[inline]
    fn private(&mut self, name: &'static str) -> Result<(), CodecError> {
        match name.as_bytes().first() {
            Some(b'_' | b'@') => self.tag(tag::PRIVATE),
            _ => Ok(()),
        }
    }

    fn variant(&mut self, tag: u8, of: &'static str, name: &'static str) -> Result<(), CodecError> {
        self.private(of)?;
        self.tag(tag)?;
        self.name(name)
    }

    /// Encodes what `items` refers to if it is a sequence of numbers.
    #[inline]
    fn if_numbers<I>(&mut self, items: &I) -> Option<Result<(), CodecError>> {
        macro_rules! try_each {
            ($($number:ty)*) => {$(
                if let Some(numbers) = as_numbers::<I, $number>(items) {
                    return Some(self.numbers(numbers));
                }
            )*};
        }
        if may_be_numbers::<I>() {
            for_each_number!(try_each);
        }
        None
    }

    fn numbers<N: Number>(&mut self, numbers: &[N]) -> Result<(), CodecError> {
        self.tag(tag::PACKED)?;
        self.tagged_length(N::KIND, numbers.len())?;
        self.writer.extend(cast_slice(numbers))
    }
}

/// Whether it is what `serde_yaml` and its successors have for a tag, in a map of one entry:
/// nothing but the type of that key tells such a map from any other.
fn is_tag_of_yaml<T: ?Sized>() -> bool {
    let name = type_name::<T>();
    let name = name.trim_start_matches('<'); // as in `<path::to::Type as Serialize>::serialize::…`
    name.starts_with("serde_yaml") && name.contains("::SerializeTag")
}

impl<'e, 'b, 'a> Serializer for &'e mut Encoder<'b, 'a> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = ElementWriter<'e, 'b, 'a>;
    type SerializeTuple = ElementWriter<'e, 'b, 'a>;
    type SerializeTupleStruct = ElementWriter<'e, 'b, 'a>;
    type SerializeTupleVariant = ElementWriter<'e, 'b, 'a>;
    type SerializeMap = ElementWriter<'e, 'b, 'a>;
    type SerializeStruct = FieldWriter<'e, 'b, 'a>;
    type SerializeStructVariant = FieldWriter<'e, 'b, 'a>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.is_readable
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.tag(if value { tag::TRUE } else { tag::FALSE })
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), CodecError> {
        self.writer.extend(&[tag::I8, value.cast_unsigned()])
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), CodecError> {
        self.tagged(tag::I16, zigzag!(value, i16).into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), CodecError> {
        self.tagged(tag::I32, zigzag!(value, i32).into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), CodecError> {
        self.tagged(tag::I64, zigzag!(value, i64))
    }

    fn serialize_i128(self, value: i128) -> Result<(), CodecError> {
        self.tag(tag::I128)?;
        self.writer.varint_128(zigzag!(value, i128))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), CodecError> {
        self.writer.extend(&[tag::U8, value])
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), CodecError> {
        self.tagged(tag::U16, value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), CodecError> {
        self.tagged(tag::U32, value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), CodecError> {
        match u8::try_from(value) {
            Ok(small @ ..0x80) => self.tag(tag::SMALL | small),
            _ => self.tagged(tag::U64, value),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), CodecError> {
        self.tag(tag::U128)?;
        self.writer.varint_128(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        let [a, b, c, d] = value.to_le_bytes();
        self.writer.extend(&[tag::F32, a, b, c, d])
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        let mut bytes = [tag::F64; 9];
        bytes[1..].copy_from_slice(&value.to_le_bytes());
        self.writer.extend(&bytes)
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.bytes(tag::CHAR, value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        if value.len() < tag::SHORT_STR_BELOW {
            #[expect(clippy::cast_possible_truncation, reason = "it is short")]
            self.tag(tag::SHORT_STR | value.len() as u8)?;
            return self.writer.extend(value.as_bytes());
        }
        self.bytes(tag::STR, value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.bytes(tag::BYTES, value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.tag(tag::NONE)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.tag(tag::SOME)?;
        self.content(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), CodecError> {
        self.tag(tag::UNIT)
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        self.tag(tag::UNIT)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CodecError> {
        self.variant(tag::UNIT_VARIANT, name, variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        if name != NAMED {
            self.private(name)?;
            self.tag(tag::NEWTYPE)?;
        }
        self.content(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.variant(tag::NEWTYPE_VARIANT, name, variant)?;
        self.content(value)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<ElementWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        match length {
            Some(length) => self.tagged_length(tag::SEQ, length)?,
            None => self.tag(tag::OPEN_SEQ)?,
        }
        Ok(ElementWriter { encoder: self, length, at: 0 })
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<ElementWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        self.tagged_length(tag::TUPLE, length)?;
        Ok(ElementWriter { encoder: self, length: Some(length), at: 0 })
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<ElementWriter<'e, 'b, 'a>, CodecError> {
        self.serialize_tuple(length)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ElementWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        self.variant(tag::TUPLE_VARIANT, name, variant)?;
        self.writer.length(length)?;
        Ok(ElementWriter { encoder: self, length: Some(length), at: 0 })
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<ElementWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        match length {
            Some(length) => self.tagged_length(tag::MAP, length)?,
            None => self.tag(tag::OPEN_MAP)?,
        }
        Ok(ElementWriter { encoder: self, length, at: 0 })
    }

    #[inline]
    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<FieldWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        self.tag(tag::STRUCT)?;
        Ok(FieldWriter { encoder: self })
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<FieldWriter<'e, 'b, 'a>, CodecError> {
        self.depth.check()?;
        self.variant(tag::STRUCT_VARIANT, name, variant)?;
        Ok(FieldWriter { encoder: self })
    }

    fn collect_seq<I>(self, items: I) -> Result<(), CodecError>
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some(done) = self.if_numbers(&items) {
            return done;
        }
        let items = items.into_iter();
        let (least, most) = items.size_hint();
        let length = most.filter(|most| *most == least);
        let mut sequence = self.serialize_seq(length)?;
        for item in items {
            ser::SerializeSeq::serialize_element(&mut sequence, &item)?;
        }
        ser::SerializeSeq::end(sequence)
    }
}

/// The parts of what has no names; their number was written before, if it was known.
pub(super) struct ElementWriter<'e, 'b, 'a> {
    encoder: &'e mut Encoder<'b, 'a>,
    length: Option<usize>,
    at: usize,
}

impl ElementWriter<'_, '_, '_> {
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        let at = self.at;
        self.at += 1;
        self.encoder.part(value).map_err(|error| error.in_element(at))
    }

    /// As [`Self::element`], of a tuple.
    #[inline]
    fn place<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        address::check_place(value)?;
        self.element(value)
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        match self.length {
            None => self.encoder.tag(tag::END),
            Some(length) if length == self.at => Ok(()),
            Some(_) => Err(Fault::Miscounted.into()),
        }
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident $part:ident;)*) => {$(
        impl ser::$trait for ElementWriter<'_, '_, '_> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.$part(value)
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                Self::end(self)
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element element;
    SerializeTuple: serialize_element place;
    SerializeTupleStruct: serialize_field place;
    SerializeTupleVariant: serialize_field place;
}

impl ser::SerializeMap for ElementWriter<'_, '_, '_> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.at += 1;
        if is_tag_of_yaml::<T>() {
            let text = "a value has a tag of YAML, which nothing but YAML keeps";
            return Err(Fault::Custom(text.to_owned()).into());
        }
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

/// The fields of a structure, as many as there are.
pub(super) struct FieldWriter<'e, 'b, 'a> {
    encoder: &'e mut Encoder<'b, 'a>,
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for FieldWriter<'_, '_, '_> {
            type Ok = ();
            type Error = CodecError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), CodecError> {
                self.encoder.name(name)?;
                let written = self.encoder.part(value);
                written.map_err(|error| error.in_field(name))
            }

            #[inline]
            fn end(self) -> Result<(), CodecError> {
                self.encoder.writer.varint(tag::NO_NAME)
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }
