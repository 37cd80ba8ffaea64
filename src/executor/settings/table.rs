//! Tables of a file: values with names, each of which is there once at most.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What is read field by field.
pub(super) trait Table: Default {
    const NAME: &'static str;
    const EXPECTED: &'static str;
    /// Those of features that are not there, too: who reads a part of a larger table must not leave
    /// them out.
    const FIELDS: &'static [&'static str];

    fn read<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error>;

    /// What is wrong with a field that cannot be read.
    fn unknown(name: &str) -> String {
        if Self::FIELDS.contains(&name) {
            return format!("this program was built without the feature {name} of procpool");
        }
        let known = Self::FIELDS.join(", ");
        format!("no such setting; there are {known}")
    }
}

/// Says of a structure whose fields are all options how each is read, and what its value then is.
macro_rules! table {
    (
        $table:ident as $name_in_file:literal, $expected:literal;
        $($(#[$condition:meta])* $name:ident: $read:ty => $value:expr),+ $(,)?
    ) => {
        impl $crate::executor::settings::table::Table for $table {
            const NAME: &'static str = $name_in_file;
            const EXPECTED: &'static str = $expected;
            const FIELDS: &'static [&'static str] = &[$(stringify!($name)),+];

            fn read<'de, M: ::serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut M,
            ) -> Result<(), M::Error> {
                use $crate::executor::settings::table::{Field, Refused};
                match name {
                    $($(#[$condition])* stringify!($name) if self.$name.is_some() => {
                        map.next_value_seed(Refused("it is there twice".to_owned()))
                    }
                    $(#[$condition])* stringify!($name) => {
                        self.$name = map.next_value_seed(Field::<$read, _>::new($value))?;
                        Ok(())
                    })+
                    _ => map.next_value_seed(Refused(Self::unknown(name))),
                }
            }
        }
    };
}

pub(super) use table;

// Whatever is wrong is told while the value is read, so that a format can say where it stands.

/// A value and what it means.
pub(super) struct Field<R, F>(F, PhantomData<R>);

impl<R, F> Field<R, F> {
    pub(super) fn new(meaning: F) -> Self {
        Self(meaning, PhantomData)
    }
}

impl<'de, R, V, F> DeserializeSeed<'de> for Field<R, F>
where
    R: Deserialize<'de>,
    F: FnOnce(R) -> Result<V, String>,
{
    type Value = Option<V>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<V>, D::Error> {
        let read = Option::<R>::deserialize(from)?;
        read.map(self.0).transpose().map_err(Error::custom)
    }
}

/// A value that must not be there, and why.
pub(super) struct Refused(pub(super) String);

impl<'de> DeserializeSeed<'de> for Refused {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(Error::custom(self.0))
    }
}

/// Some formats name the field themselves, and the place where it is. Errors of others get the name
/// here.
pub(super) fn named<E: Error>(error: E, name: &str) -> E {
    let text = error.to_string();
    let is_named = text.match_indices(name).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && behind.starts_with(['`', '"', '.', ':'])
    });
    if is_named { error } else { E::custom(format_args!("{name}: {text}")) }
}

pub(super) fn read_table<'de, T: Table, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    read_table_as(from, Ok)
}

/// What a whole table means. If it means nothing, a format can say where the table stands.
pub(super) fn read_table_as<'de, T: Table, V, D: Deserializer<'de>>(
    from: D,
    meaning: fn(T) -> Result<V, String>,
) -> Result<V, D::Error> {
    from.deserialize_struct(T::NAME, T::FIELDS, TableVisitor(meaning))
}

struct TableVisitor<T, V>(fn(T) -> Result<V, String>);

impl<'de, T: Table, V> Visitor<'de> for TableVisitor<T, V> {
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<V, M::Error> {
        let mut table = T::default();
        while let Some(name) = map.next_key::<String>()? {
            table.read(&name, &mut map).map_err(|error| named(error, &name))?;
        }
        self.0(table).map_err(Error::custom)
    }
}
