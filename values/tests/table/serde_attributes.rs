//! The attributes of serde's derives.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::{Case, at_worst, becomes, case, error, tests};

tests!(
    of_enums,
    of_tagged_enums,
    of_untagged_enums,
    of_flattened_fields,
    of_fields_left_out_by_condition,
    of_fields_left_out_always,
    of_skipped_variants,
    of_names,
    of_conversions,
);

// ----- how an enum is told apart -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(u32),
    Tuple(u8, String),
    Struct { a: i64, b: Option<bool> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum WithOther {
    Known,
    #[serde(other)]
    Unknown,
}

fn of_enums() -> Vec<Case> {
    vec![
        case!("serde", External, "unit", External::Unit),
        case!("serde", External, "newtype", External::Newtype(5)),
        case!("serde", External, "tuple", External::Tuple(5, "a".to_owned())),
        case!("serde", External, "struct", External::Struct { a: -5, b: Some(true) }),
        case!("serde", WithOther, "`other`, a known one", WithOther::Known),
        case!("serde", WithOther, "`other`", WithOther::Unknown),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Payload {
    number: u64,
    ratio: f32,
    list: Vec<u32>,
}

fn payload() -> Payload {
    Payload { number: u64::MAX, ratio: 0.1, list: (0..100).collect() }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Unit,
    Newtype(Payload),
    Struct { a: i64, b: Option<bool>, c: (u8, char) },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
enum Adjacent {
    Unit,
    Newtype(Option<u32>),
    Tuple(u8, String),
    Struct { a: i64, b: Option<bool> },
}

/// A structure that is written with its name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct TaggedStruct {
    a: u8,
    b: u16,
}

fn of_tagged_enums() -> Vec<Case> {
    vec![
        case!("serde", Tagged, "`tag`, unit", Tagged::Unit),
        case!("serde", Tagged, "`tag`, newtype", Tagged::Newtype(payload())),
        case!("serde", Tagged, "`tag`, struct", Tagged::Struct { a: 5, b: None, c: (200, 'ä') }),
        case!("serde", Adjacent, "`tag` and `content`, unit", Adjacent::Unit),
        case!("serde", Adjacent, "`tag` and `content`, newtype", Adjacent::Newtype(Some(5))),
        case!("serde", Adjacent, "`tag` and `content`, tuple", Adjacent::Tuple(5, "a".to_owned())),
        case!("serde", Adjacent, "`tag` and `content`, struct", {
            Adjacent::Struct { a: -5, b: Some(true) }
        }),
        case!("serde", TaggedStruct, "`tag` of a struct", TaggedStruct { a: 5, b: 600 }),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Float(f64),
    Text(String),
    Pair(u8, u8),
    List(Vec<String>),
    Struct { a: i64, b: Option<bool> },
    Nothing,
}

fn of_untagged_enums() -> Vec<Case> {
    vec![
        case!("serde", Untagged, "`untagged`, number", Untagged::Number(-5)),
        case!("serde", Untagged, "`untagged`, float", Untagged::Float(5.0)),
        case!("serde", Untagged, "`untagged`, text", Untagged::Text("5".to_owned())),
        case!("serde", Untagged, "`untagged`, tuple", Untagged::Pair(5, 6)),
        case!("serde", Untagged, "`untagged`, list", Untagged::List(vec!["a".to_owned()])),
        case!("serde", Untagged, "`untagged`, struct", Untagged::Struct { a: 5, b: Some(true) }),
        case!("serde", Untagged, "`untagged`, unit", Untagged::Nothing),
    ]
}

// ----- flatten -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FlatStruct {
    id: u32,
    #[serde(flatten)]
    payload: Payload,
    behind: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FlatMap {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FlatEnum {
    id: u32,
    #[serde(flatten)]
    kind: Tagged,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FlatOption {
    id: u32,
    #[serde(flatten)]
    payload: Option<Payload>,
}

fn of_flattened_fields() -> Vec<Case> {
    vec![
        case!("serde", FlatStruct, "`flatten` of a struct", {
            FlatStruct { id: 5, payload: payload(), behind: 6 }
        }),
        case!("serde", FlatMap, "`flatten` of a map", {
            FlatMap { id: 5, rest: BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), -2)]) }
        }),
        case!("serde", FlatMap, "`flatten` of an empty map", {
            FlatMap { id: 5, rest: BTreeMap::new() }
        }),
        case!("serde", FlatEnum, "`flatten` of an enum with `tag`", {
            FlatEnum { id: 5, kind: Tagged::Struct { a: 5, b: Some(true), c: (1, 'a') } }
        }),
        case!("serde", FlatOption, "`flatten` of `Some`", {
            FlatOption { id: 5, payload: Some(payload()) }
        }),
        case!("serde", FlatOption, "`flatten` of `None`", FlatOption { id: 5, payload: None }),
    ]
}

// ----- fields that are left out -----

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Upstream {
    #[serde(default, skip_serializing_if = "is_zero")]
    retries: u8,
    port: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Member {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    admin: bool,
    parent: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    Started {
        #[serde(default, skip_serializing_if = "is_zero")]
        attempt: u8,
        port: u16,
    },
}

fn profile(nickname: Option<&str>, tags: &[&str]) -> Profile {
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    Profile { nickname: nickname.map(str::to_owned), name: "name".to_owned(), tags }
}

fn of_fields_left_out_by_condition() -> Vec<Case> {
    vec![
        case!("serde", Upstream, "`skip_serializing_if` that skips nothing", {
            Upstream { retries: 5, port: 8080 }
        }),
        case!("serde", Upstream, "`skip_serializing_if` before a number", {
            Upstream { retries: 0, port: 8080 }
        }),
        case!("serde", Upstream, "`skip_serializing_if` before a small number", {
            Upstream { retries: 0, port: 80 }
        }),
        case!("serde", Member, "`skip_serializing_if` before `Some`", {
            Member { admin: false, parent: Some(0) }
        }),
        case!("serde", Member, "`skip_serializing_if` before `None`", {
            Member { admin: false, parent: None }
        }),
        case!(
            "serde",
            Profile,
            "`skip_serializing_if`, nothing skipped",
            profile(Some("n"), &["t"])
        ),
        case!("serde", Profile, "`skip_serializing_if`, the first", profile(None, &["t"])),
        case!("serde", Profile, "`skip_serializing_if`, the last", profile(Some("n"), &[])),
        case!("serde", Profile, "`skip_serializing_if`, both", profile(None, &[])),
        case!("serde", Event, "`skip_serializing_if` in a variant", {
            Event::Started { attempt: 0, port: 8080 }
        }),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Session {
    #[serde(default, skip_serializing)]
    failures: u8,
    ttl: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Login {
    #[serde(default, skip_serializing)]
    password: String,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cached {
    name: String,
    #[serde(skip)]
    cache: Option<u64>,
    behind: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Computed {
    #[serde(skip_deserializing)]
    length: u16,
    name: String,
}

fn of_fields_left_out_always() -> Vec<Case> {
    vec![
        case!("serde", Session, "`skip_serializing` before a number", {
            Session { failures: 0, ttl: 3600 }
        }),
        case!(
            "serde",
            Session,
            "`skip_serializing` of something",
            Session { failures: 5, ttl: 3600 },
            at_worst(|| Session { failures: 0, ttl: 3600 })
        ),
        case!("serde", Login, "`skip_serializing` before a text", {
            Login { password: String::new(), name: "name".to_owned() }
        }),
        case!("serde", Cached, "`skip` of the default", {
            Cached { name: "name".to_owned(), cache: None, behind: 5 }
        }),
        case!(
            "serde",
            Cached,
            "`skip`, which asks for the default",
            Cached { name: "name".to_owned(), cache: Some(5), behind: 5 },
            becomes(|| Cached { name: "name".to_owned(), cache: None, behind: 5 })
        ),
        case!(
            "serde",
            Computed,
            "`skip_deserializing`, which asks for the default",
            Computed { length: 4, name: "name".to_owned() },
            at_worst(|| Computed { length: 0, name: "name".to_owned() })
        ),
    ]
}

// ----- variants that are left out -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Start,
    #[serde(skip)]
    Internal,
    Stop,
    Restart(u8),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum SkippedLast {
    Start,
    Stop(u32),
    #[serde(skip)]
    Internal,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum SkippedUnits {
    Start,
    #[serde(skip)]
    #[allow(dead_code, reason = "it stands before the others")]
    Internal,
    Stop,
    Restart,
}

fn of_skipped_variants() -> Vec<Case> {
    vec![
        case!("serde", Command, "before a skipped variant", Command::Start),
        case!("serde", Command, "behind a skipped variant", Command::Stop),
        case!("serde", Command, "the last, behind a skipped variant", Command::Restart(5)),
        case!("serde", Command, "the skipped variant", Command::Internal, error("Internal")),
        case!("serde", SkippedUnits, "before a skipped variant", SkippedUnits::Start),
        case!("serde", SkippedUnits, "behind a skipped variant", SkippedUnits::Stop),
        case!("serde", SkippedUnits, "the last, behind a skipped variant", SkippedUnits::Restart),
        case!("serde", SkippedLast, "before a skipped variant", SkippedLast::Start),
        case!("serde", SkippedLast, "right before a skipped variant", SkippedLast::Stop(5)),
        case!(
            "serde",
            SkippedLast,
            "the skipped variant",
            SkippedLast::Internal,
            error("Internal")
        ),
    ]
}

// ----- names, defaults -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Renamed {
    #[serde(rename = "first", alias = "name")]
    first_name: String,
    last_name: String,
    #[serde(rename(serialize = "age", deserialize = "age"))]
    years: u8,
}

/// Written under one name, read under another one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RenamedInOneDirection {
    #[serde(rename(serialize = "written"), alias = "written")]
    read: u32,
    behind: u8,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Defaults {
    a: u32,
    b: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
enum Level {
    VeryLow,
    #[serde(rename = "top", alias = "high")]
    VeryHigh,
}

fn of_names() -> Vec<Case> {
    vec![
        case!("serde", Renamed, "`rename`, `alias`, `deny_unknown_fields`", {
            Renamed { first_name: "a".to_owned(), last_name: "b".to_owned(), years: 5 }
        }),
        case!("serde", RenamedInOneDirection, "`rename` of one direction and `alias`", {
            RenamedInOneDirection { read: 5, behind: 6 }
        }),
        case!("serde", Defaults, "`default`", Defaults { a: 5, b: vec![1, 2] }),
        case!("serde", Level, "`rename_all`", Level::VeryLow),
        case!("serde", Level, "`rename` of a variant", Level::VeryHigh),
    ]
}

// ----- other types in between -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Celsius(i32);

impl From<Celsius> for String {
    fn from(celsius: Celsius) -> Self {
        format!("{} °C", celsius.0)
    }
}

impl TryFrom<String> for Celsius {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let number = text.strip_suffix(" °C").ok_or("no unit")?;
        number.parse().map(Self).map_err(|error| format!("{text}: {error}"))
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        u32::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Color {
    #[serde(with = "hexadecimal")]
    rgb: u32,
    alpha: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Article {
    title: Cow<'static, str>,
    #[serde(deserialize_with = "number_or_text")]
    pages: u32,
    price: u16,
}

/// As for a server that writes numbers as texts now and then.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Visitor;

    impl serde::de::Visitor<'_> for Visitor {
        type Value = u32;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number or a text")
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number).map_err(E::custom)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u32, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Visitor)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

fn of_conversions() -> Vec<Case> {
    vec![
        case!("serde", Unit, "a unit struct", Unit),
        case!("serde", Pair, "a tuple struct", Pair(5, "a".to_owned())),
        case!("serde", Payload, "a struct", payload()),
        case!("serde", Transparent, "`transparent`", Transparent { inner: (0..100).collect() }),
        case!("serde", Celsius, "`into` and `try_from`", Celsius(-5)),
        case!("serde", Color, "`with`", Color { rgb: 0x00AB_CDEF, alpha: 5 }),
        case!("serde", Article, "`deserialize_with` that takes a number or a text", {
            Article { title: Cow::Borrowed("a"), pages: 500, price: 6 }
        }),
    ]
}
