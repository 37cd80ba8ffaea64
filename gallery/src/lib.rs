//! Examples that take more than procpool and tokio are the programs in `src/bin`. Here is what the
//! guide shows with such a crate: as a test of procpool it is ignored, and
//! `cargo test -p procpool-gallery --doc -- --ignored` runs it.

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/choosing.md")]
struct Choosing;

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/in_production.md")]
struct InProduction;
