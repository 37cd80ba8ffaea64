//! Promises, and whether they are kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// `Err` says which promise was broken.
pub(crate) type Check = Result<(), String>;

/// The promise is broken unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($promise:tt)+) => {
        if !$condition {
            return Err(format!($($promise)+));
        }
    };
}

pub(crate) use ensure;

/// Nothing panics, either.
pub(crate) fn caught(play: impl FnOnce() -> Check) -> Check {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or(Err("panic".to_owned()))
}
