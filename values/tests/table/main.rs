//! Whether the values of widely used types come back from a pool as they were sent.
//!
//! Each value is sent in six places: by itself, in a `Vec`, in an `Option`, in a tuple, as the
//! value of a `HashMap` and as a field. There is one test for each group of types, in a module for
//! each kind of them. One kind, or one group:
//!
//! ```console
//! $ cargo test -p procpool-values json_like::
//! $ cargo test -p procpool-values json_like::of_bson
//! ```
//!
//! The settings of a pool are read here from all formats of files, as these crates are built here.
//!
//! `summary` prints a table of all values and what came of them, whether that is expected or not:
//!
//! ```console
//! $ cargo test -p procpool-values summary -- --nocapture
//! ```

mod arrays;
mod collections;
mod errors;
mod forms;
mod geo;
mod harness;
mod harness_tests;
mod identifiers;
mod json_like;
mod messages;
mod numbers;
mod serde_attributes;
mod serde_with;
mod settings;
mod std_types;
mod summary;
mod time;

procpool::test_support!();
