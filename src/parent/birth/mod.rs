//! How a child comes to be.

mod forkserver;
mod orders;
mod sharing;
pub(super) mod start;

pub(crate) use self::forkserver::fork_server;
pub(crate) use self::sharing::{SharedServer, Tenant};
#[cfg(test)]
pub(crate) use self::start::{Body, Spawned};
pub(crate) use self::start::{Spawn, Start, resident_memory};
