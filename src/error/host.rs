//! How a host was lost, and a worker with it.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::text::OneLine;
use crate::base::WorkerId;

/// How a worker was lost with its host: the connection to the host has ended, or nothing was heard
/// of it for too long. Nobody knows whether the worker still runs there.
#[derive(Clone, Debug)]
pub struct HostLoss(Arc<HostLossReport>);

#[derive(Debug)]
struct HostLossReport {
    host: Arc<str>,
    reason: Arc<str>,
    worker: WorkerId,
    pid: u32,
}

impl HostLoss {
    /// The reason is for people to read.
    pub(crate) fn new(host: Arc<str>, reason: Arc<str>, worker: WorkerId, pid: u32) -> Self {
        Self(Arc::new(HostLossReport { host, reason, worker, pid }))
    }

    /// What the host is called.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Why it is taken for lost, for people to read.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The worker's id in the pool.
    pub fn worker_id(&self) -> WorkerId {
        self.0.worker
    }

    /// The process id that the worker had on its host.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }
}

impl fmt::Display for HostLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostLossReport { host, reason, worker, pid } = &*self.0;
        write!(OneLine(f), "{worker} (pid {pid}) was lost with its host {host:?}: {reason}")
    }
}

impl std::error::Error for HostLoss {}
