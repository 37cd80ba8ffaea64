//! The parts of values, one after the other.

use std::borrow::Cow;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::super::error::{CodecError, Step};
use super::token::{Decoder, Token, malformed};

/// The elements of a sequence, or the entries of a map.
pub(super) struct ElementReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    /// How many are left; `None` if the end is marked.
    left: Option<usize>,
    at: usize,
    is_over: bool,
}

impl<'a, 'de> ElementReader<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>, length: Option<usize>) -> Self {
        Self { decoder, left: length, at: 0, is_over: false }
    }

    #[inline]
    fn has_next(&mut self) -> bool {
        if let Some(left) = &mut self.left {
            let has_next = *left > 0;
            *left = left.saturating_sub(1);
            return has_next;
        }
        self.is_over = self.is_over || self.decoder.take_end();
        !self.is_over
    }

    /// Nobody has to have asked for the end, but all elements must have been taken.
    pub(super) fn finish(mut self) -> Result<(), CodecError> {
        if self.has_next() {
            return Err(Error::invalid_length(self.at + 1, &"fewer elements"));
        }
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut ElementReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        if !self.has_next() {
            return Ok(None);
        }
        self.at += 1;
        match seed.deserialize(&mut *self.decoder) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.in_element(self.at - 1)),
        }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.left.filter(|left| self.decoder.may_have(*left))
    }
}

impl<'de> MapAccess<'de> for &mut ElementReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        if !self.has_next() {
            return Ok(None);
        }
        self.at += 1;
        seed.deserialize(&mut *self.decoder).map(Some).map_err(|error| error.inside(Step::Key))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        seed.deserialize(&mut *self.decoder).map_err(|error| error.inside(Step::Value))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

/// The fields of a structure.
pub(super) struct FieldReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    name: &'de str,
    is_over: bool,
}

impl<'a, 'de> FieldReader<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>) -> Self {
        Self { decoder, name: "", is_over: false }
    }

    #[inline]
    fn next_name(&mut self) -> Result<Option<&'de str>, CodecError> {
        if self.is_over {
            return Ok(None);
        }
        let name = self.decoder.name()?;
        self.is_over = name.is_none();
        Ok(name)
    }

    pub(super) fn finish(mut self) -> Result<(), CodecError> {
        match self.next_name()? {
            None => Ok(()),
            Some(name) => Err(Error::unknown_field(name, &[])),
        }
    }
}

impl<'de> MapAccess<'de> for &mut FieldReader<'_, 'de> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        let Some(name) = self.next_name()? else { return Ok(None) };
        self.name = name;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        match seed.deserialize(&mut *self.decoder) {
            Ok(value) => Ok(value),
            Err(error) => Err(error.inside(Step::Field(Cow::Owned(self.name.to_owned())))),
        }
    }
}

/// A variant of an enum: as such, or as a map of one entry.
pub(super) struct VariantReader<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    token: Token<'de>,
    is_taken: bool,
}

impl<'a, 'de> VariantReader<'a, 'de> {
    pub(super) fn new(decoder: &'a mut Decoder<'de>, token: Token<'de>) -> Self {
        Self { decoder, token, is_taken: false }
    }

    fn name(&self) -> &'de str {
        match self.token {
            Token::UnitVariant(name)
            | Token::NewtypeVariant(name)
            | Token::TupleVariant(name, _)
            | Token::StructVariant(name) => name,
            _ => "",
        }
    }

    /// What it was shown to, as a map, has to have taken its only entry.
    pub(super) fn finish(self) -> Result<(), CodecError> {
        if self.is_taken { Ok(()) } else { Err(malformed()) }
    }

    fn unexpected(&self, expected: &'static str) -> CodecError {
        let unexpected = match self.token {
            Token::UnitVariant(_) => Unexpected::UnitVariant,
            Token::NewtypeVariant(_) => Unexpected::NewtypeVariant,
            Token::TupleVariant(..) => Unexpected::TupleVariant,
            _ => Unexpected::StructVariant,
        };
        Error::invalid_type(unexpected, &expected)
    }
}

impl<'de> MapAccess<'de> for &mut VariantReader<'_, 'de> {
    type Error = CodecError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        if self.is_taken {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(self.name())).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        self.is_taken = true;
        let token = match self.token {
            Token::TupleVariant(_, length) => Token::Seq(Some(length)),
            Token::StructVariant(_) => Token::Struct,
            _ => return seed.deserialize(&mut *self.decoder),
        };
        seed.deserialize(BegunValue { decoder: self.decoder, token })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(usize::from(!self.is_taken))
    }
}

impl<'de> EnumAccess<'de> for VariantReader<'_, 'de> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), CodecError> {
        let name: BorrowedStrDeserializer<'_, CodecError> =
            BorrowedStrDeserializer::new(self.name());
        let name = seed.deserialize(name)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for VariantReader<'_, 'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        match self.token {
            Token::UnitVariant(_) => Ok(()),
            Token::NewtypeVariant(_) => Deserialize::deserialize(self.decoder),
            _ => Err(self.unexpected("unit variant")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        match self.token {
            Token::NewtypeVariant(_) => {
                seed.deserialize(self.decoder).map_err(CodecError::in_content)
            }
            Token::TupleVariant(_, length) => seed
                .deserialize(BegunValue { decoder: self.decoder, token: Token::Seq(Some(length)) }),
            Token::StructVariant(_) => {
                seed.deserialize(BegunValue { decoder: self.decoder, token: Token::Struct })
            }
            _ => Err(self.unexpected("newtype variant")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        match self.token {
            Token::TupleVariant(_, length) => self.decoder.show_elements(Some(length), visitor),
            Token::NewtypeVariant(_) => self.decoder.deserialize_tuple(length, visitor),
            _ => Err(self.unexpected("tuple variant")),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        match self.token {
            Token::StructVariant(_) => self.decoder.show_fields(visitor),
            Token::NewtypeVariant(_) => self.decoder.deserialize_struct("", fields, visitor),
            _ => Err(self.unexpected("struct variant")),
        }
    }
}

/// A sequence or a structure of which all is known but its parts.
struct BegunValue<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    token: Token<'de>,
}

impl<'de> Deserializer<'de> for BegunValue<'_, 'de> {
    type Error = CodecError;

    fn is_human_readable(&self) -> bool {
        self.decoder.is_human_readable()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.token {
            Token::Seq(length) => self.decoder.show_elements(length, visitor),
            _ => self.decoder.show_fields(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
