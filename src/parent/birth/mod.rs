//! How a child comes to be.

pub(crate) mod forkserver;
pub(crate) mod start;
