//! What the two forms of values cost, beside other formats: each value encoded and decoded in
//! memory, all formats in turn, so that what the machine does beside meets all of them.
//!
//! ```text
//! cargo run --release -p procpool-forms [WORDS OF A ROW]
//! ```
//!
//! A row has the median of the times, and the median of their ratios to those of the format that is
//! named last, with the range of the middle half.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use procpool::__private::{AskedForm, round_trip};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const ROUNDS: usize = 41;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Small {
    id: u64,
    name: String,
    score: f64,
    is_new: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u32,
    customer: Small,
    lines: Vec<Line>,
    note: Option<String>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    article: String,
    count: u16,
    price: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    Paid { by: String, at: u64 },
    Sent(u64, String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

fn small(n: u64) -> Small {
    #[expect(clippy::cast_precision_loss, reason = "any number will do")]
    let score = n as f64 / 7.0;
    Small {
        id: n * 1_000_003,
        name: format!("the name of {n}"),
        score,
        is_new: n.is_multiple_of(3),
    }
}

fn order(n: u64) -> Order {
    let line = |line: u64| Line {
        article: format!("article {line}"),
        count: u16::try_from(line).unwrap_or(1),
        price: i64::try_from(n * line).unwrap_or(1) - 500,
    };
    Order {
        number: u32::try_from(n).unwrap_or(0),
        customer: small(n),
        lines: (0..n % 9).map(line).collect(),
        note: n.is_multiple_of(2).then(|| "leave it at the door".to_owned()),
        state: match n % 3 {
            0 => State::Open,
            1 => State::Paid { by: "card".to_owned(), at: n },
            _ => State::Sent(n, "parcel".to_owned()),
        },
    }
}

/// A document of a megabyte as text.
fn document() -> serde_json::Value {
    let entry = |n: u64| {
        serde_json::json!({
            "id": n, "name": format!("entry {n}"), "tags": ["a", "longer tag", null],
            "position": {"latitude": 0.25 * 3.7, "longitude": -122.5, "floor": n % 7},
            "active": n.is_multiple_of(2), "balance": -1_234_567, "text": "some words of a text. ".repeat(3),
        })
    };
    serde_json::Value::Array((0..4200).map(entry).collect())
}

type Format<'a> = (&'a str, Box<dyn Fn() + 'a>);

fn ours<'a, T: Serialize + DeserializeOwned + 'a>(
    name: &'a str,
    value: &'a T,
    form: AskedForm,
) -> Format<'a> {
    (name, Box::new(move || drop(black_box(round_trip(black_box(value), form).expect("a value")))))
}

/// Each value by itself.
fn each<'a, T>(name: &'a str, values: &'a [T], run: impl Fn(&T) + 'a) -> Format<'a> {
    (name, Box::new(move || values.iter().for_each(&run)))
}

fn message_pack<T: Serialize + DeserializeOwned>(value: &T) -> Format<'_> {
    let there_and_back = move || {
        let bytes = rmp_serde::to_vec_named(black_box(value)).expect("bytes");
        drop(black_box(rmp_serde::from_slice::<T>(&bytes).expect("a value")));
    };
    ("MessagePack with names", Box::new(there_and_back))
}

fn json<T: Serialize + DeserializeOwned>(value: &T) -> Format<'_> {
    let there_and_back = move || {
        let bytes = serde_json::to_vec(black_box(value)).expect("bytes");
        drop(black_box(serde_json::from_slice::<T>(&bytes).expect("a value")));
    };
    ("JSON", Box::new(there_and_back))
}

fn postcard<T: Serialize + DeserializeOwned>(value: &T) -> Format<'_> {
    let there_and_back = move || {
        let bytes = postcard::to_stdvec(black_box(value)).expect("bytes");
        drop(black_box(postcard::from_bytes::<T>(&bytes).expect("a value")));
    };
    ("postcard", Box::new(there_and_back))
}

fn median(mut numbers: Vec<f64>) -> (f64, f64, f64) {
    numbers.sort_by(f64::total_cmp);
    let at = |part: usize| numbers[(numbers.len() - 1) * part / 4];
    (at(1), at(2), at(3))
}

fn row(what: &str, formats: &[Format<'_>]) {
    if std::env::args().nth(1).is_some_and(|wanted| !what.contains(&wanted)) {
        return;
    }
    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        for (at, (_, run)) in formats.iter().enumerate() {
            let start = Instant::now();
            run();
            let took = start.elapsed().as_secs_f64();
            if round > 0 {
                times.entry(at).or_default().push(took); // the first one warms up
            }
        }
    }
    println!("{what}");
    let last = times.values().next_back().cloned().unwrap_or_default();
    for ((name, _), times) in formats.iter().zip(times.values()) {
        let ratios = times.iter().zip(&last).map(|(time, last)| time / last).collect();
        let (low, ratio, high) = median(ratios);
        let (_, time, _) = median(times.clone());
        println!("  {name:<24}{:>9.2} ms {ratio:>7.2} ({low:.2}..{high:.2})", time * 1e3);
    }
}

fn all<T: Serialize + DeserializeOwned>(what: &str, value: &T, others: Vec<Format<'_>>) {
    let mut formats =
        vec![ours("compact", value, AskedForm::Compact), ours("named", value, AskedForm::Named)];
    formats.extend(others);
    row(what, &formats);
}

fn main() {
    let (smalls, orders): (Vec<_>, Vec<_>) =
        ((0..100_000).map(small).collect(), (0..20_000).map(order).collect());
    all("100,000 small structures", &smalls, vec![postcard(&smalls), message_pack(&smalls)]);
    all("20,000 nested structures", &orders, vec![postcard(&orders), message_pack(&orders)]);
    let one = order(5);
    let ones = [&one; 100].map(Order::clone); // apart from each other
    let formats = [
        each("named", &ones, |one| drop(round_trip(one, AskedForm::Named))),
        each("MessagePack with names", &ones, |one| {
            let bytes = rmp_serde::to_vec_named(black_box(one)).expect("bytes");
            drop(black_box(rmp_serde::from_slice::<Order>(&bytes).expect("a value")));
        }),
    ];
    row("100 times one nested structure", &formats);
    let document = document();
    let formats = [
        ("cloned", Box::new(|| drop(black_box(document.clone()))) as Box<dyn Fn()>),
        ours("named", &document, AskedForm::Named),
        message_pack(&document),
        json(&document),
    ];
    row("a JSON document of 1 MB", &formats);
    #[expect(clippy::cast_precision_loss, reason = "any number will do")]
    let number = |n: u32| n as f32 / 3.0;
    let floats: Vec<f64> = (0..3_000_000).map(|n| number(n).into()).collect();
    let arrays: Vec<[f32; 3]> = (0..3_000_000).map(|n| [number(n); 3]).collect();
    let points: Vec<Point> =
        (0..1_500_000).map(|n| Point { x: number(n).into(), y: -0.5 }).collect();
    let options: Vec<Option<f64>> =
        (0..3_000_000).map(|n| (n % 4 != 0).then(|| number(n).into())).collect();
    all("3 million f64", &floats, vec![postcard(&floats)]);
    all("3 million [f32; 3]", &arrays, vec![postcard(&arrays)]);
    all("1.5 million structures of two f64", &points, vec![postcard(&points)]);
    all("3 million Option<f64>", &options, vec![postcard(&options)]);
}
