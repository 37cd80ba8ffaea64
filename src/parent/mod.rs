//! A child as its parent sees it.

pub(crate) mod birth;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod launch;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod outlet;
pub(crate) mod output;
pub(crate) mod program;
