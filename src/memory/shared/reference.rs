//! How shared memory is named in a value.

use std::fmt;

use serde::de::Visitor;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::extent::Extent;
use super::memory::Name;
use crate::codec::IN_SHARED_MEMORY;

/// Memory, and the part of it.
pub(super) type Reference = (Name, Extent);

/// Writes what `name` says. It is asked only if the value is written for another process.
pub(super) fn serialize_reference<S: Serializer>(
    serializer: S,
    name: impl Fn() -> Result<Reference, &'static str>,
) -> Result<S::Ok, S::Error> {
    struct LazyReference<F>(F);

    impl<F: Fn() -> Result<Reference, &'static str>> Serialize for LazyReference<F> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (self.0)().map_err(S::Error::custom)?.serialize(serializer)
        }
    }

    serializer.serialize_newtype_struct(IN_SHARED_MEMORY, &LazyReference(name))
}

/// Reads a name. `None` stands for no memory at all, which is what a type is tried out with.
pub(super) fn deserialize_reference<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Reference>, D::Error> {
    struct ReferenceVisitor;

    impl<'de> Visitor<'de> for ReferenceVisitor {
        type Value = Option<Reference>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of shared memory")
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Self::Value, D::Error> {
            Reference::deserialize(deserializer).map(Some)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_newtype_struct(IN_SHARED_MEMORY, ReferenceVisitor)
}
