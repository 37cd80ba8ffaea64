//! Values without a type of their own: JSON, TOML, YAML, BSON, CBOR, `MessagePack`.

use std::collections::{BTreeMap, HashMap};

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::harness::{Case, by_debug, case, equal_only, error, tests};

tests!(
    of_serde_json,
    of_toml,
    of_serde_yaml,
    of_serde_yaml_ng,
    of_bson,
    of_ciborium,
    of_rmpv,
    of_what_only_its_own_format_keeps,
);

fn nested_json() -> serde_json::Value {
    json!({
        "name": "a", "none": null, "yes": true, "list": [1, -2, 2.5, "b", [], {}],
        "inner": { "deep": [{ "er": u64::MAX }], "least": i64::MIN },
    })
}

/// As in a program that passes through what it does not know.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Request {
    id: u32,
    params: serde_json::Value,
    priority: u8,
}

fn of_serde_json() -> Vec<Case> {
    type Json = serde_json::Value;
    type Map = serde_json::Map<String, Json>;

    vec![
        case!("serde_json", Json, "null", Json::Null),
        case!("serde_json", Json, "a boolean", json!(true)),
        case!("serde_json", Json, "a number", json!(5)),
        case!("serde_json", Json, "a negative number", json!(-5)),
        case!("serde_json", Json, "a float", json!(5.0)),
        case!("serde_json", Json, "a text", json!("5")),
        case!("serde_json", Json, "a list of 100 numbers", json!(vec![7; 100])),
        case!("serde_json", Json, "nested", nested_json()),
        case!("serde_json", Map, "nested", nested_json().as_object().cloned().unwrap()),
        case!("serde_json", serde_json::Number, "an integer", 5.into()),
        case!("serde_json", serde_json::Number, "a float", {
            serde_json::Number::from_f64(2.5).unwrap()
        }),
        case!(
            "serde_json",
            HashMap<String, Json>,
            "of several",
            HashMap::from([("a".to_owned(), nested_json()), ("b".to_owned(), Json::Null)]),
            equal_only()
        ),
        case!("serde_json", Option<Json>, "None", None),
        case!("serde_json", Option<Json>, "Some(null)", Some(Json::Null)),
        case!("serde_json", Vec<Json>, "empty", Vec::new()),
        case!("serde_json", Vec<Json>, "100", vec![nested_json(); 100]),
        case!("serde_json", Result<Json, String>, "Err", Err("no value".to_owned())),
        case!("serde_json", Result<Json, String>, "Ok", Ok(nested_json())),
        case!("serde_json", Request, "as a field of a structure", {
            Request { id: 1, params: nested_json(), priority: 3 }
        }),
        case!(
            "serde_json",
            Box<RawValue>,
            "a text with spaces of its own",
            RawValue::from_string("{ \"a\" :1.50 }".to_owned()).unwrap(),
            by_debug()
        ),
    ]
}

fn of_toml() -> Vec<Case> {
    fn nested() -> toml::Table {
        let datetime = "2024-02-29T23:59:59.5+05:30".parse().unwrap();
        let list = vec![1.into(), toml::Value::Float(2.0), "b".into(), datetime_of(datetime)];
        let inner = toml::Table::from_iter([
            ("list".to_owned(), toml::Value::Array(list)),
            ("least".to_owned(), i64::MIN.into()),
        ]);
        [("inner".to_owned(), inner.into()), ("yes".to_owned(), true.into())].into_iter().collect()
    }

    fn datetime_of(datetime: toml::value::Datetime) -> toml::Value {
        toml::Value::Datetime(datetime)
    }

    vec![
        case!("toml", toml::Value, "a number", 5.into()),
        case!("toml", toml::Value, "nested, with a date", nested().into()),
        case!("toml", toml::Value, "a date", datetime_of("2024-02-29".parse().unwrap())),
        case!("toml", toml::Table, "nested, with a date", nested()),
        case!("toml", toml::value::Datetime, "with an offset", {
            "2024-02-29T23:59:59.5+05:30".parse().unwrap()
        }),
        case!("toml", toml::value::Datetime, "a time", "23:59:59".parse().unwrap()),
    ]
}

/// The same text for both packages that read YAML.
const YAML: &str = "
name: a
none: null
list: [1, -2, 2.5, b, [], {}, 18446744073709551615]
5: a key that is no text
[1, 2]: a key that is a list
inner: { deep: [{ er: true }] }
";

fn of_serde_yaml() -> Vec<Case> {
    use serde_yaml::{Number, Value, from_str};

    vec![
        case!("serde_yaml", Value, "null", Value::Null),
        case!("serde_yaml", Value, "a number", 5.into()),
        case!("serde_yaml", Value, "nested, keys that are no text", from_str(YAML).unwrap()),
        case!("serde_yaml", serde_yaml::Mapping, "nested", from_str(YAML).unwrap()),
        case!("serde_yaml", Number, "a float", Number::from(2.5)),
    ]
}

fn of_serde_yaml_ng() -> Vec<Case> {
    use serde_yaml_ng::{Value, from_str};

    vec![
        case!("serde_yaml_ng", Value, "a number", 5.into()),
        case!("serde_yaml_ng", Value, "nested, keys that are no text", from_str(YAML).unwrap()),
    ]
}

fn object_id() -> bson::oid::ObjectId {
    bson::oid::ObjectId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 200])
}

fn bson_date() -> bson::DateTime {
    bson::DateTime::from_millis(1_700_000_000_123)
}

fn bson_binary() -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 200, 255] }
}

fn bson_timestamp() -> bson::Timestamp {
    bson::Timestamp { time: 5, increment: 6 }
}

fn bson_decimal() -> bson::Decimal128 {
    "1.50".parse().unwrap()
}

fn document() -> Document {
    doc! {
        "z": 1_i32, "id": object_id(), "date": bson_date(), "none": Bson::Null,
        "list": [1_i32, 5_i64, 2.5, "b", { "c": true }],
        "binary": bson_binary(), "decimal": bson_decimal(), "timestamp": bson_timestamp(),
    }
}

fn of_bson() -> Vec<Case> {
    vec![
        case!("bson", Document, "empty", Document::new()),
        case!("bson", Document, "numbers of both widths", doc! { "a": 5_i32, "b": 5_i64 }),
        case!("bson", Document, "of all kinds", document()),
        case!("bson", Bson, "Int64(5)", Bson::Int64(5)),
        case!("bson", Bson, "Int32(5)", Bson::Int32(5)),
        case!("bson", Bson, "null", Bson::Null),
        case!("bson", Bson, "a document", document().into()),
        case!("bson", Bson, "an identifier", object_id().into()),
        case!("bson", Bson, "a date", bson_date().into()),
        case!("bson", Bson, "bytes", bson_binary().into()),
        case!("bson", bson::DateTime, "with milliseconds", bson_date()),
        case!("bson", bson::Decimal128, "1.50", bson_decimal()),
        case!("bson", bson::Uuid, "16 bytes", bson::Uuid::from_bytes([0xA5; 16])),
        case!("bson", bson::oid::ObjectId, "12 bytes", object_id()),
        case!("bson", bson::Timestamp, "of two numbers", bson_timestamp()),
        case!("bson", Binary, "three bytes", bson_binary()),
    ]
}

fn of_ciborium() -> Vec<Case> {
    use ciborium::Value;

    fn nested() -> Value {
        let list = vec![1.into(), (-2).into(), 2.5.into(), Value::Null, true.into()];
        Value::Map(vec![
            ("list".into(), Value::Array(list)),
            (5.into(), Value::Bytes(vec![0, 200, 255])),
            ("empty".into(), Value::Map(Vec::new())),
        ])
    }

    vec![
        case!("ciborium", Value, "null", Value::Null),
        case!("ciborium", Value, "a number", 5.into()),
        case!("ciborium", Value, "bytes", Value::Bytes(vec![0, 200, 255])),
        case!("ciborium", Value, "nested, keys that are no text", nested()),
        case!("ciborium", Value, "a large number", u64::MAX.into()),
        case!("ciborium", BTreeMap<String, Value>, "of one", {
            BTreeMap::from([("a".to_owned(), nested())])
        }),
    ]
}

fn of_rmpv() -> Vec<Case> {
    use rmpv::Value;

    fn nested() -> Value {
        let list = vec![1.into(), (-2).into(), 2.5.into(), Value::Nil, true.into()];
        Value::Map(vec![
            ("list".into(), Value::Array(list)),
            (5.into(), Value::Binary(vec![0, 200, 255])),
            ("empty".into(), Value::Map(Vec::new())),
        ])
    }

    vec![
        case!("rmpv", Value, "nil", Value::Nil),
        case!("rmpv", Value, "a number", 5.into()),
        case!("rmpv", Value, "a short float", Value::F32(2.5)),
        case!("rmpv", Value, "bytes", Value::Binary(vec![0, 200, 255])),
        case!("rmpv", Value, "nested, keys that are no text", nested()),
    ]
}

/// These packages write such values in a way that their own formats alone can tell from something
/// else: a tag of YAML as a map of one key, a tag of CBOR as a variant, an extension of
/// `MessagePack` as a newtype.
fn of_what_only_its_own_format_keeps() -> Vec<Case> {
    vec![
        case!(
            "serde_yaml",
            serde_yaml::Value,
            "tagged",
            serde_yaml::from_str("a: !thing { b: 1 }").unwrap(),
            error("a tag of YAML")
        ),
        case!(
            "serde_yaml_ng",
            serde_yaml_ng::Value,
            "tagged",
            serde_yaml_ng::from_str("a: !thing { b: 1 }").unwrap(),
            error("a tag of YAML")
        ),
        case!(
            "ciborium",
            ciborium::Value,
            "tagged",
            ciborium::Value::Tag(32, Box::new("a".into()))
        ),
        case!("rmpv", rmpv::Value, "an extension", rmpv::Value::Ext(5, vec![1, 2, 3])),
    ]
}
