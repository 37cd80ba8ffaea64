//! Where a pool has its workers.

use std::sync::Arc;

use futures::FutureExt;
use tokio::runtime::Handle;

use super::open::Configuration;
#[cfg(feature = "hosts")]
use super::size::default_workers;
#[cfg(feature = "hosts")]
use crate::base::HostId;
use crate::error::build::BuildFailure;
#[cfg(feature = "hosts")]
use crate::function::Call;
#[cfg(feature = "hosts")]
use crate::host::{Host, HostStart};
use crate::parent::birth::{HostSite, SharedServer, Spawn, Start, Tenant, fork_server};
#[cfg(feature = "hosts")]
use crate::parent::inner_threads;
use crate::parent::message::HostListener;
use crate::parent::{Launch, StartMethod};
use crate::scheduler::HostConfig;

impl Configuration {
    /// With each node as a host of its own.
    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(super) fn with_hosts(self) -> Result<Self, BuildFailure> {
        Ok(self)
    }

    /// With each node as a host of its own.
    #[cfg(feature = "hosts")]
    pub(super) fn with_hosts(self) -> Result<Self, BuildFailure> {
        let hosts = self.hosts.into_iter().map(Host::expanded);
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(Self { hosts, ..self })
    }

    /// What the scheduler must know of each host; one at least.
    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(super) fn host_configs(&self) -> Result<Vec<HostConfig>, BuildFailure> {
        Ok(vec![HostConfig::default()])
    }

    /// What the scheduler must know of each host; one at least.
    #[cfg(feature = "hosts")]
    pub(super) fn host_configs(&self) -> Result<Vec<HostConfig>, BuildFailure> {
        if self.hosts.is_empty() {
            return Ok(vec![HostConfig::default()]);
        }
        if let Some(host) = self.hosts.iter().find(|host| workers_on(host) == Some(0)) {
            return Err(BuildFailure::NoWorkersOnHost(host.name_of()));
        }
        if self.is_elsewhere() {
            if !self.launch.program.pass_fds.is_empty() {
                return Err(BuildFailure::NotOnHosts("pass_fds"));
            }
            if self.calls().any(|call| !call.arguments.kept().is_empty()) {
                return Err(BuildFailure::NotOnHosts("shared memory"));
            }
            if self.fork_server.is_some() {
                return Err(BuildFailure::NotOnHosts("fork_server"));
            }
        }
        let config = |host: &Host| {
            // One worker is enough to learn how many there may be.
            let workers = Some(workers_on(host).unwrap_or(1));
            HostConfig { workers, is_away: host.is_away() }
        };
        Ok(self.hosts.iter().map(config).collect())
    }

    /// Whether workers may be on other machines.
    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn is_elsewhere(&self) -> bool {
        false
    }

    /// Whether workers may be on other machines.
    #[cfg(feature = "hosts")]
    pub(super) fn is_elsewhere(&self) -> bool {
        self.hosts.iter().any(|host| !host.is_local())
    }

    /// So many workers the hosts may have together; `None` for any number, and as long as that is
    /// not known.
    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(super) fn most_on_hosts(&self) -> Option<usize> {
        None
    }

    /// So many workers the hosts may have together; `None` for any number, and as long as that is
    /// not known.
    #[cfg(feature = "hosts")]
    pub(super) fn most_on_hosts(&self) -> Option<usize> {
        let limits = self.hosts.iter().map(workers_on);
        limits.reduce(|sum, limit| Some(sum?.saturating_add(limit?)))?
    }

    /// How many workers there may be on this machine; `None` if all hosts are other ones.
    #[cfg(not(feature = "hosts"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(super) fn sharing_workers(&self, max_workers: usize) -> Option<usize> {
        Some(max_workers)
    }

    /// How many workers there may be on this machine; `None` if all hosts are other ones.
    #[cfg(feature = "hosts")]
    pub(super) fn sharing_workers(&self, max_workers: usize) -> Option<usize> {
        if self.hosts.is_empty() {
            return Some(max_workers);
        }
        let local = self.hosts.iter().filter(|host| host.is_local()).filter_map(workers_on);
        local.reduce(usize::saturating_add).map(|workers| workers.min(max_workers))
    }

    /// What processes call once.
    #[cfg(feature = "hosts")]
    fn calls(&self) -> impl Iterator<Item = &Call> {
        let calls = [&self.preload, &self.initializer].into_iter().flatten();
        let hooks = self.hooks.iter().flatten().map(|(_, call)| call);
        let hook = self.exit_hook.iter().flatten().map(|hook| &hook.call);
        calls.flatten().chain(hooks).chain(hook)
    }

    /// Makes the site of each host.
    #[cfg(not(feature = "hosts"))]
    pub(super) fn sites(&self, runtime: &Handle) -> impl MakeSites + use<> {
        let (runtime, server) = (runtime.clone(), self.fork_server.clone());
        move |launch: &Arc<Launch>, _: &Arc<dyn HostListener>| vec![local(launch, server, &runtime)]
    }

    /// Makes the site of each host.
    #[cfg(feature = "hosts")]
    pub(super) fn sites(&self, runtime: &Handle) -> impl MakeSites + use<> {
        let (runtime, server) = (runtime.clone(), self.fork_server.clone());
        let (hosts, asked) = (self.hosts.clone(), self.inner_threads);
        // Not settled yet: each host has threads for its own workers.
        let program = self.launch.program.clone();
        move |launch: &Arc<Launch>, listener: &Arc<dyn HostListener>| {
            if hosts.is_empty() {
                return vec![local(launch, server, &runtime)];
            }
            let launch = Launch { program, ..Launch::clone(launch) };
            let site = |(number, host): (u32, &Host)| {
                if host.is_local() {
                    let mut launch = Launch { host: Some(host.name_of()), ..launch.clone() };
                    let workers = workers_on(host).unwrap_or(1);
                    launch.settle(asked.map(|count| inner_threads(count, workers)));
                    return local(&Arc::new(launch), server.clone(), &runtime);
                }
                far(HostId(number), host, &launch, asked, listener)
            };
            (0..).zip(&hosts).map(site).collect()
        }
    }
}

/// Makes the site of each host, once it is known how workers are started, and who is to be told of
/// hosts.
pub(crate) trait MakeSites:
    FnOnce(&Arc<Launch>, &Arc<dyn HostListener>) -> Vec<HostSite>
{
}

impl<F: FnOnce(&Arc<Launch>, &Arc<dyn HostListener>) -> Vec<HostSite>> MakeSites for F {}

/// The most workers of a host; `None` as long as that is not known.
#[cfg(feature = "hosts")]
fn workers_on(host: &Host) -> Option<usize> {
    host.wanted_workers().or_else(|| host.is_local().then(|| default_workers(cfg!(windows))))
}

/// This machine.
fn local(launch: &Arc<Launch>, shared: Option<SharedServer>, runtime: &Handle) -> HostSite {
    HostSite { start: starter(launch, shared, runtime), launch: Arc::clone(launch) }
}

/// Another one, with which no memory is shared.
#[cfg(feature = "hosts")]
fn far(
    id: HostId,
    host: &Host,
    launch: &Launch,
    inner_threads: Option<usize>,
    listener: &Arc<dyn HostListener>,
) -> HostSite {
    let start = HostStart::new(id, host, inner_threads, Arc::clone(listener));
    HostSite { start: Arc::new(start), launch: Arc::new(launch.on_host(&host.name_of())) }
}

/// What starts workers.
fn starter(launch: &Arc<Launch>, shared: Option<SharedServer>, runtime: &Handle) -> Arc<dyn Start> {
    if let Some(server) = shared {
        return Arc::new(Tenant::new(server));
    }
    match launch.start_method {
        StartMethod::Spawn => Arc::new(Spawn),
        StartMethod::ForkServer => {
            let (server, work) = fork_server(Arc::clone(launch));
            runtime.spawn(work.boxed());
            Arc::new(server)
        }
    }
}
