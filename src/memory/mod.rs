//! What two processes share.

mod arena;
mod loans;
pub(crate) mod page;
mod payload;
mod segments;
mod share;
pub(crate) mod shared;

pub(crate) use self::arena::Arena;
#[cfg(test)]
pub(crate) use self::arena::lease_word;
pub(crate) use self::loans::Loans;
pub(crate) use self::payload::{Encoded, Payload};
pub(crate) use self::segments::Segments;
pub(crate) use self::share::share;
