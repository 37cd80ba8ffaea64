//! How a child comes to be.

mod forkserver;
mod orders;
mod sharing;
mod site;
pub(super) mod start;

pub(crate) use self::forkserver::fork_server;
pub(crate) use self::sharing::{SharedServer, Tenant};
pub(crate) use self::site::HostSite;
#[cfg(test)]
pub(crate) use self::start::{Body, Spawned};
pub(crate) use self::start::{Spawn, Start, resident_memory};
