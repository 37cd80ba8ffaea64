//! What both sides must agree on.

pub(crate) mod fork;
pub(crate) mod frame;
pub(crate) mod role;
