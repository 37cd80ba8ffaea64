//! What a `Process` promises.

#[path = "../common/mod.rs"]
mod common;

mod call;
mod exit;
mod family;
mod fields;
mod lifecycle;
mod sentinel;
mod stdio;

procpool::test_support!();
