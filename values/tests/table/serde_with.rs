//! The conversions of `serde_with`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use mime::Mime;
use serde::{Deserialize, Serialize};
use serde_with::base64::Base64;
use serde_with::formats::Flexible;
use serde_with::{
    Bytes, DefaultOnNull, DisplayFromStr, DurationMilliSeconds, OneOrMany, TimestampSeconds,
    TimestampSecondsWithFrac, serde_as, skip_serializing_none,
};

use crate::harness::{Case, case, tests};

tests!(of_conversions, of_conversions_by_what_is_found, of_missing_fields);

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct AsText {
    #[serde_as(as = "DisplayFromStr")]
    number: u64,
    #[serde_as(as = "DisplayFromStr")]
    kind: Mime,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct AsBase64 {
    #[serde_as(as = "Base64")]
    content: Vec<u8>,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct AsBytes {
    #[serde_as(as = "Bytes")]
    content: Vec<u8>,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct AsNumbers {
    #[serde_as(as = "TimestampSeconds<i64>")]
    at: SystemTime,
    #[serde_as(as = "DurationMilliSeconds<u64>")]
    takes: Duration,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct NullIsDefault {
    #[serde_as(as = "DefaultOnNull")]
    number: u32,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LongArray {
    #[serde_as(as = "[_; 40]")]
    numbers: [u16; 40],
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct MapAsList {
    #[serde_as(as = "Vec<(_, _)>")]
    map: BTreeMap<(u8, u8), String>,
    behind: u8,
}

fn of_conversions() -> Vec<Case> {
    vec![
        case!("serde_with", AsText, "`DisplayFromStr`, also of a `Mime`", {
            AsText { number: 5, kind: mime::TEXT_HTML_UTF_8, behind: 6 }
        }),
        case!("serde_with", AsBase64, "`Base64`", {
            AsBase64 { content: vec![0, 200, 255], behind: 6 }
        }),
        case!("serde_with", AsBytes, "`Bytes`", AsBytes { content: vec![0xA5; 100], behind: 6 }),
        case!("serde_with", AsNumbers, "`TimestampSeconds`, `DurationMilliSeconds`", {
            AsNumbers {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                takes: Duration::from_millis(1500),
                behind: 6,
            }
        }),
        case!("serde_with", NullIsDefault, "`DefaultOnNull`", {
            NullIsDefault { number: 5, behind: 6 }
        }),
        case!("serde_with", LongArray, "`[_; 40]`", {
            LongArray { numbers: std::array::from_fn(|n| n.try_into().unwrap()), behind: 6 }
        }),
        case!("serde_with", MapAsList, "a map as `Vec<(_, _)>`", {
            MapAsList { map: BTreeMap::from([((1, 2), "a".to_owned())]), behind: 6 }
        }),
    ]
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Many {
    #[serde_as(as = "OneOrMany<_>")]
    numbers: Vec<u32>,
    behind: u8,
}

#[serde_as]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fraction {
    #[serde_as(as = "TimestampSecondsWithFrac<f64, Flexible>")]
    at: SystemTime,
    behind: u8,
}

fn of_conversions_by_what_is_found() -> Vec<Case> {
    vec![
        case!("serde_with", Many, "`OneOrMany`, none", Many { numbers: Vec::new(), behind: 6 }),
        case!("serde_with", Many, "`OneOrMany`, one", Many { numbers: vec![5], behind: 6 }),
        case!("serde_with", Many, "`OneOrMany`, 100", Many { numbers: vec![5; 100], behind: 6 }),
        case!("serde_with", Fraction, "`TimestampSecondsWithFrac<f64, Flexible>`", {
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
            Fraction { at, behind: 6 }
        }),
    ]
}

#[skip_serializing_none]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    a: Option<u32>,
    b: Option<String>,
    behind: u8,
}

fn of_missing_fields() -> Vec<Case> {
    vec![
        case!("serde_with", Sparse, "`skip_serializing_none`, none skipped", {
            Sparse { a: Some(5), b: Some("a".to_owned()), behind: 6 }
        }),
        case!("serde_with", Sparse, "`skip_serializing_none`, one skipped", {
            Sparse { a: None, b: Some("a".to_owned()), behind: 6 }
        }),
        case!("serde_with", Sparse, "`skip_serializing_none`, both skipped", {
            Sparse { a: None, b: None, behind: 6 }
        }),
    ]
}
