//! Memory that tasks share: made once, passed by reference, read where it is.
//!
//! ```text
//!             freeze                                      serialize (moves it)
//! Exclusive ──────────▶ Frozen ── serialize: a name      Exclusive ────────────▶ Offered ── a name
//!     ▲                   │                                  ▲                      │
//!     └───────────────────┘                                  └──────────────────────┘
//!      try_into_mut, if nobody else has it                     deserialize, once
//! ```
//!
//! Who may look at the bytes is decided by locks that the system keeps (`memory.rs`), so it holds
//! whatever process dies. A name is of use only as long as somebody has the memory open; `keep.rs`
//! sees to that for arguments, `lend.rs` for results.

mod extent;
mod keep;
mod lend;
mod memory;
mod plain;
mod reference;
mod slice;
mod slice_mut;

#[cfg(feature = "hosts")]
pub(crate) use self::keep::GoingFar;
pub(crate) use self::keep::{Kept, collect};
pub(crate) use self::lend::{
    Lent, borrow, lend, lent_descriptors, refuse_to_lend, settle, why_not_lend,
};
pub use self::plain::Plain;
pub use self::slice::{SharedBytes, SharedSlice};
pub use self::slice_mut::{SharedBytesMut, SharedSliceMut};
