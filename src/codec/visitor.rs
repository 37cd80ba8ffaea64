//! Who asks for a value.
//!
//! A visitor is all that a deserializer sees of the type that is wanted, and those of serde are
//! private. So they are asked for: a type that is deserialized here shows the visitor that it has
//! made.

use std::any::TypeId;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::sys::numbers::type_id;

/// The visitor that `Vec<N>` makes.
#[inline]
pub(super) fn visitor_of_numbers<N: Deserialize<'static>>() -> TypeId {
    Vec::<N>::deserialize(Nothing).map_or_else(|visitor| visitor.0, |_| TypeId::of::<()>())
}

/// The visitor that `Bytes` makes.
#[inline]
pub(super) fn visitor_of_bytes() -> TypeId {
    Bytes::deserialize(Nothing).map_or_else(|visitor| visitor.0, |_| TypeId::of::<()>())
}

/// The visitor that what is read into memory first makes: untagged and internally tagged enums, and
/// flattened fields.
#[inline]
pub(super) fn visitor_of_buffer() -> TypeId {
    /// No type can be named that is all of it, but this asks for it.
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Buffered {
        Unit(()),
    }
    Buffered::deserialize(Nothing).map_or_else(|visitor| visitor.0, |_| TypeId::of::<()>())
}

/// Deserializes nothing, and fails with the visitor.
struct Nothing;

/// The type of a visitor.
#[derive(Debug)]
struct Seen(TypeId);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Seen {}

impl serde::de::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(TypeId::of::<()>())
    }
}

impl<'de> Deserializer<'de> for Nothing {
    type Error = Seen;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(type_id::<V>()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_visitor_of_its_own() {
        let none = TypeId::of::<()>();
        let all =
            [visitor_of_numbers::<u8>(), visitor_of_numbers::<f64>(), visitor_of_bytes(), none];
        for (index, visitor) in all.iter().enumerate() {
            assert!(!all[..index].contains(visitor), "{index}");
        }
        assert_eq!(visitor_of_numbers::<u8>(), all[0]);
    }
}
