//! What a fork server is asked for, and who asks.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::base::WorkerId;
use crate::error::StartError;
use crate::sys::pipe::{ParentPipes, WorkerPipes};
use crate::sys::process::{ChildProcess, Exit};

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
    Reap(ReapRequest),
    Stop(oneshot::Sender<()>),
}

/// A worker that is wanted.
#[derive(Debug)]
pub(super) struct ForkRequest {
    pub(super) worker: WorkerId,
    /// What is shared with it has to be sent to it.
    pub(super) sends_memory: bool,
    /// Made only when it is passed on: many may wait for the server to start, and descriptors are
    /// few.
    pub(super) pipes: Option<Box<(ParentPipes, WorkerPipes)>>,
    pub(super) reply: oneshot::Sender<Result<(Forked, ParentPipes), StartError>>,
}

/// A worker that is to be reaped, as it has exited or was killed. If this is dropped its server is
/// gone, and it belongs to somebody else: to this process, if orphans come here.
#[derive(Debug)]
pub(super) struct ReapRequest {
    pub(super) worker: Forked,
    /// If it could be taken over.
    child: Option<Arc<ChildProcess>>,
    /// If somebody waits.
    reply: Option<oneshot::Sender<Exit>>,
}

impl ReapRequest {
    /// One of which nobody asks how it has ended.
    pub(super) fn unasked(worker: Forked, child: Option<Arc<ChildProcess>>) -> Self {
        Self { worker, child, reply: None }
    }

    /// It is reaped.
    pub(super) fn answer(mut self, exit: Exit) {
        if let Some(child) = self.child.take() {
            child.was_reaped(exit);
        }
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(exit); // or nobody waits any more
        }
    }
}

impl Drop for ReapRequest {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.was_orphaned();
        }
    }
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
        sends_memory: bool,
    ) -> Option<Result<(Forked, ParentPipes), StartError>> {
        let (reply, answer) = oneshot::channel();
        let request = ForkRequest { worker, sends_memory, pipes: None, reply };
        self.orders.send(ForkOrder::Fork(request)).ok()?;
        answer.await.ok()
    }

    /// Has a worker reaped that has exited. `None` if the server that has forked it is gone.
    pub(crate) async fn reap(&self, worker: Forked, child: &Arc<ChildProcess>) -> Option<Exit> {
        let (reply, answer) = oneshot::channel();
        let (child, reply) = (Some(Arc::clone(child)), Some(reply));
        self.orders.send(ForkOrder::Reap(ReapRequest { worker, child, reply })).ok()?;
        answer.await.ok()
    }

    /// Has a worker reaped that has exited or was killed; nobody asks how.
    pub(crate) fn reap_later(&self, worker: Forked, child: Option<Arc<ChildProcess>>) {
        let request = ReapRequest::unasked(worker, child);
        let _ = self.orders.send(ForkOrder::Reap(request)); // or it has gone
    }

    /// Ends the server, and returns when it is reaped.
    pub(crate) async fn stop(&self) {
        let (stopped, end) = oneshot::channel();
        if self.orders.send(ForkOrder::Stop(stopped)).is_ok() {
            let _ = end.await; // or the runtime is ending
        }
    }
}
