//! Arguments and results, as they are decoded.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Seeds, encoded, split};
use crate::codec::{decode, decode_shared};
use crate::error::Cause;
use crate::wire::{Outcome, PanicReport};

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

#[test]
fn failures() {
    let report = PanicReport {
        message: "it was bad".to_owned(),
        location: Some("src/main.rs:3:7".to_owned()),
        backtrace: "0: main\n1: start".to_owned(),
    };
    let report = postcard::to_stdvec(&report).unwrap();
    let seeds = Seeds::new("failures")
        .with("panic", [&[1], &report[..]].concat())
        .with("arguments", b"\x02they are bad".to_vec())
        .with("result", b"\x03it is bad".to_vec())
        .with("too-large", vec![4]);
    seeds.fuzz((4 << 10, 16), |input| {
        let (number, payload) = split(input);
        let outcomes = [
            Outcome::Returned,
            Outcome::Panicked,
            Outcome::UndecodableArguments,
            Outcome::UnencodableResult,
            Outcome::ResultTooLarge,
        ];
        if let Some(cause) = Cause::told(outcomes[usize::from(number % 5)], payload, 100) {
            drop(format!("{cause} {cause:?}"));
        }
    });
}
