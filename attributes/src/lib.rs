//! Types with every attribute of serde, alone and in pairs, on their way through a pool and back.
//!
//! The types are written by `build/`; what must come back of their values is in [`expect`]. Values
//! are random and depend on a seed, which a test that fails prints:
//!
//! ```console
//! $ cargo test -p procpool-attributes
//! $ PROCPOOL_ATTRIBUTES_SEED=2 PROCPOOL_ATTRIBUTES_VALUES=5000 cargo test -p procpool-attributes
//! ```

pub mod by_hand;
pub mod expect;
pub mod helpers;
pub mod nest;
pub mod random;
pub mod reference;
pub mod round;

/// For the attribute `crate`.
pub use serde as serde_again;

/// What the modules of types use.
mod generated {
    pub use std::collections::{BTreeMap, HashMap};

    pub use serde::{Deserialize, Serialize};

    pub use crate::expect::{
        Case, Doubt, Sample, in_tuple, not_read, not_written, not_written_if, plain,
    };
    pub use crate::helpers::{
        InnerA, InnerB, Kind, Leaf, apart, is_default, is_zero, same, two, zero,
    };
    pub use crate::random::{Rng, fixed, other};
}

/// The types. The build has checked that every pair of attributes that serde takes is in one.
pub mod types {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}
