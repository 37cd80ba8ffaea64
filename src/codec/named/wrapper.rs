//! A value that is to be sent in the named form, whatever it is a part of.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the encoder and the decoder know [`Named`] by.
pub(in crate::codec) const NAMED: &str = "procpool::Named";

/// A value that is sent in the named form, with the names of its fields and variants.
///
/// procpool finds out by itself which types need names, so this is for those few where it does not;
/// see [the guide](crate::guide::values). To anything else that serializes it, it is the value
/// itself.
///
/// ```
/// use procpool::Named;
///
/// fn count(document: Named<serde_json::Value>) -> usize {
///     document.0.as_object().map_or(0, serde_json::Map::len)
/// }
///
/// procpool::register!(count);
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Named<T>(pub T);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAMED, &self.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamedVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value in the named form")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Named<T>, D::Error> {
                T::deserialize(deserializer).map(Named)
            }
        }

        deserializer.deserialize_newtype_struct(NAMED, NamedVisitor(PhantomData))
    }
}

impl<T> From<T> for Named<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}
