//! The hosts of a pool as they can be seen at one moment.

use std::sync::Arc;

use serde::Serialize;

use super::serial;

/// A host of a pool at one moment, in [`PoolStats::hosts`](crate::PoolStats::hosts).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostStats {
    /// What it is called.
    #[serde(serialize_with = "serial::name")]
    pub name: Arc<str>,
    /// Whether workers are started there.
    pub state: HostState,
    /// The most workers that it may have, but for [a few](crate::Builder::surge) while some are
    /// replaced. It is one as long as a host was not reached that says by itself how many it has
    /// room for.
    pub max_workers: usize,
    /// Workers that exist there, as far as is known here. They may start or end.
    pub workers: usize,
    /// Those of them that are initialized, and are idle or busy.
    pub workers_ready: usize,
}

/// Whether a pool starts workers on one of its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HostState {
    /// Workers are started there when there is work for them.
    Serving,
    /// It was lost, or workers do not start there. It is tried by one worker at a time, and less
    /// and less often.
    Resting,
    /// It is not there: it will be requested when there is work for it, or was requested already.
    Away,
}
