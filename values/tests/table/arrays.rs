//! Arrays of numbers, bytes and pixels.

use bytes::{Bytes, BytesMut};
use image::RgbImage;
use ndarray::{Array1, Array2, ArrayD, IxDyn, ShapeBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_big_array::BigArray;
use serde_bytes::ByteBuf;

use crate::harness::{Case, case, equal_only, tests};

tests!(of_ndarray, of_bytes, of_big_arrays, of_pixels, of_other_types_than_were_written);

fn of_ndarray() -> Vec<Case> {
    vec![
        case!("ndarray", Array2<f64>, "3 by 50", {
            Array2::from_shape_vec((3, 50), (0..150).map(f64::from).collect()).unwrap()
        }),
        case!(
            "ndarray",
            Array2<f64>,
            "columns first",
            Array2::from_shape_vec((3, 50).f(), (0..150).map(f64::from).collect()).unwrap(),
            equal_only()
        ),
        case!("ndarray", Array1<u64>, "100", (0..100).collect()),
        case!("ndarray", ArrayD<f32>, "of any dimension", {
            ArrayD::from_shape_vec(IxDyn(&[2, 3, 4]), (0..24_u8).map(f32::from).collect()).unwrap()
        }),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Blob {
    #[serde(with = "serde_bytes")]
    content: Vec<u8>,
    number: u32,
}

fn of_bytes() -> Vec<Case> {
    vec![
        case!("serde_bytes", ByteBuf, "1,000", ByteBuf::from(vec![0xA5; 1000])),
        case!(
            "serde_bytes",
            Blob,
            "with `serde_bytes`",
            Blob { content: vec![0xA5; 9], number: 3 }
        ),
        case!("bytes", Bytes, "none", Bytes::new()),
        case!("bytes", Bytes, "300,000", Bytes::from(vec![0xA5; 300_000])),
        case!("bytes", BytesMut, "1,000", BytesMut::from(&[0xA5; 1000][..])),
    ]
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Key {
    #[serde(with = "BigArray")]
    key: [u8; 64],
    number: u32,
}

fn of_big_arrays() -> Vec<Case> {
    vec![case!("serde-big-array", Key, "64 bytes", {
        Key { key: std::array::from_fn(|n| u8::try_from(n).unwrap()), number: 3 }
    })]
}

/// What is sent in place of an image, which is no serde type.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pixels {
    width: u32,
    height: u32,
    #[serde(with = "serde_bytes")]
    rgb: Vec<u8>,
}

fn of_pixels() -> Vec<Case> {
    vec![case!("image", Pixels, "the pixels of an `RgbImage`", {
        let image =
            RgbImage::from_fn(40, 30, |x, y| image::Rgb([x, y, x + y].map(|n| n.to_le_bytes()[0])));
        Pixels { width: image.width(), height: image.height(), rgb: image.into_raw() }
    })]
}

// ----- types that are written as numbers and read as something around numbers -----

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Column {
    number: u32,
}

/// Written as numbers, read as structures of one number each.
#[derive(Debug, PartialEq)]
struct Columns(Vec<Column>);

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers: Vec<u32> = self.0.iter().map(|column| column.number).collect();
        numbers.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

fn columns(count: u32) -> Columns {
    Columns((0..count).map(|number| Column { number: number * 1000 }).collect())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Id(u32);

/// Written as numbers, read as newtypes.
#[derive(Debug, PartialEq)]
struct Ids(Vec<Id>);

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers: Vec<u32> = self.0.iter().map(|id| id.0).collect();
        numbers.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

fn ids(count: u32) -> Ids {
    Ids((0..count).map(|number| Id(number * 1000)).collect())
}

fn of_other_types_than_were_written() -> Vec<Case> {
    vec![
        case!("serde", Columns, "63 numbers read as structures", columns(63)),
        case!("serde", Columns, "64 numbers read as structures", columns(64)),
        case!("serde", Columns, "1,000 numbers read as structures", columns(1000)),
        case!("serde", Ids, "63 numbers read as newtypes", ids(63)),
        case!("serde", Ids, "64 numbers read as newtypes", ids(64)),
        case!("serde", Vec<Id>, "100 newtypes", ids(100).0),
        case!("serde", Vec<Column>, "100 structures", columns(100).0),
    ]
}
