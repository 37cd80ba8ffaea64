//! How the workers of a pool are started, and what is said when that fails.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Identity, ResourceLimits, WorkerId};
use crate::error::{PoolProcess, Refusal, StartError};
use crate::function::{Call, Registry};
use crate::memory::Payload;
use crate::parent::output::WorkerOutput;
use crate::parent::program::Program;
use crate::sys::memory::SharedPageRef;
use crate::wire::frame::VERSION;
use crate::wire::hello::{Hello, PreloadHeader};
use crate::wire::message::Stop;

/// How the workers of a pool are started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The pool's.
    pub(crate) name: String,
    pub(crate) program: Program,
    /// Their processes are forked by one that was told the functions, and ran the preload, before.
    pub(crate) forked: bool,
    pub(crate) preload: Option<Arc<Call>>,
    pub(crate) initializer: Option<Arc<Call>>,
    pub(crate) exit_hook: Option<Arc<Call>>,
    pub(crate) max_payload: usize,
    /// In bytes; see [`Builder::shared_memory`](crate::Builder::shared_memory).
    pub(crate) shared_memory: usize,
    pub(crate) max_tasks: Option<u64>,
    /// See [`Builder::max_memory_per_child`](crate::Builder::max_memory_per_child).
    pub(crate) max_memory: Option<u64>,
    pub(crate) limits: ResourceLimits,
    pub(crate) output: WorkerOutput,
    pub(crate) start_timeout: Duration,
}

impl Launch {
    /// After how many tasks workers leave by themselves. With an exit hook they wait to be told to,
    /// as that is when they are told of the hook.
    pub(crate) fn leaves_after(&self) -> Option<u64> {
        self.max_tasks.filter(|_| self.exit_hook.is_none())
    }

    /// How many bytes each worker may share with its parent.
    pub(crate) fn memory_for_results(&self) -> u64 {
        self.shared_memory as u64 / 2
    }

    /// The hello, with what comes behind it.
    pub(crate) fn hello(
        &self,
        worker: WorkerId,
        claims: Option<SharedPageRef>,
    ) -> (Hello, Payload) {
        let functions = (!self.forked).then(|| Registry::global().names());
        let preload = self.preload.as_deref().filter(|_| !self.forked);
        let header = preload.map(|call| PreloadHeader {
            function: call.function,
            length: call.arguments.len() as u64,
        });
        let initializer = self.initializer.as_deref();
        let hello = Hello {
            version: VERSION,
            worker,
            identity: Identity::of_worker(&self.name, worker),
            max_payload: self.max_payload as u64,
            max_memory: self.max_memory,
            limits: self.limits,
            pass_fds: self.program.pass_fds.clone(),
            max_tasks: self.leaves_after(),
            functions,
            preload: header,
            initializer: initializer.map(|call| call.function),
            claims,
            shared_memory: self.memory_for_results(),
        };
        let first = preload.map(|call| call.arguments.clone());
        let second = initializer.map(|call| call.arguments.clone());
        let arguments = match (first, second) {
            (Some(first), Some(second)) => Bytes::from([&first[..], &second[..]].concat()).into(),
            (first, second) => first.or(second).unwrap_or_default(),
        };
        (hello, arguments)
    }

    pub(crate) fn stop(&self) -> (Stop, Payload) {
        let call = self.exit_hook.as_deref();
        let arguments = call.map(|call| call.arguments.clone()).unwrap_or_default();
        (Stop { exit_hook: call.map(|call| call.function) }, arguments)
    }

    /// What to say of a worker that could not be started.
    pub(crate) fn failed(&self, error: io::Error) -> StartError {
        self.program.failed(error)
    }

    /// What to say of a worker that cannot serve.
    pub(crate) fn refused(&self, pid: u32, refusal: Refusal) -> StartError {
        let name = |call: &Option<Arc<Call>>| call.as_deref().map_or("", |call| call.name);
        let (initializer, preload) = (name(&self.initializer), name(&self.preload));
        StartError::refused(PoolProcess::Worker(pid), initializer, preload, refusal)
    }

    /// What to say of a worker that takes too long.
    pub(crate) fn timed_out(&self, pid: u32, initialising: bool) -> StartError {
        let (place, limit) = (PoolProcess::Worker(pid), self.start_timeout);
        match (&self.initializer, &self.preload) {
            _ if !initialising => StartError::Timeout { place, limit, hint: self.program.hint() },
            (Some(call), _) => StartError::initializer_timed_out(call.name, place, limit),
            (None, Some(call)) => StartError::preload_timed_out(call.name, place, limit),
            (None, None) => StartError::Timeout { place, limit, hint: "" },
        }
    }
}
