//! Messages and objects whose encoding is made by other macros than serde's.

use std::fmt::Debug;

use prost::{Message, Oneof};
use serde::{Deserialize, Serialize};

use crate::harness::{Case, by_debug, case, tests};

tests!(of_typetag, of_prost);

#[typetag::serde]
trait Shape: Debug {}

#[derive(Debug, Serialize, Deserialize)]
struct Circle {
    radius: f64,
}

#[typetag::serde]
impl Shape for Circle {}

#[derive(Debug, Serialize, Deserialize)]
struct Empty;

#[typetag::serde]
impl Shape for Empty {}

#[typetag::serde(tag = "type")]
trait Job: Debug {}

#[derive(Debug, Serialize, Deserialize)]
struct Resize {
    width: u32,
    name: Option<String>,
}

#[typetag::serde]
impl Job for Resize {}

#[typetag::serde(tag = "type", content = "value")]
trait Step: Debug {}

#[typetag::serde]
impl Step for Resize {}

fn resize() -> Resize {
    Resize { width: 640, name: Some("a".to_owned()) }
}

fn of_typetag() -> Vec<Case> {
    vec![
        case!("typetag", Box<dyn Shape>, "external", Box::new(Circle { radius: 1.5 }), by_debug()),
        case!("typetag", Box<dyn Shape>, "external, empty", Box::new(Empty), by_debug()),
        case!("typetag", Box<dyn Job>, "`tag`", Box::new(resize()), by_debug()),
        case!("typetag", Box<dyn Step>, "`tag` and `content`", Box::new(resize()), by_debug()),
    ]
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
struct Person {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, optional, tag = "2")]
    age: Option<u32>,
    #[prost(double, repeated, tag = "3")]
    scores: Vec<f64>,
    #[prost(oneof = "Contact", tags = "4, 5")]
    contact: Option<Contact>,
}

#[derive(Clone, PartialEq, Oneof, Serialize, Deserialize)]
enum Contact {
    #[prost(string, tag = "4")]
    Mail(String),
    #[prost(uint64, tag = "5")]
    Phone(u64),
}

fn of_prost() -> Vec<Case> {
    vec![
        case!("prost", Person, "with serde's derives", {
            Person { name: "a".to_owned(), age: Some(0), scores: vec![0.5; 100], contact: None }
        }),
        case!("prost", Person, "with serde's derives, a `oneof`", {
            let contact = Some(Contact::Phone(u64::MAX));
            Person { name: String::new(), age: None, scores: Vec::new(), contact }
        }),
        case!("prost", Contact, "with serde's derives", Contact::Mail("a@example.com".to_owned())),
    ]
}
