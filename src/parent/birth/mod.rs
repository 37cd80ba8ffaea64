//! How a child comes to be.

#[cfg(feature = "hosts")]
mod far;
mod forkserver;
mod orders;
mod sharing;
mod site;
pub(super) mod start;

#[cfg(feature = "hosts")]
pub(crate) use self::far::FarLaunch;
pub(crate) use self::forkserver::fork_server;
pub(crate) use self::sharing::{SharedServer, Tenant};
pub(crate) use self::site::HostSite;
#[cfg(any(test, feature = "hosts"))]
pub(crate) use self::start::{Body, ClaimsPage, Spawned};
pub(crate) use self::start::{Spawn, Start, resident_memory};
#[cfg(feature = "hosts")]
pub(crate) use crate::parent::program::own_arguments;
#[cfg(feature = "hosts")]
pub(crate) use crate::parent::sink::{FarInput, FrameSink};
#[cfg(feature = "hosts")]
pub(crate) use crate::parent::source::Source;
