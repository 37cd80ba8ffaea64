//! What two processes share.

pub(crate) mod page;

pub(crate) mod arena;
pub(crate) mod loans;
pub(crate) mod payload;
pub(crate) mod shared;
