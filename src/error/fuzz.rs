//! What a worker says of a task that has failed.

use super::Cause;
use crate::testing::fuzzing::{Seeds, split};
use crate::wire::message::{Outcome, PanicReport};

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
        .with("too-large", vec![4])
        .with("limits", b"\x05there are none".to_vec());
    seeds.fuzz((4 << 10, 16), |input| {
        let (number, payload) = split(input);
        let outcomes = [
            Outcome::Returned,
            Outcome::Panicked,
            Outcome::UndecodableArguments,
            Outcome::UnencodableResult,
            Outcome::ResultTooLarge,
            Outcome::UnsupportedLimit,
        ];
        if let Some(cause) = Cause::told(outcomes[usize::from(number % 6)], payload, 100) {
            drop(format!("{cause} {cause:?}"));
        }
    });
}
