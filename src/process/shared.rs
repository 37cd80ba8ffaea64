//! What the handles of a process and its monitor share.
//!
//! ```text
//! made ─▶ starting ─▶ running ─▶ ended
//!    └────────┴──────────┴─▶ failed
//! ```

use std::future::Future;
use std::io;
use std::sync::{Arc, MutexGuard};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::error::{ProcessError, ProcessFailure, StartFailure};
use super::plan::Plan;
use super::stdio::Pipes;
use crate::base::sync::Mutex;
use crate::base::{AuthKey, Exceeded, ResourceLimits, current_process};
use crate::function::Registry;
use crate::memory::Payload;
use crate::sys::descriptor::Descriptor;
use crate::sys::process::ChildProcess;
use crate::sys::signal::{SIGINT, SIGTERM, is_ignored};
use crate::sys::socket::control_socket;
use crate::wire::message::Outcome;
use crate::wire::role::{is_uninitialized_worker, report_missing_init};

/// Those that were started and not reaped yet, in the order of their starts.
static ACTIVE: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

pub(super) fn active() -> Vec<Arc<Shared>> {
    let active: Vec<_> = ACTIVE.lock().clone();
    active.into_iter().filter(|shared| shared.inner.lock().is_alive()).collect()
}

pub(super) struct Shared {
    pub(super) name: String,
    pub(super) daemon: bool,
    pub(super) function: &'static str,
    limits: ResourceLimits,
    pub(super) inner: Mutex<Inner>,
    /// Told after every change of the stage.
    changes: watch::Sender<()>,
}

pub(super) struct Inner {
    stage: ProcessStage,
    closed: bool,
    pub(super) authkey: AuthKey,
    pub(super) pipes: Pipes,
    /// Somebody waits for its end, perhaps since before there were pipes.
    is_joined: bool,
    /// Of a typed call.
    reply: Option<CallReply>,
    /// The kernel has killed somebody in its own control group for want of memory.
    was_oom: bool,
}

enum ProcessStage {
    Made(Box<Plan>),
    /// Until it has said that it is ready.
    Starting {
        child: Option<SpawnedProcess>,
        /// What it was sent before it was there, or could hear of it.
        signal: Option<Signal>,
    },
    Running {
        child: SpawnedProcess,
        /// This process's end of the socket. A daemon ends when it is closed, so it is kept even if
        /// the monitor has gone with its runtime.
        _socket: Option<Descriptor>,
    },
    Ended {
        pid: u32,
        code: i32,
        end: Option<Arc<Descriptor>>,
    },
    Failed {
        error: ProcessError,
        /// Its pid, and its exit code, if there was a process.
        remains: Option<(u32, i32)>,
    },
}

/// A process that was started.
#[derive(Clone)]
pub(super) struct SpawnedProcess {
    pub(super) child: Arc<ChildProcess>,
    /// Readable once it has ended.
    pub(super) end: Arc<Descriptor>,
    /// Where the system tells nobody it has ended when this is dropped, with the last copy of this.
    _closes_end: Option<Arc<Descriptor>>,
}

/// What can be sent to a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Terminate,
    Kill,
    Interrupt,
}

impl Signal {
    /// By this process.
    fn is_ignored(self) -> bool {
        match self {
            Self::Terminate => is_ignored(SIGTERM),
            Self::Interrupt => is_ignored(SIGINT),
            Self::Kill => false,
        }
    }
}

/// What a process said of its typed call.
pub(super) enum CallReply {
    Told(Outcome, Payload),
    /// It broke the protocol.
    Nonsense(String),
}

impl Inner {
    fn child(&self) -> Option<&SpawnedProcess> {
        match &self.stage {
            ProcessStage::Starting { child, .. } => child.as_ref(),
            ProcessStage::Running { child, .. } => Some(child),
            ProcessStage::Made(_) | ProcessStage::Ended { .. } | ProcessStage::Failed { .. } => {
                None
            }
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match &self.stage {
            ProcessStage::Ended { pid, .. } => Some(*pid),
            ProcessStage::Failed { remains, .. } => remains.map(|(pid, _)| pid),
            _ => self.child().map(|spawned| spawned.child.pid()),
        }
    }

    /// What the system says, whatever the monitor has seen of it yet.
    pub(super) fn exitcode(&self) -> Option<i32> {
        match &self.stage {
            ProcessStage::Ended { code, .. } => Some(*code),
            ProcessStage::Failed { remains, .. } => remains.map(|(_, code)| code),
            _ => self.child().and_then(|spawned| spawned.child.exit_code()),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.child().is_some_and(|spawned| spawned.child.exit_code().is_none())
    }

    /// The reply of a typed call that is over.
    pub(super) fn reply(&self) -> Option<&CallReply> {
        self.reply.as_ref()
    }
}

impl Shared {
    pub(super) fn new(name: String, daemon: bool, authkey: AuthKey, plan: Plan) -> Self {
        let (function, limits) = (plan.function, plan.program.limits);
        let (stage, pipes) = (ProcessStage::Made(Box::new(plan)), Pipes::default());
        let inner = Inner {
            stage,
            closed: false,
            authkey,
            pipes,
            is_joined: false,
            reply: None,
            was_oom: false,
        };
        Self {
            name,
            daemon,
            function,
            limits,
            inner: Mutex::new(inner),
            changes: watch::Sender::new(()),
        }
    }

    /// Which limit has ended it most likely, if one has.
    pub(super) fn exceeded(&self, code: i32, inner: &Inner) -> Option<Exceeded> {
        const KILLED: i32 = -9;
        if code == KILLED && inner.was_oom {
            return Some(Exceeded::Cgroup);
        }
        self.limits.exceeded(code.checked_neg(), "")
    }

    pub(super) fn error(&self, cause: impl Into<ProcessFailure>) -> ProcessError {
        ProcessError::new(&self.name, self.function, cause)
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, ProcessError> {
        let inner = self.inner.lock();
        if inner.closed { Err(self.error(ProcessFailure::Closed)) } else { Ok(inner) }
    }

    // ----- what the handles do -----

    /// It is starting; what the monitor needs, and the runtime that it is to run on.
    pub(super) fn begin(&self) -> Result<(Handle, Plan, AuthKey), ProcessError> {
        let mut inner = self.open()?;
        match &inner.stage {
            ProcessStage::Made(plan) => self.may_start(plan)?,
            ProcessStage::Failed { error, .. } => return Err(error.clone()),
            _ => return Err(self.error(ProcessFailure::AlreadyStarted)),
        }
        let runtime = Handle::try_current().map_err(|_| self.error(StartFailure::NoRuntime))?;
        let starting = ProcessStage::Starting { child: None, signal: None };
        match std::mem::replace(&mut inner.stage, starting) {
            ProcessStage::Made(plan) => Ok((runtime, *plan, inner.authkey.clone())),
            other => {
                inner.stage = other;
                Err(self.error(ProcessFailure::AlreadyStarted))
            }
        }
    }

    fn may_start(&self, plan: &Plan) -> Result<(), ProcessError> {
        if is_uninitialized_worker(Registry::copy_id()) {
            report_missing_init();
            return Err(self.error(StartFailure::NotInitialized));
        }
        if let Some(name) = Registry::global().ambiguity() {
            return Err(self.error(StartFailure::AmbiguousFunction(name.to_owned())));
        }
        if let Err(cause) = &plan.call {
            return Err(self.error(cause.clone()));
        }
        match current_process() {
            this if this.daemon() => Err(self.error(StartFailure::DaemonChild(this.name()))),
            _ => Ok(()),
        }
    }

    pub(super) async fn started(&self) -> Result<(), ProcessError> {
        let look = |inner: &Inner| match &inner.stage {
            ProcessStage::Made(_) | ProcessStage::Starting { .. } => None,
            ProcessStage::Failed { error, .. } => Some(Err(error.clone())),
            ProcessStage::Running { .. } | ProcessStage::Ended { .. } => Some(Ok(())),
        };
        self.wait_for(look).await
    }

    /// Waits until it is reaped.
    pub(super) fn ended(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<i32, ProcessError>> + Send + Sync + 'static {
        let shared = Arc::clone(self);
        async move {
            let look = |inner: &Inner| match &inner.stage {
                ProcessStage::Ended { code, .. } => Some(Ok(*code)),
                ProcessStage::Failed { error, .. } => Some(Err(error.clone())),
                _ => None,
            };
            shared.wait_for(look).await
        }
    }

    async fn wait_for<T>(&self, look: impl Fn(&Inner) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            let seen = look(&self.inner.lock());
            match seen {
                Some(seen) => return seen,
                None => drop(changes.changed().await), // its sender is here
            }
        }
    }

    /// Its exit code, if there is something to wait for.
    pub(super) fn look(&self) -> Result<Option<i32>, ProcessError> {
        let inner = self.begun()?;
        match &inner.stage {
            ProcessStage::Failed { error, .. } => Err(error.clone()),
            _ => Ok(inner.exitcode()),
        }
    }

    /// Whether there is something to wait for; its standard input is closed if nobody has taken it,
    /// as it may wait for that.
    pub(super) fn prepare_to_join(&self) -> Result<(), ProcessError> {
        let mut inner = self.begun()?;
        inner.is_joined = true;
        inner.pipes.stdin = None;
        Ok(())
    }

    fn begun(&self) -> Result<MutexGuard<'_, Inner>, ProcessError> {
        let inner = self.open()?;
        match inner.stage {
            ProcessStage::Made(_) => Err(self.error(ProcessFailure::NotStarted)),
            _ => Ok(inner),
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let mut inner = self.open()?;
        match &mut inner.stage {
            ProcessStage::Made(_) => return Err(self.error(ProcessFailure::NotStarted)),
            // It gets the strongest.
            ProcessStage::Starting { signal: Some(Signal::Kill), .. } => {}
            ProcessStage::Starting { child, signal: early } => {
                *early = Some(signal);
                if let Some(spawned) = child {
                    spawned.send(signal);
                }
            }
            _ => inner.child().into_iter().for_each(|spawned| spawned.send(signal)),
        }
        Ok(())
    }

    pub(super) fn set_authkey(&self, key: AuthKey) -> Result<(), ProcessError> {
        let mut inner = self.open()?;
        if !matches!(inner.stage, ProcessStage::Made(_)) {
            return Err(self.error(ProcessFailure::AlreadyStarted));
        }
        inner.authkey = key;
        Ok(())
    }

    /// What tells of its end.
    pub(super) fn end(&self) -> Result<Arc<Descriptor>, ProcessError> {
        let inner = self.open()?;
        match (&inner.stage, inner.child()) {
            (_, Some(spawned)) => Ok(Arc::clone(&spawned.end)),
            (ProcessStage::Ended { end: Some(end), .. }, _) => Ok(Arc::clone(end)),
            (ProcessStage::Failed { error, .. }, _) => Err(error.clone()),
            _ => Err(self.error(ProcessFailure::NotStarted)),
        }
    }

    pub(super) fn close(&self) -> Result<(), ProcessError> {
        let mut inner = self.inner.lock();
        if inner.is_alive() || matches!(inner.stage, ProcessStage::Starting { .. }) {
            return Err(self.error(ProcessFailure::Running));
        }
        inner.closed = true;
        inner.pipes = Pipes::default();
        if let ProcessStage::Ended { end, .. } = &mut inner.stage {
            *end = None;
        }
        Ok(())
    }

    /// It will never start, for this reason.
    pub(super) fn refuse(&self, error: ProcessError) {
        self.set_stage(ProcessStage::Failed { error, remains: None });
    }

    // ----- what the monitor does -----

    /// Returns the last one, which is not to be dropped under the lock.
    fn set_stage(&self, stage: ProcessStage) -> ProcessStage {
        let last = std::mem::replace(&mut self.inner.lock().stage, stage);
        self.changes.send_replace(());
        last
    }

    /// There is a process; it has not said hello.
    pub(super) fn spawned(self: &Arc<Self>, spawned: &SpawnedProcess, pipes: Pipes) {
        let mut inner = self.inner.lock();
        inner.pipes = pipes;
        if inner.is_joined {
            inner.pipes.stdin = None;
        }
        if let ProcessStage::Starting { child, signal } = &mut inner.stage {
            *child = Some(spawned.clone());
            if let Some(signal) = *signal {
                spawned.send(signal);
            }
        }
        drop(inner);
        ACTIVE.lock().push(Arc::clone(self));
    }

    /// It is about to run its function.
    pub(super) fn running(&self, child: SpawnedProcess, socket: Option<Descriptor>) {
        let process = child.clone();
        let last = self.set_stage(ProcessStage::Running { child, _socket: socket });
        // If this process ignores it, the other one did so until it said hello.
        if let ProcessStage::Starting { signal: Some(signal), .. } = last
            && signal.is_ignored()
        {
            process.send(signal);
        }
    }

    pub(super) fn failed(
        self: &Arc<Self>,
        cause: impl Into<ProcessFailure>,
        remains: Option<(u32, i32)>,
    ) {
        let error = self.error(cause);
        self.set_stage(ProcessStage::Failed { error, remains });
        self.forget();
    }

    /// It has ended, with this exit code, and is reaped.
    pub(super) fn finished(
        self: &Arc<Self>,
        child: &SpawnedProcess,
        code: i32,
        reply: Option<CallReply>,
    ) {
        let (pid, mut inner) = (child.child.pid(), self.inner.lock());
        let end = (!inner.closed).then(|| Arc::clone(&child.end));
        inner.reply = reply;
        inner.was_oom = child.child.was_oom() == Some(true);
        inner.pipes.stdin = None;
        let last = std::mem::replace(&mut inner.stage, ProcessStage::Ended { pid, code, end });
        drop(inner);
        drop(last); // not under the lock
        self.changes.send_replace(());
        self.forget();
    }

    fn forget(self: &Arc<Self>) {
        let mut active = ACTIVE.lock();
        active.retain(|shared| !Arc::ptr_eq(shared, self));
    }
}

impl SpawnedProcess {
    pub(super) fn new(child: ChildProcess) -> io::Result<Self> {
        let child = Arc::new(child);
        if let Some(end) = child.end() {
            let end = Arc::clone(end);
            return Ok(Self { child, end, _closes_end: None });
        }
        // Nothing is ever written to it, so it is readable once its other end is closed.
        let ends = control_socket().inspect_err(|_| {
            child.kill();
            Arc::clone(&child).reap_in_background(|| {});
        });
        let (end, other) = ends?;
        Ok(Self { child, end: Arc::new(end), _closes_end: Some(Arc::new(other)) })
    }

    fn send(&self, signal: Signal) {
        match signal {
            Signal::Terminate => self.child.terminate(),
            Signal::Kill => self.child.kill(),
            Signal::Interrupt => self.child.interrupt(),
        }
    }
}
