//! Arguments and results, as they are decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{AskedForm, decode, decode_shared, encoded, encoded_as};
use crate::testing::fuzzing::{Seeds, split};

#[derive(Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Polygon { corners: Vec<(i32, i32)>, name: Option<String> },
}

#[derive(Serialize, Deserialize)]
struct Record {
    shapes: Vec<Shape>,
    counts: BTreeMap<String, Vec<u16>>,
    blob: ByteBuf,
    shared: Bytes,
    nested: Vec<Vec<String>>,
    pair: (char, Option<bool>, i128),
    elapsed: Duration,
}

fn record() -> Record {
    let corners = vec![(1, -1), (300, -70_000)];
    Record {
        shapes: vec![
            Shape::Point,
            Shape::Circle(0.5),
            Shape::Polygon { corners, name: Some("triangle".to_owned()) },
        ],
        counts: [("a".to_owned(), vec![1, 2, 65535]), ("b".to_owned(), vec![])].into(),
        blob: ByteBuf::from(vec![0, 255]),
        shared: Bytes::from_static(b"shared"),
        nested: vec![vec![], vec!["x".to_owned(), String::new()]],
        pair: ('€', Some(true), i128::MIN),
        elapsed: Duration::from_micros(7),
    }
}

/// Decodes in both ways. What has a value can be encoded and decoded again, with the same value.
fn check<T: Serialize + DeserializeOwned>(bytes: &Bytes) {
    let (copied, shared) = (decode::<T>(bytes), decode_shared::<T>(bytes));
    assert_eq!(copied.is_ok(), shared.is_ok());
    if let (Ok(copied), Ok(shared)) = (copied, shared) {
        let again = encoded(&copied);
        assert_eq!(again, encoded(&shared));
        assert_eq!(again, encoded(&decode::<T>(&again).unwrap()));
    }
}

const TYPES: [fn(&Bytes); 14] = [
    check::<Record>,
    check::<Vec<u8>>,
    check::<Vec<u16>>,
    check::<Vec<i64>>,
    check::<Vec<f32>>,
    check::<Vec<bool>>,
    check::<String>,
    check::<Bytes>,
    check::<Vec<Option<Vec<u32>>>>,
    check::<BTreeMap<u32, Shape>>,
    check::<[u64; 3]>,
    check::<Option<Box<Shape>>>,
    check::<(u128, i8, char, Vec<[f64; 2]>)>,
    check::<crate::SharedBytes>,
];

fn seed(number: u8, value: &impl Serialize) -> Vec<u8> {
    [&[number], &encoded(value)[..]].concat()
}

#[test]
fn values() {
    let name = (7_u32, 5_i32, 100_u64, 77_u64, 1_u64, 0_u64); // of shared memory that nobody has
    let seeds = Seeds::new("values")
        .with("record", seed(0, &record()))
        .with("bytes", seed(1, &vec![7_u8; 100]))
        .with("u16", seed(2, &vec![7_u16, 300, 65535]))
        .with("i64", seed(3, &vec![i64::MIN, -1, 0, i64::MAX]))
        .with("f32", seed(4, &vec![f32::NAN, 0.5]))
        .with("bool", seed(5, &vec![true, false]))
        .with("text", seed(6, &"grüße"))
        .with("shared", seed(7, &Bytes::from_static(b"shared")))
        .with("options", seed(8, &vec![None, Some(vec![1_u32, 1 << 31])]))
        .with("map", seed(9, &BTreeMap::from([(1_u32, Shape::Point), (2, Shape::Circle(1.0))])))
        .with("array", seed(10, &[1_u64, 2, u64::MAX]))
        .with("box", seed(11, &Some(Shape::Circle(1.0))))
        .with("tuple", seed(12, &(u128::MAX, -1_i8, 'x', vec![[1.0, 2.0]])))
        .with("memory", seed(13, &(name, 0_u64, 100_u64)));
    seeds.fuzz((64 << 10, 128), |input| {
        let (number, bytes) = split(input);
        TYPES[usize::from(number) % TYPES.len()](&Bytes::copy_from_slice(bytes));
    });
}

/// Only what it is told of holds it together.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Nothing(()),
    Shape(Shape),
    List(Vec<Untagged>),
    Map(BTreeMap<String, Untagged>),
}

#[derive(Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// Holds itself.
#[derive(Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

fn named(value: &impl Serialize) -> Vec<u8> {
    encoded_as(value, AskedForm::Named)
}

/// As [`check`], in the named form. What has no order, and numbers that are not equal to
/// themselves, may be written in another way.
fn check_named<T: Serialize + DeserializeOwned>(bytes: &Bytes) {
    let (copied, shared) = (decode::<T>(bytes), decode_shared::<T>(bytes));
    assert_eq!(copied.is_ok(), shared.is_ok());
    if let Ok(copied) = copied {
        let again = named(&copied);
        assert_eq!(again.len(), named(&decode::<T>(&again).unwrap()).len());
    }
}

const NAMED_TYPES: [fn(&Bytes); 8] = [
    check_named::<Record>,
    check_named::<serde_json::Value>,
    check_named::<Untagged>,
    check_named::<Flat>,
    check_named::<List>,
    check_named::<(Vec<u16>, Option<Option<f32>>, Bytes)>,
    check_named::<BTreeMap<(u8, char), Shape>>,
    check_named::<std::net::SocketAddr>,
];

/// What a level of nesting may be in the named form: an option, a newtype, sequences and maps of
/// either kind, fields and variants.
const LEVELS: [&[u8]; 9] = [
    b"\x01",
    b"\x1B",
    b"\x14\x01",
    b"\x15",
    b"\x18\x01\x41x",
    b"\x19\x41x",
    b"\x1A\x01\x04next",
    b"\x1A\x01\x04more",
    b"\x1D\x01\x01x",
];

#[test]
fn named_values() {
    let json = serde_json::json!({"a": [1, -1, 0.5, null, "x"], "id": {"b": true}});
    let list = List { next: Some(Box::new(List { next: None })) };
    let untagged = Untagged::List(vec![Untagged::Nothing(()), Untagged::Shape(Shape::Point)]);
    let flat = Flat { id: 7, rest: BTreeMap::from([("more".to_owned(), json.clone())]) };
    let with = |number: u8, bytes: Vec<u8>| [&[number], &bytes[..]].concat();
    let seeds = Seeds::new("named-values")
        .with("record", with(0, named(&record())))
        .with("json", with(1, named(&json)))
        .with("untagged", with(2, named(&untagged)))
        .with("flat", with(3, named(&flat)))
        .with("list", with(4, named(&list)))
        .with("numbers", with(5, named(&(vec![1_u16, 2], Some(None::<f32>), Bytes::new()))))
        .with("map", with(6, named(&BTreeMap::from([((1_u8, 'x'), Shape::Point)]))))
        .with(
            "address",
            with(7, named(&"[fe80::1%3]:8080".parse::<std::net::SocketAddr>().unwrap())),
        );
    seeds.fuzz((64 << 10, 128), |input| {
        let (number, bytes) = split(input);
        NAMED_TYPES[usize::from(number) % NAMED_TYPES.len()](&Bytes::copy_from_slice(bytes));
    });
}

/// Values of any depth, of what may be nested, in both forms: on a stack that is as small as those
/// of tokio.
#[test]
fn hostile_depth() {
    let seeds = Seeds::new("depth")
        .with("options", vec![0, 4, 0])
        .with("sequences", vec![1, 1, 2])
        .with("maps", vec![2, 2, 2, 4, 5])
        .with("fields", vec![3, 4, 6, 0])
        .with("ignored", vec![4, 0, 7, 2])
        .with("compact", vec![5, 4, 1]);
    seeds.fuzz((64 << 20, 1 << 20), |input| {
        let [times, number, levels @ ..] = input else { return };
        let levels: Vec<u8> = match times % 6 {
            5 => levels.to_vec(), // in the compact form
            _ => levels
                .iter()
                .flat_map(|level| LEVELS[usize::from(*level) % LEVELS.len()])
                .copied()
                .collect(),
        };
        let mark = &named(&())[..if times % 6 == 5 { 0 } else { 2 }];
        let count = 10_usize.pow(u32::from(times % 6).min(4) + 1) / levels.len().max(1);
        let bytes = Bytes::from([mark, &levels.repeat(count)].concat());
        let check = NAMED_TYPES[usize::from(*number) % NAMED_TYPES.len()];
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        std::thread::scope(|scope| {
            thread.spawn_scoped(scope, || check(&bytes)).unwrap().join().unwrap();
        });
    });
}
