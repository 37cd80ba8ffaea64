//! What two processes share.

mod arena;
mod loans;
pub(crate) mod page;
mod payload;
pub(crate) mod shared;

pub(crate) use self::arena::{
    Arena, Draft, Lease, Slab, Slabs, is_given_up, lease_word, readers_word, segment_size,
};
pub(crate) use self::loans::{FREE, GIVEN_UP, LENT, Loans, OFFERED, SEGMENTS, TAKEN, turn_word};
pub(crate) use self::payload::{Encoded, Payload};
