//! What comes next in a value: a tag, and what belongs to it but the parts of what it begins.

use serde::de::{Error, Unexpected, Visitor};

use super::super::depth::Depth;
use super::super::error::{CodecError, Fault};
use super::super::packed::Packed;
use super::super::reader::Reader;
use super::names::ReadNames;
use super::tag;

/// A value without its parts.
#[derive(Clone, Copy)]
pub(super) enum Token<'de> {
    None,
    Some,
    Unit,
    Bool(bool),
    Unsigned(u8, u64),
    Signed(u8, i64),
    U128(u128),
    I128(i128),
    F32(f32),
    F64(f64),
    Char(char),
    Str(&'de str),
    Bytes(&'de [u8]),
    /// `None`: up to its end.
    Seq(Option<usize>),
    Packed(Packed<'de>),
    Map(Option<usize>),
    Struct,
    Newtype,
    /// What follows, to whoever asks.
    Private,
    UnitVariant(&'de str),
    NewtypeVariant(&'de str),
    TupleVariant(&'de str, usize),
    StructVariant(&'de str),
}

/// Takes values off the front of some bytes.
pub(super) struct Decoder<'de> {
    pub(super) reader: Reader<'de>,
    pub(super) names: ReadNames<'de>,
    pub(super) is_readable: bool,
    pub(super) depth: Depth,
    /// How many levels may still be read into memory; see `depth`.
    pub(super) buffered: Option<usize>,
}

#[cold]
pub(super) fn malformed() -> CodecError {
    Fault::Malformed.into()
}

impl<'de> Decoder<'de> {
    pub(super) fn new(reader: Reader<'de>, is_readable: bool) -> Self {
        let depth = Depth::new();
        Self { reader, names: ReadNames::default(), is_readable, depth, buffered: None }
    }

    /// Takes the mark that ends a sequence or a map, if it is next.
    #[inline]
    pub(super) fn take_end(&mut self) -> bool {
        self.reader.take_prefix(&[tag::END])
    }

    /// Whether so many more elements can be there, each of which takes a byte at least.
    pub(super) fn may_have(&self, count: usize) -> bool {
        count <= self.reader.bytes.len()
    }

    /// The next name of a structure; `None` at its end.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Option<&'de str>, CodecError> {
        match self.reader.varint::<64>()? {
            tag::NO_NAME => Ok(None),
            tag::NEW_NAME => self.new_name().map(Some),
            old => {
                let number = usize::try_from(old - tag::OLD_NAME).unwrap_or(usize::MAX);
                self.names.get(number).map(Some).ok_or_else(malformed)
            }
        }
    }

    fn new_name(&mut self) -> Result<&'de str, CodecError> {
        let name = self.reader.text_with_length()?;
        self.names.push(name);
        Ok(name)
    }

    /// The name of a variant.
    fn variant(&mut self) -> Result<&'de str, CodecError> {
        self.name()?.ok_or_else(malformed)
    }

    /// The number behind a tag of 16 to 64 bits, if it has no more.
    #[inline]
    pub(super) fn unsigned(&mut self, tag: u8) -> Result<u64, CodecError> {
        let bits = 8 << ((tag - tag::U8) % 5); // U8, U16, U32, U64, U128, and the same with a sign
        let number = self.reader.varint::<64>()?;
        if bits < u64::BITS && number >> bits != 0 { Err(malformed()) } else { Ok(number) }
    }

    /// The same with a sign.
    #[inline]
    pub(super) fn signed(&mut self, tag: u8) -> Result<i64, CodecError> {
        let number = self.unsigned(tag)?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    #[inline]
    pub(super) fn token(&mut self) -> Result<Token<'de>, CodecError> {
        match self.reader.byte()? {
            small @ tag::SMALL.. => Ok(Token::Unsigned(tag::U64, (small - tag::SMALL).into())),
            short @ tag::SHORT_STR.. => {
                self.reader.text((short - tag::SHORT_STR).into()).map(Token::Str)
            }
            tag => self.long_token(tag),
        }
    }

    #[inline]
    fn long_token(&mut self, tag: u8) -> Result<Token<'de>, CodecError> {
        Ok(match tag {
            tag::NONE => Token::None,
            tag::SOME => Token::Some,
            tag::UNIT => Token::Unit,
            tag::FALSE => Token::Bool(false),
            tag::TRUE => Token::Bool(true),
            tag::U8 => Token::Unsigned(tag, self.reader.byte()?.into()),
            tag::I8 => Token::Signed(tag, self.reader.byte()?.cast_signed().into()),
            tag::U16 | tag::U32 | tag::U64 => Token::Unsigned(tag, self.unsigned(tag)?),
            tag::I16 | tag::I32 | tag::I64 => Token::Signed(tag, self.signed(tag)?),
            tag::U128 => Token::U128(self.reader.varint_128()?),
            tag::I128 => {
                let number = self.reader.varint_128()?;
                Token::I128((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
            }
            tag::F32 => Token::F32(f32::from_le_bytes(self.reader.array()?)),
            tag::F64 => Token::F64(f64::from_le_bytes(self.reader.array()?)),
            tag::CHAR => {
                let mut chars = self.reader.text_with_length()?.chars();
                match (chars.next(), chars.next()) {
                    (Some(char), None) => Token::Char(char),
                    _ => return Err(malformed()),
                }
            }
            tag::STR => Token::Str(self.reader.text_with_length()?),
            tag::BYTES => Token::Bytes(self.reader.take_with_length()?),
            tag::SEQ | tag::TUPLE => Token::Seq(Some(self.reader.length()?)),
            tag::OPEN_SEQ => Token::Seq(None),
            tag::PACKED => Token::Packed(Packed::take(&mut self.reader, true)?),
            tag::MAP => Token::Map(Some(self.reader.length()?)),
            tag::OPEN_MAP => Token::Map(None),
            tag::STRUCT => Token::Struct,
            tag::NEWTYPE => Token::Newtype,
            tag::PRIVATE => Token::Private,
            tag::UNIT_VARIANT => Token::UnitVariant(self.variant()?),
            tag::NEWTYPE_VARIANT => Token::NewtypeVariant(self.variant()?),
            tag::TUPLE_VARIANT => Token::TupleVariant(self.variant()?, self.reader.length()?),
            tag::STRUCT_VARIANT => Token::StructVariant(self.variant()?),
            _ => return Err(malformed()),
        })
    }

    #[cold]
    pub(super) fn unexpected<V: Visitor<'de>>(token: Token<'de>, visitor: &V) -> CodecError {
        let unexpected = match token {
            Token::None => Unexpected::Other("`None`"),
            Token::Some => Unexpected::Option,
            Token::Unit => Unexpected::Unit,
            Token::Bool(value) => Unexpected::Bool(value),
            Token::Unsigned(_, number) => Unexpected::Unsigned(number),
            Token::Signed(_, number) => Unexpected::Signed(number),
            Token::U128(_) => Unexpected::Other("an integer of 128 bits"),
            Token::I128(_) => Unexpected::Other("a signed integer of 128 bits"),
            Token::F32(number) => Unexpected::Float(number.into()),
            Token::F64(number) => Unexpected::Float(number),
            Token::Char(char) => Unexpected::Char(char),
            Token::Str(text) => Unexpected::Str(text),
            Token::Bytes(bytes) => Unexpected::Bytes(bytes),
            Token::Seq(_) | Token::Packed(_) => Unexpected::Seq,
            Token::Map(_) | Token::Struct => Unexpected::Map,
            Token::Newtype | Token::Private => Unexpected::NewtypeStruct,
            Token::UnitVariant(_) => Unexpected::UnitVariant,
            Token::NewtypeVariant(_) => Unexpected::NewtypeVariant,
            Token::TupleVariant(..) => Unexpected::TupleVariant,
            Token::StructVariant(_) => Unexpected::StructVariant,
        };
        Error::invalid_type(unexpected, visitor)
    }
}
