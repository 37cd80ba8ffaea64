//! How the workers of a pool are started, and what is said when that fails.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{InitializerFailure, StartError};
use crate::exit::ExitHook;
use crate::handshake::Refusal;
use crate::id::WorkerId;
use crate::output::WorkerOutput;
use crate::payload::Payload;
use crate::program::Program;
use crate::registry::Registry;
use crate::sys::SharedPageRef;
use crate::wire::{Hello, MemoryLimits, Stop};

/// How the workers of a pool are started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: Program,
    pub(crate) initializer: Option<Arc<Call>>,
    pub(crate) exit_hook: Option<Arc<ExitHook>>,
    pub(crate) max_payload: usize,
    pub(crate) memory: MemoryLimits,
    pub(crate) output: WorkerOutput,
    pub(crate) start_timeout: Duration,
}

/// A call that each worker makes once.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) function: u32,
    pub(crate) arguments: Payload,
}

impl Launch {
    pub(crate) fn hello(&self, worker: WorkerId, claims: Option<SharedPageRef>) -> Hello {
        let initializer = self.initializer.as_ref().map(|initializer| initializer.function);
        let functions = Registry::global().names();
        Hello::new(worker, self.max_payload, self.memory, functions, initializer, claims)
    }

    pub(crate) fn stop(&self) -> (Stop, Payload) {
        let call = self.exit_hook.as_ref().map(|hook| &hook.call);
        let arguments = call.map(|call| call.arguments.clone()).unwrap_or_default();
        (Stop { exit_hook: call.map(|call| call.function) }, arguments)
    }

    /// What to say of a worker that cannot serve.
    pub(crate) fn refused(&self, pid: u32, refusal: Refusal) -> StartError {
        match refusal {
            Refusal::Initialisation(failure) => {
                self.initializer_failed(InitializerFailure::Failed { pid, failure })
            }
            refusal => StartError::Refused(refusal),
        }
    }

    fn initializer_failed(&self, failure: InitializerFailure) -> StartError {
        let function = self.initializer.as_ref().map_or("", |initializer| initializer.name);
        StartError::Initializer { function, failure }
    }

    pub(crate) fn timed_out(&self, pid: u32, initialising: bool) -> StartError {
        let limit = self.start_timeout;
        if initialising && self.initializer.is_some() {
            return self.initializer_failed(InitializerFailure::Timeout { pid, limit });
        }
        let hint = if initialising { "" } else { self.program.hint() };
        StartError::Timeout { pid, limit, hint }
    }
}
