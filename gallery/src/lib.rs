//! Examples that take more than procpool and tokio are the programs in `src/bin`. Here is what the guide
//! shows with such a crate: its tests are ignored in procpool, and `cargo test -p procpool-gallery --doc --
//! --ignored` runs them.

#[cfg(doctest)]
#[doc = include_str!("../../src/guide/choosing.md")]
struct Choosing;
