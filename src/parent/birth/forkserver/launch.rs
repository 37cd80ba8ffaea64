//! How a fork server is to be started, and what it is told first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::base::{Identity, WorkerId};
use crate::error::{PoolProcess, Refusal, StartError};
use crate::function::{Call, Registry};
use crate::parent::output::WorkerOutput;
use crate::parent::program::Program;
use crate::wire::frame::{PREAMBLE, VERSION, put_frame};
use crate::wire::hello::ServerHello;
use crate::wire::message::Kind;

/// How the server is started.
#[derive(Debug)]
pub(crate) struct ServerLaunch {
    /// The pool's.
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) preload: Option<Arc<Call>>,
    pub(crate) output: WorkerOutput,
    /// For the start; each answer has half of it, and not more than ten seconds.
    pub(crate) start_timeout: Duration,
}

impl ServerLaunch {
    /// What to say if the server could not be started or reached.
    pub(super) fn failed(&self, error: io::Error) -> StartError {
        self.program.failed(error)
    }

    /// What to say of a server that cannot serve.
    pub(super) fn refused(&self, pid: u32, refusal: Refusal) -> StartError {
        let preload = self.preload.as_deref().map_or("", |call| call.name);
        StartError::refused(PoolProcess::ForkServer(pid), "", preload, refusal)
    }

    /// What to say of a server that takes too long.
    pub(super) fn timed_out(&self, pid: u32, initialising: bool) -> StartError {
        let (place, limit) = (PoolProcess::ForkServer(pid), self.start_timeout);
        match &self.preload {
            _ if !initialising => StartError::Timeout { place, limit, hint: self.program.hint() },
            Some(call) => StartError::preload_timed_out(call.name, place, limit),
            None => StartError::Timeout { place, limit, hint: "" },
        }
    }

    /// What the server is told first, with its preload's arguments.
    pub(super) fn hello(&self, worker: WorkerId) -> io::Result<BytesMut> {
        let call = self.preload.as_deref();
        let hello = ServerHello {
            version: VERSION,
            identity: Identity::of_worker(&self.name, worker),
            functions: Registry::global().names(),
            preload: call.map(|call| call.function),
            pass_fds: self.program.pass_fds.clone(),
        };
        let arguments = call.map(|call| &call.arguments[..]).unwrap_or_default();
        let mut message = PREAMBLE.to_vec();
        put_frame(&mut message, Kind::Hello, &hello, arguments.len())?;
        message.extend_from_slice(arguments);
        Ok(BytesMut::from(&message[..]))
    }
}
