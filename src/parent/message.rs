//! What a link and the supervisor of its pool say to each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::{HostId, ResourceLimits, TaskId, WorkerId};
use crate::error::{DeathReport, HostLoss, PoolProcess, StartError, WorkerDeath};
use crate::memory::Payload;
use crate::parent::oom::OomWatch;
use crate::parent::outlet::Outlet;
use crate::sys::memory::SharedPage;
use crate::sys::process::Exit;
use crate::wire::far::{FarAnswer, FarPage, FarQuestion};
use crate::wire::message::{ChunkReplyHeader, Outcome, ReplyHeader};

/// What the supervisor wants of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Write what was put into its outlet.
    Flush,
    /// Give back what it shares and was not used since the last one of these.
    Trim,
    Stop,
    Terminate,
    Kill(Why),
    /// Say what becomes of tasks in its hands, as it is on another host.
    Ask(FarQuestion),
}

/// Why a worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was not ready in time.
    TooLate,
    /// For people to read.
    Text(&'static str),
}

impl Why {
    pub(crate) fn remark(self) -> &'static str {
        match self {
            Self::TooLate => "it was not ready in time",
            Self::Text(remark) => remark,
        }
    }
}

/// Unbounded, so that the supervisor never waits for a link, which may wait for the supervisor. For
/// each worker there is at most one `Flush` for each task that it was sent, and a few others.
pub(crate) type Orders = mpsc::UnboundedReceiver<Order>;

/// Who may hear what a worker says without being woken for it.
pub(crate) trait Listener: Send + Sync {
    /// Takes the messages, unless somebody else is at it: then they are still there.
    fn bring(&self, worker: WorkerId, messages: &mut Vec<Message>);
}

/// Who is told what becomes of hosts.
pub(crate) trait HostListener: Send + Sync {
    /// A host is taken for lost. To be called before the links to its workers end. Whatever runs
    /// there has ended `safe_in` from now.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    fn host_lost(&self, host: HostId, safe_in: Duration);

    /// A host of which it was not known may have so many workers.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    fn host_has(&self, host: HostId, workers: usize);

    /// Hosts that have to be requested come and go together, under one name.
    #[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
    fn hosts_changed(&self, hosts: &[HostId], name: &Arc<str>, change: HostsChange);
}

/// What becomes of hosts that have to be requested. Texts are for people to read.
#[derive(Debug)]
#[cfg_attr(not(feature = "hosts"), allow(dead_code, reason = "no host is another one"))]
pub(crate) enum HostsChange {
    /// They were requested, and are not there yet.
    Awaited(String),
    /// Workers can be started there.
    Came(String),
    /// They were there.
    Gone(String),
    /// They do not come.
    Refused(String),
}

/// What the supervisor is told of a worker.
pub(crate) enum Report {
    Spawned {
        pid: u32,
    },
    /// It is initialized.
    Ready {
        outlet: Outlet,
        claims: Claims,
        /// Why it shares no memory, for people to read.
        unshared: Option<String>,
    },
    /// What came in one piece, in order.
    Messages(Vec<Message>),
    /// To what an order has asked.
    Answer(FarAnswer),
    /// Its pipe is full.
    Blocked,
    Unblocked,
    /// It is gone and reaped. Nothing comes after this.
    Ended(Ended),
}

/// How what was sent to a worker is taken back until it begins.
pub(crate) enum Claims {
    /// Not at all.
    None,
    /// On this page, which it shares with this process.
    Shared(Arc<SharedPage>),
    /// On its host, by the numbers of sendings.
    Numbered,
}

/// What a worker says of its tasks.
pub(crate) enum Message {
    Progress(ProgressMessage),
    Emit(EmitMessage),
    Reply(Reply),
    /// It takes more memory than it may.
    OverMemory,
    /// Somebody else than its pool has asked it to end.
    AskedToEnd,
    /// It cannot open the arguments of its next task, and waits for them to come by the pipe.
    CannotOpen,
}

/// How far a task has come.
pub(crate) struct ProgressMessage {
    pub(crate) task: TaskId,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) text: String,
}

/// A value that a task has emitted.
pub(crate) struct EmitMessage {
    pub(crate) task: TaskId,
    /// The name of its type, if that is not the last one's.
    pub(crate) type_name: Option<String>,
    pub(crate) payload: Payload,
}

/// What became of a task, or of items of a chunk.
pub(crate) enum Reply {
    Task { header: ReplyHeader, payload: Payload },
    Chunk { header: ChunkReplyHeader, entries: Payload },
}

/// What a worker's exit hook came to.
pub(crate) struct ExitReply {
    pub(crate) outcome: Outcome,
    pub(crate) payload: Payload,
}

pub(crate) enum Ended {
    /// It said goodbye.
    Left(Option<ExitReply>),
    Died {
        death: WorkerDeath,
        /// Nothing that it has said was ignored because it broke the protocol.
        is_heard: bool,
        /// What it has left, if it was on another host.
        page: Option<Box<FarPage>>,
    },
    /// It was ready, and its host was lost, so nobody knows how it ends.
    HostLost(HostLoss),
    NotStarted(StartError),
}

impl Ended {
    /// With what is known of memory that was missing. Another program may be in another control
    /// group, of which nothing is known.
    pub(super) fn explained(mut self, watch: &OomWatch, is_own_program: bool) -> Self {
        if let Self::Died { death, .. } | Self::NotStarted(StartError::Died { death, .. }) =
            &mut self
            && death.was_killed_from_outside()
            && let Some(was_oom) = watch.explains_kill().filter(|was| *was || is_own_program)
        {
            death.explain(was_oom);
        }
        self
    }

    /// It was on that host.
    pub(crate) fn on_host(self, host: &Arc<str>) -> Self {
        match self {
            Self::Died { mut death, is_heard, page } => {
                death.on_host(host);
                Self::Died { death, is_heard, page }
            }
            Self::NotStarted(error) => Self::NotStarted(error.on_host(host)),
            ended => ended,
        }
    }

    /// The end of a worker that has said goodbye after it broke the protocol.
    pub(crate) fn disgraced(worker: WorkerId, pid: u32) -> Self {
        let death = WorkerDeath::new(DeathReport {
            process: PoolProcess::Worker(pid),
            worker,
            exit: Exit::default(),
            stderr_tail: String::new(),
            task_output: None,
            limits: ResourceLimits::default(),
            task_limits: None,
            host: None,
            remark: Some("it broke the protocol".to_owned()),
        });
        Self::Died { death, is_heard: true, page: None }
    }
}
