//! Starts workers on one host: connects to it when the first one is wanted, and again after it was
//! lost.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::split;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::base::{HostId, WorkerId};
use crate::error::StartError;
use crate::host::connection::AgentConnection;
use crate::host::far::FarStart;
use crate::host::spec::{Host, Reach};
use crate::parent::Launch;
use crate::parent::birth::FarLaunch;
use crate::parent::birth::Source;
use crate::parent::birth::{ClaimsPage, FarInput, FrameSink};
use crate::parent::birth::{Spawned, Start};
use crate::parent::message::{HostListener, Order, Orders, Why};
use crate::wire::host::StreamHeader;

/// A host may say what it likes of its CPUs, and has no more workers for it than this.
const MOST_WORKERS: usize = 1_024;

/// See the [module](self).
pub(crate) struct HostStart {
    host: HostId,
    name: Arc<str>,
    reach: Reach,
    lease: Duration,
    inner_threads: Option<usize>,
    /// The most there; `None` for as many as it has CPUs.
    workers: Option<usize>,
    listener: Arc<dyn HostListener>,
    connection: Mutex<Connecting>,
    /// To make a connection.
    attempts: AtomicU64,
}

/// The connection, and what came of the attempts to make one.
#[derive(Default)]
struct Connecting {
    connection: Option<Arc<AgentConnection>>,
    failure: Option<StartError>,
}

/// How many workers a host may have that says that it has so many CPUs.
fn workers_for(cpus: u32) -> usize {
    (cpus as usize).clamp(1, MOST_WORKERS)
}

impl fmt::Debug for HostStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostStart").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HostStart {
    pub(crate) fn new(
        host: HostId,
        spec: &Host,
        inner_threads: Option<usize>,
        listener: Arc<dyn HostListener>,
    ) -> Self {
        if let Some(allocation) = spec.reach.allocation() {
            allocation.join(host, &listener);
        }
        Self {
            host,
            name: spec.name_of(),
            reach: spec.reach.clone(),
            lease: spec.lease,
            inner_threads,
            workers: spec.workers,
            listener,
            connection: Mutex::default(),
            attempts: AtomicU64::new(0),
        }
    }

    /// The connection, which is made if there is none.
    async fn connection(&self, launch: &Launch) -> Result<Arc<AgentConnection>, StartError> {
        let before = self.attempts.load(Ordering::Relaxed);
        let mut connecting = self.connection.lock().await;
        if let Some(connection) = &connecting.connection
            && connection.workers.lost().is_none()
        {
            return Ok(Arc::clone(connection));
        }
        // Many may wait for one attempt. They need not fail one after the other.
        if self.attempts.load(Ordering::Relaxed) > before
            && let Some(failure) = &connecting.failure
        {
            return Err(failure.clone());
        }
        connecting.connection = None;
        let opened = self.open(launch).await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match opened {
            Ok(connection) => {
                let connection = Arc::new(connection);
                if self.workers.is_none() {
                    self.listener.host_has(self.host, workers_for(connection.agent.cpus));
                }
                connecting.failure = None;
                connecting.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(reason) => {
                let failure = self.unreachable(&reason);
                connecting.failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    async fn open(&self, launch: &Launch) -> Result<AgentConnection, String> {
        let far = FarLaunch::new(launch, self.inner_threads, self.workers);
        let bytes = far.to_bytes().map_err(|error| error.to_string())?;
        let whose = format!("{}: host {:?}", launch.name, self.name);
        let (host, listener) = (self.host, Arc::clone(&self.listener));
        let on_loss = Box::new(move |safe_in| listener.host_lost(host, safe_in));
        AgentConnection::open(&self.reach, whose, &bytes, self.lease, on_loss).await
    }

    fn unreachable(&self, reason: &str) -> StartError {
        StartError::Unreachable { host: Arc::clone(&self.name), reason: reason.into() }
    }

    async fn start(&self, worker: WorkerId, launch: &Launch) -> Result<Spawned, StartError> {
        let connection = self.connection(launch).await?;
        let (mut body, starting) = connection.workers.expect(worker, connection.orders());
        let lost = || {
            let reason = connection.workers.lost().unwrap_or_else(|| "it was just lost".into());
            self.unreachable(&reason)
        };
        let frames = connection.open_stream(StreamHeader::Frames(worker)).await;
        let output = connection.open_stream(StreamHeader::Output(worker)).await;
        let (Ok(frames), Ok(output)) = (frames, output) else { return Err(lost()) };
        let page = match starting.await {
            Ok(Ok(FarStart { pid, page })) => {
                body.set_pid(pid);
                page
            }
            Ok(Err(failure)) => {
                body.forget();
                return Err(StartError::AsAgentSays(failure));
            }
            Err(_) => return Err(lost()),
        };
        let (reader, writer) = split(frames);
        Ok(Spawned {
            stdout: Source::Far(Box::new(body.output(reader))),
            stderr: Source::Far(Box::new(output)),
            stdin: FrameSink::Far(FarInput(Box::new(writer))),
            claims: page.map(ClaimsPage::Far).ok_or_else(|| io::ErrorKind::Unsupported.into()),
            maker: Some(connection.agent.pid),
            body: Box::new(body),
        })
    }
}

impl Start for HostStart {
    /// This may take as long as it takes to reach the host, so it can be given up.
    fn start<'a>(
        &'a self,
        worker: WorkerId,
        launch: &'a Arc<Launch>,
        orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>> {
        Box::pin(async move {
            let mut starting = pin!(self.start(worker, launch));
            loop {
                tokio::select! {
                    biased;
                    started = &mut starting => return started,
                    order = orders.recv() => match order {
                        Some(Order::Flush | Order::Trim) => {}
                        Some(Order::Kill(Why::TooLate)) => {
                            let limit = launch.start_timeout;
                            let reason = format!("it was not reached within {limit:?}");
                            return Err(self.unreachable(&reason));
                        }
                        _ => return Err(self.unreachable("nobody waits for it any more")),
                    },
                }
            }
        })
    }

    fn request(&self, runtime: &Handle) {
        if let Some(allocation) = self.reach.allocation() {
            allocation.request(runtime);
        }
    }

    /// All workers have ended.
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let connection = self.connection.lock().await.connection.take();
            if let Some(connection) = connection.and_then(Arc::into_inner) {
                connection.close().await;
            }
            if let Some(allocation) = self.reach.allocation() {
                allocation.leave().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_lies_about_its_cpus_has_a_bounded_number_of_workers() {
        let workers = [0, 1, 64, 1_024, u32::MAX].map(workers_for);
        assert_eq!(workers, [1, 1, 64, 1_024, 1_024]);
    }
}
