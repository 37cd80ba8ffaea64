#!/usr/bin/env bash
# serde_derive 1.0.229 (with serde 1.0.229): what `Deserializer::deserialize_enum` and `deserialize_struct` are told of an
# enum or a structure with `#[serde(alias = …)]`.
#
# Behaviour: the list of variants, or of fields, has the aliases among the names. So its length is not the number of
# variants or fields, and the name at an index is not the one of the variant with that index, which is what a
# format without names goes by. A format that takes the length of the list for the number of parts, as some do, offers
# more parts than there are; one that looks a variant's name up by its index, to check it or to show it, finds another.
#
# Seen on 2026-11-29: the two lines that are expected below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "aliases"
version = "0.1.0"
edition = "2024"

[dependencies]
serde = { version = "=1.0.229", features = ["derive"] }
TOML
cat >src/main.rs <<'RUST'
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

#[derive(Deserialize)]
#[allow(dead_code)]
enum Level {
    #[serde(alias = "warn", alias = "caution")]
    Warning,
    Error,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Point {
    #[serde(alias = "left")]
    x: u8,
    y: u8,
}

/// Fails with what it is told.
struct Told;

impl<'de> Deserializer<'de> for Told {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("nothing"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom(variants.join(" ")))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom(fields.join(" ")))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn main() {
    println!("two variants: {}", Level::deserialize(Told).err().unwrap());
    println!("two fields: {}", Point::deserialize(Told).err().unwrap());
}
RUST
seen=$(cargo run --quiet)
printf '%s\n' "$seen"
for line in "$seen"; do
    sorted=$(printf '%s\n' "$line" | sed 's/.*: //' | while read -r names; do
        printf '%s\n' $names | sort | paste -sd' '
    done)
    [[ $sorted == $'Error Warning caution warn\nleft x y' ]]
done
