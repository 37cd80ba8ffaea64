//! In which form values are sent, and what is said of those that cannot be: the types, the field,
//! the line to write.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests

use std::fmt;

use procpool::{Named, ProcessPoolExecutor, ValueForm, value_forms};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    version: u8,
    total: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    title: String,
    pages: Vec<Page>,
}

fn page(limit: Option<u64>) -> Page {
    Page { limit, version: 1, total: 70_000 }
}

/// Fails to be serialized.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "is only shown")]
struct Socket {
    number: u8,
}

impl Serialize for Socket {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a socket stays where it is"))
    }
}

/// Panics at anything but what it writes.
#[derive(Debug, PartialEq)]
struct Picky(String);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Picky;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("picky")
            }

            fn visit_str<E>(self, text: &str) -> Result<Picky, E> {
                assert_eq!(text, "picky", "a sample was shown");
                Ok(Picky(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

fn echo(page: Page) -> Page {
    page
}

fn echo_compact(book: Book) -> Book {
    book
}

fn echo_json(value: serde_json::Value) -> serde_json::Value {
    value
}

fn json_compact(text: String) -> serde_json::Value {
    serde_json::Value::String(text)
}

fn echo_named(page: (u8, Named<Page>, String)) -> (u8, Named<Page>, String) {
    page
}

fn open(number: u8) -> Result<u8, Socket> {
    Err(Socket { number })
}

fn picky(text: Picky) -> Picky {
    text
}

fn area(width: f64, height: f64) -> f64 {
    width * height
}

procpool::register!(echo, echo_compact => compact, echo_json, json_compact => compact);
procpool::register!(echo_named, open, picky, area);

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().unwrap()
}

#[tokio::test]
async fn what_was_left_out_is_known_to_be_missing() {
    let pool = pool();
    for page in [page(None), page(Some(7)), page(None)] {
        assert_eq!(pool.run(echo, page.clone()).await.unwrap(), page);
    }
    let value = serde_json::json!({"a": [1, null, {"b": -0.5}]});
    assert_eq!(pool.run(echo_json, value.clone()).await.unwrap(), value);
    let named = (1, Named(page(None)), "behind".to_owned());
    assert_eq!(pool.run(echo_named, named.clone()).await.unwrap(), named);
}

#[test]
fn the_form_of_a_function_can_be_seen() {
    let forms = value_forms(area).unwrap();
    assert_eq!((forms.arguments, forms.result), (ValueForm::Compact, ValueForm::Compact));
    let named = value_forms(echo).unwrap().arguments.to_string();
    assert!(named.starts_with("named: ") && named.contains("`limit`"), "{named}");
    assert_eq!(value_forms(echo_compact).unwrap().arguments, ValueForm::Compact);
    assert_eq!(value_forms(echo_named).unwrap().arguments, ValueForm::Compact);
    assert_eq!(value_forms(|x: u8| x), None);
}

#[tokio::test]
async fn a_value_that_the_asked_form_cannot_carry_is_an_error_that_says_what_to_write() {
    let pool = pool();
    let whole = Book { title: "whole".to_owned(), pages: vec![page(Some(1))] };
    assert_eq!(pool.run(echo_compact, whole.clone()).await.unwrap(), whole);
    let book = Book { pages: vec![page(Some(1)), page(None)], ..whole };
    let error = pool.run(echo_compact, book).await.unwrap_err();
    let text = error.to_string();
    assert!(error.is_codec(), "{text}");
    for part in
        ["`limit` is left out", "`.pages[1]`", "register!(crate::forms::echo_compact => named);"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = pool.run(json_compact, "x".to_owned()).await.unwrap_err();
    let text = error.to_string();
    for part in ["serde_json", "register!(crate::forms::json_compact => named);"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_error_that_cannot_be_sent_is_still_told() {
    let error = pool().run(open, 7).await.unwrap_err();
    let text = error.to_string();
    assert!(error.is_codec(), "{text}");
    for part in ["returned the error `Socket { number: 7 }`", "a socket stays where it is"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_type_that_somebody_has_written_is_shown_nothing_but_its_values() {
    let pool = pool();
    let sent = Picky("picky".to_owned());
    assert_eq!(pool.run(picky, sent).await.unwrap(), Picky("picky".to_owned()));
    let ValueForm::Named { reason } = value_forms(picky).unwrap().arguments else {
        panic!("it was tried out");
    };
    assert!(reason.contains("=> compact"), "{reason}");
}
