//! The named form: what comes back, what can be read as something else, and what cannot be read.

#![expect(clippy::option_option, reason = "that is what other forms lose")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::{AskedForm, decode, decode_shared, encoded_as};

fn named<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encoded_as(value, AskedForm::Named)
}

/// It comes back whole, and not if it is cut off.
#[track_caller]
fn assert_same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = named(value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
    assert_eq!(decode_shared::<T>(&bytes.clone().into()).as_ref(), Ok(value));
    for end in (1..bytes.len()).step_by(bytes.len() / 50 + 1) {
        assert!(decode::<T>(&bytes[..end]).is_err(), "{end} of {value:?}");
    }
    let more = [&bytes[..], &[0]].concat();
    assert!(decode::<T>(&more).is_err());
}

/// What is read of it.
#[track_caller]
fn assert_reads<T: DeserializeOwned + PartialEq + Debug>(value: &impl Serialize, read: &T) {
    assert_eq!(decode::<T>(&named(value)).as_ref(), Ok(read));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<u8>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    id: u64,
    name: String,
    inner: Option<Box<Record>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f64),
    Pair(u8, char),
    Record { id: u64, shapes: Vec<Shape> },
}

fn record() -> Record {
    let inner = Record { id: u64::MAX, name: "x".repeat(100), inner: None };
    Record { id: 7, name: "größer".to_owned(), inner: Some(Box::new(inner)) }
}

fn shapes() -> Vec<Shape> {
    let shapes = vec![Shape::Empty, Shape::Circle(-0.0), Shape::Pair(200, '€')];
    let record = Shape::Record { id: 1, shapes: shapes.clone() };
    [shapes, vec![record.clone(), record]].concat()
}

#[test]
fn what_is_sent_comes_back() {
    assert_same(&());
    assert_same(&(true, false, 'ß', "text".to_owned(), Unit, Newtype(None), Newtype(Some(1))));
    assert_same(&(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
    assert_same(&(i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN));
    assert_same(&(0_u64, 127_u64, 128_u64, -1_i64, i128::MAX, f32::MIN, f64::MAX));
    assert_same(&(record(), Pair(7, "x".repeat(63)), "x".repeat(64)));
    assert_same(&shapes());
    assert_same(&vec![record(); 100]);
    assert_same(&(Bytes::from_static(b"bytes"), ByteBuf::from(vec![7; 1000])));
    assert_same(&(vec![1_u8, 2], vec![-1_i16; 100], vec![0.5_f32; 3], Vec::<f64>::new()));
    assert_same(&BTreeMap::from([((1_u8, "a".to_owned()), vec![Some(1_u32), None])]));
    assert_same(&HashMap::from([(Some(-1_i32), Shape::Empty)]));
    assert_same(&BTreeMap::from([(Shape::Empty.to_string(), Ok::<u8, String>(1))]));
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

#[test]
fn nothing_is_lost_that_other_forms_with_names_lose() {
    assert_same(&(Some(None::<u8>), None::<Option<u8>>, Some(Some(7_u8))));
    assert_same(&(Some(()), None::<()>, Some(Some(()))));
    for bits in [0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_1234, 0x8000_0000_0000_0000_u64] {
        let read: f64 = decode(&named(&f64::from_bits(bits))).unwrap();
        assert_eq!(read.to_bits(), bits);
        let read: Vec<f64> = decode(&named(&vec![f64::from_bits(bits)])).unwrap();
        assert_eq!(read[0].to_bits(), bits);
    }
    let bits = 0x7F80_0001;
    let read: (f32, f32) = decode(&named(&(f32::from_bits(bits), 0.5_f32))).unwrap();
    assert_eq!(read.0.to_bits(), bits);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Shape(Shape),
    List(Vec<Untagged>),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Unit,
    Newtype(Vec<u8>),
    Tuple(u8, Option<Option<u8>>),
    Struct { field: u128 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Unit,
    Newtype(Record),
    Struct { field: Option<u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    version: u8,
    #[serde(flatten)]
    record: Record,
    #[serde(flatten)]
    rest: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    version: u8,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    rows: Vec<String>,
    total: u64,
}

#[test]
fn what_wants_to_be_told_what_comes_is_told() {
    let list = Untagged::List(vec![Untagged::Number(1), Untagged::Text("x".to_owned())]);
    assert_same(&vec![list, Untagged::Shape(Shape::Empty), Untagged::Shape(Shape::Circle(1.0))]);
    assert_same(&[Adjacent::Unit, Adjacent::Newtype(vec![1, 2]), Adjacent::Struct { field: 1 }]);
    assert_same(&[Adjacent::Tuple(1, None), Adjacent::Tuple(1, Some(None))]);
    assert_same(&vec![Internal::Unit, Internal::Newtype(record())]);
    assert_same(&vec![Internal::Struct { field: None }, Internal::Struct { field: Some(1) }]);
    let rest = BTreeMap::from([("more".to_owned(), -5)]);
    assert_same(&(Flat { version: 1, record: record(), rest }, 7_u8));
    let page = Page { limit: None, version: 1, rows: vec![], total: 70_000 };
    assert_same(&vec![page.clone(), Page { limit: Some(7), ..page }]);
    let value = serde_json::json!({
        "a": [null, true, 1, -1, 1.5, "text", {"b": {}}, u64::MAX, i64::MIN], "": []
    });
    assert_same(&value);
}

#[test]
fn values_can_be_read_as_types_of_the_same_shape() {
    assert_reads(&vec![1_u8, 2], &vec![1_u64, 2]);
    assert_reads(&vec![1_u32; 100], &vec![Some(Newtype(Some(1))).map(|_| 1_i128).unwrap(); 100]);
    assert_reads(&(1_u8, "x"), &Pair(1, "x".to_owned()));
    assert_reads(&BTreeMap::from([("id", 1_u64)]), &BTreeMap::from([("id".to_owned(), 1_u8)]));
    assert_reads(&"Empty", &Shape::Empty);
    assert_reads(&BTreeMap::from([("Circle", 1.5)]), &Shape::Circle(1.5));
    assert_reads(&Shape::Empty, &"Empty".to_owned());
    assert_reads(&'x', &"x".to_owned());
    assert_reads(&"x", &'x');
    assert_reads(&7_u8, &Some(7_u8));
    assert_reads(&ByteBuf::from([1, 2]), &vec![1_u8, 2]);
    assert_reads(&vec![1_u8, 2], &ByteBuf::from([1, 2]));
    assert_reads(&record(), &serde_json::to_value(record()).unwrap());
    assert_reads(&shapes(), &serde_json::to_value(shapes()).unwrap());
}

#[test]
fn what_does_not_fit_is_refused_with_the_place() {
    let error = decode::<Vec<Record>>(&named(&vec![(7_u8, 8_u8)])).unwrap_err().to_string();
    assert!(error.contains("[0]"), "{error}");
    let value = BTreeMap::from([("id", "text")]);
    let error = decode::<Record>(&named(&value)).unwrap_err().to_string();
    assert!(error.contains("invalid type: string \"text\", expected u64"), "{error}");
    decode::<u8>(&named(&300_u16)).unwrap_err();
    decode::<bool>(&named(&1_u8)).unwrap_err();
    decode::<(u8, u8)>(&named(&vec![1_u8, 2, 3])).unwrap_err();
    decode::<[u8; 3]>(&named(&(1_u8, 2_u8))).unwrap_err();
    decode::<Shape>(&named(&"None of them")).unwrap_err();
    decode::<()>(&named(&None::<u8>)).unwrap_err();
}

#[test]
fn names_are_written_once() {
    let one = named(&vec![record()]).len();
    let many = named(&vec![record(); 11]).len();
    let rest = named(&record().name).len() * 10;
    assert!(many < one + 10 * one && rest < many, "{one} {many}");
    let bytes = named(&vec![Page { limit: None, version: 1, rows: vec![], total: 1 }; 1000]);
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("version").count(), 1);
}
