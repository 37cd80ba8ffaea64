//! Shows a type samples of what it asks for, and writes them down in the compact form.

use std::any::type_name;
use std::fmt::Display;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::{Deserializer, Serialize};

use super::super::compact::{Encoder, IN_SHARED_MEMORY};
use super::super::error::CodecError;
use super::super::named::NAMED;
use super::super::writer::Writer;
use super::plan::{SampleNumbers, SamplePlan};
use crate::sys::numbers::type_id;

/// Texts that types in texts are made of, and that they make of themselves.
const TEXTS: [&str; 25] = [
    "a",
    "1",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
    "00:00:00",
    "1970-01-01T00:00:00",
    "1970-01-01T00:00:00+00:00",
    "1970-01-01T00:00:00+00:00[UTC]",
    "http://a/",
    "00000000-0000-0000-0000-000000000000",
    "127.0.0.1",
    "127.0.0.0/8",
    "1.0.0",
    "^1.0.0",
    "Mon",
    "GET",
    "/",
    "a/b",
    "a@b",
    "#000000",
    "PT1S",
    "en",
    "+00:00",
    "UTC",
    "",
];

/// So many bytes types in bytes may want.
const LENGTHS: [usize; 12] = [1, 16, 4, 12, 32, 6, 8, 20, 24, 64, 2, 0];

/// Numbers for types that take only some.
const NUMBERS: [u8; 6] = [1, 0, 2, 200, 100, 50];

/// Whose visitors may be shown any sample.
const KNOWN: [&str; 34] = [
    "alloc",
    "arrayvec",
    "bitvec",
    "bytes",
    "camino",
    "chrono",
    "compact_str",
    "core",
    "ecow",
    "either",
    "geo_types",
    "glam",
    "half",
    "heapless",
    "http_serde",
    "indexmap",
    "ipnet",
    "jiff",
    "nalgebra",
    "ndarray",
    "num_bigint",
    "ordered_float",
    "petgraph",
    "procpool",
    "semver",
    "serde",
    "serde_bytes",
    "serde_core",
    "serde_with",
    "smallvec",
    "smol_str",
    "time",
    "url",
    "uuid",
];

/// Shows samples.
pub(super) struct Sampler<'a, 'p> {
    encoder: Encoder<'a>,
    plan: &'p mut SamplePlan,
    /// The last number that was shown.
    number: u8,
    /// What is shown goes in the named form, in which anything may be asked for.
    is_named: bool,
}

impl<'a, 'p> Sampler<'a, 'p> {
    /// What is shown is written to `shown`.
    pub(super) fn new(shown: &'a mut Vec<u8>, plan: &'p mut SamplePlan) -> Self {
        let encoder = Encoder::new(Writer::new(shown, usize::MAX, None));
        Self { encoder, plan, number: 0, is_named: false }
    }

    /// For what takes no part in the rehearsal, as it is sent in the named form.
    fn apart<'b>(apart: &'b mut Vec<u8>, plan: &'b mut SamplePlan) -> Sampler<'b, 'b> {
        Sampler { is_named: true, ..Sampler::new(apart, plan) }
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), CodecError> {
        if self.plan.count() {
            return Err(failed("it has no end"));
        }
        self.encoder.part(value)
    }

    /// A number for this visitor.
    fn number<V>(&mut self) -> u8 {
        match self.plan.candidate(type_id::<V>(), NUMBERS.len()) {
            0 => match self.plan.numbers() {
                SampleNumbers::Distinct => {
                    self.number = self.number % 100 + 1;
                    self.number
                }
                SampleNumbers::Ones => 1,
                SampleNumbers::Zeros => 0,
            },
            other => NUMBERS[other],
        }
    }

    /// What the visitor makes of something of which it could be shown `count` others.
    fn taken<V, T>(
        &mut self,
        count: usize,
        outcome: Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        if outcome.is_err() {
            self.plan.refused(type_id::<V>(), count);
        }
        outcome
    }

    fn text<V>(&mut self) -> Result<&'static str, CodecError> {
        self.may_show::<V>()?;
        let text = TEXTS[self.plan.candidate(type_id::<V>(), TEXTS.len())];
        self.write(&text)?;
        Ok(text)
    }

    fn bytes<V>(&mut self) -> Result<&'static [u8], CodecError> {
        self.may_show::<V>()?;
        let length = LENGTHS[self.plan.candidate(type_id::<V>(), LENGTHS.len())];
        let bytes = &[7; 64][..length];
        self.write(&bytes)?;
        Ok(bytes)
    }

    /// For what is shown with something inside, and without.
    fn has_content<V>(&mut self) -> bool {
        self.plan.enter(type_id::<V>(), 2, true) == 0
    }

    /// Whether the visitor may be shown samples. Those that are derived, of the standard library,
    /// and of crates that were tried out return an error for what they do not like. Others, which
    /// users have written, may do anything: panic, or count their values.
    fn may_show<V>(&mut self) -> Result<(), CodecError> {
        let visitor = type_name::<V>();
        // One that is local to a method is called `<path::to::Type as
        // Deserialize>::deserialize::…`.
        let (of, _) = visitor.trim_start_matches('<').split_once("::").unwrap_or_default();
        if visitor.contains("::__Visitor") || KNOWN.contains(&of) {
            return Ok(());
        }
        self.plan.give_up(visitor);
        Err(failed("it is not tried out"))
    }

    fn needs_names<'de, V: Visitor<'de>>(&mut self, visitor: &V) -> CodecError {
        let error = CodecError::of_kind(visitor);
        self.plan.note(&error);
        error
    }
}

#[cold]
fn failed(text: impl Display) -> CodecError {
    Error::custom(text)
}

macro_rules! numbers {
    ($($method:ident $visit:ident |$number:ident| $shown:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            self.may_show::<V>()?;
            let $number = self.number::<V>();
            let shown = $shown;
            self.write(&shown)?;
            let outcome = visitor.$visit(shown);
            self.taken::<V, _>(NUMBERS.len(), outcome)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Sampler<'_, '_> {
    type Error = CodecError;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_bool visit_bool |number| number % 2 == 1;
        deserialize_i8 visit_i8 |number| number.cast_signed();
        deserialize_i16 visit_i16 |number| i16::from(number);
        deserialize_i32 visit_i32 |number| i32::from(number);
        deserialize_i64 visit_i64 |number| i64::from(number);
        deserialize_i128 visit_i128 |number| i128::from(number);
        deserialize_u8 visit_u8 |number| number;
        deserialize_u16 visit_u16 |number| u16::from(number);
        deserialize_u32 visit_u32 |number| u32::from(number);
        deserialize_u64 visit_u64 |number| u64::from(number);
        deserialize_u128 visit_u128 |number| u128::from(number);
        deserialize_f32 visit_f32 |number| f32::from(number);
        deserialize_f64 visit_f64 |number| f64::from(number);
        deserialize_char visit_char |number| char::from(number);
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let text = self.text::<V>()?;
        let outcome = visitor.visit_borrowed_str(text);
        self.taken::<V, _>(TEXTS.len(), outcome)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let text = self.text::<V>()?;
        let outcome = visitor.visit_str(text);
        self.taken::<V, _>(TEXTS.len(), outcome)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let bytes = self.bytes::<V>()?;
        let outcome = visitor.visit_borrowed_bytes(bytes);
        self.taken::<V, _>(LENGTHS.len(), outcome)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let bytes = self.bytes::<V>()?;
        let outcome = visitor.visit_byte_buf(bytes.to_vec());
        self.taken::<V, _>(LENGTHS.len(), outcome)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.may_show::<V>()?;
        let is_some = self.has_content::<V>();
        self.write(&is_some)?; // as an option is
        let value = if is_some { visitor.visit_some(&mut *self) } else { visitor.visit_none() }?;
        self.plan.leave();
        Ok(value)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        match name {
            // What is in shared memory cannot be made of samples; it has an empty one for that.
            IN_SHARED_MEMORY => visitor.visit_unit(),
            NAMED => {
                let mut apart = Vec::new();
                visitor.visit_newtype_struct(&mut Sampler::apart(&mut apart, self.plan))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.may_show::<V>()?;
        let count = usize::from(self.has_content::<V>());
        self.write(&count)?; // as a length is
        let value = visitor.visit_seq(SampleParts { sampler: self, left: count })?;
        self.plan.leave();
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.may_show::<V>()?;
        if self.plan.count() {
            return Err(failed("it has no end"));
        }
        visitor.visit_seq(SampleParts { sampler: self, left: count })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(count, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.may_show::<V>()?;
        let count = usize::from(self.has_content::<V>());
        self.write(&count)?; // as a length is
        let value = visitor.visit_map(SampleParts { sampler: self, left: count })?;
        self.plan.leave();
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.may_show::<V>()?;
        if variants.is_empty() {
            return Err(failed("an enum without variants has no values"));
        }
        let chosen = self.plan.enter(type_id::<V>(), variants.len(), false);
        let index = u32::try_from(chosen).map_err(failed)?;
        self.write(&index)?; // as a variant is
        let value = visitor.visit_enum(SampleVariant { sampler: self, index })?;
        self.plan.leave();
        Ok(value)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if self.is_named { visitor.visit_unit() } else { Err(self.needs_names(&visitor)) }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_any(visitor)
    }
}

/// The parts of a tuple or a structure; the elements of a sequence; the entries of a map.
struct SampleParts<'s, 'a, 'p> {
    sampler: &'s mut Sampler<'a, 'p>,
    left: usize,
}

impl<'de> SeqAccess<'de> for SampleParts<'_, '_, '_> {
    type Error = CodecError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.sampler).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for SampleParts<'_, '_, '_> {
    type Error = CodecError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, CodecError> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        seed.deserialize(&mut *self.sampler)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// One variant of an enum.
struct SampleVariant<'s, 'a, 'p> {
    sampler: &'s mut Sampler<'a, 'p>,
    index: u32,
}

impl<'de> EnumAccess<'de> for SampleVariant<'_, '_, '_> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self), CodecError> {
        let index: U32Deserializer<CodecError> = self.index.into_deserializer();
        match seed.deserialize(index) {
            Ok(variant) => Ok((variant, self)),
            Err(error) => {
                // There are more names than variants where some have an alias.
                self.sampler.plan.is_absent();
                Err(error)
            }
        }
    }
}

impl<'de> VariantAccess<'de> for SampleVariant<'_, '_, '_> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, CodecError> {
        seed.deserialize(self.sampler)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.sampler.deserialize_tuple(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.sampler.deserialize_tuple(fields.len(), visitor)
    }
}
