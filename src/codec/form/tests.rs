//! What a rehearsal finds out.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;

#[track_caller]
fn assert_compact<T: Serialize + DeserializeOwned>() {
    assert_eq!(rehearse::<T>(), Ok(()), "{}", std::any::type_name::<T>());
}

#[track_caller]
fn assert_named<T: Serialize + DeserializeOwned>(why: &str) {
    let reason = rehearse::<T>().unwrap_err();
    assert!(reason.contains(why), "{reason}");
}

#[derive(Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[derive(Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f64),
    Pair(Point, u8),
    Named { name: String, corners: Vec<Point>, inner: Option<Box<Shape>> },
}

#[derive(Serialize, Deserialize)]
enum Expression {
    Sum(Box<Self>, Box<Self>),
    All(Vec<Self>),
    Call { name: String, arguments: BTreeMap<String, Self> },
    Negative(Box<Self>),
    Number(i64),
}

#[derive(Serialize, Deserialize)]
struct List(u8, Option<Box<Self>>);

#[derive(Serialize, Deserialize)]
struct Empty;

#[test]
fn plain_types_are_compact() {
    assert_compact::<()>();
    assert_compact::<(u8, i16, u32, i64, u128, i128, f32, f64, bool, char, String)>();
    assert_compact::<(Vec<u8>, Vec<String>, Option<Vec<f64>>, [u32; 3], HashMap<u32, String>)>();
    assert_compact::<(Point, Shape, Vec<Shape>, Empty, Box<[u16]>)>();
    assert_compact::<Expression>();
    assert_compact::<List>();
    assert_compact::<Result<Option<Expression>, String>>();
    assert_compact::<(Duration, std::path::PathBuf, std::num::NonZeroU32)>();
    assert_compact::<(IpAddr, SocketAddr, SocketAddrV6)>();
    assert_compact::<(bytes::Bytes, serde_bytes::ByteBuf)>();
    assert_compact::<Option<Option<()>>>();
    assert_compact::<crate::SharedSlice<f64>>();
    assert_compact::<(u8, crate::SharedSliceMut<u64>, String)>();
    assert_compact::<crate::Named<Option<u8>>>();
}

#[derive(Serialize, Deserialize)]
enum Skipping {
    First,
    #[serde(skip)]
    #[expect(dead_code, reason = "is left out")]
    Second,
    Third,
}

#[derive(Serialize, Deserialize)]
enum Alias {
    #[serde(alias = "Other", alias = "Another")]
    First,
    Second(u8),
}

#[derive(Serialize, Deserialize)]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct Secret {
    #[serde(skip_serializing, default)]
    #[expect(dead_code, reason = "is left out")]
    token: u8,
    version: u8,
}

#[derive(Serialize, Deserialize)]
struct Computed {
    #[serde(skip_deserializing)]
    sum: u8,
    version: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Empty,
    Struct { field: u8 },
}

#[derive(Serialize, Deserialize)]
struct Flat {
    version: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Serialize, Deserialize)]
struct Renamed {
    #[serde(rename(serialize = "out", deserialize = "in"))]
    field: u8,
}

#[test]
fn what_is_not_written_as_it_is_read_has_names() {
    assert_named::<Skipping>("order in which it is read");
    assert_named::<Vec<(u8, Option<Skipping>)>>("order in which it is read");
    assert_named::<Page>("`limit` is left out");
    assert_named::<Option<Box<Page>>>("`limit` is left out");
    assert_named::<Secret>("order in which it is read");
    assert_named::<Computed>("order in which it is read");
    assert_named::<Untagged>("asks the data which type comes next");
    assert_named::<Tagged>("asks the data which type comes next");
    assert_named::<Result<u8, HashMap<u8, Tagged>>>("asks the data which type comes next");
    assert_named::<Flat>("`");
    assert_named::<serde_json::Value>("serde_json");
}

#[test]
fn other_names_do_not_matter() {
    assert_compact::<Alias>();
    assert_compact::<Renamed>();
}
