//! What both sides must agree on.

pub(crate) mod emit;
pub(crate) mod far;
pub(crate) mod fork;
pub(crate) mod frame;
pub(crate) mod hello;
#[cfg(feature = "hosts")]
pub(crate) mod host;
pub(crate) mod item;
pub(crate) mod message;
pub(crate) mod role;
