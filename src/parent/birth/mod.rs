//! How a child comes to be.

mod forkserver;
mod orders;
pub(super) mod start;

pub(crate) use self::forkserver::fork_server;
#[cfg(test)]
pub(crate) use self::start::{Body, Spawned};
pub(crate) use self::start::{Spawn, Start, resident_memory};
