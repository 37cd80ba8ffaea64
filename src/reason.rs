//! The text of a custom serde error, which postcard drops.
//!
//! `Error::custom("…")` becomes "Serde Serialization Error" or its counterpart in postcard, whose
//! errors have no room for a text. So after such an error, and only then, the value is encoded or
//! decoded once more, by a serializer or deserializer whose error keeps the text.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why `value` cannot be encoded; `None` if this time it can.
#[cold]
pub(crate) fn of_encoding<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    value.serialize(Nowhere).err().map(|reason| reason.0)
}

/// Why `bytes` cannot be decoded as a `T`; `None` if this time they can.
#[cold]
pub(crate) fn of_decoding<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    T::deserialize(&mut Source(bytes)).err().map(|reason| reason.0)
}

/// An error that keeps its text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

impl serde::ser::Error for Reason {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl serde::de::Error for Reason {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl From<postcard::Error> for Reason {
    fn from(error: postcard::Error) -> Self {
        Self(error.to_string())
    }
}

/// A serializer that goes through a value and produces nothing.
struct Nowhere;

/// Methods that cannot fail.
macro_rules! accept {
    ($ok:expr, $type:ty: $($method:ident($($arg:ty),*))*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$type, Reason> {
            Ok($ok)
        }
    )*};
}

impl Serializer for Nowhere {
    type Ok = ();
    type Error = Reason;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    accept! { (), ():
        serialize_bool(bool)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
        serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64)
        serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_none() serialize_unit() serialize_unit_struct(&'static str)
        serialize_unit_variant(&'static str, u32, &'static str)
    }

    accept! { Nowhere, Nowhere:
        serialize_seq(Option<usize>)
        serialize_tuple(usize)
        serialize_tuple_struct(&'static str, usize)
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
        serialize_map(Option<usize>)
        serialize_struct(&'static str, usize)
        serialize_struct_variant(&'static str, u32, &'static str, usize)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Reason> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Reason> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Reason> {
        value.serialize(self)
    }
}

/// What has parts: goes through each of them.
macro_rules! go_through {
    ($($trait:ident: $($method:ident($($name:ty)?)),*;)*) => {$(
        impl $trait for Nowhere {
            type Ok = ();
            type Error = Reason;

            $(fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_: $name,)?
                part: &T,
            ) -> Result<(), Reason> {
                part.serialize(Nowhere)
            })*

            fn end(self) -> Result<(), Reason> {
                Ok(())
            }
        }
    )*};
}

go_through! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

/// A deserializer of postcard's format. All but the structure is left to postcard.
struct Source<'de>(&'de [u8]);

impl<'de> Source<'de> {
    fn take<T: Deserialize<'de>>(&mut self) -> Result<T, Reason> {
        let (value, rest) = postcard::take_from_bytes(self.0)?;
        self.0 = rest;
        Ok(value)
    }
}

/// Methods that read something and show it to the visitor.
macro_rules! show {
    ($($method:ident($($arg:pat_param, $type:ty),*) |$source:ident, $visitor:ident| $shown:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($arg: $type,)*
            $visitor: V,
        ) -> Result<V::Value, Reason> {
            let $source = self;
            $shown
        }
    )*};
    ($($method:ident $visit:ident)*) => {
        show! { $($method() |source, visitor| visitor.$visit(source.take()?);)* }
    };
}

impl<'de> Deserializer<'de> for &mut Source<'de> {
    type Error = Reason;

    fn is_human_readable(&self) -> bool {
        false
    }

    show! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
        deserialize_char visit_char
        deserialize_str visit_borrowed_str deserialize_string visit_borrowed_str
        deserialize_bytes visit_borrowed_bytes deserialize_byte_buf visit_borrowed_bytes
    }

    show! {
        deserialize_option() |source, visitor| {
            if source.take()? { visitor.visit_some(source) } else { visitor.visit_none() }
        };
        deserialize_unit() |_source, visitor| visitor.visit_unit();
        deserialize_unit_struct(_, &'static str) |_source, visitor| visitor.visit_unit();
        deserialize_newtype_struct(_, &'static str) |source, visitor| {
            visitor.visit_newtype_struct(source)
        };
        deserialize_seq() |source, visitor| {
            let left = source.take()?;
            visitor.visit_seq(Parts { source, left })
        };
        deserialize_tuple(left, usize) |source, visitor| visitor.visit_seq(Parts { source, left });
        deserialize_tuple_struct(_, &'static str, left, usize) |source, visitor| {
            source.deserialize_tuple(left, visitor)
        };
        deserialize_map() |source, visitor| {
            let left = source.take()?;
            visitor.visit_map(Parts { source, left })
        };
        deserialize_struct(_, &'static str, fields, &'static [&'static str]) |source, visitor| {
            source.deserialize_tuple(fields.len(), visitor)
        };
        deserialize_enum(_, &'static str, _, &'static [&'static str]) |source, visitor| {
            visitor.visit_enum(source)
        };
        deserialize_any() |_source, _visitor| Err(postcard::Error::WontImplement.into());
    }

    serde::forward_to_deserialize_any! { identifier ignored_any }
}

/// The elements of a sequence, or the entries of a map.
struct Parts<'a, 'de> {
    source: &'a mut Source<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Reason;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Reason> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.source).map(Some)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
    type Error = Reason;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Reason> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reason> {
        seed.deserialize(&mut *self.source)
    }
}

impl<'de> EnumAccess<'de> for &mut Source<'de> {
    type Error = Reason;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Reason> {
        let index: U32Deserializer<Reason> = self.take::<u32>()?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Source<'de> {
    type Error = Reason;

    fn unit_variant(self) -> Result<(), Reason> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Reason> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Reason> {
        self.deserialize_tuple(left, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A number that is not to be 13 on either way.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Lucky(u8);

    impl Serialize for Lucky {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                13 => Err(serde::ser::Error::custom("13 is not to be encoded")),
                number => number.serialize(serializer),
            }
        }
    }

    impl<'de> Deserialize<'de> for Lucky {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u8::deserialize(deserializer)? {
                13 => Err(serde::de::Error::custom("13 is not to be decoded")),
                number => Ok(Self(number)),
            }
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype<T>(T);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Pair<T>(Unit, T);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Struct<T> {
        before: (),
        field: T,
    }

    /// Whatever serde knows that has parts.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape<T: Ord> {
        Empty,
        Bare(T),
        Optional(Option<T>),
        Sequence(Vec<T>),
        Tuple(u8, T),
        Array([T; 3]),
        Newtype(Newtype<T>),
        Pair(Pair<T>),
        Struct(Struct<T>),
        Fields { before: Option<T>, field: T },
        Key(BTreeMap<T, u8>),
        Value(BTreeMap<u8, T>),
    }

    fn shapes<T: Clone + Ord>(last: T, other: T) -> Vec<Shape<T>> {
        vec![
            Shape::Bare(last.clone()),
            Shape::Optional(Some(last.clone())),
            Shape::Sequence(vec![other.clone(), last.clone()]),
            Shape::Tuple(7, last.clone()),
            Shape::Array([other.clone(), other.clone(), last.clone()]),
            Shape::Newtype(Newtype(last.clone())),
            Shape::Pair(Pair(Unit, last.clone())),
            Shape::Struct(Struct { before: (), field: last.clone() }),
            Shape::Fields { before: None, field: last.clone() },
            Shape::Key([(other.clone(), 1), (last.clone(), 2)].into()),
            Shape::Value([(1, other), (2, last)].into()),
            Shape::Empty,
        ]
    }

    #[test]
    fn the_reason_is_found_wherever_it_is() {
        let raw = shapes(13_u8, 1);
        for (shape, raw) in shapes(Lucky(13), Lucky(1)).iter().zip(raw) {
            let bytes = postcard::to_stdvec(&raw).unwrap();
            let reasons = (of_encoding(shape), of_decoding::<Shape<Lucky>>(&bytes));
            if raw == Shape::Empty {
                assert_eq!(reasons, (None, None));
                continue;
            }
            let [encoded, decoded] =
                ["encoded", "decoded"].map(|it| format!("13 is not to be {it}"));
            assert_eq!(reasons, (Some(encoded), Some(decoded)), "{raw:?}");
        }
    }

    #[track_caller]
    fn assert_decoded_alike<T>(value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        let bytes = postcard::to_stdvec(value).unwrap();
        let mut source = Source(&bytes);
        assert_eq!(T::deserialize(&mut source).unwrap(), *value);
        assert!(source.0.is_empty());
        assert_eq!(of_encoding(value), None);
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            let error = postcard::take_from_bytes::<T>(cut).err().map(|error| error.to_string());
            assert_eq!(of_decoding::<T>(cut), error);
        }
    }

    #[test]
    fn values_are_decoded_as_by_postcard() {
        assert_decoded_alike(&shapes(Lucky(2), Lucky(1)));
        assert_decoded_alike(&(true, 'ß', "text".to_owned(), (), Unit));
        assert_decoded_alike(&(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN));
        assert_decoded_alike(&(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX));
        assert_decoded_alike(&(1.5_f32, -0.25_f64, usize::MAX, isize::MIN));
        assert_decoded_alike(&serde_bytes::ByteBuf::from([1, 2, 3]));
    }
}
