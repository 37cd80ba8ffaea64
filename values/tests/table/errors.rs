//! Errors and results of the user's own.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::harness::{Case, case, tests};

tests!(of_thiserror);

#[derive(Debug, PartialEq, Error, Serialize, Deserialize)]
enum Failure {
    #[error("input or output: {0}")]
    Io(String),
    #[error("{name} has {found} parts, not {wanted}")]
    Parts { name: String, found: u64, wanted: u64 },
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Other(#[from] Cause),
}

#[derive(Debug, PartialEq, Error, Serialize, Deserialize)]
#[error("cause {code}")]
struct Cause {
    code: i32,
}

fn parts() -> Failure {
    Failure::Parts { name: "a".to_owned(), found: 1, wanted: 2 }
}

fn of_thiserror() -> Vec<Case> {
    vec![
        case!("thiserror", Failure, "a text", Failure::Io("not found".to_owned())),
        case!("thiserror", Failure, "fields", parts()),
        case!("thiserror", Failure, "no fields", Failure::Cancelled),
        case!("thiserror", Failure, "with a cause", Cause { code: -5 }.into()),
        case!("thiserror", Result<u64, Failure>, "Err", Err(parts())),
        case!("thiserror", Result<u64, Failure>, "Ok", Ok(5)),
    ]
}
