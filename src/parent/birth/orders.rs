//! What a fork server is asked for, and who asks.

use tokio::sync::{mpsc, oneshot};

use crate::base::WorkerId;
use crate::error::StartError;
use crate::sys::pipe::{ParentPipes, WorkerPipes};
use crate::sys::process::Exit;

/// Reaches the task that owns a fork server; that ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct ServerClient {
    /// Unbounded: there are at most two for each worker, and one at the end.
    orders: mpsc::UnboundedSender<ForkOrder>,
}

/// Names a worker to the server that has forked it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forked {
    pub(crate) pid: u32,
    /// The pid of the server.
    pub(crate) parent: u32,
    /// Which of the servers, as another one may have a child with that pid.
    pub(super) server: u64,
}

#[derive(Debug)]
pub(super) enum ForkOrder {
    Fork(ForkRequest),
    Reap(Forked, oneshot::Sender<Exit>),
    Stop(oneshot::Sender<()>),
}

/// A worker that is wanted.
#[derive(Debug)]
pub(super) struct ForkRequest {
    pub(super) worker: WorkerId,
    /// Made only when it is passed on: many may wait for the server to start, and descriptors are
    /// few.
    pub(super) pipes: Option<Box<(ParentPipes, WorkerPipes)>>,
    pub(super) reply: oneshot::Sender<Result<(Forked, ParentPipes), StartError>>,
}

impl ServerClient {
    /// With where its orders arrive.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ForkOrder>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        (Self { orders }, receiver)
    }

    /// Has a worker forked, and returns this process's ends of its pipes. `None` if the runtime is
    /// ending.
    pub(crate) async fn fork(
        &self,
        worker: WorkerId,
    ) -> Option<Result<(Forked, ParentPipes), StartError>> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(ForkOrder::Fork(ForkRequest { worker, pipes: None, reply })).ok()?;
        answer.await.ok()
    }

    /// Has a worker reaped that has exited. `None` if the server that has forked it is gone.
    pub(crate) async fn reap(&self, worker: Forked) -> Option<Exit> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(ForkOrder::Reap(worker, reply)).ok()?;
        answer.await.ok()
    }

    /// Has a worker reaped that has exited; nobody asks how.
    pub(crate) fn reap_later(&self, worker: Forked) {
        let _ = self.orders.send(ForkOrder::Reap(worker, oneshot::channel().0)); // or it has gone
    }

    /// Ends the server, and returns when it is reaped.
    pub(crate) async fn stop(&self) {
        let (stopped, end) = oneshot::channel();
        if self.orders.send(ForkOrder::Stop(stopped)).is_ok() {
            let _ = end.await; // or the runtime is ending
        }
    }
}
