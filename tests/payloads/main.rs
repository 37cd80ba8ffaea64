//! What crosses between processes: its form, its depth, and the memory that it goes through.

#[path = "../common/mod.rs"]
mod common;

mod command_child;
mod depth;
mod forms;
mod shared;
mod shared_forged;
mod shared_payload_failures;

procpool::test_support!();
