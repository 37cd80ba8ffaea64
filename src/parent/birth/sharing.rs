//! A fork server that several pools share. It ends with the last of those that hold it.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use crate::base::WorkerId;
use crate::base::sync::Mutex;
use crate::error::StartError;
use crate::parent::birth::forkserver::fork_server;
use crate::parent::birth::orders::ServerClient;
use crate::parent::birth::start::{Spawned, Start, fork};
use crate::parent::launch::Launch;
use crate::parent::message::Orders;

/// Holds a server, as its handles, builders and pools do.
#[derive(Clone, Debug)]
pub(crate) struct SharedServer(Arc<Holding>);

#[derive(Debug)]
struct Holding {
    /// How the server is started, and what its pools have from it.
    launch: Arc<Launch>,
    client: ServerClient,
}

impl SharedServer {
    /// Begins with no server. The task that owns it runs on that runtime.
    pub(crate) fn new(launch: Launch, runtime: &Handle) -> Self {
        let launch = Arc::new(launch);
        let (client, work) = fork_server(Arc::clone(&launch));
        // Boxed, as each type of future that is spawned is some thousand lines for the compiler.
        runtime.spawn(work.boxed());
        Self(Arc::new(Holding { launch, client }))
    }

    pub(crate) fn launch(&self) -> &Launch {
        &self.0.launch
    }
}

/// Has the workers of one of the pools forked.
#[derive(Debug)]
pub(crate) struct Tenant {
    client: ServerClient,
    /// Until the pool has ended.
    holding: Mutex<Option<SharedServer>>,
}

impl Tenant {
    pub(crate) fn new(server: SharedServer) -> Self {
        Self { client: server.0.client.clone(), holding: Mutex::new(Some(server)) }
    }
}

impl Start for Tenant {
    fn start<'a>(
        &'a self,
        worker: WorkerId,
        launch: &'a Arc<Launch>,
        orders: &'a mut Orders,
    ) -> BoxFuture<'a, Result<Spawned, StartError>> {
        Box::pin(fork(worker, launch, &self.client, orders, without_runtime))
    }

    /// If nobody else holds the server it ends now, and this returns when it is reaped.
    fn stop(&self) -> BoxFuture<'_, ()> {
        let holding = self.holding.lock().take();
        let last = holding.and_then(|holding| Arc::into_inner(holding.0));
        Box::pin(async move {
            if let Some(Holding { client, .. }) = last {
                client.stop().await;
            }
        })
    }
}

fn without_runtime() -> io::Error {
    let text = "its fork server has ended with the runtime in which it was built";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
