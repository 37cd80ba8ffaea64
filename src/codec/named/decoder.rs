//! Bytes to values.

use serde::Deserializer;
use serde::de::Visitor;

use super::super::error::{CodecError, Fault};
use super::super::number::{show_signed, show_unsigned};
use super::super::packed::Packed;
use super::super::visitor::visitor_of_buffer;
use super::access::{ElementReader, FieldReader, VariantReader};
use super::tag;
use super::token::{Decoder, Token};
use super::wrapper::NAMED;
use crate::sys::numbers::type_id;

impl<'de> Decoder<'de> {
    /// Shows the elements of a sequence; all of them must be taken.
    pub(super) fn show_elements<V: Visitor<'de>>(
        &mut self,
        length: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        let mut elements = ElementReader::new(self, length);
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    pub(super) fn show_entries<V: Visitor<'de>>(
        &mut self,
        length: Option<usize>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        let mut elements = ElementReader::new(self, length);
        let value = visitor.visit_map(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    pub(super) fn show_fields<V: Visitor<'de>>(
        &mut self,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        let mut fields = FieldReader::new(self);
        let value = visitor.visit_map(&mut fields)?;
        fields.finish()?;
        Ok(value)
    }

    fn show_some<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        visitor.visit_some(self).map_err(CodecError::in_content)
    }

    fn show_newtype<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        visitor.visit_newtype_struct(self).map_err(CodecError::in_content)
    }

    /// Shows a variant to who does not ask for an enum as JSON has it: its name, or a map with that
    /// as its only key.
    fn show_variant<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        match token {
            Token::UnitVariant(name) => visitor.visit_borrowed_str(name),
            token => {
                let mut variant = VariantReader::new(self, token);
                let value = visitor.visit_map(&mut variant)?;
                variant.finish()?;
                Ok(value)
            }
        }
    }

    /// Shows any value as what it is.
    #[inline]
    fn show<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        match token {
            Token::None => visitor.visit_none(),
            Token::Some => self.show_some(visitor),
            Token::Unit => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Unsigned(tag, number) => show_unsigned(tag, number, visitor),
            Token::Signed(tag, number) => show_signed(tag, number, visitor),
            Token::U128(number) => visitor.visit_u128(number),
            Token::I128(number) => visitor.visit_i128(number),
            Token::F32(number) => visitor.visit_f32(number),
            Token::F64(number) => visitor.visit_f64(number),
            Token::Char(char) => visitor.visit_char(char),
            Token::Str(text) => visitor.visit_borrowed_str(text),
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Token::Seq(length) => self.show_elements(length, visitor),
            Token::Packed(packed) => packed.show(visitor),
            Token::Map(length) => self.show_entries(length, visitor),
            Token::Struct => self.show_fields(visitor),
            Token::Newtype => self.show_newtype_as_any(visitor),
            Token::Private => self.show_private(visitor),
            Token::UnitVariant(_)
            | Token::NewtypeVariant(_)
            | Token::TupleVariant(..)
            | Token::StructVariant(_) => self.show_variant(token, visitor),
        }
    }

    /// Who asks for anything is shown what is in the newtype, as in JSON.
    fn show_newtype_as_any<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        let token = self.token()?;
        self.show(token, visitor).map_err(CodecError::in_content)
    }

    /// As [`Self::show`], for who reads it into memory and from there.
    fn show_to_buffer<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let before = self.buffered;
        let levels = before.map_or_else(|| self.depth.buffered_levels(), Ok)?;
        self.buffered = Some(levels.checked_sub(1).ok_or(Fault::TooDeepToBuffer)?);
        let value = self.show(token, visitor);
        self.buffered = before;
        value
    }

    /// Takes what says that there is a newtype or an option around what comes, for who does not ask
    /// for them.
    fn token_inside(&mut self) -> Result<Token<'de>, CodecError> {
        loop {
            match self.token()? {
                Token::Newtype | Token::Some | Token::Private => {}
                token => return Ok(token),
            }
        }
    }

    /// Whether this tag is next; it is taken then.
    #[inline]
    fn take_tag(&mut self, tag: u8) -> bool {
        self.reader.take_prefix(&[tag])
    }

    #[inline]
    fn show_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        match self.reader.bytes {
            [tag::F64, rest @ ..] if rest.len() >= 8 => {
                self.reader.bytes = rest;
                visitor.visit_f64(f64::from_le_bytes(self.reader.array()?))
            }
            [tag::F32, rest @ ..] if rest.len() >= 4 => {
                self.reader.bytes = rest;
                visitor.visit_f32(f32::from_le_bytes(self.reader.array()?))
            }
            [small @ tag::SMALL..=u8::MAX, rest @ ..] => {
                self.reader.bytes = rest;
                visitor.visit_u64((small - tag::SMALL).into())
            }
            [tag::U64, rest @ ..] => {
                self.reader.bytes = rest;
                visitor.visit_u64(self.reader.varint::<64>()?)
            }
            _ => self.show_other_number(visitor),
        }
    }

    fn show_other_number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        match self.reader.bytes {
            [tag @ (tag::U16 | tag::U32), rest @ ..] => {
                self.reader.bytes = rest;
                return visitor.visit_u64(self.unsigned(*tag)?);
            }
            [tag @ tag::I16..=tag::I64, rest @ ..] => {
                self.reader.bytes = rest;
                return visitor.visit_i64(self.signed(*tag)?);
            }
            _ => {}
        }
        match self.token_inside()? {
            Token::Unsigned(_, number) => visitor.visit_u64(number),
            Token::Signed(_, number) => visitor.visit_i64(number),
            Token::U128(number) => visitor.visit_u128(number),
            Token::I128(number) => visitor.visit_i128(number),
            Token::F32(number) => visitor.visit_f32(number),
            Token::F64(number) => visitor.visit_f64(number),
            token => Err(Self::unexpected(token, &visitor)),
        }
    }

    #[inline]
    fn show_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        if let [short @ tag::SHORT_STR..tag::SMALL, rest @ ..] = self.reader.bytes {
            self.reader.bytes = rest;
            return visitor.visit_borrowed_str(self.reader.text((short - tag::SHORT_STR).into())?);
        }
        self.show_other_text(visitor)
    }

    fn show_other_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        match self.token_inside()? {
            Token::Str(text) | Token::UnitVariant(text) => visitor.visit_borrowed_str(text),
            Token::Char(char) => visitor.visit_char(char),
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            token => Err(Self::unexpected(token, &visitor)),
        }
    }

    fn show_sequence<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        if self.take_tag(tag::TUPLE) || self.take_tag(tag::SEQ) {
            let length = self.reader.length()?;
            return self.show_elements(Some(length), visitor);
        }
        match self.token_inside()? {
            Token::Seq(length) => self.show_elements(length, visitor),
            Token::Packed(packed) => packed.show(visitor),
            Token::Bytes(bytes) => Packed::of_bytes(bytes).show(visitor),
            token => Err(Self::unexpected(token, &visitor)),
        }
    }

    fn show_map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        if self.take_tag(tag::STRUCT) {
            return self.show_fields(visitor);
        }
        match self.token_inside()? {
            Token::Struct => self.show_fields(visitor),
            Token::Map(length) => self.show_entries(length, visitor),
            Token::Seq(length) => self.show_elements(length, visitor),
            Token::Packed(packed) => packed.show(visitor),
            token @ (Token::NewtypeVariant(_)
            | Token::TupleVariant(..)
            | Token::StructVariant(_)) => self.show_variant(token, visitor),
            token => Err(Self::unexpected(token, &visitor)),
        }
    }

    /// Shows what some types of crates that know each other have for values that only they have.
    fn show_private<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        match self.token()? {
            Token::Newtype => visitor.visit_newtype_struct(self),
            token => visitor.visit_enum(VariantReader::new(self, token)),
        }
    }

    /// Whether a structure comes whose first field is called as said.
    fn begins_with_field(&self, name: &str) -> bool {
        let mut ahead = Decoder::new(self.reader, self.is_readable);
        ahead.names.clone_from(&self.names);
        matches!(ahead.token(), Ok(Token::Struct))
            && ahead.name().is_ok_and(|first| first == Some(name))
    }

    /// Leaves out a value, without recursion.
    fn skip(&mut self) -> Result<(), CodecError> {
        enum Level {
            Values(usize),
            ValuesToEnd,
            Fields,
        }
        let mut open = vec![Level::Values(1)];
        while let Some(last) = open.last_mut() {
            let goes_on = match last {
                Level::Values(left) => {
                    let goes_on = *left > 0;
                    *left = left.saturating_sub(1);
                    goes_on
                }
                Level::ValuesToEnd => !self.take_end(),
                Level::Fields => self.name()?.is_some(),
            };
            if !goes_on {
                open.pop();
                continue;
            }
            match self.token()? {
                Token::Some | Token::Newtype | Token::Private | Token::NewtypeVariant(_) => {
                    open.push(Level::Values(1));
                }
                Token::Seq(Some(count)) | Token::TupleVariant(_, count) => {
                    open.push(Level::Values(count));
                }
                Token::Map(Some(count)) => open.push(Level::Values(count.saturating_mul(2))),
                Token::Seq(None) | Token::Map(None) => open.push(Level::ValuesToEnd),
                Token::Struct | Token::StructVariant(_) => open.push(Level::Fields),
                _ => {}
            }
        }
        Ok(())
    }
}

macro_rules! forward {
    ($($method:ident => $to:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            self.$to(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.is_readable
    }

    forward! {
        deserialize_i8 => show_number;
        deserialize_i16 => show_number;
        deserialize_i32 => show_number;
        deserialize_i64 => show_number;
        deserialize_i128 => show_number;
        deserialize_u8 => show_number;
        deserialize_u16 => show_number;
        deserialize_u32 => show_number;
        deserialize_u64 => show_number;
        deserialize_u128 => show_number;
        deserialize_f32 => show_number;
        deserialize_f64 => show_number;
        deserialize_char => show_text;
        deserialize_str => show_text;
        deserialize_string => show_text;
        deserialize_seq => show_sequence;
        deserialize_map => show_map;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let token = self.token()?;
        if type_id::<V>() == visitor_of_buffer() {
            return self.show_to_buffer(token, visitor);
        }
        self.show(token, visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if self.take_tag(tag::TRUE) {
            return visitor.visit_bool(true);
        }
        match self.token_inside()? {
            Token::Bool(value) => visitor.visit_bool(value),
            token => Err(Decoder::unexpected(token, &visitor)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.token_inside()? {
            Token::Bytes(bytes) | Token::Packed(Packed { kind: tag::U8, bytes, .. }) => {
                match self.reader.share::<V>(bytes) {
                    Some(shared) => Ok(shared),
                    None => visitor.visit_borrowed_bytes(bytes),
                }
            }
            Token::Str(text) => visitor.visit_borrowed_str(text),
            Token::Seq(length) => self.show_elements(length, visitor),
            Token::Struct => self.show_fields(visitor),
            token => Err(Decoder::unexpected(token, &visitor)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if self.take_tag(tag::NONE) {
            return visitor.visit_none();
        }
        if self.take_tag(tag::UNIT) {
            return visitor.visit_unit();
        }
        // What was written without an option is there.
        self.take_tag(tag::SOME);
        self.show_some(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.token_inside()? {
            Token::Unit => visitor.visit_unit(),
            token => Err(Decoder::unexpected(token, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        if name == NAMED {
            return self.show_newtype(visitor);
        }
        // Some types of crates that know each other ask for a newtype where they have written a
        // structure.
        if name.starts_with('$') && self.begins_with_field(name) {
            return self.deserialize_any(visitor);
        }
        let inside = self.reader.bytes.strip_prefix(&[tag::PRIVATE]).unwrap_or(self.reader.bytes);
        self.reader.bytes = inside.strip_prefix(&[tag::NEWTYPE]).unwrap_or(self.reader.bytes);
        self.show_newtype(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.show_sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.show_sequence(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.show_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.depth.check()?;
        match self.token_inside()? {
            Token::Str(name) => {
                visitor.visit_enum(VariantReader::new(self, Token::UnitVariant(name)))
            }
            token @ (Token::UnitVariant(_)
            | Token::NewtypeVariant(_)
            | Token::TupleVariant(..)
            | Token::StructVariant(_)) => visitor.visit_enum(VariantReader::new(self, token)),
            // As JSON has it: a map from the name to the content.
            Token::Map(Some(1)) => match self.token()? {
                Token::Str(name) => {
                    visitor.visit_enum(VariantReader::new(self, Token::NewtypeVariant(name)))
                }
                token => Err(Decoder::unexpected(token, &visitor)),
            },
            token => Err(Decoder::unexpected(token, &visitor)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.token_inside()? {
            Token::Str(text) | Token::UnitVariant(text) => visitor.visit_borrowed_str(text),
            Token::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            token => self.show(token, visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.skip()?;
        visitor.visit_unit()
    }
}
